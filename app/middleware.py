"""Plain ASGI middlewares: HEAD wherever there is GET, a short way for the POSTs."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send


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
        await (app or self.app)(scope, receive, send)
