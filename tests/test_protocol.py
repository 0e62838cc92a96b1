"""HTTP/1.1 by raw sockets: limits in size and time, malformed requests, framing, and what a refusal looks like."""

import inspect
import json
import select
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from app.protocol import SHORT, Transport, _go_on
from tests.conftest import Server, until

MIB = 2**20
LIMITS = {
    "CHAINRULE_MAX_BODY_BYTES": str(4 * MIB),
    "CHAINRULE_MAX_HEADER_BYTES": "4096",
    "CHAINRULE_MAX_HEADER_SECONDS": "1",
    "CHAINRULE_MAX_BODY_SECONDS": "1.5",
    "CHAINRULE_MAX_WRITE_SECONDS": "1",
    "CHAINRULE_MAX_IDLE_SECONDS": "1",
    "CHAINRULE_MAX_CONNECTIONS": "20",
}


@pytest.fixture(scope="module")
def strict() -> Iterator[Server]:
    with Server(**LIMITS) as running:
        yield running


def connect(server: Server) -> socket.socket:
    raw = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return raw


def read_all(raw: socket.socket) -> bytes:
    """Everything until the server closes."""
    data = b""
    while piece := raw.recv(65536):
        data += piece
    return data


def wait_for_reset(raw: socket.socket) -> None:
    """Returns when the server has reset the connection, from which nothing is read."""
    poll = select.poll()
    poll.register(raw, 0)  # A reset is told without being asked for.
    assert poll.poll(10_000), "no reset came"


def exchange(server: Server, request: bytes) -> bytes:
    """What comes back to these bytes until the server closes."""
    with connect(server) as raw:
        raw.sendall(request)
        return read_all(raw)


def problem(answer: bytes) -> dict[str, Any]:
    """The problem of an answer, which says that it is the last of its connection."""
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode().lower().split("\r\n")
    assert "content-type: application/problem+json" in lines and "connection: close" in lines, answer
    content: dict[str, Any] = json.loads(body)
    assert lines[0].startswith(f"http/1.1 {content['status']} ")
    return content


