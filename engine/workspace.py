"""The memory of one training run: parameters in one vector, gradients in another, and room for a batch.

Every optimizer works element by element, so one update of a vector gives the same bits as one of each array; for small
networks it costs a fraction. All of it is changed in place by the run alone, until `move` leaves it to others.
"""

from typing import Any, NamedTuple

import numpy as np

from engine.blocks import BLOCK
from engine.clipping import FEW
from engine.descent import State
from engine.finite import is_finite
from engine.network import LayerGradients, Network
from engine.optimizers import Optimizer
from engine.rules import Array, joined, parts
from engine.step import NetworkState

Place = tuple[int, str]
"""A parameter: its layer's index and its name."""


class Group:
    """Trainable parameters whose states agree in every number (such as the count of steps), as one vector."""

    def __init__(self, places: list[Place], parameters: list[Array], states: list[State]) -> None:
        self.places = places
        self.shapes = [p.shape for p in parameters]
        self.vector = joined(parameters)
        self.gradients = np.empty_like(self.vector)
        self.scalars = {k: v for k, v in states[0].items() if not isinstance(v, np.ndarray)}
        self.slots = {k: joined(s[k] for s in states) for k in states[0] if k not in self.scalars}

    def views(self, vector: Array) -> dict[Place, Array]:
        """The parts of a vector in the parameters' shapes; they share its memory."""
        return dict(zip(self.places, parts(vector, self.shapes), strict=True))

    def states(self) -> dict[Place, State]:
        slots = {key: self.views(slot) for key, slot in self.slots.items()}
        return {place: {**self.scalars, **{key: parts[place] for key, parts in slots.items()}} for place in self.places}

    def update(self, optimizer: Optimizer, gradients: Array) -> None:
        """One update, block by block, so that its intermediate results stay in the cache."""
        scalars: dict[str, Any] = self.scalars
        numbers = BLOCK // self.vector.itemsize
        for start in range(0, self.vector.size, numbers):
            block = slice(start, start + numbers)
            state = {**self.scalars, **{key: slot[block] for key, slot in self.slots.items()}}
            self.vector[block], new = optimizer.update(gradients[block], state, self.vector[block])
            for key, slot in self.slots.items():
                slot[block] = new[key]
            scalars = {key: new[key] for key in self.scalars}
        self.scalars = scalars

    def move(self) -> None:
        """Goes on with copies, so that nobody's arrays change any more."""
        self.vector = self.vector.copy()
        self.slots = {key: slot.copy() for key, slot in self.slots.items()}


class Room(NamedTuple):
    """Where a step over a batch puts its arrays: z and a of each layer, and the gradients of each layer."""

    trace: list[tuple[Array, Array]]
    gradients: list[LayerGradients]


class Workspace:
    """A network and its optimizer's state during a training run; `network` always holds the current parameters.

    `gradients` are the vectors that backpropagation into `room` fills with the gradients of all trainable parameters;
    `measured` are the same numbers, grouped so that their norm has the bits of a step's.
    """

    def __init__(self, network: Network, state: NetworkState, batch: int) -> None:
        """`batch` is how many rows a batch has at most."""
        self.frozen_states = state
        places = [
            (i, name) for i, layer in enumerate(network.layers) for name in layer.parameters if name not in layer.frozen
        ]
        grouped: dict[tuple[tuple[str, Any], ...], list[Place]] = {}
        for i, name in places:
            numbers = tuple((k, v) for k, v in state[i][name].items() if not isinstance(v, np.ndarray))
            grouped.setdefault(numbers, []).append((i, name))
        parameters = network.parameters
        self.groups = [
            Group(alike, [parameters[i][name] for i, name in alike], [state[i][name] for i, name in alike])
            for alike in grouped.values()
        ]
        self.gradients = [group.gradients for group in self.groups]
        by_place = {place: view for group in self.groups for place, view in group.views(group.gradients).items()}
        self._by_parameters = [
            {name: by_place[i, name] if (i, name) in by_place else np.empty_like(p) for name, p in layer.items()}
            for i, layer in enumerate(parameters)
        ]
        few = sum(vector.size for vector in self.gradients) <= FEW
        self.measured = self.gradients if few else [by_place[place] for place in places]
        self.network = self._on_vectors(network)
        widths = [layer.weights.shape[1] for layer in network.layers]
        dtype = network.layers[0].weights.dtype
        self._memory = [(np.empty((batch, units), dtype), np.empty((batch, units), dtype)) for units in widths]
        self._scratch = np.empty(batch * max(widths), dtype)
        self._rooms: dict[int, Room] = {}

    def _on_vectors(self, network: Network) -> Network:
        parameters = network.parameters
        for group in self.groups:
            for (i, name), view in group.views(group.vector).items():
                parameters[i][name] = view
        return network.with_parameters(parameters)

    def room(self, rows: int) -> Room:
        """Room for a batch of `rows`; all rooms share their memory.

        The gradients by a layer's z take the place of that z, and those by the activations of all layers one place.
        """
        if rows not in self._rooms:
            trace = [(z[:rows], a[:rows]) for z, a in self._memory]
            gradients = [
                LayerGradients(by_parameters, z, self._scratch[: z.size].reshape(z.shape))
                for by_parameters, (z, _) in zip(self._by_parameters, trace, strict=True)
            ]
            self._rooms[rows] = Room(trace, gradients)
        return self._rooms[rows]

    def update(self, optimizer: Optimizer, gradients: list[Array]) -> None:
        """One update of every trainable parameter from (clipped) gradients in the form of `self.gradients`."""
        for group, vector in zip(self.groups, gradients, strict=True):
            group.update(optimizer, vector)

    def is_finite(self) -> bool:
        """Whether all parameters and the optimizer's state are."""
        return all(is_finite(vector) for group in self.groups for vector in (group.vector, *group.slots.values()))

    def state(self) -> NetworkState:
        """The optimizer's state as it is now."""
        state = [dict(layer) for layer in self.frozen_states]
        for group in self.groups:
            for (i, name), parameter_state in group.states().items():
                state[i][name] = parameter_state
        return state

    def move(self) -> None:
        """Goes on with copies: the arrays of `network` and `state` do not change any more."""
        for group in self.groups:
            group.move()
        self.network = self._on_vectors(self.network)
