"""One step of training: forward pass, objective, backpropagation, clipping, update."""

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from engine.clipping import Clipping, norm
from engine.descent import State
from engine.finite import check_gradients, check_trace, require_finite
from engine.network import Gradients, LayerTrace, Network, backward, forward, per_example
from engine.objective import Evaluation, Objective, evaluated
from engine.optimizers import Optimizer
from engine.regularization import Regularization
from engine.rules import Array, column

NetworkState = list[dict[str, State]]
"""An optimizer's state for each parameter of each layer, by name."""


class Differentiation(NamedTuple):
    """The answer of backpropagation. `trainable` are layer, name and gradient of each parameter that is not frozen.
    `loss` includes `penalty`, and is None where the objective has none."""

    objective: Objective
    trace: list[LayerTrace]
    evaluation: Evaluation
    loss: Any
    penalty: float
    gradients: Gradients
    trainable: list[tuple[int, str, Array]]
    gradient_norm: float


class Step(NamedTuple):
    """What a step made; the losses and gradients of `before` are those before the update."""

    before: Differentiation
    network: Network
    state: NetworkState
    update_norm: float


@np.errstate(all="ignore")
def checked_forward(network: Network, inputs: Array) -> list[LayerTrace]:
    """The forward pass; raises NonFinite at the first number that is not finite."""
    trace = forward(network, inputs)
    check_trace(trace)
    return trace


@np.errstate(all="ignore")
def evaluate(network: Network, inputs: Array, objective: Objective) -> tuple[list[LayerTrace], Evaluation]:
    """The forward pass and the objective on its outputs; raises NonFinite likewise."""
    trace = forward(network, inputs)
    check_trace(trace)
    evaluation = _evaluate(network, trace, objective)
    if evaluation.loss is not None:
        require_finite(("loss",), np.asarray(evaluation.loss))
    return trace, evaluation


def _evaluate(network: Network, trace: list[LayerTrace], objective: Objective) -> Evaluation:
    evaluation = evaluated(objective, network, trace)
    if evaluation.example_losses is not None:
        require_finite(("example_losses",), evaluation.example_losses)
    return evaluation


@np.errstate(all="ignore")
def differentiate(
    network: Network, inputs: Array, objective: Objective, regularization: Regularization | None = None
) -> Differentiation:
    """All gradients of the objective (and of the penalty on the weights, where there is one).

    The gradient norm is that of all parameters that are not frozen, together. Raises NonFinite, and what the loss
    raises of its outputs and targets.
    """
    return _differentiate(network, inputs, objective, regularization)


def _differentiate(
    network: Network, inputs: Array, objective: Objective, regularization: Regularization | None
) -> Differentiation:
    trace = forward(network, inputs)
    check_trace(trace)
    evaluation = _evaluate(network, trace, objective)
    loss, penalty = evaluation.loss, 0.0
    gradients = scaled_backward(network, trace, evaluation, evaluation.scales)
    if regularization is not None:
        penalty = regularization.penalty(*(layer.weights for layer in network.layers))
        loss = None if loss is None else loss + penalty
        for layer, layer_gradients in zip(network.layers, gradients.layers, strict=True):
            layer_gradients.parameters["weights"] += regularization.gradient(layer.weights)
    if not math.isfinite(penalty if loss is None else loss):
        for quantity, value in (("loss", evaluation.loss), ("penalty", penalty), ("loss", loss)):
            require_finite((quantity,), np.asarray(0.0 if value is None else value))
    places = trainable(network, gradients)
    gradient_norm = norm([g for _, _, g in places])
    frozen = any(layer.frozen for layer in network.layers)
    check_gradients(gradients, norm(all_parameters(gradients)) if frozen else gradient_norm)
    return Differentiation(objective, trace, evaluation, loss, penalty, gradients, places, gradient_norm)


def scaled_backward(network: Network, trace: list[LayerTrace], evaluation: Evaluation, scales: Array) -> Gradients:
    """Backpropagation of the rows' own losses, each times its scale."""
    factors = column(scales)
    by_preactivations = evaluation.preactivation_gradients
    if by_preactivations is not None:
        by_preactivations = by_preactivations * factors
    return backward(network, trace, evaluation.output_gradients * factors, by_preactivations)


@np.errstate(all="ignore")
def example_gradients(network: Network, result: Differentiation) -> list[dict[str, Array]]:
    """Each example's own parameter gradients, as if it were alone in its batch, without the penalty.

    The batch is the leading axis. Raises NonFinite.
    """
    scales = result.objective.own_scales(result.trace[-1].activations)
    own = scaled_backward(network, result.trace, result.evaluation, scales)
    gradients = per_example(network, result.trace, own)
    for i, layer in enumerate(gradients):
        for name, array in layer.items():
            require_finite(("layers", i, "per_example_gradients", name), array)
    return gradients


def init_state(optimizer: Optimizer, network: Network) -> NetworkState:
    """The state before the first step; raises NonFinite where a number it starts from is too large for the dtype."""
    state = [{name: optimizer.init(p) for name, p in layer.items()} for layer in network.parameters]
    first = state[0]["weights"]
    if len(first) > 1:
        require_finite_state(first, 0, "weights")
    return state


@lru_cache(maxsize=256)
def numbers_kept(optimizer: Optimizer) -> int:
    """How many numbers an optimizer's state has for each parameter."""
    return sum(isinstance(value, np.ndarray) for value in optimizer.init(np.zeros(1)).values())


@np.errstate(all="ignore")
def step(
    network: Network,
    inputs: Array,
    objective: Objective,
    optimizer: Optimizer,
    state: NetworkState,
    regularization: Regularization | None = None,
    clipping: Clipping | None = None,
) -> Step:
    """One update of every parameter that is not frozen; a frozen one keeps its value and its state."""
    before = _differentiate(network, inputs, objective, regularization)
    gradients = [g for _, _, g in before.trainable]
    if clipping is not None:
        gradients = clipping.clip(gradients, before.gradient_norm)
    parameters, new_state = network.parameters, [dict(layer) for layer in state]
    changes = []
    for (i, name, _), gradient in zip(before.trainable, gradients, strict=True):
        old = parameters[i][name]
        new, kept = optimizer.update(gradient, state[i][name], old)
        if len(kept) > 1:
            require_finite_state(kept, i, name)
        new_state[i][name] = kept
        parameters[i][name] = new
        changes.append(new - old)
    update_norm = norm(changes)
    if not math.isfinite(update_norm):
        for i, name, _ in before.trainable:
            require_finite(("network", "layers", i, name), parameters[i][name])
    return Step(before, network.with_parameters(parameters), new_state, update_norm)


def require_finite_state(state: State, layer: int, name: str) -> None:
    """Raises NonFinite where an array of a parameter's state is not finite."""
    for key, value in state.items():
        if isinstance(value, np.ndarray):
            require_finite(("optimizer_state", "layers", layer, name, key), value)


def all_parameters(gradients: Gradients) -> list[Array]:
    return [gradient for layer in gradients.layers for gradient in layer.parameters.values()]


def trainable(network: Network, gradients: Gradients) -> list[tuple[int, str, Array]]:
    """Layer, name and gradient of each parameter that is not frozen."""
    return [
        (i, name, gradient)
        for i, (layer, layer_gradients) in enumerate(zip(network.layers, gradients.layers, strict=True))
        for name, gradient in layer_gradients.parameters.items()
        if name not in layer.frozen
    ]
