"""What operators see: metrics of one worker and of several, log lines, trace context."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.cells import SharedCells, shared_directory
from app.examples import EXAMPLES
from app.logs import MOST_WAITING
from app.main import create_app
from app.metrics import BYTES, FAMILIES, FIRST, MOST_ROUTES, NUMBERS, SECONDS, SIZE, SLOTS_IN_USE, Metrics
from app.observation import route_names
from tests.conftest import ROOT, Server, until
from tests.test_annex import children

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def samples(client: httpx.Client) -> dict[tuple[str, ...], float]:
    """The value of every series, by its name and the values of its labels."""
    text = client.get("/metrics").text
    found: dict[tuple[str, ...], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, *(value for _, value in sorted(sample.labels.items())))
            assert key not in found, key
            found[key] = sample.value
    return found


def log_of(server: Server) -> list[dict[str, Any]]:
    """The lines of a server's log until its end."""
    return [json.loads(line) for line in server.stop().splitlines()]


def logged() -> Iterator[tuple[Server, httpx.Client]]:
    with Server(CHAINRULE_LOG_FORMAT="json") as server, httpx.Client(base_url=server.url, timeout=60) as client:
        yield server, client


alone = pytest.fixture(logged, name="alone")
shared = pytest.fixture(logged, scope="module", name="shared")
"""One for tests that each count what no other one does; none of them trains."""


def test_a_request_is_counted_by_route_and_status(alone: tuple[Server, httpx.Client], textbook: dict[str, Any]) -> None:
    _, client = alone
    body = json.dumps(textbook).encode()
    answers = [client.post("/v1/step", content=body) for _ in range(3)]
    client.post("/v1/step", content=b"{")
    client.get("/v1/examples/textbook")
    client.get("/nowhere/123")
    client.get("/nowhere/456")
    client.head("/livez")
    seen = samples(client)
    assert {key[1:]: value for key, value in seen.items() if key[0] == "chainrule_requests_total"} == {
        ("/v1/step", "200"): 3,
        ("/v1/step", "400"): 1,
        ("/v1/examples/{name}", "200"): 1,
        ("/livez", "200"): 1,
        ("other", "404"): 2,
    }
    assert seen["chainrule_request_size_bytes_sum", "/v1/step"] == 3 * len(body) + 1
    assert seen["chainrule_request_size_bytes_count", "/v1/step"] == 4
    assert seen["chainrule_response_size_bytes_sum", "/v1/examples/{name}"] > len(body)
    assert seen["chainrule_response_size_bytes_sum", "/v1/step"] > sum(len(answer.content) for answer in answers)
    assert seen["chainrule_response_size_bytes_sum", "/livez"] == 0
    assert 0 < seen["chainrule_request_duration_seconds_sum", "/v1/step"] < 4
    assert seen["chainrule_requests_in_progress",] == 1
    assert seen["chainrule_processes", "worker"] == 1
    assert seen["process_resident_memory_bytes", "0", "worker"] > 2**20


def test_the_buckets_of_a_histogram_add_up(client: httpx.Client) -> None:
    client.get("/version")
    seen = samples(client)
    for name, bounds in (("duration_seconds", SECONDS), ("size_bytes", BYTES)):
        rows = [v for key, v in seen.items() if key[0] == f"chainrule_request_{name}_bucket" and key[2] == "/version"]
        assert len(rows) == len(bounds) + 1
        assert rows == sorted(rows)
        assert rows[-1] == seen[f"chainrule_request_{name}_count", "/version"] >= 1


def test_openmetrics_where_it_is_accepted(client: httpx.Client) -> None:
    plain = client.get("/metrics")
    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
    new = client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert new.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert new.text.endswith("# EOF\n")
    for odd in (
        "application/openmetrics-text; version=abc",
        "text/plain; version=",
        "application/openmetrics-text;q=x",
    ):
        assert client.get("/metrics", headers={"Accept": odd}).status_code == 200


def test_there_is_room_for_every_route() -> None:
    names = route_names(create_app().router.routes)
    assert "/v1/step" in names and names[-1] == "other" and len(names) < MOST_ROUTES
    assert len(set(FIRST.values())) == len(FAMILIES)


