"""Findings about outputs, targets and loss."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from engine.clipping import root_mean_square
from engine.findings.answers import REGRESSION, constant_answer, of_class_logits, wished
from engine.findings.case import Case, Finding, deviations
from engine.probability_losses import SOFTMAX
from engine.rules import Array
from engine.wording import plural

EXAMPLES = 8
"""With fewer examples the best constant answer is fitted too closely to compare with."""
AS_GOOD = 0.98
"""Less than 2% below the loss of a constant answer is no better than it."""
SAME = 1e-4
"""Outputs that vary by less than this share of their size, from example to example, are one answer, unless the targets
vary as little: 1e6 + x is no constant where it is what the targets are."""
CLEAR = 0.01
"""How far the least loss in reach must lie above the ideal one, relatively, to be told."""
NOTHING = 1e-9
"""A loss below this share of 1 for each example is 0, but for rounding and for logits that end at 700."""

UNEQUAL = 1e-3
"""Targets that add up to 1 but for this were rounded."""
SEVERAL = (
    "Where an example may have several labels or none, end the network in sigmoid and use binary_cross_entropy; where "
    "it has one, make its targets add up to 1. Outputs that are not probabilities end in identity."
)
"""The remedy for targets that do not add up to 1."""


@dataclass(frozen=True, slots=True)
class UnreachableLoss:
    """A loss that stays above its minimum whatever the weights, since the last activation cannot give what it asks for.

    Logits between 0 and 1 (a softmax or sigmoid layer before a loss with from_logits) never make a certain
    probability: the cross-entropy of C classes stays above log(1 + (C - 1) / e). With label smoothing the minimum is
    the entropy of the smoothed targets. A hinge loss asks for outputs of -1 and less, which a sigmoid has none of. A
    loss of log-probabilities asks for numbers up to 0.

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
        kind, (low, high) = case.network.layers[-1].activation.kind, case.shapes[-1][:2]
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
        if (low, high) == (-math.inf, math.inf):
            return []
        wanted, nearest = wished(loss, t), wished(loss, t, low, high)
        if wanted is None or nearest is None:
            return []
        ideal, lowest = (case.reduced(loss.values(y, t)) for y in (wanted, nearest))
        one = case.reduced(np.ones_like(loss.values(wanted, t)))
        if abs(ideal) < NOTHING * one:
            ideal = 0.0
        if not lowest - ideal > CLEAR * max(one, abs(ideal)):
            return []
        message = (
            f"{kind} gives numbers from {low:g} to {high:g}, and with those {loss.kind}"
            f"{' of logits' if getattr(loss, 'from_logits', False) else ''} cannot get below {lowest:.4g} on these "
            f"targets, where {ideal:.4g} would be its minimum."
        )
        evidence = {**own, "lowest_loss": lowest, "ideal_loss": ideal}
        return [Finding(self.code, "warning", at_last, message, evidence, self.remedy)]


def finite(bound: float) -> float | None:
    """A bound as evidence: null where there is none, since JSON has no infinity."""
    return bound if math.isfinite(bound) else None


@dataclass(frozen=True, slots=True)
class UnnormalizedOutputs:
    """A cross-entropy of classes on outputs that need not add up to 1: raising all of them lowers it.

    A single output is among them: an example whose target is 0 then counts nothing.

    Source: -sum_c t_c log(y_c) is the negative log-likelihood only where the y_c are one distribution.
    """

    code: ClassVar[str] = "unnormalized_outputs"
    title: ClassVar[str] = "Class probabilities that do not add up to 1"
    remedy: ClassVar[str] = (
        "End the network in softmax (or in identity, with from_logits true); for a single output, and for classes that "
        "do not exclude each other, keep sigmoid and use binary_cross_entropy."
    )

    def find(self, case: Case) -> list[Finding]:
        if case.objective is None:
            return []
        loss, kind = case.objective.loss, case.network.layers[-1].activation.kind
        if loss.kind not in ("cross_entropy", "focal") or loss.from_logits or kind in SOFTMAX:
            return []
        sums = case.outputs.sum(axis=1)
        message = (
            f"{loss.kind} takes the probabilities of classes that exclude each other, and the outputs of {kind} add up "
            f"to {sums.mean():.3g} on average: the loss falls as all outputs rise to 1, whatever the class."
        )
        if case.outputs.shape[1] == 1:
            message = (
                f"{loss.kind} takes the probabilities of all classes, and here is a single output: only examples whose "
                "target is above 0 count, and the loss falls as the output rises to 1 for all of them."
            )
        evidence = {"mean_sum": float(sums.mean()), "least_sum": float(sums.min()), "largest_sum": float(sums.max())}
        return [Finding(self.code, "warning", len(case.network.layers) - 1, message, evidence, self.remedy)]


