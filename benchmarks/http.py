"""Servers on free ports of the loopback, and a client that costs as little as possible: a socket and prepared bytes."""

import os
import re
import socket
import subprocess
import sys
from time import perf_counter
from types import TracebackType
from typing import Self


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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.process.terminate()
        self.process.communicate(timeout=20)


class Client:
    """One keep-alive connection that sends the same request again and again."""

    def __init__(self, port: int, path: str, body: bytes) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        head = (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        )
        self.request = f"{head}\r\n\r\n".encode() + body

    def post(self) -> bytes:
        """The answer's body; raises unless it is a 200."""
        self.socket.sendall(self.request)
        data = self.socket.recv(1 << 20)
        while b"\r\n\r\n" not in data:
            data += self.socket.recv(1 << 20)
        head, _, body = data.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(data[:500].decode())
        length = int(re.search(rb"content-length: (\d+)", head, re.IGNORECASE).group(1))  # type: ignore[union-attr]
        parts = [body]
        missing = length - len(body)
        while missing > 0:
            parts.append(self.socket.recv(1 << 20))
            missing -= len(parts[-1])
        return b"".join(parts)

    def time(self, seconds: float) -> list[float]:
        """The latencies of as many posts as fit into the time."""
        latencies = []
        end = perf_counter() + seconds
        while (start := perf_counter()) < end:
            self.post()
            latencies.append(perf_counter() - start)
        return latencies
