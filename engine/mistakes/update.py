"""Mistakes in regularization, clipping and the update."""

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, ClassVar, Literal

import numpy as np

from engine.clipping import ClipByNorm, norm
from engine.mistakes.activation import LAYER
from engine.mistakes.computation import Case, Computation, Key, Numbers, layer_keys, places
from engine.mistakes.loss import At
from engine.optimizers import Adagrad, Adam, Adamax, AdamW, NAdam, RAdam, RmsProp, Sgd, State
from engine.rules import About, Array, hyper

Adaptive = Adam | AdamW | RmsProp | Adagrad


@dataclass(frozen=True, slots=True)
class RegularizationLeftOut:
    """The penalty left out of the loss, of the gradients, or of both.

    It is added to the loss that is printed and not to its derivative; or the report leaves it out.

    Source: Goodfellow, Bengio and Courville 2016, Deep Learning, 7.1.
    """

    kind: Literal["regularization_left_out"] = "regularization_left_out"
    at: At = "both"
    about: ClassVar = About("Regularization left out", r"L \text{ for } L + \lambda_1 |w| + \tfrac12 \lambda_2 w^2")

    def applies(self, case: Case) -> bool:
        return case.regularization is not None

    def alter(self, c: Computation, case: Case) -> Computation:
        if self.at != "loss":
            c = replace(c, by_penalty=lambda n, i, name: 0.0)
        return c if self.at == "gradients" else replace(c, penalty=lambda n: 0.0)


@dataclass(frozen=True, slots=True)
class RegularizationDoubled:
    """The penalty counted twice: l2 * sum(w^2) without its 1/2, or its derivative 2 * l2 * w.

    Half of the textbooks write the penalty without the 1/2.

    Source: Goodfellow, Bengio and Courville 2016, Deep Learning, 7.1.
    """

    kind: Literal["regularization_doubled"] = "regularization_doubled"
    at: At = "both"
    about: ClassVar = About("Regularization doubled", r"\lambda w^2 \text{ for } \tfrac12 \lambda w^2")

    def applies(self, case: Case) -> bool:
        return case.regularization is not None

    def alter(self, c: Computation, case: Case) -> Computation:
        penalty, by_penalty = c.penalty, c.by_penalty
        if self.at != "loss":
            c = replace(c, by_penalty=lambda n, i, name: 2 * by_penalty(n, i, name))
        return c if self.at == "gradients" else replace(c, penalty=lambda n: 2 * penalty(n))


@dataclass(frozen=True, slots=True)
class RegularizationOnBiases:
    """The penalty applied to the biases too.

    "All parameters" is easier to write than "all weights".

    Source: Goodfellow, Bengio and Courville 2016, Deep Learning, 7.1: biases are left unregularized.
    """

    kind: Literal["regularization_on_biases"] = "regularization_on_biases"
    at: At = "both"
    about: ClassVar = About(
        "Regularization of biases", r"\tfrac12 \lambda (w^2 + b^2) \text{ for } \tfrac12 \lambda w^2"
    )

    def applies(self, case: Case) -> bool:
        return case.regularization is not None and any(layer.bias is not None for layer in case.layers)

    def alter(self, c: Computation, case: Case) -> Computation:
        rule, penalty, by_penalty = case.regularization, c.penalty, c.by_penalty
        assert rule is not None
        biases = [layer.bias for layer in case.layers if layer.bias is not None]

        def of_parameter(n: Numbers, i: int, name: str) -> Any:
            return rule.gradient(n.layer(i).parameters[name]) if name == "bias" else by_penalty(n, i, name)

        if self.at != "loss":
            c = replace(c, by_penalty=of_parameter)
        if self.at != "gradients":
            c = replace(c, penalty=lambda n: penalty(n) + sum(rule.penalty(b) for b in biases))
        return c


@dataclass(frozen=True, slots=True)
class ClippingLeftOut:
    """The update takes the gradients as they are before clipping.

    The clipped gradients are computed, or clipped in a copy, and the others used.

    Source: Pascanu et al. 2012, arXiv:1211.5063; torch.nn.utils.clip_grad_norm_.
    """

    kind: Literal["clipping_left_out"] = "clipping_left_out"
    about: ClassVar = About("Clipping left out", r"g \text{ for } g \min(1, c / \lVert g \rVert)")

    def applies(self, case: Case) -> bool:
        return case.clipping is not None and case.optimizer is not None

    def alter(self, c: Computation, case: Case) -> Computation:
        return replace(c, clipped=lambda n, gradients: gradients)


