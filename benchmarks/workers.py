"""What two worker processes serve, against one."""

import json
import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from statistics import median

from app.examples import EXAMPLES
from benchmarks.http import Client, Server
from benchmarks.rounds import QUICK, alternate, short, spread, table

CALLERS = 8
ROUNDS, SECONDS = (2, 0.5) if QUICK else (5, 2.0)
TRAINING = EXAMPLES["train_xor"]["request"] | {"epochs": 300, "target_loss": None, "checkpoint_every": 0}
CASES = {
    "verify (a transposed gradient)": ("/v1/verify", EXAMPLES["transposed_claims"]["request"]),
    "textbook steps": ("/v1/step", EXAMPLES["textbook"]["request"]),
    "training runs (XOR, 300 epochs)": ("/v1/train", TRAINING),
}


def calls(port: int, path: str, body: bytes, seconds: float) -> int:
    """How many posts one caller gets answered in the time."""
    return len(Client(port, path, body).time(seconds))


def rate(callers: ProcessPoolExecutor, port: int, path: str, body: bytes) -> float:
    """Answers a second to all callers together."""
    counts = [callers.submit(calls, port, path, body, SECONDS) for _ in range(CALLERS)]
    return sum(count.result() for count in counts) / SECONDS


def main() -> None:
    rows = []
    with (
        ProcessPoolExecutor(CALLERS) as callers,
        Server("app", CHAINRULE_WORKERS="1") as one,
        Server("app", CHAINRULE_WORKERS="2") as two,
    ):
        for name, (path, request) in CASES.items():
            body = json.dumps(request).encode()
            runs = {server: partial(rate, callers, server.port, path, body) for server in (one, two)}
            for run in runs.values():
                run()
            rates = alternate({str(server.port): run for server, run in runs.items()}, ROUNDS)
            single, double = rates[str(one.port)], rates[str(two.port)]
            rows.append([name, short(median(single)), short(median(double)), spread(double, single)])
    print(f"## Two workers\n\n{CALLERS} callers, each in a process of its own, on {os.cpu_count()} cores.\n")
    print(table(["", "one worker, a second", "two workers, a second", "ratio"], rows))
    print("Aim: at least 1.8 where both cores are free. They are for the verifications, whose callers do next to")
    print(
        "nothing. The callers of small steps take a good part of the same cores, and long training runs are computed in"
    )
    print("processes of their own even with one worker, on both cores.\n")


if __name__ == "__main__":
    main()
