"""Networks: the forward pass and backpropagation, as two plain loops over the layers."""

from collections.abc import Sequence
from typing import NamedTuple, Self

from engine.blocks import by_rows
from engine.layers import Layer
from engine.rules import Array


class Network(NamedTuple):
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
    """Those of each layer, from the first to the last, and the derivative by the network's inputs."""

    layers: list[LayerGradients]
    inputs: Array


def forward(network: Network, inputs: Array, out: Sequence[tuple[Array, Array]] | None = None) -> list[LayerTrace]:
    """The forward pass of `inputs` `[batch, features]`; the last trace's activations are the network's outputs.

    `out`, where given, is memory for z and a of each layer, which the trace may then consist of.
    """
    trace = []
    x = inputs
    for i, layer in enumerate(network.layers):
        z_out, a_out = (None, None) if out is None else out[i]
        z = layer.preactivations(x, z_out)
        a = by_rows(layer.activation.forward, z, out=a_out)
        trace.append(LayerTrace(x, z, a))
        x = a
    return trace


def backward(
    network: Network,
    trace: Sequence[LayerTrace],
    output_gradients: Array,
    preactivation_gradients: Array | None = None,
    by_inputs: bool = True,
    out: Sequence[LayerGradients] | None = None,
) -> Gradients:
    """Backpropagation: from the derivative by the outputs `[batch, outputs]` to all the others.

    `preactivation_gradients`, where given, is the derivative by the last layer's z in its combined, stable form; the
    last activation's own derivative is then not used. Without `by_inputs` the derivative by the network's inputs is
    left out, and what stands in its place means nothing. `out`, where given, is memory for the gradients of each layer:
    those by a layer's z may take the place of its z, and those by a may share theirs with other layers'.
    """
    layers = []
    grad = output_gradients
    delta = preactivation_gradients
    for i in range(len(network.layers) - 1, -1, -1):
        layer, (x, z, a) = network.layers[i], trace[i]
        here = None if out is None else out[i]
        if delta is None:
            delta = by_rows(layer.activation.backward, grad, z, a, out=here and here.preactivations)
        parameters = layer.parameter_gradients(delta, x, here and here.parameters)
        layers.append(LayerGradients(parameters, delta, grad))
        if i:
            grad = layer.input_gradients(delta, None if out is None else out[i - 1].activations)
        elif by_inputs:
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
