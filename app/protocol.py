"""HTTP/1.1 as this server speaks it: uvicorn's protocol with limits, and with problems for refusals.

What a client sends is limited in size and in time before any of the application sees it. No request sets a timer:
the server sweeps over its connections twice a second.
"""

import struct
from asyncio import BufferedProtocol
from collections.abc import Coroutine, Generator
from contextvars import copy_context
from functools import partial
from http import HTTPStatus
from random import getrandbits
from socket import SO_LINGER, SOL_SOCKET
from types import coroutine
from typing import Any, NoReturn

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from app.drain import drain
from app.errors import MEDIA_TYPE, RETRY_AFTER, problem_json
from app.hosts import MalformedHost, is_allowed
from app.logs import log_request, logged
from app.metrics import metrics
from app.problems import PROBLEMS
from app.settings import settings

LINGER_SECONDS = 2.0
"""How long a connection that was refused is read on: closed at once, its client might not get to read why."""
LAST_SECONDS = 1.0
"""How long a new connection may take to send its request while the server drains."""
LONGEST_TARGET = 8192
MOST_PIPELINED = 100
BUFFER = memoryview(bytearray(2**18))
"""Where a connection's bytes are until its parser has them, which is before the next connection reads."""
MORSEL = 2**14
"""So many bytes are read at once of what may be many small pieces: 256 KiB of chunks of a byte took 30 ms."""
VERSIONS = ("1.0", "1.1")
UPGRADE_HEADERS = (b"upgrade", b"connection", b"http2-settings")
SHORT = 2**16
"""A body of at most so many bytes goes out in one piece with its head."""


class Transport:
    """A connection's transport with two differences.

    It sends an answer's head together with its body: a system call for each would cost a small answer a twentieth of
    its time. A head whose body does not follow at once goes out alone.

    When it closes, the client can still read the answer: closing a socket with bytes that nobody has read resets the
    connection, and the reset overtakes the answer. So where a body is still coming, or what is no request, the
    connection lingers first.
    """

    def __init__(self, transport: Any, protocol: "Protocol") -> None:
        self.is_closing = transport.is_closing
        self.inner = transport
        self.protocol = protocol
        self.head = b""

    def write(self, data: bytes) -> None:
        if self.head and len(data) <= SHORT:
            head, self.head = self.head, b""
            self.inner.write(head + data)
        elif data[:9] == b"HTTP/1.1 ":
            self.flush()
            self.head = data
            if not self.protocol.starting:
                self.protocol.loop.call_soon(self.flush)
        else:
            self.flush()
            self.inner.write(data)

    def flush(self) -> None:
        if self.head:
            head, self.head = self.head, b""
            self.inner.write(head)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def write_eof(self) -> None:
        self.flush()
        self.inner.write_eof()

    def close(self) -> None:
        self.flush()
        cycle = self.protocol.cycle
        if cycle is not None and (cycle.more_body or self.protocol.ends) and not self.inner.is_closing():
            self.protocol.linger()
        else:
            self.inner.close()

    def abort(self) -> None:
        """Resets the connection; neither the server nor the system keeps what the client has not taken yet."""
        self.inner.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        self.inner.abort()


