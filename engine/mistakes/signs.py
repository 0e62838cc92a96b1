"""What new parameters tell where a step goes by the sign of the gradient alone, as the first ones of Adam and its kin
nearly do: a wrong number stands where the other sign leads, whatever the mistake was."""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from engine.claims import SMALLEST, Claim
from engine.mistakes.computation import Key, Numbers, layer_keys
from engine.rules import Array

LOG_2 = math.log10(2)
LARGE = 1e4
"""How many times the largest one a gradient is that counts by its sign alone, if anywhere."""
FEWEST_TURNED = 4
"""So many steps are not all reversed by chance."""


class Signs:
    """What the claims of new parameters tell beside the signs of their gradients; `right` is the right computation."""

    def __init__(self, right: Numbers, claims: Mapping[Key, Claim]) -> None:
        self.right, self.claims = right, claims
        self.case, self.truth = right.case, right.answer

    def evidence(self, key: Key, digits: Array, together: bool = False) -> Array:
        """The evidence of these numbers, less what a step tells that goes by the gradient's sign alone: a number that
        some gradient's sign leads to says no more than which of two it is, and a column has no more signs of its own
        than there are examples. All `together` say besides which of the signs are wrong."""
        off = self.off_ways(key)
        if off is None:
            return digits
        beside = np.minimum(digits, np.log10(np.maximum(off / np.maximum(self.claims[key].tolerance, SMALLEST), 1.0)))
        counted, size = digits > beside, digits.size
        if digits.ndim > 1:
            counted = counted & (np.cumsum(counted, axis=0) <= self.case.batch)
            size = min(self.case.batch, len(digits)) * digits.shape[1]
        count = int(counted.sum())
        each = max(choices(size, count) / count, LOG_2) if together and count else LOG_2
        return np.asarray(beside + np.where(counted, np.minimum(digits - beside, each), 0.0))

    def off_ways(self, key: Key) -> Array | None:
        """How far parameters after a step are from where a gradient's sign alone leads; None of other claims."""
        values, ways = self.claims[key].values, self._ways.get(key, [])
        if not ways or values.shape != ways[0].shape:
            return None
        off = np.min([np.abs(values - way) for way in ways], axis=0)
        return np.nan_to_num(off, nan=np.inf)  # where a large gradient is too large

    def are_turned(self, keys: Sequence[Key]) -> bool:
        """Whether every step of these parameters is the reverse of the right one, where only its sign counts."""
        for key in keys:
            if key not in self._ways:
                return False
            up, down, still = self._ways[key]
            right = self.truth[key]
            reverse = np.where(np.abs(right - up) < np.abs(right - down), down, up)
            if not self.claims[key].agrees(np.where(right == still, right, reverse)):
                return False
        return sum(self.claims[key].values.size for key in keys) >= FEWEST_TURNED

    @cached_property
    def _ways(self) -> dict[Key, list[Array]]:
        """Where gradients too large to count lead the parameters after a step, up and down; and where the right step is
        one of the two, where none leads."""
        ways: dict[Key, list[Array]] = {}
        for i, name in self.case.trained:
            key = layer_keys(i).new[name]
            if key in self.claims and key in self.truth:
                right, tolerance = self.truth[key], self.claims[key].tolerance
                large = np.full_like(right, LARGE * max(1.0, np.abs(self.truth[layer_keys(i).by[name]]).max()))
                up, down = (self.right.computation.updated(self.right, i, name, g) for g in (-large, large))
                plain = np.minimum(np.abs(right - up), np.abs(right - down)) <= np.max(tolerance)
                ways[key] = [up, down, np.where(plain, self.case.layers[i].parameters[name], up)]
        return ways


def choices(size: int, count: int) -> float:
    """The logarithm to base 10 of how many sets of so many of `size` numbers there are."""
    # The binomial coefficient itself has a digit for every few numbers.
    return (math.lgamma(size + 1) - math.lgamma(count + 1) - math.lgamma(size - count + 1)) / math.log(10)
