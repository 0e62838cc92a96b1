"""The largest requests: answered by a process of their own, to the same bits, and cleanly when it dies."""

import asyncio
import errno
import json
import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from safetensors.numpy import save
from starlette.types import ASGIApp

from app.annex import HEAD, ROOM, SIGNALS, Annex, job_of
from app.attendant import Attendant
from app.bodies import file_in_memory
from app.compute import BASE64, BINARY, LOOP_BYTES, TEXT, THREAD_BYTES, Place, place
from app.drain import drain
from app.errors import InvalidRequest
from app.forms import read_json, read_safetensors
from app.main import compute_routes, create_app
from engine.errors import TooLarge
from schemas import safetensors
from schemas.answers import write
from schemas.diagnose import DiagnoseRequest
from schemas.explain import ExplainRequest
from schemas.limits import Limits
from schemas.tensors import decode, encode_base64
from schemas.training import TrainRequest
from schemas.verify import VerifyRequest
from tests.conftest import Server
from tests.test_bad_input import refused
from tests.test_streams import events
from tests.test_training import request

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
HEADERS = {"Content-Type": "application/json"}


def padded(asked: dict[str, Any], size: int) -> bytes:
    """The request as a body of `size` bytes."""
    text = json.dumps(asked).encode()
    return text + b" " * (size - len(text))


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture(scope="module")
def own_server() -> Iterator[Server]:
    with Server(CHAINRULE_MAX_THREADS="1", CHAINRULE_MAX_BODY_BYTES=str(8 * 2**20)) as running:
        yield running


@pytest.fixture(scope="module")
def own_client(own_server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=own_server.url, timeout=30, headers=HEADERS) as http:
        yield http


def test_the_estimate_sends_each_request_to_its_place() -> None:
    assert place(LOOP_BYTES, 10, 10) is Place.LOOP
    assert place(LOOP_BYTES + 1, 10, 10) is Place.THREAD
    assert place(100, 20_001, 10) is Place.THREAD
    assert place(100, 10, 2_000_001) is Place.THREAD
    assert place(THREAD_BYTES + 1, 10, 10) is Place.ANNEX
    assert place(100, 1_000_001, 10) is Place.ANNEX
    assert place(100, 10, 2_000_000_001) is Place.ANNEX
    assert place(4 * THREAD_BYTES, 4_000_000, 10, BASE64) is Place.THREAD
    assert place(4 * THREAD_BYTES + 1, 10, 10, BASE64) is Place.ANNEX
    assert place(2**30, 2**30, 10, BINARY) is Place.THREAD


@pytest.mark.parametrize("model", [ExplainRequest, DiagnoseRequest, VerifyRequest])
def test_what_takes_milliseconds_of_any_network_is_no_work_of_the_event_loop(model: Any) -> None:
    layer = {"weights": [[1.0]], "bias": None, "activation": "tanh"}
    asked = {"network": {"layers": [layer]}, "inputs": [[1.0]], "targets": [[1.0]], "loss": "mse"}
    made = model.model_validate(asked, context=Limits())
    assert place(100, made.numbers(), made.work()) is Place.THREAD


@pytest.mark.parametrize(
    ("model", "more", "times"),
    [
        (ExplainRequest, {}, 10**7),
        (ExplainRequest, {"focus": {"layer": 0, "index": [0, 0]}}, 0),
        (DiagnoseRequest, {}, 500_000),
        (VerifyRequest, {}, 500_000),
        (VerifyRequest, {"claimed": {"loss": 0.5}}, 10**7),
    ],
)
def test_what_is_told_of_many_layers_counts_each(model: Any, more: dict[str, Any], times: int) -> None:
    """A page about 300 layers takes a second, and a search in 1000 some seconds."""
    layer = {"weights": [[1.0]], "bias": None, "activation": "tanh"}
    rest = {"inputs": [[1.0]], "targets": [[1.0]], "loss": "mse", **more}

    def work(depth: int) -> int:
        return model.model_validate({"network": {"layers": [layer] * depth}, **rest}, context=Limits()).work()

    passes = (work(2) - work(1)) * 500
    assert work(1000) - work(500) == passes + 500 * times


def test_large_tables_of_classes_are_no_work_of_a_thread() -> None:
    """A confusion matrix of 2800 classes kept the event loop from the interpreter for a fifth of a second."""
    train = compute_routes(create_app())["/v1/train"].__self__  # type: ignore[attr-defined]

    def is_long(classes: int) -> bool:
        network = {"layers": [{"weights": [[0] * classes], "bias": None, "activation": "softmax"}]}
        asked = {"network": network, "inputs": [[1]], "targets": [0], "loss": "cross_entropy", "optimizer": "sgd"}
        return bool(
            train.is_long(json.dumps({**asked, "epochs": 1, "metrics": ["confusion_matrix"]}).encode(), read_json)
        )

    assert is_long(2800) and not is_long(280)


