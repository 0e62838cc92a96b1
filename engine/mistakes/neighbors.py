"""Mistakes of an index off by one: numbers of another layer in place of a layer's own."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from engine.mistakes.activation import OF_ACTIVATION
from engine.mistakes.computation import LAYER, Case, Computation, Numbers
from engine.rules import About, Array, hyper


@dataclass(frozen=True, slots=True)
class WeightsOfOtherLayer:
    """The error passed back through the weights of the layer before or after, in place of the layer's own.

    The index into the list of weights is off by one; it goes unnoticed where layers are equally wide.

    Source: Nielsen 2015, Neural Networks and Deep Learning, chapter 2, BP2.
    """

    kind: Literal["weights_of_other_layer"] = "weights_of_other_layer"
    which: Literal["before", "after"] = "before"
    layer: int | None = hyper(None, description=LAYER)
    about: ClassVar = About("Weights of the wrong layer", r"\frac{\partial L}{\partial z_l} W_{l \pm 1}^\top")

    def applies(self, case: Case) -> bool:
        return bool(self._others(case))

    def _others(self, case: Case) -> dict[int, Array]:
        """The other weights of each layer where they have the shape of its own."""
        places = {i: i + (-1 if self.which == "before" else 1) for i in case.indices(self.layer)}
        others = {i: case.layers[k].weights for i, k in places.items() if 0 <= k < case.depth}
        return {i: weights for i, weights in others.items() if weights.shape == case.layers[i].weights.shape}

    def alter(self, c: Computation, case: Case) -> Computation:
        others = self._others(case)
        return c.in_layers(others, passed_back=lambda n, i: n.by_z[i] @ others[i].T)


@dataclass(frozen=True, slots=True)
class InputsOfOtherLayer:
    """The weights' gradient with the network's own inputs, or with what the layer before takes, in place of what this
    layer takes.

    The index into the list of activations is off by one, or x is written in every layer; it fits where layers are
    equally wide.

    Source: Nielsen 2015, Neural Networks and Deep Learning, chapter 2, BP4.
    """

    kind: Literal["inputs_of_other_layer"] = "inputs_of_other_layer"
    of: Literal["network", "layer before"] = "network"
    layer: int | None = hyper(None, description=LAYER)
    about: ClassVar = About("Inputs of the wrong layer", r"a_{l - 2}^\top \frac{\partial L}{\partial z_l}")

    def applies(self, case: Case) -> bool:
        return bool(self._layers(case))

    def _layers(self, case: Case) -> list[int]:
        """Those whose inputs are as many as the others."""
        inputs = [len(layer.weights) for layer in case.layers]
        layers = [i for i in case.indices(self.layer) if i > 0]
        return [i for i in layers if inputs[i] == inputs[0 if self.of == "network" else i - 1]]

    def alter(self, c: Computation, case: Case) -> Computation:
        first = self.of == "network"
        return c.in_layers(self._layers(case), by_weights=lambda n, i: n.x(0 if first else i - 1).T @ n.by_z[i])


@dataclass(frozen=True, slots=True)
class DerivativeOfOtherLayer:
    """The derivative of the layer after or before in place of the layer's own: dL/dz_l = dL/da_l * f'(z_{l+1}).

    The list of kept preactivations, or of activations, is off by one. `function` says whether the activation is the
    other layer's too, or still the layer's own; or whether the layer's own formula in its activation, such as
    a (1 - a), is given the other layer's, or the inputs (formula).

    Source: Nielsen 2015, Neural Networks and Deep Learning, chapter 2, BP2.
    """

    kind: Literal["derivative_of_other_layer"] = "derivative_of_other_layer"
    which: Literal["after", "before"] = "after"
    function: Literal["other", "own", "formula"] = "other"
    layer: int | None = hyper(None, description=LAYER)
    about: ClassVar = About("Derivative of the wrong layer", r"f'(z_{l \pm 1}) \text{ for } f'(z_l)")

    def applies(self, case: Case) -> bool:
        return any(self.function == "other" or self._differs(case, i) for i in self._layers(case))

    def _other(self, i: int) -> int:
        return i + (1 if self.which == "after" else -1)

    def _layers(self, case: Case) -> list[int]:
        """Those that are as wide as the other. Before the first layer come the inputs, which have no function."""
        by_formula = self.function == "formula"
        layers = case.of_kinds(OF_ACTIVATION, self.layer) if by_formula else case.indices(self.layer)
        widths = [case.inputs.shape[1], *(layer.weights.shape[1] for layer in case.layers)]
        pairs = [(i, self._other(i)) for i in layers if i < case.depth - 1]
        return [i for i, other in pairs if (other >= 0 or by_formula) and widths[i + 1] == widths[other + 1]]

    def _differs(self, case: Case, i: int) -> bool:
        other = self._other(i)
        return other < 0 or case.layers[i].activation != case.layers[other].activation

    def alter(self, c: Computation, case: Case) -> Computation:
        def stage(n: Numbers, i: int) -> Array:
            other = self._other(i)
            if self.function == "formula":
                own: Array = n.layer(i).activation.backward(n.by_a[i], n.z[i], n.x(i) if other < i else n.a[other])
                return own
            rule: Any = case.layers[other if self.function == "other" else i].activation
            a = n.a[other] if self.function == "other" else rule.forward(n.z[other])
            grad: Array = rule.backward(n.by_a[i], n.z[other], a)
            return grad

        return c.in_layers(self._layers(case), by_preactivations=stage)


@dataclass(frozen=True, slots=True)
class ErrorOfOtherLayer:
    """A layer's gradients made with the error of the layer after or before, in place of the layer's own.

    The variable that holds the error is overwritten too early, or too late. `of` says which gradients.

    Source: Nielsen 2015, Neural Networks and Deep Learning, chapter 2, BP3 and BP4.
    """

    kind: Literal["error_of_other_layer"] = "error_of_other_layer"
    which: Literal["after", "before"] = "after"
    of: Literal["both", "weights", "bias"] = "both"
    about: ClassVar = About("Error of the wrong layer", r"x_l^\top \frac{\partial L}{\partial z_{l \pm 1}}")

    def applies(self, case: Case) -> bool:
        return bool(self._others(case))

    def _others(self, case: Case) -> dict[int, int]:
        """The layer whose error is taken for that of each layer, where it is as wide."""
        places = {i: i + (1 if self.which == "after" else -1) for i in range(case.depth)}
        widths = [layer.weights.shape[1] for layer in case.layers]
        return {i: k for i, k in places.items() if 0 <= k < case.depth and widths[k] == widths[i]}

    def alter(self, c: Computation, case: Case) -> Computation:
        others = self._others(case)

        if self.of != "bias":
            c = c.in_layers(others, by_weights=lambda n, i: n.x(i).T @ self._error(n, i, others[i]))
        if self.of != "weights":
            c = c.in_layers(others, by_bias=lambda n, i: self._error(n, i, others[i]).sum(axis=0))
        return c

    def _error(self, n: Numbers, i: int, other: int) -> Array:
        if other > i:
            own: Array = n.by_z[other]
            return own
        kept, n.by_a[other] = n.by_a[other], n.computation.passed_back(n, i)
        error: Array = n.computation.by_preactivations(n, other)
        n.by_a[other] = kept
        return error
