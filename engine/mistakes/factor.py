"""Numbers that are all off by one factor, whatever it comes from."""

from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import ClassVar, Literal

import numpy as np

from engine.mistakes.computation import LAYER, Case, Computation, Numbers, Stage
from engine.mistakes.loss import scaled
from engine.rules import About, Array, hyper

Place = Literal[
    "both", "gradients", "loss", "parameters", "preactivations", "weights", "bias", "step", "weights_step", "bias_step"
]
PARAMETERS = ("weights", "bias")
SIMPLEST = 100
"""The largest denominator of a factor that is read as a fraction."""


def multiplied(c: Computation, times: float, at: str, layers: Collection[int]) -> Computation:
    """The computation with a multiple of what is made in some layers: the errors by preactivations, those passed back,
    or the gradients of the parameters or of one kind of them."""

    def multiple(stage: Stage) -> Stage:
        return lambda n, i: times * stage(n, i)

    names = [at] if at == "passed_back" else [f"by_{name}" for name in (PARAMETERS if at == "parameters" else [at])]
    return c.in_layers(layers, **{name: multiple(getattr(c, name)) for name in names})


def longer_step(c: Computation, times: float, names: Collection[str] = PARAMETERS) -> Computation:
    """The computation with a step as many times as long, of weights, biases or both."""
    before = c.updated

    def updated(n: Numbers, i: int, name: str, gradient: Array) -> Array:
        old, new = n.layer(i).parameters[name], before(n, i, name, gradient)
        return old + times * (new - old) if name in names else new

    return c._replace(updated=updated)


@dataclass(frozen=True, slots=True)
class ConstantFactor:
    """Numbers that are right but for one factor, the same for all of them.

    A sum is divided in one place and not in another; a batch of 5 is divided by 32, the size that the others have;
    gradients of three passes are added up. `times` is the factor that gives the claimed numbers.

    Source: none needed; the quotient of what is claimed and what is right is the same everywhere.
    """

    kind: Literal["constant_factor"] = "constant_factor"
    times: float = hyper(2.0, description="The factor.")
    at: Place = "both"
    layer: int | None = hyper(None, description=LAYER)
    meaning: str | None = hyper(None, description="What else of the request is as large; null where nothing is.")
    about: ClassVar = About("Off by a constant factor", r"k g \text{ for } g")

    def alter(self, c: Computation, case: Case) -> Computation:
        if self.at in ("both", "gradients", "loss"):
            return scaled(c, lambda n: self.times, self.at)
        if "step" in self.at:
            return longer_step(c, self.times, PARAMETERS if self.at == "step" else [self.at.removesuffix("_step")])
        return multiplied(c, self.times, self.at, case.indices(self.layer))


def forms(times: float, meaning: str | None, layer: int, update: bool) -> list[ConstantFactor]:
    """Where a factor may stand that shows in a layer first, the simplest first; or in the update."""
    places: list[tuple[Place, int | None]] = [
        ("both", None),
        ("gradients", None),
        ("parameters", None),
        ("preactivations", layer),
        ("parameters", layer),
        ("weights", None),
        ("bias", None),
        ("weights", layer),
        ("bias", layer),
    ]
    if update:
        places = [("step", None), ("weights_step", None), ("bias_step", None)]
    return [ConstantFactor(times=times, at=at, layer=i, meaning=meaning) for at, i in places]


def nearest(claimed: Array, right: Array) -> float | None:
    """The factor that brings the right numbers nearest to the claimed ones; None where they say nothing of one."""
    size = float(np.abs(right).max(initial=0))
    if not size:
        return None
    shares = right / size
    factor = float(np.vdot(claimed / size, shares) / np.vdot(shares, shares))
    return factor if factor and np.isfinite(factor) else None


def digits_of(factor: float) -> int:
    """How many digits it takes to write a factor, as a fraction or as a decimal."""
    fraction = Fraction(factor).limit_denominator(SIMPLEST)
    _, digits, exponent = Decimal(repr(factor)).normalize().as_tuple()
    decimal = max(len(digits), -int(exponent))
    if float(fraction) != factor:
        return decimal
    return min(decimal, sum(len(str(abs(n))) for n in fraction.as_integer_ratio() if abs(n) > 1))


def readings(times: float, case: Case) -> list[tuple[float, str | None]]:
    """What a factor may be exactly, and what that is: a number of the request, a fraction, or itself with few digits
    and with all."""
    known = {
        "the number of examples": case.batch,
        "the number of outputs": case.layers[-1].weights.shape[1],
        "the square of the number of examples": case.batch**2,
    }
    named = [(float(n), name) for name, n in known.items()] + [(1 / n, f"1 / {name}") for name, n in known.items()]
    if case.optimizer is not None:
        named.append((case.optimizer.learning_rate, "the learning rate"))
    fraction = float(Fraction(times).limit_denominator(SIMPLEST))
    plain = [fraction, *(float(f"{times:.{digits}g}") for digits in (3, 6)), times]
    return [(value, name) for value, name in named if value != 1] + [(value, None) for value in plain if value]
