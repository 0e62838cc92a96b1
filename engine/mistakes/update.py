"""Mistakes in the update."""

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, ClassVar, Literal

from engine.adam_optimizers import Adam, AdamW, NAdam, RAdam
from engine.descent import descended
from engine.mistakes.computation import LAYER, Case, Computation, Numbers
from engine.mistakes.factor import longer_step
from engine.optimizers import RmsProp, Sgd
from engine.rules import About, Array, hyper


@dataclass(frozen=True, slots=True)
class PlusInPlaceOfMinus:
    """The step goes uphill: w plus the step in place of w minus it.

    The sign is lost where the gradient was already negated, or never was.

    Source: Rumelhart, Hinton and Williams 1986, doi:10.1038/323533a0, equation 8.
    """

    kind: Literal["plus_in_place_of_minus"] = "plus_in_place_of_minus"
    of: Literal["step", "gradient"] = "step"
    about: ClassVar = About("Plus in place of minus", r"w + \eta g \text{ for } w - \eta g")

    def applies(self, case: Case) -> bool:
        return case.optimizer is not None

    def alter(self, c: Computation, case: Case) -> Computation:
        before = c.updated
        if self.of == "gradient":
            return c._replace(updated=lambda n, i, name, g: before(n, i, name, -g))
        return c._replace(updated=lambda n, i, name, g: 2 * n.layer(i).parameters[name] - before(n, i, name, g))


@dataclass(frozen=True, slots=True)
class LearningRateMissing:
    """The step is not multiplied by the learning rate.

    w - g is right for a learning rate of 1 only.

    Source: Rumelhart, Hinton and Williams 1986, doi:10.1038/323533a0, equation 8.
    """

    kind: Literal["learning_rate_missing"] = "learning_rate_missing"
    about: ClassVar = About("Learning rate missing", r"w - g \text{ for } w - \eta g")

    def applies(self, case: Case) -> bool:
        return case.optimizer is not None and case.optimizer.kind != "rprop"

    def alter(self, c: Computation, case: Case) -> Computation:
        assert c.optimizer is not None
        return c._replace(optimizer=replace(c.optimizer, learning_rate=1.0))


@dataclass(frozen=True, slots=True)
class LearningRateTwice:
    """The step multiplied by the learning rate twice.

    The gradient, or the buffer of the momentum, has it already when the update multiplies by it.

    Source: Rumelhart, Hinton and Williams 1986, doi:10.1038/323533a0, equation 8.
    """

    kind: Literal["learning_rate_twice"] = "learning_rate_twice"
    about: ClassVar = About("Learning rate twice", r"w - \eta^2 g \text{ for } w - \eta g")

    def applies(self, case: Case) -> bool:
        rule = case.optimizer
        return rule is not None and rule.kind != "rprop" and rule.learning_rate != 1

    def alter(self, c: Computation, case: Case) -> Computation:
        return longer_step(c, getattr(c.optimizer, "learning_rate", 1.0))


@dataclass(frozen=True, slots=True)
class StepInPlaceOfParameters:
    """The step alone stands where the parameters after it should: -eta g for w - eta g.

    `=` is written for `+=` or `-=`, or the change is returned and not added.

    Source: Rumelhart, Hinton and Williams 1986, doi:10.1038/323533a0, equation 8.
    """

    kind: Literal["step_in_place_of_parameters"] = "step_in_place_of_parameters"
    sign: Literal["minus", "plus"] = "minus"
    about: ClassVar = About("Step in place of parameters", r"-\eta g \text{ for } w - \eta g")

    def applies(self, case: Case) -> bool:
        return case.optimizer is not None

    def alter(self, c: Computation, case: Case) -> Computation:
        before, sign = c.updated, 1 if self.sign == "minus" else -1

        def updated(n: Numbers, i: int, name: str, gradient: Array) -> Array:
            return sign * (before(n, i, name, gradient) - n.layer(i).parameters[name])

        return c._replace(updated=updated)


