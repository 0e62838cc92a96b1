"""An annex's own side: a child process that answers one job after the other until its socket closes."""

import asyncio
import contextlib
import gc
import logging.config
import os
import signal
import socket
import sys
from collections.abc import Mapping
from typing import Any

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Scope

from app.annex import FILL, ROOM, SIGNALS, connected, read_frame, write_frame, write_pieces
from app.bodies import opened
from app.drain import drain
from app.errors import answer_error
from app.gate import gates
from app.logs import log_config, log_mistake, log_thread
from app.main import compute_routes, create_app
from app.memory import memory
from app.metrics import join

NICENESS = 5
"""The server's event loop comes before the children's work."""
KILL_FIRST = 500
"""What the system adds to a child's score when it must end a process for want of memory (Linux)."""


class Attendant:
    """Answers the jobs that come over a socket, one at a time, through the handlers of the compute routes.

    An answer of known length goes through the answer file: `written` bytes of it so far (None for an answer that goes
    over the socket), of which the server knows `told` and has read `taken`, so that their place is free again.
    """

    def __init__(self, routes: Mapping[str, ASGIApp], files: socket.socket, answer_file: int) -> None:
        self.routes = routes
        self.files, self.answer_file = files, answer_file
        self.started = False
        self.written: int | None = None
        self.told = self.taken = 0
        self.more_room = asyncio.Event()
        self.jobs: asyncio.Queue[bytes] = asyncio.Queue(maxsize=4)
        self.gone = asyncio.Event()
        self.body: memoryview | None = None
        self.writer: asyncio.StreamWriter

    async def attend(self, connection: socket.socket) -> None:
        self.loop = asyncio.get_running_loop()
        self.loop.add_signal_handler(signal.SIGTERM, drain.begin)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        reader, self.writer = await connected(connection)
        work = asyncio.ensure_future(self.work())
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                kind, payload = await read_frame(reader)
                if kind == b"g":
                    self.gone.set()
                elif kind == b"t":
                    self.taken += int.from_bytes(payload)
                    self.more_room.set()
                else:
                    self.gone.clear()
                    await self.jobs.put(payload)
        self.gone.set()
        work.cancel()

    async def work(self) -> None:
        while True:
            await self.answer(orjson.loads(await self.jobs.get()))

    async def answer(self, job: dict[str, Any]) -> None:
        if job["drain_began"] is not None:
            drain.began = job["drain_began"]
        elif drain.began is not None:  # It was told while it still started, and may have taken long.
            drain.began = job["sent"]
        self.started = False
        scope = scope_of(job)
        scope["state"]["charge"] = self.charge
        try:
            _, (descriptor,), *_ = socket.recv_fds(self.files, 1, 1)
            self.body = opened(descriptor, job["size"])
            await self.routes[job["path"]](scope, self.receive, self.send)
        except ClientDisconnect:
            pass
        except Exception as error:
            log_mistake(job["request_id"], error)
            if self.started:
                self.writer.close()  # The server ends this process then, and its answer in the middle.
                return
            await answer_error(Request(scope), error)(scope, self.receive, self.send)
        while any(gate.in_use for gate in gates().values()):  # The client has gone, but its computation has not ended.
            await asyncio.sleep(0.01)
        write_frame(self.writer, b"e")
        await self.writer.drain()
        gc.collect()
        memory.give_back_soon()

    def charge(self, numbers: int, work: int) -> None:
        """Tells the server what the request costs; from any thread."""
        self.loop.call_soon_threadsafe(write_frame, self.writer, b"c", orjson.dumps([numbers, work]))

    async def receive(self) -> Message:
        if self.body is not None:
            body, self.body = self.body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message["headers"]]
            write_frame(self.writer, b"s", orjson.dumps({"status": message["status"], "headers": headers}))
            await self.writer.drain()
            self.written = 0 if "content-length" in dict(headers) else None
            self.told = self.taken = 0
        elif self.written is None:
            await write_pieces(self.writer, b"p", message.get("body", b""))
        else:
            body = message.get("body", b"")
            while self.written + len(body) - self.taken > ROOM:
                self.more_room.clear()
                await self.more_room.wait()
            size = os.pwrite(self.answer_file, body, self.written % ROOM)
            assert size == len(body), "a file in memory takes all that is written, or there is no memory"
            self.written += size
            if self.written - self.told >= FILL or not message.get("more_body", False):
                write_frame(self.writer, b"f", (self.written - self.told).to_bytes(4))
                self.told = self.written


def scope_of(job: dict[str, Any]) -> Scope:
    """The ASGI scope that a job describes."""
    return {
        "type": "http",
        "method": "POST",
        "http_version": job["http_version"],
        "path": job["path"],
        "query_string": b"",
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in job["headers"]],
        "state": {"request_id": job["request_id"]},
        "annex": True,
    }


def main() -> None:
    """The arguments are the numbers of the sockets of frames and of bodies, and of the file of answers."""
    connection, files, answer_file = map(int, sys.argv[1:])
    memory.keep(2**22)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICENESS)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write(str(KILL_FIRST))
    join("annex")
    attendant = Attendant(compute_routes(create_app()), socket.socket(fileno=files), answer_file)
    gc.freeze()  # What is there now stays, and need not be looked at after each job.
    gc.enable()
    logging.config.dictConfig(log_config())
    with log_thread():
        asyncio.run(attendant.attend(socket.socket(fileno=connection)))
