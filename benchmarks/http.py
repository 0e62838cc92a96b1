"""Servers on free ports of the loopback, and a client that costs as little as possible: a socket and prepared bytes."""

import os
import re
import socket
import subprocess
import sys
from contextlib import suppress
from time import perf_counter, sleep
from types import TracebackType
from typing import Self

JSON = "application/json"
LONGEST_WAIT = 2.0
"""Servers close a connection that is quiet for some seconds; uvicorn after five."""


class Server:
    """A server process for the time of a `with`."""

    def __init__(self, *arguments: str) -> None:
        environment = {**os.environ, "HOST": "127.0.0.1", "PORT": "0"}
        command = [sys.executable, "-m", *arguments]
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        found = None
        while not found:
            line = self.process.stderr.readline()
            if not line:
                raise RuntimeError(f"{arguments} did not start")
            found = re.search(r"running on http://127\.0\.0\.1:(\d+)", line)
        self.port = int(found.group(1))
        self._wait_until_it_listens()

    def _wait_until_it_listens(self) -> None:
        """Servers may tell their port before they listen on it."""
        for _ in range(200):
            with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", self.port)):
                return
            sleep(0.05)
        raise RuntimeError(f"nobody listens on port {self.port}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.process.terminate()
        self.process.communicate(timeout=20)


class Client:
    """One keep-alive connection that sends the same request again and again."""

    def __init__(self, port: int, path: str, body: bytes, form: str = JSON, accept: str = JSON) -> None:
        self.port = port
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {form}\r\nAccept: {accept}"
        self.request = f"{head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        self.connect()

    def connect(self) -> None:
        self.socket = socket.create_connection(("127.0.0.1", self.port), timeout=120)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.used = perf_counter()

    def post(self) -> bytes:
        """The answer's body; raises unless it is a 200. A connection that waited for long is made anew."""
        if perf_counter() - self.used > LONGEST_WAIT:
            self.socket.close()
            self.connect()
        self.socket.sendall(self.request)
        data = self.receive()
        while b"\r\n\r\n" not in data:
            data += self.receive()
        head, _, body = data.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(data[:2000].decode())
        length = int(re.search(rb"content-length: (\d+)", head, re.IGNORECASE).group(1))  # type: ignore[union-attr]
        parts = [body]
        missing = length - len(body)
        while missing > 0:
            parts.append(self.receive())
            missing -= len(parts[-1])
        self.used = perf_counter()
        return b"".join(parts)

    def receive(self) -> bytes:
        data = self.socket.recv(1 << 20)
        if not data:
            raise RuntimeError("the server closed the connection")
        return data

    def time(self, seconds: float) -> list[float]:
        """The latencies of as many posts as fit into the time, and of one at least."""
        latencies: list[float] = []
        end = perf_counter() + seconds
        while (start := perf_counter()) < end or not latencies:
            self.post()
            latencies.append(perf_counter() - start)
        return latencies