@dataclass(frozen=True, slots=True)
class TargetsOutOfRange:
    """Targets that the last activation never gives, such as a target of 3 for a sigmoid or of -1 for relu.

    The ends of a range count as within it: they are approached. Outputs of softmax add up to 1: so must the targets
    of an example. With a cross-entropy of classes that is an info, since it may count each of several labels.

    Source: the range of the activation.
    """

    code: ClassVar[str] = "targets_out_of_range"
    title: ClassVar[str] = "Targets outside the range of the last activation"
    remedy: ClassVar[str] = "End the network in an identity layer, or scale the targets into the activation's range."

    def find(self, case: Case) -> list[Finding]:
        if case.objective is None or case.targets is None:
            return []
        loss, t, (low, high) = case.objective.loss, case.targets, case.shapes[-1][:2]
        outside = (t < low) | (t > high)
        if loss.kind not in REGRESSION or not outside.any():
            return self.sums(case, loss, t.astype(np.float64).sum(axis=1))
        distance = np.maximum(low - t, t - high)
        i, j = (int(k) for k in np.unravel_index(int(distance.argmax()), t.shape))
        kind = case.network.layers[-1].activation.kind
        message = (
            f"{int(outside.sum())} of {t.size} targets {'lies' if outside.sum() == 1 else 'lie'} outside what {kind} "
            f"can give ({low:g} to {high:g}), such as {float(t[i, j]):.4g} for output {j} of example {case.rows[i]}."
        )
        evidence = {
            "count": int(outside.sum()),
            "of": t.size,
            "range": [finite(low), finite(high)],
            "worst": {"index": [int(case.rows[i]), j], "target": float(t[i, j])},
        }
        return [Finding(self.code, "warning", len(case.network.layers) - 1, message, evidence, self.remedy)]

    def sums(self, case: Case, loss: Any, sums: Array) -> list[Finding]:
        """Of targets that do not add up to 1 for each example, where the outputs do."""
        kind = case.network.layers[-1].activation.kind
        counts = loss.kind in ("cross_entropy", "focal")
        softmax = of_class_logits(loss) if getattr(loss, "from_logits", False) else kind in SOFTMAX
        outside = np.abs(sums - 1) > UNEQUAL
        if not (softmax and outside.any() and (counts or loss.kind in {*REGRESSION, "binary_cross_entropy"})):
            return []
        worst = int(np.abs(sums - 1).argmax())
        message = (
            f"{kind if kind in SOFTMAX else 'The softmax of this loss'} gives outputs that add up to 1, and the "
            f"targets of {int(outside.sum())} of {plural(len(sums), 'example')} do not: those of example "
            f"{case.rows[worst]} add up to {sums[worst]:.4g}."
        )
        evidence = {
            "count": int(outside.sum()),
            "of": len(sums),
            "worst": {"index": [int(case.rows[worst])], "sum": float(sums[worst])},
        }
        at_last = len(case.network.layers) - 1
        return [Finding(self.code, "info" if counts else "warning", at_last, message, evidence, SEVERAL)]


