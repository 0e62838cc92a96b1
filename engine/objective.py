"""What is differentiated: a loss of the outputs, or the product of the outputs with a given vector."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from engine.losses import Loss
from engine.network import LayerTrace, Network
from engine.probability_losses import LossOfProbabilities
from engine.reduction import example_losses, prepare_targets, reduce, row_scales
from engine.rules import Array


class Evaluation(NamedTuple):
    """An objective's value and its derivatives, with every row still unscaled.

    `scales` `[batch]` carries reduction and weights: the objective is the sum of the rows' losses times `scales`.
    `own_scales` are those that each row would have if it were the only one in its batch.
    """

    loss: Any
    example_losses: Array | None
    scales: Array
    own_scales: Array
    output_gradients: Array
    preactivation_gradients: Array | None


@dataclass(frozen=True, slots=True)
class LossObjective:
    """A loss of the outputs against targets: `[batch, outputs]`, or `[batch]` class labels."""

    loss: Loss
    targets: Array
    sample_weights: Array | None = None

    def evaluate(self, network: Network, trace: list[LayerTrace]) -> Evaluation:
        """Where the loss combines with the last activation, both are taken together on the logits."""
        loss = self.loss
        activation = network.layers[-1].activation
        _, z, a = trace[-1]
        targets = prepare_targets(loss, self.targets, a.shape, a.dtype)
        by_preactivations = None
        if isinstance(loss, LossOfProbabilities) and not loss.from_logits and activation.kind in loss.combines_with:
            sign = loss.combines_with[activation.kind]
            by_outputs = loss.probability_gradient(a, targets)
            loss, y = loss.on_logits(), z if sign == 1 else -z
            loss.check(y, targets)
            by_logits = loss.logit_gradient(y, a, targets)
            by_preactivations = by_logits if sign == 1 else -by_logits
        else:
            loss.check(a, targets)
            y, by_outputs = a, loss.gradient(a, targets)
        values = loss.values(y, targets)
        scales = row_scales(loss, targets, self.sample_weights, values)
        plain = loss.unweighted()
        own = values if plain is loss else plain.values(y, targets)
        return Evaluation(
            reduce(values, scales),
            example_losses(loss, own),
            scales,
            self._own_scales(values, targets),
            by_outputs,
            by_preactivations,
        )

    def _own_scales(self, values: Array, targets: Array) -> Array:
        """In a mean of one, an example's weight cancels; in a sum it stays."""
        ones = np.ones(len(values), values.dtype)
        if self.loss.reduction == "sum":
            return ones if self.sample_weights is None else self.sample_weights
        divisors = self.loss.row_weights(targets)
        if divisors is not None:
            ones = np.divide(1, divisors, out=np.zeros_like(ones), where=divisors > 0)
        return ones / values.shape[1] if values.ndim == 2 and self.loss.reduction == "mean" else ones


@dataclass(frozen=True, slots=True)
class VectorObjective:
    """The product of the outputs with a constant `[batch, outputs]`: its gradients are vector-Jacobian products."""

    output_gradients: Array

    def evaluate(self, network: Network, trace: list[LayerTrace]) -> Evaluation:
        ones = np.ones(len(self.output_gradients), self.output_gradients.dtype)
        return Evaluation(None, None, ones, ones, self.output_gradients, None)


Objective = LossObjective | VectorObjective
