"""How a formula is written: one walk over its tree for every notation."""

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

import numpy as np

from engine.derivation.formulas import (
    Applied,
    Difference,
    Equation,
    Formula,
    Fraction,
    Numbers,
    Omitted,
    Product,
    Squared,
    Sum,
    SumOfRows,
    Symbols,
    Transposed,
)

T = TypeVar("T")
DIGITS = 6
"""Significant digits of a printed number."""
ENDS = (6, 2)
"""Of a long row that may be shortened: how many numbers from its start and from its end are written."""
OPERATORS = {"scalar": r"\cdot", "matrix": r"\,", "elementwise": r"\odot"}


class Notation(Protocol[T]):
    """What a notation writes: LaTeX as a string, MathML as an element."""

    def symbols(self, latex: str) -> T: ...
    def number(self, value: Any) -> T: ...
    def matrix(self, rows: Sequence[Sequence[Any]]) -> T: ...
    def row(self, parts: Sequence[T]) -> T: ...
    def fenced(self, inner: T) -> T: ...
    def power(self, inner: T, exponent: T) -> T: ...
    def fraction(self, numerator: T, denominator: T) -> T: ...


def short_number(value: Any) -> tuple[str, str | None]:
    """A number to six digits, as mantissa and power of ten; integers whole."""
    if isinstance(value, int | np.integer):
        return str(value), None
    mantissa, _, exponent = f"{float(value) + 0.0:.{DIGITS}g}".partition("e")
    return mantissa, str(int(exponent)) if exponent else None


def exact_number(value: Any) -> str:
    """The shortest digits that read back as the same number in its own dtype."""
    return str(value)


def pieces(formula: Formula) -> list[tuple[str, Formula]]:
    """A formula in pieces that may stand on lines of their own, each with the operator before it: the sides of an
    equation, and the terms of long sums of numbers."""
    if not isinstance(formula, Equation):
        return [("", formula)]
    found: list[tuple[str, Formula]] = []
    for side in formula.sides:
        operator = "=" if found else ""
        if isinstance(side, Sum) and len(side.terms) > 2:
            found.append((operator, side.terms[0]))
            found += [("+", term) for term in side.terms[1:]]
        else:
            found.append((operator, side))
    return found


def write_piece(operator: str, formula: Formula, notation: Notation[T]) -> T:
    """One of `pieces`, after the operator that stands before it."""
    written = write(formula, notation, first=operator != "+")
    return notation.row([notation.symbols(operator), written]) if operator else written


def write(formula: Formula, notation: Notation[T], first: bool = True) -> T:
    """A formula in a notation. `first`: nothing stands before it, so that a minus sign needs no parentheses."""
    match formula:
        case Symbols():
            return notation.symbols(formula.latex)
        case Numbers():
            return _numbers(formula, notation, first)
        case Sum():
            terms = [write(term, notation, first=i == 0) for i, term in enumerate(formula.terms)]
            return _joined(terms, "+", notation)
        case Difference():
            left = write(formula.left, notation)
            return notation.row([left, notation.symbols("-"), _factor(formula.right, notation, first=False)])
        case Product():
            factors = [_factor(factor, notation, first and i == 0) for i, factor in enumerate(formula.factors)]
            return _joined(factors, OPERATORS[formula.kind], notation)
        case Fraction():
            return notation.fraction(write(formula.numerator, notation), write(formula.denominator, notation))
        case Transposed():
            return notation.power(_factor(formula.of, notation), notation.symbols(r"\top"))
        case Squared():
            return notation.power(_factor(formula.of, notation), notation.symbols("2"))
        case Applied():
            return _applied(formula, notation)
        case SumOfRows():
            return notation.row([notation.symbols(r"\sum_n"), _factor(formula.of, notation)])
        case Omitted():
            words = notation.symbols(rf"\text{{{formula.count} more: }}")
            return notation.fenced(notation.row([words, write(Numbers(formula.total), notation)]))
        case Equation():
            return _joined([write(side, notation) for side in formula.sides], "=", notation)


def _numbers(formula: Numbers, notation: Notation[T], first: bool) -> T:
    value = formula.value
    if value.ndim == 0:
        written = notation.number(value[()])
        return written if first or not value < 0 else notation.fenced(written)
    start, end = ENDS
    if formula.short and value.shape[1] > start + end + 1:
        return notation.matrix([[*row[:start], None, *row[-end:]] for row in value])
    return notation.matrix(list(value))


def _joined(parts: Sequence[T], operator: str, notation: Notation[T]) -> T:
    """A row of what was written, with an operator between each two."""
    row = [*parts[:1]]
    for part in parts[1:]:
        row += notation.symbols(operator), part
    return notation.row(row)


def _factor(formula: Formula, notation: Notation[T], first: bool = True) -> T:
    """In parentheses where it is a sum."""
    written = write(formula, notation, first)
    return notation.fenced(written) if isinstance(formula, Sum | Difference) else written


def _applied(formula: Applied, notation: Notation[T]) -> T:
    name = notation.symbols(formula.name)
    only = formula.arguments[0]
    if len(formula.arguments) == 1 and isinstance(only, Numbers) and only.value.ndim:
        return notation.row([name, write(only, notation)])
    arguments = _joined([write(argument, notation) for argument in formula.arguments], ",", notation)
    return notation.row([name, notation.fenced(arguments)])
