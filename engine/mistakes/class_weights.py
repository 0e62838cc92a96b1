"""Mistakes in the weights of classes."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from engine.mistakes.computation import Case, Computation, Numbers
from engine.mistakes.loss import At, scaled
from engine.mistakes.output_error import with_error
from engine.mistakes.targets import compared_as
from engine.objective import LossObjective, combination
from engine.probability_losses import CrossEntropy
from engine.reduction import row_scales
from engine.row_activations import softmax
from engine.rules import About, Array, row_sums


@dataclass(frozen=True, slots=True)
class ClassWeightsMixedUp:
    """The weights of classes left out, or not where they belong.

    They reach the loss that is printed, and not its derivative; frameworks differ in what a mean divides by; and p - t
    is the error of a row whose targets add up to 1, which weighted ones do not.

    `form` says how: every class counts the same (left_out); the mean of cross-entropy divides by the number of
    examples, as Keras's does, not by the sum of the labels' weights (divided_by_batch); or the error has them at the
    targets alone, y - w t for w (y - t) of a label (targets_alone).

    Source: torch.nn.CrossEntropyLoss, its weight; keras.Model.fit, its class_weight.
    """

    kind: Literal["class_weights_mixed_up"] = "class_weights_mixed_up"
    form: Literal["left_out", "divided_by_batch", "targets_alone"] = "left_out"
    at: At = "both"
    about: ClassVar = About(
        "Class weights mixed up", r"\frac1N \sum_n w_n L_n \text{ for } \sum_n w_n L_n / \sum_n w_n"
    )

    def applies(self, case: Case) -> bool:
        loss: Any = case.loss
        if getattr(loss, "class_weights", None) is None:
            return False
        match self.form:
            case "divided_by_batch":
                return loss.reduction != "sum" and loss.row_weights(case.targets) is not None
            case "targets_alone":
                together = combination(loss, case.layers[-1].activation.kind)[0] is not None or loss.from_logits
                return self.at == "gradients" and isinstance(loss, CrossEntropy) and together
        return True

    def alter(self, c: Computation, case: Case) -> Computation:
        loss: Any = case.loss
        assert isinstance(case.objective, LossObjective)
        weights, t = case.objective.sample_weights, case.targets
        if self.form == "divided_by_batch":
            return scaled(c, lambda n: np.average(loss.row_weights(t), weights=weights), self.at)
        if self.form == "targets_alone":
            weighted = -loss.probability_gradient(np.ones_like(t), t)

            def changed(error: Array, n: Numbers) -> Array:
                p = softmax(n.a[-1]) if loss.from_logits else n.a[-1]
                return np.asarray(error + p * (1 - row_sums(weighted)))

            return with_error(c, changed)
        plain = loss.unweighted()

        def scales(n: Numbers) -> Array:
            return row_scales(plain, t, weights, n.values.shape, n.values.dtype)

        c = c if self.at == "loss" else c._replace(scales=scales)
        c = c if self.at == "gradients" else c._replace(loss_scales=scales)
        return compared_as(c, lambda n: replace(n, computation=n.computation._replace(loss=plain)), self.at)
