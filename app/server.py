"""How a process serves: uvicorn with our protocol, drained before it stops, alone or as one of several workers."""

import asyncio
import gc
import os
import signal
from functools import partial
from pathlib import Path
from socket import socket
from time import monotonic
from types import FrameType
from typing import cast

import uvicorn

from app.annex import annexes
from app.cells import shared_directory
from app.drain import drain
from app.listener import allow_files, listen, refuse_newcomers
from app.logs import log, log_config, log_thread
from app.main import create_app
from app.memory import memory
from app.metrics import share
from app.protocol import Connection, Protocol
from app.settings import settings
from app.workers import Workers

HEADERS = [("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer")]
"""Of every answer; pages have a content security policy of their own."""
SWEEP_TICKS = 5
"""A tick is a tenth of a second."""
LAST_CALL_SECONDS = 0.1
"""How long those are let in who had begun to connect when nobody new was let in any more."""


def serve(host: str, port: int, workers: int) -> None:
    """Serves until SIGTERM or SIGINT, and returns when everything accepted has been answered."""
    memory.keep(2**25)
    allow_files(settings().max_connections)
    config = uvicorn.Config(
        create_app(),
        host=host,
        port=port,
        access_log=False,
        log_config=log_config(),
        server_header=False,
        headers=HEADERS,
        proxy_headers=bool(settings().trusted_proxies),
        forwarded_allow_ips=settings().trusted_proxies,
        http=Connection,  # type: ignore[arg-type]
        ws="none",
    )
    gc.freeze()  # What is there now stays; looking through it again would stop the event loop for a tenth of a second.
    gc.enable()
    listener = listen(host, port)
    with shared_directory() as directory:
        if workers == 1:
            work(config, listener, None, directory)
        else:
            drained = settings().drain_seconds
            grace = drained + settings().shutdown_seconds + 1
            leave = partial(close_door, listener)
            Workers(workers, partial(work, config, listener, os.getpid(), directory), drained, leave, grace).run()


def close_door(listener: socket) -> None:
    """Of the process that keeps the workers: they still accept who has come."""
    refuse_newcomers(listener)
    listener.close()


def work(config: uvicorn.Config, listener: socket, parent: int | None, counts: Path | None) -> None:
    share(counts)
    os.environ.setdefault("OTEL_SERVICE_NAME", "chainrule")
    with log_thread():
        Server(config, parent).run([listener])


class Server(uvicorn.Server):
    """uvicorn's server with an end in steps, which also comes when its `parent` has gone.

    It is told to stop: /readyz answers 503, a request that comes from now on closes its connection with its answer, and
    new connections are still taken for `drain_seconds`, so that whoever balances the load can look elsewhere. Then
    nobody new is let in, and what has been accepted is finished, for at most `shutdown_seconds`.
    """

    def __init__(self, config: uvicorn.Config, parent: int | None = None) -> None:
        super().__init__(config)
        self.parent = parent

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if drain.began is not None and sig == signal.SIGINT:
            self.force_exit = self.should_exit = True
        drain.begin()
        annexes.drain()

    async def on_tick(self, counter: int) -> bool:
        if self.parent is not None and os.getppid() != self.parent:
            self.handle_exit(signal.SIGTERM, None)
        if counter % SWEEP_TICKS == 0:
            self.sweep()
        if drain.began is not None and monotonic() >= drain.began + settings().drain_seconds:
            self.should_exit = True
        return await super().on_tick(counter)

    def sweep(self) -> None:
        now = asyncio.get_running_loop().time()
        for connection in list(self.server_state.connections):
            cast(Protocol, connection).sweep(now)

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        if self.parent is None:
            for listener in sockets or []:
                refuse_newcomers(listener)
        await asyncio.sleep(LAST_CALL_SECONDS)
        for server in self.servers:
            server.close()
        await asyncio.sleep(0)
        for connection in list(self.server_state.connections):
            connection.shutdown()
        ends = monotonic() + settings().shutdown_seconds
        while (self.server_state.connections or self.server_state.tasks) and not self.force_exit:
            if monotonic() > ends:
                log.error(f"stopping with {len(self.server_state.tasks)} requests unanswered")
                break
            await asyncio.sleep(0.05)
            self.sweep()
        for connection in list(self.server_state.connections):
            cast(Protocol, connection).cut_off()
        for task in self.server_state.tasks:
            task.cancel()
        annexes.close()
        await self.lifespan.shutdown()
