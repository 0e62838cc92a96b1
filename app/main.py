"""The application: routes, error handlers, and the middlewares around them."""

from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from app import VERSION, oracle, page, reference, routes
from app.access import Access
from app.application import Application
from app.compute import ComputeRoute
from app.errors import ProblemError, answer_error
from app.keys import configured_keys
from app.middleware import AnswerHead, ShortWay
from app.observation import PROBES, Observe
from app.openapi import DESCRIPTION, TAGS
from app.settings import settings


def create_app() -> FastAPI:
    app = Application(
        title="Chainrule",
        version=VERSION,
        summary="Backpropagation over HTTP: every gradient of a network, exact and explained.",
        description=DESCRIPTION,
        openapi_tags=TAGS,
        servers=[{"url": ".", "description": "The service that this document comes from."}],
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        separate_input_output_schemas=False,
        license_info={"name": "MIT", "identifier": "MIT"},
        telemetry={"auto_configure": True, "exclude": lambda scope: scope["path"] in PROBES},
    )
    for router in (
        routes.router,
        routes.training_router,
        oracle.explain_router,
        oracle.router,
        reference.router,
        page.router,
    ):
        # Included routers are matched one inside the other at every request; a flat list costs half as much.
        app.router.routes.extend(router.routes)
    app.mount("/assets", page.ASSETS, name="assets")
    for error in (ProblemError, HTTPException):
        app.add_exception_handler(error, _answer)
    app.add_middleware(AnswerHead)
    app.add_middleware(ShortWay, routes=compute_routes(app))
    keys, rate = configured_keys(), settings().rate_limit
    if keys.names or rate:
        app.add_middleware(Access, keys=keys, rate=rate)
    if settings().cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=[origin.strip() for origin in settings().cors_origins.split(",")],
            allow_methods=["GET", "POST"],
            allow_headers=["Accept", "Authorization", "Content-Type", "X-API-Key", "X-Request-ID", "traceparent"],
            expose_headers=["RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-ID", "traceresponse"],
            max_age=3600,
        )
    app.add_middleware(Observe, routes=app.router.routes)
    return app


def compute_routes(app: FastAPI) -> dict[str, ASGIApp]:
    """The handlers of the POSTs that compute, by path."""
    return {route.path: route.app for route in app.router.routes if isinstance(route, ComputeRoute)}


async def _answer(request: Any, error: Exception) -> Any:
    return answer_error(request, error)
