"""Malformed HTTP over a raw socket: refused or ignored, never a 500, and the next client is served as ever."""

import re
import socket
from typing import Any
from urllib.parse import urlsplit

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import Server, searching

BODY = b'{"network": {"layers": [{"weights": [[1]], "bias": null, "activation": "relu"}]}, "inputs": [[1]]}'
VALID = (
    b"POST /v1/forward HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(BODY) + BODY
)
STATUS_LINE = re.compile(rb"HTTP/1\.1 (\d{3}) ")
ODD_LINES = [
    b"Content-Length: -1\r\n", b"Content-Length: 1e3\r\n", b"Content-Length: 5\r\nContent-Length: 6\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip, chunked\r\n", b"Transfer-Encoding: \x0bchunked\r\n",
    b"Host: \r\n", b"Host: a\r\nHost: b\r\n", b" folded: x\r\n", b": no name\r\n", b"No colon\r\n", b"Name : space\r\n",
    b"X: \x00\r\n", b"X: \xff\xfe\r\n", b"X: " + b"y" * 70_000 + b"\r\n", b"Expect: 100-continue\r\n",
    b"Upgrade: websocket\r\nConnection: Upgrade\r\n", b"Upgrade: h2c\r\n", b"Accept: ,;=q\r\n",
    b"X-Request-ID: a b\r\n",
    b"Content-Type: \r\n", b"Content-Encoding: br\r\n", b"\r\n", b"\n", b"\r",
]  # fmt: skip
START_LINES = [
    b"GET", b"GET /\r\n", b"GET / HTTP/9.9\r\n", b"POST /v1/forward\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"PRI * HTTP/2.0\r\n", b"GET /%00 HTTP/1.1\r\n", b"GET /%ff%fe HTTP/1.1\r\n", b"GET //etc/passwd HTTP/1.1\r\n",
    b"GET /../../etc HTTP/1.1\r\n", b"GET http://other/ HTTP/1.1\r\n", b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n",
    b"OPTIONS * HTTP/1.1\r\n", b"CONNECT a:1 HTTP/1.1\r\n", b"TRACE / HTTP/1.1\r\n", b"get / HTTP/1.1\r\n",
    b"GET /v1/examples/%2e%2e%2f HTTP/1.1\r\n", b"POST /v1/forward HTTP/1.0\r\n", b"GET /v1/catalog?a=%zz HTTP/1.1\r\n",
    b"GET /assets/../app/main.py HTTP/1.1\r\n", b"GET /assets/%2e%2e/%2e%2e/app HTTP/1.1\r\n",
]  # fmt: skip


@st.composite
def exchanges(draw: st.DrawFn) -> bytes:
    """A valid request with something done to it."""
    head, body = VALID.split(b"\r\n\r\n", 1)
    first, rest = head.split(b"\r\n", 1)
    match draw(st.sampled_from(["start", "header", "bytes", "cut", "noise", "chunks", "pipelined"])):
        case "start":
            return draw(st.sampled_from(START_LINES)).removesuffix(b"\r\n") + b"\r\n" + rest + b"\r\n\r\n" + body
        case "header":
            return first + b"\r\n" + draw(st.sampled_from(ODD_LINES)) + rest + b"\r\n\r\n" + body
        case "bytes":
            data = bytearray(VALID)
            for _ in range(draw(st.integers(1, 4))):
                data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
            return bytes(data)
        case "cut":
            return VALID[: draw(st.integers(0, len(VALID)))]
        case "noise":
            return draw(st.binary(max_size=300))
        case "chunks":
            size = draw(
                st.sampled_from([b"5", b"-1", b"FFFFFFFFFFFFFFFFFF", b"zz", b"", b"0x5", b"5;ext=" + b"x" * 9999])
            )
            lines = re.sub(rb"Content-Length: \d+", b"Transfer-Encoding: chunked", rest)
            return first + b"\r\n" + lines + b"\r\n\r\n" + size + b"\r\n" + body[:5] + b"\r\n0\r\n\r\n"
        case _:
            return VALID.replace(b"Connection: close\r\n", b"") * draw(st.integers(1, 5)) + VALID


def exchange(address: tuple[str, int], sent: bytes, at_an_end: bool = True) -> bytes:
    """What the server answers until it closes the connection; raises TimeoutError where it does neither.

    `at_an_end` says after the last byte that no more will come.
    """
    received = b""
    with socket.create_connection(address, timeout=20) as line:
        try:
            line.sendall(sent)
            if at_an_end:
                line.shutdown(socket.SHUT_WR)
            while data := line.recv(1 << 16):
                received += data
        except TimeoutError:
            raise
        except OSError:
            pass  # the server need not read to its end what it has refused
    return received


def statuses(received: bytes) -> list[int]:
    return [int(status) for status in STATUS_LINE.findall(received)]


@settings(max_examples=searching(100, 2000), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sent=exchanges())
def test_a_malformed_exchange(server: Server, sent: bytes) -> None:
    parts = urlsplit(server.url)
    received = exchange((str(parts.hostname), int(parts.port or 0)), sent)
    answered = statuses(received)
    assert not received or received.startswith(b"HTTP/1.1 "), received[:500]
    assert all(status < 500 for status in answered), received[:2000]
    if answered and answered[-1] >= 400:
        assert b"content-type: application/problem+json" in received.lower(), received[:2000]


def test_a_valid_exchange(server: Server, client: httpx.Client) -> None:
    """What the others are made of is answered."""
    parts = urlsplit(server.url)
    address = (str(parts.hostname), int(parts.port or 0))
    assert statuses(exchange(address, VALID, False)) == [200]
    twice = VALID.replace(b"Connection: close\r\n", b"") + VALID
    assert statuses(exchange(address, twice, False)) == [200, 200]
    alive: Any = client.get("/livez").json()
    assert alive == {"status": "alive"}
