"""What a derivation is made of, and what it is made from."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from engine.clipping import Clipping
from engine.derivation.formulas import Formula, Numbers
from engine.network import Network
from engine.objective import Objective
from engine.optimizers import Optimizer
from engine.regularization import Regularization
from engine.rules import Array
from engine.step import Differentiation, NetworkState, Step


class Worked(NamedTuple):
    """An example that the engine has worked out: all that a derivation tells of. `step` is None without an optimizer.

    `transposed`: weights are written `[units, inputs]`. `state` is the optimizer's before the step.
    """

    network: Network
    inputs: Array
    objective: Objective
    before: Differentiation
    step: Step | None = None
    optimizer: Optimizer | None = None
    regularization: Regularization | None = None
    clipping: Clipping | None = None
    transposed: bool = False
    state: NetworkState | None = None

    @property
    def batch(self) -> int:
        return len(self.inputs)

    def layer_inputs(self, layer: int) -> Array:
        return self.before.trace[layer].inputs

    def weights_form(self, array: Array) -> Array:
        """Weights, or anything of their shape, as the reader writes them; a vector as it is."""
        return array.T if self.transposed and array.ndim == 2 else array

    def shown(self, array: Array) -> Numbers:
        """A parameter, or an array of its shape, in a formula: a vector is a row. One of its numbers is itself."""
        written = np.asarray(self.weights_form(array))
        return Numbers(np.atleast_2d(written) if written.ndim else written)


@dataclass(frozen=True, slots=True, eq=False)
class Statement:
    """One step of a derivation: a text, mostly a formula, and the engine's own numbers that the formula ends in.

    `terms`, where the formula is a sum of products of single numbers: the factors of each, so that the products of the
    rows add up to `value`.
    """

    text: str
    formula: Formula | None = None
    value: Any = None
    terms: list[list[Any]] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Section:
    title: str
    steps: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Focus:
    """One parameter: its layer, its name, and its index in the engine's array."""

    layer: int
    parameter: str
    index: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Derivation:
    """Sections in the order of the telling; `worked` and `focus` are what a diagram is drawn from."""

    title: str
    sections: tuple[Section, ...]
    worked: Worked
    focus: Focus | None = None
