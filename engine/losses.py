"""The losses: each a frozen dataclass with its value per example and its derivative right beside it.

Every loss has
- `values(y, t)`: its value before reduction, `[batch, outputs]` for an elementwise loss, `[batch]` for a row-wise one,
- `gradient(y, t)`: the derivative of `values(y, t).sum()` by y, `[batch, outputs]`,
- `reduction`, and `takes_labels`: integer class labels are taken as one-hot rows,
- `check(y, t)`: raises where outputs or targets are none that it can use,
- `row_weights(t)`: what each row counts in a mean (None: 1), and `unweighted()`: the same loss without class weights.

`AnyLoss` has all but the first two, for a loss that takes any numbers and has no class weights.
"""

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np

from engine.errors import InvalidTarget
from engine.probability_losses import WEIGHTS, BinaryCrossEntropy, CrossEntropy, Focal, KlDivergence
from engine.rules import About, Array, column, hyper
from engine.targets import (
    AnyLoss,
    ClassWeights,
    Weighted,
    label_weights,
    require_class_weights,
    require_targets,
)


@dataclass(frozen=True, slots=True)
class NegativeLogLikelihood(Weighted, AnyLoss):
    """-sum_c w_c t_c y_c, with y the logarithms of probabilities (a log_softmax layer makes them).

    Row-wise. A mean divides by the sum of the weights of the labels.

    Source: torch.nn.NLLLoss.
    """

    kind: Literal["negative_log_likelihood"] = "negative_log_likelihood"
    class_weights: ClassWeights = hyper(None, ({"minimum": 0},), description=WEIGHTS)
    takes_labels: ClassVar[bool] = True
    about: ClassVar = About("Negative log-likelihood", r"-\sum_c w_c t_c y_c", "-w_c t_c", r"-w_c t_c")

    def check(self, y: Array, t: Array) -> None:
        require_class_weights(self.class_weights, y.shape[1])
        require_targets(t)

    def row_weights(self, t: Array) -> Array | None:
        return label_weights(self.class_weights, t)

    def values(self, y: Array, t: Array) -> Array:
        losses: Array = (self.gradient(y, t) * y).sum(axis=1)
        return losses

    def gradient(self, y: Array, t: Array) -> Array:
        return -t if self.class_weights is None else -t * np.array(self.class_weights, t.dtype)


@dataclass(frozen=True, slots=True)
class Mse(AnyLoss):
    """(y - t)^2. Elementwise: the mean divides by batch and outputs.

    Source: torch.nn.MSELoss.
    """

    kind: Literal["mse"] = "mse"
    about: ClassVar = About("Mean squared error", r"(y - t)^2", "2 (y - t)", r"2 (y - t)")

    def values(self, y: Array, t: Array) -> Array:
        return (y - t) ** 2

    def gradient(self, y: Array, t: Array) -> Array:
        return 2 * (y - t)


@dataclass(frozen=True, slots=True)
class Mae(AnyLoss):
    """|y - t|, with derivative 0 at y = t. Elementwise: the mean divides by batch and outputs.

    Source: torch.nn.L1Loss.
    """

    kind: Literal["mae"] = "mae"
    about: ClassVar = About("Mean absolute error", r"|y - t|", "sign(y - t)", r"\operatorname{sign}(y - t)")

    def values(self, y: Array, t: Array) -> Array:
        return np.abs(y - t)

    def gradient(self, y: Array, t: Array) -> Array:
        return np.sign(y - t)


@dataclass(frozen=True, slots=True)
class HalfSquaredError(AnyLoss):
    """1/2 sum_j (y_j - t_j)^2 over a row: the quadratic cost of textbooks.

    Row-wise: the mean divides by the batch alone.

    Source: Rumelhart, Hinton and Williams 1986, doi:10.1038/323533a0.
    """

    kind: Literal["half_squared_error"] = "half_squared_error"
    about: ClassVar = About("Half the squared error", r"\tfrac12 \sum_j (y_j - t_j)^2", "y - t", r"y - t")

    def values(self, y: Array, t: Array) -> Array:
        losses: Array = 0.5 * ((y - t) ** 2).sum(axis=1)
        return losses

    def gradient(self, y: Array, t: Array) -> Array:
        return y - t


