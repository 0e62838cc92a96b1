"""Annexes: processes of their own for the largest requests, so that the event loop never waits for them.

Python's C extensions hold the interpreter's lock as long as a call lasts. Reading or writing tens of megabytes of JSON
is one such call of a tenth of a second or more, and in a thread it would stop the event loop for as long. So what is
that large is answered by a child process, which runs the very same routes behind a socket pair: the server hands on
scope and body, and relays the messages of the answer. A child can be killed when its client goes, and gives all memory
back to the system when it has been idle for a while.

A frame is a kind (one byte), a length (four bytes) and a payload: `j` a job, `g` its client has gone; `c` what the
request costs, `s` the start of the answer, `p` a piece of it, `f` how much more of it lies in its file, `e` its end;
`t` how much of that has been taken. The body of a job comes in a file of its own, whose descriptor a second socket
carries. An answer of known length goes through a file in memory that both sides have open: a socket would hand it over
in hundreds of small pieces, each of which wakes up both processes.
"""

import asyncio
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from time import monotonic

import orjson
from starlette.types import Message, Receive, Scope, Send

from app.bodies import Spool, file_in_memory
from app.drain import drain
from app.errors import ProblemError
from app.memory import LARGE_PAGES

HEAD = struct.Struct("!cI")
PIECE = 2**18
FILL, ROOM = 2**22, 2**24
"""The server is told of an answer each FILL bytes. Its file is a ring of ROOM bytes, in which later pieces take the
place of those that the server has read. Both are multiples of PIECE, so that no piece lies across the ring's end."""
SIGNALS = {signal.SIGTERM, signal.SIGINT}
START = "import gc; gc.disable(); from app.attendant import main; main()"
"""What is imported stays; looking through it for garbage costs a tenth of the time that a child takes to start."""
IDLE_SECONDS = 30.0
GONE_SECONDS = 1.0
"""How long a child may still work after its client has gone, before it is killed."""

Frame = tuple[bytes, bytes]


async def read_frame(reader: asyncio.StreamReader) -> Frame:
    """The next frame; raises IncompleteReadError where the other side has gone."""
    kind, length = HEAD.unpack(await reader.readexactly(HEAD.size))
    return kind, await reader.readexactly(length)


def write_frame(writer: asyncio.StreamWriter, kind: bytes, payload: bytes | memoryview = b"") -> None:
    """Queues a frame; `await writer.drain()` waits until it has gone."""
    writer.write(HEAD.pack(kind, len(payload)))
    if payload:
        writer.write(payload)


async def write_pieces(writer: asyncio.StreamWriter, kind: bytes, content: bytes | bytearray) -> None:
    """Writes `content` in frames; when that is done, nothing holds on to it any more."""
    with memoryview(content) as view:
        for start in range(0, len(view), PIECE):
            write_frame(writer, kind, view[start : start + PIECE])
            await writer.drain()