@pytest.mark.parametrize(("depth", "where"), [(19, Place.LOOP), (20, Place.THREAD)])
def test_many_layers_are_no_work_of_the_event_loop(depth: int, where: Place) -> None:
    step = compute_routes(create_app())["/v1/step"].__self__  # type: ignore[attr-defined]
    layer = {"weights": [[1.0]], "bias": None, "activation": "tanh"}
    asked = {"network": {"layers": [layer] * depth}, "inputs": [[1.0]], "targets": [[1.0]], "loss": "mse"}
    assert step.decode(json.dumps(asked | {"optimizer": "sgd"}).encode(), read_json)[1].place is where


@pytest.mark.parametrize(("part", "most"), [(b"[],", 149_000), (b"1,", 524_000), (b'{"a":1},', 32_700)])
def test_many_small_values_are_no_work_of_a_thread(part: bytes, most: int) -> None:
    """700,000 empty arrays in two megabytes kept the event loop from the interpreter for seconds."""
    step = compute_routes(create_app())["/v1/step"].__self__  # type: ignore[attr-defined]
    few, many = (b'{"inputs":[' + part * count + b"0]}" for count in (most, most + 1_000))
    assert len(many) < THREAD_BYTES
    assert step.large_answer(many, read_json, write, TEXT, {}) is None
    with pytest.raises(InvalidRequest):
        step.large_answer(few, read_json, write, TEXT, {})


def test_many_names_in_a_files_header_are_no_work_of_a_thread() -> None:
    step = compute_routes(create_app())["/v1/step"].__self__  # type: ignore[attr-defined]
    rest = json.dumps({f"name {i}": 1 for i in range(50_000)})
    content = save({"inputs": np.zeros((1, 3))}, metadata={"json": rest})
    assert step.large_answer(content, read_safetensors, safetensors.write, BINARY, {}) is None


def test_what_a_limit_names_is_still_taken() -> None:
    limits = Limits(layers=2, numbers=28, work=5)
    require_work = partial(limits.require_work, where=())
    for require, most in ((limits.require_layers, 2), (limits.require_numbers, 28), (require_work, 5)):
        require(most)
        with pytest.raises(TooLarge):
            require(most + 1)
    limits.require_values(b"[1,2,{}]")
    with pytest.raises(TooLarge):
        limits.require_values(b"[1,2,{},3]")


def test_the_work_of_a_run_is_that_of_all_its_epochs(post: Any) -> None:
    def work(*metrics: str, **more: Any) -> int:
        asked = request(post, epochs=2, metrics=list(metrics), **more)
        return TrainRequest.model_validate(asked, context=Limits()).work()

    once, matrix, validated = 2 * 23 * 30, 2 * 4 * 3**2, {"fraction": 0.5}
    assert work() == 3 * once
    assert work("accuracy") == work(validation=validated) == 4 * once
    assert work("confusion_matrix") == 4 * once + matrix
    assert work("confusion_matrix", validation=validated) == 5 * once + 2 * matrix


def test_base64_stays_in_a_thread_for_longer(own_server: Server, own_client: httpx.Client) -> None:
    weights, inputs = np.random.default_rng(0).normal(size=(400, 800)), np.ones((1, 400))
    before = children(own_server.process.pid)

    def gradients(form: Callable[[Any], Any], encoding: str) -> Any:
        layer = {"weights": form(weights), "bias": None, "activation": "tanh"}
        asked = {"network": {"layers": [layer]}, "inputs": form(inputs), "encoding": encoding}
        body = json.dumps(asked | {"targets": [[0.5] * 800], "loss": "mse"})
        assert THREAD_BYTES < len(body) < 8 * 2**20
        answer = own_client.post("/v1/backward", content=body).json()
        return answer["layers"][0]["gradients"]["weights"]

    encoded = gradients(encode_base64, "base64")
    assert children(own_server.process.pid) == before
    assert np.array_equal(decode(encoded, (2,)), gradients(np.ndarray.tolist, "json"))
    assert len(children(own_server.process.pid)) == len(before) + 1


def test_loop_thread_and_annex_give_the_same_bytes(
    own_server: Server, own_client: httpx.Client, textbook: dict[str, Any]
) -> None:
    sizes = (3000, LOOP_BYTES + 1, THREAD_BYTES + 1, 8 * 2**20)
    before = children(own_server.process.pid)
    answers = {own_client.post("/v1/step", content=padded(textbook, size)).content for size in sizes}
    assert len(answers) == 1 and json.loads(answers.pop())["loss"] == pytest.approx(1.6172337500003393, abs=1e-12)
    assert len(children(own_server.process.pid)) == max(len(before), 1)


