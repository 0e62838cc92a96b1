"""Mistakes in what the outputs are compared with: smoothed, shifted and missing targets."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from engine.losses import Mse
from engine.mistakes.computation import Case, Computation, Numbers
from engine.mistakes.loss import At, CrossEntropies, SquaredErrors, scaled
from engine.mistakes.output_error import with_error
from engine.objective import LossObjective
from engine.rules import About, Array, column

USUAL_SMOOTHING = 0.1


def compared_as(c: Computation, other: Callable[[Numbers], Numbers], at: str) -> Computation:
    """The computation with the loss, its derivative, or both taken of other numbers."""
    values, by_outputs, combined = c.loss_values, c.output_gradients, c.combined
    if at != "gradients":
        c = c._replace(loss_values=lambda n: values(other(n)))
    if at != "loss":
        c = c._replace(output_gradients=lambda n: by_outputs(other(n)), combined=lambda n: combined(other(n)))
    return c


def _with_targets(case: Case, targets: Array) -> Case:
    assert isinstance(case.objective, LossObjective)
    return replace(case, objective=case.objective._replace(targets=targets))


def with_targets_of(c: Computation, case: Case, targets: Array) -> Computation:
    """The computation with other targets of the network."""
    other = _with_targets(case, targets)

    def compared(n: Numbers) -> Numbers:
        return replace(n, case=other)

    scales, loss_scales = c.scales, c.loss_scales
    c = c._replace(scales=lambda n: scales(compared(n)), loss_scales=lambda n: loss_scales(compared(n)))
    return compared_as(c, compared, "both")


@dataclass(frozen=True, slots=True)
class LabelSmoothingMixedUp:
    """Label smoothing left out, or by 0.1 where none was asked for; or spread over the other classes alone: 1 - s and
    s / (K - 1) in place of 1 - s + s / K and s / K; or added to targets that were not made smaller: 1 + s / K.

    The loss smooths the targets that it is given, and p - t is written with those that were given; 0.1 is what papers
    and training scripts take; and papers differ in whether the target's own class gets a share of what is taken from
    it.

    Source: Szegedy et al. 2015, arXiv:1512.00567, section 7; torch.nn.CrossEntropyLoss, its label_smoothing.
    """

    kind: Literal["label_smoothing_mixed_up"] = "label_smoothing_mixed_up"
    form: Literal["left_out", "other_classes", "added", "not_asked_for"] = "left_out"
    at: At = "both"
    about: ClassVar = About("Label smoothing mixed up", r"t \text{ for } (1 - s) t + s / K")

    def applies(self, case: Case) -> bool:
        loss: Any = case.loss
        smoothing = getattr(loss, "label_smoothing", None)
        if self.form == "not_asked_for":
            return smoothing == 0
        if not smoothing:
            return False
        return self.form == "left_out" or (loss.kind != "binary_cross_entropy" and case.targets.shape[1] > 1)

    def alter(self, c: Computation, case: Case) -> Computation:
        loss: Any = case.loss
        if self.form == "not_asked_for":
            smoothing = replace(loss, label_smoothing=USUAL_SMOOTHING)
            return compared_as(c, lambda n: replace(n, computation=n.computation._replace(loss=smoothing)), self.at)
        s, classes = loss.label_smoothing, case.targets.shape[1]
        t = case.targets
        if self.form != "left_out":
            t = t + s / classes if self.form == "added" else (1 - s) * t + s * (1 - t) / (classes - 1)
        other = _with_targets(case, t)

        def smoothed(n: Numbers) -> Numbers:
            rule: Any = n.computation.loss
            return replace(n, case=other, computation=n.computation._replace(loss=replace(rule, label_smoothing=0.0)))

        return compared_as(c, smoothed, self.at)


@dataclass(frozen=True, slots=True)
class TargetsShifted:
    """The targets of other classes, or of other examples: class k + 1 or k - 1 for k, the next or the previous row's
    targets, the rows from last to first.

    Labels are counted from 1 in one place and from 0 in another; inputs are shifted, shuffled or turned round, and
    targets are not.

    Source: none needed; it is what a confusion matrix with an empty diagonal shows.
    """

    kind: Literal["targets_shifted"] = "targets_shifted"
    to: Literal["next_class", "previous_class", "next_example", "previous_example", "reversed"] = "next_class"
    about: ClassVar = About("Targets shifted", r"t_{n, k \pm 1} \text{ or } t_{n \pm 1, k} \text{ for } t_{n, k}")

    def applies(self, case: Case) -> bool:
        if case.loss is None or (not case.loss.takes_labels and "class" in self.to):
            return False
        least = {"next_class": 1, "previous_class": 1, "next_example": 1}.get(self.to, 2)
        size = case.targets.shape[1] if "class" in self.to else case.batch
        return size > least and not np.array_equal(self._targets(case.targets), case.targets)

    def _targets(self, t: Array) -> Array:
        match self.to:
            case "next_class":
                return np.roll(t, 1, axis=1)
            case "previous_class":
                return np.roll(t, -1, axis=1)
            case "next_example":
                return np.roll(t, -1, axis=0)
            case "previous_example":
                return np.roll(t, 1, axis=0)
        return t[::-1]

    def alter(self, c: Computation, case: Case) -> Computation:
        return with_targets_of(c, case, self._targets(case.targets))


@dataclass(frozen=True, slots=True)
class TargetsBroadcast:
    """Every output compared with the targets of all examples: outputs [N, 1] minus targets [N] is [N, N].

    Arrays of these two shapes are broadcast to a square without an error; the outputs then learn the mean of the
    targets.

    Source: NumPy's broadcasting rules; torch.nn.functional.mse_loss, which warns of it.
    """

    kind: Literal["targets_broadcast"] = "targets_broadcast"
    about: ClassVar = About("Targets broadcast", r"\frac{1}{N^2} \sum_{n, m} (y_n - t_m)^2")

    def applies(self, case: Case) -> bool:
        objective = case.objective
        if not isinstance(objective, LossObjective) or objective.sample_weights is not None:
            return False
        return isinstance(objective.loss, SquaredErrors) and case.batch > 1 and case.targets.shape[1] == 1

    def alter(self, c: Computation, case: Case) -> Computation:
        t, loss = case.targets, case.loss
        factor = 1.0 if isinstance(loss, Mse) else 0.5
        if loss is not None and loss.reduction == "sum":
            factor *= case.batch
        mean, square = t.mean(), (t * t).mean()

        def values(n: Numbers) -> Array:
            errors = factor * (n.a[-1] ** 2 - 2 * n.a[-1] * mean + square)
            return np.array(errors if case.elementwise else errors[:, 0])

        return c._replace(
            loss_values=values,
            output_gradients=lambda n: 2 * factor * (n.a[-1] - mean),
        )


@dataclass(frozen=True, slots=True)
class LabelsAsNumbers:
    """The number of the class subtracted from every output, y - k, in place of the row with a 1 at class k.

    Labels were not made one-hot, and broadcasting hides it. `along` says whether each row's label is subtracted from
    all of its outputs (rows), or the k-th example's label from the k-th output of every row (outputs), which fits where
    there are as many examples as outputs.

    Source: NumPy's broadcasting rules; torch.nn.functional.one_hot.
    """

    kind: Literal["labels_as_numbers"] = "labels_as_numbers"
    along: Literal["rows", "outputs"] = "rows"
    about: ClassVar = About("Labels taken as numbers", r"y_{nj} - k_n \text{ for } y_{nj} - [j = k_n]")

    def applies(self, case: Case) -> bool:
        t, loss = case.targets, case.loss
        if t.shape[1] == 1 or (self.along == "outputs" and len(t) != t.shape[1]):
            return False
        if isinstance(loss, CrossEntropies):
            if not loss.from_logits and not case.is_combined:
                return False
        elif not isinstance(loss, SquaredErrors):
            return False
        # Labels that are all 0 are not subtracted at all, which is another mistake.
        return bool(((t == 0) | (t == 1)).all() and (t.sum(axis=1) == 1).all() and t.argmax(axis=1).any())

    def alter(self, c: Computation, case: Case) -> Computation:
        labels = case.targets.argmax(axis=1)
        numbers = np.broadcast_to(column(labels) if self.along == "rows" else labels, case.targets.shape)
        if isinstance(case.loss, SquaredErrors):
            other = _with_targets(case, numbers.astype(case.targets.dtype))
            return compared_as(c, lambda n: replace(n, case=other), "both")
        return with_error(c, lambda error, n: error + case.targets - numbers)


@dataclass(frozen=True, slots=True)
class ExampleLeftOut:
    """The last or the first example of the batch is missing from the sum; a mean divides by all of them, or by the rest
    (`over`).

    A loop ends one too early, or starts at 1.

    Source: none needed; it is the off-by-one error.
    """

    kind: Literal["example_left_out"] = "example_left_out"
    row: Literal["last", "first"] = "last"
    over: Literal["all", "rest"] = "all"
    at: Literal["both", "gradients"] = "both"
    about: ClassVar = About("An example left out", r"\sum_{n < N} L_n \text{ for } \sum_{n \le N} L_n")

    def applies(self, case: Case) -> bool:
        if case.loss is None or case.batch == 1:
            return False
        return self.over == "all" or case.loss.reduction != "sum"

    def alter(self, c: Computation, case: Case) -> Computation:
        kept = np.ones(case.batch)
        kept[-1 if self.row == "last" else 0] = 0

        def rest(scales: Array) -> Array:
            left: Array = scales * kept
            return left if self.over == "all" else left * (scales.sum() / left.sum())

        scales, loss_scales = c.scales, c.loss_scales
        c = c._replace(scales=lambda n: rest(scales(n)))
        return c if self.at == "gradients" else c._replace(loss_scales=lambda n: rest(loss_scales(n)))


@dataclass(frozen=True, slots=True)
class DividedByBatchLessOne:
    """The sum over the batch divided by N - 1 in place of N.

    The unbiased variance divides so, and its formula is taken for that of any mean.

    Source: numpy.var, its ddof; torch.nn.MSELoss, its reduction.
    """

    kind: Literal["divided_by_batch_less_one"] = "divided_by_batch_less_one"
    at: Literal["both", "gradients", "loss", "parameters"] = "both"
    about: ClassVar = About("Divided by the batch less one", r"\frac{1}{N - 1} \sum_n L_n")

    def applies(self, case: Case) -> bool:
        return case.batch > 1 and case.loss is not None and case.loss.reduction != "sum"

    def alter(self, c: Computation, case: Case) -> Computation:
        return scaled(c, lambda n: case.batch / (case.batch - 1), self.at)
