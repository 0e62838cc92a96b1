"""Mistakes in the steps of the optimizers that scale them by averages: Adam and its like, RMSprop, Adagrad."""

import math
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, ClassVar, Literal

import numpy as np

from engine.adam_optimizers import Adam, Adamax, AdamW, NAdam, RAdam
from engine.descent import State, WithBetas, descended
from engine.mistakes.computation import Case, Computation, Numbers
from engine.optimizers import Adagrad, RmsProp, decays_apart
from engine.rules import About, Array

Adaptive = Adam | AdamW | RmsProp | Adagrad
Corrected = Adam | AdamW | Adamax | NAdam | RAdam
"""Those that go by the count of steps, which corrects the bias of their averages."""


def decayed(rule: Any, gradient: Array, parameter: Array) -> tuple[Array, Array]:
    """Gradient and parameter after weight decay, coupled or decoupled."""
    if decays_apart(rule):
        shrunk = parameter * (1 - rule.learning_rate * rule.weight_decay)
        return descended(gradient, parameter, 0.0, rule.maximize), shrunk
    return descended(gradient, parameter, rule.weight_decay, rule.maximize), parameter


@dataclass(frozen=True, slots=True)
class BiasCorrectionLeftOut:
    """Adam's averages used without the correction of their bias: m for m / (1 - beta1^t), v for v / (1 - beta2^t).

    The averages start from 0, and the first steps are wrong without it. `of` says which is left out.

    Source: Kingma and Ba 2014, arXiv:1412.6980, section 3.
    """

    kind: Literal["bias_correction_left_out"] = "bias_correction_left_out"
    of: Literal["both", "first", "second"] = "both"
    about: ClassVar = About("Bias correction left out", r"w - \eta \frac{m}{\sqrt v + \epsilon}")

    def applies(self, case: Case) -> bool:
        if isinstance(case.optimizer, Adamax):
            return self.of == "first"
        return isinstance(case.optimizer, Adam | AdamW)

    def alter(self, c: Computation, case: Case) -> Computation:
        def updated(n: Numbers, i: int, name: str, gradient: Array) -> Array:
            rule, state = n.computation.optimizer, n.case.state[i][name]
            assert isinstance(rule, Adam | AdamW | Adamax)
            g, w = decayed(rule, gradient, n.layer(i).parameters[name])
            first = 1.0 if self.of in ("both", "first") else 1 - rule.betas[0] ** (state["step"] + 1)
            m, v = moments(rule, g, g * g, state)
            if isinstance(rule, Adamax):
                return w - rule.learning_rate / first * (m / v)
            second = 1.0 if self.of in ("both", "second") else 1 - rule.betas[1] ** (state["step"] + 1)
            return w - rule.learning_rate * (m / first) / (np.sqrt(v / second) + rule.eps)

        return c._replace(updated=updated)


def moments(
    rule: Adam | AdamW | Adamax, g: Array, square: Array, state: State, kept: tuple[float, float] | None = None
) -> tuple[Array, Array]:
    """The averages of the gradient and of its square (Adamax: its largest magnitude); of each the share that is `kept`
    is its beta, unless another is given."""
    beta1, beta2 = kept or rule.betas
    m = beta1 * state["exp_avg"] + (1 - beta1) * g
    if isinstance(rule, Adamax):
        return m, np.maximum(beta2 * state["exp_inf"], np.abs(g) + rule.eps)
    v = beta2 * state["exp_avg_sq"] + (1 - beta2) * square
    return m, np.maximum(state["max_exp_avg_sq"], v) if rule.amsgrad else v


def is_plain(case: Case) -> bool:
    """Whether the step is one average divided by the root of another."""
    rule = case.optimizer
    if isinstance(rule, RmsProp):
        return not rule.momentum and not rule.centered
    return isinstance(rule, Adam | AdamW | Adagrad)


def averages(rule: Adaptive, g: Array, square: Array, state: State) -> tuple[Array, Array]:
    """What is divided, times the learning rate, and by the root of what."""
    if isinstance(rule, RmsProp):
        return rule.learning_rate * g, rule.alpha * state["square_avg"] + (1 - rule.alpha) * square
    if isinstance(rule, Adagrad):
        return rule.learning_rate / (1 + state["step"] * rule.lr_decay) * g, state["sum"] + square
    first, second = (1 - beta ** (state["step"] + 1) for beta in rule.betas)
    m, v = moments(rule, g, square, state)
    return rule.learning_rate * m / first, v / second


