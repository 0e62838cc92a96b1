"""What losses have in common, and what they ask of targets, outputs and class weights."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

import numpy as np

from engine.errors import InvalidTarget, NotProbabilities, ShapeMismatch, require
from engine.rules import Array, hyper

Reduction = Literal["mean", "batch_mean", "sum"]
REDUCTION = (
    "How the losses of the examples become one number. mean: over all elements of an elementwise loss, over the batch "
    "for others (PyTorch's); batch_mean: summed over a row's outputs, then the mean over the batch; sum: of everything."
)
ClassWeights = tuple[float, ...] | None
SLACK = 1e-6
"""How far above 1 rounding may carry a probability."""
FEW = 64
"""Below this size Python's own minimum and maximum of a list are faster than the calls of NumPy."""


def require_targets(t: Array, most: float = 1) -> None:
    """Raises InvalidTarget at the first target that is not from 0 to `most`."""
    numbers = t.ravel().tolist() if t.size <= FEW else (t.min(), t.max())
    if min(numbers) >= 0 and max(numbers) <= most:
        return
    i, j = (int(k) for k in np.argwhere(~((t >= 0) & (t <= most)))[0])
    raise InvalidTarget(
        ("targets", i, j),
        "This loss cannot use this target.",
        expected="a number from 0 to 1" if most == 1 else "a number at least 0",
        received=t[i, j].item(),
    )


def require_probabilities(y: Array, activation: str) -> None:
    """Raises NotProbabilities at the first output outside [0, 1]; the hint names the activation that mends it."""
    if not (y.min() < 0 or y.max() > 1 + SLACK):
        return
    i, j = (int(k) for k in np.argwhere((y < 0) | (y > 1 + SLACK))[0])
    raise NotProbabilities(
        ("outputs", i, j),
        "The outputs are not probabilities, and this loss takes probabilities.",
        expected="a number from 0 to 1",
        received=y[i, j].item(),
        hint=f"Set from_logits to true in the loss, or end the network in a {activation} layer.",
    )


def require_class_weights(weights: ClassWeights, outputs: int) -> None:
    """Raises ShapeMismatch where there is not one class weight for each output."""
    if weights is not None and len(weights) != outputs:
        raise ShapeMismatch(
            ("loss", "class_weights"),
            "There is one class weight for each output.",
            expected=[outputs],
            received=[len(weights)],
        )


@dataclass(frozen=True, slots=True)
class AnyLoss:
    """What all losses have in common: a reduction and, where they say nothing else, no labels, no class weights, and
    nothing that they refuse."""

    kind: str
    reduction: Reduction = hyper("mean", description=REDUCTION)
    takes_labels: ClassVar[bool] = False

    def check(self, y: Array, t: Array) -> None:
        """Every output and target will do."""

    def unweighted(self) -> Self:
        return self

    def row_weights(self, t: Array) -> Array | None:
        return None


class Weighted:
    """What the losses with class weights have in common; each is a dataclass, and has them among its fields."""

    __slots__ = ()
    class_weights: ClassWeights

    def __post_init__(self) -> None:
        for i, weight in enumerate(self.class_weights or ()):
            require(0 <= weight < math.inf, ("class_weights", i), ">= 0", weight)

    def unweighted(self) -> Self:
        return self if self.class_weights is None else replace(self, class_weights=None)  # type: ignore[type-var]


def label_weights(weights: ClassWeights, t: Array) -> Array | None:
    """What each row counts in a mean: its label's weight where all rows are one-hot, 1 (None) where one holds
    probabilities."""
    if weights is None or not (((t == 0) | (t == 1)).all() and (t.sum(axis=1) == 1).all()):
        return None
    divisors: Array = t @ np.array(weights, t.dtype)
    return divisors