@dataclass(frozen=True, slots=True)
class LearningRateOff:
    """The step as many times as long: a learning rate that is off by a power of ten, by 2 or by 1/2.

    A zero too many or too few is typed; or the step is that of another learning rate, of a schedule or a default.

    Source: Rumelhart, Hinton and Williams 1986, doi:10.1038/323533a0, equation 8.
    """

    kind: Literal["learning_rate_off"] = "learning_rate_off"
    times: Literal["10", "1/10", "2", "1/2", "100", "1/100", "1000", "1/1000"] = "10"
    about: ClassVar = About("Learning rate off by a factor", r"w - k \eta g \text{ for } w - \eta g")

    def applies(self, case: Case) -> bool:
        return case.optimizer is not None and case.optimizer.kind != "rprop"

    def alter(self, c: Computation, case: Case) -> Computation:
        return longer_step(c, float(Fraction(self.times)))


@dataclass(frozen=True, slots=True)
class NotUpdated:
    """Parameters are left as they were: those before the step stand in place of those after it.

    The loop goes over the weights and forgets the biases, stops a layer too early, or returns the old network.

    Source: Rumelhart, Hinton and Williams 1986, doi:10.1038/323533a0, equation 8, which is for every weight.
    """

    kind: Literal["not_updated"] = "not_updated"
    of: Literal["all", "weights", "bias"] = "all"
    layer: int | None = hyper(None, description=LAYER)
    about: ClassVar = About("Parameters not updated", r"w \text{ for } w - \eta g")

    def applies(self, case: Case) -> bool:
        return case.optimizer is not None

    def alter(self, c: Computation, case: Case) -> Computation:
        before = c.updated

        def updated(n: Numbers, i: int, name: str, gradient: Array) -> Array:
            left = self.layer in (None, i) and self.of in ("all", name)
            return n.layer(i).parameters[name] if left else before(n, i, name, gradient)

        return c._replace(updated=updated)


@dataclass(frozen=True, slots=True)
class FrozenUpdated:
    """Frozen parameters are updated all the same, and count where gradients are clipped.

    The flag is set after the optimizer was given the parameters, or the loop never asks for it.

    Source: torch.Tensor.requires_grad; keras.Layer.trainable, which takes effect at compile.
    """

    kind: Literal["frozen_updated"] = "frozen_updated"
    about: ClassVar = About("Frozen parameters updated", r"w - \eta g \text{ for } w")

    def applies(self, case: Case) -> bool:
        return case.optimizer is not None and any(layer.frozen for layer in case.layers)

    def alter(self, c: Computation, case: Case) -> Computation:
        return c._replace(trained=lambda case: case.everywhere)


@dataclass(frozen=True, slots=True)
class OptimizerStateNotKept:
    """The optimizer starts afresh: its state is not that of the request.

    A new optimizer made in each step forgets momentum, averages and the count of steps.

    Source: torch.optim.Optimizer, its state_dict.
    """

    kind: Literal["optimizer_state_not_kept"] = "optimizer_state_not_kept"
    about: ClassVar = About("Optimizer state not kept", r"t = 1, \; m = v = 0")

    def applies(self, case: Case) -> bool:
        return case.optimizer is not None and case.optimizer_state is not None

    def alter(self, c: Computation, case: Case) -> Computation:
        def updated(n: Numbers, i: int, name: str, gradient: Array) -> Array:
            parameter, rule = n.layer(i).parameters[name], n.computation.optimizer
            assert rule is not None
            return rule.update(gradient, rule.init(parameter), parameter)[0]

        return c._replace(updated=updated)