@dataclass(frozen=True, slots=True)
class Huber(AnyLoss):
    """d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2), with d = y - t. Elementwise.

    Source: Huber 1964, doi:10.1214/aoms/1177703732; torch.nn.HuberLoss.
    """

    kind: Literal["huber"] = "huber"
    delta: float = hyper(1.0, gt=0.0, description="Where the parabola becomes a line.")
    about: ClassVar = About(
        "Huber loss",
        r"\begin{cases} \tfrac12 d^2 & |d| \le \delta \\ \delta (|d| - \tfrac12 \delta) & |d| > \delta \end{cases}, "
        r"\quad d = y - t",
        "d, held between -delta and delta",
        r"\max(-\delta, \min(\delta, d))",
    )

    def values(self, y: Array, t: Array) -> Array:
        d = np.abs(y - t)
        return np.where(d <= self.delta, 0.5 * d**2, self.delta * (d - 0.5 * self.delta))

    def gradient(self, y: Array, t: Array) -> Array:
        return np.clip(y - t, -self.delta, self.delta)


@dataclass(frozen=True, slots=True)
class SmoothL1(AnyLoss):
    """d^2 / (2 beta) where |d| < beta, else |d| - beta / 2, with d = y - t. Elementwise; with beta 0 it is |d|.

    Source: Girshick 2015, arXiv:1504.08083; torch.nn.SmoothL1Loss.
    """

    kind: Literal["smooth_l1"] = "smooth_l1"
    beta: float = hyper(1.0, ge=0.0, description="Where the parabola becomes a line.")
    about: ClassVar = About(
        "Smooth L1 loss",
        r"\begin{cases} d^2 / (2 \beta) & |d| < \beta \\ |d| - \beta / 2 & |d| \ge \beta \end{cases}, \quad d = y - t",
        "d / beta, held between -1 and 1",
        r"\max(-1, \min(1, d / \beta))",
    )
    of_distance: ClassVar = About(about.title, r"|y - t|", "sign(y - t)", r"\operatorname{sign}(y - t)")

    @property
    def chosen(self) -> About:
        return self.about if self.beta else self.of_distance

    def values(self, y: Array, t: Array) -> Array:
        d = np.abs(y - t)
        if self.beta == 0:
            return d
        return np.where(d < self.beta, 0.5 * d**2 / self.beta, d - 0.5 * self.beta)

    def gradient(self, y: Array, t: Array) -> Array:
        d = y - t
        return np.sign(d) if self.beta == 0 else np.clip(d / self.beta, -1, 1)


@dataclass(frozen=True, slots=True)
class LogCosh(AnyLoss):
    """log(cosh(y - t)). Elementwise.

    Source: keras.losses.LogCosh.
    """

    kind: Literal["log_cosh"] = "log_cosh"
    about: ClassVar = About("Log-cosh loss", r"\log \cosh (y - t)", "tanh(y - t)", r"\tanh(y - t)")

    def values(self, y: Array, t: Array) -> Array:
        d = np.abs(y - t)
        # Near 0 the sum below cancels; there cosh d - 1 = 2 sinh(d/2)^2 is exact.
        return np.where(
            d < 1, np.log1p(2 * np.sinh(np.minimum(d, 1) / 2) ** 2), d + np.log1p(np.exp(-2 * d)) - math.log(2)
        )

    def gradient(self, y: Array, t: Array) -> Array:
        return np.tanh(y - t)


@dataclass(frozen=True, slots=True)
class Poisson(AnyLoss):
    """exp(y) - t y with log_input (y is the logarithm of the rate), else y - t log(y + eps). Elementwise. With full,
    Stirling's approximation t log(t) - t + log(2 pi t) / 2 is added where t > 1.

    Source: torch.nn.PoissonNLLLoss.
    """

    kind: Literal["poisson"] = "poisson"
    log_input: bool = hyper(True, description="The outputs are logarithms of rates.")
    full: bool = hyper(False, description="Add the term that does not depend on the outputs.")
    eps: float = hyper(1e-8, gt=0.0, description="Keeps the logarithm finite at a rate of 0.")
    about: ClassVar = About("Poisson negative log-likelihood", r"e^y - t y", "exp(y) - t", r"e^y - t")
    of_rates: ClassVar = About(
        about.title, r"y - t \log(y + \epsilon)", "1 - t / (y + eps)", r"1 - \frac{t}{y + \epsilon}"
    )
    stirling: ClassVar[str] = r"[t > 1] \left( t \log t - t + \tfrac12 \log(2 \pi t) \right)"

    @property
    def chosen(self) -> About:
        found = self.about if self.log_input else self.of_rates
        return found._replace(latex=f"{found.latex} + {self.stirling}") if self.full else found

    def values(self, y: Array, t: Array) -> Array:
        losses = np.exp(y) - t * y if self.log_input else y - t * np.log(y + self.eps)
        if not self.full:
            return losses
        rest = np.maximum(t, 1)
        return losses + np.where(t > 1, rest * np.log(rest) - rest + 0.5 * np.log(2 * math.pi * rest), 0)

    def gradient(self, y: Array, t: Array) -> Array:
        return np.exp(y) - t if self.log_input else 1 - t / (y + self.eps)