@dataclass(frozen=True, slots=True)
class EpsilonPlacement:
    """Epsilon inside the root, sqrt(v + eps), or added before the bias correction, for sqrt(v / c) + eps.

    Libraries differ in it, and it shows where gradients are small or epsilon is large.

    Source: Kingma and Ba 2014, arXiv:1412.6980, section 2, the other order of computation; torch.optim.Adam.
    """

    kind: Literal["epsilon_placement"] = "epsilon_placement"
    place: Literal["inside_root", "before_correction"] = "inside_root"
    about: ClassVar = About("Epsilon in another place", r"\sqrt{v + \epsilon} \text{ for } \sqrt v + \epsilon")

    def applies(self, case: Case) -> bool:
        return isinstance(case.optimizer, Adam | AdamW) if self.place == "before_correction" else is_plain(case)

    def alter(self, c: Computation, case: Case) -> Computation:
        def updated(n: Numbers, i: int, name: str, gradient: Array) -> Array:
            rule, state = n.computation.optimizer, n.case.state[i][name]
            assert isinstance(rule, Adaptive)
            g, w = decayed(rule, gradient, n.layer(i).parameters[name])
            if self.place == "inside_root":
                direction, square = averages(rule, g, g * g, state)
                return w - direction / np.sqrt(square + rule.eps)
            assert isinstance(rule, Adam | AdamW)
            first, second = (1 - beta ** (state["step"] + 1) for beta in rule.betas)
            m, v = moments(rule, g, g * g, state)
            return w - rule.learning_rate * math.sqrt(second) / first * m / (np.sqrt(v) + rule.eps)

        return c._replace(updated=updated)


@dataclass(frozen=True, slots=True)
class AdaptiveStepMixedUp:
    """The step of Adam, RMSprop or Adagrad with one thing taken for another.

    `form` says what: the root of the denominator is left out; the average is that of the gradient's magnitude and not
    of its square, or Adam's of the square of its first average, before the correction of its bias or after it; Adam's
    step is along the gradient itself; an average is a sum, beta m + g, since 1 - beta is missing (the first, the
    second, both); its bias correction multiplies where it should divide; Adam's count of steps, which the correction
    goes by, is one ahead, one behind, or always 1; its two betas are exchanged; RMSprop keeps 1 - alpha of its average
    in place of alpha; the gradient is not scaled at all; or Keras's defaults are taken, 0.9 for RMSprop's alpha, 0.1
    for what Adagrad's sum starts from, 1e-7 for Adam's epsilon.

    Source: Kingma and Ba 2014, arXiv:1412.6980, algorithm 1; torch.optim.Adam, RMSprop and Adagrad.
    """

    kind: Literal["adaptive_step_mixed_up"] = "adaptive_step_mixed_up"
    form: Literal[
        "root_left_out",
        "square_left_out",
        "square_of_average",
        "square_of_corrected_average",
        "gradient_for_average",
        "sum_for_first",
        "sum_for_second",
        "sum_for_both",
        "correction_multiplied",
        "step_ahead",
        "first_step",
        "step_behind",
        "betas_exchanged",
        "alpha_exchanged",
        "plain_gradient",
        "keras_defaults",
    ] = "root_left_out"
    about: ClassVar = About("Adaptive step mixed up", r"\frac{m}{v + \epsilon} \text{ for } "
                            r"\frac{m}{\sqrt v + \epsilon}")  # fmt: skip

    def applies(self, case: Case) -> bool:
        rule = case.optimizer
        match self.form:
            case "root_left_out" | "square_left_out":
                return is_plain(case)
            case "square_of_average" | "square_of_corrected_average" | "gradient_for_average":
                return isinstance(rule, Adam | AdamW)
            case "sum_for_second":
                return is_plain(case) and not isinstance(rule, Adagrad) and not getattr(rule, "amsgrad", False)
            case "sum_for_first" | "sum_for_both" | "correction_multiplied":
                return isinstance(rule, Adam | AdamW) and not rule.amsgrad
            case "step_ahead":
                return isinstance(rule, Corrected)
            case "first_step" | "step_behind":
                return isinstance(rule, Corrected) and steps_before(case) > (1 if self.form == "step_behind" else 0)
            case "betas_exchanged":
                return isinstance(rule, WithBetas) and rule.betas[0] != rule.betas[1]
            case "plain_gradient":
                return isinstance(rule, Corrected | RmsProp | Adagrad)
            case "keras_defaults":
                return _with_keras_defaults(case) != rule
        return isinstance(rule, RmsProp)

    def alter(self, c: Computation, case: Case) -> Computation:
        original: Any = c.optimizer
        if self.form == "betas_exchanged":
            return c._replace(optimizer=replace(original, betas=original.betas[::-1]))
        if self.form == "alpha_exchanged":
            return c._replace(optimizer=replace(original, alpha=1 - original.alpha))

        def updated(n: Numbers, i: int, name: str, gradient: Array) -> Array:
            rule: Any = n.computation.optimizer
            state, parameter = n.case.state[i][name], n.layer(i).parameters[name]
            if self.form == "keras_defaults":
                rule = _with_keras_defaults(case)
                state = state if case.optimizer_state is not None else rule.init(parameter)
                defaults: Array = rule.update(gradient, state, parameter)[0]
                return defaults
            if self.form in ("first_step", "step_ahead", "step_behind"):
                steps = {"first_step": 0, "step_ahead": state["step"] + 1, "step_behind": state["step"] - 1}[self.form]
                new: Array = rule.update(gradient, {**state, "step": steps}, parameter)[0]
                return new
            g, w = decayed(rule, gradient, parameter)
            if self.form == "plain_gradient":
                return w - rule.learning_rate * g
            if self.form == "root_left_out":
                direction, square = averages(rule, g, g * g, state)
                return w - direction / (square + rule.eps)
            if self.form.startswith(("sum_for", "correction")):
                return w - self._unweighted(rule, g, state)
            direction, mean = averages(rule, g, self._squared(rule, g, state), state)
            if self.form == "gradient_for_average":
                direction = rule.learning_rate * g
            return w - direction / (np.sqrt(mean) + rule.eps)

        return c._replace(updated=updated)

    def _unweighted(self, rule: Adam | AdamW | RmsProp, g: Array, state: State) -> Array:
        """The step by averages to which g is added in full, or whose correction is turned round."""
        direction, mean = averages(rule, g, g * g, state)
        if isinstance(rule, RmsProp):
            return direction / (np.sqrt(mean + rule.alpha * g * g) + rule.eps)
        (beta1, beta2), (first, second) = rule.betas, (1 - beta ** (state["step"] + 1) for beta in rule.betas)
        if self.form == "correction_multiplied":
            return direction * first**2 / (np.sqrt(mean * second**2) + rule.eps)
        if self.form != "sum_for_second":
            direction = direction + rule.learning_rate * beta1 * g / first
        if self.form != "sum_for_first":
            mean = mean + beta2 * g * g / second
        return direction / (np.sqrt(mean) + rule.eps)

    def _squared(self, rule: Adaptive, g: Array, state: State) -> Array:
        """What the average in the denominator is of."""
        if self.form == "square_left_out":
            return np.abs(g)
        if self.form == "gradient_for_average":
            return g * g
        assert isinstance(rule, Adam | AdamW)
        m = moments(rule, g, g * g, state)[0]
        if self.form == "square_of_corrected_average":
            m = m / (1 - rule.betas[0] ** (state["step"] + 1))
        return m * m


