"""Rules on large arrays, a few rows at a time, so that what they make on their way stays in the processor's cache."""

import math
from collections.abc import Callable

import numpy as np

from engine.rules import Array

BLOCK = 1 << 17
"""About as many bytes of an array are worked on at a time."""


def by_rows(rule: Callable[..., Array], *arrays: Array, out: Array | None = None) -> Array:
    """`rule(*arrays)`, for a rule whose every row depends on the same row of the arrays alone.

    All arrays have the shape of the first one, and so has the result. It is written into `out`, which may be one of
    them, where that is given and worth it; a rule itself knows nothing of this. The blocks are equally large but for a
    row, so that the result depends on the arrays alone.
    """
    whole = arrays[0]
    if whole.nbytes <= BLOCK:
        return rule(*arrays)
    if out is None:
        out = np.empty_like(whole)
    rows = len(whole)
    blocks = min(rows, math.ceil(whole.nbytes / BLOCK))
    for k in range(blocks):
        part = slice(rows * k // blocks, rows * (k + 1) // blocks)
        out[part] = rule(*[array[part] for array in arrays])
    return out
