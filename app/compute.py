"""How a POST is answered: bytes to a validated request, the route's function, bytes of the answer.

A small body is decoded, computed and written on the event loop, which is faster than a hop to a thread; anything larger
goes to a worker thread, so that it holds up nobody else.
"""

from collections.abc import Callable
from typing import Any

import orjson
from anyio import CapacityLimiter, to_thread
from fastapi import Request
from fastapi.routing import APIRoute
from pydantic import ValidationError
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from app.errors import InvalidRequest, ProblemError, answer_error
from app.settings import settings
from engine.errors import EngineError
from schemas.answers import write

INLINE_BYTES = 16 * 1024
INLINE_NUMBERS = 20_000
JSON = b"application/json"
Headers = dict[bytes, bytes]


class ComputeRoute(APIRoute):
    """A route whose function takes one request model and returns the answer as a dictionary.

    FastAPI reads the OpenAPI page from the function's signature; the handling is this class's own.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        assert self.body_field is not None, f"{self.path} takes no body"
        self.model: Any = self.body_field.field_info.annotation
        self.app = self.handle_post

    async def handle_post(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            content = await self.content(dict(scope["headers"]), receive)
        except (EngineError, InvalidRequest, ProblemError) as error:
            await answer_error(Request(scope), error)(scope, receive, send)
            return
        await respond(send, content)

    async def content(self, headers: Headers, receive: Receive) -> bytes:
        require_json(headers)
        body = await read_body(headers, receive, settings().max_body_bytes)
        if len(body) > INLINE_BYTES:
            return await in_thread(lambda: self.answer(self.decode(body)[0]))
        asked, numbers = self.decode(body)
        if numbers > INLINE_NUMBERS:
            return await in_thread(lambda: self.answer(asked))
        return self.answer(asked)

    def decode(self, body: bytes) -> tuple[Any, int]:
        """The validated request and how many numbers it makes the server hold; raises what is wrong with it."""
        data = read_json(body)
        limits = settings().limits
        try:
            asked = self.model.model_validate(data, context=limits)
        except ValidationError as error:
            raise InvalidRequest(error, data, self.model) from None
        numbers = asked.numbers()
        limits.require_numbers(numbers, ())
        return asked, numbers

    def answer(self, asked: Any) -> bytes:
        return write(self.endpoint(asked), asked.encoding)


_limiter: CapacityLimiter | None = None


async def in_thread(work: Callable[[], bytes]) -> bytes:
    global _limiter
    if _limiter is None:
        _limiter = CapacityLimiter(settings().max_threads)
    return await to_thread.run_sync(work, limiter=_limiter)


def read_json(body: bytes) -> Any:
    """The decoded body; raises the problem that says where it stops being JSON."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ProblemError(
            "malformed-json", f"The body is not JSON: {error.msg} (line {error.lineno}, column {error.colno})."
        ) from None


async def read_body(headers: Headers, receive: Receive, most: int) -> bytes:
    """The whole body, and never more than `most` bytes."""
    declared = headers.get(b"content-length", b"0")
    if declared.isdigit() and int(declared) > most:
        raise too_large(most)
    chunks, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunks.append(message.get("body", b""))
        more = message.get("more_body", False)
        size += len(chunks[-1])
        if size > most:
            raise too_large(most)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def too_large(most: int) -> ProblemError:
    return ProblemError("payload-too-large", f"This server reads at most {most} bytes.", {"Connection": "close"})


async def respond(send: Send, content: bytes) -> None:
    """Sends a JSON answer."""
    headers = [(b"content-type", JSON), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def require_json(headers: Headers) -> None:
    """Raises where the body is no JSON by its headers, or where the client accepts none as an answer."""
    require_content(headers)
    accept = headers.get(b"accept", b"*/*")
    if accept != b"*/*" and not accepts(accept.decode("latin-1"), JSON.decode()):
        raise ProblemError("not-acceptable", "This path answers application/json.")


def require_content(headers: Headers) -> None:
    """Raises where the body is no plain JSON by its headers."""
    media_type = headers.get(b"content-type", JSON)
    if media_type != JSON:
        name = media_type.partition(b";")[0].strip().lower()
        if name != JSON and not (name.startswith(b"application/") and name.endswith(b"+json")):
            detail = "This path takes application/json (with curl: --json, or -H 'Content-Type: application/json')."
            raise ProblemError("unsupported-media-type", detail, {"Accept": JSON.decode()})
    if headers.get(b"content-encoding", b"identity").strip().lower() != b"identity":
        detail = "Bodies are taken without a content encoding."
        raise ProblemError("unsupported-media-type", detail, {"Accept-Encoding": "identity"})


def accepts(header: str, media_type: str) -> bool:
    """Whether an Accept header allows a media type (RFC 9110, 12.5.1): the most specific range decides."""
    kind = media_type.partition("/")[0]
    for wanted in (media_type, f"{kind}/*", "*/*"):
        for item in header.lower().split(","):
            name, *parameters = (part.strip() for part in item.split(";"))
            if name == wanted:
                return not any(p.replace(" ", "") in ("q=0", "q=0.0", "q=0.00", "q=0.000") for p in parameters)
    return header.strip() == ""
