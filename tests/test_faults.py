"""What happens when something breaks: workers that die, clients that reset, a server that is told to stop, full disks.

Short forms; `make faults` runs them twenty times.
"""

import asyncio
import json
import os
import re
import resource
import signal
import socket
import struct
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.load import Caller, Tally, request
from tests.conftest import Server, until
from tests.test_annex import children
from tests.test_training import request as training

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
ROUNDS = range(int(os.environ.get("FAULT_ROUNDS", "1")))


def unchunked(body: bytes) -> bytes:
    """The content of a chunked body, which must be complete."""
    content = b""
    while True:
        size, _, rest = body.partition(b"\r\n")
        if int(size, 16) == 0:
            return content
        content += rest[: int(size, 16)]
        body = rest[int(size, 16) + 2 :]


@pytest.mark.parametrize("round_", ROUNDS)
def test_a_killed_worker_is_back_within_two_seconds(textbook: dict[str, Any], round_: int) -> None:
    """And only the calls in its hands fail: no more than its connections have in flight."""
    server = Server(CHAINRULE_WORKERS="2")
    step = request("/v1/step", json.dumps(textbook).encode())

    async def scenario() -> None:
        tally, callers, stop = Tally(), [Caller(server.port) for _ in range(8)], asyncio.Event()

        async def work(caller: Caller) -> None:
            while not stop.is_set():
                await tally.call(caller, step)

        tasks = [asyncio.create_task(work(caller)) for caller in callers]
        await asyncio.sleep(0.5)
        victim, other = children(server.process.pid)
        os.kill(victim, signal.SIGKILL)
        await asyncio.to_thread(until, lambda: victim not in children(server.process.pid), 2)
        await asyncio.to_thread(until, lambda: len(children(server.process.pid)) == 2, 2)
        replacement = next(child for child in children(server.process.pid) if child != other)
        os.kill(other, signal.SIGSTOP)
        try:  # Whoever answers now is the new one.
            fresh = Caller(server.port)
            start = time.monotonic()
            status, _ = await asyncio.wait_for(fresh.call(request("/livez", method="GET")), 2)
            assert status == 200 and time.monotonic() - start < 2
            fresh.close()
        finally:
            os.kill(other, signal.SIGCONT)
        await asyncio.sleep(0.3)
        stop.set()
        await asyncio.gather(*tasks)
        assert replacement in children(server.process.pid)
        assert len(tally.lost) <= len(callers) and set(tally.seconds) == {200}
        assert len(tally.seconds[200]) > 100
        for caller in callers:
            caller.close()

    with server:
        asyncio.run(scenario())


@pytest.mark.parametrize("round_", ROUNDS)
@pytest.mark.parametrize("workers", ["1", "2"])
def test_sigterm_under_load_loses_nothing(textbook: dict[str, Any], post: Any, workers: str, round_: int) -> None:
    """Busy callers, idle connections, a large computation and a stream: everything accepted is answered."""
    server = Server(CHAINRULE_WORKERS=workers, CHAINRULE_DRAIN_SECONDS="1", CHAINRULE_SHUTDOWN_SECONDS="5")
    port, step = server.port, request("/v1/step", json.dumps(textbook).encode())
    large = request("/v1/step", json.dumps(textbook).encode() + b" " * (3 * 2**20))
    endless = training(post, epochs=1_000_000, checkpoint_every=100_000)
    stream = request("/v1/train", json.dumps(endless).encode(), headers="Accept: text/event-stream\r\n")

    async def scenario() -> None:
        tally = Tally()

        async def work(sent: bytes) -> None:
            caller = Caller(port)
            with suppress(ConnectionRefusedError):
                while True:
                    await tally.call(caller, sent)

        tasks = [asyncio.create_task(work(step)) for _ in range(8)]
        tasks.append(asyncio.create_task(work(large)))
        idle = [Caller(port) for _ in range(4)]
        for caller in idle:
            assert (await caller.call(request("/livez", method="GET")))[0] == 200
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(stream)
        assert b" 200 " in await reader.readline()
        await asyncio.sleep(0.7)
        told = time.monotonic()
        server.process.terminate()
        await asyncio.sleep(0.3)
        probe = Caller(port)
        status, body = await probe.call(request("/readyz", method="GET"))
        assert status == 503 and json.loads(body)["type"] == "/problems/unavailable"
        events = unchunked((await reader.read()).partition(b"\r\n\r\n")[2]).decode()
        for caller in (probe, *idle):
            caller.close()
        writer.close()
        await asyncio.gather(*tasks)
        await asyncio.to_thread(server.process.wait, 10)
        # A second for the last log lines, which nobody reads here, and five for a busy machine.
        assert time.monotonic() - told < 1 + 5 + 1 + 5
        assert server.process.returncode == 0
        assert tally.lost == [] and set(tally.seconds) == {200}
        names = re.findall(r"^event: (\w+)", events, re.MULTILINE)
        assert names[-2:] == ["checkpoint", "result"]
        assert json.loads(re.findall(r"data: (.*)", events)[-1])["stopped_because"] == "deadline"

    with server:
        asyncio.run(scenario())


