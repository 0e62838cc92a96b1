"""What the findings look at: a computation, and the step that an optimizer would take from there."""

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from engine.clipping import Clipping, norm, root_mean_square
from engine.errors import EngineError, NonFinite
from engine.findings.ranges import Shape, shape_of
from engine.network import LayerTrace, Network, forward
from engine.objective import LossObjective, Objective, VectorObjective, evaluated
from engine.optimizers import Optimizer
from engine.reduction import prepare_targets, reduce
from engine.regularization import Regularization
from engine.row_activations import RowActivation
from engine.rules import Array
from engine.step import Differentiation, NetworkState, Step, differentiate, init_state, step

RELATIVE_STEPS = tuple(10 ** (k / 4) for k in range(-16, 1))
"""Where the slice along the gradient is taken: changes of all weights by 1/10000 to 1 of their size."""
STEP_FACTORS = (0.125, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)
"""Where the slice along the step is taken; 1 is the step itself."""
LARGE, SMALL = 10.0, 0.01
"""Root mean squares of inputs or targets beyond which they are told: initial weights and learning rates are made for a
size of 1. Inputs ten times as large saturate, or carry a step ten times too far; sparse ones (one-hot rows, pixels) are
small in the mean and fine, so that only a factor of a hundred below counts, over all."""
LISTED = 20
"""How many units, features or examples a finding lists at most."""


class Finding(NamedTuple):
    """What is wrong, how bad it is ("warning", or "info" where it may be as wanted), where, and what to do."""

    code: str
    severity: str
    layer: int | None
    message: str
    evidence: dict[str, Any]
    remedy: str


class Slice(NamedTuple):
    """The loss along a line through the parameters. `along` the gradient, `positions` are learning rates of plain
    gradient descent; along the optimizer's step they are its multiples. It ends where the loss is not finite."""

    along: str
    positions: list[float]
    losses: list[float]


