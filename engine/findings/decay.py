"""The finding about decay: weights that are pulled to 0 before they can learn."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from engine.clipping import norm
from engine.findings.answers import constant_answer
from engine.findings.case import Case, Finding
from engine.findings.outputs import ChanceLevel
from engine.optimizers import decays_apart
from engine.rules import Array

OUTWEIGHS = 0.5
"""The pull of the decay over that of the loss, in every layer. Where a training has come to rest the two are equal, but
for what one batch says otherwise than all."""
COST = 0.05
"""What usual weights, of a size of 1/sqrt(inputs), cost by a penalty, as a share of all that there is to learn."""
HELD = 0.5
"""Adam and its kin move a weight by the learning rate at most, so that a decay apart from the gradient holds it within
1/weight_decay: the usual size over that."""


@dataclass(frozen=True, slots=True)
class StrongDecay:
    """At chance level, weight decay or a penalty that pulls the weights of every layer to 0 at least half as hard as
    the loss pulls them elsewhere, and by which weights of a usual size would cost 1/20 of all that there is to learn.

    A decay apart from the gradient (of adamw, for instance) is compared with the rest of the step, over the learning
    rate, and must hold weights below twice the usual size. Layers without a gradient are left to dead_relu and others.

    Source: Krogh and Hertz 1991, A simple weight decay can improve generalization.
    """

    code: ClassVar[str] = "strong_decay"
    title: ClassVar[str] = "Decay that outweighs the loss"
    remedy: ClassVar[str] = (
        "Lower weight_decay or the penalty (0.01 and less is usual), and draw weights anew that have come close to 0."
    )

    def find(self, case: Case) -> list[Finding]:
        for name, ratios in decays(case):
            if ratios and min(ratios) >= OUTWEIGHS and ChanceLevel().find(case):
                message = (
                    f"In every layer {name} pulls the weights to 0, at least {min(ratios):.2g} times as hard as the "
                    "loss pulls them elsewhere, and the loss is at chance level: what is learned decays at once."
                )
                norms = [norm([layer.weights]) for layer in case.network.layers]
                evidence = {"ratios": ratios, "weight_norms": norms}
                return [Finding(self.code, "warning", None, message, evidence, self.remedy)]
        return []


def decays(case: Case) -> Iterator[tuple[str, list[float]]]:
    """What draws weights to 0, where it is enough to matter, and its pull over that of the loss, for each layer that is
    pulled by both: through the gradient, and apart from it."""
    optimizer, penalty = case.optimizer, case.regularization
    decay = float(getattr(optimizer, "weight_decay", 0.0))
    if (not decay and penalty is None) or getattr(optimizer, "maximize", False):
        return
    if (constant := constant_answer(case)) is None:
        return
    apart = optimizer is not None and decays_apart(optimizer)
    layers = [(i, layer) for i, layer in enumerate(case.network.layers) if "weights" not in layer.frozen]
    pairs, cost, within = [], 0.0, 0.0 if apart else decay
    for i, layer in layers:
        gradient = case.before.gradients.layers[i].parameters["weights"]
        own = 0.0 * gradient if penalty is None else penalty.gradient(layer.weights)
        pairs.append((own + within * layer.weights, gradient - own))
        inputs, units = layer.weights.shape
        l1, l2 = (0.0, within) if penalty is None else (penalty.l1, penalty.l2 + within)
        cost += units * (l1 * math.sqrt(inputs) + l2 / 2)
    if cost > 0 and cost >= COST * (constant.loss - constant.ideal):
        name = "weight decay" if penalty is None else "the penalty" + (" with weight decay" if within else "")
        yield name, ratios(pairs)
    if apart and case.taken is not None and optimizer is not None and optimizer.learning_rate > 0:
        pairs = []
        for i, layer in layers:
            step = (layer.weights - case.taken.network.layers[i].weights) / optimizer.learning_rate
            pairs.append((decay * layer.weights, step - decay * layer.weights))
        if all(decay >= HELD * math.sqrt(len(layer.weights)) for _, layer in layers):
            yield "weight decay", ratios(pairs)


def ratios(pairs: list[tuple[Array, Array]]) -> list[float]:
    """|first| / |second| of each pair, where neither is 0 and the ratio is a number."""
    norms = [(norm([first]), norm([second])) for first, second in pairs]
    return [a / b for a, b in norms if a > 0 and b > 0 and math.isfinite(a / b)]