@dataclass(frozen=True, slots=True)
class ClippingPerLayer:
    """Each layer's gradients, or each parameter's, clipped by their own norm in place of the norm of all together.

    It changes the direction of the step; clipping by the global norm keeps it.

    Source: Pascanu et al. 2012, arXiv:1211.5063; torch.nn.utils.clip_grad_norm_.
    """

    kind: Literal["clipping_per_layer"] = "clipping_per_layer"
    per: Literal["layer", "parameter"] = "layer"
    about: ClassVar = About("Clipping per layer", r"g_l \min(1, c / \lVert g_l \rVert)")

    def applies(self, case: Case) -> bool:
        return isinstance(case.clipping, ClipByNorm) and case.optimizer is not None

    def alter(self, c: Computation, case: Case) -> Computation:
        rule = case.clipping
        assert rule is not None

        def clipped(n: Numbers, gradients: list[Array]) -> list[Array]:
            groups: dict[Any, list[int]] = {}
            for k, (i, name) in enumerate(places(case)):
                groups.setdefault(i if self.per == "layer" else (i, name), []).append(k)
            result = list(gradients)
            for group in groups.values():
                own = [gradients[k] for k in group]
                for k, gradient in zip(group, rule.clip(own, norm(own)), strict=True):
                    result[k] = gradient
            return result

        return replace(c, clipped=clipped)


@dataclass(frozen=True, slots=True)
class GradientsAfterClipping:
    """The gradients given are those after clipping; here, gradients are those before.

    Clipping in place overwrites them.

    Source: torch.nn.utils.clip_grad_norm_, which works in place.
    """

    kind: Literal["gradients_after_clipping"] = "gradients_after_clipping"
    about: ClassVar = About("Gradients given after clipping", r"g \min(1, c / \lVert g \rVert) \text{ for } g")

    def applies(self, case: Case) -> bool:
        return case.clipping is not None

    def alter(self, c: Computation, case: Case) -> Computation:
        written, rule = c.written, case.clipping
        assert rule is not None

        def clipped(answer: dict[Key, Any]) -> dict[Key, Any]:
            answer = dict(answer) if written is None else written(answer)
            keys = [layer_keys(i).by[name] for i, name in places(case)]
            gradients = [answer[key] for key in keys]
            return answer | dict(zip(keys, rule.clip(gradients, norm(gradients)), strict=True))

        return replace(c, written=clipped)


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
            return replace(c, updated=lambda n, i, name, g: before(n, i, name, -g))
        return replace(c, updated=lambda n, i, name, g: 2 * n.layer(i).parameters[name] - before(n, i, name, g))


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
        return replace(c, optimizer=replace(c.optimizer, learning_rate=1.0))


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
        before, times = c.updated, float(Fraction(self.times))

        def updated(n: Numbers, i: int, name: str, gradient: Array) -> Array:
            old = n.layer(i).parameters[name]
            return old + times * (before(n, i, name, gradient) - old)

        return replace(c, updated=updated)


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

        return replace(c, updated=updated)


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

        return replace(c, updated=updated)


@dataclass(frozen=True, slots=True)
class MomentumMixedUp:
    """Momentum left out, averaged, or of the other kind.

    `form` says how: the step is the gradient alone (left_out); b = momentum b + (1 - momentum) g, an average, for
    b = momentum b + g (averaged); Nesterov's step for the plain one or the reverse (nesterov).

    Source: Sutskever et al. 2013; torch.optim.SGD, which tells how it differs from others.
    """

    kind: Literal["momentum_mixed_up"] = "momentum_mixed_up"
    form: Literal["left_out", "averaged", "nesterov"] = "left_out"
    about: ClassVar = About("Momentum mixed up", r"b \leftarrow \mu b + (1 - \mu) g \text{ for } \mu b + g")

    def applies(self, case: Case) -> bool:
        return isinstance(case.optimizer, Sgd) and case.optimizer.momentum > 0

    def alter(self, c: Computation, case: Case) -> Computation:
        rule = c.optimizer
        assert isinstance(rule, Sgd)
        if self.form == "left_out":
            return replace(c, optimizer=replace(rule, momentum=0.0, nesterov=False, dampening=0.0))
        if self.form == "nesterov":
            return replace(c, optimizer=replace(rule, nesterov=not rule.nesterov, dampening=0.0))

        def updated(n: Numbers, i: int, name: str, gradient: Array) -> Array:
            parameter, state = n.layer(i).parameters[name], n.case.state[i][name]
            g = (-gradient if rule.maximize else gradient) + rule.weight_decay * parameter
            b = rule.momentum * state["momentum_buffer"] + (1 - rule.momentum) * g
            return parameter - rule.learning_rate * (g + rule.momentum * b if rule.nesterov else b)

        return replace(c, updated=updated)


