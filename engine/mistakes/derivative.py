"""Mistakes in the formula of an activation's derivative, at its kinks, and in its hyperparameters."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from engine.activations import Activation, Sigmoid, Tanh
from engine.mistakes.activation import SOFTMAXES, in_own_derivative
from engine.mistakes.computation import LAYER, Case, Computation, Numbers
from engine.piecewise_activations import LeakyRelu, Relu
from engine.rules import About, Array, hyper, row_sums

STRAIGHT = ("identity", "relu", "relu6", "hard_tanh", "hard_shrink", "soft_shrink", "threshold")
"""The activations whose derivative is 0 or 1 everywhere, so that its square is the same."""
KINKED = (*STRAIGHT[1:], "leaky_relu", "hard_sigmoid", "hard_swish", "elu", "celu", "selu")
OTHERS: dict[str, Any] = {"relu": Relu(), "tanh": Tanh(), "sigmoid": Sigmoid(), "leaky_relu": LeakyRelu()}
"""The activations that are most often taken for one another."""
FORMULAS = {
    "a": ("sigmoid", "relu", "tanh", "leaky_relu"),
    "1 - a": ("sigmoid", "tanh"),
    "a (1 + a)": ("sigmoid",),
    "1 - a^2": ("sigmoid",),
    "a (1 - a)": ("tanh",),
    "1 + a^2": ("tanh",),
    "(1 - a)^2": ("sigmoid", "tanh"),
    "sqrt(1 - a^2)": ("tanh",),
    "a^2": ("sigmoid", "tanh"),
    "1 - 2 a": ("tanh",),
    "a / z": ("gelu", "silu"),
    "a * 1 - a": ("sigmoid",),
    "a where z < 0": ("elu",),
}
"""The wrong formulas of a derivative, and the activations for which they are written."""


@dataclass(frozen=True, slots=True)
class DerivativeFormulaWrong:
    """A wrong formula of sigmoid's derivative, a (1 - a), or of tanh's, 1 - a^2: half of it, another sign, no square or
    one in another place, no brackets, or that of the other one; or the activation itself, a, as elu's for a + alpha
    where z < 0; or of gelu's and silu's, which are z times a function, that function alone: a / z.

    Both are called sigmoid in places, and both formulas are short enough to be written from memory. A product has a
    derivative of two terms.

    Source: LeCun et al. 1998, Efficient BackProp, section 4.4.
    """

    kind: Literal["derivative_formula_wrong"] = "derivative_formula_wrong"
    formula: Literal[
        "a", "1 - a", "a (1 + a)", "1 - a^2", "a (1 - a)", "1 + a^2", "a * 1 - a", "a / z", "(1 - a)^2",
        "sqrt(1 - a^2)", "a^2", "1 - 2 a", "a where z < 0",
    ] = "1 - a"  # fmt: skip
    layer: int | None = hyper(None, description=LAYER)
    about: ClassVar = About("Wrong formula of a derivative", r"1 - a \text{ for } a (1 - a) \text{ or } 1 - a^2")

    def applies(self, case: Case) -> bool:
        return bool(case.of_kinds(FORMULAS[self.formula], self.layer))

    def alter(self, c: Computation, case: Case) -> Computation:
        before = c.by_preactivations

        def stage(n: Numbers, i: int) -> Array:
            if n.layer(i).activation.kind not in FORMULAS[self.formula]:
                return before(n, i)
            if self.formula == "a / z":
                return n.by_a[i] * np.divide(n.a[i], n.z[i], out=np.full_like(n.a[i], 0.5), where=n.z[i] != 0)
            if self.formula == "a where z < 0":
                return n.by_a[i] * np.where(n.z[i] < 0, n.a[i], 1.0)
            return n.by_a[i] * self._derivative(n.a[i])

        return in_own_derivative(c, case, self.layer, stage)

    def _derivative(self, a: Array) -> Array:
        match self.formula:
            case "a":
                return a
            case "1 - a":
                return 1 - a
            case "a (1 + a)":
                return a * (1 + a)
            case "1 - a^2":
                return 1 - a * a
            case "a (1 - a)":
                return a * (1 - a)
            case "a * 1 - a":
                return np.zeros_like(a)
            case "(1 - a)^2":
                return (1 - a) ** 2
            case "sqrt(1 - a^2)":
                return np.array(np.sqrt(1 - a * a))
            case "a^2":
                return a * a
            case "1 - 2 a":
                return 1 - 2 * a
        return 1 + a * a


@dataclass(frozen=True, slots=True)
class DerivativeTwice:
    """The activation's derivative multiplied twice: f'(z)^2 for f'(z).

    The error is multiplied by it where it arrives at a layer, and once more where it is used or passed on.

    Source: Rumelhart, Hinton and Williams 1986, doi:10.1038/323533a0, equation 5.
    """

    kind: Literal["derivative_twice"] = "derivative_twice"
    layer: int | None = hyper(None, description=LAYER)
    about: ClassVar = About("Activation's derivative twice", r"f'(z)^2 \text{ for } f'(z)")

    def applies(self, case: Case) -> bool:
        if self.layer == case.depth - 1:
            return False
        return any(layer.activation.kind not in STRAIGHT for layer in case.layers_of(self.layer)[: case.depth - 1])

    def alter(self, c: Computation, case: Case) -> Computation:
        before = c.by_preactivations
        return in_own_derivative(
            c, case, self.layer, lambda n, i: n.layer(i).activation.backward(before(n, i), n.z[i], n.a[i])
        )


@dataclass(frozen=True, slots=True)
class DerivativeAtKink:
    """The derivative from the other side where a preactivation is exactly at a kink, as relu'(0) = 1; or the middle of
    both sides.

    No value is more right than the other. The engine takes PyTorch's; z >= 0 written for z > 0 gives the other one, and
    zeros are frequent where weights or inputs are.

    Source: torch.nn.ReLU, whose derivative at 0 is 0.
    """

    kind: Literal["derivative_at_kink"] = "derivative_at_kink"
    side: Literal["other", "middle"] = "other"
    about: ClassVar = About("Derivative at a kink", r"f'(0) = 1 \text{ for } f'(0) = 0")

    def applies(self, case: Case) -> bool:
        kinked = case.of_kinds(KINKED)
        return any(_sides(case.layers[i].activation, case.preactivations[i])[2].any() for i in kinked)

    def alter(self, c: Computation, case: Case) -> Computation:
        before = c.by_preactivations

        def stage(n: Numbers, i: int) -> Array:
            here = before(n, i)
            left, right, kinks = _sides(n.layer(i).activation, n.z[i])
            middle = n.by_a[i] * (left + right) / 2
            return np.where(kinks, middle if self.side == "middle" else 2 * middle - here, here)

        return c.in_layers(case.of_kinds(KINKED), by_preactivations=stage)


def _sides(rule: Activation, z: Array) -> tuple[Array, Array, Array]:
    """The derivatives a little below and above each z, and where they differ."""
    step, ones = 1e-9 * np.maximum(np.abs(z), 1), np.ones_like(z)
    left, right = (rule.backward(ones, near, rule.forward(near)) for near in (z - step, z + step))
    return left, right, np.abs(left - right) > 1e-6


@dataclass(frozen=True, slots=True)
class OtherActivation:
    """Another activation in place of a layer's own, or its derivative alone; in one layer, or in all hidden ones.

    The name is mistyped or a line is copied; or the function is exchanged and its derivative is still that of the one
    before. Sigmoid in place of the outputs' softmax leaves the error y - t as it is.

    Source: none needed; two configurations are compared.
    """

    kind: Literal["other_activation"] = "other_activation"
    to: Literal["relu", "tanh", "sigmoid", "leaky_relu"] = "relu"
    of: Literal["both", "derivative"] = "both"
    layer: int | None = hyper(None, description=LAYER)
    about: ClassVar = About("Another activation", r"g(z) \text{ for } f(z)")

    def applies(self, case: Case) -> bool:
        return bool(self._layers(case))

    def _layers(self, case: Case) -> list[int]:
        return [i for i in case.indices(self.layer) if self._is_other(case, i)]

    def _is_other(self, case: Case, i: int) -> bool:
        own, hidden = case.layers[i].activation.kind, i < case.depth - 1 or case.depth == 1
        other = own not in (self.to, *SOFTMAXES) or self._is_for_softmax(case, i)
        return other and (hidden or self.layer == i)

    def _is_for_softmax(self, case: Case, i: int) -> bool:
        """Whether this is sigmoid in place of the softmax that the loss is combined with."""
        made = (case.layers[i].activation.kind, self.to, self.of, i)
        return made == ("softmax", "sigmoid", "both", case.depth - 1) and case.is_combined

    def alter(self, c: Computation, case: Case) -> Computation:
        rule, layers = OTHERS[self.to], self._layers(case)

        def derivative(n: Numbers, i: int) -> Array:
            a = n.a[i] if self.of == "both" else rule.forward(n.z[i])
            grad: Array = rule.backward(n.by_a[i], n.z[i], a)
            return grad

        if self.of == "both":
            c = c.in_layers(layers, activations=lambda n, i: rule.forward(n.z[i]))
        return c.in_layers([i for i in layers if not self._is_for_softmax(case, i)], by_preactivations=derivative)


@dataclass(frozen=True, slots=True)
class ActivationTwice:
    """An activation applied twice in the forward pass: a = f(f(z)), with the derivative as it is of one.

    A layer applies it to what it gives, and the next one, or the caller, to what it takes.

    Source: none needed; the function is called in two places.
    """

    kind: Literal["activation_twice"] = "activation_twice"
    layer: int | None = hyper(None, description=LAYER)
    about: ClassVar = About("Activation applied twice", r"a = f(f(z)) \text{ for } a = f(z)")

    def applies(self, case: Case) -> bool:
        return any(layer.activation.kind not in STRAIGHT for layer in case.layers_of(self.layer))

    def alter(self, c: Computation, case: Case) -> Computation:
        layers, before = case.indices(self.layer), c.activations
        return c.in_layers(layers, activations=lambda n, i: n.layer(i).activation.forward(before(n, i)))


@dataclass(frozen=True, slots=True)
class SoftmaxJacobianSign:
    """Softmax's Jacobian with a plus: dL/dz_j = a_j (dL/da_j + sum_k dL/da_k a_k), or with one off its diagonal only.

    The derivative of a_k by another preactivation z_j is -a_j a_k: its minus is what gets lost.

    Source: Bridle 1990, the derivative of softmax.
    """

    kind: Literal["softmax_jacobian_sign"] = "softmax_jacobian_sign"
    at: Literal["both", "off_diagonal"] = "both"
    layer: int | None = hyper(None, description=LAYER)
    about: ClassVar = About("Softmax's Jacobian: a wrong sign", r"a_j ([j = k] + a_k) \text{ for } a_j ([j = k] - a_k)")

    def applies(self, case: Case) -> bool:
        return bool(case.of_kinds(("softmax",), self.layer))

    def alter(self, c: Computation, case: Case) -> Computation:
        def stage(n: Numbers, i: int) -> Array:
            g, a = n.by_a[i], n.a[i]
            own = 0.0 if self.at == "both" else 2 * g * a
            return a * (g + row_sums(g * a) - own)

        return c.in_layers(case.of_kinds(("softmax",), self.layer), by_preactivations=stage)


@dataclass(frozen=True, slots=True)
class HyperparametersForgotten:
    """An activation with its default hyperparameters in place of those asked for, or leaky_relu without its slope:
    relu.

    The function is given them and its derivative is not, or neither is; or they are those of another framework: Keras's
    leaky_relu has the slope 0.3, TensorFlow's 0.2, Darknet's 0.1, and gelu is exact in some and by tanh in others.

    Source: torch.nn.LeakyReLU and keras.layers.LeakyReLU, whose defaults differ.
    """

    kind: Literal["hyperparameters_forgotten"] = "hyperparameters_forgotten"
    form: Literal["defaults", "no_slope", "other_framework", "slope_0.1", "slope_0.2"] = "defaults"
    of: Literal["both", "derivative", "activation"] = "both"
    layer: int | None = hyper(None, description=LAYER)
    about: ClassVar = About("Hyperparameters of an activation forgotten", r"f_{0.01} \text{ for } f_\alpha")

    def applies(self, case: Case) -> bool:
        return bool(self._rules(case))

    def _rules(self, case: Case) -> dict[int, Any]:
        """The activations of the layers that they change."""
        own = {i: case.layers[i].activation for i in case.indices(self.layer)}
        return {i: other for i, rule in own.items() if (other := self._forgetful(rule)) != rule}

    def _forgetful(self, rule: Any) -> Any:
        if self.form == "defaults":
            return type(rule)()
        if rule.kind == "gelu" and self.form == "other_framework":
            return replace(rule, approximate="tanh" if rule.approximate == "none" else "none")
        if rule.kind == "leaky_relu" and self.form == "other_framework":
            return replace(rule, negative_slope=0.3)
        if self.form == "other_framework":
            return rule
        if "0." in self.form:
            return replace(rule, negative_slope=float(self.form[-3:])) if rule.kind == "leaky_relu" else rule
        return replace(rule, negative_slope=0.0) if rule.kind == "leaky_relu" else rule

    def alter(self, c: Computation, case: Case) -> Computation:
        rules = self._rules(case)
        if self.of != "derivative":
            c = c.in_layers(rules, activations=lambda n, i: rules[i].forward(n.z[i]))
        if self.of != "activation":
            c = c.in_layers(rules, by_preactivations=lambda n, i: rules[i].backward(n.by_a[i], n.z[i], n.a[i]))
        return c
