"""W3C trace context: https://www.w3.org/TR/trace-context/."""

import re
from os import urandom
from typing import NamedTuple

TRACEPARENT = re.compile(rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


class Trace(NamedTuple):
    """The trace that a request belongs to: its id, the caller's span, our own, and the flags (01 is sampled)."""

    trace_id: str
    parent_id: str
    span_id: str
    flags: str

    def response(self) -> bytes:
        """The value of `traceresponse`, by which a caller finds our span in its trace."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}".encode()


def continued(traceparent: bytes) -> Trace | None:
    """The trace that the header names with a new span of our own; None for what is no valid header.

    A later version of the header may have more parts, version 00 has four.
    """
    found = TRACEPARENT.fullmatch(traceparent)
    if found is None or (found[1] == b"00" and found[5] is not None):
        return None
    return Trace(found[2].decode(), found[3].decode(), urandom(8).hex(), found[4].decode())
