"""Large answers that nobody takes do not fill the memory."""

import asyncio
import json
import socket
from typing import Any

import httpx
import pytest
from starlette.requests import ClientDisconnect

from app import untaken
from app.annex import PIECE
from app.compute import respond
from app.errors import ProblemError
from app.forms import JSON
from app.untaken import AnswerBudget
from tests.conftest import Server, until

LARGE = {"input_size": 600, "layers": [{"units": 600, "activation": "relu"}]}


def test_answers_are_made_while_there_is_room_for_more() -> None:
    budget = AnswerBudget(10, patience=60)
    with budget.hold(10):
        budget.make_room()
        with budget.hold(1):
            for ask in (budget.make_room, budget.require_room):
                with pytest.raises(ProblemError, match="11 bytes of answers wait"):
                    ask()
        budget.require_room()
    assert budget.held == 0 and not budget.waiting


def test_the_oldest_gives_way_once_its_client_has_had_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(untaken, "monotonic", lambda: clock[0])
    budget = AnswerBudget(10, patience=30)
    with budget.hold(9) as first, budget.hold(9) as second:
        for clock[0], gives_way in ((30.0, False), (30.1, True)):
            with pytest.raises(ProblemError):
                budget.make_room()
            assert first.gives_way is gives_way and not second.gives_way


def test_an_answer_that_gives_way_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    budget, sent = AnswerBudget(0, patience=-1), []
    monkeypatch.setattr("app.compute.answer_budget", lambda: budget)

    async def send(message: Any) -> None:
        sent.append(message)
        if len(sent) == 2:
            with pytest.raises(ProblemError):
                budget.make_room()

    with pytest.raises(ClientDisconnect):
        asyncio.run(respond(send, bytes(3 * PIECE), JSON))
    assert [len(message.get("body", b"")) for message in sent] == [0, PIECE]
    assert budget.held == 0


def test_large_requests_are_refused_while_large_answers_are_not_taken() -> None:
    body = json.dumps(LARGE).encode()
    head = f"POST /v1/initialize HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    limits = {"CHAINRULE_MAX_THREADS": "1", "CHAINRULE_MAX_BODY_BYTES": str(2**20)}
    with Server(**limits) as server, httpx.Client(base_url=server.url, timeout=30) as http:
        with socket.create_connection(("127.0.0.1", server.port)) as reader:
            reader.sendall(head + body)
            assert reader.recv(15).startswith(b"HTTP/1.1 200")
            refused = http.post("/v1/initialize", json=LARGE)
            small = http.post("/v1/initialize", json={**LARGE, "input_size": 1})
        assert refused.status_code == 503 and refused.headers["retry-after"] == "1"
        assert "answers wait for their clients" in refused.json()["detail"]
        assert small.status_code == 200
        until(lambda: http.post("/v1/initialize", json=LARGE).status_code == 200)
