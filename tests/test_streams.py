"""Streams, disconnects, deadlines and resumption against a real server process."""

import asyncio
import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import Request
from structlog.testing import capture_logs

from app.training import AHEAD, JSON_LINES, Stream
from benchmarks.memory import family
from tests.conftest import Server, until
from tests.test_bad_input import refused
from tests.test_training import continued, request

SSE, LINES = "text/event-stream", "application/jsonl"


def events(client: httpx.Client, asked: dict[str, Any], form: str = SSE) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and content of each event of a stream."""
    with client.stream("POST", "/v1/train", json=asked, headers={"Accept": form}) as response:
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"] == form
        name = ""
        for line in response.iter_lines():
            if form == LINES:
                event = json.loads(line)
                assert next(iter(event)) == "event"
                yield event.pop("event"), event
            elif line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                yield name, json.loads(line.removeprefix("data: "))


@pytest.mark.parametrize("form", [SSE, LINES])
def test_the_result_of_a_stream_is_the_json_answer(client: httpx.Client, post: Any, form: str) -> None:
    asked = request(post, optimizer="adam", metrics=["accuracy"], checkpoint_every=1)
    seen = list(events(client, asked, form))
    assert seen[-1] == ("result", post("/v1/train", asked))
    names = [name for name, _ in seen]
    assert names.count("checkpoint") == 3 and names[0] == "progress"
    first = seen[0][1]
    assert first["epochs"] == 3 and first["epoch"] == 1
    assert {k: v for k, v in first.items() if k != "epochs"} == seen[-1][1]["history"][0]


def test_short_epochs_do_not_flood(client: httpx.Client, post: Any) -> None:
    start = time.monotonic()
    seen = list(events(client, request(post, epochs=2000)))
    seconds = time.monotonic() - start
    progress = [content for name, content in seen if name == "progress"]
    assert 2 <= len(progress) <= 10 * seconds + 2
    assert len(seen[-1][1]["history"]) == 2000


def test_a_run_cut_at_a_checkpoint_ends_at_the_same_bits(client: httpx.Client, post: Any) -> None:
    asked = request(post, optimizer={"kind": "nadam"}, epochs=40, checkpoint_every=3)
    whole = post("/v1/train", asked)
    for name, checkpoint in events(client, asked):
        if name == "checkpoint" and checkpoint["completed_epochs"] >= 12:
            break
    assert checkpoint["completed_epochs"] < 40
    rest = continued({**asked, "epochs": 40 - checkpoint["completed_epochs"]}, checkpoint)
    answer = post("/v1/train", rest)
    assert answer["network"] == whole["network"] and answer["optimizer_state"] == whole["optimizer_state"]


@pytest.mark.parametrize(
    "end", [{"early_stopping": {"monitor": "loss", "patience": 1, "min_delta": 1e6}}, {"target_loss": 1e6}, {}]
)
def test_the_last_epoch_has_its_checkpoint_whatever_ends_the_run(client: httpx.Client, post: Any, end: Any) -> None:
    asked = request(post, checkpoint_every=1, **end)
    seen = list(events(client, asked))
    result, checkpoints = seen[-1][1], [content for name, content in seen if name == "checkpoint"]
    assert {name: result[name] for name in checkpoints[-1]} == checkpoints[-1]


def test_a_run_that_stopped_early_goes_on_while_it_improves(post: Any) -> None:
    rule = {"monitor": "loss", "patience": 3, "min_delta": 1e-9}
    still = request(post, epochs=9, optimizer={"kind": "sgd", "learning_rate": 0}, early_stopping=rule)
    stopped = post("/v1/train", still)
    again = post("/v1/train", continued(still, stopped))
    assert (again["completed_epochs"], again["stopped_because"]) == (5, "early_stopping")
    faster = continued({**still, "optimizer": {"kind": "sgd", "learning_rate": 0.1}}, stopped)
    assert post("/v1/train", faster)["stopped_because"] == "epochs"
    faster["optimizer_state"].pop("early_stopping")
    afresh = post("/v1/train", {**faster, "optimizer": still["optimizer"]})
    assert (afresh["completed_epochs"], afresh["stopped_because"]) == (8, "early_stopping")


def test_an_error_before_the_start_is_an_ordinary_problem(client: httpx.Client, post: Any) -> None:
    response = client.post("/v1/train", json=request(post, targets=[9] * 23), headers={"Accept": SSE})
    refused(response, 422, "invalid-target")
    refused(client.post("/v1/train", json={}, headers={"Accept": "text/csv"}), 406, "not-acceptable")


def test_a_late_error_is_a_problem_event(client: httpx.Client, post: Any) -> None:
    """Outputs that leave [0, 1] after some epochs are no probabilities any more."""
    asked = request(post, epochs=500, batch_size=None, optimizer={"kind": "sgd", "learning_rate": 0.02})
    asked["loss"] = "binary_cross_entropy"
    asked["targets"] = [[1, 1, 1]] * 23
    asked["network"]["layers"][0]["activation"] = "sigmoid"
    asked["network"]["layers"][1] |= {"activation": "identity", "bias": [0.2, 0.2, 0.2]}
    asked["network"]["layers"][1]["weights"] = [[0.1] * 3] * 5
    seen = list(events(client, asked))
    assert seen[0][0] == "progress"
    name, problem = seen[-1]
    assert name == "problem" and problem["type"] == "/problems/not-probabilities" and problem["status"] == 422


def test_a_mistake_of_the_servers_in_a_stream_is_logged() -> None:
    def broken() -> Iterator[tuple[str, dict[str, Any]]]:
        yield "progress", {"epoch": 1}
        raise RuntimeError("overlooked")

    async def stream() -> bytes:
        run: Any = SimpleNamespace(asked=SimpleNamespace(encoding="json"), events=broken)
        made = Stream(lambda: run, JSON_LINES, threading.Event())
        made.work()
        asking = Request({"type": "http", "state": {"request_id": "6f1d"}})
        return b"".join([event async for event in made.events(asking)])

    with capture_logs() as lines:
        _, problem, _ = asyncio.run(stream()).split(b"\n")
    assert json.loads(problem)["type"] == "/problems/internal-error" and b"overlooked" not in problem
    assert [(line["log_level"], line["request_id"], str(line["exc_info"])) for line in lines] == [
        ("error", "6f1d", "overlooked")
    ]


def test_a_run_waits_for_a_client_that_reads_slowly() -> None:
    made, gone = 0, threading.Event()

    def endless() -> Iterator[tuple[str, dict[str, Any]]]:
        nonlocal made
        while not gone.is_set():
            made += 1
            yield "progress", {"epoch": made}

    async def scenario() -> None:
        run: Any = SimpleNamespace(asked=SimpleNamespace(encoding="json"), events=endless)
        stream = Stream(lambda: run, JSON_LINES, gone)
        worker = threading.Thread(target=stream.work)
        worker.start()
        try:
            for read in range(3):
                await asyncio.to_thread(until, lambda read=read: made == read + AHEAD + 1)
                await asyncio.sleep(0.2)
                assert made == read + AHEAD + 1
                await stream.next()
        finally:
            gone.set()
            await asyncio.to_thread(worker.join)

    asyncio.run(scenario())


def cpu_seconds(pid: int) -> float:
    """Of a process and its children, which compute the longer runs."""
    ticks = 0
    for each in family(pid):
        with contextlib.suppress(FileNotFoundError), open(f"/proc/{each}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc")
@pytest.mark.parametrize("form", [SSE, "application/json"])
def test_a_client_that_goes_away_frees_the_processor(post: Any, form: str) -> None:
    with Server(CHAINRULE_MAX_THREADS="1") as server:
        asked = request(post, epochs=1_000_000, batch_size=None)
        with httpx.Client(base_url=server.url) as client, contextlib.suppress(httpx.ReadTimeout):
            if form == SSE:
                for _ in events(client, asked):
                    break
            else:
                client.post("/v1/train", json=asked, timeout=0.5)
        time.sleep(1)
        before = cpu_seconds(server.process.pid)
        time.sleep(0.5)
        assert cpu_seconds(server.process.pid) - before < 0.1
        # The only slot is free again.
        with httpx.Client(base_url=server.url, timeout=2) as client:
            assert client.post("/v1/train", json=request(post)).status_code == 200


def test_a_quiet_stream_is_kept_alive(post: Any) -> None:
    with Server(CHAINRULE_KEEP_ALIVE_SECONDS="0.05") as server:
        wide = [{"units": 1500, "activation": "tanh"}, {"units": 3, "activation": "softmax"}]
        network = post("/v1/initialize", {"input_size": 1500, "layers": wide, "encoding": "base64"})["network"]
        asked = {"network": network, "inputs": [[0.1] * 1500] * 300, "targets": [0] * 300, "loss": "cross_entropy",
                 "optimizer": "sgd", "epochs": 2, "batch_size": None, "include": ["history"]}  # fmt: skip
        with (
            httpx.Client(base_url=server.url, timeout=60) as client,
            client.stream("POST", "/v1/train", json=asked, headers={"Accept": SSE}) as response,
        ):
            text = response.read().decode()
        assert ": keep-alive\n\n" in text and "event: result" in text


def test_the_deadline_of_the_server_ends_a_run_cleanly(post: Any) -> None:
    with Server(CHAINRULE_MAX_SECONDS="0.3") as server, httpx.Client(base_url=server.url, timeout=10) as client:
        for own in (None, 60.0):
            asked = request(post, epochs=1_000_000, max_seconds=own)
            answer = client.post("/v1/train", json=asked).json()
            assert answer["stopped_because"] == "deadline"
            assert answer["completed_epochs"] == len(answer["history"]) > 0
