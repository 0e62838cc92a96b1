"""An array that is the right one times a number."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from engine.mistakes.computation import Case
from engine.rules import About, Array, hyper


@dataclass(frozen=True, slots=True)
class ConstantFactor:
    """All numbers of an array times the same factor; in parameters after a step, their change.

    A sum is divided in one place and not in another, or a factor of a formula is taken twice, or left out.

    Source: none needed; gradients are linear in the error that is passed back, and a step in its learning rate.
    """

    kind: Literal["constant_factor"] = "constant_factor"
    factor: float = hyper(2.0, description="What the right numbers are multiplied by.")
    meaning: str | None = hyper(None, description="What else of the request is as large; null where nothing is.")
    about: ClassVar = About("Times a constant factor", r"k g \text{ for } g")


def nearest_factor(claimed: Array, right: Array) -> float | None:
    """The factor that brings the right numbers nearest to the claimed ones; None where it says nothing."""
    size = float(np.abs(right).max(initial=0))
    if not size:
        return None
    shares = right / size
    factor = float(np.vdot(claimed / size, shares) / np.vdot(shares, shares))
    return factor if factor and np.isfinite(factor) else None


def meaning_of(factor: float, within: float, case: Case, layer: int | None) -> tuple[float, str | None]:
    """The number that a factor stands for, and what it is: a count of the request or its learning rate, where one is
    `within` a share of the factor, or else the shortest decimal."""
    counts = {"the number of examples": case.batch, "the number of outputs": case.layers[-1].weights.shape[1]}
    if layer is not None:
        inputs, units = case.layers[layer].weights.shape
        counts |= {"the number of the layer's inputs": inputs, "the number of the layer's units": units}
    known = {name: float(count) for name, count in counts.items()}
    known |= {f"1 / {name}": 1 / count for name, count in counts.items()}
    if case.optimizer is not None:
        known["the learning rate"] = case.optimizer.learning_rate
    for name, value in known.items():
        if value != 1 and abs(factor - value) <= within * abs(factor):
            return value, name
    decimals = (float(f"{factor:.{digits - 1}e}") for digits in range(1, 17))
    return next((d for d in decimals if abs(factor - d) <= within * abs(factor)), factor), None
