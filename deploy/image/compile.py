"""Compiles what the running service imports, and nothing else: bytecode of the rest is a tenth of the image.

Bytecode is not checked against its source's time, which a registry may rewrite.
"""

import py_compile
import sys

import anyio._backends._asyncio  # noqa: F401
import uvicorn.lifespan.on
import uvicorn.loops.uvloop
import uvicorn.protocols.http.httptools_impl  # noqa: F401

from app import cli, server  # noqa: F401
from app.main import create_app

create_app().openapi()
sources = {module.__file__ for module in list(sys.modules.values()) if getattr(module, "__file__", None)}
for source in sources:
    if source.endswith(".py") and source.startswith(("/opt/venv/", "/srv/")):
        py_compile.compile(source, doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
