"""How a POST is answered: bytes to a validated request, the route's function, bytes of the answer.

A small body is decoded, computed and written on the event loop, which is faster than a hop to a thread; anything larger
goes to a worker thread, so that it holds up nobody else.
"""

from collections.abc import Callable, Mapping
from typing import Any

from anyio import CapacityLimiter, to_thread
from fastapi import Request
from fastapi.routing import APIRoute
from pydantic import ValidationError
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from app.errors import InvalidRequest, ProblemError, answer_error
from app.forms import ANSWER_FORMS, REQUEST_FORMS, Headers, Reader, Writer, chosen, headers_of, reader
from app.settings import settings
from engine.errors import EngineError

INLINE_BYTES = 16 * 1024
INLINE_NUMBERS = 20_000


class ComputeRoute(APIRoute):
    """A route whose function takes one request model and returns the answer as a dictionary.

    FastAPI reads the OpenAPI page from the function's signature; the handling is this class's own. A subclass may take
    other forms of requests, or answer in others.
    """

    request_forms: Mapping[bytes, Reader] = REQUEST_FORMS
    answer_forms: Mapping[bytes, Writer] = ANSWER_FORMS
    stream_forms: tuple[bytes, ...] = ()
    """Media types beside those, in which the answer comes bit by bit."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        assert self.body_field is not None, f"{self.path} takes no body"
        self.model: Any = self.body_field.field_info.annotation
        self.app = self.handle_post

    async def handle_post(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            headers = headers_of(scope["headers"])
            form = chosen(headers, self.answer_forms)
            content = await self.content(headers, receive, self.answer_forms[form])
        except (EngineError, InvalidRequest, ProblemError) as error:
            await answer_error(Request(scope), error)(scope, receive, send)
            return
        await respond(send, content, form)

    async def content(self, headers: Headers, receive: Receive, write: Writer) -> bytes:
        read = reader(headers, self.request_forms)
        body = await read_body(headers, receive, settings().max_body_bytes)
        if len(body) > INLINE_BYTES:
            return await in_thread(lambda: self.answer(self.decode(body, read)[0], write))
        asked, numbers = self.decode(body, read)
        if numbers > INLINE_NUMBERS:
            return await in_thread(lambda: self.answer(asked, write))
        return self.answer(asked, write)

    def decode(self, body: bytes, read: Reader) -> tuple[Any, int]:
        """The validated request and how many numbers it makes the server hold; raises what is wrong with it."""
        data = read(body)
        limits = settings().limits
        try:
            asked = self.model.model_validate(data, context=limits)
        except ValidationError as error:
            raise InvalidRequest(error, data, self.model) from None
        numbers = asked.numbers()
        limits.require_numbers(numbers, ())
        return asked, numbers

    def answer(self, asked: Any, write: Writer) -> bytes:
        return write(self.endpoint(asked), asked.encoding)


_limiter: CapacityLimiter | None = None


async def in_thread(work: Callable[[], bytes]) -> bytes:
    global _limiter
    if _limiter is None:
        _limiter = CapacityLimiter(settings().max_threads)
    return await to_thread.run_sync(work, limiter=_limiter)


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


async def respond(send: Send, content: bytes, form: bytes) -> None:
    """Sends an answer in one of its forms."""
    headers = [(b"content-type", form), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})
