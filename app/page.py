"""The OpenAPI pages: Swagger UI at /docs, ReDoc at /redoc, with nothing loaded from outside and no inline script."""

from pathlib import Path

import fastapi_offline
from fastapi import APIRouter
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles

ASSETS = StaticFiles(directory=Path(fastapi_offline.__file__).parent / "static")
# Both pages set styles from their scripts; the scripts themselves come from here alone.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEAD = '<!doctype html><html lang="en"><meta charset="utf-8"><title>Chainrule</title>{}'
SWAGGER = HEAD.format(
    '<link rel="stylesheet" href="/assets/swagger-ui.css"><link rel="icon" href="data:,">'
    '<body><div id="swagger-ui"></div>'
    '<script src="/assets/swagger-ui-bundle.js"></script><script src="/docs/start.js"></script></body></html>'
)
SWAGGER_START = (
    'SwaggerUIBundle({url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null, '
    "tryItOutEnabled: true, displayRequestDuration: true});"
)
REDOC = HEAD.format(
    '<link rel="icon" href="data:,"><body><redoc spec-url="/openapi.json"></redoc>'
    '<script src="/assets/redoc.standalone.js"></script></body></html>'
)

router = APIRouter(include_in_schema=False)


@router.get("/")
async def to_the_page() -> Response:
    return RedirectResponse("/docs")


@router.get("/docs")
async def swagger() -> Response:
    return HTMLResponse(SWAGGER, headers={"Content-Security-Policy": POLICY})


@router.get("/docs/start.js")
async def swagger_start() -> Response:
    return Response(SWAGGER_START, media_type="text/javascript")


@router.get("/redoc")
async def redoc() -> Response:
    return HTMLResponse(REDOC, headers={"Content-Security-Policy": POLICY})
