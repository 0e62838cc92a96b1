"""What every rule of the engine (activation, loss, optimizer, initializer, ...) is written with."""

import dataclasses
import inspect
import math
from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
"""A float64 or float32 array; every rule answers in the dtype it was given."""


Items = tuple[dict[str, float], ...]
"""The bounds of a tuple's numbers, each its own or one for all, in JSON Schema's words."""


def hyper(default: Any, items: Items = (), **bounds: Any) -> Any:
    """A hyperparameter: a dataclass field with a default and bounds (gt, ge, lt, le, description).

    The bounds are metadata, which Pydantic reads from standard-library dataclasses; a value that does not come through
    Pydantic is not checked. `strict` keeps "0.5" and true from passing as numbers. `items` are those of a tuple's
    numbers, for the catalog to list; the rule itself checks them.
    """
    if items:
        bounds = {"json_schema_extra": partial(_bound_items, items), **bounds}
    if type(default) in (float, int):
        bounds = {"strict": True, "allow_inf_nan": False, **bounds}
    elif type(default) is bool:
        bounds = {"strict": True, **bounds}
    return dataclasses.field(default=default, metadata=bounds)


def _bound_items(items: Items, schema: dict[str, Any]) -> None:
    """Writes bounds into the JSON schema of an array (or null): one for each of its items, or one for all."""
    for array in (schema, *schema.get("anyOf", ())):
        numbers = array.get("prefixItems") or ([array["items"]] if "items" in array else [])
        for number, bound in zip(numbers, items, strict=False):
            number.update(bound)


class About(NamedTuple):
    """What the catalog says of a rule beside its docstring, whose first paragraph is the formula in plain text and
    whose last one, "Source: ...", names where it comes from. A rule whose hyperparameters choose among formulas has in
    `chosen` what is to be said of the one that is computed."""

    title: str
    latex: str
    derivative: str | None = None
    derivative_latex: str | None = None


def paragraphs(rule: type) -> list[str]:
    """The docstring of a rule's class: its formula, what surprises, its source, each in one line."""
    return [" ".join(text.split()) for text in inspect.cleandoc(rule.__doc__ or "").split("\n\n")]


def column(vector: Array) -> Array:
    """A `[batch]` vector as `[batch, 1]`, to scale the rows of a matrix."""
    return vector[:, np.newaxis]


def filled(like: Array, number: float) -> Array:
    """An array of the same shape and dtype, of one number; infinite where that is too large for the dtype."""
    with np.errstate(over="ignore"):
        return np.full_like(like, number)


# The methods `sum` and `max` of small arrays spend most of their time in Python; the ufuncs' own reductions do not.
def row_sums(x: Array) -> Array:
    """The sum of each row, `[batch, 1]`."""
    return np.add.reduce(x, axis=1, keepdims=True)


def row_maxima(x: Array) -> Array:
    """The largest number of each row, `[batch, 1]`."""
    return np.maximum.reduce(x, axis=1, keepdims=True)


def joined(arrays: Iterable[Array]) -> Array:
    """All numbers of some arrays as one new vector."""
    return np.concatenate([array.ravel() for array in arrays])


def parts(vector: Array, shapes: Iterable[tuple[int, ...]]) -> list[Array]:
    """A vector in pieces of these shapes, which share its memory."""
    found, start = [], 0
    for shape in shapes:
        end = start + math.prod(shape)
        piece = vector[start:end]
        found.append(piece if len(shape) == 1 else piece.reshape(shape))
        start = end
    return found
