"""How a process serves: uvicorn with our protocol, drained before it stops, alone or as one of several workers."""

import os
import signal
from functools import partial
from pathlib import Path
from socket import AF_INET, AF_INET6, create_server, socket
from types import FrameType

import uvicorn

from app.annex import annexes
from app.cells import shared_directory
from app.drain import drain
from app.logs import log, log_config, log_thread
from app.main import create_app
from app.memory import return_memory
from app.metrics import share
from app.settings import settings
from app.workers import Workers

BACKLOG = 2048


def serve(host: str, port: int, workers: int) -> None:
    """Serves until SIGTERM or SIGINT, and returns when everything accepted has been answered."""
    return_memory()
    config = uvicorn.Config(
        create_app(),
        host=host,
        port=port,
        access_log=False,
        log_config=log_config(),
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=int(settings().shutdown_seconds),
    )
    listener = listen(host, port)
    with shared_directory() as directory:
        if workers == 1:
            work(config, listener, None, directory)
        else:
            grace = settings().drain_seconds + settings().shutdown_seconds + 1
            Workers(workers, partial(work, config, listener, os.getpid(), directory), grace).run()


def listen(host: str, port: int) -> socket:
    """A listening socket, of which the log tells only when one can connect to it."""
    try:
        listener = create_server((host, port), family=AF_INET6 if ":" in host else AF_INET, backlog=BACKLOG)
    except OSError as error:
        raise SystemExit(f"Cannot listen on {host}, port {port}: {error.strerror}.") from None
    name = f"[{host}]" if ":" in host else host
    log.info(f"running on http://{name}:{listener.getsockname()[1]} (end it with Ctrl+C)")
    return listener


def work(config: uvicorn.Config, listener: socket, parent: int | None, counts: Path | None) -> None:
    share(counts)
    os.environ.setdefault("OTEL_SERVICE_NAME", "chainrule")
    with log_thread():
        Server(config, parent).run([listener])


class Server(uvicorn.Server):
    """uvicorn's server, which tells the application when it begins to drain, and ends with its `parent`."""

    def __init__(self, config: uvicorn.Config, parent: int | None = None) -> None:
        super().__init__(config)
        self.parent = parent

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        self.should_exit = True
        drain.begin()
        annexes.drain()

    async def on_tick(self, counter: int) -> bool:
        if self.parent is not None and os.getppid() != self.parent:
            self.handle_exit(signal.SIGTERM, None)
        return await super().on_tick(counter)
