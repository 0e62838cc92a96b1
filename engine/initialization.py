"""A new network: its parameters are drawn, each from a stream of its own."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from engine.activations import Activation
from engine.errors import EngineError, NonFinite
from engine.finite import is_finite
from engine.initializers import Initializer, OfMatrices, Shape, generator
from engine.layers import Dense
from engine.network import Network
from engine.rules import Array

STREAMS = {"weights": 0, "bias": 1}
"""The place of each parameter's stream among those of its layer."""


class Blank(NamedTuple):
    """A layer whose parameters are still to be drawn; without an initializer of the bias it has none."""

    units: int
    activation: Activation
    weights_initializer: Initializer
    bias_initializer: Initializer | None
    name: str | None = None


def initialize(input_size: int, layers: Sequence[Blank], dtype: str, seed: int) -> Network:
    """The network of these layers; the same seed gives the same bytes.

    Raises EngineError where a bias cannot be drawn so, NonFinite where numbers are too large for the dtype.
    """
    made = []
    inputs = input_size
    for i, layer in enumerate(layers):
        shape = (inputs, layer.units)
        rule = layer.bias_initializer
        if isinstance(rule, OfMatrices):
            raise EngineError(
                ("layers", i, "bias_initializer"),
                f"{rule.kind} makes matrices, and a bias is a vector.",
                expected="zeros, for instance",
            )
        weights = _draw(layer.weights_initializer, shape, shape, dtype, seed, i, "weights")
        bias = None if rule is None else _draw(rule, shape[1:], shape, dtype, seed, i, "bias")
        made.append(Dense(weights, bias, layer.activation, layer.name))
        inputs = layer.units
    return Network(tuple(made))


def _draw(
    rule: Initializer, shape: Shape, fans: tuple[int, int], dtype: str, seed: int, layer: int, name: str
) -> Array:
    with np.errstate(over="ignore", invalid="ignore"):
        numbers: Array = rule.sample(shape, *fans, generator(seed, layer, STREAMS[name])).astype(dtype)
    if not is_finite(numbers):
        raise NonFinite(
            ("layers", layer, f"{name}_initializer"),
            f"{rule.kind} draws numbers here that are too large for {dtype}.",
            expected="finite numbers",
            received="Infinity",
            hint="Choose smaller hyperparameters.",
        )
    return numbers
