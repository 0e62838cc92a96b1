"""Mistakes in the loss, its derivative and its average over the batch."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from engine.losses import HalfSquaredError, Mse
from engine.mistakes.computation import Case, Computation, Numbers
from engine.objective import LossObjective
from engine.probability_losses import BinaryCrossEntropy, CrossEntropy, LossOfProbabilities
from engine.reduction import row_scales
from engine.rules import About, Array
from engine.targets import Reduction

SquaredErrors = Mse | HalfSquaredError
CrossEntropies = CrossEntropy | BinaryCrossEntropy
At = Literal["both", "gradients", "loss"]
Everywhere = Literal["both", "gradients", "loss", "parameters", "errors"]


def scaled(c: Computation, factor: Callable[[Numbers], Any], at: str) -> Computation:
    """The computation with the loss, its derivative, or only the parameters' gradients times a factor."""
    if at in ("both", "loss"):
        c = c._replace(loss_scales=_times(c.loss_scales, factor))
    if at in ("both", "gradients", "errors"):
        c = c._replace(scales=_times(c.scales, factor))
    if at in ("parameters", "errors"):
        by_weights, by_bias = c.by_weights, c.by_bias
        power = 1 if at == "parameters" else -1
        c = c._replace(
            by_weights=lambda n, i: by_weights(n, i) * factor(n) ** power,
            by_bias=lambda n, i: by_bias(n, i) * factor(n) ** power,
        )
    return c


def _times(stage: Callable[[Numbers], Array], factor: Callable[[Numbers], Any]) -> Callable[[Numbers], Array]:
    return lambda n: stage(n) * factor(n)


def with_loss(
    c: Computation, values: Callable[[Numbers], Array], by_outputs: Callable[[Numbers], Array], at: str = "both"
) -> Computation:
    """The computation with another loss before the reduction and its derivative by the outputs, which no activation is
    combined with; or with one of the two alone."""
    if at != "gradients":
        c = c._replace(loss_values=values)
    return c if at == "loss" else c._replace(output_gradients=by_outputs, combined=lambda n: None)


def reduced(reduction: Reduction) -> Callable[[Numbers], float]:
    """What another reduction multiplies the loss by."""

    def factor(n: Numbers) -> float:
        objective, key = n.case.objective, (reduction, n.values.shape)
        if key in n.case.known:
            return float(n.case.known[key])
        assert isinstance(objective, LossObjective)
        ours, other = (
            row_scales(
                replace(objective.loss, reduction=r),
                n.case.targets,
                objective.sample_weights,
                n.values.shape,
                n.values.dtype,
            ).sum()
            for r in (objective.loss.reduction, reduction)
        )
        return float(n.case.known.setdefault(key, other / ours))

    return factor


def _reduction(case: Case) -> str | None:
    return None if case.loss is None else case.loss.reduction


@dataclass(frozen=True, slots=True)
class SumInPlaceOfMean:
    """The sum over the batch (and outputs) in place of the mean.

    The loop over the examples adds up, and the division is forgotten; or it is made in the loss alone. `at` says
    where: in the loss and its derivative (both), in one of them, in the parameters' gradients only, or in the errors by
    preactivations and activations while the parameters' gradients are averaged (errors). `over` says whether only the
    division by the batch is missing, while an elementwise loss is still averaged over a row's outputs.

    Source: torch.nn.MSELoss, its reduction.
    """

    kind: Literal["sum_in_place_of_mean"] = "sum_in_place_of_mean"
    at: Everywhere = "both"
    over: Literal["all", "batch"] = "all"
    about: ClassVar = About("Sum in place of mean", r"\sum_n L_n \text{ for } \frac1N \sum_n L_n")

    def applies(self, case: Case) -> bool:
        if self.over == "batch":
            return _reduction(case) == "mean" and case.elementwise and case.batch > 1 and case.targets.shape[1] > 1
        return _reduction(case) in ("mean", "batch_mean")

    def alter(self, c: Computation, case: Case) -> Computation:
        whole = reduced("sum")
        share = 1 / case.targets.shape[1] if self.over == "batch" else 1.0
        return scaled(c, lambda n: share * whole(n), self.at)


