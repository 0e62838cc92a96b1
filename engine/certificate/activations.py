"""Every activation a second time, for real and complex arguments, written apart from the engine's rules.

Each is one analytic function, or several on the intervals between its breaks. Only the hyperparameters of a rule are
read, never its methods. Axes before the last are free: softmax and its kin go along the last one.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from engine.rules import Array

Function = Callable[[Array], Array]
SERIES_TERMS = 50
FRACTION_TERMS = 80
SERIES_ENDS = 2.0
"""Up to this size of x the power series of erf(x) is summed, beyond it the continued fraction of erfc(x)."""


class Pieces(NamedTuple):
    """`functions[k]` holds between `breaks[k - 1]` (excluded) and `breaks[k]` (included).

    `kinked` says that the slope jumps at the breaks. A `row_wise` function mixes the units of a row.
    """

    functions: tuple[Function, ...]
    breaks: tuple[float, ...] = ()
    kinked: bool = True
    row_wise: bool = False

    def which(self, z: Array) -> Array:
        """The index of the piece that each of the real numbers z lies on."""
        return np.searchsorted(np.asarray(self.breaks), z)

    def evaluate(self, z: Array, which: Array) -> Array:
        """The pieces named by `which`, continued analytically beyond their ends where z lies there."""
        values = self.functions[0](z)
        for k in range(1, len(self.functions)):
            values = np.where(which == k, self.functions[k](z), values)
        return values


def pieces(rule: Any) -> Pieces | None:
    """The second form of an activation, or None where this module has none."""
    make = FORMS.get(rule.kind)
    return None if make is None else make(rule)


def log1p(x: Array) -> Array:
    """log(1 + x) of x as close to the real line as the complex step is; NumPy's own loses digits of its real part."""
    if not np.iscomplexobj(x):
        return np.log1p(x)
    return np.log1p(x.real) + 1j * np.arctan2(x.imag, 1 + x.real)


def sigmoid(z: Array) -> Array:
    power = np.exp(np.where(z.real > 0, -z, z))
    return np.where(z.real > 0, 1, power) / (1 + power)


def softplus(z: Array) -> Array:
    above = z.real > 0
    return np.where(above, z, 0) + log1p(np.exp(np.where(above, -z, z)))


def log_softmax(z: Array) -> Array:
    """z - z_m - log(1 + sum over the others of exp(z - z_m)), with z_m the largest: near 0 it keeps its digits too."""
    index = z.real.argmax(axis=-1)[..., np.newaxis]
    shifted = z - np.take_along_axis(z, index, axis=-1)
    powers = np.exp(shifted)
    np.put_along_axis(powers, index, 0, axis=-1)
    return shifted - log1p(powers.sum(axis=-1, keepdims=True))


