"""Finding the first number that is not finite, along the way of the computation."""

import math

import numpy as np

from engine.errors import NonFinite, Where
from engine.network import Gradients, LayerTrace
from engine.rules import Array


def require_finite(where: Where, quantity: str, array: Array) -> None:
    """Raises NonFinite with the index of the first infinite or undefined number of `array`.

    The sum of squares is finite only where every number is; it costs less than looking at each, and only where it
    overflows is each looked at.
    """
    if math.isfinite(np.vdot(array, array)):
        return
    finite = np.isfinite(array)
    if finite.all():
        return
    index = [int(i) for i in np.unravel_index(int(np.argmin(finite)), array.shape)]
    value = array[tuple(index)]
    name = "not a number" if np.isnan(value) else "infinite" if value > 0 else "minus infinite"
    raise NonFinite(
        (*where, *index),
        f"The {quantity} became {name} at index {index}, the first such number of the computation.",
        expected="a finite number",
        received="NaN" if np.isnan(value) else "Infinity" if value > 0 else "-Infinity",
        hint="Scale inputs and weights down, lower the learning rate, or compute in float64.",
    )


def check_trace(trace: list[LayerTrace]) -> None:
    for i, (_, z, a) in enumerate(trace):
        require_finite(("layers", i, "preactivations"), f"preactivations of layer {i}", z)
        require_finite(("layers", i, "activations"), f"activations of layer {i}", a)


def check_gradients(gradients: Gradients) -> None:
    """From the last layer to the first, as backpropagation goes."""
    for i in range(len(gradients.layers) - 1, -1, -1):
        parameters, by_preactivations, by_activations = gradients.layers[i]
        where = ("layers", i, "gradients")
        require_finite((*where, "activations"), f"gradients by the activations of layer {i}", by_activations)
        require_finite((*where, "preactivations"), f"gradients by the preactivations of layer {i}", by_preactivations)
        for name, array in parameters.items():
            require_finite((*where, name), f"gradients by the {name} of layer {i}", array)
    require_finite(("input_gradients",), "gradients by the inputs", gradients.inputs)
