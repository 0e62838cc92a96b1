"""Mistakes in an activation's derivative, and in the activations themselves."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from engine.activations import sigmoid
from engine.mistakes.computation import LAYER, Case, Computation, Numbers, Stage
from engine.probability_losses import CrossEntropy
from engine.row_activations import Softmax
from engine.rules import About, Array, column, hyper, row_sums

SOFTMAXES = ("softmax", "softmin", "log_softmax")
OF_ACTIVATION = ("sigmoid", "tanh", "softmax", "exponential")
"""The activations whose derivative is written in what they give."""


def in_own_derivative(c: Computation, case: Case, layer: int | None, altered: Stage) -> Computation:
    """`altered` in place of the product with an activation's derivative, in one layer or all.

    In all of them, the last one's combined form with its loss, which needs no derivative, stays as it is.
    """
    before = c.by_preactivations

    def stage(n: Numbers, i: int) -> Array:
        if layer is None and i == n.last and n.computation.combined(n) is not None:
            return before(n, i)
        return altered(n, i)

    return c.in_layers(case.indices(layer), by_preactivations=stage)


@dataclass(frozen=True, slots=True)
class SoftmaxDiagonalOnly:
    """Softmax's Jacobian without what lies off its diagonal: dL/dz_j = dL/da_j * a_j (1 - a_j).

    Each output depends on every preactivation of its row; taken for an elementwise function, as sigmoid is, the sum
    over the others is lost.

    Source: Bridle 1990, the derivative of softmax.
    """

    kind: Literal["softmax_jacobian_diagonal_only"] = "softmax_jacobian_diagonal_only"
    layer: int | None = hyper(None, description=LAYER)
    about: ClassVar = About("Softmax's Jacobian: the diagonal only", r"a_j (1 - a_j) \text{ for } a_j ([j = k] - a_k)")

    def applies(self, case: Case) -> bool:
        return bool(case.of_kinds(SOFTMAXES, self.layer))

    def alter(self, c: Computation, case: Case) -> Computation:
        def diagonal(n: Numbers, i: int) -> Array:
            kind, a = n.layer(i).activation.kind, n.a[i]
            if kind == "log_softmax":
                return n.by_a[i] * (1 - np.exp(a))
            return n.by_a[i] * a * (1 - a) * (-1 if kind == "softmin" else 1)

        return c.in_layers(case.of_kinds(SOFTMAXES, self.layer), by_preactivations=diagonal)


@dataclass(frozen=True, slots=True)
class SoftmaxDerivativeTwice:
    """Softmax's derivative applied to an error that has it already: to p - t, or to a layer's error once more.

    p - t is the derivative by the preactivations, not by the probabilities. `at` says whether p - t is also what is
    given as the derivative by the outputs; diagonal, that of the Jacobian only its diagonal p (1 - p) is used.

    Source: Bridle 1990; torch.nn.CrossEntropyLoss, which takes logits.
    """

    kind: Literal["softmax_derivative_twice"] = "softmax_derivative_twice"
    at: Literal["preactivations", "outputs"] = "preactivations"
    diagonal: Literal["no", "yes"] = "no"
    about: ClassVar = About("Softmax's derivative applied twice", r"J^\top (p - t) \text{ for } p - t")

    def applies(self, case: Case) -> bool:
        return case.layers[-1].activation.kind in SOFTMAXES

    def alter(self, c: Computation, case: Case) -> Computation:
        return _derivative_of_error(c, case, self.at, self.diagonal == "yes")


@dataclass(frozen=True, slots=True)
class SigmoidDerivativeInCombinedForm:
    """The last layer's derivative multiplied to an error that has it already: (p - t) * p (1 - p) for p - t.

    With squared error the factor belongs there; with binary cross-entropy it has cancelled.

    Source: Bishop 1995, Neural Networks for Pattern Recognition, 6.7.
    """

    kind: Literal["sigmoid_derivative_in_combined_form"] = "sigmoid_derivative_in_combined_form"
    at: Literal["preactivations", "outputs"] = "preactivations"
    about: ClassVar = About("Derivative multiplied to the combined form", r"(p - t) \, p (1 - p) \text{ for } p - t")

    def applies(self, case: Case) -> bool:
        return case.loss is not None and case.layers[-1].activation.kind not in (*SOFTMAXES, "identity")

    def alter(self, c: Computation, case: Case) -> Computation:
        return _derivative_of_error(c, case, self.at, False)


def _derivative_of_error(c: Computation, case: Case, at: str, diagonal: bool) -> Computation:
    """The last layer's derivative applied to what is already the derivative by its preactivations."""
    before, by_outputs = c.by_preactivations, c.by_outputs

    def stage(n: Numbers, i: int) -> Array:
        error, a = before(n, i), n.a[i]
        return error * a * (1 - a) if diagonal else n.layer(i).activation.backward(error, n.z[i], a)

    def error(n: Numbers) -> Array:
        together = n.computation.combined(n)
        return by_outputs(n) if together is None else together * column(n.scales)

    c = c.in_layers([case.depth - 1], by_preactivations=stage)
    return c._replace(by_outputs=error) if at == "outputs" else c


