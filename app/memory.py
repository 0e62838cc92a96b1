"""How memory goes back to the system: not at once, since the next large request needs it too, but after it is quiet.

Memory fresh from the system costs more than most computations on it, because each page is cleared first. Kept for good,
it would make a server as large as its largest hour.
"""

import asyncio
import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""Options of glibc's mallopt (malloc.h). Other C libraries are left as they are."""
QUIET_SECONDS = 0.5
LARGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
"""The environment in which glibc asks for memory in pages of two megabytes, where the system has them on request. A
process that reads and writes tens of megabytes spends a fifth less time then."""


class Memory:
    """The C library's memory in this process."""

    def __init__(self) -> None:
        library = ctypes.CDLL(None)
        self.trim = getattr(library, "malloc_trim", None)
        self.mallopt = getattr(library, "mallopt", None)
        self.timer: asyncio.TimerHandle | None = None

    def keep(self, largest: int) -> None:
        """Has the library keep blocks of up to `largest` bytes that are freed, and few arenas for the many threads.

        Blocks that grow, as an answer does while it is written, leave holes of all sizes among those that are kept.
        """
        if self.trim is not None and self.mallopt is not None:
            for option, value in ((M_MMAP_THRESHOLD, largest), (M_TRIM_THRESHOLD, 2**30), (M_ARENA_MAX, 2)):
                self.mallopt(option, value)

    def give_back_soon(self) -> None:
        """Gives what is free back to the system, unless this is called again within QUIET_SECONDS."""
        if self.timer is not None:
            self.timer.cancel()
        self.timer = asyncio.get_running_loop().call_later(QUIET_SECONDS, self._give_back)

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Gives back soon after the work within."""
        try:
            yield
        finally:
            self.give_back_soon()

    def give_back(self) -> None:
        """Gives what is free back to the system now; this takes a while, and is for threads."""
        if self.trim is not None:
            self.trim(0)

    def _give_back(self) -> None:
        asyncio.get_running_loop().run_in_executor(None, self.give_back)


memory = Memory()