class _OfSigns(AnyLoss):
    """Targets are -1 or 1; a 0 counts as -1, as in Keras."""

    __slots__ = ()

    def check(self, y: Array, t: Array) -> None:
        wrong = (np.abs(t) != 1) & (t != 0)
        if wrong.any():
            i, j = (int(k) for k in np.argwhere(wrong)[0])
            raise InvalidTarget(
                ("targets", i, j),
                "This loss takes -1 or 1 as target (0 counts as -1).",
                expected="-1, 0 or 1",
                received=t[i, j].item(),
            )

    def margins(self, y: Array, t: Array) -> tuple[Array, Array]:
        signs = np.where(t == 1, 1, -1).astype(y.dtype)
        return np.maximum(1 - signs * y, 0), signs


@dataclass(frozen=True, slots=True)
class Hinge(_OfSigns):
    """max(0, 1 - t y), with t -1 or 1 (0 counts as -1) and derivative 0 at the kink. Elementwise.

    Source: keras.losses.Hinge.
    """

    kind: Literal["hinge"] = "hinge"
    about: ClassVar = About("Hinge loss", r"\max(0, 1 - t y)", "-t where t y < 1, else 0", r"-t \, [t y < 1]")

    def values(self, y: Array, t: Array) -> Array:
        return self.margins(y, t)[0]

    def gradient(self, y: Array, t: Array) -> Array:
        margins, signs = self.margins(y, t)
        return -signs * (margins > 0)


@dataclass(frozen=True, slots=True)
class SquaredHinge(_OfSigns):
    """max(0, 1 - t y)^2, with t -1 or 1 (0 counts as -1). Elementwise.

    Source: keras.losses.SquaredHinge.
    """

    kind: Literal["squared_hinge"] = "squared_hinge"
    about: ClassVar = About(
        "Squared hinge loss", r"\max(0, 1 - t y)^2", "-2 t max(0, 1 - t y)", r"-2 t \max(0, 1 - t y)"
    )

    def values(self, y: Array, t: Array) -> Array:
        return self.margins(y, t)[0] ** 2

    def gradient(self, y: Array, t: Array) -> Array:
        margins, signs = self.margins(y, t)
        return -2 * signs * margins


@dataclass(frozen=True, slots=True)
class CategoricalHinge(AnyLoss):
    """max(0, 1 + max_j (1 - t_j) y_j - sum_j t_j y_j) over a row, with derivative 0 at the kink. Row-wise.

    Source: keras.losses.CategoricalHinge.
    """

    kind: Literal["categorical_hinge"] = "categorical_hinge"
    takes_labels: ClassVar[bool] = True
    about: ClassVar = About(
        "Categorical hinge loss",
        r"\max(0, 1 + \max_j (1 - t_j) y_j - \sum_j t_j y_j)",
        "(1 - t_j) [j is the largest] - t_j where the loss is above 0",
        r"(1 - t_j) [j = \arg\max] - t_j",
    )

    def check(self, y: Array, t: Array) -> None:
        require_targets(t)

    def values(self, y: Array, t: Array) -> Array:
        others = (1 - t) * y
        return np.maximum(1 + others.max(axis=1) - (t * y).sum(axis=1), 0)

    def gradient(self, y: Array, t: Array) -> Array:
        largest = np.zeros_like(y)
        largest[np.arange(len(y)), ((1 - t) * y).argmax(axis=1)] = 1
        return ((1 - t) * largest - t) * column(self.values(y, t) > 0)


