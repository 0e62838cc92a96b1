"""Finding the first number that is not finite, along the way of the computation."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from engine.errors import NonFinite, Where
from engine.network import Gradients, LayerTrace
from engine.rules import Array


def is_finite(array: Array) -> bool:
    """Whether every number is finite. Their sum of squares tells at a fraction of the cost of looking at each; only
    where it overflows is each looked at."""
    return math.isfinite(np.vdot(array, array)) or bool(np.isfinite(array).all())


def require_finite(where: Where, array: Array) -> None:
    """Raises NonFinite with the index of the first infinite or undefined number of the quantity at `where`."""
    if is_finite(array):
        return
    finite = np.isfinite(array)
    index = [int(i) for i in np.unravel_index(int(np.argmin(finite)), array.shape)]
    value = array[tuple(index)]
    name = "NaN" if np.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    place = f" at index {index}" if index else ""
    raise NonFinite(
        (*where, *index),
        f"{_words(where)} became {name}{place}, the first such number of the computation.",
        expected="a finite number",
        received=name,
        hint=_hint(where, array),
    )


def _hint(where: Where, array: Array) -> str:
    """What may help: against numbers that are too large, and after an update against a division by 0."""
    hints = ["Scale inputs and weights down"]
    if where[0] in ("loss", "example_losses"):
        probabilities = "Give a loss of probabilities no outputs of exactly 0 or 1, which from_logits avoids"
        hints = [probabilities, "a loss of rates none below 0", "scale outputs and targets down"]
    elif where[0] == "penalty":
        hints = ["Lower l1 and l2 of the regularization", "scale weights down"]
    elif where[0] in ("network", "optimizer_state"):
        hints = ["Lower the learning rate", "give eps a value above 0", "look into the posted optimizer_state"]
    if array.dtype == np.float32:
        hints.append("compute in float64")
    return f"{', or '.join(hints)}."


def _words(where: Where) -> str:
    """`("layers", 1, "gradients", "weights")` as "In layer 1, gradients weights"."""
    *place, quantity = where
    if "layers" not in place:
        return f"The {quantity}".replace("_", " ")
    layer = place[place.index("layers") + 1]
    kind = " ".join(str(part) for part in (*place, quantity) if part not in ("layers", layer))
    return f"In layer {layer}, the {kind}".replace("_", " ")


def _squares(array: Array) -> Any:
    """The sum of the squares of all numbers; faster than vdot, but not silent where it overflows."""
    flat = array.ravel()
    return flat.dot(flat)


def check_trace(trace: list[LayerTrace]) -> None:
    """Raises NonFinite at the first number of the forward pass that is not finite.

    What is not finite among a layer's activations makes preactivations of the next layer that are not, so a quick look
    at those and at the outputs is enough to know that all is well.
    """
    outputs = trace[-1].activations
    squares = _squares(outputs) + sum([_squares(z) for _, z, _ in trace])
    if math.isfinite(squares):
        return
    for i, (_, z, a) in enumerate(trace):
        require_finite(("layers", i, "preactivations"), z)
        require_finite(("layers", i, "activations"), a)


def check_gradients(gradients: Gradients, parameter_norm: float) -> None:
    """The same for the backward pass, from the last layer to the first.

    `parameter_norm` is the norm of the gradients by all parameters, frozen ones too. A quick look at it and at a few
    arrays is enough to know that all is well. A gradient by activations that is not finite shows in the same layer's
    gradient by preactivations, except in the last layer, where a combined form passes it by: there it is looked at
    itself. A gradient by preactivations that is not finite shows in its sum, the gradient by the bias; where there is
    no bias, it is looked at itself.
    """
    by_outputs = gradients.layers[-1].activations
    squares = _squares(gradients.inputs) + _squares(by_outputs)
    squares += sum([_squares(layer.preactivations) for layer in gradients.layers if "bias" not in layer.parameters])
    if math.isfinite(squares) and math.isfinite(parameter_norm):
        return
    for where, array in _in_order(gradients):
        require_finite(where, array)


def _in_order(gradients: Gradients) -> Iterator[tuple[Where, Array]]:
    for i in range(len(gradients.layers) - 1, -1, -1):
        parameters, by_preactivations, by_activations = gradients.layers[i]
        yield ("layers", i, "gradients", "activations"), by_activations
        yield ("layers", i, "gradients", "preactivations"), by_preactivations
        for name, array in parameters.items():
            yield ("layers", i, "gradients", name), array
    yield ("input_gradients",), gradients.inputs
