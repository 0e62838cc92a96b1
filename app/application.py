"""The ASGI application: the way of a request through the middlewares, and the OpenAPI document."""

from functools import cached_property
from os import environ
from threading import Lock
from typing import Any

import orjson
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from app.document import Schema, finished


class Application(FastAPI):
    """FastAPI with a shorter way through it, and with our OpenAPI document, made once, when it is first asked for.

    At every request FastAPI asks whether somebody has switched OpenTelemetry on since the last one. Here the
    environment says so at the start (`traced`); without it, our middlewares stand around the framework's own, which a
    POST that computes then need not pass.
    """

    document: Schema | None = None
    making = Lock()

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.traced = any(name.startswith("OTEL_EXPORTER_") for name in environ)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.traced or self.middleware_stack is None:
            await super().__call__(scope, receive, send)
        else:
            scope["app"] = self
            await self.middleware_stack(scope, receive, send)

    def build_middleware_stack(self) -> ASGIApp:
        if self.traced:
            return super().build_middleware_stack()
        own, self.user_middleware = self.user_middleware, []
        app = super().build_middleware_stack()
        for middleware, arguments, options in reversed(own):
            app = middleware(app, *arguments, **options)
        return app

    def openapi(self) -> Schema:
        with self.making:
            if self.document is None:
                self.document = finished(super().openapi(), self)
            return self.document

    @cached_property
    def openapi_json(self) -> bytes:
        return orjson.dumps(self.openapi())