def test_what_cannot_be_finished_is_told_so() -> None:
    """A server whose time to stop is over before it has an answer says that it may be asked for elsewhere."""
    layer = {"units": 3600, "activation": "relu", "weights_initializer": "orthogonal"}
    body = json.dumps({"input_size": 3600, "layers": [layer]}).encode()
    with (
        Server(CHAINRULE_SHUTDOWN_SECONDS="1") as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=20) as raw,
    ):
        raw.sendall(request("/v1/initialize", body))
        time.sleep(0.5)
        server.process.terminate()
        answer = b"".join(iter(lambda: raw.recv(2**16), b"")).decode()
    head, _, content = answer.partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 503 ") and "retry-after: 1" in head
    assert json.loads(content)["type"] == "/problems/unavailable"


def test_an_answer_that_is_cut_off_at_the_end_is_no_exception() -> None:
    """Its client reads nothing, and the log of an ordinary end holds no traceback."""
    layer = {"weights": [[1.1] * 100], "bias": None, "activation": "tanh"}
    body = json.dumps({"network": {"layers": [layer]}, "inputs": [[i / 9000] for i in range(9000)]}).encode()
    with Server(CHAINRULE_SHUTDOWN_SECONDS="1") as server, socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.connect(("127.0.0.1", server.port))
        raw.sendall(request("/v1/forward", body))
        assert raw.recv(12) == b"HTTP/1.1 200"
        log = server.stop()
    assert server.process.returncode == 0
    assert "stopping with 1 requests unanswered" in log and "Traceback" not in log


def test_workers_end_when_their_parent_has_been_killed() -> None:
    """Nobody else would tell them, and their port would stay taken."""

    def free() -> bool:
        try:
            socket.create_connection(("127.0.0.1", server.port)).close()
        except ConnectionRefusedError:
            return True
        return False

    with Server(CHAINRULE_WORKERS="2") as server:
        until(lambda: len(children(server.process.pid)) == 2)
        server.process.kill()
        until(free)


def test_a_second_interrupt_ends_it_at_once(post: Any) -> None:
    body = json.dumps(training(post, epochs=1_000_000)).encode()
    with Server() as server, socket.create_connection(("127.0.0.1", server.port)) as raw:
        raw.sendall(request("/v1/train", body))
        time.sleep(0.3)
        for _ in range(2):
            server.process.send_signal(signal.SIGINT)
            time.sleep(0.3)
        server.process.wait(3)


