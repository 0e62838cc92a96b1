"""The gates before everything that is too large for the event loop: so many slots, and a short queue before them.

All of it happens on the event loop, each decision in one step without an await, so nobody slips in between a look and
an entry. A slot is given back when the work in it has really ended, not when its client has gone.
"""

import asyncio
import contextlib
import contextvars
import math
import threading
from collections import deque
from collections.abc import Callable
from functools import cache, partial
from time import monotonic
from typing import Any, TypeVar

from app.errors import ProblemError
from app.metrics import GATES, metrics
from app.settings import settings

T = TypeVar("T")
SHARE = 0.2
"""What the newest visit counts in the mean time of a visit."""


class Gate:
    """`slots` at once; at most `places` waiting, none of them longer than `patience` seconds.

    `in_use` and `waiting` are for reading; `watch` is called when one of them changes.
    """

    def __init__(
        self, slots: int, places: int, patience: float, watch: Callable[["Gate"], None] = lambda gate: None
    ) -> None:
        self.slots = slots
        self.places = places
        self.patience = patience
        self.watch = watch
        self.in_use = 0
        self.visit_seconds = 0.0
        self._queue: deque[asyncio.Future[None]] = deque()
        watch(self)

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def wait_seconds(self) -> float:
        """How long the next one would wait, by the time that visits took lately."""
        if self.in_use < self.slots:
            return 0.0
        return self.visit_seconds * (self.waiting + 1) / self.slots

    def require_place(self) -> None:
        """Raises the 503 where one more would find no place, or would wait in vain."""
        if self.in_use < self.slots:
            return
        if self.waiting >= self.places or (self.waiting and self.wait_seconds() > self.patience):
            raise self.refusal()

    def refusal(self) -> ProblemError:
        detail = f"All {self.slots} slots for work of this size are taken, and {self.waiting} requests wait for one."
        return ProblemError("overloaded", detail, {"Retry-After": str(max(1, math.ceil(self.wait_seconds())))})

    async def enter(self) -> float:
        """Takes a slot, after waiting in the queue if need be; raises the 503. To be followed by one `leave`.

        Returns the time of entry. Whoever is cancelled while it waits is out of the queue.
        """
        self.require_place()
        if self.in_use < self.slots:
            self.in_use += 1
            self.watch(self)
            return monotonic()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        self.watch(self)
        try:
            async with asyncio.timeout(self.patience):
                await turn
        except TimeoutError:
            self._give_up(turn)
            raise self.refusal() from None
        except asyncio.CancelledError:
            self._give_up(turn)
            raise
        return monotonic()

    def leave(self, entered: float) -> None:
        """Gives a slot back: to the first in the queue, if there is one."""
        self.visit_seconds += SHARE * (monotonic() - entered - self.visit_seconds)
        self._pass_on()
        self.watch(self)

    def _give_up(self, turn: asyncio.Future[None]) -> None:
        if turn.done() and not turn.cancelled():
            self._pass_on()
        else:
            with contextlib.suppress(ValueError):
                self._queue.remove(turn)
        self.watch(self)

    def _pass_on(self) -> None:
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.in_use -= 1

    async def in_thread(self, work: Callable[[], T]) -> T:
        """What `work` returns or raises, from a thread of its own in a slot of this gate."""
        return await (await self.thread(work))

    async def thread(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        """Enters, and starts a thread; the future is what `work` returns or raises.

        The slot is the thread's: where the future is cancelled, the thread keeps its slot until it ends. The thread is
        a daemon, so that a server which must stop does not wait for it.
        """
        entered = await self.enter()
        loop = asyncio.get_running_loop()
        result: asyncio.Future[T] = loop.create_future()

        def finish(error: BaseException | None, value: Any) -> None:
            self.leave(entered)
            if result.done():
                return
            if error is None:
                result.set_result(value)
            else:
                result.set_exception(error)

        def tell(error: BaseException | None, value: T | None) -> None:
            with contextlib.suppress(RuntimeError):  # The loop has closed: nobody waits any more.
                loop.call_soon_threadsafe(finish, error, value)

        def run() -> None:
            # No variable may hold the error: together with its traceback it would keep a large body alive for long.
            try:
                value = work()
            except BaseException as error:
                tell(error, None)
            else:
                tell(None, value)

        try:
            threading.Thread(target=contextvars.copy_context().run, args=(run,), daemon=True).start()
        except RuntimeError as error:
            self.leave(entered)
            raise MemoryError("no thread can be started") from error
        return result


@cache
def gates() -> dict[str, Gate]:
    """The gates by name: `compute` for single answers, `training` for runs, so that neither starves the other."""
    limits = settings()
    return {
        name: Gate(limits.max_threads, limits.max_queue, limits.max_queue_seconds, partial(tell_metrics, name))
        for name in GATES
    }


def tell_metrics(name: str, gate: Gate) -> None:
    metrics().gate(name, gate.slots, gate.in_use, gate.waiting)