@dataclass(frozen=True, slots=True)
class DerivativeLeftOut:
    """The activation's derivative left out: dL/dz = dL/da.

    A layer's error is passed on as it came; or the derivative is left out only on the way to the parameters, or to one
    kind of them, or only on the way back (`at`). Softmax with cross-entropy needs no derivative at the last layer,
    since it has cancelled; other losses and other layers do.

    Source: Rumelhart, Hinton and Williams 1986, doi:10.1038/323533a0, equation 5.
    """

    kind: Literal["derivative_left_out"] = "derivative_left_out"
    layer: int | None = hyper(None, description=LAYER)
    at: Literal["both", "hidden", "parameters", "passed_back", "bias", "weights"] = "both"
    about: ClassVar = About("Activation's derivative left out", r"\frac{\partial L}{\partial a} \text{ for } "
                            r"f'(z) \frac{\partial L}{\partial a}")  # fmt: skip

    def applies(self, case: Case) -> bool:
        if all(one.activation.kind == "identity" for one in case.layers_of(self.layer)):
            return False
        return self.at != "hidden" or (self.layer is None and case.depth > 1)

    def alter(self, c: Computation, case: Case) -> Computation:
        if self.at == "both":
            return in_own_derivative(c, case, self.layer, lambda n, i: n.by_a[i])
        if self.at == "hidden":
            return c.in_layers(range(case.depth - 1), by_preactivations=lambda n, i: n.by_a[i])
        return _left_out_only(c, case, self.layer, self.at)


def _left_out_only(c: Computation, case: Case, layer: int | None, at: str) -> Computation:
    """The computation with dL/da for dL/dz on the way to the parameters only, or only in what is passed back."""

    def using(stage: Stage) -> Stage:
        def altered(n: Numbers, i: int) -> Array:
            if layer is None and i == n.last and n.computation.combined(n) is not None:
                return stage(n, i)
            kept, n.by_z[i] = n.by_z[i], n.by_a[i]
            result = stage(n, i)
            n.by_z[i] = kept
            return result

        return altered

    layers = case.indices(layer)
    if at == "passed_back":
        return c.in_layers(layers, passed_back=using(c.passed_back))
    if at != "bias":
        c = c.in_layers(layers, by_weights=using(c.by_weights))
    return c if at == "weights" else c.in_layers(layers, by_bias=using(c.by_bias))


@dataclass(frozen=True, slots=True)
class DerivativeAtActivation:
    """The derivative taken at the activation in place of the preactivation: f'(a) for f'(z).

    Code keeps the activations and hands them to a function that expects preactivations.

    Source: Nielsen 2015, Neural Networks and Deep Learning, chapter 2, BP2.
    """

    kind: Literal["derivative_at_activation"] = "derivative_at_activation"
    layer: int | None = hyper(None, description=LAYER)
    about: ClassVar = About("Derivative taken at the activation", r"f'(a) \text{ for } f'(z)")

    def applies(self, case: Case) -> bool:
        return any(one.activation.kind not in ("identity", "relu") for one in case.layers_of(self.layer))

    def alter(self, c: Computation, case: Case) -> Computation:
        def stage(n: Numbers, i: int) -> Array:
            rule = n.layer(i).activation
            return rule.backward(n.by_a[i], n.a[i], rule.forward(n.a[i]))

        return in_own_derivative(c, case, self.layer, stage)


@dataclass(frozen=True, slots=True)
class DerivativeFormulaTakesPreactivation:
    """A formula in terms of the activation, such as a (1 - a) or 1 - a^2, given the preactivation: z (1 - z), 1 - z^2.

    It is the reverse of a derivative taken at the activation: the formula wants f(z), and gets z.

    Source: Nielsen 2015, Neural Networks and Deep Learning, chapter 2, BP2.
    """

    kind: Literal["derivative_formula_takes_preactivation"] = "derivative_formula_takes_preactivation"
    layer: int | None = hyper(None, description=LAYER)
    about: ClassVar = About("Formula of the activation given the preactivation", r"z (1 - z) \text{ for } a (1 - a)")

    def applies(self, case: Case) -> bool:
        return bool(case.of_kinds(OF_ACTIVATION, self.layer))

    def alter(self, c: Computation, case: Case) -> Computation:
        def stage(n: Numbers, i: int) -> Array:
            rule = n.layer(i).activation
            return rule.backward(n.by_a[i], n.z[i], n.z[i] if rule.kind in OF_ACTIVATION else n.a[i])

        return in_own_derivative(c, case, self.layer, stage)


