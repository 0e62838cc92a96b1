"""Chainrule on a Ray that runs on this machine: the same bytes as from a server of its own."""

import importlib.util
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pytest

from app.examples import EXAMPLES
from tests.conftest import ROOT, Server

pytestmark = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra ray is not installed")
DRIVER = """
import sys
import ray
from ray import serve
from chainrule_serve import chainrule

ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
serve.run(chainrule)
print("ready", flush=True)
sys.stdin.read()
serve.shutdown()
ray.shutdown()
"""


@pytest.fixture(scope="module")
def ray_url() -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "deploy/ray")])
    environment = {**os.environ, "PYTHONPATH": paths, "RAY_USAGE_STATS_ENABLED": "0"}
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(port)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert driver.stdout is not None
    assert any(line == "ready\n" for line in driver.stdout)
    yield f"http://127.0.0.1:{port}"
    driver.communicate(timeout=60)


@pytest.mark.parametrize("name", ["textbook", "batch", "xor", "train_xor"])
def test_the_bits_are_the_same(name: str, ray_url: str, server: Server) -> None:
    example: dict[str, Any] = EXAMPLES[name]
    headers = {"Content-Type": "application/json"}
    answers = [
        httpx.post(url + example["endpoint"], content=orjson.dumps(example["request"]), headers=headers, timeout=60)
        for url in (ray_url, server.url)
    ]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].content == answers[1].content
    if name == "textbook":
        assert answers[0].json()["loss"] == pytest.approx(1.6172337500003393, rel=1e-14)


def test_problems_and_streams_come_through(ray_url: str) -> None:
    refused = httpx.post(f"{ray_url}/v1/step", content=b"{", headers={"X-Request-ID": "mine"})
    assert refused.status_code == 400 and refused.json()["request_id"] == "mine"
    events = httpx.post(
        f"{ray_url}/v1/train",
        json=EXAMPLES["train_xor"]["request"],
        headers={"Accept": "text/event-stream"},
        timeout=60,
    )
    assert events.text.count("event: result\n") == 1
