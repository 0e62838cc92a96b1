"""Mistakes in the error of the outputs, with which the way back begins."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from engine.losses import HalfSquaredError, Mse
from engine.mistakes.computation import Case, Computation, Numbers
from engine.mistakes.loss import SquaredErrors
from engine.rules import About, Array


def with_error(c: Computation, changed: Callable[[Array, Numbers], Array]) -> Computation:
    """The computation with another error: y - t where loss and activation combine, the derivative by the outputs
    elsewhere."""
    combined, output_gradients = c.combined, c.output_gradients

    def together(n: Numbers) -> Array | None:
        error = combined(n)
        return None if error is None else changed(error, n)

    def by_outputs(n: Numbers) -> Array:
        error = output_gradients(n)
        return changed(error, n) if n.computation.combined(n) is None else error

    return c._replace(combined=together, output_gradients=by_outputs)


def _is_difference(case: Case) -> bool:
    """Whether the error is a multiple of y - t."""
    return isinstance(case.loss, SquaredErrors) or case.is_combined


@dataclass(frozen=True, slots=True)
class ErrorWithoutSign:
    """The magnitude of the error, or its square, in place of the error: |y - t| or (y - t)^2 for y - t.

    What measures how wrong the outputs are is sent back as it is, and every output is pushed down, whether it is too
    large or too small.

    Source: Rumelhart, Hinton and Williams 1986, doi:10.1038/323533a0, equation 4.
    """

    kind: Literal["error_without_sign"] = "error_without_sign"
    form: Literal["magnitude", "square"] = "magnitude"
    about: ClassVar = About("Error without its sign", r"|y - t| \text{ or } (y - t)^2 \text{ for } y - t")

    def applies(self, case: Case) -> bool:
        return case.loss is not None and (self.form == "magnitude" or _is_difference(case))

    def alter(self, c: Computation, case: Case) -> Computation:
        if self.form == "magnitude":
            return with_error(c, lambda error, n: np.abs(error))
        # As a loss half_squared_error is half of it.
        half = 0.5 if isinstance(case.loss, HalfSquaredError) else 1.0
        return with_error(c, lambda error, n: half * (n.a[-1] - case.targets) ** 2)


@dataclass(frozen=True, slots=True)
class OutputsRounded:
    """The decision in place of the outputs in the error: 1 where an output is above 0.5, or the largest of its row, and
    0 elsewhere.

    It is the perceptron's rule, and the error of a prediction that is right becomes 0; a gradient takes the outputs as
    they are.

    Source: Rosenblatt 1958, the perceptron; Bishop 1995, Neural Networks for Pattern Recognition, 3.5.
    """

    kind: Literal["outputs_rounded"] = "outputs_rounded"
    form: Literal["above_half", "largest"] = "above_half"
    about: ClassVar = About("Decisions in place of outputs", r"[y > 0.5] - t \text{ for } y - t")

    def applies(self, case: Case) -> bool:
        return _is_difference(case) and (self.form == "above_half" or case.targets.shape[1] > 1)

    def alter(self, c: Computation, case: Case) -> Computation:
        times = 2.0 if isinstance(case.loss, Mse) else 1.0

        def changed(error: Array, n: Numbers) -> Array:
            y = n.a[-1]
            decided = y > 0.5 if self.form == "above_half" else y == y.max(axis=1, keepdims=True)
            return np.array(error + times * (decided - y))

        return with_error(c, changed)


@dataclass(frozen=True, slots=True)
class ErrorAveraged:
    """The error of the outputs averaged over the batch before it is passed back: each example gets the mean error, or
    the last one alone.

    The loss is one number, and so is its error taken to be; but each example's error belongs to its own activations.

    Source: Nielsen 2015, Neural Networks and Deep Learning, chapter 2, the algorithm for a mini-batch.
    """

    kind: Literal["error_averaged"] = "error_averaged"
    used: Literal["for_each", "for_last"] = "for_each"
    about: ClassVar = About("Error averaged over the batch first", r"\frac1N \sum_m (y_m - t_m) \text{ for } y_n - t_n")

    def applies(self, case: Case) -> bool:
        return case.loss is not None and case.batch > 1

    def alter(self, c: Computation, case: Case) -> Computation:
        def changed(error: Array, n: Numbers) -> Array:
            if self.used == "for_each":
                return np.broadcast_to(error.mean(axis=0), error.shape)
            last = np.zeros_like(error)
            last[-1] = error.sum(axis=0)
            return last

        return with_error(c, changed)


@dataclass(frozen=True, slots=True)
class OutputErrorMixedUp:
    """The error of the outputs made of other numbers than the outputs and the targets.

    One number of each row has 1 subtracted, `p[range(n), y] -= 1`: the line is left out, or its index is, or it is done
    to another array.

    `form` says of which: nothing is subtracted, y for y - t (targets_left_out); the targets are added (targets_added);
    1 is subtracted from every output, not from that of the target's class (one_from_all); the preactivations, the
    logits, stand for the outputs (logits); or the output of the target's class alone gets an error (target_alone).

    Source: Bridle 1990, the derivative of softmax with cross-entropy; it is y - t, where t is 1 for one class.
    """

    kind: Literal["output_error_mixed_up"] = "output_error_mixed_up"
    form: Literal["targets_left_out", "targets_added", "one_from_all", "logits", "target_alone"] = "targets_left_out"
    about: ClassVar = About("Error of the outputs mixed up", r"y - 1 \text{ for } y - t")

    def applies(self, case: Case) -> bool:
        loss = case.loss
        if loss is None or getattr(loss, "label_smoothing", False) or getattr(loss, "class_weights", None) is not None:
            return False
        match self.form:
            case "targets_left_out" | "targets_added":
                return _is_difference(case)
            case "logits":
                return case.is_combined and case.layers[-1].activation.kind != "identity"
            case "target_alone":
                return case.is_combined and case.targets.shape[1] > 1
        return case.is_combined

    def alter(self, c: Computation, case: Case) -> Computation:
        times, t = 2.0 if isinstance(case.loss, Mse) else 1.0, case.targets

        def changed(error: Array, n: Numbers) -> Array:
            match self.form:
                case "targets_left_out":
                    return np.asarray(error + times * t)
                case "targets_added":
                    return np.asarray(error + 2 * times * t)
                case "one_from_all":
                    return np.asarray(error + t - 1)
                case "logits":
                    return np.asarray(n.z[-1] - t)
            return np.where(t > 0, error, 0.0)

        return with_error(c, changed)
