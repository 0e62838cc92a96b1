"""Whether the server is about to stop."""

from time import monotonic

from app.settings import settings


class Drain:
    """`began` is when the server was told to stop, or None."""

    def __init__(self) -> None:
        self.began: float | None = None

    def begin(self) -> None:
        if self.began is None:
            self.began = monotonic()

    def ends_runs(self) -> bool:
        """Whether training runs must end, so that their last event arrives before the server has gone.

        That is when `drain_seconds` and two thirds of `shutdown_seconds` are over; shorter ones end as if nothing had
        happened.
        """
        if self.began is None:
            return False
        return monotonic() > self.began + settings().drain_seconds + settings().shutdown_seconds * 2 / 3


drain = Drain()
