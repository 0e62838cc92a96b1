"""POST /v1/train: a run in a worker thread, answered as one JSON object or watched as a stream of events."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from threading import Event as Flag
from typing import Any

import orjson
from anyio import CapacityLimiter, to_thread
from fastapi import Request
from starlette.types import Receive, Scope, Send

from app.compute import ComputeRoute, read_body, respond
from app.errors import InvalidRequest, ProblemError, answer_error
from app.forms import Headers, Writer, chosen, headers_of, reader
from app.settings import settings
from engine.errors import EngineError
from engine.training import Checkpoint, Outcome, train
from schemas.answers import only, write
from schemas.training import TrainRequest

SSE = b"text/event-stream"
JSON_LINES = b"application/jsonl"
STREAMS = (SSE, JSON_LINES)
PROGRESS_SECONDS = 0.1
"""At most one progress event in this time, so that short epochs do not flood the line."""


WORK_SECONDS, REST_SECONDS = 0.005, 0.00005


class Run:
    """A training run: its events one after the other, and the flag and the deadline that end it."""

    def __init__(self, asked: TrainRequest) -> None:
        self.asked = asked
        self.gone = Flag()
        self.rested = time.monotonic()
        self.deadline = self.rested + min(asked.max_seconds or settings().max_seconds, settings().max_seconds)

    def stop(self) -> bool:
        """Whether the run must end; asked before each batch.

        A thread that enters and leaves NumPy all the time lets go of the interpreter's lock so briefly that no other
        thread is awake in time to take it, and the event loop starves. A real rest, now and then, hands it over.
        """
        now = time.monotonic()
        if now - self.rested > WORK_SECONDS:
            time.sleep(REST_SECONDS)
            self.rested = time.monotonic()
        return self.gone.is_set() or now > self.deadline

    def events(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Name and content of each event; the last one is the result."""
        asked = self.asked
        network = asked.engine_network()
        data, validation = asked.split_data(network)
        plan = asked.plan()
        start = asked.start(network, plan)
        epochs = asked.completed_epochs + asked.epochs
        told = 0.0
        for event in train(start, data, plan, validation, self.stop):
            if isinstance(event, Outcome):
                answer = {
                    **asked.wire_checkpoint(event.checkpoint),
                    "stopped_because": event.reason,
                    "history": event.history,
                }
                yield "result", only(answer, asked.include)
            elif isinstance(event, Checkpoint):
                yield "checkpoint", asked.wire_checkpoint(event)
            elif event["epoch"] == epochs or time.monotonic() - told >= PROGRESS_SECONDS:
                told = time.monotonic()
                yield "progress", {**event, "epochs": epochs}

    def result(self, write: Writer) -> bytes:
        """The answer, which is the content of the last event."""
        for name, content in self.events():
            if name == "result":
                return write(content, self.asked.encoding)
        raise AssertionError("a run ends with its result")


class TrainRoute(ComputeRoute):
    """The route of training: its work is always a thread's, and a client that goes away ends it."""

    stream_forms = STREAMS

    async def handle_post(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        try:
            headers = headers_of(scope["headers"])
            form = chosen(headers, (*self.answer_forms, *self.stream_forms))
            run = await self.read(headers, receive)
            if form in self.answer_forms:
                content = await until_gone(run, self.answer_forms[form], receive)
                if content is not None:
                    await respond(send, content, form)
                return
        except (EngineError, InvalidRequest, ProblemError) as error:
            await answer_error(request, error)(scope, receive, send)
            return
        await self.stream(run, form, request, receive, send)

    async def read(self, headers: Headers, receive: Receive) -> Run:
        read = reader(headers, self.request_forms)
        body = await read_body(headers, receive, settings().max_body_bytes)
        asked, _ = await to_thread.run_sync(self.decode, body, read)
        settings().limits.require_work(asked.work())
        return Run(asked)

    async def stream(self, run: Run, form: bytes, request: Request, receive: Receive, send: Send) -> None:
        """Sends each event as it comes; an error before the first one is an ordinary answer."""
        watcher = asyncio.create_task(disconnected(receive, run.gone))
        started = False
        try:
            async for chunk in chunks(run, form, request):
                if isinstance(chunk, Exception):
                    if not started:
                        await answer_error(request, chunk)(request.scope, receive, send)
                        return
                    chunk = written("problem", problem_of(request, chunk), form)
                if not started:
                    headers = [(b"content-type", form), (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]
                    await send({"type": "http.response.start", "status": 200, "headers": headers})
                    started = True
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            run.gone.set()
            watcher.cancel()


_slots: CapacityLimiter | None = None


def slots() -> CapacityLimiter:
    """As many runs at once as there are threads for large requests, beside those."""
    global _slots
    if _slots is None:
        _slots = CapacityLimiter(settings().max_threads)
    return _slots


async def disconnected(receive: Receive, gone: Flag) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    gone.set()


async def until_gone(run: Run, write: Writer, receive: Receive) -> bytes | None:
    """The answer, or None for a client that went away."""
    watcher = asyncio.create_task(disconnected(receive, run.gone))
    try:
        content = await to_thread.run_sync(run.result, write, limiter=slots())
        return None if run.gone.is_set() else content
    finally:
        run.gone.set()
        watcher.cancel()


async def chunks(run: Run, form: bytes, request: Request) -> AsyncIterator[bytes | Exception]:
    """The written events of a run, with a comment where an event stream is quiet for long."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()

    def put(item: bytes | Exception | None) -> None:
        loop.call_soon_threadsafe(queue.put_nowait, item)

    def work() -> None:
        try:
            for name, content in run.events():
                put(written(name, content, form, run.asked.encoding))
        except Exception as error:
            put(error)
        put(None)

    worker = asyncio.ensure_future(to_thread.run_sync(work, limiter=slots()))
    while True:
        try:
            item = await asyncio.wait_for(queue.get(), settings().keep_alive_seconds if form == SSE else None)
        except TimeoutError:
            yield b": keep-alive\n\n"
            continue
        if item is None:
            break
        yield item
    await worker


def written(name: str, content: dict[str, Any], form: bytes, encoding: str = "json") -> bytes:
    if form == SSE:
        return b"event: " + name.encode() + b"\ndata: " + write(content, encoding) + b"\n\n"
    return write({"event": name, **content}, encoding) + b"\n"


def problem_of(request: Request, error: Exception) -> dict[str, Any]:
    problem: dict[str, Any] = orjson.loads(bytes(answer_error(request, error).body))
    return problem
