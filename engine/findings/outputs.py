"""Findings about outputs, targets and loss."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from engine.clipping import root_mean_square
from engine.findings.case import Case, Finding
from engine.rules import Array

REGRESSION = {"mse", "mae", "half_squared_error", "huber", "smooth_l1", "log_cosh"}
SOFTMAX = {"softmax", "softmin"}
EXAMPLES = 8
"""With fewer examples the best constant answer is fitted too closely to compare with."""
AS_GOOD = 0.98
"""Less than 2% below the loss of a constant answer is no better than it."""
SAME = 1e-4
"""Outputs that vary by less than this share of their size, from example to example, are one answer."""
CLEAR = 0.01
"""How far the least loss in reach must lie above the ideal one, relatively, to be told."""
FAR = 700.0
"""A logit in place of infinity: beyond it exp overflows."""


@dataclass(frozen=True, slots=True)
class UnreachableLoss:
    """A loss that stays above its minimum whatever the weights, since the last activation cannot give what it asks for.

    Logits between 0 and 1 (a softmax or sigmoid layer before a loss with from_logits) never make a certain
    probability: the cross-entropy of C classes stays above log(1 + (C - 1) / e). A hinge loss asks for outputs of -1
    and less, which a sigmoid has none of. A loss of log-probabilities asks for numbers up to 0.

    Source: the loss at its own minimizer, held within the activation's range.
    """

    code: ClassVar[str] = "unreachable_loss"
    title: ClassVar[str] = "A loss that the last activation cannot bring down"
    remedy: ClassVar[str] = (
        "Give the loss what it takes: logits from an identity layer with from_logits true, probabilities from softmax "
        "or sigmoid with from_logits false, logarithms of probabilities from log_softmax, hinge losses from identity."
    )

    def find(self, case: Case) -> list[Finding]:
        if case.objective is None or case.targets is None:
            return []
        loss, t = case.objective.loss, case.targets
        kind, (low, high) = case.network.layers[-1].activation.kind, case.ranges[-1][:2]
        at_last = len(case.network.layers) - 1
        own: dict[str, Any] = {"activation": kind, "range": [finite(low), finite(high)]}
        logarithms = loss.kind == "negative_log_likelihood" or (
            loss.kind == "kl_divergence" and not loss.from_logits and kind not in SOFTMAX
        )
        if logarithms:
            if high <= 0:
                return []
            ends = f"up to {high:g}" if math.isfinite(high) else "of any size"
            message = f"{loss.kind} takes logarithms of probabilities, at most 0, and {kind} gives numbers {ends}."
            return [Finding(self.code, "warning", at_last, message, own, self.remedy)]
        wanted = wished(loss, t)
        if wanted is None or (low, high) == (-math.inf, math.inf):
            return []
        plain = loss.unweighted()
        nearest = shifted(loss, wanted, min(high, FAR))
        lowest, ideal = (float(np.mean(plain.values(y, t))) for y in (np.clip(nearest, low, high), wanted))
        if not lowest - ideal > CLEAR * max(1.0, abs(ideal)):
            return []
        message = (
            f"{kind} gives numbers from {low:g} to {high:g}, and with those {loss.kind}"
            f"{' of logits' if getattr(loss, 'from_logits', False) else ''} cannot get below {lowest:.4g} on these "
            f"targets, where {max(ideal, 0):.4g} would be its minimum."
        )
        evidence = {**own, "lowest_loss": lowest, "ideal_loss": ideal}
        return [Finding(self.code, "warning", at_last, message, evidence, self.remedy)]


def wished(loss: Any, t: Array) -> Array | None:
    """The outputs that make the loss least, where they are logits or margins."""
    if getattr(loss, "from_logits", False):
        with np.errstate(divide="ignore"):
            if loss.kind == "binary_cross_entropy":
                return np.clip(np.log(t) - np.log1p(-t), -FAR, FAR)
            if loss.kind in ("cross_entropy", "focal"):
                return np.clip(np.log(t) - np.log(t.max(axis=1, keepdims=True)), -FAR, 0)
    if loss.kind in ("hinge", "squared_hinge"):
        return np.where(t == 1, 1.0, -1.0)
    if loss.kind in ("multi_margin", "categorical_hinge"):
        return np.where(t > 0, FAR, -FAR)
    return None


def shifted(loss: Any, wanted: Array, high: float) -> Array:
    """A softmax ignores a shift of all logits: what is wanted, with the largest at the end of the range."""
    return wanted + high if loss.kind in ("cross_entropy", "focal") else wanted


def finite(bound: float) -> float | None:
    return bound if math.isfinite(bound) else None


@dataclass(frozen=True, slots=True)
class UnnormalizedOutputs:
    """A cross-entropy of classes on outputs that need not add up to 1: raising all of them lowers it.

    Source: -sum_c t_c log(y_c) is the negative log-likelihood only where the y_c are one distribution.
    """

    code: ClassVar[str] = "unnormalized_outputs"
    title: ClassVar[str] = "Class probabilities that do not add up to 1"
    remedy: ClassVar[str] = (
        "End the network in softmax (or in identity, with from_logits true); for classes that do not exclude each "
        "other keep sigmoid and use binary_cross_entropy."
    )

    def find(self, case: Case) -> list[Finding]:
        if case.objective is None or case.outputs.shape[1] < 2:
            return []
        loss, kind = case.objective.loss, case.network.layers[-1].activation.kind
        if loss.kind not in ("cross_entropy", "focal") or loss.from_logits or kind in SOFTMAX:
            return []
        sums = case.outputs.sum(axis=1)
        message = (
            f"{loss.kind} takes the probabilities of classes that exclude each other, and the outputs of {kind} add up "
            f"to {sums.mean():.3g} on average: the loss falls as all outputs rise to 1, whatever the class."
        )
        evidence = {"mean_sum": float(sums.mean()), "least_sum": float(sums.min()), "largest_sum": float(sums.max())}
        return [Finding(self.code, "warning", len(case.network.layers) - 1, message, evidence, self.remedy)]


@dataclass(frozen=True, slots=True)
class TargetsOutOfRange:
    """Targets that the last activation never gives, such as a target of 3 for a sigmoid or of -1 for relu.

    The ends of a range count as within it: they are approached.

    Source: the range of the activation.
    """

    code: ClassVar[str] = "targets_out_of_range"
    title: ClassVar[str] = "Targets outside the range of the last activation"
    remedy: ClassVar[str] = "End the network in an identity layer, or scale the targets into the activation's range."

    def find(self, case: Case) -> list[Finding]:
        if case.objective is None or case.targets is None or case.objective.loss.kind not in REGRESSION:
            return []
        t, (low, high) = case.targets, case.ranges[-1][:2]
        outside = (t < low) | (t > high)
        if not outside.any():
            return []
        distance = np.maximum(low - t, t - high)
        i, j = (int(k) for k in np.unravel_index(int(distance.argmax()), t.shape))
        kind = case.network.layers[-1].activation.kind
        message = (
            f"{int(outside.sum())} of {t.size} targets lie outside what {kind} can give ({low:g} to {high:g}), such as "
            f"{float(t[i, j]):.4g} for output {j} of example {i}."
        )
        evidence = {
            "count": int(outside.sum()),
            "of": t.size,
            "range": [finite(low), finite(high)],
            "worst": {"index": [i, j], "target": float(t[i, j])},
        }
        return [Finding(self.code, "warning", len(case.network.layers) - 1, message, evidence, self.remedy)]


@dataclass(frozen=True, slots=True)
class CollapsedOutputs:
    """One answer for all examples, although inputs and targets differ: std over the batch below size / 10,000.

    Source: the standard deviation of each output over the batch, beside the root mean square of all outputs.
    """

    code: ClassVar[str] = "collapsed_outputs"
    title: ClassVar[str] = "The same outputs for every example"
    remedy: ClassVar[str] = (
        "Look for the first layer whose activations do not vary (`layers`): dead or saturated units there, weights of "
        "0, or a learning rate that was too large."
    )

    def find(self, case: Case) -> list[Finding]:
        y, t = case.outputs.astype(np.float64), case.targets
        if len(y) < 4 or t is None or not (differ(t) and differ(case.inputs)):
            return []
        size = root_mean_square(y)
        largest = float((y / (size or 1.0)).std(axis=0).max())
        if largest > SAME:
            return []
        # The spread of each layer's activations from example to example, beside their size.
        layers = [
            float((a / (root_mean_square(a) or 1.0)).astype(np.float64).std(axis=0).max())
            for _, _, a in case.before.trace
        ]
        first = next((i for i, s in enumerate(layers) if s <= SAME), len(layers) - 1)
        message = (
            f"All {len(y)} examples get the same outputs (they vary by {largest:.2g} of their size), while their "
            f"targets differ; the activations stop varying in layer {first}."
        )
        evidence = {"relative_spread": largest, "spread_by_layer": layers, "outputs": y[0][:20].tolist()}
        return [Finding(self.code, "warning", first, message, evidence, self.remedy)]


def differ(rows: Array) -> bool:
    return bool((rows != rows[:1]).any())


@dataclass(frozen=True, slots=True)
class ChanceLevel:
    """A loss no better than that of the best constant answer: the classes' frequencies, or the targets' mean.

    A network that has not been trained is expected to be here; one that has been is not.

    Source: the entropy of the targets, for cross-entropies; their variance, for squared errors.
    """

    code: ClassVar[str] = "chance_level"
    title: ClassVar[str] = "Outputs at chance level"
    remedy: ClassVar[str] = (
        "Nothing before training. After it: look at the other findings, train longer, check that inputs and targets "
        "belong together."
    )

    def find(self, case: Case) -> list[Finding]:
        if case.objective is None or case.targets is None or len(case.inputs) < EXAMPLES or not differ(case.targets):
            return []
        loss, t = case.objective.loss.unweighted(), case.targets
        own = case.before.evaluation.example_losses
        constant = constant_answer(loss, t)
        if constant is None or own is None:
            return []
        chance = loss.values(np.broadcast_to(constant, t.shape), t)
        level = float(np.mean(chance if chance.ndim == 1 or loss.reduction == "mean" else chance.sum(axis=1)))
        here = float(np.mean(own))
        if not (math.isfinite(level) and here >= AS_GOOD * level):
            return []
        what = "mean of the targets" if loss.kind in REGRESSION else "frequencies of the classes"
        message = f"The loss of {here:.4g} is no better than always answering the {what}, which gives {level:.4g}."
        evidence = {"loss": here, "chance_loss": level, "constant_answer": constant[:20].tolist()}
        return [Finding(self.code, "info", len(case.network.layers) - 1, message, evidence, self.remedy)]


def constant_answer(loss: Any, t: Array) -> Array | None:
    """The outputs `[outputs]` that make the loss least, or nearly, if every example gets the same."""
    mean = t.mean(axis=0)
    if loss.kind in REGRESSION:
        return np.median(t, axis=0) if loss.kind == "mae" else mean
    with np.errstate(divide="ignore"):
        if loss.kind == "binary_cross_entropy":
            return np.clip(np.log(mean) - np.log1p(-mean), -FAR, FAR) if loss.from_logits else mean
        if loss.kind == "negative_log_likelihood" or (loss.kind in ("cross_entropy", "focal") and loss.from_logits):
            return np.maximum(np.log(mean), -FAR)
    return mean if loss.kind in ("cross_entropy", "focal") else None
