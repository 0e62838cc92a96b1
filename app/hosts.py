"""Which hosts this server answers for."""

import re
from functools import lru_cache

from app.settings import settings

HOST = re.compile(r"(?:(\[[0-9a-f:.]{2,45}\]|\d+\.\d+\.\d+\.\d+)|([a-z0-9_.-]{0,255}))(?::\d{0,5})?")
"""An address in the first group, or else a name in the second; a port is left aside."""


class MalformedHost(ValueError):
    """What no host is called."""


@lru_cache(1024)
def is_allowed(host: bytes) -> bool:
    """Whether this server answers for a Host: an address, a name without a dot, or one that the settings list.

    A page whose own name has been made to lead to this server (DNS rebinding) comes with that name, and such names have
    a dot. Raises MalformedHost.
    """
    name = HOST.fullmatch(host.decode("latin-1").lower())
    if name is None:
        raise MalformedHost
    if name[1] is not None or "." not in name[2] or name[2].endswith(".localhost"):
        return True
    allowed = [entry.strip().rstrip(".").lower() for entry in settings().allowed_hosts.split(",")]
    return "*" in allowed or name[2].rstrip(".") in allowed
