"""The bodies of large requests: how they are read, where they lie, and how many bytes of them the server holds.

What an annex will read is written into a file in memory as it comes. The annex gets that file, not a copy, so that a
large body is in memory once.
"""

import contextlib
import io
import mmap
import os
import tempfile
from collections.abc import Callable
from functools import cache
from typing import Any, Self

from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from app.errors import ProblemError
from app.forms import Headers
from app.settings import settings
from schemas.limits import Body


def file_in_memory() -> io.FileIO:
    """A file without a name: in memory where the system has such files, else a temporary one."""
    if hasattr(os, "memfd_create"):
        return io.FileIO(os.memfd_create("chainrule"), "r+")
    with tempfile.TemporaryFile() as file:
        return io.FileIO(os.dup(file.fileno()), "r+")


class Spool:
    """A body in a file in memory, which another process may have."""

    def __init__(self) -> None:
        self.file = file_in_memory()
        self.size = 0

    def __len__(self) -> int:
        return self.size

    def __iadd__(self, piece: Body) -> Self:
        with memoryview(piece) as view:
            written = 0
            while written < len(view):
                written += self.file.write(view[written:])
        self.size += written
        return self

    def close(self) -> None:
        self.file.close()


def opened(descriptor: int, size: int) -> memoryview:
    """The body in a spool's file, which another process wrote; the descriptor is closed."""
    try:
        return memoryview(mmap.mmap(descriptor, size, access=mmap.ACCESS_READ))
    finally:
        os.close(descriptor)


def release(body: Body) -> None:
    """Gives the memory of a large body back, unless arrays look into it."""
    with contextlib.suppress(BufferError):
        if isinstance(body, bytearray):
            body.clear()
        elif isinstance(body, memoryview):
            content: Any = body.obj
            body.release()
            content.close()


class BodyBudget:
    """How many bytes the bodies of all large requests hold together, read or still being read: at most `most`."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.held = 0

    def take(self, size: int) -> None:
        """Counts `size` more bytes; raises the 503 where they are too many."""
        if self.held + size > self.most:
            detail = f"The bodies that this server is reading fill {self.held} bytes; it holds at most {self.most}."
            raise ProblemError("overloaded", detail, {"Connection": "close"})
        self.held += size

    def share(self) -> "contextlib.closing[BodyShare]":
        """One request's part of it, which is free again at the end of a `with`."""
        return contextlib.closing(BodyShare(self))


class BodyShare:
    """One request's part of the budget, and the file that its body may be in."""

    def __init__(self, budget: BodyBudget) -> None:
        self.budget = budget
        self.size = 0
        self.file: Spool | None = None

    def take(self, size: int) -> None:
        self.budget.take(size)
        self.size += size

    def spool(self, body: Body) -> Spool:
        """The body in a file, which lasts as long as this share; its own memory is given back."""
        self.file = Spool()
        self.file += body
        release(body)
        return self.file

    def close(self) -> None:
        self.budget.held -= self.size
        if self.file is not None:
            self.file.close()


@cache
def body_budget() -> BodyBudget:
    """Two of the largest bodies for each slot of the compute gate: one that is being computed, one that waits."""
    return BodyBudget(2 * settings().max_threads * settings().max_body_bytes)


def anything(body: Body) -> bool:
    """Lets every body stay in this process."""
    return True


async def read_body(
    headers: Headers, message: Message, receive: Receive, share: BodyShare, stays: Callable[[Body], bool]
) -> Body | Spool:
    """The whole body, from its first `message` on; in a file for an annex unless it `stays` in this process.

    `stays` is asked of what has come so far, after each piece. Raises where the body has too many bytes, or where all
    bodies together have.
    """
    most = settings().max_body_bytes
    declared = headers.get(b"content-length", b"0")
    if declared.isdigit() and int(declared) > most:
        raise too_large(most)
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    body: Body | Spool = message.get("body", b"")
    share.take(len(body))
    while True:
        if len(body) > most:
            raise too_large(most)
        if not isinstance(body, Spool) and not stays(body):
            body = share.spool(body)
        if not message.get("more_body", False):
            return body
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        piece = message.get("body", b"")
        share.take(len(piece))
        if isinstance(body, bytes):
            body = bytearray(body)
        body += piece


def too_large(most: int) -> ProblemError:
    return ProblemError("payload-too-large", f"This server reads at most {most} bytes.", {"Connection": "close"})
