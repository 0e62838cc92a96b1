"""A load of many connections at once: keep-alive callers on one event loop, and a tally of what came back."""

import asyncio
import re
from collections import Counter, defaultdict
from contextlib import suppress
from time import perf_counter

LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)


def request(path: str, body: bytes = b"", method: str = "POST", headers: str = "") -> bytes:
    """The bytes of a request."""
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}"
    if method == "POST":
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


class Lost(Exception):
    """A request that was sent, and whose connection ended without an answer."""


class Caller:
    """One keep-alive connection, opened again after the server said that it closes it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None

    async def call(self, sent: bytes) -> tuple[int, bytes]:
        """Status and body. Raises ConnectionRefusedError where nobody listens, Lost where the answer fails to come."""
        if self.writer is None:
            try:
                self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port, limit=2**20)
            except ConnectionResetError as error:  # The listener was closed in the middle of the handshake.
                raise ConnectionRefusedError(str(error)) from None
        assert self.reader is not None
        try:
            self.writer.write(sent)
            await self.writer.drain()
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = LENGTH.search(head)
            body = await self.reader.readexactly(int(length[1])) if length else await self.reader.read()
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            self.close()
            raise Lost(repr(error)) from None
        if not length or b"\r\nconnection: close" in head.lower():
            self.close()
        return int(head[9:12]), body

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
        self.reader = self.writer = None


class Tally:
    """Seconds of the answers by status, and what was lost."""

    def __init__(self) -> None:
        self.seconds: dict[int, list[float]] = defaultdict(list)
        self.lost: list[str] = []

    async def call(self, caller: Caller, sent: bytes) -> int | None:
        """Calls and counts; None where it was lost."""
        start = perf_counter()
        try:
            status, _ = await caller.call(sent)
        except Lost as lost:
            self.lost.append(str(lost))
            return None
        self.seconds[status].append(perf_counter() - start)
        return status

    def statuses(self) -> Counter[int]:
        return Counter({status: len(seconds) for status, seconds in sorted(self.seconds.items())})

    def percentile(self, status: int, percent: float) -> float:
        """Of the seconds of a status; not a number where there are none."""
        seconds = sorted(self.seconds.get(status, []))
        return seconds[min(len(seconds) - 1, int(len(seconds) * percent / 100))] if seconds else float("nan")


async def closed_loop(port: int, sent: bytes, callers: int, seconds: float) -> Tally:
    """`callers` connections, each of which calls again as soon as it has its answer."""
    tally, ends = Tally(), perf_counter() + seconds

    async def work() -> None:
        caller = Caller(port)
        with suppress(ConnectionRefusedError):
            while perf_counter() < ends:
                await tally.call(caller, sent)
        caller.close()

    await asyncio.gather(*(work() for _ in range(callers)))
    return tally


async def open_loop(port: int, sent: bytes, rate: float, seconds: float) -> Tally:
    """`rate` calls a second, whether or not the earlier ones have been answered; their time counts from when they were
    due, so that a server that stalls does not hide it."""
    tally, idle, tasks = Tally(), [], set()
    start = perf_counter()

    async def one(due: float) -> None:
        caller = idle.pop() if idle else Caller(port)
        try:
            status, _ = await caller.call(sent)
        except (Lost, OSError) as error:
            tally.lost.append(repr(error))
        else:
            tally.seconds[status].append(perf_counter() - due)
            idle.append(caller)

    for number in range(int(rate * seconds)):
        due = start + number / rate
        while (ahead := due - perf_counter()) > 0:
            await asyncio.sleep(ahead)
        task = asyncio.create_task(one(due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        if number % 50 == 0:
            await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    for caller in idle:
        caller.close()
    return tally
