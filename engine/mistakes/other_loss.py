"""Mistakes of another loss in place of the one asked for."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from engine.activations import sigmoid
from engine.mistakes.computation import Case, Computation, Numbers
from engine.mistakes.loss import At, CrossEntropies, SquaredErrors, scaled, with_loss
from engine.probability_losses import BinaryCrossEntropy, CrossEntropy
from engine.reduction import reduce
from engine.row_activations import softmax
from engine.rules import About, Array, row_sums


def _probabilities(loss: CrossEntropies, outputs: Array) -> Array:
    """What a cross-entropy takes the logarithms of."""
    if not loss.from_logits:
        return outputs
    return softmax(outputs) if isinstance(loss, CrossEntropy) else sigmoid(outputs)


def _by_outputs(loss: CrossEntropies, by_p: Array, p: Array) -> Array:
    """The derivative by the outputs, from that by the probabilities."""
    if not loss.from_logits:
        return by_p
    return p * (by_p - row_sums(by_p * p)) if isinstance(loss, CrossEntropy) else by_p * p * (1 - p)


@dataclass(frozen=True, slots=True)
class ProbabilitiesAsLogits:
    """Probabilities given to a loss that takes logits: softmax, or sigmoid, is applied a second time.

    The loss of a framework applies it by itself, and the network ends in it already. It learns, but slowly, since the
    outputs of the second one are all alike.

    Source: torch.nn.CrossEntropyLoss and BCEWithLogitsLoss, which take logits.
    """

    kind: Literal["probabilities_as_logits"] = "probabilities_as_logits"
    about: ClassVar = About("Softmax or sigmoid applied twice", r"-\log \text{softmax}(\text{softmax}(z))_t")

    def applies(self, case: Case) -> bool:
        return isinstance(case.loss, CrossEntropies)

    def alter(self, c: Computation, case: Case) -> Computation:
        loss = case.loss
        assert isinstance(loss, CrossEntropies)
        on_logits = replace(loss, from_logits=True)

        def gradient(n: Numbers) -> Array:
            p = _probabilities(loss, n.a[-1])
            return _by_outputs(loss, on_logits.gradient(p, case.targets), p)

        return with_loss(c, lambda n: on_logits.values(_probabilities(loss, n.a[-1]), case.targets), gradient)


@dataclass(frozen=True, slots=True)
class LogarithmLeftOut:
    """The logarithm of the cross-entropy left out: the loss is -y_t, and its derivative by y_t is -1.

    A loss that takes logarithms of probabilities is given the probabilities. It is negative, which a cross-entropy
    never is.

    Source: torch.nn.NLLLoss, which takes what LogSoftmax gives.
    """

    kind: Literal["logarithm_left_out"] = "logarithm_left_out"
    about: ClassVar = About("Logarithm left out", r"-y_t \text{ for } -\log y_t")

    def applies(self, case: Case) -> bool:
        loss: Any = case.loss
        if loss is None or loss.kind not in ("cross_entropy", "negative_log_likelihood"):
            return False
        return not getattr(loss, "label_smoothing", 0) and loss.class_weights is None

    def alter(self, c: Computation, case: Case) -> Computation:
        loss: Any = case.loss

        def probabilities(y: Array) -> Array:
            if loss.kind == "negative_log_likelihood":
                return np.array(np.exp(y))
            return _probabilities(loss, y)

        def gradient(n: Numbers) -> Array:
            p = probabilities(n.a[-1])
            if loss.kind == "negative_log_likelihood":
                return -case.targets * p
            return _by_outputs(loss, -case.targets, p)

        return with_loss(c, lambda n: 0.0 - (case.targets * probabilities(n.a[-1])).sum(axis=1), gradient)


@dataclass(frozen=True, slots=True)
class EpsilonInLogarithm:
    """log(y + epsilon) in place of log(y), or the logarithm of y kept between epsilon and 1 - epsilon.

    It keeps the logarithm of 0 from being infinite, and the loss of an example from being more than -log(epsilon): 16.1
    for 1e-7. Where outputs and loss are taken together on the logits, neither is needed.

    Source: keras.losses, which keep probabilities from 1e-7 to 1 - 1e-7.
    """

    kind: Literal["epsilon_in_logarithm"] = "epsilon_in_logarithm"
    form: Literal["added", "kept_above"] = "added"
    at: Literal["loss", "both"] = "loss"
    epsilon: Literal[
        "1e-7", "1e-8", "1e-15", "1e-12", "1e-10", "1e-9", "1e-6", "1e-5", "1e-4", "1e-3", "2.220446049250313e-16"
    ] = "1e-7"
    about: ClassVar = About("Epsilon in the logarithm", r"-\log(y_t + \epsilon) \text{ for } -\log y_t")

    def applies(self, case: Case) -> bool:
        """Where epsilon is more than a hundredth of the least probability of what is the case."""
        loss = case.loss
        if not isinstance(loss, CrossEntropies) or loss.label_smoothing or loss.class_weights is not None:
            return False
        if EpsilonInLogarithm not in case.known:
            p, t = _probabilities(loss, case.outputs), case.targets
            least = np.where(t > 0, p, 1).min()
            if isinstance(loss, BinaryCrossEntropy):
                least = min(least, np.where(t < 1, 1 - p, 1).min())
            case.known[EpsilonInLogarithm] = least
        epsilon = float(self.epsilon) * (100 if self.form == "added" else 0.99)
        return 0 <= case.known[EpsilonInLogarithm] < epsilon

    def alter(self, c: Computation, case: Case) -> Computation:
        loss, t, epsilon = case.loss, case.targets, float(self.epsilon)
        assert isinstance(loss, CrossEntropies)

        def kept(p: Array) -> Array:
            return p + epsilon if self.form == "added" else np.clip(p, epsilon, 1 - epsilon)

        def values(n: Numbers) -> Array:
            p = _probabilities(loss, n.a[-1])
            if isinstance(loss, CrossEntropy):
                return 0.0 - (t * np.log(kept(p))).sum(axis=1)
            return 0.0 - (t * np.log(kept(p)) + (1 - t) * np.log(kept(1 - p)))

        def gradient(n: Numbers) -> Array:
            p = _probabilities(loss, n.a[-1])
            by_p = -t / kept(p)
            if isinstance(loss, BinaryCrossEntropy):
                by_p += (1 - t) / kept(1 - p)
            if self.form == "kept_above":
                by_p = np.where((p < epsilon) | (p > 1 - epsilon), 0, by_p)
            return _by_outputs(loss, by_p, p)

        return with_loss(c, values, gradient, self.at)


@dataclass(frozen=True, slots=True)
class SquaredInPlaceOfCrossEntropy:
    """The squared error in place of the cross-entropy, or its derivative alone.

    `over` says whether the squares of a row's outputs are added up (sum), averaged (mean), or halved as textbooks do
    (half).

    Source: Bishop 1995, Neural Networks for Pattern Recognition, 6.1 and 6.9.
    """

    kind: Literal["squared_in_place_of_cross_entropy"] = "squared_in_place_of_cross_entropy"
    at: At = "both"
    over: Literal["sum", "mean", "half"] = "sum"
    about: ClassVar = About("Squared error in place of cross-entropy", r"\sum_c (y_c - t_c)^2")

    def applies(self, case: Case) -> bool:
        return isinstance(case.loss, CrossEntropies)

    def alter(self, c: Computation, case: Case) -> Computation:
        loss, outputs = case.loss, case.targets.shape[1]
        # An elementwise mean divides by the outputs already.
        rows = outputs if case.elementwise and loss is not None and loss.reduction == "mean" else 1
        share = rows * {"sum": 1.0, "mean": 1 / outputs, "half": 0.5}[self.over]

        def values(n: Numbers) -> Array:
            squares = share * (n.a[-1] - case.targets) ** 2
            return np.array(squares if case.elementwise else squares.sum(axis=1))

        return with_loss(c, values, lambda n: 2 * share * (n.a[-1] - case.targets), self.at)


@dataclass(frozen=True, slots=True)
class AbsoluteInPlaceOfSquaredError:
    """The absolute error |y - t| in place of the squared one, or its derivative, the sign of y - t, alone.

    Both measure how far off a prediction is, and their names are short: MAE and MSE.

    Source: torch.nn.L1Loss and MSELoss.
    """

    kind: Literal["absolute_in_place_of_squared_error"] = "absolute_in_place_of_squared_error"
    at: At = "both"
    about: ClassVar = About("Absolute in place of squared error", r"|y - t| \text{ for } (y - t)^2")

    def applies(self, case: Case) -> bool:
        return isinstance(case.loss, SquaredErrors)

    def alter(self, c: Computation, case: Case) -> Computation:
        def values(n: Numbers) -> Array:
            errors = np.abs(n.a[-1] - case.targets)
            return np.array(errors if case.elementwise else errors.sum(axis=1))

        if self.at != "gradients":
            c = c._replace(loss_values=values)
        return c if self.at == "loss" else c._replace(output_gradients=lambda n: np.sign(n.a[-1] - case.targets))


@dataclass(frozen=True, slots=True)
class RootOfSquaredError:
    """The root of the mean squared error in place of itself: in the loss that is told, or in its derivative too.

    The root has the unit of the targets and is what reports show; its derivative is divided by twice the root.

    Source: sklearn.metrics.root_mean_squared_error and mean_squared_error.
    """

    kind: Literal["root_of_squared_error"] = "root_of_squared_error"
    at: Literal["both", "loss"] = "both"
    about: ClassVar = About("Root of the squared error", r"\sqrt{\frac1N \sum_n L_n} \text{ for } \frac1N \sum_n L_n")

    def applies(self, case: Case) -> bool:
        return isinstance(case.loss, SquaredErrors)

    def alter(self, c: Computation, case: Case) -> Computation:
        scales = c.scales

        def root(n: Numbers) -> Any:
            return np.sqrt(reduce(n.values, scales(n)))

        c = scaled(c, lambda n: 1 / root(n), "loss")
        return c if self.at == "loss" else scaled(c, lambda n: 0.5 / root(n), "gradients")
