"""What the optimizers have in common: their states, their hyperparameters, and the gradient that enters a step."""

from typing import Any

import numpy as np

from engine.errors import require
from engine.rules import Array, Items, hyper

State = dict[str, Any]
RATE = "How far a step goes."
DECAY = "Decays weights by this much: added to the gradient as weight_decay * w."
DECOUPLED = "Decays weights directly, by learning_rate * weight_decay * w, beside the gradient's step."
MAXIMIZE = "Ascend instead of descending."
BETAS = "`[2]`, each >= 0, < 1: what is kept of the running averages of the gradient and of its square."
FRACTIONS: Items = ({"minimum": 0, "exclusiveMaximum": 1}, {"minimum": 0, "exclusiveMaximum": 1})
EPS = "Added to a denominator, so that it is never 0."


def rate(default: float) -> Any:
    """The hyperparameter learning_rate."""
    return hyper(default, ge=0.0, description=RATE)


class WithBetas:
    """What the optimizers with betas have in common; each is a dataclass, and has them among its fields."""

    __slots__ = ()
    betas: tuple[float, float]

    def __post_init__(self) -> None:
        for i, beta in enumerate(self.betas):
            require(0 <= beta < 1, ("betas", i), ">= 0, < 1", beta)


def zeros(parameters: Array, *names: str) -> State:
    """A state before the first step, with arrays of zeros under these names."""
    return {"step": 0, **{name: np.zeros_like(parameters) for name in names}}


def descended(gradients: Array, parameters: Array, weight_decay: float, maximize: bool) -> Array:
    """The g of the formulas: the gradient (with `maximize` its negative) plus what decays the weights through it."""
    g = -gradients if maximize else gradients
    return g + weight_decay * parameters if weight_decay else g
