"""Examples with their targets and weights: taking batches, splitting off validation data."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from engine.initializers import generator
from engine.metrics import labels
from engine.rules import Array

SPLIT = (0, 0, 0)
"""The place of the split among the streams of a seed; an epoch's order has its number alone."""


@dataclass(frozen=True, slots=True)
class Data:
    """Inputs `[examples, features]`, targets `[examples, outputs]` (labels as one-hot rows), weights `[examples]`.

    `rows` are the examples' numbers in the data that they were split from, None where they were not.
    """

    inputs: Array
    targets: Array
    weights: Array | None = None
    rows: Array | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    def row(self, index: int) -> int:
        """The number of an example in the data that it was split from."""
        return index if self.rows is None else int(self.rows[index])

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
    share, rounded so that together they give the fraction of the whole; but none gives its last example, and the others
    do not make up for that by more than their shares rounded up. Raises InvalidTarget where a target then tells no
    class.
    """
    random = generator(seed, *SPLIT)
    shuffled = random.permutation(len(data))
    chosen = np.zeros(len(data), bool)
    classes = np.zeros(len(data), np.intp)
    if stratify:
        classes = labels(data.targets, "A split with stratify", "Leave stratify out.")
    found, sizes = np.unique(classes, return_counts=True)
    for label, share in zip(found, shares(fraction, sizes), strict=True):
        chosen[shuffled[classes[shuffled] == label][:share]] = True
    if not chosen.any():
        chosen[shuffled[0]] = True
    parts = np.flatnonzero(~chosen), np.flatnonzero(chosen)
    return replace(data.take(parts[0]), rows=parts[0]), replace(data.take(parts[1]), rows=parts[1])


def shares(fraction: float, sizes: Array) -> Array:
    """How many of each class: fraction * size rounded down, and one more where most was cut off, until they are the
    fraction of all, rounded and at least 1, or every class has given one more that can. None gives its last example."""
    wanted = fraction * sizes
    found = np.minimum(np.floor(wanted), sizes - 1).astype(np.intp)
    missing = max(round(fraction * int(sizes.sum())), 1) - int(found.sum())
    most_cut_off = np.argsort(found - wanted, kind="stable")
    able = most_cut_off[(found < sizes - 1)[most_cut_off]]
    found[able[: max(missing, 0)]] += 1
    return found