@dataclass(frozen=True, slots=True)
class MomentumMixedUp:
    """Momentum left out, averaged, or of the other kind.

    `form` says how: the step is the gradient alone (left_out); b = momentum b + (1 - momentum) g, an average, for
    b = momentum b + g (averaged); Nesterov's step for the plain one or the reverse (nesterov); or it takes the buffer
    as it was before this gradient entered it (buffer_before).

    Source: Sutskever et al. 2013; torch.optim.SGD, which tells how it differs from others.
    """

    kind: Literal["momentum_mixed_up"] = "momentum_mixed_up"
    form: Literal["left_out", "averaged", "nesterov", "buffer_before"] = "left_out"
    about: ClassVar = About("Momentum mixed up", r"b \leftarrow \mu b + (1 - \mu) g \text{ for } \mu b + g")

    def applies(self, case: Case) -> bool:
        if not isinstance(case.optimizer, Sgd) or case.optimizer.momentum == 0:
            return False
        return self.form != "buffer_before" or case.optimizer_state is not None

    def alter(self, c: Computation, case: Case) -> Computation:
        rule = c.optimizer
        assert isinstance(rule, Sgd)
        if self.form == "left_out":
            return c._replace(optimizer=replace(rule, momentum=0.0, nesterov=False, dampening=0.0))
        if self.form == "nesterov":
            return c._replace(optimizer=replace(rule, nesterov=not rule.nesterov, dampening=0.0))

        def updated(n: Numbers, i: int, name: str, gradient: Array) -> Array:
            parameter, state = n.layer(i).parameters[name], n.case.state[i][name]
            g = descended(gradient, parameter, rule.weight_decay, rule.maximize)
            b = state["momentum_buffer"]
            if self.form == "averaged":
                b = rule.momentum * b + (1 - rule.momentum) * g
            return parameter - rule.learning_rate * (g + rule.momentum * b if rule.nesterov else b)

        return c._replace(updated=updated)


@dataclass(frozen=True, slots=True)
class WeightDecayMixedUp:
    """Weight decay of the other kind: coupled (added to the gradient) for decoupled (taken from the weight), or the
    reverse; or left out, doubled, or of the wrong sign; or taken from the weight without the learning rate.

    Adam's weight_decay is coupled in PyTorch and decoupled in Keras.

    Source: Loshchilov and Hutter 2017, arXiv:1711.05101.
    """

    kind: Literal["weight_decay_mixed_up"] = "weight_decay_mixed_up"
    form: Literal["other_kind", "left_out", "without_learning_rate", "doubled", "wrong_sign"] = "other_kind"
    about: ClassVar = About("Weight decay mixed up", r"g + \lambda w \text{ for } w (1 - \eta \lambda), "
                            r"\text{ or the reverse}")  # fmt: skip

    def applies(self, case: Case) -> bool:
        if not getattr(case.optimizer, "weight_decay", 0):
            return False
        return self.form != "other_kind" or isinstance(case.optimizer, Adam | AdamW | NAdam | RAdam | Sgd | RmsProp)

    def alter(self, c: Computation, case: Case) -> Computation:
        rule: Any = c.optimizer
        without = replace(rule, weight_decay=0.0)
        if self.form in ("left_out", "doubled", "wrong_sign"):
            times = {"left_out": 0.0, "doubled": 2.0, "wrong_sign": -1.0}[self.form]
            return c._replace(optimizer=replace(rule, weight_decay=times * rule.weight_decay))
        if self.form == "other_kind":
            if isinstance(rule, NAdam | RAdam):
                return c._replace(optimizer=replace(rule, decoupled_weight_decay=not rule.decoupled_weight_decay))
            if isinstance(rule, AdamW):
                shared = {
                    name: getattr(rule, name) for name in ("learning_rate", "betas", "eps", "amsgrad", "maximize")
                }
                return c._replace(optimizer=Adam(weight_decay=rule.weight_decay, **shared))
        rate = 1.0 if self.form == "without_learning_rate" else rule.learning_rate

        def updated(n: Numbers, i: int, name: str, gradient: Array) -> Array:
            w = n.layer(i).parameters[name]
            new: Array = without.update(gradient, n.case.state[i][name], w)[0]
            return new - rate * rule.weight_decay * w

        return c._replace(updated=updated)
