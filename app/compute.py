"""How a POST is answered: bytes to a validated request, the route's function, bytes of the answer.

A small body is decoded, computed and written on the event loop, which is faster than a hop to a thread. What is larger
goes through a gate to a worker thread, and what is largest to a process of its own, so that it holds up nobody else.
"""

import asyncio
from collections.abc import Coroutine, Mapping
from enum import Enum
from functools import partial
from typing import Any, NamedTuple, TypeVar

from fastapi import Request
from fastapi.routing import APIRoute
from pydantic import ValidationError
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from app.annex import PIECE, annexes
from app.bodies import BodyShare, Spool, anything, body_budget, read_body, release
from app.errors import InvalidRequest, ProblemError, answer_error
from app.forms import (
    ANSWER_FORMS,
    REQUEST_FORMS,
    SAFETENSORS,
    Headers,
    Reader,
    Writer,
    chosen,
    headers_of,
    read_json,
    read_json_plainly,
    read_safetensors,
    reader,
)
from app.gate import Gate, gates
from app.logs import log
from app.memory import memory
from app.metrics import metrics
from app.settings import settings
from app.untaken import answer_budget
from engine.errors import EngineError, NonFinite
from schemas import large_json, safetensors
from schemas.answers import hand_over
from schemas.answers import write as write_json
from schemas.limits import Body, Limits, values

T = TypeVar("T")
AS_FILE = (b"content-disposition", b'attachment; filename="answer.safetensors"')
"""What is no text is saved by a browser; the OpenAPI page would decode it as text and offer what is left of it."""
REFUSALS = (EngineError, InvalidRequest, ProblemError)


class Place(Enum):
    """Where a request is answered."""

    LOOP = 0
    THREAD = 1
    ANNEX = 2


class Load(NamedTuple):
    """What a request asks of the server: numbers to hold, multiplications (and the handling of layers, as so many of
    them), and where that is done."""

    numbers: int
    work: int
    place: Place


LOOP_BYTES, LOOP_NUMBERS, LOOP_WORK = 16 * 2**10, 20_000, 2_000_000
THREAD_BYTES, THREAD_NUMBERS, THREAD_WORK = 2 * 2**20, 1_000_000, 2_000_000_000
THREAD_VALUES = 2**21
"""What `values` counts of a body: its memory is made under the interpreter's lock, whatever the body's size."""
LAYER_WORK = 100_000
"""Each layer takes about a tenth of a millisecond of Python, which this many multiplications take too."""
TEXT, BASE64, BINARY = 1.0, 0.25, 0.0
"""What reading and writing a number costs in each form, relative to JSON's text. Binary arrays are used as they lie in
the body."""


def place(size: int, numbers: int, work: int, cost: float = TEXT) -> Place:
    """Where a request is answered, by an estimate of its work.

    `size`: the bytes of the body, which take about 3 ns each to read. `numbers`: those that the server has to hold,
    which take about 30 ns each to read or write. `cost`: the share of these times that the form takes. `work`: the
    multiplications, of which a core does some 10^9 a second in small matrices and 10^10 in large ones.

    The event loop takes what keeps others waiting for no more than about two milliseconds. A thread takes what holds
    the interpreter's lock for no more than some ten milliseconds at a time, and what need not be stopped at once when
    its client goes. An annex takes the rest.
    """
    if size <= LOOP_BYTES and numbers <= LOOP_NUMBERS and work <= LOOP_WORK:
        return Place.LOOP
    if size * cost <= THREAD_BYTES and numbers * cost <= THREAD_NUMBERS and work <= THREAD_WORK:
        return Place.THREAD
    return Place.ANNEX


def fits_loop(body: Body) -> bool:
    """Whether a body, as far as it has come, may be read on the event loop."""
    return len(body) <= LOOP_BYTES


