"""Mistakes of an index off by one: numbers of another layer in place of a layer's own."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from engine.mistakes.activation import LAYER, in_layers
from engine.mistakes.computation import Case, Computation, Numbers
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
        return any(self._other(case, i) is not None for i in case.indices(self.layer))

    def _other(self, case: Case, i: int) -> Array | None:
        other = i + (-1 if self.which == "before" else 1)
        if not 0 <= other < case.depth:
            return None
        weights = case.layers[other].weights
        return weights if weights.shape == case.layers[i].weights.shape else None

    def alter(self, c: Computation, case: Case) -> Computation:
        before = c.passed_back

        def stage(n: Numbers, i: int) -> Array:
            weights = self._other(case, i)
            return before(n, i) if weights is None else n.by_z[i] @ weights.T

        return c._replace(passed_back=in_layers(self.layer, stage, before))


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
        return any(self._fits(case, i) for i in case.indices(self.layer))

    def _fits(self, case: Case, i: int) -> bool:
        inputs = [len(layer.weights) for layer in case.layers]
        return i > 0 and inputs[i] == inputs[0 if self.of == "network" else i - 1]

    def alter(self, c: Computation, case: Case) -> Computation:
        before = c.by_weights

        def stage(n: Numbers, i: int) -> Array:
            if not self._fits(case, i):
                return before(n, i)
            x: Array = case.inputs if self.of == "network" else n.x(i - 1)
            gradient: Array = x.T @ n.by_z[i]
            return gradient

        return c._replace(by_weights=in_layers(self.layer, stage, before))


@dataclass(frozen=True, slots=True)
class DerivativeOfOtherLayer:
    """The derivative of the layer after or before in place of the layer's own: dL/dz_l = dL/da_l * f'(z_{l+1}).

    The list of kept preactivations is off by one. `function` says whether the activation is the other layer's too, or
    still the layer's own.

    Source: Nielsen 2015, Neural Networks and Deep Learning, chapter 2, BP2.
    """

    kind: Literal["derivative_of_other_layer"] = "derivative_of_other_layer"
    which: Literal["after", "before"] = "after"
    function: Literal["other", "own"] = "other"
    layer: int | None = hyper(None, description=LAYER)
    about: ClassVar = About("Derivative of the wrong layer", r"f'(z_{l \pm 1}) \text{ for } f'(z_l)")

    def applies(self, case: Case) -> bool:
        return any(
            self._fits(case, i) and (self.function == "other" or self._differs(case, i))
            for i in case.indices(self.layer)
        )

    def _other(self, i: int) -> int:
        return i + (1 if self.which == "after" else -1)

    def _fits(self, case: Case, i: int) -> bool:
        other = self._other(i)
        if not 0 <= other < case.depth or i == case.depth - 1:
            return False
        return case.layers[other].weights.shape[1] == case.layers[i].weights.shape[1]

    def _differs(self, case: Case, i: int) -> bool:
        return case.layers[i].activation != case.layers[self._other(i)].activation

    def alter(self, c: Computation, case: Case) -> Computation:
        before = c.by_preactivations

        def stage(n: Numbers, i: int) -> Array:
            if not self._fits(case, i):
                return before(n, i)
            other = self._other(i)
            rule: Any = case.layers[other if self.function == "other" else i].activation
            a = n.a[other] if self.function == "other" else rule.forward(n.z[other])
            grad: Array = rule.backward(n.by_a[i], n.z[other], a)
            return grad

        return c._replace(by_preactivations=in_layers(self.layer, stage, before))


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
        return any(self._other(case, i) is not None for i in range(case.depth))

    def _other(self, case: Case, i: int) -> int | None:
        """The layer whose error is taken for that of layer i; None where there is none of its width."""
        other = i + (1 if self.which == "after" else -1)
        if not 0 <= other < case.depth:
            return None
        return other if case.layers[other].weights.shape[1] == case.layers[i].weights.shape[1] else None

    def alter(self, c: Computation, case: Case) -> Computation:
        by_weights, by_bias = c.by_weights, c.by_bias

        def weights(n: Numbers, i: int) -> Array:
            error = self._error(n, i)
            gradient: Array = by_weights(n, i) if error is None else n.x(i).T @ error
            return gradient

        def bias(n: Numbers, i: int) -> Array:
            error = self._error(n, i)
            gradient: Array = by_bias(n, i) if error is None else error.sum(axis=0)
            return gradient

        c = c if self.of == "bias" else c._replace(by_weights=weights)
        return c if self.of == "weights" else c._replace(by_bias=bias)

    def _error(self, n: Numbers, i: int) -> Array | None:
        other = self._other(n.case, i)
        if other is None or other > i:
            return None if other is None else n.by_z[other]
        kept, n.by_a[other] = n.by_a[other], n.computation.passed_back(n, i)
        error: Array = n.computation.by_preactivations(n, other)
        n.by_a[other] = kept
        return error