@dataclass(frozen=True, slots=True)
class MeanInPlaceOfSum:
    """The mean over the batch, or over all elements, in place of the sum.

    Most libraries average unless told otherwise.

    Source: torch.nn.MSELoss, its reduction.
    """

    kind: Literal["mean_in_place_of_sum"] = "mean_in_place_of_sum"
    at: Everywhere = "both"
    over: Literal["batch", "elements"] = "batch"
    about: ClassVar = About("Mean in place of sum", r"\frac1N \sum_n L_n \text{ for } \sum_n L_n")

    def applies(self, case: Case) -> bool:
        return _reduction(case) == "sum" and (self.over == "batch" or case.elementwise)

    def alter(self, c: Computation, case: Case) -> Computation:
        return scaled(c, reduced("mean" if self.over == "elements" else "batch_mean"), self.at)


@dataclass(frozen=True, slots=True)
class DividedByBatchTwice:
    """The mean over the batch is divided by the batch once more.

    The derivative of a mean carries its 1/N already; an average of the gradients over the batch then divides again.

    Source: torch.nn.MSELoss, its reduction.
    """

    kind: Literal["divided_by_batch_twice"] = "divided_by_batch_twice"
    at: Everywhere = "gradients"
    about: ClassVar = About("Divided by the batch twice", r"\frac{1}{N^2} \sum_n L_n")

    def applies(self, case: Case) -> bool:
        return _reduction(case) in ("mean", "batch_mean")

    def alter(self, c: Computation, case: Case) -> Computation:
        return scaled(c, lambda n: 1 / n.case.batch, self.at)


@dataclass(frozen=True, slots=True)
class DividedByBatchInEveryLayer:
    """The error divided by the batch in every layer that it is passed back to, and so by N^2, N^3 and so on.

    The average over the batch is taken once, in the derivative of the loss; written into the function that every layer
    calls, it is taken again and again.

    Source: Nielsen 2015, Neural Networks and Deep Learning, chapter 2, the algorithm for a mini-batch.
    """

    kind: Literal["divided_by_batch_in_every_layer"] = "divided_by_batch_in_every_layer"
    about: ClassVar = About(
        "Divided by the batch in every layer", r"\frac1N f'(z_l) \frac{\partial L}{\partial z_{l + 1}} W_{l + 1}^\top"
    )

    def applies(self, case: Case) -> bool:
        return case.depth > 1 and case.batch > 1

    def alter(self, c: Computation, case: Case) -> Computation:
        before = c.by_preactivations
        return c.in_layers(range(case.depth - 1), by_preactivations=lambda n, i: before(n, i) / case.batch)


@dataclass(frozen=True, slots=True)
class ElementsInPlaceOfRows:
    """The mean over all elements in place of the mean over the rows: a factor of 1/outputs too much.

    `mean` of an array counts every element, and a loss that sums over a row's outputs is averaged over rows.

    Source: torch.nn.KLDivLoss, whose mean and batchmean differ by it.
    """

    kind: Literal["elements_in_place_of_rows"] = "elements_in_place_of_rows"
    at: Everywhere = "both"
    about: ClassVar = About("Divided by elements in place of rows", r"\frac{1}{N K} \sum \text{ for } \frac1N \sum")

    def applies(self, case: Case) -> bool:
        return _reduction(case) == "batch_mean" or (_reduction(case) == "mean" and not case.elementwise)

    def alter(self, c: Computation, case: Case) -> Computation:
        return scaled(c, lambda n: 1 / n.case.targets.shape[1], self.at)


@dataclass(frozen=True, slots=True)
class RowsInPlaceOfElements:
    """The mean over the rows in place of the mean over all elements: the factor 1/outputs is missing.

    Textbooks sum over a row's outputs and average over the examples; PyTorch's mean counts every element.

    Source: torch.nn.MSELoss, its reduction.
    """

    kind: Literal["rows_in_place_of_elements"] = "rows_in_place_of_elements"
    at: Everywhere = "both"
    about: ClassVar = About("Divided by rows in place of elements", r"\frac1N \sum \text{ for } \frac{1}{N K} \sum")

    def applies(self, case: Case) -> bool:
        return _reduction(case) == "mean" and case.elementwise

    def alter(self, c: Computation, case: Case) -> Computation:
        return scaled(c, reduced("batch_mean"), self.at)