def _with_keras_defaults(case: Case) -> Any:
    """The optimizer with Keras's defaults where they are not PyTorch's; what a sum starts from matters at the start."""
    rule = case.optimizer
    if isinstance(rule, RmsProp):
        return replace(rule, alpha=0.9)
    if isinstance(rule, Adam | AdamW) and rule.eps == 1e-8:
        return replace(rule, eps=1e-7)
    if isinstance(rule, Adagrad) and case.optimizer_state is None:
        return replace(rule, initial_accumulator_value=0.1)
    return rule


def steps_before(case: Case) -> int:
    """How many steps were made before this one."""
    return min(int(state["step"]) for layer in case.state for state in layer.values())


@dataclass(frozen=True, slots=True)
class StepsCountedPerParameter:
    """Adam's count of steps, which the bias correction goes by, goes on with every array, or every number, of a step.

    The function that updates one of them has `t += 1` in it. They are counted in the order of the answer, layer by
    layer, weights before bias.

    Source: Kingma and Ba 2014, arXiv:1412.6980, algorithm 1.
    """

    kind: Literal["steps_counted_per_parameter"] = "steps_counted_per_parameter"
    of: Literal["arrays", "numbers"] = "arrays"
    about: ClassVar = About("Steps counted per parameter", r"\frac{m}{1 - \beta_1^{t + k}} \text{ for } "
                            r"\frac{m}{1 - \beta_1^t}")  # fmt: skip

    def applies(self, case: Case) -> bool:
        return isinstance(case.optimizer, Adam | AdamW) and sum(self._counts(case).values()) > 1

    def _counts(self, case: Case) -> dict[tuple[int, str], int]:
        """How far each parameter moves the count on."""
        return {(i, n): case.layers[i].parameters[n].size if self.of == "numbers" else 1 for i, n in case.trained}

    def alter(self, c: Computation, case: Case) -> Computation:
        counts = self._counts(case)
        before = dict(zip(counts, [0, *accumulate(counts.values())], strict=False))

        def updated(n: Numbers, i: int, name: str, gradient: Array) -> Array:
            rule, state = n.computation.optimizer, n.case.state[i][name]
            assert isinstance(rule, Adam | AdamW)
            g, w = decayed(rule, gradient, n.layer(i).parameters[name])
            count = np.arange(gradient.size).reshape(gradient.shape) if self.of == "numbers" else 0
            t = state["step"] * sum(counts.values()) + before[i, name] + 1 + count
            m, v = moments(rule, g, g * g, state)
            first, second = (1 - beta**t for beta in rule.betas)
            return w - rule.learning_rate * (m / first) / (np.sqrt(v / second) + rule.eps)

        return c._replace(updated=updated)
