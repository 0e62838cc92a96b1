"""Gradient clipping, the norm that it goes by, and the root mean square."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from engine.rules import About, Array, hyper


@dataclass(frozen=True, slots=True)
class ClipByNorm:
    """g * min(1, max_norm / (norm + 1e-6)), with the Euclidean norm of all gradients together.

    Source: Pascanu et al. 2012, arXiv:1211.5063; torch.nn.utils.clip_grad_norm_.
    """

    kind: Literal["norm"] = "norm"
    max_norm: float = hyper(1.0, gt=0.0, description="The largest norm of all gradients together.")
    about: ClassVar = About("Clipping by norm", r"g \min\left(1, \frac{c}{\lVert g \rVert + 10^{-6}}\right)")

    def clip(self, gradients: Sequence[Array], norm: float) -> list[Array]:
        factor = self.max_norm / (norm + 1e-6)
        return list(gradients) if factor >= 1 else [g * factor for g in gradients]


@dataclass(frozen=True, slots=True)
class ClipByValue:
    """max(-max_value, min(max_value, g)), each gradient on its own.

    Source: torch.nn.utils.clip_grad_value_.
    """

    kind: Literal["value"] = "value"
    max_value: float = hyper(0.5, gt=0.0, description="The largest magnitude of a single gradient.")
    about: ClassVar = About("Clipping by value", r"\max(-c, \min(c, g))")

    def clip(self, gradients: Sequence[Array], norm: float) -> list[Array]:
        return [np.clip(g, -self.max_value, self.max_value) for g in gradients]


Clipping = ClipByNorm | ClipByValue


FEW = 256
"""The norm of so many numbers at most is faster in Python than with NumPy."""


def norm(arrays: Iterable[Array]) -> float:
    """The Euclidean norm of all numbers of all arrays together."""
    arrays = list(arrays)
    if sum([a.size for a in arrays]) <= FEW:
        return math.hypot(*[number for a in arrays for number in a.ravel().tolist()])
    with np.errstate(over="ignore"):
        return _norm_of_many(arrays)


def _norm_of_many(arrays: Sequence[Array]) -> float:
    squares = float(sum([flat.dot(flat) for flat in [a.ravel() for a in arrays]]))
    if 1e-30 < squares < 1e30:
        return math.sqrt(squares)
    # Some squares may have overflowed or underflowed: scale by the largest number first.
    largest = max((float(np.abs(a).max(initial=0)) for a in arrays), default=0.0)
    if largest == 0 or not math.isfinite(largest):
        return largest
    return largest * math.sqrt(math.fsum(float(np.square(a.astype(np.float64) / largest).sum()) for a in arrays))


def root_mean_square(array: Array) -> float:
    """Of all numbers, without overflow in their squares."""
    return norm([array]) / math.sqrt(array.size)