async def connected(connection: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """The streams of a socket; the writer's `drain` waits until all has been handed to the system."""
    reader, writer = await asyncio.open_connection(sock=connection)
    writer.transport.set_write_buffer_limits(high=0)
    return reader, writer


class Annex:
    """One child process, seen from the server."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self.files, their_files = socket.socketpair()
        self.answer_file = file_in_memory()
        self.socket = ours
        with theirs, their_files:
            descriptors = (theirs.fileno(), their_files.fileno(), self.answer_file.fileno())
            # The child has these signals blocked until it can handle them: it is not to die of one while it starts.
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
            try:
                self.process = subprocess.Popen(
                    [sys.executable, "-c", START, *map(str, descriptors)],
                    stdin=subprocess.DEVNULL,
                    pass_fds=descriptors,
                    env=LARGE_PAGES | os.environ,
                    cwd=os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
                )
            except OSError:
                for end in (ours, self.files, self.answer_file):
                    end.close()
                raise
            finally:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def connect(self) -> None:
        self.reader, self.writer = await connected(self.socket)

    async def answer(self, scope: Scope, body: Spool, receive: Receive, send: Send) -> None:
        """Relays one request and its answer; the body's file is the child's alone from then on.

        Raises ProblemError where the child dies before the answer starts, and ConnectionError where it dies later.
        """
        started = False
        gone = asyncio.ensure_future(self._tell_gone(receive))
        try:
            socket.send_fds(self.files, [b"b"], [body.file.fileno()])
            body.close()
            write_frame(self.writer, b"j", job_of(scope, len(body)))
            read = 0
            while True:
                kind, payload = await read_frame(self.reader)
                if kind == b"e":
                    self.answer_file.truncate(0)
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
                    return
                if kind == b"c":
                    scope["state"].get("charge", ignore)(*orjson.loads(payload))
                elif kind == b"f":
                    end = read + int.from_bytes(payload)
                    while read < end:
                        piece = os.pread(self.answer_file.fileno(), min(PIECE, end - read), read % ROOM)
                        read += len(piece)
                        await send(message_of(b"p", piece))
                    write_frame(self.writer, b"t", payload)
                else:
                    started = started or kind == b"s"
                    await send(message_of(kind, payload))
        except (ConnectionError, asyncio.IncompleteReadError, ValueError):  # the last: a file is closed already
            self.close()
            if started:
                raise ConnectionError("the process that computed this answer has died") from None
            if not gone.done():
                raise died() from None
        except BaseException:
            self.close()
            raise
        finally:
            gone.cancel()

    async def _tell_gone(self, receive: Receive) -> None:
        """Tells the child when the client goes, and kills it where it does not end soon."""
        while (await receive())["type"] != "http.disconnect":
            pass
        write_frame(self.writer, b"g")
        await asyncio.sleep(GONE_SECONDS)
        self.close()

    def is_alive(self) -> bool:
        return self.process.poll() is None and not self.writer.is_closing()

    def close(self) -> None:
        self.writer.close()
        self.process.kill()
        self.files.close()
        self.answer_file.close()
        # The end of a large process takes a while.
        threading.Thread(target=self.process.wait, daemon=True).start()


def ignore(numbers: int, work: int) -> None:
    """The charge where there is no rate limit."""


def died() -> ProblemError:
    """The problem of a request whose child has died before the answer began."""
    detail = "The process that computed this request died before it could answer; it may have needed too much memory."
    return ProblemError("unavailable", detail)


class Annexes:
    """The children of a server: as many as there are large requests at once; one that has long been idle is ended."""

    def __init__(self) -> None:
        self.idle: list[Annex] = []
        self.busy: set[Annex] = set()
        self.departures: dict[Annex, asyncio.TimerHandle] = {}

    async def answer(self, scope: Scope, body: Spool, receive: Receive, send: Send) -> None:
        annex = await self._take()
        self.busy.add(annex)
        try:
            await annex.answer(scope, body, receive, send)
        finally:
            self.busy.discard(annex)
            if annex.is_alive():
                self.idle.append(annex)
                loop = asyncio.get_running_loop()
                self.departures[annex] = loop.call_later(IDLE_SECONDS, self._dismiss, annex)

    async def _take(self) -> Annex:
        while self.idle:
            annex = self.idle.pop()
            self.departures.pop(annex).cancel()
            if annex.is_alive():
                return annex
            annex.close()
        annex = Annex()
        await annex.connect()
        return annex

    def _dismiss(self, annex: Annex) -> None:
        self.idle.remove(annex)
        del self.departures[annex]
        annex.close()

    def drain(self) -> None:
        """Tells the children at work that the server is about to stop, so that training runs end in time.

        Those that begin to work later learn it from their job.
        """
        for annex in self.busy:
            annex.process.send_signal(signal.SIGTERM)

    def close(self) -> None:
        for annex in (*self.idle, *self.busy):
            annex.close()


annexes = Annexes()


def job_of(scope: Scope, size: int) -> bytes:
    """The payload of a job's frame: what the child makes a request of, beside the body."""
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
    return orjson.dumps(
        {
            "path": scope["path"],
            "headers": headers,
            "http_version": scope["http_version"],
            "request_id": scope["state"]["request_id"],
            "size": size,
            # By the system's monotonic clock, which the child reads too.
            "sent": monotonic(),
            "drain_began": drain.began,
        }
    )


def message_of(kind: bytes, payload: bytes) -> Message:
    """The ASGI message of an answer's frame."""
    if kind == b"p":
        return {"type": "http.response.body", "body": payload, "more_body": True}
    start = orjson.loads(payload)
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in start["headers"]]
    return {"type": "http.response.start", "status": start["status"], "headers": headers}
