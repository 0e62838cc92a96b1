"""The pages of POST /v1/explain in a real browser: they fit a telephone, and their formulas and drawing are drawn."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.chromium import page_of
from tests.test_explain_documents import document, example

HOSTILE = ("<img src='http://elsewhere.test/x' onerror='document.title=1'>", "W" * 64, "\u202eright to left")
DRAWN = "[...document.querySelectorAll('math')].every(m => m.getBoundingClientRect().height > 5)"
ALIGNED = """[...document.querySelectorAll('mtr')].every(row => new Set([...row.children].map(
    cell => Math.round(cell.getBoundingClientRect().top / 3))).size <= 2)"""
STRETCHED = """[...document.querySelectorAll('mtable')].every(table => {
    const fence = table.previousElementSibling.getBoundingClientRect(), rows = table.getBoundingClientRect()
    return fence.height >= 0.8 * rows.height })"""
WHOLE = """[...document.querySelectorAll('mn')].every(number => {
    const text = document.createRange()
    text.selectNodeContents(number)
    return text.getBoundingClientRect().width > 4 * number.textContent.length })"""
MISPLACED = """(() => {
    const room = document.querySelector('svg').viewBox.baseVal, texts = [...document.querySelectorAll('svg text')]
    const boxes = texts.map(text => text.getBBox()).map(
        b => ({left: b.x, right: b.x + b.width, top: b.y, end: b.y + b.height}))
    const meet = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 2 &&
        Math.min(a.end, b.end) - Math.max(a.top, b.top) > 4
    const bad = (a, i) => a.left < 0 || a.right > room.width || boxes.some((b, j) => j < i && meet(a, b))
    return texts.filter((text, i) => bad(boxes[i], i)).map(text => text.textContent) })()"""
BEYOND = """[...document.querySelectorAll('math, svg')].map(drawn => drawn.getBoundingClientRect().right).filter(
    right => right > document.documentElement.clientWidth)"""


def wide(units: int) -> dict[str, Any]:
    """A request whose matrices have as many columns, more than a page has room for."""
    layers = [
        {"weights": [[-0.123456] * units] * 2, "bias": [0.1] * units, "activation": "tanh"},
        {"weights": [[0.123456]] * units, "bias": [0.1], "activation": "identity"},
    ]
    return {"network": {"layers": layers}, "inputs": [[0.1, 0.2]], "targets": [[1]], "loss": "mse"}


@pytest.mark.parametrize("size", [(1280, 900), (390, 844)], ids=["desktop", "phone"])
def test_pages_fit_and_are_drawn(client: httpx.Client, browser: str, tmp_path: Path, size: tuple[int, int]) -> None:
    requests = {
        name: {key: value for key, value in example(client, name).items() if key != "include"}
        for name in ("textbook", "batch", "vanishing_gradients", "explain_weight")
    }
    requests["hostile"] = example(client, "textbook")
    for layer, name in zip(requests["hostile"]["network"]["layers"], HOSTILE, strict=True):
        layer["name"] = name
    requests["wide"] = wide(25)
    with page_of(browser, *size) as page:
        for name, request in requests.items():
            file = tmp_path / f"{name}.html"
            file.write_text(document(client, request, "text/html"))
            page.open(file.as_uri())
            page.wait_for(f"location.href == '{file.as_uri()}' && document.readyState == 'complete'")
            assert page.value("document.documentElement.scrollWidth <= window.innerWidth"), name
            assert page.value("document.querySelectorAll('math').length") > 20, name
            assert page.value(DRAWN) and page.value(ALIGNED) and page.value(STRETCHED), name
            assert page.value(WHOLE), f"{name}: numbers are cut where there is little room"
            assert page.value("document.querySelector('svg').getBoundingClientRect().height") > 100, name
            assert page.value("document.querySelectorAll('script, img, iframe').length") == 0, name
        assert page.complaints == []
        assert all(url.startswith(("file:", "about:")) for url in page.requests), page.requests


def test_nothing_is_cut_off_on_paper(client: httpx.Client, browser: str, tmp_path: Path) -> None:
    layer = {"weights": [[-0.123456] * 6] * 6, "bias": [1e-10] * 6, "activation": "softmax"}
    deep = {"network": {"layers": [layer] * 5}, "inputs": [[0.1] * 6], "targets": [0], "loss": "cross_entropy"}
    with page_of(browser, 680, 900) as page:  # the width of a page of A4 within its margins
        for name, request in {"wide": wide(30), "deep": deep}.items():
            file = tmp_path / f"{name}.html"
            file.write_text(document(client, request, "text/html"))
            page.open(file.as_uri())
            page.wait_for(f"location.href == '{file.as_uri()}' && document.readyState == 'complete'")
            assert page.value(BEYOND), "on a screen it scrolls"
            page.call("Emulation.setEmulatedMedia", media="print")
            assert page.value(BEYOND) == [], name
            page.call("Emulation.setEmulatedMedia", media="")


NAMES = (
    "HIDDEN LAYER NUMBER 22",
    "W" * 64,
    "\N{CJK UNIFIED IDEOGRAPH-5C42}" * 64,
    "hidden_layer_number_22",
    "<b>#1</b>" * 7,
)


@pytest.mark.parametrize("scale", [1e-5, 1.0, -1e30])
@pytest.mark.parametrize("units", [1, 3, 6, 7])
def test_no_text_of_a_drawing_lies_on_another(
    client: httpx.Client, browser: str, tmp_path: Path, units: int, scale: float
) -> None:
    """From 7 units on, layers are drawn as boxes."""
    weights = [[0.123 * scale] * units] * units
    layer = {"weights": weights, "bias": [-0.345 * scale] * units, "activation": "identity"}
    layers = [layer | {"name": name} for name in NAMES]
    request = {"network": {"layers": layers}, "inputs": [[-0.5] * units], "targets": [[0.1] * units], "loss": "mse"}
    file = tmp_path / "drawing.html"
    file.write_text(document(client, request, "text/html"))
    with page_of(browser, 1280, 900) as page:
        page.open(file.as_uri())
        page.wait_for(f"location.href == '{file.as_uri()}' && document.readyState == 'complete'")
        assert page.value("document.querySelectorAll('svg text').length") > 15
        assert page.value(MISPLACED) == []
        numbers = "[...document.querySelectorAll('svg :is(.value, .gradient)')]"
        assert page.value(f"{numbers}.length > 10 && {numbers}.every(text => text.dataset.value)")
