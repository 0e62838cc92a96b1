"""What an activation can give: its range, how steep it gets, and where it is flat."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

INF = math.inf


class Range(NamedTuple):
    """`low` and `high` bound the values; `steepest` is the largest derivative, None where it has no bound or the units
    of a row are mixed; between the two numbers of `dead` the function is constant, so that nothing is learned there."""

    low: float
    high: float
    steepest: float | None = None
    dead: tuple[float, float] | None = None


RANGES: dict[str, Callable[[Any], Range]] = {
    "identity": lambda rule: Range(-INF, INF, 1),
    "relu": lambda rule: Range(0, INF, 1, (-INF, 0)),
    "relu6": lambda rule: Range(0, 6, 1, (-INF, 0)),
    "leaky_relu": lambda rule: Range(-INF if rule.negative_slope > 0 else 0, INF, max(1, abs(rule.negative_slope))),
    "elu": lambda rule: Range(-rule.alpha, INF, max(1, rule.alpha)),
    "celu": lambda rule: Range(-rule.alpha, INF, 1),
    "selu": lambda rule: Range(-rule.scale * rule.alpha, INF, rule.scale * rule.alpha),
    "gelu": lambda rule: Range(-0.1701, INF, 1.129),
    "silu": lambda rule: Range(-0.2785, INF, 1.0999),
    "mish": lambda rule: Range(-0.3089, INF, 1.0885),
    "sigmoid": lambda rule: Range(0, 1, 0.25),
    "hard_sigmoid": lambda rule: Range(0, 1, 1 / 6),
    "log_sigmoid": lambda rule: Range(-INF, 0, 1),
    "tanh": lambda rule: Range(-1, 1, 1),
    "hard_tanh": lambda rule: Range(rule.min_val, rule.max_val, 1),
    "softplus": lambda rule: Range(0, INF, 1),
    "softsign": lambda rule: Range(-1, 1, 1),
    "hard_swish": lambda rule: Range(-0.375, INF, 1.5, (-INF, -3)),
    "hard_shrink": lambda rule: Range(-INF, INF, 1, (-rule.lambd, rule.lambd)),
    "soft_shrink": lambda rule: Range(-INF, INF, 1, (-rule.lambd, rule.lambd)),
    "tanh_shrink": lambda rule: Range(-INF, INF, 1),
    "threshold": lambda rule: Range(min(rule.value, rule.threshold), INF, 1, (-INF, rule.threshold)),
    "exponential": lambda rule: Range(0, INF),
    "softmax": lambda rule: Range(0, 1),
    "softmin": lambda rule: Range(0, 1),
    "log_softmax": lambda rule: Range(-INF, 0),
}


def range_of(rule: Any) -> Range:
    """Of an activation that is not in the table nothing is known, and nothing is said."""
    make = RANGES.get(rule.kind)
    return Range(-INF, INF) if make is None else make(rule)
