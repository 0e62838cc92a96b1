"""W3C trace context (https://www.w3.org/TR/trace-context/), and OpenTelemetry where it is switched on.

FastAPI makes the spans, and exports them where OTEL_EXPORTER_OTLP_ENDPOINT says and the extra `otel` is installed. Here
they get the names of routes that FastAPI does not see; without OpenTelemetry, the trace goes on in log and answer.
"""

import re
from os import urandom
from typing import NamedTuple

from opentelemetry.trace import get_current_span
from starlette.types import Scope

TRACEPARENT = re.compile(rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


class Trace(NamedTuple):
    """The trace that a request belongs to: its id, the caller's span, our own, and the flags (01 is sampled)."""

    trace_id: str
    parent_id: str | None
    span_id: str
    flags: str

    def response(self) -> bytes:
        """The value of `traceresponse`, by which a caller finds our span in its trace."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}".encode()


def trace_of(scope: Scope, traceparent: bytes, route: str | None) -> Trace | None:
    """OpenTelemetry's trace where there is one, else what the header names; None where neither does."""
    telemetry = scope.get("fastapi.telemetry")
    if telemetry is None:
        return continued(traceparent) if traceparent else None
    span = get_current_span()
    context = span.get_span_context()
    if not context.is_valid:
        return continued(traceparent)
    if route is not None:
        telemetry.route = route
        span.update_name(f"{scope['method']} {route}")
    parent = getattr(span, "parent", None)
    parent_id = f"{parent.span_id:016x}" if parent else None
    return Trace(f"{context.trace_id:032x}", parent_id, f"{context.span_id:016x}", f"{context.trace_flags:02x}")


def continued(traceparent: bytes) -> Trace | None:
    """The trace that the header names with a new span of our own; None for what is no valid header.

    A later version of the header may have more parts, version 00 has four.
    """
    found = TRACEPARENT.fullmatch(traceparent)
    if found is None or (found[1] == b"00" and found[5] is not None):
        return None
    return Trace(found[2].decode(), found[3].decode(), urandom(8).hex(), found[4].decode())
