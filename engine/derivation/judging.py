"""What a loss sees of an example, and what each example counts in it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from engine.activations import sigmoid
from engine.derivation.derivation import Worked
from engine.derivation.formulas import Formula, Numbers, Product, elementwise, number
from engine.losses import Loss
from engine.objective import LossObjective, combination
from engine.probability_losses import BinaryCrossEntropy, CrossEntropy, Focal, LossOfProbabilities, smoothed
from engine.reduction import prepare_targets
from engine.row_activations import log_softmax, softmax
from engine.rules import Array, column

MOST_EXAMPLES = 4
"""Of so many examples of a batch at most, what is done alike for each is shown."""
ROUNDINGS = 32
"""Two ways that differ by no more than so many roundings are shown as equal."""


class Judged(NamedTuple):
    """A loss on these outputs. `combined` is the loss on logits where it is taken together with the last activation,
    whose logits are `sign` * z; `values` are before the reduction."""

    loss: Loss
    targets: Array
    combined: LossOfProbabilities | None
    sign: int
    values: Array


def judged(worked: Worked) -> Judged | None:
    """What the loss sees; None where output gradients are given in its place."""
    objective = worked.objective
    if not isinstance(objective, LossObjective):
        return None
    loss = objective.loss
    _, z, a = worked.before.trace[-1]
    targets = prepare_targets(loss, objective.targets, a.shape, a.dtype)
    combined, sign = combination(loss, worked.network.layers[-1].activation.kind)
    values = loss.values(a, targets) if combined is None else combined.values(sign * z, targets)
    return Judged(loss, targets, combined, sign, values)


def agree(one: Any, other: Any, magnitude: Any) -> bool:
    """Whether two ways of computing the same numbers, sums of terms of this magnitude, differ by rounding alone."""
    unit = np.finfo(np.asarray(other).dtype).eps
    return bool((np.abs(one - other) <= ROUNDINGS * unit * magnitude).all())


LOGITS: dict[str, tuple[str, Callable[[Array], Array]]] = {
    "cross_entropy": ("softmax", softmax),
    "binary_cross_entropy": ("sigmoid", sigmoid),
    "focal": ("softmax", softmax),
    "kl_divergence": ("log_softmax", log_softmax),
}
"""What a loss makes probabilities of logits by, or their logarithms."""


def probabilities(loss: Loss, outputs: Array) -> Array | None:
    """What a loss makes of outputs that are logits, the y of its formula; None where the outputs are that."""
    if not (isinstance(loss, LossOfProbabilities) and loss.from_logits):
        return None
    return LOGITS[loss.kind][1](outputs)


def counted_targets(loss: LossOfProbabilities, logits: Array, t: Array) -> Array:
    """What a loss on logits makes of its targets: after smoothing, and times class weights.

    Its derivative by logits is p * sum(t) - t, or w * p - t after sigmoid: at p = 0, minus these targets. For focal and
    kl_divergence that is minus the derivative by the logarithms of the outputs.
    """
    return 0 - loss.logit_gradient(logits, np.zeros_like(logits), t)


def effective_targets(seen: Judged) -> Array | None:
    """The targets of a cross-entropy of classes as it counts them; None for another loss."""
    loss, t = seen.loss, seen.targets
    return counted_targets(loss, t, t) if isinstance(loss, CrossEntropy) else None


def without_smoothing(seen: Judged) -> Judged:
    """The same numbers from targets that label smoothing has moved already, the t of the loss's formula."""
    loss = seen.loss
    if not isinstance(loss, CrossEntropy | BinaryCrossEntropy | Focal) or not loss.label_smoothing:
        return seen
    classes = 2 if isinstance(loss, BinaryCrossEntropy) else seen.targets.shape[1]
    targets = smoothed(seen.targets, loss.label_smoothing, classes)
    plain = replace(loss, label_smoothing=0.0)
    return seen._replace(loss=plain, targets=targets, combined=seen.combined and plain.on_logits())


def scaled(worked: Worked, formula: Formula) -> Formula:
    """Each row times what its example counts in the loss; as it is where that is 1."""
    scales = worked.before.evaluation.scales
    if (scales == 1).all():
        return formula
    if (scales == scales[0]).all():
        return Product((number(scales[0]), formula))
    return elementwise(Numbers(column(scales)), formula)


def name_of_scale(worked: Worked) -> str:
    """What the factor of `scaled` is, in words."""
    scales = worked.before.evaluation.scales
    if (scales == 1).all():
        return ""
    if (scales == scales[0]).all():
        return f" The factor {scales[0]:.6g} in front comes from the reduction of the loss."
    return " The column in front holds what each example counts in the loss."