@dataclass(frozen=True, slots=True)
class SampleWeightsLeftOut:
    """The weights of examples left out, of everything or of what a mean divides by.

    The weights reach the loss that is printed, and not its derivative, or neither; or the mean of weighted losses is
    taken as any mean, which divides by the number of examples and not by the sum of their weights.

    Source: torch.nn.CrossEntropyLoss, its weight.
    """

    kind: Literal["sample_weights_left_out"] = "sample_weights_left_out"
    of: Literal["everything", "divisor"] = "everything"
    at: At = "both"
    about: ClassVar = About("Sample weights left out", r"\frac1N \sum_n L_n \text{ for } \sum_n w_n L_n / \sum_n w_n")

    def applies(self, case: Case) -> bool:
        if not isinstance(case.objective, LossObjective) or case.objective.sample_weights is None:
            return False
        return self.of == "everything" or case.objective.loss.reduction != "sum"

    def alter(self, c: Computation, case: Case) -> Computation:
        assert isinstance(case.objective, LossObjective) and case.objective.sample_weights is not None
        if self.of == "divisor":
            mean = case.objective.sample_weights.mean()
            return scaled(c, lambda n: mean, self.at)

        def equal(n: Numbers) -> Array:
            assert c.loss is not None
            return row_scales(c.loss, n.case.targets, None, n.values.shape, n.values.dtype)

        scales = c.scales if self.at == "loss" else equal
        return c._replace(scales=scales, loss_scales=c.loss_scales if self.at == "gradients" else equal)


@dataclass(frozen=True, slots=True)
class SquaredErrorFactor:
    """The factor 2 of the squared error's derivative left out; or put in where the loss carries 1/2.

    Textbooks halve the squared error so that its derivative is y - t; with mse it is 2 (y - t).

    Source: Rumelhart, Hinton and Williams 1986, doi:10.1038/323533a0; torch.nn.MSELoss.
    """

    kind: Literal["squared_error_factor"] = "squared_error_factor"
    at: At = "gradients"
    about: ClassVar = About("Factor 2 of the squared error", r"y - t \text{ for } 2 (y - t), \text{ or the reverse}")

    def applies(self, case: Case) -> bool:
        return isinstance(case.loss, SquaredErrors)

    def alter(self, c: Computation, case: Case) -> Computation:
        factor = 0.5 if isinstance(case.loss, Mse) else 2.0
        return scaled(c, lambda n: factor, self.at)


@dataclass(frozen=True, slots=True)
class LogarithmBase:
    """The logarithm to base 10 or 2 in place of the natural one: the loss is divided by log(base).

    Calculators and spreadsheets call the decimal logarithm log. Mostly the derivative remains that of the natural
    logarithm, so that loss and gradient belong to different functions.

    Source: Goodfellow, Bengio and Courville 2016, Deep Learning, 3.13 (nats and bits).
    """

    kind: Literal["logarithm_base"] = "logarithm_base"
    base: Literal[10, 2] = 10
    at: Literal["loss", "both", "gradients"] = "loss"
    about: ClassVar = About("Logarithm to another base", r"\log_{10} \text{ or } \log_2 \text{ for } \ln")

    def applies(self, case: Case) -> bool:
        return isinstance(case.loss, LossOfProbabilities) or (
            case.loss is not None and case.loss.kind == "negative_log_likelihood"
        )

    def alter(self, c: Computation, case: Case) -> Computation:
        return scaled(c, lambda n: 1 / math.log(self.base), self.at)


def _terms(c: Computation, case: Case, first: float, second: float, at: str) -> Computation:
    """Binary cross-entropy with its two terms, t log y and (1 - t) log(1 - y), each times a factor.

    Value and derivative are linear in the target, so that the first term is t times what the target 1 gives, the
    second (1 - t) times what 0 gives.
    """
    loss = case.loss
    assert isinstance(loss, BinaryCrossEntropy)
    shift = loss.label_smoothing
    t = case.targets * (1 - shift) + shift / 2
    plain = replace(loss, label_smoothing=0.0)
    ones, zeros = np.ones_like(t), np.zeros_like(t)

    def mixed(rule: Callable[[Array], Array]) -> Array:
        return first * t * rule(ones) + second * (1 - t) * rule(zeros)

    def together(n: Numbers) -> Array | None:
        on_logits, _ = n.combined_loss
        if on_logits is None:
            return None
        assert isinstance(on_logits, BinaryCrossEntropy)
        logits = replace(on_logits, label_smoothing=0.0)
        return mixed(lambda target: logits.logit_gradient(n.z[-1], n.a[-1], target))

    if at in ("both", "gradients"):
        c = c._replace(
            output_gradients=lambda n: mixed(lambda target: plain.gradient(n.a[-1], target)),
            combined=together,
        )
    if at in ("both", "loss"):
        c = c._replace(loss_values=lambda n: mixed(lambda target: plain.values(n.a[-1], target)))
    return c