def test_workers_are_added_up_and_the_counts_of_the_dead_stay() -> None:
    with shared_directory() as directory:
        assert directory is not None
        one, two = Metrics(SharedCells(directory, SIZE)), Metrics(SharedCells(directory, SIZE))
        one.add(NUMBERS, 10)
        two.add(NUMBERS, 32)
        one.set(SLOTS_IN_USE, 1, "compute")
        two.set(SLOTS_IN_USE, 2, "training")
        assert total(one, "chainrule_numbers") == total(two, "chainrule_numbers") == 42
        assert total(one, "chainrule_slots_in_use") == 3 and total(one, "chainrule_processes") == 2
        del two  # its map goes, and with it the lock, as at the end of a process
        assert total(one, "chainrule_numbers") == 42
        assert total(one, "chainrule_slots_in_use") == 1 and total(one, "chainrule_processes") == 1
        three = Metrics(SharedCells(directory, SIZE))
        three.add(NUMBERS, 100)
        assert total(one, "chainrule_numbers") == 142
        assert total(one, "chainrule_slots_in_use") == 1 and total(one, "chainrule_processes") == 2
        assert len(list(directory.iterdir())) == 2
    assert not directory.exists()


def test_a_process_that_has_not_said_yet_what_it_is() -> None:
    with shared_directory() as directory:
        assert directory is not None
        one, newcomer = Metrics(SharedCells(directory, SIZE)), SharedCells(directory, SIZE)
        assert total(one, "chainrule_processes") == 1
        assert {sample.labels["process"] for sample in process_samples(one)} == {"0"}
        del newcomer


def process_samples(metrics: Metrics) -> list[Any]:
    """What /proc tells of each process."""
    return [s for family in metrics.collect() if family.name.startswith("process_") for s in family.samples]


def total(metrics: Metrics, name: str) -> float:
    family = next(family for family in metrics.collect() if family.name == name)
    return sum(sample.value for sample in family.samples)


def test_computations_and_runs_are_counted(alone: tuple[Server, httpx.Client], textbook: dict[str, Any]) -> None:
    _, client = alone
    before = samples(client)
    assert before["chainrule_numbers_total",] == before["chainrule_work_total",] == 0
    client.post("/v1/step", json=textbook)
    client.post("/v1/step", json={**textbook, "inputs": []})
    small = samples(client)
    assert small["chainrule_numbers_total",] > 27 and small["chainrule_work_total",] >= 27
    for example in ("train_xor", "train_xor"):
        answer = client.post("/v1/train", json=EXAMPLES[example]["request"])
    epochs = answer.json()["completed_epochs"]
    wild = {**EXAMPLES["train_xor"]["request"], "optimizer": {"kind": "sgd", "learning_rate": 1e300}, "loss": "mse"}
    assert client.post("/v1/train", json=wild).status_code in (200, 422)
    seen = samples(client)
    assert seen["chainrule_training_runs_total", "target_loss"] == 2
    assert sum(value for key, value in seen.items() if key[0] == "chainrule_training_runs_total") == 3
    assert 2 * epochs <= seen["chainrule_training_epochs_total",] <= 2 * epochs + 200
    assert seen["chainrule_slots", "training"] > 0 == seen["chainrule_slots_in_use", "training"]


def test_what_an_annex_computes_is_counted(shared: tuple[Server, httpx.Client]) -> None:
    _, client = shared
    rows = 100_000  # more bytes than a thread takes
    network = {"layers": [{"weights": [[0.5], [0.25], [0.125]], "bias": [0.0], "activation": "identity"}]}
    body = orjson.dumps({"network": network, "inputs": [[0.123456789012, 0.2, 0.7]] * rows, "include": ["loss"]})
    assert client.post("/v1/forward", content=body, timeout=60).status_code == 200
    seen = samples(client)
    assert seen["chainrule_processes", "annex"] == 1 and seen["chainrule_numbers_total",] >= 4 * rows
    assert seen["process_resident_memory_bytes", "1", "annex"] > 2**20
    assert seen["chainrule_request_size_bytes_sum", "/v1/forward"] == len(body)
    assert seen["chainrule_slots", "compute"] > 0 == seen["chainrule_slots_in_use", "compute"]


def test_several_workers_and_one_that_is_killed() -> None:
    def seen() -> dict[tuple[str, ...], float]:
        with httpx.Client(base_url=server.url, timeout=60) as client:
            return samples(client)

    with Server(CHAINRULE_WORKERS="3") as server:
        until(lambda: seen()["chainrule_processes", "worker"] == 3)
        for _ in range(30):
            httpx.get(f"{server.url}/version")  # a connection each, so that several workers are asked
        assert seen()["chainrule_requests_total", "/version", "200"] == 30
        started = [key for key in seen() if key[0] == "process_start_time_seconds"]
        assert started == [("process_start_time_seconds", process, "worker") for process in "012"]
        os.kill(children(server.process.pid)[0], signal.SIGKILL)
        until(lambda: seen()["chainrule_processes", "worker"] == 3)
        assert seen()["chainrule_requests_total", "/version", "200"] == 30