def test_a_small_body_with_a_large_answer_goes_to_the_annex_too(own_client: httpx.Client) -> None:
    layers = [{"units": 800, "activation": "relu"}]
    whole = own_client.post("/v1/initialize", json={"input_size": 800, "layers": layers, "dtype": "float64"})
    assert whole.status_code == 200 and len(whole.content) > 10_000_000
    assert len(whole.json()["network"]["layers"][0]["weights"]) == 800


def test_mistakes_are_told_from_there_as_from_here(own_client: httpx.Client, textbook: dict[str, Any]) -> None:
    answers = []
    for size in (3000, THREAD_BYTES + 1):
        response = own_client.post("/v1/step", content=padded({**textbook, "loss": "crossentropy"}, size))
        refused(response, 422, "unknown-name")
        answers.append({**response.json(), "request_id": ""})
    assert answers[0] == answers[1]
    refused(own_client.post("/v1/step", content=b" " * (THREAD_BYTES + 1)), 400, "malformed-json")


def test_training_streams_from_there(own_client: httpx.Client, post: Any) -> None:
    asked = request(post, optimizer="adam", checkpoint_every=1, metrics=["accuracy"])
    seen = list(events(own_client, asked))
    large = {**asked, "inputs": [row[:] for row in asked["inputs"]]}
    body = padded(large, THREAD_BYTES + 1)
    with own_client.stream("POST", "/v1/train", content=body, headers={"Accept": "application/jsonl"}) as response:
        assert response.headers["content-type"] == "application/jsonl"
        lines = [json.loads(line) for line in response.iter_lines()]
    assert [(line.pop("event"), line) for line in lines if line["event"] != "progress"] == [
        event for event in seen if event[0] != "progress"
    ]


def test_an_answer_of_any_size_waits_for_a_client_that_reads_slowly(own_client: httpx.Client) -> None:
    """It is larger than the ring through which it comes."""
    asked = {"input_size": 1200, "layers": [{"units": 1200, "activation": "relu"}]}
    whole = own_client.post("/v1/initialize", json=asked).content
    assert len(whole) > 1.5 * ROOM
    with own_client.stream("POST", "/v1/initialize", json=asked) as response:
        time.sleep(1)
        assert response.read() == whole


def test_an_annex_that_dies_fails_its_own_request_alone(
    own_server: Server, own_client: httpx.Client, post: Any, textbook: dict[str, Any]
) -> None:
    body = padded(request(post, epochs=1_000_000, batch_size=None), THREAD_BYTES + 1)
    with socket.create_connection(("127.0.0.1", own_server.port)) as raw:
        head = f"POST /v1/train HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        raw.sendall(head.encode() + b"\r\n\r\n" + body)
        time.sleep(0.5)
        for child in children(own_server.process.pid):
            os.kill(child, signal.SIGKILL)
        raw.settimeout(5)
        assert raw.recv(100).startswith(b"HTTP/1.1 503 ")
    assert own_client.post("/v1/step", content=padded(textbook, THREAD_BYTES + 1)).status_code == 200


@pytest.mark.parametrize("path", ["/v1/train", "/v1/initialize"])
def test_a_client_that_goes_frees_the_slot(
    own_server: Server, own_client: httpx.Client, post: Any, textbook: dict[str, Any], path: str
) -> None:
    """The only slot: of training, which is asked to end, or of a computation that would take long, which is killed."""
    if path == "/v1/train":
        body = padded(request(post, epochs=1_000_000, batch_size=None), THREAD_BYTES + 1)
    else:
        layers = [{"units": 3600, "activation": "relu", "weights_initializer": "orthogonal"}]
        body = padded({"input_size": 3600, "layers": layers}, THREAD_BYTES + 1)
    assert own_client.post("/v1/step", content=padded(textbook, THREAD_BYTES + 1)).status_code == 200
    before = children(own_server.process.pid)
    with (
        httpx.Client(base_url=own_server.url, timeout=0.5, headers=HEADERS) as client,
        pytest.raises(httpx.TimeoutException),
    ):
        client.post(path, content=body)
    after = padded(textbook, THREAD_BYTES + 1) if path != "/v1/train" else padded(request(post), THREAD_BYTES + 1)
    assert own_client.post(path.replace("initialize", "step"), content=after).status_code == 200
    assert (children(own_server.process.pid) == before) is (path == "/v1/train")


