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

    def penalty(self, weights: Array) -> float:
        return float(self.l1 * np.abs(weights).sum() + 0.5 * self.l2 * np.vdot(weights, weights))

    def gradient(self, weights: Array) -> Array:
        return self.l1 * np.sign(weights) + self.l2 * weights
