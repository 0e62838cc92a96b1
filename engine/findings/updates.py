"""Findings about the step that the optimizer takes."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from engine.findings.case import Case, Finding

USUAL = 1e-3
"""What an update is of its weights, roughly, where training goes well. Source: Karpathy, notes on CS231n, "Ratio of
weights:updates"."""
LARGE = 250 * USUAL
"""Small networks train well with more than is usual: Adam's first steps are its learning rate for every weight."""
SMALL = USUAL / 1000
RISE = 0.01
"""A rise of the loss by less than this share may be the noise of a training that has arrived."""


@dataclass(frozen=True, slots=True)
class LargeLearningRate:
    """The loss after the optimizer's step is higher than before, on the very examples that the step was taken for.

    Along its own direction a small enough step lowers the loss by the slope times its length; where the loss goes up
    the step has passed the far side of the valley. `best_factor` is the multiple of the step with the least loss.

    Source: Armijo 1966, doi:10.2140/pjm.1966.16.1 (sufficient decrease).
    """

    code: ClassVar[str] = "large_learning_rate"
    title: ClassVar[str] = "A step so long that the loss goes up"
    remedy: ClassVar[str] = "Lower the learning rate, or let a schedule do so (warmup, decay); see loss_slices."

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
        message = f"With a learning rate of {rate:g} the loss goes from {before:.4g} to {ends} in one step; {hint}."
        return [Finding(self.code, "warning", None, message, evidence, self.remedy)]


@dataclass(frozen=True, slots=True)
class LargeUpdates:
    """A step that changes a weight matrix by more than a quarter of its size: |W' - W| / |W|, Euclidean norms.

    Source: Karpathy, notes on CS231n: about 1/1000 is usual.
    """

    code: ClassVar[str] = "large_updates"
    title: ClassVar[str] = "Updates that are large beside the weights"
    remedy: ClassVar[str] = "Lower the learning rate, or clip the gradients; about 1/1000 of the weights is usual."

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
    """A step that changes a weight matrix by less than a millionth of its size, while it has a gradient.

    Source: Karpathy, notes on CS231n: about 1/1000 is usual.
    """

    code: ClassVar[str] = "small_updates"
    title: ClassVar[str] = "Updates that are tiny beside the weights"
    remedy: ClassVar[str] = (
        "Raise the learning rate, unless training has arrived; where only the first layers stand still, the gradients "
        "vanish."
    )

    def find(self, case: Case) -> list[Finding]:
        return [
            Finding(
                self.code,
                "info",
                i,
                f"One step changes the weights of layer {i} by {ratio:.1g} of their size, where about 0.001 is usual.",
                {"update_ratio": ratio, "usual": USUAL},
                self.remedy,
            )
            for i, ratio in enumerate(case.update_ratios)
            if ratio is not None and 0 < ratio < SMALL
        ]
