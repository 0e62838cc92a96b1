"""The OpenAPI pages in a real browser that reaches nothing but this machine."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest

from tests.chromium import PATIENCE, Page, page_of
from tests.conftest import Server

STEP = "#operations-networks-step"
SAFETENSORS = "application/vnd.safetensors"
HARD_TO_READ = """(() => {
    const color = text => { const found = text.match(/[\\d.]+/g).map(Number); return [...found, 1].slice(0, 4) }
    const laid = (top, ground) => [0, 1, 2].map(i => top[i] * top[3] + ground[i] * (1 - top[3]))
    const ground = e => e ? laid(color(getComputedStyle(e).backgroundColor), ground(e.parentElement)) : [255, 255, 255]
    const light = color => color.map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0.05)
    const texts = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
    while (walk.nextNode()) if (walk.currentNode.textContent.trim()) texts.push(walk.currentNode)
    return texts.filter(({parentElement: e}) => {
        const style = getComputedStyle(e), size = parseFloat(style.fontSize), paper = ground(e)
        if (!e.checkVisibility({visibilityProperty: true})) return false
        const lights = [light(laid(color(style.color), paper)), light(paper)]
        const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700)
        return Math.max(...lights) / Math.min(...lights) < (large ? 3 : 4.5)
    }).map(text => text.parentElement.outerHTML) })()"""
"""What is set in a color less than 4.5 to 1 from its ground, 3 to 1 where it is large (WCAG 2, 1.4.3)."""


@pytest.fixture(params=[(1280, 900), (390, 844)], ids=["desktop", "phone"])
def page(request: Any, browser: str) -> Iterator[Page]:
    with page_of(browser, *request.param) as opened:
        yield opened


def require_all_well(page: Page, server: Server) -> None:
    page.settle()
    assert page.complaints == []
    own = (f"{server.url}/", "data:", f"blob:{server.url}/")
    assert [url for url in page.requests if not url.startswith(own)] == []
    assert page.value("document.documentElement.scrollWidth <= window.innerWidth"), "the page is wider than the window"


def execute_step(page: Page) -> None:
    """Opens the step and posts its example, which the page shows a moment after the button."""
    page.click(f"{STEP} .opblock-summary-control")
    assert "network" in page.wait_for(f"document.querySelector('{STEP} textarea')?.value")
    page.click(f"{STEP} button.execute", "Execute")


def answered(page: Page, column: str) -> str:
    """What a column of the live answer shows."""
    cell = f"{STEP} .live-responses-table tbody .response-col_{column}"
    return str(page.wait_for(f"document.querySelector('{cell}')?.innerText"))


def test_execute_shows_the_loss_of_the_textbook_step(page: Page, server: Server) -> None:
    page.open(f"{server.url}/docs")
    execute_step(page)
    assert re.search(r'"loss": 1\.61723375000033\d+,', answered(page, "description"))
    assert answered(page, "status") == "200"
    require_all_well(page, server)


def test_a_file_is_saved_as_it_is(page: Page, server: Server, tmp_path: Path) -> None:
    page.open(f"{server.url}/docs#/networks/step")
    request = page.wait_for(f"document.querySelector('{STEP} textarea')?.value")
    form = f"[...document.querySelectorAll('{STEP} .responses-wrapper select')].find(e => e.innerText.includes('vnd.'))"
    page.value(f"""(form => {{
        Object.getOwnPropertyDescriptor(HTMLSelectElement.prototype, 'value').set.call(form, {SAFETENSORS!r})
        form.dispatchEvent(new Event('change', {{bubbles: true}})) }})({form})""")
    page.click(f"{STEP} button.execute", "Execute")
    page.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    page.click(f"{STEP} .live-responses-table a[download]")
    headers = {"Accept": SAFETENSORS, "Content-Type": "application/json"}
    content = httpx.post(f"{server.url}/v1/step", content=request, headers=headers).content
    saved, end = tmp_path / "answer.safetensors", time.monotonic() + PATIENCE
    while not (saved.exists() and len(saved.read_bytes()) == len(content)) and time.monotonic() < end:
        time.sleep(0.1)
    assert saved.read_bytes() == content
    require_all_well(page, server)


def test_the_first_link_leads_to_the_operation(page: Page, server: Server) -> None:
    page.open(f"{server.url}/docs")
    link = page.wait_for("[...document.querySelectorAll('.info a')].find(a => a.innerText == 'the operation')?.href")
    page.open("about:blank")
    page.open(link)
    assert "network" in page.wait_for(f"document.querySelector('{STEP} textarea')?.value")
    require_all_well(page, server)


@pytest.mark.parametrize("path", ["docs", "redoc"])
def test_without_javascript_a_page_says_what_there_is(page: Page, server: Server, path: str) -> None:
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    page.open(f"{server.url}/{path}")
    links = page.wait_for("[...document.querySelectorAll('noscript a')].map(a => a.href)")
    assert "JavaScript, which is off here" in page.value("document.body.innerText")
    assert [httpx.get(link).status_code for link in links] == [200] * 4
    page.call("Emulation.setScriptExecutionDisabled", value=False)
    require_all_well(page, server)


@contextmanager
def at_a_path(server: Server, prefix: str) -> Iterator[str]:
    """The address of a proxy that has the server at a path, which it takes away before it passes a request on."""

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self.path.startswith(prefix):
                return self.send_error(404)
            line = HTTPConnection(server.url.removeprefix("http://"), timeout=60)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            kept = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
            line.request(self.command, self.path.removeprefix(prefix), body, kept)
            answer = line.getresponse()
            content = answer.read()
            self.send_response_only(answer.status)
            for name, value in answer.getheaders():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)
            line.close()

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as proxy:
        Thread(target=proxy.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{proxy.server_port}{prefix}"
        finally:
            proxy.shutdown()


def test_pages_work_at_a_path_behind_a_proxy(browser: str, server: Server) -> None:
    with at_a_path(server, "/course/chainrule") as url, page_of(browser, 1280, 900) as page:
        page.open(f"{url}/")
        execute_step(page)
        assert answered(page, "status") == "200"
        assert page.value("location.href").startswith(f"{url}/docs")
        page.open(f"{url}/redoc")
        page.wait_for("document.querySelectorAll('h2').length > 12")
        page.settle()
        assert page.complaints == []
        assert all(asked.startswith((f"{url}/", "data:", "blob:")) for asked in page.requests), page.requests


def test_colors_can_be_read_on_their_ground(page: Page, server: Server) -> None:
    page.open(f"{server.url}/docs#/networks/step")
    page.wait_for(f"document.querySelector('{STEP} textarea')?.value")
    page.click("#operations-reference-get_example .opblock-summary-control")
    page.click(f"{STEP} button.execute", "Execute")
    assert answered(page, "status") == "200"
    assert page.value(HARD_TO_READ) == []
    page.open(f"{server.url}/redoc")
    page.wait_for("document.querySelectorAll('h2').length > 12")
    assert page.value(HARD_TO_READ) == []


def test_redoc_renders_every_operation(page: Page, server: Server) -> None:
    page.open(f"{server.url}/redoc")
    text = page.wait_for("document.querySelectorAll('h2').length > 12 && document.body.innerText")
    assert "One step of training" in text and "Every rule there is" in text
    require_all_well(page, server)


def test_what_goes_wrong_is_seen(browser: str, server: Server) -> None:
    with page_of(browser, 1280, 900) as page:
        page.open(f"{server.url}/docs")
        page.wait_for("!!document.querySelector('.opblock')")
        page.value("fetch('http://elsewhere.test/').catch(() => {}), fetch('/missing'), console.error('no'), 1")
        page.settle()
        text = "\n".join(page.complaints)
    assert "elsewhere.test" in text and "404" in text and "console: " in text
