"""The penalty on weights."""

from dataclasses import dataclass

import numpy as np

from engine.rules import Array, hyper


@dataclass(frozen=True, slots=True)
class Regularization:
    """l1 * sum|w| + l2/2 * sum(w^2) over weights, not biases; the derivative of |w| at 0 is 0.

    scikit-learn's penalty alpha / (2 batch) * sum(w^2) is l2 = alpha / batch.
    """

    l1: float = hyper(0.0, ge=0.0, description="Weighs the sum of the weights' magnitudes.")
    l2: float = hyper(0.0, ge=0.0, description="Weighs half the sum of the weights' squares.")

    def penalty(self, *weights: Array) -> float:
        """Of one array or of several, added in their order; `sum` would give other bits since Python 3.12."""
        total = 0.0
        for w in weights:
            # A sum that is not asked for may overflow, and 0 times infinity is NaN.
            l1 = self.l1 * float(np.abs(w).sum()) if self.l1 else 0.0
            total += l1 + (0.5 * self.l2 * float(np.vdot(w, w)) if self.l2 else 0.0)
        return total

    def gradient(self, weights: Array) -> Array:
        return self.l1 * np.sign(weights) + self.l2 * weights