@dataclass(frozen=True)
class Case:
    """`taken` is the step that `optimizer` takes, None without an optimizer or where the step overflows.

    Examples of weight 0 are not there: `rows` are the others, and `trace`, `inputs` of its first layer included,
    `outputs`, `targets`, `scales` and `slopes` are of those alone.
    """

    network: Network
    inputs: Array
    before: Differentiation
    optimizer: Optimizer | None = None
    regularization: Regularization | None = None
    taken: Step | None = None

    @property
    def objective(self) -> LossObjective | None:
        return None if isinstance(self.before.objective, VectorObjective) else self.before.objective

    @cached_property
    def rows(self) -> Array:
        """The examples of a weight above 0; all of them where none has one."""
        weights = None if self.objective is None else self.objective.sample_weights
        counted = np.ones(len(self.inputs), bool) if weights is None or not weights.any() else weights > 0
        return np.flatnonzero(counted)

    @cached_property
    def trace(self) -> list[LayerTrace]:
        if len(self.rows) == len(self.inputs):
            return self.before.trace
        return [LayerTrace(*(array[self.rows] for array in layer)) for layer in self.before.trace]

    @property
    def outputs(self) -> Array:
        return self.trace[-1].activations

    @cached_property
    def targets(self) -> Array | None:
        """`[rows, outputs]`; class labels as one-hot rows."""
        if self.objective is None:
            return None
        y = self.before.trace[-1].activations
        return prepare_targets(self.objective.loss, self.objective.targets, y.shape, y.dtype)[self.rows]

    @property
    def scales(self) -> Array:
        """What each example's loss counts in the loss of the batch `[rows]`."""
        return self.before.evaluation.scales[self.rows]

    def reduced(self, values: Array) -> float:
        """The loss of the batch, without a penalty, from the examples' values."""
        return float(reduce(values, self.scales))

    @cached_property
    def shapes(self) -> list[Shape]:
        return [shape_of(layer.activation) for layer in self.network.layers]

    @cached_property
    def slopes(self) -> list[Array | None]:
        """Each unit's derivative of its activation `[rows, units]`; None where the units of a row are mixed."""
        slopes: list[Array | None] = []
        for layer, (_, z, a) in zip(self.network.layers, self.trace, strict=True):
            rows = isinstance(layer.activation, RowActivation)
            slopes.append(None if rows else layer.activation.backward(np.ones_like(z), z, a))
        return slopes

    @cached_property
    def gradient_sizes(self) -> list[float]:
        """The root mean square of each layer's gradients by its preactivations."""
        return [root_mean_square(layer.preactivations[self.rows]) for layer in self.before.gradients.layers]

    @cached_property
    def update_ratios(self) -> list[float | None]:
        """The norm of each weight matrix's update over that of the matrix; None where there is none to compare."""
        if self.taken is None:
            return [None] * len(self.network.layers)
        ratios: list[float | None] = []
        for old, new in zip(self.network.layers, self.taken.network.layers, strict=True):
            size = 0.0 if "weights" in old.frozen else norm([old.weights])
            ratios.append(norm([new.weights - old.weights]) / size if size > 0 else None)
        return ratios

    @cached_property
    def descent(self) -> float:
        """The derivative of the loss along the step that is taken, times its length: at least 0 where the step leads
        uphill from its first bit on, however short it is made. NaN without a step."""
        if self.taken is None:
            return math.nan
        layers = zip(self.network.parameters, self.taken.network.parameters, strict=True)
        changes = [{name: new[name] - old[name] for name in old} for old, new in layers]
        return float(sum(np.vdot(gradient, changes[i][name]) for i, name, gradient in self.before.trainable))

    @np.errstate(all="ignore")
    def loss_at(self, network: Network) -> float:
        """The loss of other parameters, the penalty included; infinite where there is none."""
        assert self.objective is not None
        try:
            loss = float(evaluated(self.objective, network, forward(network, self.inputs)).loss)
        except EngineError:
            return math.inf
        if self.regularization is not None:
            loss += self.regularization.penalty(*(layer.weights for layer in network.layers))
        return loss if math.isfinite(loss) else math.inf

    @cached_property
    def slices(self) -> list[Slice]:
        if self.objective is None:
            return []
        slices = []
        weights = norm([a for layer in self.network.parameters for a in layer.values()])
        gradient = {(i, name): g for i, name, g in self.before.trainable}
        if self.before.gradient_norm > 0:
            unit = (weights or 1.0) / self.before.gradient_norm
            slices.append(self._slice("gradient", [unit * s for s in RELATIVE_STEPS], gradient))
        if self.taken is not None and self.taken.update_norm > 0:
            changes = {
                (i, name): old - self.taken.network.layers[i].parameters[name]
                for i, layer in enumerate(self.network.layers)
                for name, old in layer.parameters.items()
            }
            slices.append(self._slice("step", STEP_FACTORS, changes))
        return slices

    @np.errstate(all="ignore")
    def _slice(self, along: str, positions: Sequence[float], direction: dict[tuple[int, str], Array]) -> Slice:
        found, losses = [0.0], [float(self.before.loss)]
        for position in positions:
            moved = [
                {name: a - position * direction[i, name] if (i, name) in direction else a for name, a in layer.items()}
                for i, layer in enumerate(self.network.parameters)
            ]
            loss = self.loss_at(self.network.with_parameters(moved))
            if not (math.isfinite(loss) and math.isfinite(position)):
                break
            found.append(float(position))
            losses.append(loss)
        return Slice(along, found, losses)


def examine(
    network: Network,
    inputs: Array,
    objective: Objective,
    optimizer: Optimizer | None = None,
    state: NetworkState | None = None,
    regularization: Regularization | None = None,
    clipping: Clipping | None = None,
) -> Case:
    """Differentiates and, with an optimizer, takes a step; a step that overflows is a case like others."""
    before = differentiate(network, inputs, objective, regularization)
    taken = None
    if optimizer is not None:
        state = init_state(optimizer, network) if state is None else state
        with suppress(NonFinite):
            taken = step(network, inputs, objective, optimizer, state, regularization, clipping)
    return Case(network, inputs, before, optimizer, regularization, taken)


def spread(array: Array) -> tuple[float, float]:
    """Mean and standard deviation of all numbers, without overflow."""
    wide = array.astype(np.float64)
    largest = float(np.abs(wide).max()) or 1.0
    return float((wide / largest).mean() * largest), float((wide / largest).std() * largest)


def some(indices: Array) -> list[int]:
    """The first of the indices, for evidence."""
    return [int(i) for i in indices[:LISTED]]


def share(flags: Any) -> float:
    """The share of the flags that are set."""
    return float(np.count_nonzero(flags) / np.size(flags))


def deviations(array: Array) -> Array:
    """The standard deviation of each column, without overflow; 0 of a column that is one number."""
    wide = array.astype(np.float64)
    largest = np.abs(wide).max(axis=0)
    own: Array = (wide / np.where(largest > 0, largest, 1)).std(axis=0) * largest
    return own
