"""Networks: the forward pass and backpropagation, as two plain loops over the layers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

from engine.layers import Layer
from engine.rules import Array


@dataclass(frozen=True, slots=True)
class Network:
    """Layers in order; the outputs of one are the inputs of the next."""

    layers: tuple[Layer, ...]

    @property
    def parameters(self) -> list[dict[str, Array]]:
        """Each layer's parameters by name."""
        return [layer.parameters for layer in self.layers]

    def with_parameters(self, parameters: Sequence[dict[str, Array]]) -> Self:
        return type(self)(tuple(layer.with_parameters(p) for layer, p in zip(self.layers, parameters, strict=True)))


class LayerTrace(NamedTuple):
    """What a layer took and made in the forward pass: x `[batch, inputs]`, z and a `[batch, units]`."""

    inputs: Array
    preactivations: Array
    activations: Array


class LayerGradients(NamedTuple):
    """The derivatives of the objective by a layer's parameters, z and a, each in the shape of what it is taken by."""

    parameters: dict[str, Array]
    preactivations: Array
    activations: Array


class Gradients(NamedTuple):
    layers: list[LayerGradients]
    inputs: Array


def forward(network: Network, inputs: Array) -> list[LayerTrace]:
    """The forward pass of `inputs` `[batch, features]`; the last trace's activations are the network's outputs."""
    trace = []
    x = inputs
    for layer in network.layers:
        z = layer.preactivations(x)
        a = layer.activation.forward(z)
        trace.append(LayerTrace(x, z, a))
        x = a
    return trace


def backward(
    network: Network,
    trace: Sequence[LayerTrace],
    output_gradients: Array,
    preactivation_gradients: Array | None = None,
    by_inputs: bool = True,
) -> Gradients:
    """Backpropagation: from the derivative by the outputs `[batch, outputs]` to all the others.

    `preactivation_gradients`, where given, is the derivative by the last layer's z in its combined, stable form; the
    last activation's own derivative is then not used. Without `by_inputs` the derivative by the network's inputs is
    left out, and what stands in its place means nothing.
    """
    layers = []
    grad = output_gradients
    delta = preactivation_gradients
    for layer, (x, z, a) in zip(reversed(network.layers), reversed(trace), strict=True):
        if delta is None:
            delta = layer.activation.backward(grad, z, a)
        layers.append(LayerGradients(layer.parameter_gradients(delta, x), delta, grad))
        if by_inputs or len(layers) < len(network.layers):
            grad = layer.input_gradients(delta)
        delta = None
    layers.reverse()
    return Gradients(layers, grad)


def per_example(network: Network, trace: Sequence[LayerTrace], gradients: Gradients) -> list[dict[str, Array]]:
    """Each layer's parameter gradients of every example on its own, the batch as the leading axis.

    `gradients` must come from a backward pass in which each row stands for its own example alone.
    """
    return [
        layer.per_example_gradients(layer_gradients.preactivations, layer_trace.inputs)
        for layer, layer_trace, layer_gradients in zip(network.layers, trace, gradients.layers, strict=True)
    ]
