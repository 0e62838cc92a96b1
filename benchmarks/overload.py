"""`make overload`: what the service does at and far beyond its limits. Prints the figures of docs/operations.md.

Everything runs on the loopback of one machine. Under ten times the load, the server has half of its cores and the
callers the other half, as if they were elsewhere; in the other parts the load takes its share from the server.
"""

import asyncio
import json
import os
import platform
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numpy as np

from app.examples import EXAMPLES
from benchmarks.http import Server
from benchmarks.load import Caller, Tally, closed_loop, open_loop, request
from benchmarks.memory import memory, peak
from benchmarks.networks import Step, as_base64, as_json

MIB = 2**20
LIVEZ = request("/livez", method="GET")


def network(size: int) -> Step:
    """A step of one layer of `size` by `size` weights."""
    rng = np.random.default_rng(0)
    layer = {"weights": rng.standard_normal((size, size)), "bias": None, "activation": "tanh"}
    data = {"inputs": rng.standard_normal((1, size)), "targets": rng.standard_normal((1, size))}
    return {"network": {"layers": [layer]}, **data, "loss": "mse", "optimizer": "sgd"}


async def ten_times(seconds: float) -> None:
    """Training runs, which take a slot each, at ten times the rate of which the server answers most; and small steps,
    which take none, over ten times the connections with which it answers most."""
    print(f"## Ten times the load, for {seconds:g} s\n")
    for epochs in (1000, 300):
        run = {**EXAMPLES["train_xor"]["request"], "epochs": epochs}
        run.pop("target_loss", None)
        sent = request("/v1/train", json.dumps(run).encode())
        with apart() as server:
            await closed_loop(server.port, sent, 4, 2)
            before = await best_rate(server.port, sent)
            flood = await open_loop(server.port, sent, 10 * before, seconds)
            after = await best_rate(server.port, sent)
        useful, best = flood.statuses()[200] / seconds, (before + after) / 2
        print(f"- training runs of {epochs} epochs: best rate {before:.1f}/s before and {after:.1f}/s after")
        print(f"  - offered {10 * before:.0f}/s: answers {dict(flood.statuses())}, lost {len(flood.lost)}")
        print(f"  - useful work {useful:.1f}/s, {100 * useful / best:.0f} % of the best rate")
        for what, status in (("refusals", 503), ("answers", 200)):
            middle, late = (1e3 * flood.percentile(status, percent) for percent in (50, 99))
            print(f"  - {what}: median {middle:.1f} ms, 99th percentile {late:.1f} ms")
    sent = request("/v1/step", json.dumps(EXAMPLES["textbook"]["request"]).encode())
    with Server("app") as server:
        rates = {}
        for callers in (16, 160):
            tally = await closed_loop(server.port, sent, callers, min(seconds, 20))
            rates[callers] = tally.statuses()[200] / min(seconds, 20)
            late = 1e3 * tally.percentile(200, 99)
            print(
                f"- textbook steps over {callers} connections: {rates[callers]:.0f}/s, {dict(tally.statuses())}, ",
                end="",
            )
            print(f"lost {len(tally.lost)}, 99th percentile {late:.0f} ms")
    print()


@contextmanager
def apart() -> Iterator[Server]:
    """A server on one half of the cores, while this process has the other half."""
    cores = sorted(os.sched_getaffinity(0))
    half = len(cores) // 2
    os.sched_setaffinity(0, cores[half:])  # What is started inherits it.
    try:
        with Server("app") as server:
            os.sched_setaffinity(0, cores[:half] or cores)
            yield server
    finally:
        os.sched_setaffinity(0, cores)


async def best_rate(port: int, sent: bytes) -> float:
    """Answers a second with four callers, which keep the slots busy."""
    tally = await closed_loop(port, sent, 4, 10)
    assert set(tally.statuses()) == {200} and not tally.lost
    return tally.statuses()[200] / 10


async def largest_bodies(seconds: float) -> None:
    """Four clients post the largest bodies, while /livez is asked every 5 ms."""
    print("## Four clients that post bodies of the maximum size, and /livez beside them\n")
    bodies = {"JSON": as_json(network(1845)), "base64": as_base64(network(2500))}
    bodies["JSON of nothing but brackets"] = b"[" + b"[]," * (21 * MIB) + b"1]"
    bodies["spaces"] = b" " * (64 * MIB)
    for name, body in bodies.items():
        assert 62 * MIB < len(body) <= 64 * MIB, len(body)
        sent = request("/v1/step", body)
        with Server("app") as server:
            idle = memory(server.process.pid)
            probes, ends = Tally(), time.perf_counter() + seconds

            async def probe(port: int = server.port, probes: Tally = probes, ends: float = ends) -> None:
                caller = Caller(port)
                while time.perf_counter() < ends:
                    await probes.call(caller, LIVEZ)
                    await asyncio.sleep(0.005)
                caller.close()

            with peak(server.process.pid) as most:
                loads = await asyncio.to_thread(from_threads, server.port, sent, seconds, probe)
            slots = 2
            held = (most.bytes - idle) / slots / len(body)
            await asyncio.sleep(1)
            soon = memory(server.process.pid)
            await asyncio.sleep(32)
            later = memory(server.process.pid)
        middle, late, most_late = (1e3 * probes.percentile(200, percent) for percent in (50, 99, 100))
        print(f"- {name}, {len(body) / MIB:.1f} MiB: answers {dict(loads)}")
        print(f"  - /livez: median {middle:.1f} ms, 99th percentile {late:.1f} ms, latest {most_late:.0f} ms")
        print(
            f"  - memory: idle {idle / MIB:.0f} MiB, peak {most.bytes / MIB:.0f} MiB, which is {held:.1f} bodies a slot"
        )
        print(
            f"    above that; {soon / MIB:.0f} MiB a second after the load, {later / MIB:.0f} MiB half a minute after"
        )
    print()


def from_threads(port: int, sent: bytes, seconds: float, probe: object) -> dict[int, int]:
    """The large load from threads of plain sockets, so that it holds up the probe's event loop as little as it can."""
    counts: dict[int, int] = {}

    def work() -> None:
        ends = time.perf_counter() + seconds
        while time.perf_counter() < ends:
            with socket.create_connection(("127.0.0.1", port)) as raw:
                with suppress(OSError):
                    raw.sendall(sent)
                head = raw.recv(64)
                status = int(head[9:12])
                counts[status] = counts.get(status, 0) + 1
                buffer = bytearray(MIB)
                left = None
                raw.settimeout(0.2)
                with suppress(TimeoutError):
                    while left != 0:
                        left = raw.recv_into(buffer)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    asyncio.run(probe())  # type: ignore[operator]
    for thread in threads:
        thread.join()
    return dict(sorted(counts.items()))


def main() -> None:
    quick = "--quick" in sys.argv
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores\n")
    asyncio.run(ten_times(10 if quick else 60))
    if "--load" in sys.argv:
        return
    asyncio.run(largest_bodies(10 if quick else 20))


if __name__ == "__main__":
    main()