def post(path: str, body: bytes, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json", *headers]
    if not any(line.lower().startswith(("content-length", "transfer-encoding")) for line in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


GET = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n"
STEP = "POST /v1/step HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
MALFORMED = {
    "no HTTP": b"hello\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "unknown method": b"FETCH / HTTP/1.1\r\nHost: x\r\n\r\n",
    "CONNECT": b"CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "unknown version": b"GET / HTTP/7.3\r\nHost: x\r\n\r\n",
    "no host": b"GET /livez HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /livez HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "two hosts in HTTP/1.0": b"GET /livez HTTP/1.0\r\nHost: x\r\nHost: y\r\n\r\n",
    "a host that is none": b"GET /livez HTTP/1.1\r\nHost: x y\r\n\r\n",
    "an address with no host": b"GET http://x@y/livez HTTP/1.1\r\nHost: x\r\n\r\n",
    "space in header name": GET + b"Bad Name: x\r\n\r\n",
    "NUL in header": GET + b"X: a\0b\r\n\r\n",
    "space before colon": GET + b"X : y\r\n\r\n",
    "folded header": GET + b"X: a\r\n b: c\r\n\r\n",
    "bare LF smuggling": GET.replace(b"\r\n", b"\n") + b"\n",
    "NUL in target": b"GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n",
    "bytes in target": b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    "two lengths": (STEP + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x").encode(),
    "length and chunks": (STEP + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").encode(),
    "chunks twice": (STEP + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n").encode(),
    "gzip framing": (STEP + "Transfer-Encoding: gzip\r\n\r\nabc").encode(),
    "negative length": (STEP + "Content-Length: -1\r\n\r\n").encode(),
    "length with sign": (STEP + "Content-Length: +2\r\n\r\n{}").encode(),
    "length no number": (STEP + "Content-Length: 2a\r\n\r\n{}").encode(),
    "enormous length": (STEP + f"Content-Length: {'9' * 40}\r\n\r\n").encode(),
    "bad chunk size": (STEP + "Transfer-Encoding: chunked\r\n\r\nzz\r\n").encode(),
    "chunk longer than said": (STEP + "Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n").encode(),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_requests_are_problems(strict: Server, case: str) -> None:
    answer = problem(exchange(strict, MALFORMED[case]))
    assert (answer["status"], answer["type"]) == (400, "/problems/malformed-http"), answer


@pytest.mark.parametrize(
    "lines",
    [
        ["gzip, chunked"],
        ["identity, chunked"],
        ["Trailers,chunked"],
        ["gzip", "chunked"],
        ["identity", "chunked"],
    ],
)
def test_no_transfer_coding_but_chunked_is_read(strict: Server, lines: list[str]) -> None:
    """Whoever stands before this server might see other ends of the request (RFC 9112, 6.1)."""
    headers = [f"Transfer-Encoding: {line}" for line in lines]
    answer = problem(exchange(strict, post("/v1/step", b"2\r\n{}\r\n0\r\n\r\n", *headers) + GET + b"\r\n"))
    assert (answer["status"], answer["type"]) == (400, "/problems/malformed-http")


def test_trailers_are_no_headers(strict: Server) -> None:
    """They come past a proxy that replaces headers."""
    names = {"X-Request-ID": "trailer", "Accept": "text/none", "Content-Encoding": "gzip", "X-Forwarded-For": "1.1.1.1"}
    trailers = "".join(f"{name}: {value}\r\n" for name, value in names.items()).encode()
    body = b"2\r\n{}\r\n0\r\n" + trailers + b"\r\n"
    answer = exchange(strict, post("/v1/step", body, "Transfer-Encoding: chunked", "Connection: close"))
    assert answer.startswith(b"HTTP/1.1 422 ") and b"x-request-id: trailer" not in answer


def test_endless_trailers_are_too_large(strict: Server) -> None:
    body = b"2\r\n{}\r\n0\r\n" + b"".join(b"X%d: y\r\n" % n for n in range(600))
    answer = problem(exchange(strict, post("/v1/step", body, "Transfer-Encoding: chunked")))
    assert (answer["status"], answer["type"]) == (431, "/problems/headers-too-large")


@pytest.mark.parametrize(
    ("request_bytes", "status", "name"),
    [
        (GET + b"X: " + b"a" * 5000 + b"\r\n\r\n", 431, "headers-too-large"),
        (GET + b"X: " + b"a" * 5000, 431, "headers-too-large"),
        (GET + b"".join(b"X%d: y\r\n" % n for n in range(600)) + b"\r\n", 431, "headers-too-large"),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, "target-too-long"),
        (post("/v1/step", b"", "Content-Length: 10000000000"), 413, "payload-too-large"),
        (post("/v1/step", b"", "Content-Length: 10000000000", "Expect: 100-continue"), 413, "payload-too-large"),
        (post("/v1/step", b" " * (4 * MIB + 1)), 413, "payload-too-large"),
        (post("/livez", b" " * (4 * MIB + 1)), 413, "payload-too-large"),
    ],
    ids=[
        "long header",
        "endless header",
        "many headers",
        "long target",
        "10 GB",
        "10 GB asked for",
        "one byte",
        "path",
    ],
)
def test_too_large(strict: Server, request_bytes: bytes, status: int, name: str) -> None:
    start = time.monotonic()
    answer = problem(exchange(strict, request_bytes))
    assert (answer["status"], answer["type"]) == (status, f"/problems/{name}")
    assert time.monotonic() - start < 3
    assert httpx.get(f"{strict.url}/problems/{name}").json()["status"] == status


def test_exactly_as_many_bytes_as_allowed(strict: Server) -> None:
    answer = exchange(strict, post("/v1/step", b" " * (4 * MIB), "Connection: close"))
    assert answer.startswith(b"HTTP/1.1 400 ") and b"/problems/malformed-json" in answer


def test_an_endless_chunked_body_ends_with_413_and_little_memory(strict: Server) -> None:
    piece = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    sent = 0
    with connect(strict) as raw:
        raw.sendall(post("/v1/step", b"", "Transfer-Encoding: chunked"))
        raw.settimeout(0.01)
        answer = b""
        start = time.monotonic()
        while not answer and time.monotonic() - start < 5:
            raw.settimeout(5)
            raw.sendall(piece)
            sent += 0x10000
            raw.settimeout(0.001)
            try:
                answer = raw.recv(65536)
            except TimeoutError:
                continue
        assert time.monotonic() - start < 3
    assert problem(answer)["type"] == "/problems/payload-too-large"
    assert sent < 32 * MIB
    if Path("/proc/self/status").exists():
        status = Path(f"/proc/{strict.process.pid}/status").read_text()
        kib = {line.split(":")[0]: int(line.split()[1]) for line in status.splitlines() if line.startswith("Vm")}
        assert kib["VmHWM"] < 200_000


@pytest.mark.parametrize(
    ("first", "rest", "name"),
    [
        (GET, b"X", "too-slow"),
        (post("/v1/step", b'{"inputs"', "Content-Length: 1000"), b" ", "too-slow"),
        (post("/v1/step", b"", "Transfer-Encoding: chunked"), b"1\r\n \r\n", "too-slow"),
    ],
    ids=["head", "body", "chunks"],
)
def test_too_slow(strict: Server, first: bytes, rest: bytes, name: str) -> None:
    """One byte after the other does not help."""
    with connect(strict) as raw:
        raw.sendall(first)
        raw.settimeout(0.2)
        start, answer = time.monotonic(), b""
        while not answer and time.monotonic() - start < 6:
            raw.sendall(rest)
            try:
                answer = raw.recv(65536)
            except TimeoutError:
                continue
        assert problem(answer)["type"] == f"/problems/{name}"
        assert 0.8 < time.monotonic() - start < 4


def test_idle_connections_are_closed(strict: Server) -> None:
    with connect(strict) as fresh, connect(strict) as used:
        used.sendall(GET + b"\r\n")
        start = time.monotonic()
        assert read_all(fresh) == b""
        assert read_all(used).startswith(b"HTTP/1.1 200 ")
        assert 0.8 < time.monotonic() - start < 4


def test_whoever_does_not_read_its_answer_is_let_go(strict: Server) -> None:
    request = {"input_size": 700, "layers": [{"units": 700, "activation": "relu"}]}
    with connect(strict) as raw:
        raw.sendall(post("/v1/initialize", json.dumps(request).encode()))
        wait_for_reset(raw)
        with pytest.raises(ConnectionResetError):
            read_all(raw)


def test_neither_is_who_leaves_the_last_bytes_of_it() -> None:
    """They are too few for the server to wait with the next ones, and it has none."""
    small = "import socket; old = socket.socket.listen; socket.socket.listen = lambda self, *a: "
    small += "(self.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096), old(self, *a))"
    with Server(small, **LIMITS) as server, socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.settimeout(10)
        raw.connect(("127.0.0.1", server.port))
        raw.sendall(b"GET /v1/examples HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for_reset(raw)
        with pytest.raises(ConnectionResetError):
            read_all(raw)


def test_tiny_chunks_leave_turns_to_others(server: Server, client: httpx.Client) -> None:
    """Four times 400,000 chunks of a byte; the event loop read 43,000 of each before it turned to others."""
    chunks = b"1\r\n \r\n" * 400_000 + b"0\r\n\r\n"
    with ThreadPoolExecutor(4) as pool:
        sent = post("/v1/step", chunks, "Transfer-Encoding: chunked", "Connection: close")
        calls = [pool.submit(exchange, server, sent) for _ in range(4)]
        turns = 0
        while not all(call.done() for call in calls):
            assert client.get("/livez").status_code == 200
            turns += 1
        assert all(problem(call.result())["type"] == "/problems/malformed-json" for call in calls)
    assert turns > 50


def test_connections_beyond_the_limit_are_told(strict: Server) -> None:
    connections = [connect(strict) for _ in range(20)]
    try:
        time.sleep(0.2)
        with connect(strict) as raw:
            refusal = read_all(raw)
            assert problem(refusal)["type"] == "/problems/too-many-connections" and b"retry-after: 1\r\n" in refusal
    finally:
        for connection in connections:
            connection.close()
    # Which the server sees a little later.
    until(lambda: httpx.get(f"{strict.url}/livez").status_code == 200, 5)


def test_framing_that_is_right(strict: Server, textbook: dict[str, Any]) -> None:
    body = json.dumps(textbook).encode()
    chunked = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:100], body[100:])) + b"0\r\n\r\n"
    plain = exchange(strict, post("/v1/step", body, "Connection: close"))
    assert plain.startswith(b"HTTP/1.1 200 ")
    answer = plain.partition(b"\r\n\r\n")[2]
    in_chunks = exchange(strict, post("/v1/step", chunked, "Transfer-Encoding: chunked", "Connection: close"))
    assert in_chunks.endswith(answer)
    absolute = post("http://localhost/v1/step", body, "Connection: close")
    assert exchange(strict, absolute).endswith(answer)
    for upgrade in ("h2c", "websocket"):
        upgraded = post("/v1/step", body, "Connection: Upgrade, HTTP2-Settings", f"Upgrade: {upgrade}")
        assert exchange(strict, upgraded).endswith(answer)
    old = post("/v1/step", body).replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"Host: localhost\r\n", b"")
    assert exchange(strict, old).endswith(answer)


def test_one_byte_at_a_time(strict: Server) -> None:
    request = GET + b"Connection: close\r\n\r\n"
    with connect(strict) as raw:
        for byte in request:
            raw.sendall(bytes([byte]))
        assert read_all(raw).startswith(b"HTTP/1.1 200 ")


def test_pipelined_requests_are_answered_in_order(strict: Server, textbook: dict[str, Any]) -> None:
    body = json.dumps(textbook).encode()
    large = body + b" " * 20_000
    requests = [
        post("/v1/step", body),
        GET + b"\r\n",
        post("/v1/step", large),
        post("/v1/step", b"{", "Connection: close"),
    ]
    answer = exchange(strict, b"".join(requests))
    statuses = [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"200", b"200", b"200", b"400"]


def run(server: Server, seconds: float) -> bytes:
    """A training run that takes so long."""
    asked = httpx.get(f"{server.url}/v1/examples/train_xor").json()["request"]
    asked |= {"epochs": 1_000_000, "target_loss": None, "max_seconds": seconds, "include": ["stopped_because"]}
    return post("/v1/train", json.dumps(asked).encode())


@pytest.mark.parametrize(
    ("refused", "seconds"),
    [
        (GET.replace(b"localhost", b"example.org") + b"\r\n", 0.2),
        (post("/v1/step", b"", "Content-Length: 10000000000"), 0.2),
        (post("/v1/step", b" " * (4 * MIB + 1)), 0.2),
        (post("/v1/step", b"1\r\nabc", "Transfer-Encoding: chunked"), 0.2),
        (post("/v1/step", b"{", "Content-Length: 2"), 2.5),
        (GET + b"X: " + b"a" * 5000, 0.2),
        (GET + b"X: ", 2.5),
        (b"hello\r\n\r\n", 0.2),
    ],
    ids=["host", "length", "body", "chunk", "slow body", "head", "slow head", "no HTTP"],
)
def test_what_is_refused_behind_another_request_leaves_that_its_answer(
    strict: Server, refused: bytes, seconds: float
) -> None:
    answer = exchange(strict, run(strict, seconds) + refused)
    assert answer.startswith(b"HTTP/1.1 200 ") and b'"stopped_because":"deadline"' in answer


def test_a_request_behind_another_does_not_hide_that_the_client_goes(strict: Server) -> None:
    def busy() -> bool:
        return 'chainrule_slots_in_use{gate="training"} 1.0' in httpx.get(f"{strict.url}/metrics").text

    with connect(strict) as raw:
        raw.sendall(run(strict, 30) + GET + b"\r\n")
        until(busy, 5)
    until(lambda: not busy(), 5)


@pytest.mark.parametrize("headers", [[], ["Content-Length: 10"]], ids=["no length", "too short"])
def test_a_body_without_its_length_gets_an_answer(strict: Server, headers: list[str]) -> None:
    """What is beyond the length is no request; the answer before it is still to be read."""
    head = post("/v1/step", b"", "Content-Length: 0", *headers).replace(b"Content-Length: 0\r\n", b"")
    for _ in range(5):
        answer = problem(exchange(strict, head + b'{"inputs": [[0.1, 0.2, 0.7]]}'))
        assert answer["type"] == "/problems/malformed-json" and "Content-Length" in answer["detail"]


def test_continue_is_sent_before_the_body_is_read(strict: Server, textbook: dict[str, Any]) -> None:
    body = json.dumps(textbook).encode()
    with connect(strict) as raw:
        raw.sendall(post("/v1/step", b"", f"Content-Length: {len(body)}", "Expect: 100-continue", "Connection: close"))
        assert raw.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        raw.sendall(body)
        assert read_all(raw).startswith(b"HTTP/1.1 200 ")
    head = post(
        "/v1/step", b"", "Content-Length: 10", "Expect: 100-continue", "Content-Encoding: gzip", "Connection: close"
    )
    assert exchange(strict, head).startswith(b"HTTP/1.1 415 ")


def test_http_1_0_gets_no_interim_answer(strict: Server, textbook: dict[str, Any]) -> None:
    asked = post("/v1/step", json.dumps(textbook).encode(), "Expect: 100-continue").replace(b"HTTP/1.1", b"HTTP/1.0")
    assert exchange(strict, asked).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "path", ["/livez", "/v1/catalog", "/docs", "/openapi.json", "/nothing", "/assets/swagger-ui.css"]
)
def test_head_is_get_without_a_body(strict: Server, path: str) -> None:
    got = httpx.get(strict.url + path, timeout=60)  # The OpenAPI document takes a while when it is first asked for.
    answer = exchange(strict, f"HEAD {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    assert body == b"" and head.startswith(f"HTTP/1.1 {got.status_code} ".encode())
    assert f"content-length: {len(got.content)}".encode() in head.lower()


@pytest.mark.parametrize(
    "target",
    ["/%00", "/assets/%00", "/assets/../app/main.py", "/assets/%2e%2e/main.py", "/%ff", "//livez", "/livez/",
     "/v1/step/", "/v1/examples/%00", "/problems/..%2f"],
)  # fmt: skip
def test_strange_paths_lead_nowhere(strict: Server, target: str) -> None:
    answer = exchange(strict, f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    assert problem(answer)["type"] == "/problems/not-found"


def test_a_refusal_leaves_the_connection_usable(strict: Server, textbook: dict[str, Any]) -> None:
    body = json.dumps(textbook).encode()
    refused = post("/v1/step", b"x" * 300_000, "Content-Encoding: gzip")
    answer = exchange(strict, refused + post("/v1/step", body, "Connection: close"))
    assert [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]] == [b"415", b"200"]


def test_a_refusal_can_be_read_though_the_body_goes_on(strict: Server) -> None:
    """The server closes only after the client had time to read."""
    for _ in range(5):
        request = post("/v1/step", b"x" * (3 * MIB), "Content-Encoding: gzip", "Connection: close")
        assert problem(exchange(strict, request))["status"] == 415


def test_http_1_0_gets_a_stream_as_one_answer(strict: Server) -> None:
    asked = httpx.get(f"{strict.url}/v1/examples/train_xor").json()["request"] | {"epochs": 3}
    request = post("/v1/train", json.dumps(asked).encode(), "Accept: text/event-stream").replace(
        b"HTTP/1.1", b"HTTP/1.0"
    )
    head, _, body = exchange(strict, request).partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head and f"content-length: {len(body)}".encode() in head
    assert b"event: result\n" in body


def test_a_good_client_is_served_among_bad_ones(strict: Server) -> None:
    with ThreadPoolExecutor(10) as pool:
        bad = [pool.submit(exchange, strict, MALFORMED[case]) for case in list(MALFORMED) * 4]
        assert all(httpx.get(f"{strict.url}/livez").status_code == 200 for _ in range(20))
        assert all(problem(answer.result())["status"] == 400 for answer in bad if answer.result())


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [("x/livez", "evil.example", 200), ("evil.example/livez", "x", 421), ("[::1]:80/livez", "x", 200), ("x", "x", 307)],
)
def test_the_host_of_a_whole_address_counts(strict: Server, target: str, host: str, status: int) -> None:
    request = f"GET http://{target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    assert exchange(strict, request.encode()).startswith(f"HTTP/1.1 {status} ".encode())


@pytest.mark.parametrize("version", ["2.0", "0.9", "1.2"])
def test_only_two_versions_are_spoken(strict: Server, version: str) -> None:
    assert exchange(strict, f"GET /livez HTTP/{version}\r\nHost: x\r\n\r\n".encode()).startswith(b"HTTP/1.1 400 ")


def test_the_rest_of_a_request_is_a_coroutine() -> None:
    """Since Python 3.12 a task takes nothing else, where 3.11 took a generator too."""
    assert inspect.iscoroutinefunction(_go_on)


def test_an_answer_that_looks_like_a_head_is_sent_whole() -> None:
    written: list[bytes] = []
    inner: Any = SimpleNamespace(is_closing=lambda: False, write=written.append)
    stub: Any = SimpleNamespace(starting=True)
    transport = Transport(inner, stub)
    for piece in (b"HTTP/1.1 200 OK\r\n\r\n", b"short"):
        transport.write(piece)
    assert [written.pop()] == [b"HTTP/1.1 200 OK\r\n\r\nshort"] and not written
    pieces = [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 " + b"x" * SHORT, b"HTTP/1.1 "]
    for piece in pieces:
        transport.write(piece)
    transport.flush()
    assert b"".join(written) == b"".join(pieces)
