"""What the server's processes take together: with small requests, and with the largest bodies, one and two at once."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from time import sleep

import orjson

from app.examples import EXAMPLES
from benchmarks.http import Client, Server
from benchmarks.rounds import QUICK

MIB = 2**20
ROW = [0.123456789012345678, 0.2123456789012345, 0.7123456789012345]
ROW_BYTES = 66
"""A row of inputs and its target, as text."""


def family(pid: int) -> list[int]:
    """A process and its descendants."""
    with suppress(FileNotFoundError):
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return [pid, *(found for child in text.split() for found in family(int(child)))]
    return []


def files_in_memory() -> int:
    """Bytes of files in memory, of the whole system: nobody else may be at work."""
    return 1024 * int(re.search(r"^Shmem:\s+(\d+)", Path("/proc/meminfo").read_text(), re.MULTILINE)[1])  # type: ignore[index]


def memory(pid: int) -> int:
    """Bytes that a process and its descendants have for themselves, their part of what they share, and the files in
    memory, which belong to no process, as far as they have grown since the start."""
    total = files_in_memory() - FILES_AT_FIRST
    for each in family(pid):
        with suppress(FileNotFoundError, ProcessLookupError):
            text = Path(f"/proc/{each}/smaps_rollup").read_text()
            found = dict(re.findall(r"^(Pss|Pss_Shmem):\s+(\d+)", text, re.MULTILINE))
            total += (int(found.get("Pss", 0)) - int(found.get("Pss_Shmem", 0))) * 1024
    return total


FILES_AT_FIRST = files_in_memory()


class Peak(Thread):
    """The most memory that was seen."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.bytes, self.ended = pid, 0, False

    def run(self) -> None:
        while not self.ended:
            self.bytes = max(self.bytes, memory(self.pid))
            sleep(0.01)


@contextmanager
def peak(pid: int) -> Iterator[Peak]:
    """Watches the memory of a process and its descendants within this."""
    watch = Peak(pid)
    watch.start()
    try:
        yield watch
    finally:
        watch.ended = True
        watch.join()


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

    with peak(server.process.pid) as most, ThreadPoolExecutor(clients) as together:
        list(together.map(work, range(clients)))
    return most.bytes // MIB


def main() -> None:
    print("## Memory\n\nMemory of one worker, its children and its files in memory, at its highest, in MiB.\n")
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
    print(
        "These are the text with the parser's copy and tree of it, which for rows as short as these is three times as"
    )
    print("large, and after that the answer. In a safetensors file the same numbers are used where they lie.\n")


if __name__ == "__main__":
    main()
