"""What a textbook step over HTTP costs, against the framework's own handling of an empty POST."""

import json
from statistics import median, quantiles
from typing import Any

from app.examples import EXAMPLES
from benchmarks.http import UVICORN, Client, Server
from benchmarks.rounds import QUICK, Times, spread, table

ROUNDS, SECONDS = (3, 0.4) if QUICK else (11, 1.0)
STEP, EMPTY = "textbook step", "empty POST"


def main() -> None:
    body = json.dumps(EXAMPLES["textbook"]["request"]).encode()
    with Server("app") as ours, Server(*UVICORN, "benchmarks.empty:app") as empty:
        clients = {STEP: Client(ours.port, "/v1/step", body), EMPTY: Client(empty.port, "/empty", b"")}
        answer = json.loads(clients[STEP].post())
        assert abs(answer["loss"] - 1.6172337500003393) < 1e-12, "the answer is wrong, so its speed does not matter"
        for client in clients.values():
            client.time(SECONDS)
        latencies: dict[str, list[list[float]]] = {name: [] for name in clients}
        for _ in range(ROUNDS):
            for name, client in clients.items():
                latencies[name].append(client.time(SECONDS))
    middles: Times = {name: [median(times) for times in rounds] for name, rounds in latencies.items()}
    tails: Times = {name: [quantiles(times, n=100)[98] for times in rounds] for name, rounds in latencies.items()}
    rows = [
        [name, *(f"{1e6 * median(times[name]):.0f}" for times in (middles, tails)), f"{1 / median(middles[name]):.0f}"]
        for name in clients
    ]
    print("## The textbook step over HTTP\n")
    print(table(["", "median, µs", "99th percentile, µs", "a second"], rows))
    print(f"The step has {spread(middles[EMPTY], middles[STEP])} times the rate of an empty POST that the same FastAPI")
    print(f"answers (aim: at least 0.60); its 99th percentile is {spread(tails[STEP], tails[EMPTY])} times that of the")
    print("empty POST (aim: at most 3). The rest of the difference is decoding, checking, computing and writing: the")
    print(f"request has {numbers_in(json.loads(body))} numbers, the answer {numbers_in(answer)}.\n")


def numbers_in(value: Any) -> int:
    """How many numbers a decoded JSON text holds."""
    if isinstance(value, dict | list):
        return sum(map(numbers_in, value.values() if isinstance(value, dict) else value))
    return type(value) in (int, float)


if __name__ == "__main__":
    main()
