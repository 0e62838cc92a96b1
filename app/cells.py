"""Numbers that several worker processes count, each in cells of its own, and that each of them can add up.

A worker's cells are doubles in a small file that it holds a lock on. The lock goes with the process, however it dies;
the next worker takes over the file that is free and counts on, so that totals never fall. The file is given its blocks
before it is mapped: a file system that is full later cannot hurt.
"""

import fcntl
import mmap
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from errno import ENOSPC
from itertools import count
from pathlib import Path
from typing import NamedTuple

PREFIX = "chainrule-cells-"
YOUNG_SECONDS = 60
"""A younger folder may be one that its supervisor is about to lock."""


class Cells(NamedTuple):
    """A process's cells, by the number of its file; `alive` tells whether a process counts in them now."""

    process: int
    alive: bool
    values: list[float]


class PrivateCells:
    """The cells of a process that shares them with nobody."""

    def __init__(self, size: int) -> None:
        self.mine: memoryview[float] = memoryview(bytearray(8 * size)).cast("d")

    def everyone(self) -> list[Cells]:
        return [Cells(0, True, list(self.mine))]


class SharedCells:
    """The cells of one worker of several; raises OSError where there is no room for them."""

    def __init__(self, directory: Path, size: int) -> None:
        self.directory = directory
        self.bytes = 8 * size
        descriptor = next(filter(None, (self._take(directory / str(number)) for number in count())))
        self.mine: memoryview[float] = memoryview(mmap.mmap(descriptor, self.bytes)).cast("d")
        os.close(descriptor)  # the map has a copy, and keeps the lock

    def _take(self, path: Path) -> int | None:
        """An open and locked file with all its blocks, or None where another worker has it."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_size < self.bytes:
                _fill(descriptor, self.bytes)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def everyone(self) -> list[Cells]:
        return [self._read(path) for path in sorted(self.directory.iterdir()) if path.stat().st_size == self.bytes]

    def _read(self, path: Path) -> Cells:
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), self.bytes, prot=mmap.PROT_READ) as mapped,
            memoryview(mapped) as raw,
            raw.cast("d") as values,
        ):
            return Cells(int(path.name), _locked(file.fileno()), list(values))


def _fill(descriptor: int, size: int) -> None:
    """Writes zeros, so that all blocks are there: a mapped page without one would be a bus error on a full disk."""
    if os.pwrite(descriptor, bytes(size), 0) < size:
        raise OSError(ENOSPC, os.strerror(ENOSPC))


def _locked(descriptor: int) -> bool:
    """Whether another holds the lock of this file or directory."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False


@contextmanager
def shared_directory() -> Iterator[Path | None]:
    """A new directory in memory for the cells of several workers, or None where nothing can be written.

    What a supervisor left behind that had no time to clear up is removed first.
    """
    for name in ("/dev/shm", None):
        try:
            parent = Path(name or tempfile.gettempdir())  # which raises where nothing can be written
            _clear(parent)
            directory = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        except OSError:
            continue
        lock = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)
            os.close(lock)
        return
    yield None


def _clear(parent: Path) -> None:
    for left in parent.glob(f"{PREFIX}*"):
        try:
            descriptor = os.open(left, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue  # another user's, or gone already
        age = time.time() - os.fstat(descriptor).st_mtime
        if age > YOUNG_SECONDS and not _locked(descriptor):
            shutil.rmtree(left, ignore_errors=True)
        os.close(descriptor)