@dataclass(frozen=True, slots=True)
class BinaryTermSign:
    """One of the two terms of binary cross-entropy, t log(y) and (1 - t) log(1 - y), with the wrong sign.

    The derivative of log(1 - y) is -1 / (1 - y): its inner derivative, -1, is what gets lost; or a minus before both
    terms stands before one of them.

    Source: torch.nn.BCELoss.
    """

    kind: Literal["binary_term_sign"] = "binary_term_sign"
    term: Literal["second", "first"] = "second"
    at: Literal["gradients", "both", "loss"] = "gradients"
    about: ClassVar = About("Sign of a term of binary cross-entropy", r"-\frac{t}{y} - \frac{1 - t}{1 - y}")

    def applies(self, case: Case) -> bool:
        return isinstance(case.loss, BinaryCrossEntropy)

    def alter(self, c: Computation, case: Case) -> Computation:
        first, second = (1.0, -1.0) if self.term == "second" else (-1.0, 1.0)
        return _terms(c, case, first, second, self.at)


@dataclass(frozen=True, slots=True)
class CategoricalInPlaceOfBinary:
    """Cross-entropy -t log(y) in place of binary cross-entropy: the term (1 - t) log(1 - y) is missing.

    Both are called cross-entropy. The categorical one needs outputs that add up to 1.

    Source: torch.nn.CrossEntropyLoss and BCELoss.
    """

    kind: Literal["categorical_in_place_of_binary"] = "categorical_in_place_of_binary"
    at: At = "both"
    about: ClassVar = About("Categorical in place of binary cross-entropy", r"-t \log y")

    def applies(self, case: Case) -> bool:
        return isinstance(case.loss, BinaryCrossEntropy)

    def alter(self, c: Computation, case: Case) -> Computation:
        return _terms(c, case, 1.0, 0.0, self.at)


@dataclass(frozen=True, slots=True)
class BinaryInPlaceOfCategorical:
    """Binary cross-entropy, summed over a row's outputs or averaged over them, in place of the categorical one.

    Both are called cross-entropy. The binary one adds the term (1 - t) log(1 - y) for the classes that are not the
    target. `sign` says whether the derivative of that term has the right one.

    Source: torch.nn.BCELoss and CrossEntropyLoss.
    """

    kind: Literal["binary_in_place_of_categorical"] = "binary_in_place_of_categorical"
    at: At = "both"
    over: Literal["sum", "mean"] = "sum"
    sign: Literal["right", "wrong"] = "right"
    about: ClassVar = About(
        "Binary in place of categorical cross-entropy", r"-\sum_c t_c \log y_c + (1 - t_c) \log(1 - y_c)"
    )

    def applies(self, case: Case) -> bool:
        return isinstance(case.loss, CrossEntropy) and (self.sign == "right" or self.at != "loss")

    def alter(self, c: Computation, case: Case) -> Computation:
        loss = case.loss
        assert isinstance(loss, CrossEntropy)
        binary = BinaryCrossEntropy(from_logits=loss.from_logits, label_smoothing=loss.label_smoothing)
        share = 1.0 if self.over == "sum" else 1 / case.targets.shape[1]
        ones, zeros = np.ones_like(case.targets), np.zeros_like(case.targets)

        def gradient(n: Numbers) -> Array:
            if self.sign == "right":
                return share * binary.gradient(n.a[-1], case.targets)
            terms = case.targets * binary.gradient(n.a[-1], ones), (1 - case.targets) * binary.gradient(n.a[-1], zeros)
            return share * (terms[0] - terms[1])

        def values(n: Numbers) -> Array:
            return np.array(share * binary.values(n.a[-1], n.case.targets).sum(axis=1))

        return with_loss(c, values, gradient, self.at)


@dataclass(frozen=True, slots=True)
class CombinedFormAssumed:
    """The last layer's error is y - t, whatever loss and activation there are.

    It is right for softmax with cross-entropy and for sigmoid with binary cross-entropy, and copied from there.

    Source: Bishop 1995, Neural Networks for Pattern Recognition, 6.9 (canonical links).
    """

    kind: Literal["combined_form_assumed"] = "combined_form_assumed"
    at: Literal["preactivations", "outputs"] = "preactivations"
    about: ClassVar = About("y - t taken for any loss", r"\frac{\partial L}{\partial z} = y - t")

    def applies(self, case: Case) -> bool:
        return case.loss is not None

    def alter(self, c: Computation, case: Case) -> Computation:
        def difference(n: Numbers) -> Array:
            return n.a[-1] - n.case.targets

        if self.at == "outputs":
            return c._replace(output_gradients=difference)
        return c._replace(combined=difference)
