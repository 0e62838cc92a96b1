"""How memory goes back to the system."""

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""Options of glibc's mallopt (malloc.h)."""


def return_memory() -> None:
    """Has the C library give the memory of large blocks back to the system when they are freed.

    By default glibc raises its thresholds with the first large block that is freed, up to 32 MiB, and keeps an arena
    for each of many threads; a server would stay as large as its largest hour. Other C libraries are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in ((M_MMAP_THRESHOLD, 2**18), (M_TRIM_THRESHOLD, 2**18), (M_ARENA_MAX, 2)):
            mallopt(option, value)
