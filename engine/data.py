"""Examples with their targets and weights: taking batches, splitting off validation data."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from engine.initializers import generator
from engine.rules import Array

SPLIT = (0, 0, 0)
"""The place of the split among the streams of a seed; an epoch's order has its number alone."""


@dataclass(frozen=True, slots=True)
class Data:
    """Inputs `[examples, features]`, targets `[examples, outputs]` (labels as one-hot rows), weights `[examples]`."""

    inputs: Array
    targets: Array
    weights: Array | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, rows: Array | slice) -> Self:
        """Some of the examples: views for a slice, copies for indices."""
        if isinstance(rows, slice):
            weights = None if self.weights is None else self.weights[rows]
            return type(self)(self.inputs[rows], self.targets[rows], weights)
        weights = None if self.weights is None else self.weights.take(rows)
        return type(self)(self.inputs.take(rows, axis=0), self.targets.take(rows, axis=0), weights)


def order(seed: int, epoch: int, examples: int) -> Array:
    """The order of the examples in an epoch: it depends on (seed, epoch) alone."""
    return generator(seed, epoch).permutation(examples)


def split(data: Data, fraction: float, stratify: bool, seed: int) -> tuple[Data, Data]:
    """Training and validation data, drawn by seed; both keep the order of the examples.

    At least one example goes to either side. With `stratify` every class (the largest column of a target) gives its own
    share, rounded.
    """
    random = generator(seed, *SPLIT)
    shuffled = random.permutation(len(data))
    chosen = np.zeros(len(data), bool)
    if stratify and data.targets.shape[1] == 1:
        classes = (data.targets[:, 0] > 0.5).astype(np.intp)
    else:
        classes = data.targets.argmax(axis=1) if stratify else np.zeros(len(data), np.intp)
    for label in np.unique(classes):
        members = shuffled[classes[shuffled] == label]
        chosen[members[: round(fraction * len(members))]] = True
    if not chosen.any():
        chosen[shuffled[0]] = True
    if chosen.all():
        chosen[shuffled[-1]] = False
    return data.take(np.flatnonzero(~chosen)), data.take(np.flatnonzero(chosen))
