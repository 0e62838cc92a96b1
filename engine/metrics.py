"""The metrics: each a frozen dataclass whose `value(outputs, targets, sample_weights)` is scikit-learn's number.

Outputs and targets are `[batch, outputs]`, weights `[batch]` or None for all 1; a metric is computed in float64. For a
classification the class of a row, of targets too, is its largest column (the first of equals, but targets with several
labels in a row are refused); a network with a single output tells class 1 from class 0: an output above `threshold`, a
target above 0.5. Where no threshold is given it is 0.5, which suits a probability; `suited` sets that of a loss.
`higher_is_better` says which way a metric improves.
Callers silence NumPy's floating-point warnings and check that results are finite.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from engine.errors import InvalidTarget, InvalidWeights, NotProbabilities, ShapeMismatch
from engine.losses import Loss
from engine.rules import About, Array, hyper

Average = Literal["micro", "macro", "weighted"] | None
HERE = ("metrics",)
AVERAGE = (
    "null: of class 1 for a single output, macro for several; macro: the mean over the classes that occur; weighted: "
    "the same, each class by how many targets it has; micro: over all classes together."
)


def threshold_of_one_output() -> Any:
    """The hyperparameter threshold."""
    return hyper(
        None,
        strict=True,
        allow_inf_nan=False,
        description="Of a single output: above this the class is 1. null: what suits the loss, 0 where it takes logits "
        "or is a hinge, 0.5 elsewhere.",
    )


def mean(values: Array, weights: Array | None) -> Array:
    """The weighted mean over the batch; raises InvalidWeights where there is none."""
    if weights is None:
        return np.asarray(values.mean(axis=0))
    weights = weights.astype(np.float64)
    total = weights.sum()
    if not 0 < total < np.inf:
        raise InvalidWeights(
            ("sample_weights",),
            "These weights have no finite sum above 0, so there is no mean.",
            expected="a finite sum above 0",
        )
    return np.asarray(weights @ values / total)


def classes(rows: Array, threshold: float | None = None) -> Array:
    """The class of each row `[batch]`: its largest column, or whether a single one is above the threshold (0.5)."""
    if rows.shape[1] > 1:
        return rows.argmax(axis=1)
    return (rows[:, 0] > (0.5 if threshold is None else threshold)).astype(np.intp)


def labels(
    targets: Array, asker: str = "A metric of classes", hint: str = "mse, mae and r2 take all targets."
) -> Array:
    """The class of each row of targets; raises InvalidTarget, with who asks, where one has several, or none."""
    if targets.shape[1] > 1:
        largest = (targets == targets.max(axis=1, keepdims=True)).sum(axis=1)
        wrong = (largest > 1) & ((targets < 0).any(axis=1) | (np.abs(targets.sum(axis=1) - 1) > 1e-6))
        expected = "one largest number, or probabilities"
    else:
        wrong = ((targets < 0) & (targets != -1) | (targets > 1))[:, 0]
        expected = "a number from 0 to 1, or -1"
    if wrong.any():
        row = int(wrong.argmax())
        raise InvalidTarget(
            ("targets", row),
            f"{asker} takes one class for each example, and this target tells none.",
            expected=expected,
            received=f"{largest[row]} largest numbers" if targets.shape[1] > 1 else targets[row, 0].item(),
            hint=hint,
        )
    return classes(targets)


def differences(outputs: Array, targets: Array) -> Array:
    """targets - outputs, in float64."""
    return np.subtract(targets, outputs, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Accuracy:
    """The part of the examples whose class is right.

    Source: sklearn.metrics.accuracy_score.
    """

    kind: Literal["accuracy"] = "accuracy"
    threshold: float | None = threshold_of_one_output()
    higher_is_better: ClassVar[bool] = True
    about: ClassVar = About("Accuracy", r"\frac1n \sum_i [\hat c_i = c_i]")

    def value(self, outputs: Array, targets: Array, sample_weights: Array | None = None) -> float:
        return float(mean(classes(outputs, self.threshold) == labels(targets), sample_weights))


@dataclass(frozen=True, slots=True)
class TopKAccuracy:
    """The part of the examples whose class is among the k largest outputs.

    Of equal outputs the last ranks first, so with k = 1 and ties this is not accuracy. Needs several outputs, at least
    k. k is 2 by default in scikit-learn, 5 in Keras.

    Source: sklearn.metrics.top_k_accuracy_score.
    """

    kind: Literal["top_k_accuracy"] = "top_k_accuracy"
    k: int = hyper(5, ge=1, description="How many of the largest outputs may hold the class.")
    higher_is_better: ClassVar[bool] = True
    about: ClassVar = About("Top-k accuracy", r"\frac1n \sum_i [\operatorname{rank}(y_{i c_i}) \le k]")

    def value(self, outputs: Array, targets: Array, sample_weights: Array | None = None) -> float:
        units = outputs.shape[1]
        if units < max(self.k, 2):
            raise ShapeMismatch(
                HERE,
                f"top_k_accuracy with k = {self.k} needs a network of at least {max(self.k, 2)} outputs.",
                expected=f"at least {max(self.k, 2)} outputs",
                received=units,
                hint="Set a smaller k, or use accuracy.",
            )
        own_class = labels(targets)[:, np.newaxis]
        own = np.take_along_axis(outputs, own_class, axis=1)
        before = (outputs > own) | ((outputs == own) & (np.arange(units) > own_class))
        return float(mean(before.sum(axis=1) < self.k, sample_weights))


class Counts(NamedTuple):
    """How many examples, by weight, each class has among hits, predictions and targets; and whether it occurs."""

    hits: Array
    predicted: Array
    actual: Array
    occurs: Array
    average: Average


def count(outputs: Array, targets: Array, weights: Array | None, threshold: float | None, average: Average) -> Counts:
    """The counts that precision, recall and F1 are ratios of."""
    p, t = classes(outputs, threshold), labels(targets)
    size = max(outputs.shape[1], 2)
    w = np.ones(len(p)) if weights is None else weights.astype(np.float64)
    hits, predicted, actual = (np.bincount(c, v, size) for c, v in ((t, w * (p == t)), (p, w), (t, w)))
    # Like scikit-learn, a class that occurs with weight 0 alone is still a class of the macro average.
    occurs = np.bincount(p, minlength=size) + np.bincount(t, minlength=size) > 0
    return Counts(hits, predicted, actual, occurs, average or (None if outputs.shape[1] == 1 else "macro"))


def ratio(numerators: Array, denominators: Array, counts: Counts) -> float:
    """numerators / denominators of the classes, 0 where there are none, averaged."""
    if counts.average == "micro":
        numerators, denominators = numerators.sum(keepdims=True), denominators.sum(keepdims=True)
    ratios = np.divide(numerators, denominators, out=np.zeros_like(numerators), where=denominators > 0)
    match counts.average:
        case None:
            return float(ratios[1])
        case "micro":
            return float(ratios[0])
        case "macro":
            return float(ratios[counts.occurs].mean())
        case "weighted":
            total = counts.actual.sum()
            return float(ratios @ counts.actual / total) if total > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Precision:
    """hits / predicted, of each class: what part of its predictions are right; 0 where it is never predicted.

    Source: sklearn.metrics.precision_score.
    """

    kind: Literal["precision"] = "precision"
    average: Average = hyper(None, description=AVERAGE)
    threshold: float | None = threshold_of_one_output()
    higher_is_better: ClassVar[bool] = True
    about: ClassVar = About("Precision", r"\frac{TP}{TP + FP}")

    def value(self, outputs: Array, targets: Array, sample_weights: Array | None = None) -> float:
        counts = count(outputs, targets, sample_weights, self.threshold, self.average)
        return ratio(counts.hits, counts.predicted, counts)


@dataclass(frozen=True, slots=True)
class Recall:
    """hits / actual, of each class: what part of its examples are found; 0 where it has none.

    Source: sklearn.metrics.recall_score.
    """

    kind: Literal["recall"] = "recall"
    average: Average = hyper(None, description=AVERAGE)
    threshold: float | None = threshold_of_one_output()
    higher_is_better: ClassVar[bool] = True
    about: ClassVar = About("Recall", r"\frac{TP}{TP + FN}")

    def value(self, outputs: Array, targets: Array, sample_weights: Array | None = None) -> float:
        counts = count(outputs, targets, sample_weights, self.threshold, self.average)
        return ratio(counts.hits, counts.actual, counts)


@dataclass(frozen=True, slots=True)
class F1:
    """2 * hits / (predicted + actual), of each class: the harmonic mean of precision and recall; 0 where both are 0.

    Source: sklearn.metrics.f1_score.
    """

    kind: Literal["f1"] = "f1"
    average: Average = hyper(None, description=AVERAGE)
    threshold: float | None = threshold_of_one_output()
    higher_is_better: ClassVar[bool] = True
    about: ClassVar = About("F1", r"\frac{2 TP}{2 TP + FP + FN}")

    def value(self, outputs: Array, targets: Array, sample_weights: Array | None = None) -> float:
        counts = count(outputs, targets, sample_weights, self.threshold, self.average)
        return ratio(2 * counts.hits, counts.predicted + counts.actual, counts)


@dataclass(frozen=True, slots=True)
class ConfusionMatrix:
    """How many examples (by weight) of class i, the row, were taken for class j, the column.

    It has a row and a column for each output, 2 for a single one.

    Source: sklearn.metrics.confusion_matrix.
    """

    kind: Literal["confusion_matrix"] = "confusion_matrix"
    threshold: float | None = threshold_of_one_output()
    higher_is_better: ClassVar[bool] = False
    about: ClassVar = About("Confusion matrix", r"C_{ij} = |\{c = i, \hat c = j\}|")

    def value(self, outputs: Array, targets: Array, sample_weights: Array | None = None) -> list[list[float]]:
        size = max(outputs.shape[1], 2)
        cells = labels(targets) * size + classes(outputs, self.threshold)
        matrix = np.bincount(cells, sample_weights, size * size).reshape(size, size)
        return [list(row) for row in matrix.tolist()]


@dataclass(frozen=True, slots=True)
class RocAuc:
    """The chance that a random example of the class has a higher output than one of the rest; ties count half.

    With one or two outputs, of class 1 by the last output; with more, the mean over the classes of each against the
    rest (one-vs-rest, macro). It is undefined, and refused, where a class has no examples, or all.

    Source: sklearn.metrics.roc_auc_score.
    """

    kind: Literal["roc_auc"] = "roc_auc"
    higher_is_better: ClassVar[bool] = True
    about: ClassVar = About("Area under the ROC curve", r"P(y^+ > y^-) + \tfrac12 P(y^+ = y^-)")

    def value(self, outputs: Array, targets: Array, sample_weights: Array | None = None) -> float:
        actual = labels(targets)
        w = np.ones(len(actual)) if sample_weights is None else sample_weights.astype(np.float64)
        if outputs.shape[1] <= 2:
            return one_against_rest(outputs[:, -1], actual == 1, w, 1)
        areas = [one_against_rest(column, actual == c, w, c) for c, column in enumerate(outputs.T)]
        return math.fsum(areas) / len(areas)


def one_against_rest(scores: Array, positive: Array, weights: Array, label: int) -> float:
    """The area under the ROC curve of one class; raises InvalidTarget where all examples, or none, are of it."""
    _, ranks = np.unique(scores, return_inverse=True)
    inside, outside = np.bincount(ranks, weights * positive), np.bincount(ranks, weights * ~positive)
    if not (inside.any() and outside.any()):
        raise InvalidTarget(
            ("targets",),
            f"roc_auc is undefined: {'all' if inside.any() else 'none'} of the examples are of class {label}.",
            expected=f"targets of class {label}, and of another class",
            hint="Post more examples, or leave roc_auc out.",
        )
    below = np.cumsum(outside) - outside
    return float(inside @ (below + outside / 2) / inside.sum() / outside.sum())


@dataclass(frozen=True, slots=True)
class LogLoss:
    """-log of the probability of the right class, kept at least eps from 0 and 1: eps is the dtype's precision.

    Outputs that are not probabilities are refused, and rows of several outputs that do not add up to 1.

    Source: sklearn.metrics.log_loss.
    """

    kind: Literal["log_loss"] = "log_loss"
    higher_is_better: ClassVar[bool] = False
    about: ClassVar = About("Log loss", r"-\frac1n \sum_i \log y_{i c_i}")

    def value(self, outputs: Array, targets: Array, sample_weights: Array | None = None) -> float:
        eps = float(np.finfo(outputs.dtype).eps)
        require_rows_of_probabilities(outputs, eps**0.5)
        rows = outputs if outputs.shape[1] > 1 else np.hstack([1 - outputs, outputs])
        own = np.take_along_axis(rows, labels(targets)[:, np.newaxis], axis=1)[:, 0]
        return float(mean(-np.log(np.clip(own.astype(np.float64), eps, 1 - eps)), sample_weights))


def require_rows_of_probabilities(outputs: Array, slack: float) -> None:
    """Raises NotProbabilities where an output leaves [0, 1], or several of a row do not add up to 1."""
    sums = outputs.sum(axis=1)
    wrong = ((outputs < 0) | (outputs > 1 + slack)).any(axis=1)
    if outputs.shape[1] > 1:
        wrong |= np.abs(sums - 1) > slack
    if wrong.any():
        raise NotProbabilities(
            ("outputs", int(wrong.argmax())),
            "log_loss takes the probabilities of the classes, and the outputs of this row are not.",
            expected="numbers from 0 to 1; several outputs add up to 1",
            received={"sum": float(sums[wrong.argmax()])},
            hint="End the network in a softmax layer (a sigmoid layer for a single output), or leave log_loss out.",
        )


@dataclass(frozen=True, slots=True)
class MeanSquaredError:
    """The mean of (t - y)^2.

    Source: sklearn.metrics.mean_squared_error.
    """

    kind: Literal["mse"] = "mse"
    higher_is_better: ClassVar[bool] = False
    about: ClassVar = About("Mean squared error", r"\frac{1}{nm} \sum_{ij} (t_{ij} - y_{ij})^2")

    def value(self, outputs: Array, targets: Array, sample_weights: Array | None = None) -> float:
        return float(mean(differences(outputs, targets) ** 2, sample_weights).mean())


@dataclass(frozen=True, slots=True)
class RootMeanSquaredError:
    """The square root of the mean of (t - y)^2; of several outputs, the mean of their roots.

    Source: sklearn.metrics.root_mean_squared_error.
    """

    kind: Literal["rmse"] = "rmse"
    higher_is_better: ClassVar[bool] = False
    about: ClassVar = About("Root mean squared error", r"\frac1m \sum_j \sqrt{\frac1n \sum_i (t_{ij} - y_{ij})^2}")

    def value(self, outputs: Array, targets: Array, sample_weights: Array | None = None) -> float:
        return float(np.sqrt(mean(differences(outputs, targets) ** 2, sample_weights)).mean())


@dataclass(frozen=True, slots=True)
class MeanAbsoluteError:
    """The mean of |t - y|.

    Source: sklearn.metrics.mean_absolute_error.
    """

    kind: Literal["mae"] = "mae"
    higher_is_better: ClassVar[bool] = False
    about: ClassVar = About("Mean absolute error", r"\frac{1}{nm} \sum_{ij} |t_{ij} - y_{ij}|")

    def value(self, outputs: Array, targets: Array, sample_weights: Array | None = None) -> float:
        return float(mean(np.abs(differences(outputs, targets)), sample_weights).mean())


@dataclass(frozen=True, slots=True)
class MeanAbsolutePercentageError:
    """The mean of |t - y| / max(|t|, 2^-52): a ratio, not times 100.

    Source: sklearn.metrics.mean_absolute_percentage_error.
    """

    kind: Literal["mean_absolute_percentage_error"] = "mean_absolute_percentage_error"
    higher_is_better: ClassVar[bool] = False
    about: ClassVar = About(
        "Mean absolute percentage error", r"\frac{1}{nm} \sum_{ij} \frac{|t_{ij} - y_{ij}|}{\max(|t_{ij}|, 2^{-52})}"
    )

    def value(self, outputs: Array, targets: Array, sample_weights: Array | None = None) -> float:
        sizes = np.maximum(np.abs(targets), np.finfo(np.float64).eps)
        return float(mean(np.abs(differences(outputs, targets)) / sizes, sample_weights).mean())


@dataclass(frozen=True, slots=True)
class R2:
    """1 - sum (t - y)^2 / sum (t - mean t)^2; of several outputs, their mean.

    An output whose targets are all equal counts 1 if it is met exactly, else 0. Needs at least two examples.

    Source: sklearn.metrics.r2_score.
    """

    kind: Literal["r2"] = "r2"
    higher_is_better: ClassVar[bool] = True
    about: ClassVar = About("Coefficient of determination", r"1 - \frac{\sum_i (t_i - y_i)^2}{\sum_i (t_i - \bar t)^2}")

    def value(self, outputs: Array, targets: Array, sample_weights: Array | None = None) -> float:
        if len(targets) < 2:
            raise InvalidTarget(
                ("targets",), "r2 needs at least two examples.", expected="2 rows", received=len(targets)
            )
        t = targets.astype(np.float64)
        errors = mean(differences(outputs, targets) ** 2, sample_weights)
        spread = mean((t - mean(t, sample_weights)) ** 2, sample_weights)
        # Rounding of the mean gives equal targets a spread of their own.
        spread = np.where(t.min(axis=0) == t.max(axis=0), 0.0, spread)
        unexplained = np.divide(errors, spread, out=(errors > 0).astype(np.float64), where=spread > 0)
        return float((1 - unexplained).mean())


Metric = (
    Accuracy
    | TopKAccuracy
    | Precision
    | Recall
    | F1
    | ConfusionMatrix
    | RocAuc
    | LogLoss
    | MeanSquaredError
    | RootMeanSquaredError
    | MeanAbsoluteError
    | R2
    | MeanAbsolutePercentageError
)


def boundary(loss: Loss) -> float:
    """What a single output of this loss must exceed for class 1: 0 where it is a logit or a score, 0.5 elsewhere."""
    return 0.0 if getattr(loss, "from_logits", False) or loss.kind in ("hinge", "squared_hinge") else 0.5


def suited(metrics: Iterable[Metric], loss: Loss) -> tuple[Metric, ...]:
    """The metrics, with the threshold of this loss where one has none of its own."""
    change: dict[str, Any] = {"threshold": boundary(loss)}
    return tuple(replace(metric, **change) if getattr(metric, "threshold", 0) is None else metric for metric in metrics)
