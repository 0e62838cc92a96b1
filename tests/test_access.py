"""API keys, the rate limit, hosts, CORS and the headers that keep a browser safe."""

import base64
import hashlib
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest

from app import access
from app.access import RateLimit, network_of
from app.forms import read_json
from app.hosts import MalformedHost, is_allowed
from app.keys import Keys
from app.main import compute_routes, create_app
from tests.conftest import Server
from tests.test_bad_input import refused
from tests.test_cli import chainrule

GOOD, ANOTHER, WRONG = "correct horse", "battery staple", "Tr0ub4dor"


def digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    file = tmp_path_factory.mktemp("keys") / "keys"
    file.write_text(f"# the class of 2026\n{digest(ANOTHER)} another\n\n")
    with Server(
        CHAINRULE_API_KEYS=digest(GOOD),
        CHAINRULE_API_KEYS_FILE=str(file),
        CHAINRULE_RATE_LIMIT="600",
        CHAINRULE_CORS_ORIGINS="https://other.example, https://course.example",
        CHAINRULE_ALLOWED_HOSTS="chainrule.example, dotted.example.",
        CHAINRULE_TRUSTED_PROXIES="127.0.0.1",
    ) as running:
        yield running


@pytest.mark.parametrize(
    "headers", [{"Authorization": f"Bearer {GOOD}"}, {"authorization": f"bearer  {ANOTHER}"}, {"X-API-Key": ANOTHER}]
)
def test_with_a_key(guarded: Server, textbook: dict[str, Any], headers: dict[str, str]) -> None:
    assert httpx.post(f"{guarded.url}/v1/step", json=textbook, headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": f"Bearer {WRONG}"}, {"X-API-Key": WRONG}, {"Authorization": "Bearer"}, {"X-API-Key": ""},
     {"Authorization": f"Basic {base64.b64encode(GOOD.encode()).decode()}"}, {"X-API-Key": digest(GOOD)}],
)  # fmt: skip
def test_without_a_key(guarded: Server, textbook: dict[str, Any], headers: dict[str, str]) -> None:
    response = httpx.post(f"{guarded.url}/v1/step", json=textbook, headers=headers)
    problem = refused(response, 401, "unauthorized")
    assert response.headers["www-authenticate"] == 'Bearer realm="chainrule"'
    assert WRONG not in json.dumps(problem)


def test_what_does_not_compute_needs_no_key(guarded: Server) -> None:
    for path in ("/livez", "/readyz", "/docs", "/v1/catalog", "/problems/unauthorized"):
        assert httpx.get(guarded.url + path).status_code == 200


def test_the_budget_is_used_up_by_cost_and_fills_again(guarded: Server, textbook: dict[str, Any]) -> None:
    key = {"X-API-Key": GOOD}
    first = httpx.post(f"{guarded.url}/v1/step", json=textbook, headers=key)
    assert first.headers["ratelimit-policy"] == '"cost";q=600;w=60'
    left = int(first.headers["ratelimit"].split("r=")[1].split(";")[0])
    assert 500 < left < 600
    large = {"input_size": 2000, "layers": [{"units": 1000, "activation": "relu"}], "dtype": "float32"}
    assert httpx.post(f"{guarded.url}/v1/initialize", json=large, headers=key, timeout=30).status_code == 200
    httpx.post(f"{guarded.url}/v1/initialize", json=large, headers=key, timeout=30)
    response = httpx.post(f"{guarded.url}/v1/step", json=textbook, headers=key)
    refused(response, 429, "rate-limited")
    assert 1 <= int(response.headers["retry-after"]) <= 120
    assert response.headers["ratelimit"].startswith('"cost";r=0;t=')
    assert httpx.post(f"{guarded.url}/v1/step", json=textbook, headers={"X-API-Key": ANOTHER}).status_code == 200
    assert httpx.get(f"{guarded.url}/livez").status_code == 200


def test_what_a_unit_is() -> None:
    assert access.units(10_000, 0) == access.units(0, 2_000_000) == 1