def fits_thread(body: Body) -> bool:
    """Whether a body, as far as it has come, may be read in a thread."""
    return len(body) * (TEXT if large_json.holds_numbers(body) else BASE64) <= THREAD_BYTES


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
        self.loop_bytes = min(LOOP_BYTES, settings().max_body_bytes)
        self.app = self.handle_post

    async def handle_post(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            headers = headers_of(scope["headers"])
            form = chosen(headers, self.answer_forms)
            read = reader(headers, self.request_forms)
            message = await receive()
            if message.get("more_body", False):
                message = await gathered(message, receive, self.loop_bytes)
            body = message.get("body", b"")
            if len(body) > self.loop_bytes or message.get("more_body", False):
                await self.handle_large(scope, headers, message, receive, send)
            elif message["type"] == "http.request":
                asked, load = self.decode(body, read)
                if load.place is Place.LOOP:
                    account(scope, load)
                    await respond(send, self.answer(asked, self.answer_forms[form]), form)
                else:
                    await self.handle_large(scope, headers, message, receive, send)
        except REFUSALS as error:
            await answer_error(Request(scope), error)(scope, receive, send)

    async def handle_large(
        self, scope: Scope, headers: Headers, message: Message, receive: Receive, send: Send
    ) -> None:
        """Answers a request whose body goes on after its first message, or that is too much for the event loop."""
        gate = gates()["compute"]
        gate.require_place()
        answer_budget().make_room()
        with body_budget().share() as share, memory.lent():
            form, read = chosen(headers, self.answer_forms), reader(headers, self.request_forms)
            write = self.answer_forms[form]
            cost = BINARY if read is read_safetensors and form == SAFETENSORS else TEXT
            stays = anything if "annex" in scope or cost == BINARY else fits_thread
            body = await read_body(headers, message, receive, share, stays)
            if not isinstance(body, Spool):
                content = await unless_gone(
                    gate.in_thread(partial(self.large_answer, body, read, write, cost, scope)), receive
                )
                if content is not None:
                    await respond(send, content, form)
                    return
            await in_annex(gate, scope, body, share, receive, send)

    def large_answer(self, body: Body, read: Reader, write: Writer, cost: float, scope: Scope) -> bytes | None:
        """The answer, or None where it is not to be computed in a thread of this process."""
        answer_budget().require_room()
        annexed = "annex" in scope
        if not annexed and values(safetensors.header_text(body) if read is read_safetensors else body) > THREAD_VALUES:
            return None
        asked, load = self.decode(body, read, cost, last=annexed)
        if annexed:
            memory.give_back()  # Else the memory that reading took would add to that of computing and writing.
        elif load.place is Place.ANNEX:
            return None
        else:
            release(body)
        account(scope, load)
        answer, encoding = self.content(asked, write), asked.encoding
        del asked  # Else the request's arrays would take memory while the answer is written.
        if write is write_json:
            hand_over(answer)
        return write(answer, encoding)

    def decode(self, body: Body, read: Reader, cost: float = TEXT, last: bool = False) -> tuple[Any, Load]:
        """The validated request and what it asks of the server; raises what is wrong with it.

        `last`: nobody needs the body after this, so that its memory can go to what is made of it.
        """
        limits, size = settings().limits, len(body)
        if size > LOOP_BYTES and read is not read_safetensors:
            limits.require_values(body)
        try:
            asked = self.validated(read(body), limits)
        except InvalidRequest:
            if read is not read_json or size < large_json.LARGE:
                raise
            # What is said of a mistake does not depend on how large the body is.
            asked = self.validated(read_json_plainly(body), limits)
        numbers, work = asked.numbers(), asked.work()
        limits.require_numbers(numbers)
        limits.require_work(work, asked.work_field)
        if cost == TEXT and asked.encoding == "base64" and not large_json.holds_numbers(body):
            cost = BASE64
        if last:
            release(body)
        work += LAYER_WORK * asked.depth()
        return asked, Load(numbers, work, place(size, numbers, work, cost))

    def validated(self, data: Any, limits: Limits) -> Any:
        try:
            return self.model.model_validate(data, context=limits)
        except ValidationError as error:
            raise InvalidRequest(error, data, self.model) from None

    def content(self, asked: Any, write: Writer) -> Any:
        """What `write` is to write; raises NonFinite with the place of a number in the request's layout."""
        try:
            return self.computed(asked, write)
        except NonFinite as error:
            asked.layout.turn(error)
            raise

    def computed(self, asked: Any, write: Writer) -> Any:
        return self.endpoint(asked)

    def answer(self, asked: Any, write: Writer) -> bytes:
        return write(self.content(asked, write), asked.encoding)


def account(scope: Scope, load: Load) -> None:
    """Counts a computation that is about to begin, and has its client charged where there is a rate limit."""
    metrics().computation(load.numbers, load.work)
    charge = scope["state"].get("charge")
    if charge is not None:
        charge(load.numbers, load.work)


async def in_annex(
    gate: Gate, scope: Scope, body: Body | Spool, share: BodyShare, receive: Receive, send: Send
) -> None:
    """Has an annex answer, in a slot of the gate."""
    entered = await unless_gone(gate.enter(), receive)
    try:
        await annexes.answer(scope, body if isinstance(body, Spool) else share.spool(body), receive, send)
    finally:
        gate.leave(entered)


async def unless_gone(work: Coroutine[Any, Any, T], receive: Receive) -> T:
    """What `work` returns; where the client goes before that, `work` is cancelled and ClientDisconnect raised."""
    task = asyncio.ensure_future(work)
    watcher = asyncio.ensure_future(disconnected(receive))
    try:
        await asyncio.wait((task, watcher), return_when=asyncio.FIRST_COMPLETED)
        while not task.done():
            # When this returns, nothing of the work may go on: an annex begins with the next.
            task.cancel()
            await asyncio.wait((task,), timeout=0.1)
        if watcher.done() and task.cancelled():
            raise ClientDisconnect
        return task.result()
    finally:
        task.cancel()
        watcher.cancel()
        del task  # Its error's traceback holds this frame, and so would keep all of them, and a large body, for long.


async def gathered(message: Message, receive: Receive, most: int) -> Message:
    """The first messages of a body as one, until it is whole or has more than `most` bytes: what is small is so in
    however many pieces it comes."""
    body = message.get("body", b"")
    while message.get("more_body", False) and len(body) <= most:
        message = await receive()
        body += message.get("body", b"")
    return {**message, "body": body}


async def disconnected(receive: Receive) -> None:
    """Returns when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def respond(send: Send, content: bytes, form: bytes) -> None:
    """Sends an answer in one of its forms; a long one in pieces, so that its client's pace can be told, and only as far
    as it need not give way to others."""
    length = str(len(content)).encode()
    headers = [(b"content-type", form), (b"content-length", length), (b"cache-control", b"no-store")]
    if form == SAFETENSORS:
        headers.append(AS_FILE)
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if len(content) <= PIECE:
        await send({"type": "http.response.body", "body": content})
        return
    with answer_budget().hold(len(content)) as answer:
        view = memoryview(content)
        for start in range(0, len(content), PIECE):
            if answer.gives_way:
                log.warning("an answer that its client was slow to take was cut off", bytes=len(content), sent=start)
                raise ClientDisconnect
            more = start + PIECE < len(content)
            await send({"type": "http.response.body", "body": view[start : start + PIECE], "more_body": more})
