"""The loss of a training run: its derivative at each step, its values for many batches at a time."""

import math
from collections.abc import Sequence

import numpy as np

from engine.blocks import BLOCK
from engine.data import Data
from engine.losses import Loss
from engine.network import LayerTrace, Network
from engine.objective import combination
from engine.reduction import example_losses, row_scales
from engine.rules import Array, column


class RunningLoss:
    """A loss on the outputs of a network, combined with its last activation where they do.

    An update needs the derivative alone. The values are for the history; those of small batches are put off until
    there are enough of them to be worth a look.
    """

    def __init__(self, loss: Loss, network: Network, data: Data) -> None:
        """Raises what is wrong with the targets, where that does not depend on the outputs."""
        combined, self.sign = combination(loss, network.layers[-1].activation.kind)
        self.combined = combined
        self.loss: Loss = loss if combined is None else combined
        if combined is not None:
            combined.check(data.targets, data.targets)
        self.elementwise: bool | None = None
        self.reset()

    def reset(self) -> None:
        """Before an epoch."""
        self.pending: list[tuple[Array, Array, Array | None]] = []
        self.pending_bytes = 0
        self.sums: list[float] = []
        self.shares: list[float] = []

    def gradient(self, last: LayerTrace, batch: Data) -> Array:
        """The derivative by the last layer's preactivations where the loss combines with it, by its outputs elsewhere.

        Reduction and weights are in it. Raises what is wrong with outputs and targets.
        """
        _, z, a = last
        targets, combined = batch.targets, self.combined
        if combined is None:
            y = a
            self.loss.check(y, targets)
            gradient = self.loss.gradient(y, targets)
        else:
            y = z if self.sign == 1 else -z
            gradient = combined.logit_gradient(y, a, targets)
            gradient = gradient if self.sign == 1 else -gradient
        self._note(y, batch)
        if self.elementwise is None:
            self.elementwise = self.loss.values(y[:1], targets[:1]).ndim == 2
        shape = y.shape if self.elementwise else y.shape[:1]
        return gradient * column(row_scales(self.loss, targets, batch.weights, shape, y.dtype))

    def _note(self, y: Array, batch: Data) -> None:
        self.shares.append(share(self.loss, batch))
        if y.nbytes >= BLOCK:
            self._add(y, batch.targets, batch.weights)
            return
        self.pending.append((y.copy(), batch.targets, batch.weights))
        self.pending_bytes += y.nbytes
        if self.pending_bytes >= BLOCK:
            self._settle()

    def _settle(self) -> None:
        """Takes the values of the batches that were put off."""
        if self.pending:
            outputs, targets, weights = zip(*self.pending, strict=True)
            together = None if weights[0] is None else np.concatenate(weights)
            self._add(np.concatenate(outputs), np.concatenate(targets), together)
            self.pending, self.pending_bytes = [], 0

    def _add(self, y: Array, t: Array, weights: Array | None) -> None:
        own = example_losses(self.loss, self.loss.values(y, t))
        self.sums.append(float(own.sum() if weights is None else own.dot(weights)))

    def value(self) -> float:
        """The reduced loss of all examples since `reset`, each before its batch's update."""
        self._settle()
        if self.loss.reduction == "sum":
            return total(self.sums)
        weight = total(self.shares)
        return total(self.sums) / weight if weight else 0.0


def total(numbers: Sequence[float]) -> float:
    """Their sum, rounded once; NaN where it is beyond the largest float."""
    try:
        found = math.fsum(numbers)
    except (OverflowError, ValueError):
        return math.nan
    return found if math.isfinite(found) else math.nan


def counts_nothing(loss: Loss, batch: Data) -> bool:
    """Whether the weights of a batch's examples and classes are all 0, so that there is no mean of them."""
    return loss.reduction != "sum" and share(loss, batch) == 0


def share(loss: Loss, batch: Data) -> float:
    """What a batch's mean loss counts in the mean of all: its number of examples, or the sum of their weights."""
    divisors = loss.row_weights(batch.targets)
    if divisors is None:
        return len(batch) if batch.weights is None else float(batch.weights.sum())
    return float(divisors.sum() if batch.weights is None else divisors.dot(batch.weights))
