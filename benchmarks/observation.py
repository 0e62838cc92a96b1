"""Processor time of the outermost middleware, per request: request id, trace, counting, and the line in the log."""

import asyncio
import os
import subprocess
import sys
import time
from statistics import median
from typing import Any

from app.main import create_app
from app.observation import Observe

REQUESTS, ROUNDS = 20_000, 7
HEADERS = [(b"host", b"localhost"), (b"content-type", b"application/json"), (b"content-length", b"740")]
BODY, ANSWER = b"x" * 740, b"x" * 3232


async def answer_at_once(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": ANSWER})


async def receive() -> Any:
    return {"type": "http.request", "body": BODY, "more_body": False}


async def send(message: Any) -> None:
    pass


async def microseconds(app: Any) -> float:
    """The median over the rounds; all threads count, the one that writes the log too."""
    rounds = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(REQUESTS):
            client = ("127.0.0.1", 50000)
            scope = {"type": "http", "method": "POST", "path": "/v1/step", "headers": HEADERS, "client": client}
            await app(scope, receive, send)
        rounds.append((time.process_time() - began) / REQUESTS * 1e6)
    return median(rounds)


def main() -> None:
    if len(sys.argv) > 1:
        from app.logs import log_thread

        with log_thread():
            observed = asyncio.run(microseconds(Observe(answer_at_once, create_app().router.routes)))
        print(f"{observed - asyncio.run(microseconds(answer_at_once)):.1f}")
        return
    print("## Observation\n\n| | microseconds a request |\n|---|---|")
    for name, level in (("id, trace and counting", "warning"), ("and a line in the log", "info")):
        command = [sys.executable, "-m", "benchmarks.observation", "once"]
        environment = {**os.environ, "CHAINRULE_LOG_LEVEL": level, "CHAINRULE_LOG_FORMAT": "json"}
        quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        taken = subprocess.run(command, env=environment, text=True, check=True, **quiet).stdout.strip()
        print(f"| {name} | {taken} |")


if __name__ == "__main__":
    main()
