"""The listening socket at its end."""

import socket
import sys

import pytest

from app.listener import refuse_newcomers


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such filter")
@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_who_has_come_is_served_and_nobody_comes_after(family: socket.AddressFamily, address: str) -> None:
    if family == socket.AF_INET6 and not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")
    with socket.create_server((address, 0), family=family) as listener, socket.socket(family) as late:
        place = listener.getsockname()[:2]
        with socket.create_connection(place) as early:
            refuse_newcomers(listener)
            late.settimeout(0.3)
            with pytest.raises(TimeoutError):
                late.connect(place)
            accepted, _ = listener.accept()
            with accepted:
                early.sendall(b"asked")
                assert accepted.recv(5) == b"asked"
                accepted.sendall(b"answered")
                assert early.recv(8) == b"answered"
            listener.setblocking(False)
            with pytest.raises(BlockingIOError):
                listener.accept()
