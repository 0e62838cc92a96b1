"""The OpenAPI pages in a real browser that reaches nothing but this machine."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chromium import Page, chromium
from tests.conftest import Server

CHROMIUM = shutil.which("chromium")
STEP = "#operations-networks-step"
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (Debian's package: chromium)")


@pytest.fixture(params=[(1280, 900), (390, 844)], ids=["desktop", "phone"])
def page(request: Any, tmp_path: Path) -> Iterator[Page]:
    assert CHROMIUM is not None
    with chromium(CHROMIUM, tmp_path, *request.param) as opened:
        yield opened


def require_all_well(page: Page, server: Server) -> None:
    assert page.complaints == []
    own = (f"{server.url}/", "data:", f"blob:{server.url}/")
    assert [url for url in page.requests if not url.startswith(own)] == []
    assert page.value("document.documentElement.scrollWidth <= window.innerWidth"), "the page is wider than the window"


def test_execute_shows_the_loss_of_the_textbook_step(page: Page, server: Server) -> None:
    page.open(f"{server.url}/docs")
    page.click(f"{STEP} .opblock-summary-control")
    assert "network" in page.wait_for(f"document.querySelector('{STEP} textarea')?.value")
    page.click(f"{STEP} button.execute", "Execute")
    shown = page.wait_for(
        f"document.querySelector('{STEP} .live-responses-table tbody .response-col_description')?.innerText"
    )
    assert re.search(r'"loss": 1\.61723375000033\d+,', shown)
    assert (
        page.value(f"document.querySelector('{STEP} .live-responses-table tbody .response-col_status').innerText")
        == "200"
    )
    require_all_well(page, server)


def test_redoc_renders_every_operation(page: Page, server: Server) -> None:
    page.open(f"{server.url}/redoc")
    text = page.wait_for("document.querySelectorAll('h2').length > 12 && document.body.innerText")
    assert "One step of training" in text and "Every rule there is" in text
    require_all_well(page, server)


def test_what_goes_wrong_is_seen(page: Page, server: Server) -> None:
    page.open(f"{server.url}/docs")
    page.wait_for("!!document.querySelector('.opblock')")
    page.value("fetch('http://elsewhere.test/').catch(() => {}), fetch('/missing'), console.error('no'), 1")
    page.wait_for("new Promise(done => setTimeout(done, 500, true))")
    text = "\n".join(page.complaints)
    assert "elsewhere.test" in text and "404" in text and "console: " in text