class Resources:
    """What a server process holds."""

    def __init__(self, server: Server) -> None:
        here = Path(f"/proc/{server.process.pid}")
        self.descriptors = len(list((here / "fd").iterdir()))
        self.threads = len(list((here / "task").iterdir()))
        text = httpx.get(f"{server.url}/metrics").text
        values = re.findall(
            r"^chainrule_(slots_in_use|queue_length|requests_in_progress)\S* (\S+)$", text, re.MULTILINE
        )
        self.taken = sum(float(value) for _, value in values) - 1  # One is this very request.

    def __repr__(self) -> str:
        return f"{self.descriptors} descriptors, {self.threads} threads, {self.taken} requests, slots and places"

    def within(self, other: "Resources") -> bool:
        return self.descriptors <= other.descriptors and self.threads <= other.threads and not self.taken


def reset(raw: socket.socket) -> None:
    """Closes with a reset."""
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raw.close()


def test_resets_at_every_byte_leak_nothing(textbook: dict[str, Any], post: Any) -> None:
    """Of the request, and of the answer; of a small step, of one that takes a slot, and of a stream."""
    with Server("import app.annex; app.annex.IDLE_SECONDS = 2.0") as server:
        port = server.port
        small = request("/v1/step", json.dumps(textbook, separators=(",", ":")).encode())
        large = request("/v1/step", json.dumps(textbook).encode() + b" " * 17_000)
        stream = request(
            "/v1/train", json.dumps(training(post, epochs=200)).encode(), headers="Accept: text/event-stream\r\n"
        )
        httpx.post(f"{server.url}/v1/step", content=b" " * 20_000)
        # A run starts an annex, by a thread of the event loop's pool.
        assert httpx.post(f"{server.url}/v1/train", json=training(post, epochs=200)).status_code == 200
        Resources(server)
        before = Resources(server)
        for sent in (small, large, stream):
            stops = range(len(sent)) if sent is small else range(0, len(sent), 211)
            for stop in stops:
                raw = socket.create_connection(("127.0.0.1", port))
                raw.sendall(sent[:stop])
                reset(raw)
        for sent in (small, large, stream):
            for stop in range(1, 3000, 97 if sent is stream else 29):  # each run may start an annex
                raw = socket.create_connection(("127.0.0.1", port))
                raw.sendall(sent)
                raw.recv(stop)
                reset(raw)
        # Further annexes end when they have been idle for a while.
        deadline = time.monotonic() + 20
        while not (after := Resources(server)).within(before) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert after.within(before), (before, after)
        assert httpx.post(f"{server.url}/v1/step", json=textbook).status_code == 200


def test_too_many_requests_behind_another_end_the_connection(server: Server, post: Any) -> None:
    run = request("/v1/train", json.dumps(training(post, epochs=1_000_000, max_seconds=5.0)).encode())
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as raw:
        raw.sendall(run + request("/livez", method="GET") * 102)
        with pytest.raises(ConnectionResetError):
            b"".join(iter(lambda: raw.recv(65536), b""))


def test_where_nothing_can_be_written(textbook: dict[str, Any]) -> None:
    """A limit of zero bytes for every file stands for a read-only root, a full /tmp and a full /dev/shm at once."""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))"
    with Server(limit, CHAINRULE_WORKERS="2", TMPDIR="/nonexistent") as server:
        for size in (0, 20_000):
            body = json.dumps(textbook).encode() + b" " * size
            headers = {"Content-Type": "application/json"}
            assert httpx.post(f"{server.url}/v1/step", content=body, headers=headers, timeout=20).status_code == 200
        assert httpx.get(f"{server.url}/metrics").status_code == 200
    assert server.process.returncode == 0


def test_descriptors_that_run_out_close_nothing_else(textbook: dict[str, Any]) -> None:
    """A server that may open no more files goes on with the connections that it has, and takes new ones afterwards."""
    with Server() as server:
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (40, 40))
        with httpx.Client(base_url=server.url) as client:
            assert client.post("/v1/step", json=textbook).status_code == 200
            crowd = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(60)]
            time.sleep(0.5)
            assert client.post("/v1/step", json=textbook).status_code == 200
            for raw in crowd:
                raw.close()
            time.sleep(0.5)
        assert httpx.post(f"{server.url}/v1/step", json=textbook, timeout=5).status_code == 200
