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

from app.annex import Frame, connected, read_frame, write_frame, write_pieces
from app.drain import drain
from app.errors import answer_error
from app.logs import log, log_config, log_thread
from app.main import compute_routes, create_app
from app.memory import return_memory
from app.metrics import join

NICENESS = 5
"""The event loop of the server goes before the children's work."""
KILL_FIRST = 500
"""What the system adds to a child's score when it must end a process for want of memory (Linux)."""


class Attendant:
    def __init__(self, routes: Mapping[str, ASGIApp]) -> None:
        self.routes = routes
        self.frames: asyncio.Queue[Frame] = asyncio.Queue(maxsize=4)
        self.gone = asyncio.Event()
        self.body: bytearray | None = None
        self.writer: asyncio.StreamWriter

    async def attend(self, connection: socket.socket) -> None:
        self.loop = asyncio.get_running_loop()
        self.loop.add_signal_handler(signal.SIGTERM, drain.begin)
        reader, self.writer = await connected(connection)
        work = asyncio.ensure_future(self.work())
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                kind, payload = await read_frame(reader)
                if kind == b"g":
                    self.gone.set()
                else:
                    await self.frames.put((kind, payload))
        self.gone.set()
        work.cancel()

    async def work(self) -> None:
        while True:
            _, payload = await self.frames.get()
            self.gone.clear()
            await self.answer(orjson.loads(payload))

    async def answer(self, job: dict[str, Any]) -> None:
        self.body = bytearray()
        while len(self.body) < job["size"]:
            self.body += (await self.frames.get())[1]
        scope = scope_of(job)
        scope["state"]["charge"] = self.charge
        try:
            await self.routes[job["path"]](scope, self.receive, self.send)
        except ClientDisconnect:
            pass
        except Exception as error:
            log.error("a request failed by a mistake of the server's", request_id=job["request_id"], exc_info=error)
            await answer_error(Request(scope), error)(scope, self.receive, self.send)
        gc.collect()
        write_frame(self.writer, b"e")
        await self.writer.drain()

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
            headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message["headers"]]
            write_frame(self.writer, b"s", orjson.dumps({"status": message["status"], "headers": headers}))
            await self.writer.drain()
        else:
            await write_pieces(self.writer, b"p", message.get("body", b""))


def scope_of(job: dict[str, Any]) -> Scope:
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
    """The argument is the number of the socket."""
    return_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICENESS)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write(str(KILL_FIRST))
    join("annex")
    attendant = Attendant(compute_routes(create_app()))
    logging.config.dictConfig(log_config())
    with log_thread():
        asyncio.run(attendant.attend(socket.socket(fileno=int(sys.argv[1]))))


if __name__ == "__main__":
    main()