class Protocol(HttpToolsProtocol):
    """One connection.

    `since` is when it began to wait for what it waits for now: a request, the rest of one, or the end of its lingering;
    `stuck` is since when its client has taken nothing of the `untaken` bytes of an answer. It `ends` with the requests
    that it has, where what follows them is none: mostly a body without a length. While `parsing`, a request that was
    found is kept `unstarted` until the parser has returned; while `starting`, it runs outside of any task. `cycle` is
    the newest request, `running` the one that is being answered, and those between them wait in `pipeline`.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        limits = settings()
        self.most_head, self.most_body = limits.max_header_bytes, limits.max_body_bytes
        self.since = self.stuck = self.loop.time()
        self.in_head = True
        self.head_bytes = self.head_size = self.body_size = self.declared = self.hosts = self.untaken = 0
        self.host = self.url = self.coding = b""
        self.lingers = self.ends = self.parsing = self.starting = False
        self.unstarted: tuple[RequestResponseCycle, Any] | None = None
        self.running: Any = None

    def connection_made(self, transport: Any) -> None:
        self.answers = Transport(transport, self)
        super().connection_made(self.answers)  # type: ignore[arg-type]
        most = settings().max_connections
        if len(self.connections) > most:
            self.refuse("too-many-connections", f"This server keeps at most {most} connections open.")

    def connection_lost(self, exc: Exception | None) -> None:
        if self.running is not None and not self.running.response_complete:
            self.running.disconnected = True
            self.running.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.lingers or self.ends:
            return
        if self.in_head:
            if not self.head_bytes:
                self.since = self.loop.time()
            self.head_bytes += len(data)
        self._parse(data)

    def _parse(self, data: bytes) -> None:
        self.parsing = True
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as stop:
            self._parse_without_upgrade(data[stop.args[0] :])
        except httptools.HttpParserError as error:
            if not (self.lingers or self.ends):
                self.refuse("malformed-http", f"This is not HTTP/1.1: {error}.")
        else:
            if self.in_head and self.head_bytes > self.most_head and not self.lingers:
                self._refuse_head()
        finally:
            self.parsing = False
            self._start()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self.running = cycle
        if self.parsing:
            self.unstarted = cycle, app
        else:
            super()._start_asgi_task(cycle, app)

    def _start(self) -> None:
        """Starts the request that the parser has found.

        A POST that has arrived whole is run at once, and becomes a task only where it has to wait for something. A
        small computation never waits, and a task would add a tenth to its time.
        """
        if self.unstarted is None:
            return
        (cycle, app), self.unstarted = self.unstarted, None
        if cycle.more_body or cycle.scope["method"] != "POST":
            super()._start_asgi_task(cycle, app)
            return
        context = copy_context()
        answering = cycle.run_asgi(app)
        self.starting = True
        try:
            awaited = context.run(answering.send, None)
        except StopIteration:
            return
        finally:
            self.starting = False
            self.answers.flush()
        task = self.loop.create_task(_go_on(answering, awaited), context=context)
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def _parse_without_upgrade(self, rest: bytes) -> None:
        """Goes on with a request that asked for another protocol as if it had not (RFC 9110, 7.8).

        The parser does not read the body of such a request, so its head is parsed again without the upgrade's headers.
        """
        head = [b" ".join((self.parser.get_method(), self.url, b"HTTP/" + self.parser.get_http_version().encode()))]
        head += [name + b": " + value for name, value in self.headers if name not in UPGRADE_HEADERS]
        self.parser = httptools.HttpRequestParser(self)
        self._parse(b"\r\n".join([*head, b"connection: close", b"", rest]))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if not self.head_bytes:  # It came behind the end of another one.
            self.head_bytes = 1
            self.since = self.loop.time()
        self.head_size = self.body_size = self.declared = self.hosts = 0
        self.coding = b""
        self.in_head = True

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        self.head_size += len(name) + len(value) + 4
        if not self.in_head:  # A trailer, which nothing here asks for; as a header it could pose as a proxy's.
            if self.head_size > self.most_head:
                self._refuse_head()
                raise _Stop
            return
        if name == b"content-length":
            self.declared = int(value)
        elif name == b"host":
            self.hosts += 1
            self.host = value
        elif name == b"transfer-encoding":
            self.coding += value.strip().lower()
        elif name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Starts the request, unless its head says already that it is refused."""
        if len(self.url) > LONGEST_TARGET:
            self._stop("target-too-long", f"This server reads at most {LONGEST_TARGET} bytes of a request's target.")
        if self.head_size + len(self.url) > self.most_head:
            self._refuse_head()
            raise _Stop
        if self.declared > self.most_body:
            self._stop("payload-too-large", f"This server reads at most {self.most_body} bytes.")
        version = self.parser.get_http_version()
        if version not in VERSIONS:
            self._stop("malformed-http", "This server speaks HTTP/1.1 and 1.0.")
        if self.hosts != 1 and (self.hosts or version == "1.1"):
            self._stop("malformed-http", f"A request has exactly one Host header, and this one has {self.hosts}.")
        if self.url[:1] not in b"/*":  # A whole address, whose host counts in place of the header's (RFC 9112, 3.2.2).
            _, absolute, rest = self.url.partition(b"://")
            host, path, _ = rest.partition(b"/")
            self._require_host(host)
            if absolute and not path:
                self.url += b"/"
        elif self.hosts:
            self._require_host(self.host)
        if self.coding != b"chunked" and self.coding.endswith(b"chunked"):
            self._stop("malformed-http", "This server decodes no transfer coding but chunked.")
        if len(self.pipeline) >= MOST_PIPELINED:
            self.transport.abort()
            raise _Stop
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                self._stop("malformed-http", "This server is no proxy.")
            return
        if version == "1.0":
            self.expect_100_continue = False  # Its client knows no answer but the last (RFC 9110, 10.1.1).
        super().on_headers_complete()
        self.in_head = False
        self.head_bytes = 0
        if drain.began is not None:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        self.body_size += len(body)
        if self.body_size > self.most_body:
            self._stop("payload-too-large", f"This server reads at most {self.most_body} bytes.")
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self.in_head = True
        super().on_message_complete()
        self.url = b""

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.lingers or self.transport.is_closing():
            return
        self.since = self.loop.time()
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())

    def shutdown(self) -> None:
        """Closes an idle connection; one that has not sent a request yet has a little time, a busy one finishes."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False
        elif self.cycle is None or self.head_bytes:
            self.since = self.loop.time()
        else:
            self.transport.close()

    def cut_off(self) -> None:
        """Ends an answer that is only partly out, of which there is nothing more to say."""
        if self.running is not None and self.running.response_started and not self.running.response_complete:
            self.running.disconnected = True
            self.transport.close()

    def sweep(self, now: float) -> None:
        """Ends what took too long."""
        limits, waited = settings(), now - self.since
        untaken = self.transport.get_write_buffer_size()
        if untaken != self.untaken:
            self.untaken, self.stuck = untaken, now
        if self.lingers:
            if waited > LINGER_SECONDS:
                self.transport.abort()
        elif untaken:
            if now - self.stuck > limits.max_write_seconds:
                self.transport.abort()
        elif self.pipeline:
            pass  # What comes now waits for its turn, and is not read.
        elif self.cycle is not None and self.cycle.more_body:
            if waited > limits.max_body_seconds:
                self.refuse("too-slow", f"The body took longer than {limits.max_body_seconds:g} seconds.")
        elif self.cycle is None or self.cycle.response_complete:
            if self.head_bytes:
                if waited > limits.max_header_seconds:
                    self.refuse("too-slow", f"The head took longer than {limits.max_header_seconds:g} seconds.")
            elif waited > self._idle_seconds():
                self.transport.close()

    def _idle_seconds(self) -> float:
        if drain.began is not None:
            return LAST_SECONDS
        return settings().max_header_seconds if self.cycle is None else settings().max_idle_seconds

    def _refuse_head(self) -> None:
        self.refuse("headers-too-large", f"This server reads at most {self.most_head} bytes of headers.")

    def _require_host(self, host: bytes) -> None:
        try:
            allowed = is_allowed(host)
        except MalformedHost:
            self._stop("malformed-http", "The host that the request names is no name and no address.")
        if not allowed:
            self._stop("unknown-host", "This server does not answer for the host that the request names.")

    def _stop(self, name: str, detail: str) -> NoReturn:
        """Refuses within a callback of the parser, and ends the parsing."""
        self.refuse(name, detail)
        raise _Stop

    def refuse(self, name: str, detail: str) -> None:
        """Answers with a problem and ends the connection; where requests before this one are still to be answered, the
        connection ends with them."""
        if self.pipeline and self.cycle.more_body:
            self.pipeline.popleft()
            self.cycle = self.pipeline[0][0] if self.pipeline else self.running
        cycle = self.cycle
        answering = cycle is not None and not cycle.response_complete
        if answering and not cycle.more_body:
            self.ends, cycle.keep_alive = True, False
            return
        if answering and cycle.response_started:
            self.transport.abort()
            return
        if not (cycle is not None and cycle.more_body and cycle.response_complete):
            self.transport.write(self._problem(name, detail))
        if answering:
            self.unstarted = None
            cycle.scope["state"]["refused"] = True
            cycle.disconnected = True
            cycle.message_event.set()
        self.linger()

    def _problem(self, name: str, detail: str) -> bytes:
        problem = PROBLEMS[name]
        request_id = f"{getrandbits(128):032x}"
        body = problem_json(name, detail, request_id)
        seen, seconds = metrics(), self.loop.time() - self.since
        path = self.url.partition(b"?")[0].decode("latin-1")
        route = seen.routes.index(path) if path in seen.routes else len(seen.routes) - 1
        seen.request(route, problem.status, seconds, self.body_size, len(body))
        if logged("info"):
            fields = {
                "event": "request",
                "request_id": request_id,
                "route": seen.routes[route],
                "status": problem.status,
                "request_bytes": self.body_size,
                "response_bytes": len(body),
                "seconds": round(seconds, 6),
                "client": self.client[0] if self.client else None,
                "problem": name,
            }
            log_request("info", fields)
        head = [f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}".encode()]
        head += [name + b": " + value for name, value in self.server_state.default_headers]
        head += [b"content-type: " + MEDIA_TYPE.encode(), b"content-length: %d" % len(body)]
        head += [b"x-request-id: " + request_id.encode(), b"cache-control: no-store", b"connection: close"]
        if problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
            head.append(b"retry-after: " + RETRY_AFTER.encode())
        return b"\r\n".join([*head, b"", body])

    def linger(self) -> None:
        """Says that nothing more is coming, and throws away what the client still sends for a while."""
        self.lingers = True
        self.since = self.loop.time()
        self.transport.write_eof()
        self.flow.resume_reading()


class Connection(BufferedProtocol):
    """What the event loop knows of a connection; it decides how much of it is read at a time, and hands on all else.

    All of BUFFER in the midst of a body of known length, and else only a MORSEL, so that nobody waits long for it.
    uvloop gives buffers to what is no asyncio.Protocol alone, which uvicorn's is.

    A client that says it sends no more is taken for one that has gone, whose computation ends: a connection that was
    closed looks the same.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.inner = Protocol(*arguments, **options)

    def get_buffer(self, sizehint: int) -> memoryview:
        return BUFFER[:MORSEL] if self.inner.in_head or self.inner.coding else BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        protocol = self.inner
        protocol.data_received(bytes(BUFFER[:nbytes]))
        if nbytes == MORSEL and not protocol.transport.is_closing():
            protocol.transport.pause_reading()  # Else the event loop would read on before it turns to others.
            protocol.loop.call_soon(self._read_on)

    def _read_on(self) -> None:
        if not (self.inner.flow.read_paused or self.inner.transport.is_closing()):
            self.inner.transport.resume_reading()

    def connection_made(self, transport: Any) -> None:
        self.inner.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.inner.connection_lost(exc)

    def pause_writing(self) -> None:
        self.inner.pause_writing()

    def resume_writing(self) -> None:
        self.inner.resume_writing()


async def _go_on(begun: Coroutine[Any, Any, None], awaited: Any) -> None:
    """The rest of a coroutine that was begun by hand, and that waits for `awaited`."""
    await _rest(begun, awaited)


# A task takes no generator since Python 3.12, and a coroutine cannot yield what another one waits for.
@coroutine
def _rest(begun: Coroutine[Any, Any, None], awaited: Any) -> Generator[Any, Any, None]:
    while True:
        try:
            result = yield awaited
        except BaseException as error:
            step = partial(begun.throw, error)
        else:
            step = partial(begun.send, result)
        try:
            awaited = step()
        except StopIteration:
            return


class _Stop(Exception):
    """Ends the parsing of a request that has been refused."""
