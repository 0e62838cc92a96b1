"""What is differentiated: a loss of the outputs, or the product of the outputs with a given vector."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from engine.activations import Activation
from engine.losses import Loss
from engine.network import LayerTrace, Network
from engine.probability_losses import LossOfProbabilities
from engine.reduction import example_losses, prepare_targets, reduce, row_scales
from engine.rules import Array

FEW_WEIGHTS = 100
"""A loss with more class weights is not remembered after its request, which it would keep a large part of."""


class Evaluation(NamedTuple):
    """An objective's value and its derivatives, with every row still unscaled.

    `scales` `[batch]` carries reduction and weights: the objective is the sum of the rows' losses times `scales`.
    """

    loss: Any
    example_losses: Array | None
    scales: Array
    output_gradients: Array
    preactivation_gradients: Array | None


def combination(loss: Loss, activation: str) -> tuple[LossOfProbabilities | None, int]:
    """The loss on logits and their sign, where the loss combines with an activation; (None, 1) elsewhere."""
    weights = getattr(loss, "class_weights", None)
    if weights is None or len(weights) <= FEW_WEIGHTS:
        return _remembered_combination(loss, activation)
    return _combination(loss, activation)


def _combination(loss: Loss, activation: str) -> tuple[LossOfProbabilities | None, int]:
    if isinstance(loss, LossOfProbabilities) and not loss.from_logits and activation in loss.combines_with:
        return loss.on_logits(), loss.combines_with[activation]
    return None, 1


_remembered_combination = lru_cache(maxsize=256)(_combination)


class LossObjective(NamedTuple):
    """A loss of the outputs against targets: `[batch, outputs]`, or `[batch]` class labels."""

    loss: Loss
    targets: Array
    sample_weights: Array | None = None

    def evaluate(self, activation: Activation, z: Array, a: Array) -> Evaluation:
        """The objective on what the last layer's activation made of its z. Where the loss combines with that
        activation, both are taken together on the logits."""
        loss = self.loss
        targets = prepare_targets(loss, self.targets, a.shape, a.dtype)
        on_logits, sign = combination(loss, activation.kind)
        if on_logits is None:
            loss.check(a, targets)
            y, by_outputs, by_preactivations = a, loss.gradient(a, targets), None
        else:
            on_logits.check(z, targets)
            y = z if sign == 1 else -z
            by_logits = on_logits.logit_gradient(y, a, targets)
            by_preactivations = by_logits if sign == 1 else -by_logits
            by_outputs = on_logits.probability_gradient(a, targets)
            loss = on_logits
        values = loss.values(y, targets)
        scales = row_scales(loss, targets, self.sample_weights, values.shape, values.dtype)
        plain = loss.unweighted()
        own = example_losses(loss, values if plain is loss else plain.values(y, targets))
        return Evaluation(reduce(values, scales), own, scales, by_outputs, by_preactivations)

    def own_scales(self, outputs: Array) -> Array:
        """The scales that each row would have if it were the only one in its batch.

        In a mean of one, an example's weight cancels; in a sum it stays.
        """
        loss = self.loss
        scales = np.ones(len(outputs), outputs.dtype)
        if loss.reduction == "sum":
            return scales if self.sample_weights is None else self.sample_weights
        targets = prepare_targets(loss, self.targets, outputs.shape, outputs.dtype)
        # Alone, a label counts its class weight in the mean, beside rows of probabilities too.
        labels = ((targets == 0) | (targets == 1)).all(axis=1) & (targets.sum(axis=1) == 1)
        divisors = loss.row_weights(targets[labels])
        if divisors is not None:
            scales[labels] = np.divide(1, divisors, out=np.zeros_like(divisors), where=divisors > 0)
        elementwise = loss.values(outputs[:1], targets[:1]).ndim == 2
        return scales / outputs.shape[1] if elementwise and loss.reduction == "mean" else scales


class VectorObjective(NamedTuple):
    """The product of the outputs with a constant `[batch, outputs]`: its gradients are vector-Jacobian products."""

    output_gradients: Array

    def evaluate(self, activation: Activation, z: Array, a: Array) -> Evaluation:
        ones = np.ones(len(self.output_gradients), self.output_gradients.dtype)
        return Evaluation(None, None, ones, self.output_gradients, None)

    def own_scales(self, outputs: Array) -> Array:
        return np.ones(len(outputs), outputs.dtype)


Objective = LossObjective | VectorObjective


def evaluated(objective: Objective, network: Network, trace: Sequence[LayerTrace]) -> Evaluation:
    """An objective on the outputs of a forward pass."""
    _, z, a = trace[-1]
    return objective.evaluate(network.layers[-1].activation, z, a)