def softmax(z: Array) -> Array:
    powers = np.exp(z - z.real.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def erfc(x: Array) -> Array:
    """1 - erf(x) of complex x near the real line, to about 1e-15 and with relative accuracy where it is small.

    erf(x) = 2/sqrt(pi) exp(-x^2) sum_n 2^n x^(2n+1) / (1*3*...*(2n+1)) near 0, and for x > 0 away from it Laplace's
    continued fraction erfc(x) = exp(-x^2)/sqrt(pi) / (x + (1/2)/(x + (2/2)/(x + (3/2)/(x + ...)))).

    Source: Abramowitz and Stegun 1964, 7.1.6 and 7.1.14.
    """
    negative = x.real < 0
    right = np.where(negative, -x, x)
    near = np.where(right.real > SERIES_ENDS, 0, x)
    term = total = near
    for n in range(1, SERIES_TERMS):
        term = term * near * near * (2 / (2 * n + 1))
        total = total + term
    far = np.where(right.real > SERIES_ENDS, right, SERIES_ENDS)
    fraction = far
    for n in range(FRACTION_TERMS, 0, -1):
        fraction = far + (n / 2) / fraction
    tail = np.exp(-far * far) / (math.sqrt(math.pi) * fraction)
    return np.where(
        right.real > SERIES_ENDS,
        np.where(negative, 2 - tail, tail),
        1 - (2 / math.sqrt(math.pi)) * np.exp(-near * near) * total,
    )


def mish(z: Array) -> Array:
    """z ((1 + e^z)^2 - 1) / ((1 + e^z)^2 + 1), which is z tanh(log(1 + e^z))."""
    above = z.real > 0
    e = np.exp(np.where(above, -z, z))
    square = e * e
    upper = (1 + 2 * e) / (1 + 2 * e + 2 * square)
    return z * np.where(above, upper, (square + 2 * e) / (square + 2 * e + 2))


def _odd_coefficients(terms: int) -> list[float]:
    """Of tanh(z) = z + c_1 z^3 + c_2 z^5 + ..., from tanh' = 1 - tanh^2."""
    found = [1.0]
    for n in range(1, terms):
        found.append(-math.fsum(found[k] * found[n - 1 - k] for k in range(n)) / (2 * n + 1))
    return found


TANH_SERIES = _odd_coefficients(14)


def tanh_shrink(z: Array) -> Array:
    """z - tanh(z), near 0 by the series, where the difference would lose its digits."""
    small = np.abs(z.real) < 0.2
    near = np.where(small, z, 0)
    total = zero(near)
    for coefficient in reversed(TANH_SERIES[1:]):
        total = (total + coefficient) * near * near
    return np.where(small, -total * near, z - np.tanh(z))


def zero(z: Array) -> Array:
    return np.zeros_like(z)


def same(z: Array) -> Array:
    return z


def constant(value: float) -> Function:
    return lambda z: np.full_like(z, value)


def _smooth(function: Function) -> Callable[[Any], Pieces]:
    return lambda rule: Pieces((function,))


def _of_rows(function: Function) -> Callable[[Any], Pieces]:
    return lambda rule: Pieces((function,), row_wise=True)


def _gelu(rule: Any) -> Pieces:
    if rule.approximate == "none":
        return Pieces((lambda z: 0.5 * z * erfc(z * -math.sqrt(0.5)),))
    # (1 + tanh(u)) / 2 loses its digits in the lower tail; as sigmoid(2 u) it does not.
    return Pieces((lambda z: z * sigmoid(math.sqrt(8 / math.pi) * (z + 0.044715 * z**3)),))


def _elu(rule: Any) -> Pieces:
    return Pieces((lambda z: rule.alpha * np.expm1(z), same), (0.0,), kinked=rule.alpha != 1)


def _selu(rule: Any) -> Pieces:
    return Pieces((lambda z: rule.scale * rule.alpha * np.expm1(z), lambda z: rule.scale * z), (0.0,))


def _celu(rule: Any) -> Pieces:
    return Pieces((lambda z: rule.alpha * np.expm1(z / rule.alpha), same), (0.0,), kinked=False)


def _hard_shrink(rule: Any) -> Pieces:
    below = float(np.nextafter(-rule.lambd, -np.inf))  # at -lambd itself the value is 0
    return Pieces((same, zero, same), (below, rule.lambd))


def _soft_shrink(rule: Any) -> Pieces:
    return Pieces((lambda z: z + rule.lambd, zero, lambda z: z - rule.lambd), (-rule.lambd, rule.lambd))


def _softplus(rule: Any) -> Pieces:
    return Pieces((lambda z: softplus(rule.beta * z) / rule.beta, same), (rule.threshold / rule.beta,))


FORMS: dict[str, Callable[[Any], Pieces]] = {
    "identity": _smooth(same),
    "relu": lambda rule: Pieces((zero, same), (0.0,)),
    "relu6": lambda rule: Pieces((zero, same, constant(6)), (0.0, 6.0)),
    "leaky_relu": lambda rule: Pieces((lambda z: rule.negative_slope * z, same), (0.0,)),
    "elu": _elu,
    "celu": _celu,
    "selu": _selu,
    "gelu": _gelu,
    "silu": _smooth(lambda z: z * sigmoid(z)),
    "mish": _smooth(mish),
    "sigmoid": _smooth(sigmoid),
    "hard_sigmoid": lambda rule: Pieces((zero, lambda z: z / 6 + 0.5, constant(1)), (-3.0, 3.0)),
    "log_sigmoid": _smooth(lambda z: -softplus(-z)),
    "tanh": _smooth(np.tanh),
    "hard_tanh": lambda rule: Pieces(
        (constant(rule.min_val), same, constant(rule.max_val)), (rule.min_val, rule.max_val)
    ),
    "softplus": _softplus,
    "softsign": lambda rule: Pieces((lambda z: z / (1 - z), lambda z: z / (1 + z)), (0.0,), kinked=False),
    "hard_swish": lambda rule: Pieces((zero, lambda z: z * (z + 3) / 6, same), (-3.0, 3.0)),
    "hard_shrink": _hard_shrink,
    "soft_shrink": _soft_shrink,
    "tanh_shrink": _smooth(tanh_shrink),
    "threshold": lambda rule: Pieces((constant(rule.value), same), (rule.threshold,)),
    "exponential": _smooth(np.exp),
    "softmax": _of_rows(softmax),
    "softmin": _of_rows(lambda z: softmax(-z)),
    "log_softmax": _of_rows(log_softmax),
}
