"""What a textbook step over HTTP costs, against the framework's own handling of an empty POST.

Runs of both alternate, each pair gives one ratio, and the median of the ratios is the figure.
"""

import json
from statistics import median, quantiles

from app.examples import EXAMPLES
from benchmarks.http import Client, Server

PAIRS = 9
SECONDS = 1.0


def main() -> None:
    print("## The textbook step over HTTP: one server process, one keep-alive connection, loopback")
    step = json.dumps(EXAMPLES["textbook"]["request"]).encode()
    with Server("app") as ours, Server("uvicorn", "benchmarks.empty:app", "--port", "0", "--no-access-log") as empty:
        textbook, nothing = Client(ours.port, "/v1/step", step), Client(empty.port, "/empty", b"")
        loss = json.loads(textbook.post())["loss"]
        assert abs(loss - 1.6172337500003393) < 1e-12, "the answer is wrong, so its speed does not matter"
        textbook.time(SECONDS)
        nothing.time(SECONDS)
        pairs = [(median(textbook.time(SECONDS)), median(nothing.time(SECONDS))) for _ in range(PAIRS)]
        tails = [quantiles(client.time(SECONDS), n=100)[98] for client in (textbook, nothing)]
    ratios = sorted(whole / floor for whole, floor in pairs)
    for name, times, tail in zip(("textbook step", "empty POST"), zip(*pairs, strict=True), tails, strict=True):
        print(f"{name:14} {1e6 * median(times):6.0f} us median, {1e6 * tail:6.0f} us 99th percentile")
    print(
        f"whole step / empty POST   {median(ratios):.2f}  (from {ratios[0]:.2f} to {ratios[-1]:.2f} over {PAIRS} pairs)"
    )
    print("A ratio of 2 means that the step itself costs what the framework's handling of an empty POST costs.\n")
