"""Findings about the step that the optimizer takes."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from engine.clipping import norm
from engine.findings.answers import constant_answer
from engine.findings.case import Case, Finding
from engine.findings.outputs import ChanceLevel

USUAL = 1e-3
"""What an update is of its weights, roughly, where training goes well. Source: Karpathy, notes on CS231n, "Ratio of
weights:updates"."""
LARGE = 250 * USUAL
"""Small networks train well with more than is usual: Adam's first steps are its learning rate for every weight."""
SMALL = USUAL / 1000
RISE = 0.01
"""A rise of the loss by less than this share may be the noise of a training that has arrived."""
NEAR_BOTTOM = 0.05
"""So may a rise to less than this share of the way from the ideal loss to that of the best constant answer, however
many times the loss before: of a regression 95% of the variance is still explained. Adam's first step moves every weight
by the learning rate, at the bottom of the valley too."""


@dataclass(frozen=True, slots=True)
class LargeLearningRate:
    """The loss after the optimizer's step is higher than before, on the very examples that the step was taken for.

    Along its own direction a small enough step lowers the loss by the slope times its length; where the loss goes up
    the step has passed the far side of the valley. `best_factor` is the multiple of the step with the least loss. An
    info where the loss stays within 1/20 of the way from the ideal one to that of the best constant answer.

    A step of which no part lowers the loss by 1% is another matter: no shorter one would do. It is an info where the
    loss rises by less than 1/20 of that way (of itself where no constant answer is known). Mostly momentum, which other
    batches have made, or weight decay outweighs the gradient, and the step leads uphill from its start.

    Source: Armijo 1966, doi:10.2140/pjm.1966.16.1 (sufficient decrease).
    """

    code: ClassVar[str] = "large_learning_rate"
    title: ClassVar[str] = "A step so long that the loss goes up"
    remedy: ClassVar[str] = "Lower the learning rate, or let a schedule do so (warmup, decay); see loss_slices."
    uphill: ClassVar[str] = (
        "Nothing where the loss of whole epochs falls: momentum takes such steps now and then. Where it does not, "
        "lower the learning rate, by which earlier steps have overshot, the momentum, or weight_decay."
    )

    def find(self, case: Case) -> list[Finding]:
        if case.objective is None or case.optimizer is None or getattr(case.optimizer, "maximize", False):
            return []
        before = float(case.before.loss)
        rate = float(case.optimizer.learning_rate)
        if case.taken is None:
            message = f"With a learning rate of {rate:g} the step's numbers overflow."
            evidence: dict[str, Any] = {"loss_before": before, "learning_rate": rate}
            return [Finding(self.code, "warning", None, message, evidence, self.remedy)]
        after = case.loss_at(case.taken.network)
        if not after > before + RISE * abs(before):
            return []
        along = [s for s in case.slices if s.along == "step"]
        positions, losses = (along[0].positions, along[0].losses) if along else ([0.0], [before])
        best = losses.index(min(losses))
        evidence = {
            "loss_before": before,
            **({"loss_after": after} if math.isfinite(after) else {}),
            "learning_rate": rate,
            "best_factor": positions[best],
            "best_loss": losses[best],
        }
        ends = f"{after:.4g}" if math.isfinite(after) else "no finite number"
        hint = f"{positions[best]:g} times this step gives {losses[best]:.4g}" if best else "even 1/8 of it goes up"
        uphill = not best and case.descent >= 0
        if uphill:
            evidence["slope"] = case.descent
            hint = "it leads uphill at any length, since momentum or weight decay outweighs the gradient of this batch"
        message = f"With a learning rate of {rate:g} the loss goes from {before:.4g} to {ends} in one step; {hint}."
        constant = constant_answer(case)
        ideal, span = (0.0, abs(before)) if constant is None else (constant.ideal, constant.loss - constant.ideal)
        vain = losses[best] > before - RISE * abs(before)
        arrived = after - (before if vain else ideal) < NEAR_BOTTOM * span
        remedy = self.uphill if uphill else self.remedy
        return [Finding(self.code, "info" if arrived else "warning", None, message, evidence, remedy)]


@dataclass(frozen=True, slots=True)
class LargeUpdates:
    """A step that changes a weight matrix by more than a quarter of its size: |W' - W| / |W|, Euclidean norms.

    Source: Karpathy, notes on CS231n: about 1/1000 is usual.
    """

    code: ClassVar[str] = "large_updates"
    title: ClassVar[str] = "Updates that are large beside the weights"
    remedy: ClassVar[str] = (
        "Lower the learning rate; about 1/1000 of the weights is usual. With sgd, whose step grows with the gradient, "
        "clipping helps too."
    )

    def find(self, case: Case) -> list[Finding]:
        return [
            Finding(
                self.code,
                "warning",
                i,
                f"One step changes the weights of layer {i} by {100 * ratio:.4g}% of their size; about 0.1% is usual.",
                {"update_ratio": ratio, "usual": USUAL},
                self.remedy,
            )
            for i, ratio in enumerate(case.update_ratios)
            if ratio is not None and ratio > LARGE
        ]


@dataclass(frozen=True, slots=True)
class SmallUpdates:
    """A step that changes a weight matrix by less than a millionth of its size, or not at all, while it has a gradient;
    and a network with an optimizer and nothing to train.

    A warning where every weight matrix stands so still and the loss is at chance level: then nothing has arrived.

    Source: Karpathy, notes on CS231n: about 1/1000 is usual.
    """

    code: ClassVar[str] = "small_updates"
    title: ClassVar[str] = "Updates that are tiny beside the weights"
    remedy: ClassVar[str] = (
        "Raise the learning rate, unless training has arrived, or the limit of gradient_clipping where the gradient "
        "norm is far above it; where only the first layers stand still, the gradients vanish."
    )

    def find(self, case: Case) -> list[Finding]:
        if case.optimizer is not None and not case.before.trainable:
            message = "All parameters of the network are frozen: no step changes anything."
            return [
                Finding(self.code, "info", None, message, {"trainable": 0}, "Take `frozen` from what should learn.")
            ]
        found = []
        still = case.taken is not None and all(ratio is None or ratio < SMALL for ratio in case.update_ratios)
        severity = "warning" if still and ChanceLevel().find(case) else "info"
        for i, ratio in enumerate(case.update_ratios):
            if ratio is None or ratio >= SMALL:
                continue
            if ratio > 0:
                message = f"One step changes the weights of layer {i} by {ratio:.1g} of their size"
            elif norm([case.before.gradients.layers[i].parameters["weights"]]) > 0:
                message = f"One step leaves the weights of layer {i} as they are, to the last digit, despite a gradient"
            else:
                continue
            evidence = {"update_ratio": ratio, "usual": USUAL}
            found.append(Finding(self.code, severity, i, f"{message}; about 0.001 is usual.", evidence, self.remedy))
        return found
