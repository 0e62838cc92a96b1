"""The OpenAPI pages: Swagger UI at /docs, ReDoc at /redoc, with nothing loaded from outside and no inline script.

All links are relative, so that the pages work where a proxy gives the service a path of its own.
"""

from functools import cache
from pathlib import Path

import fastapi_offline
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

FILES = Path(fastapi_offline.__file__).parent / "static"
# ReDoc adds style elements from its script: empty ones, which it then fills rule by rule (the first hash is that of an
# empty text), and one whose text never changes (its scroll bar's).
REDOC_STYLES = (
    "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=' 'sha256-QMIg+bpjm3JdElJ388KYke01izlUW0UoNOeKjpMxdgc='"
)
POLICY = (
    f"default-src 'none'; script-src 'self'; style-src 'self' {REDOC_STYLES}; img-src 'self' data:; "
    "connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEAD = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>Chainrule</title><link rel="icon" href="data:,">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
)
LOADING = (
    "<p>The page is being made; the first time this takes a few seconds.</p>"
    "<noscript><p>It is made by JavaScript, which is off here. Without it there are "
    '<a href="openapi.json">what the page shows, as JSON</a>, <a href="v1/examples">ready requests</a>, '
    '<a href="v1/catalog">every rule with its formula</a> and <a href="problems">all kinds of errors</a>.'
    "</p></noscript>"
)
SWAGGER = (
    f'{HEAD}<link rel="stylesheet" href="assets/swagger-ui.css"><link rel="stylesheet" href="docs/page.css">'
    f'<body><div id="swagger-ui">{LOADING}</div>'
    '<script src="assets/swagger-ui-bundle.js"></script><script src="docs/start.js"></script></body></html>'
)
SWAGGER_START = (
    'SwaggerUIBundle({url: "openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null, '
    "tryItOutEnabled: true, displayRequestDuration: true, defaultModelsExpandDepth: 0});"
)
REDOC = (
    f'{HEAD}<link rel="stylesheet" href="docs/page.css"><body><redoc spec-url="openapi.json">{LOADING}</redoc>'
    '<script src="redoc/redoc.js"></script></body></html>'
)
REDOC_LOGO = "https://cdn.redoc.ly/redoc/logo-mini.svg"
NO_PICTURE = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg'/%3E"
STYLE = """\
body { margin: 0 }
body > div > p, redoc > p, noscript > p { margin: 2rem; font-family: sans-serif }
.redoc-wrap :is(label, select) { max-width: 100%; overflow: hidden; text-overflow: ellipsis; white-space: nowrap }
.swagger-ui .info :is(a, .url) { color: #1a5fb4 }
.swagger-ui .info .title small { background: #5b6270 }
.swagger-ui .info .title small.version-stamp { background: #466200 }
.swagger-ui .opblock.opblock-post .opblock-summary-method { background: #1a7a4c }
.swagger-ui .opblock.opblock-get .opblock-summary-method { background: #1b62a8 }
.swagger-ui .btn.execute { background: #1b62a8; border-color: #1b62a8 }
.swagger-ui .btn.cancel { color: #b3261e; border-color: #b3261e }
.swagger-ui .download-contents { background: #4d5566 }
.swagger-ui :is(.parameter__in, .parameter__deprecated) { color: #555 }
.swagger-ui .parameter__name.required span, .swagger-ui .parameter__name.required::after { color: #b3261e }
.swagger-ui .highlight-code span[style*="211, 99, 99"] { color: #f4a3a3 !important }
.redoc-wrap code:not(.redoc-json code) { color: #b3261e !important; background-color: #f4f5f5 !important }
.redoc-wrap h5 { color: #4d585e !important }
.redoc-wrap .tab-error:not(.react-tabs__tab--selected) { color: #ff7370 !important }
"""
"""Of the scripts' own colors some are hard to read on their ground: less than 4.5 to 1 (WCAG 2, 1.4.3)."""


class WholeFiles(StaticFiles):
    """Files without parts of them, as a server may have it (RFC 9110, 14.2): nobody needs a part of a script, and a
    Range that cannot be had would be refused in plain text."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(name, value) for name, value in scope["headers"] if name != b"range"]
        await super().__call__({**scope, "headers": headers}, receive, send)


ASSETS = WholeFiles(directory=FILES)
router = APIRouter(include_in_schema=False)


@router.get("/")
async def to_the_page() -> Response:
    return RedirectResponse("docs")


@router.get("/openapi.json")
def openapi(request: Request) -> Response:
    """In a thread, since making the document takes a second or two."""
    return Response(request.app.openapi_json, media_type="application/json")


@router.get("/docs")
async def swagger() -> Response:
    return HTMLResponse(SWAGGER, headers={"Content-Security-Policy": POLICY})


@router.get("/docs/start.js")
async def swagger_start() -> Response:
    return Response(SWAGGER_START, media_type="text/javascript")


@router.get("/docs/page.css")
async def style() -> Response:
    return Response(STYLE, media_type="text/css")


@router.get("/redoc")
async def redoc() -> Response:
    return HTMLResponse(REDOC, headers={"Content-Security-Policy": POLICY})


@router.get("/redoc/redoc.js")
async def redoc_script() -> Response:
    return Response(redoc_without_logo(), media_type="text/javascript")


@cache
def redoc_without_logo() -> str:
    """ReDoc, which would fetch one picture from elsewhere; the line that names its makers stays."""
    return (FILES / "redoc.standalone.js").read_text().replace(REDOC_LOGO, NO_PICTURE)
