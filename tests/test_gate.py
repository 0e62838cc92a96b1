"""The gate: slots, queue and deadline, counted without a gap."""

import asyncio
import threading
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from starlette.types import Message, Scope

from app import bodies, compute
from app import gate as gates
from app.bodies import BodyBudget, anything, read_body
from app.errors import ProblemError
from app.gate import Gate
from app.main import compute_routes, create_app
from app.memory import QUIET_SECONDS, Memory
from tests.conftest import until


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(coroutine)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_slots_then_places_then_503() -> None:
    async def scenario() -> None:
        gate = Gate(slots=2, places=1, patience=60)
        first, _ = await gate.enter(), await gate.enter()
        third = asyncio.create_task(gate.enter())
        await settle()
        assert (gate.in_use, gate.waiting) == (2, 1)
        with pytest.raises(ProblemError) as refusal:
            await gate.enter()
        assert refusal.value.name == "overloaded" and int(refusal.value.headers["Retry-After"]) >= 1  # type: ignore[index]
        assert (gate.in_use, gate.waiting) == (2, 1)
        gate.leave(first)
        await third
        assert (gate.in_use, gate.waiting) == (2, 0)

    run(scenario())


def test_the_queue_is_first_come_first_served_and_nobody_overtakes() -> None:
    async def scenario() -> None:
        gate = Gate(slots=1, places=9, patience=60)
        entered, order = await gate.enter(), []

        async def visit(name: int) -> None:
            at = await gate.enter()
            order.append(name)
            gate.leave(at)

        visits = [asyncio.create_task(visit(name)) for name in range(5)]
        await settle()
        gate.leave(entered)
        visits.append(asyncio.create_task(visit(99)))  # The slot has been handed on already.
        await asyncio.gather(*visits)
        assert order == [0, 1, 2, 3, 4, 99] and gate.in_use == 0

    run(scenario())


def test_whoever_waits_too_long_is_refused() -> None:
    async def scenario() -> None:
        gate = Gate(slots=1, places=1, patience=0.01)
        entered = await gate.enter()
        with pytest.raises(ProblemError):
            await gate.enter()
        assert (gate.in_use, gate.waiting) == (1, 0)
        gate.leave(entered)
        assert gate.in_use == 0

    run(scenario())


def test_who_would_wait_in_vain_is_refused_at_once() -> None:
    async def scenario() -> None:
        gate = Gate(slots=1, places=100, patience=60)
        gate.visit_seconds = 50
        await gate.enter()
        waiting = asyncio.create_task(gate.enter())
        await settle()
        with pytest.raises(ProblemError) as refusal:
            gate.require_place()
        assert refusal.value.headers == {"Retry-After": "100"}
        waiting.cancel()

    run(scenario())


