"""Who may compute, and how much: API keys, and a rate limit by cost. Both are off unless a setting switches them on.

The limit is a token bucket for each key, or for each address where there are no keys. It holds a minute's worth of
units and fills up steadily. A request is let in while anything is left. What it costs is known only once it has been
read, and is taken off then: a large request may leave a debt, which time must pay before the next one is let in.
"""

import ipaddress
import math
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from time import monotonic

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import ProblemError, answer_error
from app.keys import Keys
from app.observation import PROBES

WINDOW = 60
"""How many seconds an empty bucket takes to fill up."""
MOST_BUCKETS = 100_000
"""Beyond these, the bucket that was not used for longest is forgotten."""
UNIT_WORK = 2_000_000
"""So many multiplications are a unit of cost, about a millisecond of one core."""


def units(numbers: int, work: int) -> float:
    """The cost of a computation beyond the one unit of every request."""
    return numbers / 10_000 + work / UNIT_WORK


@dataclass(slots=True)
class Bucket:
    """`level` units at time `at`."""

    level: float
    at: float


class RateLimit:
    """A bucket of `size` units for each holder, a key or an address; one that is not there is full."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.buckets: dict[str, Bucket] = {}
        self.lock = Lock()

    def level(self, whose: str) -> float:
        """What is left in a bucket now; a debt is negative."""
        with self.lock:
            return self._filled(whose).level

    def take(self, whose: str, cost: float) -> None:
        """Takes a cost off, which may leave a debt; safe from any thread."""
        with self.lock:
            self._filled(whose).level -= cost

    def wait(self, level: float, wanted: float) -> int:
        """Whole seconds until a level has risen to what is wanted."""
        return max(0, math.ceil((wanted - level) * WINDOW / self.size))

    def _filled(self, whose: str) -> Bucket:
        """The bucket as it is now, put last in the order of use."""
        now = monotonic()
        bucket = self.buckets.pop(whose, None) or Bucket(self.size, now)
        bucket.level = min(self.size, bucket.level + (now - bucket.at) * self.size / WINDOW)
        bucket.at = now
        self.buckets[whose] = bucket
        if len(self.buckets) > MOST_BUCKETS:
            del self.buckets[next(iter(self.buckets))]
        return bucket


class Access:
    """Where there are keys, a POST needs one; where there is a limit, every request needs a unit in its bucket."""

    def __init__(self, app: ASGIApp, keys: Keys, rate: int) -> None:
        self.app = app
        self.keys = keys
        self.limit = RateLimit(rate) if rate else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in PROBES:  # Probes are never refused.
            await self.app(scope, receive, send)
            return
        try:
            whose = self._holder(scope)
            if self.limit is not None:
                send = self._limited(self.limit, whose, scope, send)
        except ProblemError as error:
            await answer_error(Request(scope), error)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _holder(self, scope: Scope) -> str:
        """Whose bucket a request counts against; raises where it has no key and needs one."""
        if self.keys.names:
            key = key_of(dict(scope["headers"]))
            name = None if key is None else self.keys.name(key)
            if name is not None:
                return f"key {name}"
            if scope["method"] == "POST":
                detail = "This needs an API key, and the request has none." if key is None else "This key is not known."
                raise ProblemError("unauthorized", detail, {"WWW-Authenticate": 'Bearer realm="chainrule"'})
        return network_of(scope["client"][0] if scope["client"] else "")

    def _limited(self, limit: RateLimit, whose: str, scope: Scope, send: Send) -> Send:
        """Takes a request's first unit, and returns a `send` that tells what is left; raises where nothing is left."""
        policy = {"RateLimit-Policy": f'"cost";q={limit.size};w={WINDOW}'}
        level = limit.level(whose)
        if level < 1:
            wait = limit.wait(level, 1)
            headers = {**policy, "RateLimit": f'"cost";r=0;t={wait}', "Retry-After": str(wait)}
            raise ProblemError("rate-limited", f"The budget of this {whose.split()[0]} is used up.", headers)
        limit.take(whose, 1)
        scope["state"]["charge"] = lambda numbers, work: limit.take(whose, units(numbers, work))

        async def send_limited(message: Message) -> None:
            if message["type"] == "http.response.start":
                left = limit.level(whose)
                told = {**policy, "RateLimit": f'"cost";r={max(0, int(left))};t={limit.wait(left, limit.size)}'}
                added = [(name.lower().encode(), value.encode()) for name, value in told.items()]
                message["headers"] = [*message["headers"], *added]
            await send(message)

        return send_limited


def key_of(headers: Mapping[bytes, bytes]) -> bytes | None:
    """The key of `Authorization: Bearer` or else of `X-API-Key`."""
    scheme, _, credentials = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() == b"bearer" and credentials.strip():
        return credentials.strip()
    return headers.get(b"x-api-key")


def network_of(address: str) -> str:
    """Whose bucket an address counts against: in IPv6 that of its network of 64 bits, the least that a customer has."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return f"address {address}"
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return f"address {ip.ipv4_mapped}"
        return f"address {ipaddress.ip_network((ip, 64), strict=False).network_address}/64"
    return f"address {ip}"
