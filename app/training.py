"""POST /v1/train: a run in a thread or, where it is long, an annex, as one JSON object or a stream of events."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from io import BytesIO
from threading import Event as Flag
from threading import Semaphore
from typing import Any

import orjson
from fastapi import Request
from starlette.types import Receive, Scope, Send

from app.access import UNIT_WORK
from app.bodies import Spool, anything, body_budget, read_body
from app.compute import (
    REFUSALS,
    ComputeRoute,
    Place,
    account,
    fits_loop,
    in_annex,
    respond,
    unless_gone,
)
from app.drain import drain
from app.errors import answer_error, problem_of
from app.forms import Reader, Writer, chosen, headers_of, reader
from app.gate import Gate, gates
from app.logs import log_mistake
from app.memory import memory
from app.metrics import EPOCHS, RUNS, metrics
from app.settings import settings
from app.untaken import answer_budget
from engine.errors import NonFinite
from engine.measures import Row
from engine.training import Checkpoint, Event, Outcome, train
from schemas.answers import only, write
from schemas.limits import Body
from schemas.training import TrainRequest

SSE = b"text/event-stream"
JSON_LINES = b"application/jsonl"
STREAMS = (SSE, JSON_LINES)
PROGRESS_SECONDS = 0.1
"""At most one progress event in this time, so that short epochs do not flood the line."""

AHEAD = 16
"""How many events of a stream may wait for its client before the run waits too."""
THREAD_STEPS = 100
"""A run of more steps is an annex's."""
SECOND_WORK = 1000 * UNIT_WORK
"""As many multiplications a second of a run counts at most, where they are few and their handling takes long."""
WORK_SECONDS, REST_SECONDS = 0.005, 0.00005
"""After so much work a run rests for a moment; see `Run.stop`."""


def seconds_of(asked: TrainRequest) -> float:
    """How long a run may take."""
    return min(asked.max_seconds or settings().max_seconds, settings().max_seconds)


class History:
    """The rows of a run's epochs as they will be written: as dictionaries they would take more than twice the memory,
    which in a long run of a small network is most of it."""

    def __init__(self) -> None:
        self.text = BytesIO()

    def add(self, row: Row) -> None:
        self.text.write(b"," if self.text.tell() else b"[")
        self.text.write(write(row))

    def written(self) -> orjson.Fragment:
        """The array of all rows, after which none is added; `getvalue` copies nothing."""
        self.text.write(b"]" if self.text.tell() else b"[]")
        return orjson.Fragment(self.text.getvalue())