def test_what_a_killed_supervisor_left_is_removed() -> None:
    with shared_directory() as used:
        assert used is not None
        old, young = (Path(tempfile.mkdtemp(prefix=used.name[:16], dir=used.parent)) for _ in range(2))
        for folder in (used, old):
            os.utime(folder, (0, 0))
        with shared_directory():
            assert used.exists() and young.exists() and not old.exists()
        young.rmdir()


def test_without_a_writable_folder_there_is_none() -> None:
    program = """
import resource
from app.cells import SharedCells, shared_directory
from app.metrics import SIZE, metrics, share, NUMBERS
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
with shared_directory() as directory:
    try:
        SharedCells(directory, SIZE)
    except OSError as error:
        print(type(error).__name__)
    share(directory)
    metrics().add(NUMBERS, 1)
    print(len(metrics().cells.everyone()))
"""
    finished = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert finished.stdout == "OSError\n1\n"


def test_one_line_for_each_request(alone: tuple[Server, httpx.Client], textbook: dict[str, Any]) -> None:
    server, client = alone
    client.post("/v1/step", json=textbook, headers={"X-Request-ID": "mine-1", "traceparent": PARENT})
    client.post("/v1/step?key=secret", content=b'{"network": "secret"')
    client.get("/livez")
    lines = log_of(server)
    step, broken = [line for line in lines if line["event"] == "request"]
    assert (step["request_id"], step["method"], step["route"], step["status"]) == ("mine-1", "POST", "/v1/step", 200)
    assert step["request_bytes"] == len(json.dumps(textbook, separators=(",", ":"))) and step["response_bytes"] > 2000
    assert 0 < step["first_byte_seconds"] <= step["seconds"] < 2
    assert step["client"] == "127.0.0.1" and step["level"] == "info" and step["timestamp"].endswith("Z")
    assert (step["trace_id"], step["parent_id"]) == ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")
    assert (broken["status"], broken["problem"], broken["path"]) == (400, "malformed-json", "/v1/step")
    assert "trace_id" not in broken and "secret" not in json.dumps(lines)
    assert "Waiting for application shutdown." in [line["event"] for line in lines]  # a line of uvicorn's
    assert all(set(line) >= {"event", "level", "timestamp"} for line in lines)


