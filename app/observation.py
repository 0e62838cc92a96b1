"""The outermost middleware: every request has an id, is counted, and leaves one line in the log."""

import re
from asyncio import CancelledError
from collections.abc import Sequence
from random import getrandbits
from time import perf_counter

from starlette.requests import ClientDisconnect, Request
from starlette.routing import BaseRoute, Mount, Route, compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import ProblemError, answer_error
from app.logs import log_mistake, log_request, logged
from app.metrics import FIRST, IN_PROGRESS, MOST_ROUTES, metrics
from app.tracing import trace_of

SENDABLE_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
PROBES = {"/livez", "/readyz", "/metrics"}
OTHER = "other"
LONGEST = 200
"""A path or method is cut at this length in the log."""
GONE = 499
STOPPED = "The server was told to stop, and its time was over before it had the answer."
IN_PROGRESS_CELL = FIRST[IN_PROGRESS]


class Observe:
    """Takes X-Request-ID where it is short and plain, makes one otherwise, and sends it back; goes on with the trace
    that `traceparent` names; counts and logs when the answer is out; answers what nothing else answered.
    """

    def __init__(self, app: ASGIApp, routes: Sequence[BaseRoute]) -> None:
        self.app = app
        self.metrics = metrics()
        paths = route_names(routes)
        self.names = [path.replace(":path}", "}") for path in paths]
        assert len(self.names) <= MOST_ROUTES, "make MOST_ROUTES larger"
        self.metrics.routes = self.names
        self.rows = {path: row for row, path in enumerate(paths) if "{" not in path}
        self.patterns = [(compile_path(path)[0], row) for row, path in enumerate(paths) if "{" in path]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = answered = perf_counter()
        request_id = traceparent = b""
        for name, value in scope["headers"]:
            if name == b"x-request-id":
                request_id = value
            elif name == b"traceparent":
                traceparent += value  # two of them make no valid one
        if not SENDABLE_ID.fullmatch(request_id):
            # An id is no secret, and asking the system for randomness takes longer than all the rest here.
            request_id = b"%032x" % getrandbits(128)
        own_headers = [(b"x-request-id", request_id)]
        row = self.row(scope["path"])
        trace = trace_of(scope, traceparent, self.names[row] if row < self.rows[OTHER] else None)
        if trace is not None:
            own_headers.append((b"traceresponse", trace.response()))
        state = scope.setdefault("state", {})
        state["request_id"] = request_id.decode()
        received = sent = status = 0

        async def receive_counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            return message

        async def send_counted(message: Message) -> None:
            nonlocal sent, status, answered
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *own_headers]
                status, answered = message["status"], perf_counter()
            else:
                sent += len(message.get("body", b""))
            await send(message)

        self.metrics.mine[IN_PROGRESS_CELL] += 1.0
        try:
            await self.app(scope, receive_counted, send_counted)
        except ClientDisconnect:
            pass  # in the middle of its body: nobody's mistake, and nobody to answer
        except CancelledError:  # at the end of a server that was told to stop
            if not status:
                stopped = ProblemError("unavailable", STOPPED)
                await answer_error(Request(scope), stopped)(scope, receive, send_counted)
        except Exception as error:
            log_mistake(state["request_id"], error)
            if status:
                raise  # the connection is closed in the middle of the answer
            await answer_error(Request(scope), error)(scope, receive, send_counted)
        finally:
            self.metrics.mine[IN_PROGRESS_CELL] -= 1.0
            if "refused" not in state:  # Else the protocol has answered, counted and logged it.
                ended = perf_counter()
                self.metrics.request(row, status or GONE, ended - began, received, sent)
                level = "error" if status == 500 else "debug" if scope["path"] in PROBES else "info"
                if logged(level):
                    fields = {
                        "event": "request",
                        "request_id": state["request_id"],
                        "method": scope["method"][:LONGEST],
                        "route": self.names[row],
                        "path": scope["path"][:LONGEST],
                        "status": status or GONE,
                        "request_bytes": received,
                        "response_bytes": sent,
                        "seconds": round(ended - began, 6),
                        "first_byte_seconds": round(answered - began, 6) if status else None,
                        "client": scope["client"][0] if scope["client"] else None,
                    }
                    if "problem" in state:
                        fields["problem"] = state["problem"]
                    if trace is not None:
                        fields |= {"trace_id": trace.trace_id, "span_id": trace.span_id, "parent_id": trace.parent_id}
                    log_request(level, fields)

    def row(self, path: str) -> int:
        """The number of the route that a path belongs to; paths that are none share the last."""
        row = self.rows.get(path)
        if row is None:
            row = next((row for pattern, row in self.patterns if pattern.fullmatch(path)), self.rows[OTHER])
        return row


def route_names(routes: Sequence[BaseRoute]) -> list[str]:
    """The paths of all routes as they are written in the code, a mounted folder as one, and `other`."""
    paths = []
    for route in routes:
        if isinstance(route, Mount):
            paths.append(f"{route.path}/{{path:path}}")
        elif isinstance(route, Route):
            paths.append(route.path)
    return [*dict.fromkeys(paths), OTHER]
