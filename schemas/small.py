"""The short way of a small request to its answer; see engine/small.py."""

from typing import Any

import numpy as np

from engine import small
from engine.errors import EngineError
from engine.network import LayerTrace
from schemas.network import layer_to_wire
from schemas.optimizer_state import TRAINING_STATE, state_to_wire
from schemas.requests import BackwardRequest, StepRequest


def small_answer(request: BackwardRequest) -> dict[str, Any] | None:
    """The answer to a backward pass or a step; None where it takes the usual way, which also says what is wrong."""
    if not _is_plain(request):
        return None
    try:
        with np.errstate(all="ignore"):
            return _answer(request)
    except (small.Unsuited, EngineError):
        return None


def _is_plain(request: BackwardRequest) -> bool:
    """Whether a request is small, for float64, and for nothing beside gradients and an update of all parameters."""
    layers = request.network.layers
    if request.dtype != "float64" or request.per_example or len(request.inputs) > small.MOST_EXAMPLES:
        return False
    parameters = [array for layer in layers for array in (layer.weights, layer.bias)]
    if sum([array.size for array in parameters if array is not None]) > small.MOST_PARAMETERS:
        return False
    if any(layer.frozen for layer in layers):  # The gradient's norm is that of the other parameters.
        return False
    if not isinstance(request, StepRequest):
        return True
    posted = request.optimizer_state
    return (
        request.regularization is None
        and request.gradient_clipping is None
        and (posted is None or not any(name in posted for name in TRAINING_STATE))
    )


def _answer(request: BackwardRequest) -> dict[str, Any]:
    layers = _layers(request)
    trace = small.forward(layers, request.inputs)
    gradients = small.backward(layers, trace, request.objective())
    answer = _gradients(request, trace, gradients)
    if isinstance(request, StepRequest):
        _add_step(answer, request, layers, gradients)
    return answer


def _layers(request: BackwardRequest) -> list[small.SmallLayer]:
    layout = request.layout
    layers: list[small.SmallLayer] = []
    for layer in request.network.layers:
        weights, bias = layout.engine_form(layer.weights), layer.bias
        if bias is not None and bias.dtype is not small.FLOAT64:  # a list of integers
            bias = bias.astype(small.FLOAT64)
        layers.append((weights, bias, layer.activation))
    return layers


def _gradients(request: BackwardRequest, trace: list[LayerTrace], found: small.Gradients) -> dict[str, Any]:
    """What a backward pass answers."""
    layout = request.layout
    layers: list[dict[str, Any]] = []
    parts = zip(request.network.layers, trace, found.layers, strict=True)
    for layer, (_, z, a), (by_weights, by_bias, delta, grad) in parts:
        by_layer = {
            "weights": layout.wire_form(by_weights),
            "bias": by_bias,
            "preactivations": delta,
            "activations": grad,
        }
        name = layer.name or f"layers.{len(layers)}"
        layers.append({"name": name, "preactivations": z, "activations": a, "gradients": by_layer})
    return {
        "outputs": trace[-1].activations,
        "loss": found.loss,
        "example_losses": found.example_losses,
        "layers": layers,
        "input_gradients": found.inputs,
        "gradient_norm": found.norm,
    }


def _add_step(
    answer: dict[str, Any], request: StepRequest, layers: list[small.SmallLayer], gradients: small.Gradients
) -> None:
    """What a step answers beside that."""
    layout, state = request.layout, None
    if request.optimizer_state is not None:
        posted = request.state(request.engine_network())
        state = small.together([own for layer in posted for own in layer.values()])
    before = [parameter for layer in layers for parameter in layer[:2] if parameter is not None]
    after, kept, update_norm = small.update(request.optimizer, state, before, gradients.parameters)
    pieces = iter(zip(after, kept, strict=True))
    network, states = [], []
    for layer in request.network.layers:
        weights, own = next(pieces)
        by_name = {"weights": own}
        bias = None
        if layer.bias is not None:
            bias, by_name["bias"] = next(pieces)
        network.append(layer_to_wire(layer, weights, bias, layout))
        states.append(by_name)
    answer["penalty"] = 0.0
    answer["network"] = {"layers": network, "weights_layout": layout.name}
    answer["optimizer_state"] = state_to_wire(states, request.optimizer, layout)
    answer["update_norm"] = update_norm
