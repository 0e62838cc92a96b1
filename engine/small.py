"""A step of a small network with as little around NumPy's calls as can be.

A textbook's network takes some fifty of them, and in engine.step what stands around them takes as long as they do:
layers and states as objects, blocks for large arrays, an update of each parameter, a look at each array for what is not
finite. Here the same rules are called in the same order, so that every bit is the same. Callers silence NumPy's
warnings, as they do for the rules.
"""

from collections.abc import Sequence
from math import hypot, isfinite
from typing import Any, NamedTuple

import numpy as np

from engine.activations import Activation
from engine.clipping import FEW
from engine.descent import State
from engine.network import LayerTrace
from engine.objective import Objective
from engine.optimizers import Optimizer
from engine.rules import Array, column, joined, parts

FLOAT64 = np.dtype(np.float64)
MOST_PARAMETERS, MOST_EXAMPLES = FEW, 64
"""How large a network and a batch may be. The norm of more numbers depends on how they are grouped."""
SmallLayer = tuple[Array, Array | None, Activation]
"""A layer's weights `[inputs, units]`, bias and activation."""


class Unsuited(Exception):
    """Raised where a network is not small, or not right: engine.step takes all, and says what is wrong."""


class Gradients(NamedTuple):
    """The objective and its derivatives: of each layer by weights, bias, z and a; by the inputs; by all parameters once
    more in one vector, and the norm of that."""

    loss: Any
    example_losses: Array | None
    layers: list[tuple[Array, Array | None, Array, Array]]
    inputs: Array
    parameters: Array
    norm: float


def forward(layers: Sequence[SmallLayer], inputs: Array) -> list[LayerTrace]:
    """The forward pass; raises Unsuited where layers or inputs do not fit together, or are not float64."""
    if inputs.dtype is not FLOAT64:
        raise Unsuited
    x, width = inputs, inputs.shape[1]
    trace = []
    for weights, bias, activation in layers:
        rows, units = weights.shape
        if rows != width or weights.dtype is not FLOAT64:
            raise Unsuited
        z = x.dot(weights)
        if bias is not None:
            if len(bias) != units:
                raise Unsuited
            z += bias
        a = activation.forward(z)
        trace.append(LayerTrace(x, z, a))
        x, width = a, units
    return trace


def backward(layers: Sequence[SmallLayer], trace: Sequence[LayerTrace], objective: Objective) -> Gradients:
    """The objective and backpropagation; raises Unsuited where a number, or the square of one, is not finite, and what
    the objective raises."""
    _, z, a = trace[-1]
    loss, own, scales, grad, delta = objective.evaluate(layers[-1][2], z, a)
    factors = column(scales)
    by_outputs = grad = grad * factors
    if delta is not None:
        delta = delta * factors
    found: list[tuple[Array, Array | None, Array, Array]] = []
    numbers = [a, by_outputs] if own is None else [a, by_outputs, own]
    parameters = []
    for (weights, bias, activation), (x, z, a) in zip(reversed(layers), reversed(trace), strict=True):
        if delta is None:
            delta = activation.backward(grad, z, a)
        by_weights = x.T.dot(delta)
        by_bias = None
        if bias is not None:
            by_bias = np.add.reduce(delta, axis=0)
            parameters.append(by_bias)
        parameters.append(by_weights)
        found.append((by_weights, by_bias, delta, grad))
        numbers.append(z)
        grad = delta.dot(weights.T)
        delta = None
    found.reverse()
    parameters.reverse()
    everything = joined([*parameters, *numbers, grad])
    if not isfinite(everything.dot(everything)) or (loss is not None and not isfinite(loss)):
        raise Unsuited
    vector = everything[: sum([p.size for p in parameters])]
    return Gradients(loss, own, found, grad, vector, hypot(*vector.tolist()))


def update(
    optimizer: Optimizer, state: State | None, parameters: Sequence[Array], gradients: Array
) -> tuple[list[Array], list[State], float]:
    """An update of all parameters in one vector, since every optimizer works element by element: the new parameters,
    the state of each, and the norm of the change. Raises Unsuited where a number is not finite.

    `state` is that of all parameters together, None before the first step.
    """
    shapes = [p.shape for p in parameters]
    before = joined(parameters)
    after, kept = optimizer.update(gradients, optimizer.init(before) if state is None else state, before)
    changes = after - before
    slots = {key: value for key, value in kept.items() if isinstance(value, np.ndarray)}
    if not all(isfinite(vector.dot(vector)) for vector in (changes, *slots.values())):
        raise Unsuited
    states = [kept.copy() for _ in parameters]
    for key, vector in slots.items():
        for own, part in zip(states, parts(vector, shapes), strict=True):
            own[key] = part
    return parts(after, shapes), states, hypot(*changes.tolist())


def together(states: Sequence[State]) -> State:
    """The state of all parameters together; raises Unsuited where they do not agree in what is no array."""
    found: State = {}
    for key, value in states[0].items():
        of_each = [state[key] for state in states]
        if isinstance(value, np.ndarray):
            found[key] = joined(of_each)
        elif of_each.count(value) == len(of_each):
            found[key] = value
        else:
            raise Unsuited
    return found