@dataclass(frozen=True, slots=True)
class CollapsedOutputs:
    """One answer for all examples, although inputs and targets differ: std over the batch below 1/10,000 of the size
    of the outputs, and of the std of the targets.

    Logits of classes are looked at less their mean over the row, which softmax does not see. A last layer whose weights
    are all 0 is an info: some start it so, and its weights do get gradients.

    Source: the standard deviation of each output over the batch, beside the root mean square of all outputs.
    """

    code: ClassVar[str] = "collapsed_outputs"
    title: ClassVar[str] = "The same outputs for every example"
    remedy: ClassVar[str] = (
        "Look for the first layer whose activations do not vary (`layers`): dead or saturated units there, weights of "
        "0, softmax of a single unit (take sigmoid), or a learning rate that was too large. A last layer of zeros "
        "before training needs nothing."
    )

    def find(self, case: Case) -> list[Finding]:
        t = case.targets
        if case.objective is None or t is None or len(t) < 4 or not (differ(t) and differ(case.trace[0].inputs)):
            return []
        y = case.outputs.astype(np.float64)
        if of_class_logits(case.objective.loss):
            y -= y.mean(axis=1, keepdims=True)
        size, own, wanted = root_mean_square(y), deviations(y), deviations(t)
        least = SAME * np.where(wanted > 0, np.minimum(wanted, size), size)
        rounding = 4 * np.finfo(case.outputs.dtype).eps * root_mean_square(case.outputs)
        if (own > np.maximum(least, rounding)).any():
            return []
        # The spread of each layer's activations from example to example, beside their size.
        activations = [a for _, _, a in case.trace[:-1]] + [y]
        layers = [float(deviations(a).max() / (root_mean_square(a) or 1.0)) for a in activations]
        first = next((i for i, s in enumerate(layers) if s <= SAME), len(layers) - 1)
        zeros = first == len(layers) - 1 and not case.network.layers[-1].weights.any()
        kind = "softmax" if of_class_logits(case.objective.loss) else case.network.layers[-1].activation.kind
        of_one = y.shape[1] == 1 and kind in {*SOFTMAX, "log_softmax"}
        single = f", since {kind} of a single unit is always the same" if of_one else ""
        message = (
            f"All {len(y)} examples get the same outputs (they vary by {layers[-1]:.2g} of their size), while their "
            f"targets differ; the activations stop varying in layer {first}"
            f"{', whose weights are all 0' if zeros else ''}{single}."
        )
        outputs = case.outputs[0][:20].tolist()
        evidence = {"relative_spread": layers[-1], "spread_by_layer": layers, "outputs": outputs}
        return [Finding(self.code, "info" if zeros else "warning", first, message, evidence, self.remedy)]


def differ(rows: Array) -> bool:
    """Whether any row differs from the first."""
    return bool((rows != rows[:1]).any())


@dataclass(frozen=True, slots=True)
class ChanceLevel:
    """A loss hardly better than that of the best constant answer that the last activation can give: the frequencies of
    the classes (of a softmax those of all labels together, where examples have several), or the targets' mean.

    Sample weights, class weights and label smoothing count, as they do in the loss. A network that has not been
    trained is expected to be here; one that has been is not.

    Source: the entropy of the targets, for cross-entropies; their variance, for squared errors.
    """

    code: ClassVar[str] = "chance_level"
    title: ClassVar[str] = "Outputs at chance level"
    remedy: ClassVar[str] = (
        "Nothing before training. After it: look at the other findings, train longer, check that inputs and targets "
        "belong together."
    )

    def find(self, case: Case) -> list[Finding]:
        if case.targets is None or len(case.targets) < EXAMPLES or not differ(case.targets):
            return []
        constant = constant_answer(case)
        if constant is None:
            return []
        here, level = float(case.before.evaluation.loss), constant.loss
        if not (constant.ideal < level < math.inf and here >= AS_GOOD * level):
            return []
        better = "hardly better" if here < level else "no better"
        message = (
            f"The loss of {here:.4g} is {better} than always answering the {constant.of}, which gives {level:.4g}."
        )
        evidence = {"loss": here, "chance_loss": level, "constant_answer": constant.answer[:20].tolist()}
        return [Finding(self.code, "info", len(case.network.layers) - 1, message, evidence, self.remedy)]
