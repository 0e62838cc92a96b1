"""Spans, exported by FastAPI's own hooks to a collector that is a stub on the loopback."""

import gzip
import importlib.util
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import httpx
import pytest

from app.examples import EXAMPLES
from tests.conftest import Server

INSTALLED = all(
    importlib.util.find_spec(name) is not None
    for name in ("opentelemetry.sdk", "opentelemetry.exporter", "opentelemetry.proto")
)
TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HEADERS = {"traceparent": f"00-{TRACE}-{CALLER}-01"}


class Collector(ThreadingHTTPServer):
    """Keeps the bodies that are posted to it, by path."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Receiver)
        self.received: list[tuple[str, bytes]] = []
        Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Receiver(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.received.append((self.path, body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as running:
        yield running
        running.shutdown()


@pytest.mark.skipif(not INSTALLED, reason="the extra otel is not installed")
def test_spans_reach_the_collector(collector: Collector) -> None:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    export = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_METRICS_EXPORTER": "none"}
    with (
        Server(CHAINRULE_LOG_FORMAT="json", **export) as server,
        httpx.Client(base_url=server.url, headers=HEADERS, timeout=60) as client,
    ):
        answer = client.post("/v1/step", json=EXAMPLES["textbook"]["request"])
        client.post("/v1/step", content=b"{")
        client.get("/v1/examples/textbook")
        client.get("/readyz")
        client.get("/unknown/path")
        log = server.stop()
    spans = [
        (resource.resource, span)
        for path, body in collector.received
        if path == "/v1/traces"
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    served = [span for _, span in spans if span.kind == span.SPAN_KIND_SERVER]
    assert sorted(span.name for span in served) == ["GET", "GET /v1/examples/{name}", "POST /v1/step", "POST /v1/step"]
    assert {span.trace_id.hex() for span in served} == {TRACE}
    assert {span.parent_span_id.hex() for span in served} == {CALLER}
    attributes = [{a.key: a.value for a in span.attributes} for span in served if span.name == "POST /v1/step"]
    assert sorted(a["http.response.status_code"].int_value for a in attributes) == [200, 400]
    assert {a["http.route"].string_value for a in attributes} == {"/v1/step"}
    names = {a.key: a.value.string_value for a in spans[0][0].attributes}
    assert names["service.name"] == "chainrule"

    span_ids = {span.span_id.hex() for span in served}
    _, trace_id, span_id, _ = answer.headers["traceresponse"].split("-")
    assert trace_id == TRACE and span_id in span_ids
    lines = [json.loads(line) for line in log.splitlines() if '"event":"request"' in line]
    assert {line["span_id"] for line in lines} == span_ids
    assert {(line["trace_id"], line["parent_id"]) for line in lines} == {(TRACE, CALLER)}


@pytest.mark.skipif(not INSTALLED, reason="the extra otel is not installed")
def test_a_collector_that_is_away_changes_nothing() -> None:
    with Server(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", OTEL_EXPORTER_OTLP_TIMEOUT="1") as server:
        answer = httpx.post(f"{server.url}/v1/step", json=EXAMPLES["textbook"]["request"])
    assert answer.status_code == 200 and answer.json()["loss"] == pytest.approx(1.6172337500003393, rel=1e-14)


def test_without_an_endpoint_nothing_is_exported(collector: Collector) -> None:
    with Server(OTEL_SERVICE_NAME="elsewhere") as server:
        answer = httpx.get(f"{server.url}/version", headers=HEADERS)
    assert answer.headers["traceresponse"].startswith(f"00-{TRACE}-") and collector.received == []