@dataclass(frozen=True, slots=True)
class DerivativeOfNeighbor:
    """Softmax's or sigmoid's derivative with the activation of another unit: a_j (1 - a_k) for a_j (1 - a_j).

    In a table the value of the next column is taken; `neighbor` says whether that of the unit before or after.

    Source: Bridle 1990, the derivative of softmax, whose diagonal this is not.
    """

    kind: Literal["derivative_of_neighbor"] = "derivative_of_neighbor"
    neighbor: Literal["before", "after"] = "before"
    layer: int | None = hyper(None, description=LAYER)
    about: ClassVar = About("Derivative with a neighbor's value", r"a_j (1 - a_{j \pm 1}) \text{ for } a_j (1 - a_j)")

    def applies(self, case: Case) -> bool:
        return bool(case.of_kinds(("softmax", "sigmoid"), self.layer))

    def alter(self, c: Computation, case: Case) -> Computation:
        def stage(n: Numbers, i: int) -> Array:
            shift = 1 if self.neighbor == "before" else -1
            return n.by_a[i] * n.a[i] * (1 - np.roll(n.a[i], shift, axis=1))

        return c.in_layers(case.of_kinds(("softmax", "sigmoid"), self.layer), by_preactivations=stage)


@dataclass(frozen=True, slots=True)
class ActivationLeftOut:
    """A layer's activation left out in the forward pass: a = z.

    The last line of a layer's code is missing, and its derivative is still applied.

    Source: Rumelhart, Hinton and Williams 1986, doi:10.1038/323533a0, equation 2.
    """

    kind: Literal["activation_left_out"] = "activation_left_out"
    layer: int | None = hyper(None, description=LAYER)
    about: ClassVar = About("Activation left out", r"a = z \text{ for } a = f(z)")

    def applies(self, case: Case) -> bool:
        return any(one.activation.kind != "identity" for one in case.layers_of(self.layer))

    def alter(self, c: Computation, case: Case) -> Computation:
        return c.in_layers(case.indices(self.layer), activations=lambda n, i: n.z[i].copy())


@dataclass(frozen=True, slots=True)
class ActivationFormulaWrong:
    """A wrong formula of an activation: sigmoid without its minus or without its brackets, tanh without its 2, softmax
    written over its own preactivations, or relu and leaky_relu with their sides exchanged.

    Softmax over its own divides by a sum in which the numbers before are probabilities already; relu is turned round by
    min for max, or by a comparison.

    Source: Kernighan and Ritchie 1988, The C Programming Language, table 2-1, precedence of operators.
    """

    kind: Literal["activation_formula_wrong"] = "activation_formula_wrong"
    formula: Literal[
        "1 / (1 + e^z)", "1 / 1 + e^-z", "(e^z - 1) / (e^z + 1)", "softmax in place", "z where z < 0"
    ] = "1 / (1 + e^z)"  # fmt: skip
    layer: int | None = hyper(None, description=LAYER)
    about: ClassVar = About("Wrong formula of an activation", r"\frac{1}{1 + e^z} \text{ for } \frac{1}{1 + e^{-z}}")

    def applies(self, case: Case) -> bool:
        return bool(self._layers(case))

    def _layers(self, case: Case) -> list[int]:
        return case.of_kinds(self._kinds, self.layer)

    @property
    def _kinds(self) -> tuple[str, ...]:
        return {"s": ("softmax",), "(": ("tanh",), "z": ("relu", "leaky_relu")}.get(self.formula[0], ("sigmoid",))

    def alter(self, c: Computation, case: Case) -> Computation:
        def stage(n: Numbers, i: int) -> Array:
            if self.formula == "z where z < 0":
                rule = n.layer(i).activation
                return (1 + getattr(rule, "negative_slope", 0.0)) * n.z[i] - rule.forward(n.z[i])
            return self._value(n.z[i])

        return c.in_layers(self._layers(case), activations=stage)

    def _value(self, z: Array) -> Array:
        match self.formula:
            case "1 / (1 + e^z)":
                return sigmoid(-z)
            case "1 / 1 + e^-z":
                return 1 + np.exp(-z)
            case "(e^z - 1) / (e^z + 1)":
                return np.tanh(z / 2)
        powers, a = np.exp(z), np.empty_like(z)
        before, rest = np.zeros(len(z), z.dtype), powers[:, ::-1].cumsum(axis=1)[:, ::-1]
        for j in range(z.shape[1]):
            a[:, j] = powers[:, j] / (before + rest[:, j])
            before += np.exp(a[:, j])
        return a