def test_a_deep_network_costs_the_time_that_its_layers_take() -> None:
    """A thousand layers of a single weight take thirty milliseconds, and are three thousand multiplications."""
    step = compute_routes(create_app())["/v1/step"].__self__  # type: ignore[attr-defined]
    layer = {"weights": [[0.5]], "bias": None, "activation": "sigmoid"}
    asked = {"inputs": [[1.0]], "targets": [[1.0]], "loss": "mse", "optimizer": "sgd"}
    load = step.decode(json.dumps({**asked, "network": {"layers": [layer] * 1000}}).encode(), read_json)[1]
    assert access.units(0, load.work) == pytest.approx(50, rel=0.01)


@pytest.mark.parametrize(
    ("more", "units"),
    [
        ({"epochs": 10_000}, 450),  # of one step of one layer each
        ({"epochs": 10, "inputs": [[1.0]] * 1000, "targets": [[1.0]] * 1000, "batch_size": 1}, 300),
        ({"epochs": 10**8}, 300_000),  # five minutes
        ({"epochs": 10**8, "max_seconds": 2.5}, 2500),
    ],
)
def test_a_run_costs_the_time_that_its_steps_take(more: dict[str, Any], units: int) -> None:
    """Ten thousand steps of a single weight take most of a second, and are thirty thousand multiplications."""
    layer = {"weights": [[0.5]], "bias": None, "activation": "sigmoid"}
    asked = {"network": {"layers": [layer]}, "inputs": [[1.0]], "targets": [[1.0]], "loss": "mse", "optimizer": "sgd"}
    charged: list[tuple[int, int]] = []
    scope = {"state": {"charge": lambda numbers, work: charged.append((numbers, work))}}
    train = compute_routes(create_app())["/v1/train"].__self__  # type: ignore[attr-defined]
    train.run(scope, json.dumps(asked | more).encode(), read_json, Event())
    ((_, work),) = charged
    passes = 3 * more["epochs"] * len(more.get("inputs", asked["inputs"]))
    assert access.units(0, work - passes) == pytest.approx(units, rel=0.01)


def test_a_bucket_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(access, "monotonic", lambda: now)
    limit = RateLimit(600)
    limit.take("a", 700)
    assert limit.level("a") == -100 and limit.level("b") == 600
    assert limit.wait(-100, 1) == 11
    now += 30
    assert limit.level("a") == 200
    now += 3600
    assert limit.level("a") == 600
    start = time.monotonic()
    for number in range(100_100):
        limit.take(str(number), 1)
    assert len(limit.buckets) == 100_000 and time.monotonic() - start < 20
    assert "a" not in limit.buckets and "100099" in limit.buckets


def test_addresses_count_by_who_has_them(guarded: Server) -> None:
    assert network_of("192.0.2.7") == network_of("::ffff:192.0.2.7") == "address 192.0.2.7"
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:2") != network_of("2001:db8:0:1::1")
    with httpx.Client(base_url=guarded.url) as http:
        addresses = ["192.0.2.1"] * 20 + ["192.0.2.2"]
        start = time.monotonic()
        left = [http.get("/version", headers={"X-Forwarded-For": a}).headers["ratelimit"] for a in addresses]
        refilled = 10 * (time.monotonic() - start)
    assert left[0] == left[-1] == '"cost";r=599;t=1'
    assert int(left[-2].split("r=")[1].split(";")[0]) <= 580 + refilled


def test_a_forwarded_address_counts_only_from_a_trusted_proxy(textbook: dict[str, Any]) -> None:
    with Server(CHAINRULE_RATE_LIMIT="2") as server:
        statuses = [
            httpx.get(f"{server.url}/version", headers={"X-Forwarded-For": f"192.0.2.{n}"}).status_code
            for n in range(4)
        ]
        assert statuses == [200, 200, 429, 429]


def refused_start(**settings: str) -> str:
    """What a server says that does not start with these settings."""
    ended = chainrule("serve", "--port", "0", **settings)
    assert ended.returncode == 1 and "Traceback" not in ended.stderr
    return ended.stderr


@pytest.mark.parametrize("lines", [["abc"], ["zz" * 32], ["", f"{'a' * 63}"]])
def test_keys_that_are_no_digests_are_refused(lines: list[str]) -> None:
    with pytest.raises(ValueError, match=f"entry {len(lines)} is not the 64 hexadecimal digits"):
        Keys(lines)
    assert "64 hexadecimal digits" in refused_start(CHAINRULE_API_KEYS=lines[-1])


