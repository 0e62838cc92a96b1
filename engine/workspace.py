"""The parameters of a network in one vector, so that an optimizer updates all of them at once.

Every optimizer works element by element, so one update of the vector gives the same bits as one of each array; for
small networks it costs a fraction. The vectors are buffers of one training run, changed in place and seen by nothing
else.
"""

from typing import Any

import numpy as np

from engine.network import Network
from engine.optimizers import Optimizer, State
from engine.rules import Array
from engine.step import NetworkState

BLOCK = 1 << 14
"""An update goes block by block of this many numbers, so that its intermediate results stay in the cache."""

Place = tuple[int, str]
"""A parameter: its layer's index and its name."""


class Group:
    """Trainable parameters whose states agree in every number (such as the count of steps), as one vector."""

    def __init__(self, places: list[Place], parameters: list[Array], states: list[State]) -> None:
        self.places = places
        self.shapes = [p.shape for p in parameters]
        self.vector = np.concatenate([p.ravel() for p in parameters])
        self.gradients = np.empty_like(self.vector)
        self.gradient_views = self.views(self.gradients)
        self.scalars = {k: v for k, v in states[0].items() if not isinstance(v, np.ndarray)}
        self.slots = {k: np.concatenate([s[k].ravel() for s in states]) for k in states[0] if k not in self.scalars}

    def views(self, vector: Array) -> list[Array]:
        """The parts of a vector in the parameters' shapes; they share its memory."""
        ends = np.cumsum([int(np.prod(shape)) for shape in self.shapes])[:-1]
        return [part.reshape(shape) for part, shape in zip(np.split(vector, ends), self.shapes, strict=True)]

    def states(self) -> list[State]:
        slots = {key: self.views(slot) for key, slot in self.slots.items()}
        return [
            {**self.scalars, **{key: parts[i].copy() for key, parts in slots.items()}} for i in range(len(self.places))
        ]

    def update(self, optimizer: Optimizer, gradients: Array) -> None:
        scalars: dict[str, Any] = self.scalars
        for start in range(0, self.vector.size, BLOCK):
            block = slice(start, start + BLOCK)
            state = {**self.scalars, **{key: slot[block] for key, slot in self.slots.items()}}
            self.vector[block], new = optimizer.update(gradients[block], state, self.vector[block])
            for key, slot in self.slots.items():
                slot[block] = new[key]
            scalars = {key: new[key] for key in self.scalars}
        self.scalars = scalars


class Workspace:
    """A network and its optimizer's state during a training run; `network` always holds the current parameters."""

    def __init__(self, network: Network, state: NetworkState) -> None:
        grouped: dict[tuple[tuple[str, Any], ...], list[Place]] = {}
        self.frozen_states = [dict(layer) for layer in state]
        for i, layer in enumerate(network.layers):
            for name in layer.parameters:
                if name not in layer.frozen:
                    numbers = tuple((k, v) for k, v in state[i][name].items() if not isinstance(v, np.ndarray))
                    grouped.setdefault(numbers, []).append((i, name))
        parameters = network.parameters
        self.groups = [
            Group(places, [parameters[i][name] for i, name in places], [state[i][name] for i, name in places])
            for places in grouped.values()
        ]
        for group in self.groups:
            for (i, name), view in zip(group.places, group.views(group.vector), strict=True):
                parameters[i][name] = view
        self.network = network.with_parameters(parameters)

    def set_gradients(self, gradients: list[dict[str, Array]]) -> list[Array]:
        """Takes over the gradients of all layers; the vectors that hold those of the trainable parameters."""
        for group in self.groups:
            for view, (i, name) in zip(group.gradient_views, group.places, strict=True):
                view[...] = gradients[i][name]
        return [group.gradients for group in self.groups]

    def update(self, optimizer: Optimizer, gradients: list[Array]) -> None:
        """One update of every trainable parameter from (clipped) gradients in the form of `set_gradients`."""
        for group, vector in zip(self.groups, gradients, strict=True):
            group.update(optimizer, vector)

    def snapshot(self) -> tuple[Network, NetworkState]:
        """A copy of the network and the state as they are now."""
        parameters = [{name: p.copy() for name, p in layer.items()} for layer in self.network.parameters]
        state = [dict(layer) for layer in self.frozen_states]
        for group in self.groups:
            for (i, name), parameter_state in zip(group.places, group.states(), strict=True):
                state[i][name] = parameter_state
        return self.network.with_parameters(parameters), state
