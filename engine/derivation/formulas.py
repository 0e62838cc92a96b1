"""Formulas as small trees: each is written as LaTeX or MathML from the same tree, and can be computed anew by a test.

`Symbols` stand for themselves and have no value; everything else is made of the engine's own numbers. Vectors are
rows, as in the engine: `[batch, units]` with one row for each example.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from engine.rules import Array


@dataclass(frozen=True, slots=True)
class Symbols:
    """LaTeX, which means something to the reader alone."""

    latex: str


@dataclass(frozen=True, slots=True, eq=False)
class Numbers:
    """A number, or a matrix (a vector is one row) of the engine's; a short one may be written with its ends alone."""

    value: Array
    short: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Sum:
    """The terms' sum, number by number; a row is added to each row of a matrix."""

    terms: "tuple[Formula, ...]"


@dataclass(frozen=True, slots=True, eq=False)
class Difference:
    left: "Formula"
    right: "Formula"


@dataclass(frozen=True, slots=True, eq=False)
class Product:
    """`scalar`: of numbers, or of a number and a matrix; `matrix`: of matrices; `elementwise`: number by number."""

    factors: "tuple[Formula, ...]"
    kind: Literal["scalar", "matrix", "elementwise"] = "scalar"


@dataclass(frozen=True, slots=True, eq=False)
class Fraction:
    numerator: "Formula"
    denominator: "Formula"


@dataclass(frozen=True, slots=True, eq=False)
class Transposed:
    of: "Formula"


@dataclass(frozen=True, slots=True, eq=False)
class Squared:
    """Number by number."""

    of: "Formula"


@dataclass(frozen=True, slots=True, eq=False)
class Applied:
    """A function of one or two arguments, with its name in LaTeX."""

    name: str
    rule: Callable[..., Array]
    arguments: "tuple[Formula, ...]"


@dataclass(frozen=True, slots=True, eq=False)
class SumOfRows:
    """The sum over the examples of a batch: one row."""

    of: "Formula"


@dataclass(frozen=True, slots=True, eq=False)
class Omitted:
    """The terms that a long sum leaves out, and what they add up to."""

    count: int
    total: Array


@dataclass(frozen=True, slots=True, eq=False)
class Equation:
    """Sides that are equal; those without symbols can be computed, and give the same."""

    sides: "tuple[Formula, ...]"


Leaf = Symbols | Numbers | Omitted
Formula = Leaf | Sum | Difference | Product | Fraction | Transposed | Squared | Applied | SumOfRows | Equation


def number(value: Any) -> Numbers:
    """One number, in the dtype it has."""
    return Numbers(np.asarray(value))


def matrix_product(*factors: Formula) -> Product:
    return Product(factors, "matrix")


def elementwise(*factors: Formula) -> Product:
    return Product(factors, "elementwise")


def equation(*sides: Formula | str) -> Equation:
    """Sides of an equation; a string is LaTeX."""
    return Equation(tuple(Symbols(side) if isinstance(side, str) else side for side in sides))


MOST_TERMS = 8
"""A sum of more terms than these is abbreviated where the answer may have any size."""


def abbreviated(terms: list[list[Any]], total: Any) -> Sum:
    """A sum of products of numbers; of a long one only the largest terms, in their order, and what the others make.

    `total` is the engine's sum of all; what is left out is added up here, not taken from it.
    """
    if len(terms) <= MOST_TERMS:
        return Sum(tuple(product(row) for row in terms))
    dtype = np.asarray(total).dtype
    sizes = np.array([np.prod([float(factor) for factor in row]) for row in terms])
    shown = set(np.argsort(-np.abs(sizes), kind="stable")[: MOST_TERMS - 2].tolist())
    rest = sum(sizes[i] for i in range(len(terms)) if i not in shown)
    kept = [product(terms[i]) for i in sorted(shown)]
    return Sum((*kept, Omitted(len(terms) - len(shown), np.asarray(rest, dtype))))


def product(factors: list[Any]) -> Formula:
    """A product of single numbers; one factor alone is that number."""
    return number(factors[0]) if len(factors) == 1 else Product(tuple(number(factor) for factor in factors))
