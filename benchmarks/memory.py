"""What the server's processes take together: with small requests, and with the largest bodies, one and two at once."""

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from time import sleep

import orjson

from app.examples import EXAMPLES
from benchmarks.http import Client, Server
from benchmarks.rounds import QUICK

MIB = 2**20
ROW = [0.123456789012345678, 0.2123456789012345, 0.7123456789012345]
ROW_BYTES = 66
"""A row of inputs and its target, as text."""


def processes(pid: int) -> list[int]:
    """The process and all that it started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(found for child in children for found in processes(int(child)))]


def resident(pid: int) -> int:
    """MiB of memory of a process and all that it started."""
    total = 0
    with suppress(OSError, TypeError):
        for process in processes(pid):
            total += int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{process}/status").read_text())[1])  # type: ignore[index]
    return total // 1024


class Peak:
    """The most memory within a `with`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.mebibytes = 0
        self.over = Event()
        self.watcher = Thread(target=self.watch)

    def watch(self) -> None:
        while not self.over.is_set():
            self.mebibytes = max(self.mebibytes, resident(self.pid))
            sleep(0.01)

    def __enter__(self) -> "Peak":
        self.watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.watcher.join()


def backward_request(mebibytes: int) -> bytes:
    """A body of about this size, whose answer is three times as large."""
    rows = mebibytes * MIB // ROW_BYTES
    layer = {"weights": [[0.5], [0.25], [0.125]], "bias": [0.0], "activation": "identity"}
    request = {"network": {"layers": [layer]}, "inputs": [ROW] * rows, "targets": [[1.0]] * rows, "loss": "mse"}
    return orjson.dumps(request)


def measured(server: Server, body: bytes, path: str, clients: int, posts: int) -> int:
    """The most memory while so many clients post the body so often."""

    def work(_: int) -> None:
        client = Client(server.port, path, body)
        for _ in range(posts):
            client.post()
        client.socket.close()

    with Peak(server.process.pid) as peak, ThreadPoolExecutor(clients) as together:
        list(together.map(work, range(clients)))
    return peak.mebibytes


def main() -> None:
    print("## Memory\n\nResident memory of one worker and its children, at its highest, in MiB.\n")
    print("| posted | one client | two clients at once |\n|---|---|---|")
    step = orjson.dumps(EXAMPLES["textbook"]["request"])
    with Server("app") as server:
        counts = [measured(server, step, "/v1/step", clients, 500) for clients in (1, 2)]
        print(f"| the textbook step | {counts[0]} | {counts[1]} |")
    idle, times = counts[0], 0.0
    for mebibytes in (20,) if QUICK else (20, 58):
        body = backward_request(mebibytes)
        counts = []
        for clients in (1, 2):
            with Server("app") as server:
                counts.append(measured(server, body, "/v1/backward", clients, 2))
        print(f"| {len(body) / MIB:.0f} MiB, for an answer three times as large | {counts[0]} | {counts[1]} |")
        times = (counts[1] - idle) / 2 / (len(body) / MIB)
    print(f"\nAbove the idle process, each of the last two at once takes {times:.1f} times its body (aim: at most 6).")
    print("While they are read as text, numbers take four times their eight bytes, and the answer takes three bodies")
    print("more. In a safetensors file the same numbers are used where they lie.\n")


if __name__ == "__main__":
    main()
