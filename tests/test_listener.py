"""The listening socket at its end, and the open files that connections need."""

import resource
import socket
import sys

import httpx
import pytest

from app.listener import OTHER_FILES, allow_files, refuse_newcomers
from tests.conftest import Server


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


@pytest.mark.parametrize(
    ("limits", "becomes"),
    [
        ((64, 10_000), 2000 + OTHER_FILES),
        ((64, 1000), 1000),
        ((9000, 10_000), None),
        ((64, resource.RLIM_INFINITY), 2000 + OTHER_FILES),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), None),
    ],
)
def test_as_many_files_are_allowed_as_connections_need(
    limits: tuple[int, int], becomes: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _, new: made.append(new))
    allow_files(1000)
    assert made == ([] if becomes is None else [(becomes, limits[1])])


def test_idle_connections_leave_files_for_large_requests() -> None:
    """A shell's limit is often as large as the most connections, which then took the files of everything else."""
    lower = "resource.setrlimit(resource.RLIMIT_NOFILE, (128, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))"
    server = Server(first=f"import resource; {lower}", CHAINRULE_MAX_CONNECTIONS="120")
    url = httpx.URL(server.url)
    idle = [socket.create_connection((url.host, url.port)) for _ in range(119)]
    try:
        large = {"input_size": 1500, "layers": [{"units": 1500, "activation": "relu"}], "encoding": "base64"}
        assert httpx.post(f"{server.url}/v1/initialize", json=large, timeout=60).status_code == 200
    finally:
        for connection in idle:
            connection.close()
        server.stop()