def test_a_line_of_the_file_that_is_no_digest_is_told_by_its_number(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("# the keys\nno digest\n")
    assert "entry 2 is not" in refused_start(CHAINRULE_API_KEYS_FILE=str(tmp_path / "keys"))


@pytest.mark.parametrize(
    "settings", [{"CHAINRULE_API_KEYS_FILE": os.devnull}, {"CHAINRULE_API_KEYS": " , "}, {"CHAINRULE_API_KEYS": ""}]
)
def test_a_server_that_was_given_no_key_at_all_does_not_start(settings: dict[str, str]) -> None:
    assert "there is none" in refused_start(**settings)


@pytest.mark.parametrize(
    ("host", "allowed"),
    [("localhost:8000", True), ("127.0.0.1", True), ("[::1]:8000", True), ("chainrule", True), ("app.localhost", True),
     ("10.1.2.3:80", True), ("evil.example", False), ("localhost.evil.example", False),
     ("127.0.0.1.evil.example", False), ("", True)],
)  # fmt: skip
def test_hosts(host: str, allowed: bool) -> None:
    assert is_allowed(host.encode()) is allowed


@pytest.mark.parametrize("host", ["a b", "x@y", "x/y", "x,y", "[::1", "x:y", "x:123456", "a" * 256])
def test_what_is_no_host_is_told_from_a_strangers_and_not_remembered(host: str) -> None:
    remembered = is_allowed.cache_info().currsize
    with pytest.raises(MalformedHost):
        is_allowed(host.encode())
    assert is_allowed.cache_info().currsize == remembered


def test_a_host_of_a_stranger_is_refused(client: httpx.Client, guarded: Server) -> None:
    response = client.get("/livez", headers={"Host": "evil.example"})
    assert response.status_code == 421 and response.json()["type"] == "/problems/unknown-host"
    assert httpx.get(f"{guarded.url}/livez", headers={"Host": "Chainrule.Example:443"}).status_code == 200
    for name, status in {"dotted.example": 200, "dotted.example.": 200, "other.example": 421}.items():
        assert httpx.get(f"{guarded.url}/livez", headers={"Host": name}).status_code == status


def test_other_origins_read_nothing_unless_they_are_listed(client: httpx.Client, guarded: Server) -> None:
    asking = {"Origin": "https://course.example", "Access-Control-Request-Method": "POST",
              "Access-Control-Request-Headers": "content-type,x-api-key"}  # fmt: skip
    assert client.options("/v1/step", headers=asking).status_code == 405
    assert not any(name.startswith("access-control") for name in client.get("/livez", headers=asking).headers)
    allowed = httpx.options(f"{guarded.url}/v1/step", headers=asking)
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == "https://course.example"
    stranger = httpx.get(f"{guarded.url}/livez", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in stranger.headers
    refusal = httpx.post(f"{guarded.url}/v1/step", json={}, headers={"Origin": "https://course.example"})
    assert refusal.status_code == 401 and refusal.headers["access-control-allow-origin"] == "https://course.example"


@pytest.mark.parametrize(
    "path", ["/livez", "/docs", "/redoc", "/v1/catalog", "/nothing", "/assets/swagger-ui.css", "/openapi.json"]
)
def test_headers_that_keep_browsers_safe(client: httpx.Client, path: str) -> None:
    headers = client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
    assert "server" not in headers
    if path in ("/docs", "/redoc"):
        policy = headers["content-security-policy"]
        assert "script-src 'self'" in policy and "frame-ancestors 'none'" in policy


def test_answers_are_not_stored(client: httpx.Client, textbook: dict[str, Any]) -> None:
    for response in (client.post("/v1/step", json=textbook), client.post("/v1/step", json={}), client.get("/nothing")):
        assert response.headers["cache-control"] == "no-store"


def test_protocol_refusals_have_the_same_headers(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as raw:
        raw.sendall(b"nonsense\r\n\r\n")
        answer = raw.recv(65536).lower()
    assert b"x-content-type-options: nosniff" in answer and b"cache-control: no-store" in answer
