"""The large answers that wait for their clients, and how many bytes of them the server holds.

An answer is made in a slot and waits without one, so that a client that reads slowly keeps nobody else from computing.
A small request may have an answer of hundreds of megabytes: without an end to it, a few such clients would take all
memory there is.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from time import monotonic

from app.errors import ProblemError
from app.settings import settings


class Untaken:
    """An answer that waits since a time; it `gives_way` where its place is wanted and it has waited long enough."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.since = monotonic()
        self.gives_way = False


class AnswerBudget:
    """At most `most` bytes of answers wait when another large one is begun; of those that make it wait, the oldest
    gives way once its client has had `patience` seconds."""

    def __init__(self, most: int, patience: float) -> None:
        self.most = most
        self.patience = patience
        self.held = 0
        self.waiting: dict[Untaken, None] = {}

    def require_room(self) -> None:
        """Raises the 503 where too many bytes wait; also in a thread."""
        if self.held > self.most:
            detail = f"{self.held} bytes of answers wait for their clients; no more are made above {self.most}."
            raise ProblemError("overloaded", detail)

    def make_room(self) -> None:
        """The same, and has the oldest give way; on the event loop."""
        if self.held > self.most:
            oldest = next(iter(self.waiting))
            oldest.gives_way = monotonic() - oldest.since > self.patience
        self.require_room()

    @contextmanager
    def hold(self, size: int) -> Iterator[Untaken]:
        """Counts an answer while it waits."""
        answer = Untaken(size)
        self.waiting[answer] = None
        self.held += size
        try:
            yield answer
        finally:
            del self.waiting[answer]
            self.held -= size


@cache
def answer_budget() -> AnswerBudget:
    """As many bytes as of bodies."""
    limits = settings()
    return AnswerBudget(2 * limits.max_threads * limits.max_body_bytes, limits.max_write_seconds)