def _decayed(rule: Any, gradient: Array, parameter: Array) -> tuple[Array, Array]:
    """Gradient and parameter after weight decay, coupled or decoupled."""
    g = -gradient if rule.maximize else gradient
    if rule.weight_decay and (isinstance(rule, AdamW) or getattr(rule, "decoupled_weight_decay", False)):
        return g, parameter * (1 - rule.learning_rate * rule.weight_decay)
    return g + rule.weight_decay * parameter, parameter


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
            g, w = _decayed(rule, gradient, n.layer(i).parameters[name])
            first = 1.0 if self.of in ("both", "first") else 1 - rule.betas[0] ** (state["step"] + 1)
            m, v = _moments(rule, g, state)
            if isinstance(rule, Adamax):
                return w - rule.learning_rate / first * (m / v)
            second = 1.0 if self.of in ("both", "second") else 1 - rule.betas[1] ** (state["step"] + 1)
            return w - rule.learning_rate * (m / first) / (np.sqrt(v / second) + rule.eps)

        return replace(c, updated=updated)


def _moments(rule: Adam | AdamW | Adamax, g: Array, state: State) -> tuple[Array, Array]:
    """The averages of the gradient and of its square (Adamax: its largest magnitude)."""
    beta1, beta2 = rule.betas
    m = beta1 * state["exp_avg"] + (1 - beta1) * g
    if isinstance(rule, Adamax):
        return m, np.maximum(beta2 * state["exp_inf"], np.abs(g) + rule.eps)
    v = beta2 * state["exp_avg_sq"] + (1 - beta2) * (g * g)
    return m, np.maximum(state["max_exp_avg_sq"], v) if rule.amsgrad else v


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
        rule = case.optimizer
        if self.place == "before_correction":
            return isinstance(rule, Adam | AdamW)
        if isinstance(rule, RmsProp):
            return not rule.momentum and not rule.centered
        return isinstance(rule, Adam | AdamW | Adagrad)

    def alter(self, c: Computation, case: Case) -> Computation:
        def updated(n: Numbers, i: int, name: str, gradient: Array) -> Array:
            rule, state = n.computation.optimizer, n.case.state[i][name]
            assert isinstance(rule, Adaptive)
            g, w = _decayed(rule, gradient, n.layer(i).parameters[name])
            if isinstance(rule, RmsProp):
                v = rule.alpha * state["square_avg"] + (1 - rule.alpha) * (g * g)
                return w - rule.learning_rate * g / np.sqrt(v + rule.eps)
            if isinstance(rule, Adagrad):
                rate = rule.learning_rate / (1 + state["step"] * rule.lr_decay)
                return w - rate * g / np.sqrt(state["sum"] + g * g + rule.eps)
            first, second = (1 - beta ** (state["step"] + 1) for beta in rule.betas)
            m, v = _moments(rule, g, state)
            if self.place == "inside_root":
                return w - rule.learning_rate * (m / first) / np.sqrt(v / second + rule.eps)
            return w - rule.learning_rate * math.sqrt(second) / first * m / (np.sqrt(v) + rule.eps)

        return replace(c, updated=updated)


@dataclass(frozen=True, slots=True)
class WeightDecayMixedUp:
    """Weight decay of the other kind: coupled (added to the gradient) for decoupled (taken from the weight), or the
    reverse; or left out; or taken from the weight without the learning rate.

    Adam's weight_decay is coupled in PyTorch and decoupled in Keras.

    Source: Loshchilov and Hutter 2017, arXiv:1711.05101.
    """

    kind: Literal["weight_decay_mixed_up"] = "weight_decay_mixed_up"
    form: Literal["other_kind", "left_out", "without_learning_rate"] = "other_kind"
    about: ClassVar = About("Weight decay mixed up", r"g + \lambda w \text{ for } w (1 - \eta \lambda), "
                            r"\text{ or the reverse}")  # fmt: skip

    def applies(self, case: Case) -> bool:
        if not getattr(case.optimizer, "weight_decay", 0):
            return False
        return self.form != "other_kind" or isinstance(case.optimizer, Adam | AdamW | NAdam | RAdam | Sgd | RmsProp)

    def alter(self, c: Computation, case: Case) -> Computation:
        rule: Any = c.optimizer
        without = replace(rule, weight_decay=0.0)
        if self.form == "left_out":
            return replace(c, optimizer=without)
        if self.form == "other_kind":
            if isinstance(rule, NAdam | RAdam):
                return replace(c, optimizer=replace(rule, decoupled_weight_decay=not rule.decoupled_weight_decay))
            if isinstance(rule, AdamW):
                shared = {
                    name: getattr(rule, name) for name in ("learning_rate", "betas", "eps", "amsgrad", "maximize")
                }
                return replace(c, optimizer=Adam(weight_decay=rule.weight_decay, **shared))
        rate = 1.0 if self.form == "without_learning_rate" else rule.learning_rate

        def updated(n: Numbers, i: int, name: str, gradient: Array) -> Array:
            w = n.layer(i).parameters[name]
            new: Array = without.update(gradient, n.case.state[i][name], w)[0]
            return new - rate * rule.weight_decay * w

        return replace(c, updated=updated)