@pytest.mark.parametrize("annexes", [0, 1])
def test_a_run_that_comes_while_the_server_drains_ends_in_time(
    post: Any, textbook: dict[str, Any], annexes: int
) -> None:
    """With its last event, whether its annex has yet to be started or has been idle."""
    with Server(CHAINRULE_DRAIN_SECONDS="2", CHAINRULE_SHUTDOWN_SECONDS="6") as server:
        with httpx.Client(base_url=server.url, timeout=30, headers=HEADERS) as client:
            if annexes:
                client.post("/v1/step", content=padded(textbook, THREAD_BYTES + 1))
            assert len(children(server.process.pid)) == annexes
            server.process.terminate()
            while client.get("/readyz").status_code == 200:
                time.sleep(0.02)
            answer = client.post("/v1/train", json=request(post, epochs=1_000_000))
        assert answer.status_code == 200 and answer.json()["stopped_because"] == "deadline"


def test_a_run_that_comes_late_in_a_long_drain_has_its_time(post: Any) -> None:
    with Server(CHAINRULE_DRAIN_SECONDS="4", CHAINRULE_SHUTDOWN_SECONDS="1") as server:
        with httpx.Client(base_url=server.url, timeout=30, headers=HEADERS) as client:
            server.process.terminate()
            time.sleep(1.5)
            answer = client.post("/v1/train", json=request(post, epochs=3))
        assert answer.json()["stopped_because"] == "epochs"


def test_a_server_short_of_files_says_so_and_goes_on(
    own_server: Server, own_client: httpx.Client, textbook: dict[str, Any]
) -> None:
    body, pid = padded(textbook, THREAD_BYTES + 1), own_server.process.pid
    assert own_client.post("/v1/step", content=body).status_code == 200
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, hard))
    try:
        answer = own_client.post("/v1/step", content=body)
        refused(answer, 503, "unavailable")
        assert answer.headers["retry-after"] == "1"
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))
    assert own_client.post("/v1/step", content=body).status_code == 200


def test_an_annex_short_of_memory_says_so_and_goes_on(
    own_server: Server, own_client: httpx.Client, textbook: dict[str, Any]
) -> None:
    body = padded(textbook, 8 * 2**20)
    assert own_client.post("/v1/step", content=body).status_code == 200
    (child,) = children(own_server.process.pid)
    pages = int(Path(f"/proc/{child}/statm").read_text().split()[0])
    unlimited = resource.prlimit(child, resource.RLIMIT_AS)
    resource.prlimit(child, resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**22, unlimited[1]))
    try:
        refused(own_client.post("/v1/step", content=body), 503, "unavailable")
    finally:
        resource.prlimit(child, resource.RLIMIT_AS, unlimited)
    assert own_client.post("/v1/step", content=body).status_code == 200
    assert children(own_server.process.pid) == [child]


def test_a_process_that_cannot_be_started_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    before = sorted(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(subprocess, "Popen", fail)
    with pytest.raises(OSError, match="temporarily"):
        Annex()
    assert sorted(os.listdir("/proc/self/fd")) == before
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def attended(route: ASGIApp, ended: asyncio.Event, gone: bool) -> Any:
    """Has an attendant answer one job through a route, which says when it has ended; the job."""
    scope = {"path": "/", "headers": [], "http_version": "1.1", "state": {"request_id": "1"}}
    job = job_of(scope, 1)

    async def scenario() -> None:
        (ours, theirs), (files, their_files) = socket.socketpair(), socket.socketpair()
        attendant = Attendant({"/": route}, their_files, -1)
        with file_in_memory() as body:
            body.write(b" ")
            socket.send_fds(files, [b"b"], [body.fileno()])
        ours.sendall(HEAD.pack(b"j", len(job)) + job + (HEAD.pack(b"g", 0) if gone else b""))
        attending = asyncio.create_task(attendant.attend(theirs))
        async with asyncio.timeout(5):
            await ended.wait()
        for end in (ours, files, their_files):
            end.close()
        await attending
        attendant.writer.close()

    handler = signal.getsignal(signal.SIGTERM)
    try:
        asyncio.run(scenario())
    finally:
        signal.signal(signal.SIGTERM, handler)
    return json.loads(job)


def test_a_client_that_goes_at_once_is_not_forgotten() -> None:
    """Its going may be read together with its job."""
    ended = asyncio.Event()

    async def wait_for_the_end(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        assert (await receive())["type"] == "http.disconnect"
        ended.set()

    attended(wait_for_the_end, ended, gone=True)


def test_a_server_that_is_told_to_stop_while_an_annex_starts_began_to_drain_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A start may take seconds, which its run must not take longer than the server waits."""
    ended, seen = asyncio.Event(), []
    monkeypatch.setattr(drain, "began", None)

    async def look(scope: Any, receive: Any, send: Any) -> None:
        seen.append(drain.began)
        ended.set()

    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # as an annex has them blocked until it can handle them
    signal.raise_signal(signal.SIGTERM)
    job = attended(look, ended, gone=False)
    assert seen == [job["sent"]]