def raw_answer(server: Server, request: bytes) -> bytes:
    """The beginning of what comes back to these bytes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as line:
        line.sendall(request)
        return line.recv(4096)


def test_a_client_that_goes_before_its_answer_had_no_first_byte(alone: tuple[Server, httpx.Client]) -> None:
    server, _ = alone
    with socket.create_connection(("127.0.0.1", server.port)) as raw:
        raw.sendall(b"POST /v1/step HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
        time.sleep(0.3)
    time.sleep(0.3)
    (line,) = [line for line in log_of(server) if line["event"] == "request"]
    assert (line["status"], line["first_byte_seconds"]) == (499, None)


def test_what_is_no_http_leaves_a_line_too(alone: tuple[Server, httpx.Client]) -> None:
    server, _ = alone
    assert raw_answer(server, b"NONSENSE\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    (refused,) = [line for line in log_of(server) if line["event"] == "request"]
    assert (refused["status"], refused["problem"], refused["route"]) == (400, "malformed-http", "other")
    assert refused["client"] == "127.0.0.1" and 0 <= refused["seconds"] < 10


@pytest.mark.parametrize("pieces", [[b"zz\r\n"], [b"", b"zz\r\n"]], ids=["at once", "while it waits for more"])
def test_what_is_refused_in_its_body_is_one_request(alone: tuple[Server, httpx.Client], pieces: list[bytes]) -> None:
    server, _ = alone
    head = b"POST /v1/step HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as raw:
        for piece in (head + pieces[0], *pieces[1:]):
            raw.sendall(piece)
            time.sleep(0.3)
        assert raw.recv(65536).startswith(b"HTTP/1.1 400 ")
    (line,) = [line for line in log_of(server) if line["event"] == "request"]
    assert (line["status"], line["problem"], line["route"]) == (400, "malformed-http", "/v1/step")


def test_a_body_that_is_too_large_is_counted_where_it_was_sent(shared: tuple[Server, httpx.Client]) -> None:
    server, client = shared
    head = b"POST /v1/step?x HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n"
    assert raw_answer(server, head).startswith(b"HTTP/1.1 413 ")
    assert samples(client)["chainrule_requests_total", "/v1/step", "413"] == 1


def test_making_the_openapi_document_counts_as_no_training(shared: tuple[Server, httpx.Client]) -> None:
    _, client = shared
    assert client.get("/openapi.json", timeout=60).status_code == 200
    assert not any(value for key, value in samples(client).items() if "training" in key[0])


def test_text_for_people() -> None:
    with Server(CHAINRULE_LOG_FORMAT="text", CHAINRULE_LOG_LEVEL="debug") as server:
        httpx.get(f"{server.url}/livez", headers={"X-Request-ID": "mine-2"})
        httpx.get(f"{server.url}/%1b[2Jnowhere", headers={"X-Request-ID": "mine-3"})
        text = server.stop()
    line = next(line for line in text.splitlines() if "mine-2" in line)
    assert re.match(r"\d{4}-\d\d-\d\dT\S+Z \[debug +\] request ", line) and "route=/livez" in line
    assert "\x1b" not in text and r"path=/\x1b[2Jnowhere" in text


def test_only_warnings_where_only_they_are_wanted() -> None:
    port = free_port()
    settings = {"PORT": str(port), "CHAINRULE_LOG_LEVEL": "warning", "CHAINRULE_LOG_FORMAT": "json"}
    process = subprocess.Popen(
        [sys.executable, "-m", "app"], cwd=ROOT, env={**os.environ, **settings}, stderr=subprocess.PIPE, text=True
    )
    until(lambda: answers(f"http://127.0.0.1:{port}"))
    httpx.get(f"http://127.0.0.1:{port}/version")
    process.terminate()
    assert process.communicate(timeout=20)[1] == ""


@pytest.mark.parametrize(
    ("header", "continued"),
    [
        (PARENT, True),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", True),
        ("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-later", True),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-later", False),
        ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", False),
        ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", False),
        ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", False),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", False),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7", False),
        ("", False),
    ],
)
def test_trace_context(client: httpx.Client, header: str, continued: bool) -> None:
    answer = client.get("/livez", headers={"traceparent": header})
    assert answer.status_code == 200 and ("traceresponse" in answer.headers) == continued
    if continued:
        _, trace_id, span_id, flags = answer.headers["traceresponse"].split("-")
        assert (trace_id, flags) == (header.split("-")[1], header.split("-")[3])
        assert re.fullmatch("[0-9a-f]{16}", span_id) and span_id != header.split("-")[2]


def test_two_traceparents_name_no_trace(client: httpx.Client) -> None:
    answer = client.get("/livez", headers=[("traceparent", PARENT), ("traceparent", PARENT.replace("4bf", "5bf"))])
    assert "traceresponse" not in answer.headers


def test_a_reader_that_stalls_costs_lines_not_answers() -> None:
    many = MOST_WAITING + 1000
    # Nobody reads its pipe while it serves.
    with Server(CHAINRULE_LOG_FORMAT="json", CHAINRULE_LOG_LEVEL="debug") as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as line:
            for _ in range(0, many, 50):
                line.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
                answered = b""
                while answered.count(b'"alive"') < 50:
                    answered += line.recv(1 << 16)
        with httpx.Client(base_url=server.url, timeout=60) as client:
            seen = samples(client)
            assert seen["chainrule_requests_total", "/livez", "200"] == many
            dropped = seen["chainrule_log_lines_dropped_total",]
        began = time.monotonic()
        server.process.terminate()
        server.process.wait(timeout=20)
        assert time.monotonic() - began < 10
        written = len(server.stop().splitlines())
    assert 0 < dropped <= many - written


def test_a_pipe_that_is_full_from_the_start_stops_nothing() -> None:
    reader, stalled = os.pipe()
    os.set_blocking(stalled, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(stalled, b"x" * 4096)
    os.set_blocking(stalled, True)
    port = free_port()
    settings = {"PORT": str(port), "CHAINRULE_WORKERS": "2"}
    command = [sys.executable, "-m", "app"]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **settings}, stderr=stalled)
    try:
        until(lambda: answers(f"http://127.0.0.1:{port}"))
        for _ in range(20):
            assert answers(f"http://127.0.0.1:{port}")
        process.terminate()
        assert process.wait(timeout=20) == 0
    finally:
        process.kill()
        process.wait()
        os.close(stalled)
        os.close(reader)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/livez").status_code == 200
    except httpx.TransportError:
        return False
