"""The losses of probabilities: cross-entropies and their relatives, with their combined, stable forms on logits.

Beside what every loss has (see losses.py), each names in `combines_with` the activations whose outputs it takes
together with their logits: `{"softmax": 1, "softmin": -1}` says that softmax makes probabilities of the logits z,
softmin of -z. `on_logits()` is the same loss of logits, stable where the product of both derivatives is not.
`logit_gradient(z, p, t)` is its derivative by logits z that make the probabilities p, `probability_gradient(p, t)` the
derivative by the probabilities themselves. A loss is 0 minus a sum, not its negative: 0 has no sign then.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np

from engine.activations import sigmoid
from engine.row_activations import log_softmax, softmax
from engine.rules import About, Array, hyper, row_sums
from engine.targets import (
    AnyLoss,
    ClassWeights,
    Weighted,
    label_weights,
    require_class_weights,
    require_probabilities,
    require_targets,
)

SOFTMAX = {"softmax": 1, "softmin": -1}
"""The activations that make probabilities of classes, each with the sign of its logits."""
SMOOTHING = "Moves this share of each target to all classes equally."
WEIGHTS = "`[outputs]`: one weight >= 0 for each class, or null for all equal."
FLOOR = {8: np.array(1e-300), 4: np.array(1e-30, np.float32)}
"""What a derivative by a probability divides by at least, for numbers of 8 and of 4 bytes: far enough above 0 that
weights leave the quotient finite."""
FROM_LOGITS = "The outputs are logits, not probabilities."


def log(p: Array) -> Array:
    """The logarithm; minus infinity at 0."""
    return np.log(np.maximum(p, 0))


def product(t: Array, log_p: Array) -> Array:
    """t * log p, with 0 * log 0 = 0."""
    return np.where(t == 0, 0, t * log_p)


def floored(p: Array) -> Array:
    """Probabilities that a derivative may divide by."""
    return np.maximum(p, FLOOR[p.itemsize])


def smoothed(t: Array, share: float, classes: int) -> Array:
    """Targets of which a share has moved to all classes equally."""
    return t * (1 - share) + share / classes if share else t


class _OfProbabilities(Weighted):
    """What the losses of probabilities with class weights have in common; their fields are those of each."""

    __slots__ = ()
    from_logits: bool
    combines_with: ClassVar[Mapping[str, int]]

    def check(self, y: Array, t: Array) -> None:
        require_class_weights(self.class_weights, y.shape[1])
        require_targets(t)
        if not self.from_logits:
            require_probabilities(y, next(iter(self.combines_with)))

    def on_logits(self) -> Self:
        return replace(self, from_logits=True)  # type: ignore[type-var]


@dataclass(frozen=True, slots=True)
class CrossEntropy(_OfProbabilities, AnyLoss):
    """-sum_c w_c t_c log(y_c) over the classes c of a row; y are probabilities, or softmax of logits.

    Row-wise. Where a probability is 0 and its target is not, the loss is infinite; its derivative by the probability is
    then taken at 1e-300 (float32: 1e-30), so that it is finite. A mean divides by the sum of the labels' weights
    where all targets are labels or one-hot rows, and by the batch where they are probabilities.

    Source: torch.nn.CrossEntropyLoss.
    """

    kind: Literal["cross_entropy"] = "cross_entropy"
    from_logits: bool = hyper(False, description=FROM_LOGITS)
    label_smoothing: float = hyper(0.0, ge=0.0, le=1.0, description=SMOOTHING)
    class_weights: ClassWeights = hyper(None, ({"minimum": 0},), description=WEIGHTS)
    takes_labels: ClassVar[bool] = True
    combines_with: ClassVar[Mapping[str, int]] = SOFTMAX
    about: ClassVar = About(
        "Cross-entropy",
        r"-\sum_c w_c t_c \log y_c",
        "-w_c t_c / y_c by a probability; softmax(z) * sum(w t) - w t by logits",
        r"-\frac{w_c t_c}{y_c}",
    )

    def row_weights(self, t: Array) -> Array | None:
        return label_weights(self.class_weights, t)

    def _weighted(self, t: Array) -> Array:
        t = smoothed(t, self.label_smoothing, t.shape[1])
        return t if self.class_weights is None else t * np.array(self.class_weights, t.dtype)

    def values(self, y: Array, t: Array) -> Array:
        t = self._weighted(t)
        terms = t * log_softmax(y) if self.from_logits else product(t, log(y))
        return 0.0 - np.add.reduce(terms, axis=1)

    def gradient(self, y: Array, t: Array) -> Array:
        return self.logit_gradient(y, softmax(y), t) if self.from_logits else self.probability_gradient(y, t)

    def logit_gradient(self, z: Array, p: Array, t: Array) -> Array:
        t = self._weighted(t)
        return p * row_sums(t) - t

    def probability_gradient(self, y: Array, t: Array) -> Array:
        return 0.0 - self._weighted(t) / floored(y)


@dataclass(frozen=True, slots=True)
class BinaryCrossEntropy(_OfProbabilities, AnyLoss):
    """-w (t log(y) + (1 - t) log(1 - y)); y are probabilities, or sigmoid of logits.

    On probabilities, logarithms are at least -100 and the derivative's divisor y (1 - y) is at least 1e-12, as in
    PyTorch. Elementwise; class weights scale each output and do not change a mean's divisor.

    Source: torch.nn.BCELoss and BCEWithLogitsLoss; label smoothing from Keras.
    """

    kind: Literal["binary_cross_entropy"] = "binary_cross_entropy"
    from_logits: bool = hyper(False, description=FROM_LOGITS)
    label_smoothing: float = hyper(0.0, ge=0.0, le=1.0, description="Moves each target this share of the way to 1/2.")
    class_weights: ClassWeights = hyper(
        None, ({"minimum": 0},), description="`[outputs]`: one weight >= 0 for each, or null."
    )
    combines_with: ClassVar[Mapping[str, int]] = {"sigmoid": 1}
    about: ClassVar = About(
        "Binary cross-entropy",
        r"-w \left( t \log y + (1 - t) \log(1 - y) \right)",
        "w (y - t) / (y (1 - y)) by a probability; w (sigmoid(z) - t) by a logit",
        r"w \frac{y - t}{y (1 - y)}",
    )

    def _weighted(self, losses: Array) -> Array:
        return losses if self.class_weights is None else losses * np.array(self.class_weights, losses.dtype)

    def values(self, y: Array, t: Array) -> Array:
        t = smoothed(t, self.label_smoothing, 2)
        if self.from_logits:
            return self._weighted(np.maximum(y, 0) - y * t + np.log1p(np.exp(-np.abs(y))))
        y = np.minimum(y, 1)
        return self._weighted(0.0 - (t * np.maximum(np.log(y), -100) + (1 - t) * np.maximum(np.log1p(-y), -100)))

    def gradient(self, y: Array, t: Array) -> Array:
        return self.logit_gradient(y, sigmoid(y), t) if self.from_logits else self.probability_gradient(y, t)

    def logit_gradient(self, z: Array, p: Array, t: Array) -> Array:
        return self._weighted(p - smoothed(t, self.label_smoothing, 2))

    def probability_gradient(self, y: Array, t: Array) -> Array:
        return self._weighted((y - smoothed(t, self.label_smoothing, 2)) / np.maximum(y * (1 - y), 1e-12))


@dataclass(frozen=True, slots=True)
class Focal(_OfProbabilities, AnyLoss):
    """-alpha sum_c w_c (1 - y_c)^gamma t_c log(y_c); y are probabilities, or softmax of logits.

    Row-wise, for classes that exclude each other. With gamma 0 it is alpha times the cross-entropy of each row; class
    weights do not change a mean's divisor. Where a probability is 0, its derivative is taken at 1e-300 (float32:
    1e-30).

    Source: Lin et al. 2017, arXiv:1708.02002; keras.losses.CategoricalFocalCrossentropy.
    """

    kind: Literal["focal"] = "focal"
    alpha: float = hyper(0.25, ge=0.0, description="Scales the whole loss.")
    gamma: float = hyper(2.0, ge=0.0, description="How strongly well-classified examples are discounted.")
    from_logits: bool = hyper(False, description=FROM_LOGITS)
    label_smoothing: float = hyper(0.0, ge=0.0, le=1.0, description=SMOOTHING)
    class_weights: ClassWeights = hyper(None, ({"minimum": 0},), description=WEIGHTS)
    takes_labels: ClassVar[bool] = True
    combines_with: ClassVar[Mapping[str, int]] = SOFTMAX
    about: ClassVar = About(
        "Focal cross-entropy",
        r"-\alpha \sum_c w_c (1 - y_c)^\gamma t_c \log y_c",
        "alpha w_c t_c (gamma (1 - y_c)^(gamma - 1) log(y_c) - (1 - y_c)^gamma / y_c)",
        r"\alpha w_c t_c \left( \gamma (1 - y_c)^{\gamma - 1} \log y_c - \frac{(1 - y_c)^\gamma}{y_c} \right)",
    )

    def _weighted(self, t: Array) -> Array:
        t = smoothed(t, self.label_smoothing, t.shape[1])
        weights: Any = 1.0 if self.class_weights is None else np.array(self.class_weights, t.dtype)
        return t * (self.alpha * weights)

    def values(self, y: Array, t: Array) -> Array:
        log_p = log_softmax(y) if self.from_logits else log(y)
        missing = np.maximum(-np.expm1(log_p), 0)
        losses: Array = 0.0 - product(self._weighted(t) * missing**self.gamma, log_p).sum(axis=1)
        return losses

    def _by_log(self, log_p: Array, t: Array) -> Array:
        """The derivative by log y: alpha w t (gamma (1 - y)^(gamma - 1) y log y - (1 - y)^gamma)."""
        missing = np.maximum(-np.expm1(log_p), 0)
        p = np.exp(log_p)
        # (1 - y)^(gamma - 1) log y stays finite as y goes to 1 for every gamma >= 0; y log y goes to 0 as y does.
        entropy = np.where(p > 0, p * log_p, 0)
        slope = np.where(missing > 0, missing ** (self.gamma - 1) * entropy, 0) if self.gamma else 0.0
        return self._weighted(t) * (self.gamma * slope - missing**self.gamma)

    def gradient(self, y: Array, t: Array) -> Array:
        return self.logit_gradient(y, softmax(y), t) if self.from_logits else self.probability_gradient(y, t)

    def logit_gradient(self, z: Array, p: Array, t: Array) -> Array:
        by_log = self._by_log(log_softmax(z), t)
        return by_log - p * row_sums(by_log)

    def probability_gradient(self, y: Array, t: Array) -> Array:
        p = floored(np.minimum(y, 1))
        return self._by_log(np.log(p), t) / p


@dataclass(frozen=True, slots=True)
class KlDivergence(AnyLoss):
    """t (log(t) - y), with y the logarithms of probabilities; with log_target, exp(t) (t - y).

    After a softmax or softmin layer, y are the logarithms of the probabilities that the layer makes, in the combined,
    stable form. Elementwise: the mean divides by batch and outputs, batch_mean is the divergence itself.

    Source: torch.nn.KLDivLoss.
    """

    kind: Literal["kl_divergence"] = "kl_divergence"
    log_target: bool = hyper(False, description="The targets are logarithms of probabilities too.")
    from_logits: bool = hyper(False, description="The outputs are logits: their log_softmax is taken first.")
    combines_with: ClassVar[Mapping[str, int]] = SOFTMAX
    about: ClassVar = About("Kullback-Leibler divergence", r"t (\log t - y)", "-t", r"-t")
    of_logarithms: ClassVar = About(about.title, r"e^t (t - y)", "-exp(t)", r"-e^t")

    @property
    def chosen(self) -> About:
        return self.of_logarithms if self.log_target else self.about

    def check(self, y: Array, t: Array) -> None:
        if not self.log_target:
            require_targets(t, math.inf)

    def on_logits(self) -> Self:
        return replace(self, from_logits=True)

    def values(self, y: Array, t: Array) -> Array:
        log_p = log_softmax(y) if self.from_logits else y
        if self.log_target:
            return np.exp(t) * (t - log_p)
        return product(t, log(t)) - product(t, log_p)

    def gradient(self, y: Array, t: Array) -> Array:
        return self.logit_gradient(y, softmax(y), t) if self.from_logits else self._by_log(t)

    def logit_gradient(self, z: Array, p: Array, t: Array) -> Array:
        by_log = self._by_log(t)
        return by_log - p * row_sums(by_log)

    def probability_gradient(self, y: Array, t: Array) -> Array:
        return self._by_log(t) / floored(y)

    def _by_log(self, t: Array) -> Array:
        return -np.exp(t) if self.log_target else -t


LossOfProbabilities = CrossEntropy | BinaryCrossEntropy | Focal | KlDivergence
