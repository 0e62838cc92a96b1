"""`make soak SECONDS=1800`: a mixed load, and whether memory, descriptors or threads of the server grow.

Good requests of every size, mistakes, streams that are left, resets and malformed HTTP, over and over. The server is
looked at between rounds, when it is quiet; the first quarter warms it up, and the rest may not grow.
"""

import asyncio
import json
import socket
import struct
import sys
import time
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import NamedTuple

from app.examples import EXAMPLES
from benchmarks.http import Server
from benchmarks.load import Caller, Tally, request
from benchmarks.memory import family, memory

MIB = 2**20
MOST_GROWTH = 8 * MIB
"""What allocators may keep; a leak of a hundred bytes a request is several times that in half an hour."""
POOLED = 4
"""Threads that asyncio's and Starlette's pools may still add in that time; a leak would be hundreds."""


class State(NamedTuple):
    """What a quiet server holds."""

    memory: int
    descriptors: int
    threads: int
    processes: int


def state(pid: int) -> State:
    pids = family(pid)
    counts = [sum(1 for each in pids for _ in Path(f"/proc/{each}/{kind}").iterdir()) for kind in ("fd", "task")]
    return State(memory(pid), *counts, len(pids))


def requests() -> list[bytes]:
    """One of each kind."""
    textbook = EXAMPLES["textbook"]["request"]
    step = json.dumps(textbook).encode()
    run = {**EXAMPLES["train_xor"]["request"], "epochs": 20}
    run.pop("target_loss", None)
    wide = {"input_size": 100, "layers": [{"units": 200, "activation": "relu"}]}
    return [
        *[request("/v1/step", step)] * 20,
        request("/v1/step", step + b" " * 20_000),
        request("/v1/step", step + b" " * 3 * MIB),
        request("/v1/initialize", json.dumps(wide).encode()),
        request("/v1/train", json.dumps(run).encode()),
        request("/v1/step", json.dumps({**textbook, "loss": "crossentropy"}).encode()),
        request("/v1/step", step[:-1]),
        request("/v1/step", step, headers="Content-Encoding: gzip\r\n"),
        request("/v1/catalog", method="GET"),
        request("/nothing", method="GET"),
        request("/metrics", method="GET"),
    ]


def rude(port: int) -> None:
    """Clients that leave in the middle of a request, of an answer and of a stream, and some that speak no HTTP."""
    run = json.dumps({**EXAMPLES["train_xor"]["request"], "epochs": 100_000}).encode()
    stream = request("/v1/train", run, headers="Accept: text/event-stream\r\n")
    for sent, wait in ((stream[:100], False), (stream, True), (b"\x16\x03\x01" * 20, False), (stream[:-1], False)):
        raw = socket.create_connection(("127.0.0.1", port))
        with suppress(OSError):
            raw.sendall(sent)
            if wait:
                raw.recv(100)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raw.close()


async def one_round(port: int, tally: Tally) -> None:
    async def work() -> None:
        caller = Caller(port)
        for sent in requests() * 5:
            await tally.call(caller, sent)
        caller.close()

    await asyncio.gather(*(work() for _ in range(8)))
    rude(port)


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 1800
    tally, states = Tally(), []
    with Server("app") as server:
        start = time.perf_counter()
        while (now := time.perf_counter() - start) < seconds or len(states) < 8:
            asyncio.run(one_round(server.port, tally))
            time.sleep(1.5)
            states.append((now, state(server.process.pid)))
    kept = [each for now, each in states if now > states[-1][0] / 4]
    third = max(1, len(kept) // 3)
    early, late = (
        State(*(int(median(column)) for column in zip(*part, strict=True))) for part in (kept[:third], kept[-third:])
    )
    print(f"## {seconds:g} s of a mixed load: {sum(tally.statuses().values())} answers in {len(states)} rounds\n")
    print(f"- answers {dict(tally.statuses())}, lost {len(tally.lost)}")
    for name, before, after in zip(State._fields, early, late, strict=True):
        shown = (f"{before / MIB:.1f} MiB", f"{after / MIB:.1f} MiB") if name == "memory" else (before, after)
        print(f"- {name}: {shown[0]} in the first third after the warm-up, {shown[1]} in the last")
    expected = {200, 400, 404, 415, 422}
    if set(tally.seconds) != expected or tally.lost:
        print(*server.errors(), sep="\n")
        sys.exit(f"other answers than {sorted(expected)}, or lost ones: {tally.lost[:3]}")
    grown = State(*(after - before for before, after in zip(early, late, strict=True)))
    if grown.memory > MOST_GROWTH or grown.threads > POOLED or grown.descriptors > 0 or grown.processes > 0:
        sys.exit("something grows")
    print("- nothing grows")


if __name__ == "__main__":
    main()
