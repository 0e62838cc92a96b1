"""The listening socket: how it is opened, and how it closes without resetting connections that the system has made."""

import contextlib
import resource
import struct
from ctypes import addressof, create_string_buffer
from socket import AF_INET, AF_INET6, SOL_SOCKET, create_server, socket

from app.logs import log

BACKLOG = 2048
OTHER_FILES = 256
"""So many open files a worker needs beside its connections: for child processes, bodies, libraries."""
SO_ATTACH_FILTER = 26
NO_SYN = (
    (0x30, 0, 0, 13),  # load the byte of flags of the TCP header
    (0x54, 0, 0, 0x12),  # of them SYN and ACK
    (0x15, 0, 1, 0x02),  # where there is SYN alone
    (0x06, 0, 0, 0),  # drop it
    (0x06, 0, 0, 2**32 - 1),  # else let it through
)
"""A program of the Linux kernel's packet filter: operation, jumps where true and false, operand."""


def listen(host: str, port: int) -> socket:
    """A listening socket, of which the log tells only when one can connect to it."""
    try:
        listener = create_server((host, port), family=AF_INET6 if ":" in host else AF_INET, backlog=BACKLOG)
    except OSError as error:
        raise SystemExit(f"Cannot listen on {host}, port {port}: {error.strerror}.") from None
    name = f"[{host}]" if ":" in host else host
    log.info(f"running on http://{name}:{listener.getsockname()[1]} (end it with Ctrl+C)")
    return listener


def allow_files(connections: int) -> None:
    """Lets this process open the files that so many connections need, and as many again that are being refused, where
    the system's own limit is lower and may be raised. Shells and systemd often set it to 1024."""
    wanted = 2 * connections + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def refuse_newcomers(listener: socket) -> None:
    """Lets nobody begin to connect any more, in whichever process, while who has begun can still be accepted.

    Closing alone resets connections that nobody has accepted yet, and more may come at any time before it. Those who
    ask in vain try again, and are refused once it is closed. Where there is no such filter, nothing is changed.
    """
    program = create_string_buffer(b"".join(struct.pack("=HBBI", *instruction) for instruction in NO_SYN))
    with contextlib.suppress(OSError):
        listener.setsockopt(SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("@HP", len(NO_SYN), addressof(program)))
