"""Servers on free ports of the loopback, and a client that costs as little as possible: a socket and prepared bytes."""

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from statistics import median
from tempfile import TemporaryFile
from time import perf_counter, sleep
from types import TracebackType
from typing import Self

JSON = "application/json"
FILE = "application/vnd.safetensors"
UVICORN = ("uvicorn", "--port", "{port}", "--no-access-log")
LONGEST_WAIT = 2.0
"""Servers close a connection that is quiet for some seconds; uvicorn after five."""
SECONDS_TO_START = 60


class Server:
    """A server process for the time of a `with`: a Python module and its arguments, with {port} for the port."""

    def __init__(self, *command: str, python: str = sys.executable, **environment: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.command = " ".join(command)
        self.log = TemporaryFile()  # noqa: SIM115, which lives as long as the server
        self.process = subprocess.Popen(
            [python, "-m", *(part.format(port=self.port) for part in command)],
            env={**os.environ, "HOST": "127.0.0.1", "PORT": str(self.port), **environment},
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        deadline = perf_counter() + SECONDS_TO_START
        while perf_counter() < deadline and self.process.poll() is None:
            with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", self.port)):
                return self
            sleep(0.05)
        self.stop()
        raise RuntimeError(f"{self.command} did not start:\n{self.printed()}")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends the process and those that it started."""
        for sign in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, sign)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=10)

    def printed(self) -> str:
        """The end of what the server printed."""
        self.log.seek(0)
        return self.log.read()[-2000:].decode("utf-8", "replace")

    def errors(self) -> list[str]:
        """The lines that tell of mistakes of the server's own."""
        self.log.seek(0)
        return [line.decode("utf-8", "replace") for line in self.log if b'"level":"error"' in line]


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

    def median(self, seconds: float) -> float:
        """The median of these latencies."""
        return median(self.time(seconds))
