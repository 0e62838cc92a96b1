"""A derivation as an HTML page that stands alone: MathML, a diagram, its own style, no script, nothing loaded.

The page is well-formed XML too, so that what a user's names hold cannot break out of their places.
"""

from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, tostring

from engine.derivation.derivation import Derivation, Section, Statement
from engine.derivation.formulas import Formula
from schemas.documents.diagram import diagram
from schemas.documents.markdown import printable
from schemas.documents.mathml import MATHML
from schemas.documents.writing import pieces, write_piece

STYLE = Path(__file__).with_name("page.css").read_text()
NOTE = (
    "Numbers are shown to 6 significant digits. Each number that has more carries all of them in its data-value "
    "attribute; the JSON form of this derivation has every digit."
)
NARROW = 30
"""A formula of more ems than these says how many, so that it gets smaller on paper, where nothing scrolls."""


def page(derivation: Derivation) -> str:
    """The document."""
    html = Element("html", {"lang": "en", "xmlns": "http://www.w3.org/1999/xhtml"})
    head = SubElement(html, "head")
    SubElement(head, "meta", {"charset": "utf-8"})
    SubElement(head, "meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"})
    _text(head, "title", derivation.title)
    _text(head, "style", STYLE)
    main = SubElement(SubElement(html, "body"), "main")
    _text(main, "h1", derivation.title)
    _text(main, "p", NOTE, "note")
    main.append(diagram(derivation.worked, derivation.focus))
    main.append(_contents(derivation))
    for i, section in enumerate(derivation.sections):
        main.append(_section(i, section))
    return "<!DOCTYPE html>\n" + tostring(html, encoding="unicode") + "\n"


def _contents(derivation: Derivation) -> Element:
    nav = Element("nav", {"aria-label": "Contents"})
    details = SubElement(nav, "details")
    _text(details, "summary", "Contents")
    entries = SubElement(details, "ol")
    for i, section in enumerate(derivation.sections):
        link = _text(SubElement(entries, "li"), "a", section.title)
        link.set("href", f"#section-{i + 1}")
    return nav


def _section(i: int, section: Section) -> Element:
    element = Element("section", {"id": f"section-{i + 1}"})
    _text(element, "h2", f"{i + 1}. {section.title}")
    for step in section.steps:
        element.append(_step(step))
    return element


def _step(step: Statement) -> Element:
    element = Element("div", {"class": "step"})
    _text(element, "p", step.text)
    if step.formula is not None:
        element.append(_formula(step.formula))
    return element


def _formula(formula: Formula) -> Element:
    """Each side of an equation, and each term of a long sum, scrolls by itself and may go to a line of its own."""
    box = Element("div", {"class": "formula"})
    for operator, piece in pieces(formula):
        math = SubElement(SubElement(box, "span"), "math", {"xmlns": "http://www.w3.org/1998/Math/MathML"})
        math.set("displaystyle", "true")
        written = write_piece(operator, piece, MATHML)
        math.append(written)
        if (ems := _ems(written)) > NARROW:
            math.set("style", f"--ems: {ems:.0f}")
    return box


def _ems(element: Element) -> float:
    """About how many ems wide a formula is, rather more than less."""
    if element.tag == "mtable":
        columns = zip(*element, strict=True)
        return sum(max(_ems(cell) for cell in column) + 0.9 for column in columns)
    parts = [_ems(part) for part in element]
    around = 0.6 if element.tag == "mo" else 0
    return max(parts) if element.tag == "mfrac" else sum(parts) + around + 0.65 * len(element.text or "")


def _text(parent: Element, tag: str, text: str, style: str | None = None) -> Element:
    element = SubElement(parent, tag, {} if style is None else {"class": style})
    element.text = printable(text) if tag != "style" else text
    return element
