"""Formulas as MathML that browsers render by themselves (MathML Core)."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any
from xml.etree.ElementTree import Element, SubElement, fromstring

from latex2mathml.converter import convert

from schemas.documents.latex import plain_macros
from schemas.documents.writing import exact_number, short_number


class MathMl:
    """The notation. A number whose last digits are not printed carries all of them as `data-value`."""

    def symbols(self, latex: str) -> Element:
        return converted(plain_macros(latex))

    def number(self, value: Any) -> Element:
        if value is None:
            return _element("mo", "⋯")
        mantissa, exponent = short_number(value)
        if exponent is None:
            written = _element("mn", _minus(mantissa))
        else:
            power = Element("msup")
            power.extend([_element("mn", "10"), _element("mn", _minus(exponent))])
            written = self.row([_element("mn", _minus(mantissa)), _element("mo", "×"), power])
        if float(mantissa if exponent is None else f"{mantissa}e{exponent}") != value:
            written.set("data-value", exact_number(value))
        return written

    def matrix(self, rows: Sequence[Sequence[Any]]) -> Element:
        table = Element("mtable")
        for row in rows:
            line = SubElement(table, "mtr")
            for value in row:
                SubElement(line, "mtd").append(self.number(value))
        return self.fenced(table)

    def row(self, parts: Sequence[Element]) -> Element:
        row = Element("mrow")
        row.extend(parts)
        return row

    def fenced(self, inner: Element) -> Element:
        return self.row([_element("mo", "("), inner, _element("mo", ")")])

    def power(self, inner: Element, exponent: Element) -> Element:
        power = Element("msup")
        power.extend([inner, exponent])
        return power

    def fraction(self, numerator: Element, denominator: Element) -> Element:
        fraction = Element("mfrac")
        fraction.extend([numerator, denominator])
        return fraction


MATHML = MathMl()
PRIME = "\N{PRIME}"
FUNCTIONS = ("log", "tanh", "cosh", "cos")


def _element(tag: str, text: str) -> Element:
    element = Element(tag)
    element.text = text
    return element


def _minus(digits: str) -> str:
    return digits.replace("-", "\N{MINUS SIGN}")


@lru_cache(maxsize=4096)
def converted(latex: str) -> Element:
    """LaTeX of our own as MathML. The element is shared: it must not be changed."""
    row = fromstring(convert(latex))[0]
    for element in row.iter():
        element.tag = element.tag.rpartition("}")[2]
    for element in list(row.iter()):
        _refine(element)
    return row


def _refine(element: Element) -> None:
    """A prime stands beside its letter, since only fonts made for mathematics draw a raised one well; and functions
    have a little room around their names, as in LaTeX."""
    children = list(element)
    if element.tag == "msup" and children[1].text == PRIME:
        element.tag = "mrow"
    if element.tag not in ("mrow", "mtd", "mstyle"):
        return
    for before, after in pairwise(children):
        is_name = [_core(child).text in FUNCTIONS for child in (before, after)]
        if (is_name[0] and _core(after).tag != "mo") or (is_name[1] and _core(before).tag != "mo"):
            element.insert(list(element).index(after), Element("mspace", {"width": "0.17em"}))


def _core(element: Element) -> Element:
    """What an index or power stands at."""
    return element[0] if element.tag in ("msub", "msup", "msubsup") else element