@dataclass(frozen=True, slots=True)
class SoftmaxWithoutExponential:
    """The preactivations divided by their sum, z_j / sum_k z_k: softmax without its exponential.

    The outputs add up to 1 and look like probabilities.

    Source: Bridle 1990, the definition of softmax.
    """

    kind: Literal["softmax_without_exponential"] = "softmax_without_exponential"
    layer: int | None = hyper(None, description=LAYER)
    about: ClassVar = About("Softmax without its exponential", r"\frac{z_j}{\sum_k z_k}")

    def applies(self, case: Case) -> bool:
        return bool(case.of_kinds(("softmax",), self.layer))

    def alter(self, c: Computation, case: Case) -> Computation:
        layers = case.of_kinds(("softmax",), self.layer)
        return c.in_layers(layers, activations=lambda n, i: n.z[i] / row_sums(n.z[i]))


@dataclass(frozen=True, slots=True)
class SoftmaxOverBatch:
    """Softmax over the batch in place of each row's outputs, so that the columns add up to 1; or over all numbers.

    It is the wrong axis of a sum, or a sum without its axis, in a layer or in a loss that takes logits. `over` says
    which; without_keepdims, that column k is divided by the sum of row k, which NumPy does where there are as many
    examples as classes. `derivative` says whether the error is p - t all the same (combined), or the derivative that
    belongs to this function (own), as automatic differentiation gives it.

    Source: torch.nn.Softmax, its dim; numpy.sum, its keepdims.
    """

    kind: Literal["softmax_over_batch"] = "softmax_over_batch"
    over: Literal["batch", "everything", "without_keepdims"] = "batch"
    derivative: Literal["combined", "own"] = "combined"
    layer: int | None = hyper(None, description=LAYER)
    about: ClassVar = About("Softmax over the batch", r"\frac{e^{z_{nj}}}{\sum_m e^{z_{mj}}}")

    def applies(self, case: Case) -> bool:
        places = case.of_kinds(SOFTMAXES, self.layer) + ([case.depth - 1] if self._in_loss(case) else [])
        if not places:
            return False
        if case.batch == 1:  # then all outputs are 1
            return self.over == "batch" and self.derivative == "combined"
        if self.over != "without_keepdims":
            return True
        return self.derivative == "combined" and all(case.layers[i].weights.shape[1] == case.batch for i in places)

    def _in_loss(self, case: Case) -> bool:
        """Whether it is the loss that takes softmax."""
        return self.layer is None and isinstance(case.loss, CrossEntropy) and case.loss.from_logits

    def alter(self, c: Computation, case: Case) -> Computation:
        layers = case.of_kinds(SOFTMAXES, self.layer)
        c = c.in_layers(layers, activations=lambda n, i: self._over(n.layer(i).activation, n.z[i]))
        if self.derivative == "own":
            c = c.in_layers(layers, by_preactivations=lambda n, i: self._back(n.layer(i).activation, n.by_a[i], n.a[i]))
        return self._of_logits(c, case) if self._in_loss(case) else c

    def _of_logits(self, c: Computation, case: Case) -> Computation:
        loss: Any = case.loss
        on_probabilities, rule = replace(loss, from_logits=False), Softmax()

        def by_outputs(n: Numbers) -> Array:
            p = self._over(rule, n.a[-1])
            if self.derivative == "own":
                return self._back(rule, on_probabilities.gradient(p, case.targets) * column(n.scales), p)
            error: Array = loss.logit_gradient(n.a[-1], p, case.targets)
            return error * column(n.scales)

        return c._replace(
            loss_values=lambda n: on_probabilities.values(self._over(rule, n.a[-1]), case.targets),
            by_outputs=by_outputs,
        )

    def _over(self, rule: Any, z: Array) -> Array:
        """The activation over what it is taken over."""
        if self.over == "batch":
            return np.array(rule.forward(z.T).T)
        if self.over == "everything":
            return np.array(rule.forward(z.reshape(1, -1)).reshape(z.shape))
        sign = -1 if rule.kind == "softmin" else 1
        e = np.exp(sign * z - (sign * z).max())
        p = e / e.sum(axis=1)
        return np.array(np.log(p) if rule.kind == "log_softmax" else p)

    def _back(self, rule: Any, grad: Array, a: Array) -> Array:
        """The derivative that belongs to it; it takes the activations alone."""
        if self.over == "batch":
            return np.array(rule.backward(grad.T, a.T, a.T).T)
        return np.array(rule.backward(grad.reshape(1, -1), a.reshape(1, -1), a.reshape(1, -1)).reshape(a.shape))