@dataclass(frozen=True, slots=True)
class MultiMargin(Weighted, AnyLoss):
    """sum_{j != c} w_c max(0, margin - y_c + y_j)^p / outputs, with c the label. Row-wise.

    Class weights do not change a mean's divisor.

    Source: torch.nn.MultiMarginLoss.
    """

    kind: Literal["multi_margin"] = "multi_margin"
    # Not hyper, whose bounds of a number Pydantic takes for no literal.
    p: Literal[1, 2] = field(default=1, metadata={"description": "The power of each margin: 1, or 2."})
    margin: float = hyper(1.0, description="How far the label's output must be above the others.")
    class_weights: ClassWeights = hyper(None, ({"minimum": 0},), description=WEIGHTS)
    takes_labels: ClassVar[bool] = True
    about: ClassVar = About(
        "Multi-class margin loss",
        r"\frac1n \sum_{j \ne c} w_c \max(0, m - y_c + y_j)^p",
        "w_c p max(0, margin - y_c + y_j)^(p - 1) / outputs where the term is above 0; minus their sum by y_c",
        r"\frac{w_c p}{n} \max(0, m - y_c + y_j)^{p - 1}",
    )

    def check(self, y: Array, t: Array) -> None:
        require_class_weights(self.class_weights, y.shape[1])
        wrong = ((t != 0) & (t != 1)).any(axis=1) | (t.sum(axis=1) != 1)
        if wrong.any():
            raise InvalidTarget(
                ("targets", int(np.argmax(wrong))),
                "This loss takes class labels: integers, or rows with a single 1.",
                expected="a one-hot row",
            )

    def _margins(self, y: Array, t: Array) -> tuple[Array, Array]:
        """The terms before the power (0 at the label), and what each row is scaled by."""
        margins = np.maximum(self.margin - (y * t).sum(axis=1, keepdims=True) + y, 0) * (1 - t)
        scale = 1 / y.shape[1] if self.class_weights is None else t @ np.array(self.class_weights, y.dtype) / y.shape[1]
        return margins, column(np.broadcast_to(np.asarray(scale, y.dtype), len(y)))

    def values(self, y: Array, t: Array) -> Array:
        margins, scale = self._margins(y, t)
        losses: Array = (margins**self.p * scale).sum(axis=1)
        return losses

    def gradient(self, y: Array, t: Array) -> Array:
        margins, scale = self._margins(y, t)
        others = scale * (margins > 0 if self.p == 1 else 2 * margins)
        return others - t * others.sum(axis=1, keepdims=True)


@dataclass(frozen=True, slots=True)
class CosineSimilarity(AnyLoss):
    """-sum_j y_j t_j / (|y| |t|) over a row: minus the cosine of the angle, from -1 (same direction) to 1. Row-wise. A
    squared length counts as at least eps.

    Source: keras.losses.CosineSimilarity.
    """

    kind: Literal["cosine_similarity"] = "cosine_similarity"
    eps: float = hyper(1e-12, gt=0.0, description="The least squared length of outputs and targets.")
    about: ClassVar = About(
        "Cosine similarity",
        r"-\frac{y \cdot t}{\lVert y \rVert \lVert t \rVert}",
        "(c y/|y| - t/|t|) / |y|, with c the cosine, sum_j y_j t_j / (|y| |t|), and 0 in place of c where |y|^2 <= eps",
        r"\frac{1}{\lVert y \rVert} \left( c \frac{y}{\lVert y \rVert} - \frac{t}{\lVert t \rVert} \right), "
        r"\quad c = \frac{y \cdot t}{\lVert y \rVert \lVert t \rVert}",
    )

    def _unit(self, x: Array) -> tuple[Array, Array, Array]:
        """x over its length, the length, and whether eps left the length as it is."""
        squares = (x * x).sum(axis=1, keepdims=True)
        length = np.sqrt(np.maximum(squares, self.eps))
        if np.isinf(squares).any():
            largest = np.abs(x).max(axis=1, keepdims=True)
            shares = x / np.maximum(largest, 1)
            length = np.where(
                np.isinf(squares), largest * np.sqrt((shares * shares).sum(axis=1, keepdims=True)), length
            )
        return x / length, length, squares > self.eps

    def values(self, y: Array, t: Array) -> Array:
        # 0 minus it, so that a right angle gives a 0 without a sign.
        losses: Array = 0.0 - (self._unit(y)[0] * self._unit(t)[0]).sum(axis=1)
        return losses

    def gradient(self, y: Array, t: Array) -> Array:
        unit, length, free = self._unit(y)
        target = self._unit(t)[0]
        cosine = (unit * target).sum(axis=1, keepdims=True)
        return (cosine * free * unit - target) / length


Loss = (
    CrossEntropy
    | BinaryCrossEntropy
    | NegativeLogLikelihood
    | Mse
    | Mae
    | HalfSquaredError
    | Huber
    | SmoothL1
    | LogCosh
    | KlDivergence
    | Poisson
    | Hinge
    | SquaredHinge
    | CategoricalHinge
    | MultiMargin
    | CosineSimilarity
    | Focal
)