def test_how_long_the_next_one_would_wait_is_told_by_the_last_visits(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(gates, "monotonic", lambda: now)

    async def scenario() -> None:
        nonlocal now
        gate = Gate(slots=1, places=9, patience=60)
        for seconds in [1.0] * 50 + [10.0] * 50:
            entered = await gate.enter()
            now += seconds
            gate.leave(entered)
        assert gate.wait_seconds() == 0
        await gate.enter()
        assert gate.wait_seconds() == pytest.approx(10, rel=1e-4)

    run(scenario())


@pytest.mark.parametrize("handed_over", [False, True])
def test_whoever_goes_while_it_waits_costs_no_slot(handed_over: bool) -> None:
    """Also where the slot was handed over in the very moment of going."""

    async def scenario() -> None:
        gate = Gate(slots=1, places=1, patience=60)
        entered = await gate.enter()
        waiting = asyncio.create_task(gate.enter())
        await settle()
        if handed_over:
            gate.leave(entered)
        waiting.cancel()
        if not handed_over:
            gate.leave(entered)
        await asyncio.gather(waiting, return_exceptions=True)
        assert waiting.cancelled() and (gate.in_use, gate.waiting) == (0, 0)

    run(scenario())


def test_a_slot_is_the_threads_until_it_ends() -> None:
    async def scenario() -> None:
        gate = Gate(slots=1, places=0, patience=60)
        end = threading.Event()
        task = asyncio.create_task(gate.in_thread(end.wait))
        await settle()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert gate.in_use == 1
        end.set()
        while gate.in_use:
            await asyncio.sleep(0.001)
        assert await gate.in_thread(lambda: 3) == 3
        with pytest.raises(ZeroDivisionError):
            await gate.in_thread(lambda: 1 / 0)
        assert gate.in_use == 0

    run(scenario())


def test_a_thousand_visits_with_random_departures_leave_nothing_behind() -> None:
    async def scenario() -> None:
        gate = Gate(slots=3, places=20, patience=0.002)

        async def visit(number: int) -> None:
            entered = await gate.enter()
            try:
                assert gate.in_use <= gate.slots and gate.waiting <= gate.places
                await asyncio.sleep(0.0001 * (number % 7))
            finally:
                gate.leave(entered)

        tasks = []
        for number in range(1000):
            tasks.append(asyncio.create_task(visit(number)))
            if number % 3 == 0:
                tasks[number // 2].cancel()
            if number % 10 == 0:
                await asyncio.sleep(0)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(r) for r in results} == {type(None), ProblemError, asyncio.CancelledError}
        assert (gate.in_use, gate.waiting) == (0, 0)

    run(scenario())


def test_bodies_fill_at_most_the_budget() -> None:
    budget = BodyBudget(100)
    with budget.share() as first:
        first.take(20)
        first.take(40)
        with budget.share() as second:
            second.take(40)
            with pytest.raises(ProblemError) as refusal:
                second.take(1)
        assert refusal.value.name == "overloaded" and budget.held == 60
    assert budget.held == 0


@pytest.mark.parametrize("headers", [{}, {b"content-length": b"11"}], ids=["as it comes", "as it is declared"])
def test_the_application_itself_refuses_a_body_that_is_too_large(
    monkeypatch: pytest.MonkeyPatch, headers: dict[bytes, bytes]
) -> None:
    """It may be served by another protocol than its own, as it is on Ray."""
    monkeypatch.setattr(bodies, "settings", lambda: SimpleNamespace(max_body_bytes=10))
    left = [b"01234", b"56789", b"x"][: 1 if headers else 3]

    async def receive() -> Any:
        return {"type": "http.request", "body": left.pop(0), "more_body": True}

    async def scenario() -> None:
        with BodyBudget(1000).share() as share:
            with pytest.raises(ProblemError) as refusal:
                await read_body(headers, await receive(), receive, share, anything)
            assert refusal.value.name == "payload-too-large" and not left

    run(scenario())


def test_a_body_that_an_annex_gets_is_in_memory_once() -> None:
    body = bytearray(b"0" * 1000)
    with BodyBudget(1000).share() as share:
        assert len(share.spool(body)) == 1000 and len(body) == 0


def test_where_no_thread_can_be_started_the_slot_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def scenario() -> None:
        gate = Gate(slots=1, places=0, patience=60)
        with monkeypatch.context() as short_of_threads:
            short_of_threads.setattr(threading.Thread, "start", fail)
            with pytest.raises(MemoryError):
                await gate.in_thread(lambda: 1)
        assert gate.in_use == 0 and await gate.in_thread(lambda: 1) == 1

    run(scenario())


@pytest.mark.parametrize(("pieces", "status"), [(1, 200), (2, 200), (40, 200), (40_000, 503)])
def test_a_small_request_takes_no_slot_in_however_many_pieces_it_comes(
    pieces: int, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = Gate(slots=1, places=0, patience=60)
    full.in_use = 1
    monkeypatch.setattr(compute, "gates", lambda: {"compute": full})
    network = {"layers": [{"weights": [[1.0]], "bias": None, "activation": "tanh"}]}
    text = orjson.dumps({"network": network, "inputs": [[1.0]]}).rjust(pieces)
    size = -(-len(text) // pieces)
    left = [text[start : start + size] for start in range(0, len(text), size)]
    sent: list[Message] = []

    async def receive() -> Message:
        body = left.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(left)}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {"type": "http", "method": "POST", "path": "/v1/forward", "headers": [], "state": {}}
    run(compute_routes(create_app())["/v1/forward"](scope, receive, send))  # type: ignore[arg-type]
    assert sent[0]["status"] == status and full.in_use == 1


def test_memory_goes_back_once_it_is_quiet() -> None:
    given: list[int] = []
    memory = Memory()
    memory.trim = given.append

    async def scenario() -> None:
        for _ in range(3):
            with memory.lent():
                await asyncio.sleep(QUIET_SECONDS / 5)
        assert given == []
        await asyncio.to_thread(until, lambda: bool(given))
        await asyncio.sleep(QUIET_SECONDS / 2)
        assert given == [0]

    run(scenario())
