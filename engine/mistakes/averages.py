"""Slips in the averages of the optimizers that scale a step by them, and in the buffer of momentum, seldom made."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from engine.adam_optimizers import Adam, AdamW
from engine.descent import State
from engine.mistakes.adaptive import averages, decayed, is_plain, moments, steps_before
from engine.mistakes.computation import Case, Computation, Numbers
from engine.optimizers import Adagrad, RmsProp, Sgd
from engine.rules import About, Array


@dataclass(frozen=True, slots=True)
class AveragesMixedUp:
    """The averages of Adam, RMSprop or Adagrad with one factor or number taken for another.

    Each average has a factor for what it keeps, another for what enters it, and a correction of its own, which are
    easily copied from one to the other.

    `form` says what: 1 - beta stands for beta, in the average of the gradient (first_exchanged), of its square, or in
    both; the bias of both averages is corrected with beta1 (corrected_by_first) or with beta2, or each with the other's
    (corrections_exchanged); the power of one correction is left out, 1 - beta for 1 - beta^t (first_without_power,
    second_without_power), or one multiplies where it should divide (first_multiplied, second_multiplied); the learning
    rate is multiplied by (1 - beta2^t) / (1 - beta1^t), whose numerator has lost its root (correction_without_root);
    the step is made of the averages as they were before this gradient entered them (before_gradient); the square is
    that of (1 - beta) g (share_squared); or the squares are added up, or averaged, over the whole array, so that all of
    its numbers have one average (one_sum, one_mean).

    Source: Kingma and Ba 2014, arXiv:1412.6980, algorithm 1 and section 2; torch.optim.Adam, RMSprop and Adagrad.
    """

    kind: Literal["averages_mixed_up"] = "averages_mixed_up"
    form: Literal[
        "first_exchanged",
        "second_exchanged",
        "both_exchanged",
        "corrected_by_first",
        "corrected_by_second",
        "corrections_exchanged",
        "first_without_power",
        "second_without_power",
        "first_multiplied",
        "second_multiplied",
        "correction_without_root",
        "before_gradient",
        "share_squared",
        "one_sum",
        "one_mean",
    ] = "both_exchanged"
    about: ClassVar = About("Averages mixed up", r"m \leftarrow (1 - \beta_1) m + \beta_1 g \text{ for } "
                            r"\beta_1 m + (1 - \beta_1) g")  # fmt: skip

    def applies(self, case: Case) -> bool:
        rule = case.optimizer
        if not is_plain(case) or getattr(rule, "amsgrad", False):
            return False
        match self.form:
            case "before_gradient":
                return steps_before(case) > 0
            case "first_without_power" | "second_without_power":
                return steps_before(case) > 0 and isinstance(rule, Adam | AdamW)
            case "share_squared":
                return not isinstance(rule, Adagrad)
            case "one_sum" | "one_mean":
                return True
        return isinstance(rule, Adam | AdamW)

    def alter(self, c: Computation, case: Case) -> Computation:
        def updated(n: Numbers, i: int, name: str, gradient: Array) -> Array:
            rule: Any = n.computation.optimizer
            g, w = decayed(rule, gradient, n.layer(i).parameters[name])
            return w - self._step(rule, g, n.case.state[i][name])

        return c._replace(updated=updated)

    def _step(self, rule: Any, g: Array, state: State) -> Array:
        if isinstance(rule, Adam | AdamW) and self.form not in ("one_sum", "one_mean", "share_squared"):
            direction, mean = self._corrected(rule, g, state)
        else:
            direction, mean = averages(rule, g, self._square(rule, g), state)
            if self.form == "before_gradient":
                mean = state["sum" if isinstance(rule, Adagrad) else "square_avg"]
        return np.asarray(direction / (np.sqrt(mean) + rule.eps))

    def _square(self, rule: Any, g: Array) -> Array:
        """What enters the average of the squares."""
        match self.form:
            case "one_sum":
                return np.asarray(np.square(g).sum())
            case "one_mean":
                return np.asarray(np.square(g).mean())
            case "share_squared":
                return (1 - (rule.alpha if isinstance(rule, RmsProp) else rule.betas[1])) * g * g
        return g * g

    def _corrected(self, rule: Adam | AdamW, g: Array, state: State) -> tuple[Array, Array]:
        """Adam's first average, times the learning rate, and its second, each by its correction."""
        (beta1, beta2), t = rule.betas, state["step"] + 1
        kept = (
            1 - beta1 if self.form in ("first_exchanged", "both_exchanged") else beta1,
            1 - beta2 if self.form in ("second_exchanged", "both_exchanged") else beta2,
        )
        m, v = moments(rule, g, g * g, state, kept)
        if self.form == "before_gradient":
            m, v = state["exp_avg"], state["exp_avg_sq"]
        first, second = 1 - beta1**t, 1 - beta2**t
        match self.form:
            case "corrected_by_first":
                second = first
            case "corrected_by_second":
                first = second
            case "corrections_exchanged":
                first, second = second, first
            case "first_without_power":
                first = 1 - beta1
            case "second_without_power":
                second = 1 - beta2
            case "first_multiplied":
                first = 1 / first
            case "second_multiplied":
                second = 1 / second
            case "correction_without_root":
                return rule.learning_rate * second / first * m, v
        return rule.learning_rate * m / first, v / second


@dataclass(frozen=True, slots=True)
class MomentumBufferOfOtherForm:
    """The buffer of momentum kept by another rule than the one that the request's state was kept by.

    Frameworks keep it in several forms, each right by itself; but the state of one is no state of another.

    `form` says which: (1 - momentum) b + momentum g (exchanged); b + g, which keeps all of it (kept_whole); or a buffer
    that has the learning rate in it, b = momentum b + learning_rate g and w - b (with_learning_rate), that points
    downhill, b = momentum b - g and w + learning_rate b (downhill), or both, as Keras's velocity
    (downhill_with_learning_rate).

    Source: Sutskever et al. 2013; torch.optim.SGD, which tells how it differs from others; keras.optimizers.SGD.
    """

    kind: Literal["momentum_buffer_of_other_form"] = "momentum_buffer_of_other_form"
    form: Literal["exchanged", "kept_whole", "with_learning_rate", "downhill", "downhill_with_learning_rate"] = (
        "with_learning_rate"
    )
    about: ClassVar = About("Momentum's buffer of another form", r"b \leftarrow \mu b + \eta g, \; w - b "
                            r"\text{ for } b \leftarrow \mu b + g, \; w - \eta b")  # fmt: skip

    def applies(self, case: Case) -> bool:
        rule = case.optimizer
        if not isinstance(rule, Sgd) or steps_before(case) == 0:
            return False
        return rule.momentum > 0 and rule.dampening == 0 and rule.learning_rate > 0

    def alter(self, c: Computation, case: Case) -> Computation:
        def updated(n: Numbers, i: int, name: str, gradient: Array) -> Array:
            rule, w = n.computation.optimizer, n.layer(i).parameters[name]
            assert isinstance(rule, Sgd)
            g, _ = decayed(rule, gradient, w)
            kept, mu = n.case.state[i][name]["momentum_buffer"], rule.momentum
            if self.form.startswith("downhill"):
                kept = -kept
            if self.form.endswith("with_learning_rate"):
                kept = kept / rule.learning_rate
            if self.form == "exchanged":
                b = (1 - mu) * kept + mu * g
            else:
                b = (1.0 if self.form == "kept_whole" else mu) * kept + g
            return np.asarray(w - rule.learning_rate * (g + mu * b if rule.nesterov else b))

        return c._replace(updated=updated)
