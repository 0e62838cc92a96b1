"""Plain ASGI middlewares: a request id on everything, HEAD wherever there is GET, a short way for the POSTs."""

import re
from contextlib import suppress
from os import urandom

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SENDABLE_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")


class RequestId:
    """Takes X-Request-ID where it is short and plain, makes one otherwise, and sends it back.

    An error that nothing else answered has been answered by the application with a 500 by then.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        request_id = given if SENDABLE_ID.fullmatch(given) else urandom(16).hex().encode()
        scope.setdefault("state", {})["request_id"] = request_id.decode()

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-request-id", request_id)]
            await send(message)

        await self.app(scope, receive, send_with_id)


class AnswerHead:
    """Answers HEAD as GET without its body (RFC 9110, 9.3.2)."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        await self.app({**scope, "method": "GET"}, receive, send_head)


class ShortWay:
    """Hands the POSTs of the compute routes to their handlers at once.

    Those need nothing of what lies between here and there (exception handlers, exit stacks, a search through all
    routes), which costs as much as a good part of a small step. Everything else goes on as usual.
    """

    def __init__(self, app: ASGIApp, routes: dict[str, ASGIApp]) -> None:
        self.app = app
        self.routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self.routes.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        # A client that went away in the middle of its body is nobody's mistake, and there is nobody to answer.
        with suppress(ClientDisconnect):
            await (app or self.app)(scope, receive, send)