class Run:
    """A training run: its events one after the other, and the flag and the deadline that end it.

    Without a flag it is an example of the OpenAPI document, which is not counted.
    """

    def __init__(self, asked: TrainRequest, gone: Flag | None = None) -> None:
        self.asked = asked
        self.served = gone is not None
        self.gone = gone or Flag()
        self.rested = time.monotonic()
        self.deadline = self.rested + seconds_of(asked)

    def stop(self) -> bool:
        """Whether the run must end; asked before each batch.

        A thread that enters and leaves NumPy all the time lets go of the interpreter's lock so briefly that no other
        thread is awake in time to take it, and the event loop starves. A real rest, now and then, hands it over.
        """
        now = time.monotonic()
        if now - self.rested > WORK_SECONDS:
            time.sleep(REST_SECONDS)
            self.rested = time.monotonic()
        return self.gone.is_set() or now > self.deadline or drain.ends_runs()

    def events(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Name and content of each event; the last one is the result.

        Raises NonFinite with the place of a number in the request's layout.
        """
        try:
            yield from self.computed()
        except NonFinite as error:
            self.asked.layout.turn(error)
            raise

    def computed(self) -> Iterator[tuple[str, dict[str, Any]]]:
        asked = self.asked
        network = asked.engine_network()
        data, validation = asked.split_data(network)
        plan = asked.plan()
        start = asked.start(network, plan)
        epochs = asked.completed_epochs + asked.epochs
        told, untold = 0.0, None
        history = None if asked.include is not None and "history" not in asked.include else History()
        run = train(start, data, plan, validation, self.stop)
        for event in counted(run, self.gone) if self.served else run:
            if isinstance(event, Outcome):
                if untold is not None:
                    yield "progress", untold
                last = asked.wire_checkpoint(event.checkpoint)
                if event.reason == "deadline":
                    yield "checkpoint", last
                rows = None if history is None else history.written()
                yield "result", only({**last, "stopped_because": event.reason, "history": rows}, asked.include)
            elif isinstance(event, Checkpoint):
                yield "checkpoint", asked.wire_checkpoint(event)
            else:
                if history is not None:
                    history.add(event)
                untold = {**event, "epochs": epochs}
                if event["epoch"] == epochs or time.monotonic() - told >= PROGRESS_SECONDS:
                    yield "progress", untold
                    told, untold = time.monotonic(), None

    def result(self, write: Writer) -> bytes:
        """The answer, which is the content of the last event."""
        for name, content in self.events():
            if name == "result":
                return write(content, self.asked.encoding)
        raise AssertionError("a run ends with its result")


def counted(events: Iterator[Event], gone: Flag) -> Iterator[Event]:
    """The same events; the metrics count each epoch, and what ended the run."""
    reason = "problem"
    try:
        for event in events:
            if isinstance(event, Outcome):
                reason = "client_gone" if gone.is_set() else event.reason
            elif not isinstance(event, Checkpoint):
                metrics().add(EPOCHS)
            yield event
    finally:
        metrics().add(RUNS, 1, reason)


class TrainRoute(ComputeRoute):
    """The route of training: it always works in a thread or an annex, and ends when its client goes."""

    stream_forms = STREAMS

    async def handle_post(self, scope: Scope, receive: Receive, send: Send) -> None:
        gate = gates()["training"]
        try:
            # Before anything else: under load, a refusal must cost little.
            gate.require_place()
            answer_budget().make_room()
            await self.handle_run(gate, scope, receive, send)
        except REFUSALS as error:
            await answer_error(Request(scope), error)(scope, receive, send)

    async def handle_run(self, gate: Gate, scope: Scope, receive: Receive, send: Send) -> None:
        headers, gone = headers_of(scope["headers"]), Flag()
        form = chosen(headers, (*self.answer_forms, *self.stream_forms))
        read = reader(headers, self.request_forms)
        try:
            with body_budget().share() as share, memory.lent():
                stays = anything if "annex" in scope else fits_loop
                body = await read_body(headers, await receive(), receive, share, stays)
                if isinstance(body, Spool) or ("annex" not in scope and self.is_long(body, read)):
                    await in_annex(gate, scope, body, share, receive, send)
                elif form in self.answer_forms:
                    work = partial(self.result, scope, body, read, self.answer_forms[form], gone)
                    await respond(send, await unless_gone(gate.in_thread(work), receive), form)
                else:
                    stream = Stream(partial(self.run, scope, body, read, gone), form, gone)
                    await unless_gone(stream.send(gate, Request(scope), send), receive)
        finally:
            gone.set()

    def is_long(self, body: Body, read: Reader) -> bool:
        """Whether a run belongs in an annex: in a thread, many steps, or an answer with large tables of classes, would
        keep the event loop from the interpreter.

        Raises what is wrong with the request.
        """
        asked, load = self.decode(body, read)
        return asked.steps() > THREAD_STEPS or load.place is Place.ANNEX

    def run(self, scope: Scope, body: Body, read: Reader, gone: Flag) -> Run:
        """The run that a body asks for; the body's memory is given back."""
        asked, load = self.decode(body, read, last=True)
        handling = min(asked.handling(), int(seconds_of(asked) * SECOND_WORK))
        account(scope, load._replace(work=load.work + handling))
        return Run(asked, gone)

    def result(self, scope: Scope, body: Body, read: Reader, write: Writer, gone: Flag) -> bytes:
        return self.run(scope, body, read, gone).result(write)


class Stream:
    """The events of a run, sent as they come, with a comment where an event stream is quiet for long.

    A client that reads slowly slows the run down, once `AHEAD` events wait for it.
    """

    def __init__(self, run: Callable[[], Run], form: bytes, gone: Flag) -> None:
        self.run = run
        self.form = form
        self.gone = gone
        self.room = Semaphore(AHEAD)
        self.loop = asyncio.get_running_loop()
        self.queue: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()

    def put(self, item: bytes | Exception | None) -> None:
        while not self.room.acquire(timeout=0.1):
            if self.gone.is_set():
                return
        self.loop.call_soon_threadsafe(self.queue.put_nowait, item)

    def work(self) -> None:
        """The thread's part: puts the written events, at last an error if there is one, and None."""
        try:
            run = self.run()
            for name, content in run.events():
                self.put(written(name, content, self.form, run.asked.encoding))
        except Exception as error:
            self.put(error)
        self.put(None)

    async def send(self, gate: Gate, request: Request, send: Send) -> None:
        """Sends each event; raises an error before the first one, which is an ordinary answer then."""
        worker = await gate.thread(self.work)
        if request.scope.get("http_version") == "1.0":  # It has no answer of unknown length.
            await respond(send, b"".join([event async for event in self.events(request)]), self.form)
            return
        started = False
        async for event in self.events(request):
            if not started:
                headers = [(b"content-type", self.form), (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                started = True
            await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        await worker

    async def events(self, request: Request) -> AsyncIterator[bytes]:
        """The written events; an error is raised before the first one, and an event after it."""
        first = True
        while (item := await self.next()) is not None:
            if isinstance(item, Exception):
                if first:
                    raise item
                if not isinstance(item, REFUSALS):
                    log_mistake(request.state.request_id, item)
                item = written("problem", problem_of(request, item), self.form)
            first = False
            yield item

    async def next(self) -> bytes | Exception | None:
        try:
            # asyncio.wait_for would let a cancellation go by that comes together with an item, until Python 3.12.
            async with asyncio.timeout(settings().keep_alive_seconds if self.form == SSE else None):
                item = await self.queue.get()
        except TimeoutError:
            return b": keep-alive\n\n"
        self.room.release()
        return item


def written(name: str, content: dict[str, Any], form: bytes, encoding: str = "json") -> bytes:
    """An event in one of the two forms of streams."""
    if form == SSE:
        return b"event: " + name.encode() + b"\ndata: " + write(content, encoding) + b"\n\n"
    return write({"event": name, **content}, encoding) + b"\n"
