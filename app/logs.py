"""Log lines: JSON for programs, readable on a terminal, and never a reason to wait.

Everything goes through structlog, uvicorn's own lines too; only the JSON line of a request is written directly, since
structlog takes five times as long for it (docs/decisions/0007-logs.md).
"""

import logging
import os
import select
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from stat import S_ISFIFO
from threading import Event, Thread
from typing import Any

import orjson
import structlog
from structlog.typing import EventDict, Processor

from app.metrics import DROPPED, metrics
from app.settings import settings

MOST_WAITING = 5000
"""So many lines wait for a reader that stalls; what comes after is dropped, and counted."""
GATHER_SECONDS = 0.05
LAST_SECONDS = 1.0
"""So long a process that ends waits for its last lines."""
TOGETHER = 2**16
"""So many bytes are written in one piece; into a pipe, as many as it takes whole even where several processes write."""
LEVELS = ("debug", "info", "warning", "error")
LINE = orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE


class LineWriter:
    """Writes lines to a descriptor.

    While it has a thread, that one waits for the reader, and whoever has a line does not. Without (a process that is
    yet to fork has none), a line that there is no room for is dropped.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.together = select.PIPE_BUF if S_ISFIFO(os.fstat(descriptor).st_mode) else TOGETHER
        self.lines: deque[bytes] = deque()
        self.something = Event()
        self.writing = False
        self.thread: Thread | None = None

    def write(self, line: bytes) -> None:
        if self.thread is None:
            self._write_if_there_is_room(line)
        elif len(self.lines) >= MOST_WAITING:
            metrics().add(DROPPED)
        else:
            self.lines.append(line)
            if not self.something.is_set():
                self.something.set()

    def start(self) -> None:
        self.thread = Thread(target=self._work, name="log", daemon=True)
        self.thread.start()

    def flush(self) -> None:
        """Waits until all is written, but not for long."""
        end = time.monotonic() + LAST_SECONDS
        while (self.lines or self.writing) and time.monotonic() < end:
            time.sleep(GATHER_SECONDS / 10)

    def _write_if_there_is_room(self, line: bytes) -> None:
        poll = select.poll()
        poll.register(self.descriptor, select.POLLOUT)
        if any(event & select.POLLOUT for _, event in poll.poll(0)):
            self._write([line[: self.together]])

    def _work(self) -> None:
        while self.something.wait():
            time.sleep(GATHER_SECONDS)
            self.something.clear()
            self.writing = True
            while self.lines:
                self._write(self._together())
            self.writing = False

    def _together(self) -> list[bytes]:
        lines = [self.lines.popleft()]
        size = len(lines[0])
        while self.lines and size + len(self.lines[0]) <= self.together:
            lines.append(self.lines.popleft())
            size += len(lines[-1])
        return lines

    def _write(self, lines: list[bytes]) -> None:
        left = memoryview(b"".join(lines))
        try:
            while left:
                left = left[os.write(self.descriptor, left) :]
        except OSError:  # the reader went away, or its disk is full
            metrics().add(DROPPED, len(lines))


@cache
def writer() -> LineWriter:
    """This process's writer to the standard error stream."""
    return LineWriter(sys.stderr.fileno())


@contextmanager
def log_thread() -> Iterator[None]:
    """Lines are written by a thread within this, and the last ones at its end, if their reader takes them in time."""
    writer().start()
    try:
        yield
    finally:
        writer().flush()


class Lines:
    """What structlog takes for a logger: every level writes a line."""

    def msg(self, line: str) -> None:
        writer().write(line.encode("utf-8", "backslashreplace") + b"\n")

    debug = info = warning = error = critical = msg


def _json(content: Any, **_: Any) -> str:
    return orjson.dumps(content, default=repr).decode()


BEGINNING: list[Processor] = [structlog.stdlib.add_log_level, structlog.processors.TimeStamper("iso", utc=True)]


@cache
def in_json() -> bool:
    """Whether lines are JSON: by setting, or because nobody reads them on a terminal."""
    form = settings().log_format
    return form == "json" or (form == "auto" and not sys.stderr.isatty())


def _ends() -> list[Processor]:
    if in_json():
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_json)]
    plain = structlog.dev.plain_traceback
    console = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain, pad_event_to=0)
    return [_printable, console]


def _printable(_logger: Any, _name: str, fields: EventDict) -> EventDict:
    """A path may hold what would move a terminal's cursor."""
    for name, value in fields.items():
        if isinstance(value, str) and not value.isprintable():
            fields[name] = value.encode("unicode_escape").decode()
    return fields


class Handler(logging.Handler):
    """Takes the lines of the standard library's loggers, uvicorn's among them."""

    def __init__(self) -> None:
        super().__init__()
        formatter = structlog.stdlib.ProcessorFormatter
        self.setFormatter(
            formatter(processors=[formatter.remove_processors_meta, *_ends()], foreign_pre_chain=BEGINNING)
        )

    def emit(self, record: logging.LogRecord) -> None:
        Lines().msg(self.format(record))


def log_config() -> dict[str, Any]:
    """For uvicorn: whatever logs, logs in this form. Sets structlog up too."""
    level = settings().log_level.upper()
    structlog.configure(
        processors=[*BEGINNING, *_ends()],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: Lines(),
        cache_logger_on_first_use=True,
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"lines": {"()": Handler}},
        "root": {"handlers": ["lines"], "level": level},
    }


log: Any = structlog.get_logger()


def log_mistake(request_id: str, error: Exception) -> None:
    """The line, with its traceback, of an error that no request should bring."""
    log.error("a request failed by a mistake of the server's", request_id=request_id, exc_info=error)


@cache
def logged(level: str) -> bool:
    """Whether lines of this level are written."""
    return LEVELS.index(level) >= LEVELS.index(settings().log_level)


def log_request(level: str, fields: dict[str, Any]) -> None:
    """The line of a request."""
    if in_json():
        fields["level"] = level
        fields["timestamp"] = datetime.now(UTC)
        writer().write(orjson.dumps(fields, option=LINE))
    else:
        getattr(log, level)(**fields)
