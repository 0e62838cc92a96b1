"""Every product that a page of POST /v1/explain prints is computed again from what is printed.

The MathML of the page is read back into formulas, with the digits of `data-value`, and these are checked as those of
the engine are. So neither a number nor an operator can be lost or changed on the way to the page.
"""

from typing import Any
from xml.etree.ElementTree import Element

import httpx
import numpy as np
import pytest

from engine.derivation import formulas
from engine.derivation.derivation import Statement
from tests.engine.test_derivation import check
from tests.test_explain_documents import MATH, XHTML, check_page, document, example

Formula = formulas.Formula
OPERATORS = {"·": "scalar", "⊙": "elementwise", " ": "matrix"}
SYMBOLS = formulas.Symbols("")


def read_page(root: Element) -> list[formulas.Equation]:
    """The equations of a page; sides that hold symbols are Symbols."""
    found = []
    for box in root.iter(XHTML + "div"):
        if box.get("class") != "formula":
            continue
        sides: list[list[Element]] = [[]]
        for math in box.iter(MATH + "math"):
            piece = list(math[0]) if math[0].tag == MATH + "mrow" else [math[0]]
            if is_operator(piece[0], "="):
                sides.append([])
                piece = piece[1:]
            sides[-1] += piece
        found.append(formulas.Equation(tuple(read_row(side) or SYMBOLS for side in sides)))
    return found


def bare(element: Element) -> Element:
    """An element without the rows that hold it alone."""
    while element.tag == MATH + "mrow" and len(element) == 1:
        element = element[0]
    return element


def is_operator(element: Element, text: str) -> bool:
    return bare(element).tag == MATH + "mo" and bare(element).text == text


def operator(element: Element) -> str | None:
    """An operator's text; a space, which LaTeX has between matrices, is their product."""
    if bare(element).tag == MATH + "mspace":
        return " "
    return bare(element).text if bare(element).tag == MATH + "mo" else None


def read_row(elements: list[Element]) -> Formula | None:
    """A sum of products; None where anything in it is a symbol."""
    total: Formula | None = None
    sign = "+"
    start = 0
    for end in range(len(elements) + 1):
        here = operator(elements[end]) if end < len(elements) else "+"
        if here not in ("+", "−") or end == start:
            continue
        term = read_product(elements[start:end])
        if term is None:
            return None
        if total is None:
            total = term
        elif sign == "+":
            total = formulas.Sum((total, term))
        else:
            total = formulas.Difference(total, term)
        sign, start = here, end + 1
    return total


def read_product(elements: list[Element]) -> Formula | None:
    factors, kinds = [], []
    first = bare(elements[0])
    summed = first.tag == MATH + "msub" and is_operator(first[0], "∑")
    for element in elements[summed:]:
        sign = operator(element)
        if sign in OPERATORS:
            kinds.append(OPERATORS[sign])
        else:
            factor = read(element)
            if factor is None:
                return None
            factors.append(factor)
    if len(factors) != len(kinds) + 1:
        return None
    result = factors[0]
    for kind, factor in zip(kinds, factors[1:], strict=True):
        result = formulas.Product((result, factor), kind)  # type: ignore[arg-type]
    return formulas.SumOfRows(result) if summed else result


def read(element: Element) -> Formula | None:
    """One factor."""
    children = list(element)
    match element.tag.removeprefix(MATH):
        case "mn":
            return formulas.number(digits(element))
        case "mtable":
            return formulas.Numbers(np.array([[read_number(cell[0]) for cell in row] for row in children]))
        case "mfrac":
            above, below = read(children[0]), read(children[1])
            return None if above is None or below is None else formulas.Fraction(above, below)
        case "msup" if is_operator(children[1], "⊤"):
            inner = read(children[0])
            return inner and formulas.Transposed(inner)
        case "msup" if bare(children[1]).text == "2":
            inner = read(children[0])
            return inner and formulas.Squared(inner)
        case "mrow":
            if len(children) == 3 and is_operator(children[1], "×"):
                return formulas.number(read_number(element))
            if len(children) > 2 and is_operator(children[0], "(") and is_operator(children[-1], ")"):
                return read_omitted(children[1:-1]) or read_row(children[1:-1])
            return read_row(children)
    return None


def read_omitted(elements: list[Element]) -> Formula | None:
    """`4 more: 0.25`."""
    row = list(elements[0]) if len(elements) == 1 and elements[0].tag == MATH + "mrow" else elements
    words = [e.text or "" for e in row[0].iter() if e.tag == MATH + "mtext"] if len(row) == 2 else []
    if not words or "more" not in words[0]:
        return None
    rest = read(row[1])
    return rest and formulas.Omitted(int(words[0].split()[0]), rest.value)  # type: ignore[union-attr]


def read_number(element: Element) -> Any:
    if element.tag == MATH + "mn":
        return digits(element)
    if exact := element.get("data-value"):
        return float(exact)
    return float(f"{digits(element[0])}e{digits(element[2][1])}")


def digits(element: Element) -> Any:
    text = element.get("data-value") or (element.text or "").replace("−", "-")
    return float(text) if "." in text or "e" in text else int(text)


@pytest.mark.parametrize(
    ("name", "count"),
    [("textbook", 34), ("batch", 39), ("xor", 30), ("mazur", 24), ("delta_rule", 11), ("vanishing_gradients", 96),
     ("explain_weight", 8), ("explain_deep_bias", 17)],
)  # fmt: skip
@pytest.mark.parametrize("transposed", [False, True])
def test_every_printed_product_is_right(client: httpx.Client, name: str, count: int, transposed: bool) -> None:
    request = {key: value for key, value in example(client, name).items() if key != "include"}
    if transposed:
        for layer in request["network"]["layers"]:
            layer["weights"] = np.transpose(layer["weights"]).tolist()
        request["network"]["weights_layout"] = "units_by_inputs"
        if "focus" in request:
            request["focus"]["index"].reverse()
    equations = read_page(check_page(document(client, request, "text/html")))
    compared = sum(check(Statement("", equation)) for equation in equations)
    assert compared == count


def test_a_changed_digit_is_seen(client: httpx.Client) -> None:
    page = document(client, example(client, "textbook"), "text/html")
    exact = 'data-value="0.198446894232731"'
    assert page.count(exact) > 3
    changed = page.replace(exact, exact.replace("42327", "43327"))
    equations = read_page(check_page(changed))
    with pytest.raises(AssertionError):
        [check(Statement("", equation)) for equation in equations]
