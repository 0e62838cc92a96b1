"""What an activation can give: its range, how steep it gets, and where it is flat."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from engine.rules import Array

INF = math.inf
OFF = (-INF, 0)
"""The flat piece of relu."""


class Shape(NamedTuple):
    """`low` and `high` bound the values; `steepest` is the largest derivative, None where it has no bound or the units
    of a row are mixed; on the pieces of `flat`, from one number to another, it is constant, so that nothing is learned
    there. The flat ends of the squashing functions are not among them."""

    low: float
    high: float
    steepest: float | None = None
    flat: tuple[tuple[float, float], ...] = ()

    def is_flat(self, z: Array) -> Array:
        """Which preactivations lie on a flat piece."""
        flags: Array = np.any([(z >= low) & (z <= high) for low, high in self.flat], axis=0)
        return flags


SHAPES: dict[str, Callable[[Any], Shape]] = {
    "identity": lambda rule: Shape(-INF, INF, 1),
    "relu": lambda rule: Shape(0, INF, 1, (OFF,)),
    "relu6": lambda rule: Shape(0, 6, 1, (OFF, (6, INF))),
    "leaky_relu": lambda rule: Shape(
        -INF if rule.negative_slope > 0 else 0,
        INF,
        max(1, abs(rule.negative_slope)),
        () if rule.negative_slope else (OFF,),
    ),
    "elu": lambda rule: Shape(-rule.alpha, INF, max(1, rule.alpha)),
    "celu": lambda rule: Shape(-rule.alpha, INF, 1),
    "selu": lambda rule: Shape(-rule.scale * rule.alpha, INF, rule.scale * rule.alpha),
    "gelu": lambda rule: Shape(-0.1701, INF, 1.129),
    "silu": lambda rule: Shape(-0.2785, INF, 1.0999),
    "mish": lambda rule: Shape(-0.3089, INF, 1.0885),
    "sigmoid": lambda rule: Shape(0, 1, 0.25),
    "hard_sigmoid": lambda rule: Shape(0, 1, 1 / 6),
    "log_sigmoid": lambda rule: Shape(-INF, 0, 1),
    "tanh": lambda rule: Shape(-1, 1, 1),
    "hard_tanh": lambda rule: Shape(rule.min_val, rule.max_val, 1),
    "softplus": lambda rule: Shape(min(0, rule.threshold / rule.beta), INF, 1),
    "softsign": lambda rule: Shape(-1, 1, 1),
    "hard_swish": lambda rule: Shape(-0.375, INF, 1.5, ((-INF, -3),)),
    "hard_shrink": lambda rule: Shape(-INF, INF, 1, ((-rule.lambd, rule.lambd),)),
    "soft_shrink": lambda rule: Shape(-INF, INF, 1, ((-rule.lambd, rule.lambd),)),
    "tanh_shrink": lambda rule: Shape(-INF, INF, 1),
    "threshold": lambda rule: Shape(min(rule.value, rule.threshold), INF, 1, ((-INF, rule.threshold),)),
    "exponential": lambda rule: Shape(0, INF),
    "softmax": lambda rule: Shape(0, 1),
    "softmin": lambda rule: Shape(0, 1),
    "log_softmax": lambda rule: Shape(-INF, 0),
}


def shape_of(rule: Any) -> Shape:
    """Of an activation that is not in the table nothing is known, and nothing is said."""
    make = SHAPES.get(rule.kind)
    return Shape(-INF, INF) if make is None else make(rule)
