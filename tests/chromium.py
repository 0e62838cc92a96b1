"""A page in Debian's Chromium, driven over the DevTools protocol: see docs/decisions/0011-openapi-and-browser.md."""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # nothing but this machine can be reached
)
PATIENCE = 20.0
"""Seconds that a page may take to show something; a busy machine is slow."""


@contextmanager
def chromium(program: str, profile: Path) -> Iterator[str]:
    """The address of a new browser, which ends with the block."""
    command = [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as browser:
        try:
            assert browser.stderr is not None
            lines = (re.search(r"DevTools listening on (ws://\S+)", line) for line in browser.stderr)
            yield next(line[1] for line in lines if line)
        finally:
            browser.terminate()


@contextmanager
def page_of(browser: str, width: int, height: int) -> "Iterator[Page]":
    """A page of a browser, by its address; it shares no cache and no cookies with another page."""
    with connect(browser, max_size=None, proxy=None) as socket:
        yield Page(socket, width, height)


class Page:
    """`requests` are the addresses that a page asked for, `complaints` all that went wrong."""

    def __init__(self, socket: ClientConnection, width: int, height: int) -> None:
        self.socket = socket
        self.session, self.calls = "", 0
        self.requests: list[str] = []
        self.complaints: list[str] = []
        context = self.call("Target.createBrowserContext", disposeOnDetach=True)["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Network", "Runtime", "Log", "Page"):
            self.call(f"{domain}.enable")
        phone = width < 600
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)

    def call(self, method: str, **parameters: Any) -> Any:
        """The result of a command; events that come before it are looked at."""
        self.calls += 1
        command = {"id": self.calls, "method": method, "params": parameters}
        self.socket.send(json.dumps(command | ({"sessionId": self.session} if self.session else {})))
        while True:
            message = json.loads(self.socket.recv(PATIENCE))
            if message.get("id") == self.calls:
                assert "error" not in message, message
                return message["result"]
            self._look_at(message.get("method"), message.get("params", {}))

    def _look_at(self, event: str | None, facts: Any) -> None:
        match event:
            case "Network.requestWillBeSent":
                self.requests.append(facts["request"]["url"])
            case "Network.loadingFailed":
                self.complaints.append(f"not loaded: {facts['errorText']} {facts.get('blockedReason', '')}")
            case "Network.responseReceived" if facts["response"]["status"] >= 400:
                self.complaints.append(f"{facts['response']['status']} {facts['response']['url']}")
            case "Runtime.exceptionThrown":
                self.complaints.append(f"exception: {facts['exceptionDetails']}")
            case "Runtime.consoleAPICalled" if facts["type"] in ("error", "warning", "assert"):
                self.complaints.append(f"console: {facts['args']}")
            case "Log.entryAdded" if facts["entry"]["level"] in ("error", "warning"):
                self.complaints.append(f"log: {facts['entry']['text']} {facts['entry'].get('url', '')}")

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)

    def value(self, script: str) -> Any:
        """What a JavaScript expression gives."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait_for(self, script: str) -> Any:
        """What a JavaScript expression gives as soon as that is something."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if value := self.value(script):
                return value
            time.sleep(0.1)
        raise AssertionError(f"in vain: {script}; {self.complaints}; {self.value('document.body.innerText')[:2000]}")

    def settle(self) -> None:
        """Waits until the page has nothing to do any more, and a little longer for what it has asked for at last."""
        self.wait_for("new Promise(done => requestIdleCallback(() => setTimeout(done, 500, true)))")

    def click(self, selector: str, text: str = "") -> None:
        """Clicks the first element of a selector that holds `text`, as soon as it is there."""
        holds = f"e => e.innerText.includes({json.dumps(text)})"
        found = f"[...document.querySelectorAll({json.dumps(selector)})].find({holds})"
        self.wait_for(f"(e => e && (e.scrollIntoView(), e.click(), true))({found})")
