"""Which hosts this server answers for."""

import re
from functools import lru_cache

from app.settings import settings

HOST = re.compile(r"(?:(\[[0-9a-f:.]+\]|\d+\.\d+\.\d+\.\d+)|([a-z0-9_.-]*))(?::\d*)?")
"""An address in the first group, or else a name in the second; a port is left aside."""


@lru_cache(1024)
def is_allowed(host: bytes) -> bool:
    """Whether this server answers for a Host: an address, a name without a dot, or one that the settings list.

    A page whose own name has been made to lead to this server (DNS rebinding) comes with that name, and such names have
    a dot.
    """
    name = HOST.fullmatch(host.decode("latin-1").lower())
    if name is None:
        return False
    if name[1] is not None or "." not in name[2] or name[2].endswith(".localhost"):
        return True
    allowed = [entry.strip().rstrip(".").lower() for entry in settings().allowed_hosts.split(",")]
    return "*" in allowed or name[2].rstrip(".") in allowed
