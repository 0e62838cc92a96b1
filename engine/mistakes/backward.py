"""Mistakes in the flow of the error from layer to layer, and its sign."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from engine.mistakes.computation import LAYER, Answer, Case, Computation, Key, Numbers, layer_keys
from engine.mistakes.factor import multiplied
from engine.mistakes.loss import scaled
from engine.rules import About, Array, hyper, row_sums


@dataclass(frozen=True, slots=True)
class SignFlipped:
    """A sign flipped: of the loss's derivative and so of all gradients, or at one place.

    t - y for y - t; a gradient kept as the direction of descent, which the update then subtracts; the minus of a loss
    or of an activation's derivative lost. `at` says what changes its sign: the derivative by the outputs (derivative),
    the loss, a layer's error by its preactivations, the gradients of parameters, or the error passed back.

    Source: Rumelhart, Hinton and Williams 1986, doi:10.1038/323533a0, equation 4.
    """

    kind: Literal["sign_flipped"] = "sign_flipped"
    at: Literal["derivative", "loss", "preactivations", "parameters", "weights", "bias", "passed_back"] = "derivative"
    layer: int | None = hyper(None, description=LAYER)
    about: ClassVar = About("Sign flipped", r"-g \text{ for } g")

    def applies(self, case: Case) -> bool:
        if self.at == "loss":
            return self.layer is None and case.loss is not None
        return self.layer is None or self.at != "derivative"

    def alter(self, c: Computation, case: Case) -> Computation:
        if self.at in ("derivative", "loss"):
            return scaled(c, lambda n: -1.0, "loss" if self.at == "loss" else "gradients")
        return multiplied(c, -1.0, self.at, case.indices(self.layer))


@dataclass(frozen=True, slots=True)
class WeightsTransposed:
    """Square weights transposed: the error passed back as dL/dz @ W, or the forward pass as x @ W^T, or both.

    A matrix that is not square would not fit; a square one goes through unnoticed.

    Source: Nielsen 2015, Neural Networks and Deep Learning, chapter 2, BP2.
    """

    kind: Literal["weights_transposed"] = "weights_transposed"
    at: Literal["passed_back", "forward", "both"] = "passed_back"
    layer: int | None = hyper(None, description=LAYER)
    about: ClassVar = About("Weights transposed", r"\frac{\partial L}{\partial z} W \text{ for } "
                            r"\frac{\partial L}{\partial z} W^\top")  # fmt: skip

    def applies(self, case: Case) -> bool:
        return any(len(case.layers[i].weights) > 1 for i in case.square(self.layer))

    def alter(self, c: Computation, case: Case) -> Computation:
        layers = case.square(self.layer)
        if self.at != "forward":
            c = c.in_layers(layers, passed_back=lambda n, i: n.by_z[i] @ n.layer(i).weights)
        if self.at != "passed_back":
            c = c.in_layers(layers, preactivations=lambda n, i: n.sums(i, n.x(i), n.layer(i).weights.T))
        return c


@dataclass(frozen=True, slots=True)
class DiagonalWeightsOnly:
    """The error passed back through the diagonal weights alone: dL/dx_i = dL/dz_i * W_ii.

    Each input reaches every unit, so that its derivative is a sum over all of them; one weight for each is a tempting
    shortcut where the layers are drawn side by side.

    Source: Rumelhart, Hinton and Williams 1986, doi:10.1038/323533a0, equation 7.
    """

    kind: Literal["diagonal_weights_only"] = "diagonal_weights_only"
    layer: int | None = hyper(None, description=LAYER)
    about: ClassVar = About("Only the diagonal weights passed back through", r"\frac{\partial L}{\partial x_i} = "
                            r"W_{ii} \frac{\partial L}{\partial z_i}")  # fmt: skip

    def applies(self, case: Case) -> bool:
        return any(layer.weights.size > 1 for layer in case.layers_of(self.layer))

    def alter(self, c: Computation, case: Case) -> Computation:
        def stage(n: Numbers, i: int) -> Array:
            diagonal = np.diagonal(n.layer(i).weights)
            grad = np.zeros_like(n.x(i))
            grad[:, : len(diagonal)] = n.by_z[i][:, : len(diagonal)] * diagonal
            return grad

        return c.in_layers(case.indices(self.layer), passed_back=stage)


@dataclass(frozen=True, slots=True)
class MagnitudesPassedBackThrough:
    """The error passed back through the weights' magnitudes: dL/dz @ |W|^T.

    Where an error is shared out among the inputs by the size of their weights, the signs are lost: a negative weight
    turns the sign of what passes through it.

    Source: Rumelhart, Hinton and Williams 1986, doi:10.1038/323533a0, equation 7.
    """

    kind: Literal["magnitudes_passed_back_through"] = "magnitudes_passed_back_through"
    layer: int | None = hyper(None, description=LAYER)
    about: ClassVar = About("Weights' magnitudes passed back through", r"\frac{\partial L}{\partial z} |W|^\top "
                            r"\text{ for } \frac{\partial L}{\partial z} W^\top")  # fmt: skip

    def applies(self, case: Case) -> bool:
        return any((layer.weights < 0).any() for layer in case.layers_of(self.layer))

    def alter(self, c: Computation, case: Case) -> Computation:
        layers = case.indices(self.layer)
        return c.in_layers(layers, passed_back=lambda n, i: n.by_z[i] @ np.abs(n.layer(i).weights).T)


@dataclass(frozen=True, slots=True)
class PassedBackWithoutWeights:
    """The error passed back without weights: dL/dx_i = sum_j dL/dz_j, the same for every input.

    The sum over the units is there and its factor is not: what reaches an input goes through the weight between them.

    Source: Rumelhart, Hinton and Williams 1986, doi:10.1038/323533a0, equation 7.
    """

    kind: Literal["passed_back_without_weights"] = "passed_back_without_weights"
    layer: int | None = hyper(None, description=LAYER)
    about: ClassVar = About("Passed back without weights", r"\sum_j \frac{\partial L}{\partial z_j} \text{ for } "
                            r"\sum_j W_{ij} \frac{\partial L}{\partial z_j}")  # fmt: skip

    def applies(self, case: Case) -> bool:
        return True

    def alter(self, c: Computation, case: Case) -> Computation:
        layers = case.indices(self.layer)
        return c.in_layers(layers, passed_back=lambda n, i: np.broadcast_to(row_sums(n.by_z[i]), n.x(i).shape))


@dataclass(frozen=True, slots=True)
class PassedBackThroughUpdatedWeights:
    """The error passed back through the weights after their update.

    Layer by layer, weights are updated as soon as their gradient is there; the layer before then sees the new ones.

    Source: Rumelhart, Hinton and Williams 1986, doi:10.1038/323533a0: the whole backward pass belongs to one point.
    """

    kind: Literal["passed_back_through_updated_weights"] = "passed_back_through_updated_weights"
    layer: int | None = hyper(None, description=LAYER)
    about: ClassVar = About("Passed back through updated weights", r"\frac{\partial L}{\partial z} (W - \eta G)^\top")

    def applies(self, case: Case) -> bool:
        return case.optimizer is not None

    def alter(self, c: Computation, case: Case) -> Computation:
        layers = [i for i in case.indices(self.layer) if "weights" not in case.layers[i].frozen]

        def stage(n: Numbers, i: int) -> Array:
            new = n.computation.updated(n, i, "weights", n.by[i]["weights"])
            return n.by_z[i] @ new.T

        return c.in_layers(layers, passed_back=stage)


@dataclass(frozen=True, slots=True)
class LayerOrderReversed:
    """The order of the layers reversed: gradients listed from the last layer to the first, or the error passed back
    through the weights of the layer at the other end.

    Backpropagation makes them last layer first, and the list is never turned round; or the loop runs forwards.

    Source: Nielsen 2015, Neural Networks and Deep Learning, chapter 2.
    """

    kind: Literal["layer_order_reversed"] = "layer_order_reversed"
    at: Literal["answer", "parameters", "passed_back"] = "answer"
    about: ClassVar = About("Layer order reversed", r"G_{L + 1 - l} \text{ for } G_l")

    def applies(self, case: Case) -> bool:
        if self.at != "passed_back":
            return case.depth > 1
        shapes = [layer.weights.shape for layer in case.layers]
        return case.depth > 1 and shapes == shapes[::-1]

    def alter(self, c: Computation, case: Case) -> Computation:
        if self.at == "passed_back":
            return c._replace(passed_back=lambda n, i: n.layer(n.last - i).input_gradients(n.by_z[i]))

        def backwards(answer: Answer) -> Answer:
            turned = dict(answer)
            for i in range(case.depth):
                for key, other in zip(self._keys(i), self._keys(case.depth - 1 - i), strict=True):
                    if key in answer and other in answer:
                        turned[key] = answer[other]
            return turned

        return c.rewritten(backwards)

    def _keys(self, i: int) -> list[Key]:
        keys = layer_keys(i)
        return [*keys.by.values()] if self.at == "parameters" else [
            keys.by_activations, keys.by_preactivations, *keys.by.values()
        ]  # fmt: skip
