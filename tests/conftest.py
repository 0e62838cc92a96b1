"""A real server on a free port for the whole test session, and a client for it; a browser, too.

And how long to search: `make test` a little, `make fuzz` (Hypothesis's profile `long`) thoroughly.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
from hypothesis import settings

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"
settings.register_profile("long", print_blob=True)


def searching(a_little: int, thoroughly: int) -> int:
    """How many examples a test tries."""
    return thoroughly if settings.get_current_profile_name() == "long" else a_little


def until(true: Callable[[], bool], seconds: float = 20) -> None:
    """Waits until it is true; fails where that takes too long."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.05)


class Server:
    """A server process, which a `with` stops; `environment` holds its settings. Told to stop, it takes no new
    connections any more.

    `first` is Python that it runs before the application.
    """

    def __init__(self, first: str = "pass", **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"import runpy; {first}; runpy.run_module('app', run_name='__main__')"],
            cwd=ROOT,
            env={**os.environ, "HOST": "127.0.0.1", "PORT": "0", "CHAINRULE_DRAIN_SECONDS": "0", **environment},
            stderr=subprocess.PIPE,
            text=True,
        )
        self.url = self._wait()
        self.port = int(self.url.rpartition(":")[2])

    def _wait(self) -> str:
        assert self.process.stderr is not None
        seen = ""
        for line in self.process.stderr:
            seen += line
            if found := re.search(r"running on (http://\S+)", line):
                return found.group(1)
        raise RuntimeError(f"the server did not start:\n{seen}")

    def stop(self) -> str:
        """What it has logged until its end."""
        self.process.terminate()
        return self.process.communicate(timeout=20)[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


@pytest.fixture(scope="session")
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=60) as http:
        yield http


@pytest.fixture(scope="session")
def post(client: httpx.Client) -> Any:
    """Posts a request and returns the answer, which must be a success."""

    def send(path: str, request: dict[str, Any]) -> Any:
        response = client.post(path, json=request)
        assert response.status_code == 200, response.text
        return response.json()

    return send


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a browser, whose every page is as in a new one."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("Chromium is not installed (Debian's package: chromium)")
    from tests.chromium import chromium

    with chromium(program, tmp_path_factory.mktemp("profile")) as address:
        yield address


@pytest.fixture
def textbook(client: httpx.Client) -> dict[str, Any]:
    request: dict[str, Any] = client.get("/v1/examples/textbook").json()["request"]
    return request
