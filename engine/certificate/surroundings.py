"""The objective as a function of all its inputs and parameters in one vector, around the point that is asked about.

It is computed apart from the engine's forward pass and rules, for many real or complex points at once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from engine.certificate import losses
from engine.certificate.activations import Pieces, pieces
from engine.errors import Where
from engine.network import Network
from engine.objective import Objective, VectorObjective
from engine.regularization import Regularization
from engine.rules import Array

CHUNK = 1 << 19
"""How many numbers are evaluated at once."""
LARGEST = 1e300
"""What is carried back stays below this: infinity times 0 would be NaN."""
LAST_DIGITS = 2.0**-50
IMAGINARY = 2.0**-300
"""The step along the imaginary axis. Its square is lost beside 1, so that the complex step has no truncation error."""


class Unknown(LookupError):
    """A rule that has no second form here."""


class Part(NamedTuple):
    """One array among the coordinates: `where` it stands in the answer's gradients, and its place in the vector."""

    where: Where
    shape: tuple[int, ...]
    place: slice


class Kink(NamedTuple):
    """A number at which a function has no derivative; `where` includes its index."""

    where: Where
    value: float
    function: str


@dataclass(frozen=True)
class Surroundings:
    """Around `base` `[coordinates]` every function of several pieces is held to the piece that its argument lies on
    there. Where no argument lies on a kink this is the objective itself, and it is analytic."""

    network: Network
    objective: Objective
    regularization: Regularization | None
    parts: tuple[Part, ...]
    base: Array
    batch: int
    forms: tuple[Pieces, ...]

    @property
    def work(self) -> int:
        """Multiplications of one evaluation."""
        return self.batch * self.base.size

    @property
    def piecewise(self) -> list[str]:
        """The functions of the network that are made of several pieces, in order."""
        layers = zip(self.network.layers, self.forms, strict=True)
        names: list[str] = [layer.activation.kind for layer, form in layers if form.breaks]
        if not isinstance(self.objective, VectorObjective):
            loss = self.objective.loss
            names += [loss.kind] if losses.is_piecewise(loss, self.last.activation) else []
        return list(dict.fromkeys(names))

    @cached_property
    def trace(self) -> list[tuple[Array, Array, Array]]:
        """Each layer's input, preactivations and the pieces that they lie on, at the base; last the outputs."""
        x, *parameters = self._arrays(self.base[np.newaxis])
        trace = []
        for layer, form in zip(self.network.layers, self.forms, strict=True):
            z = x @ parameters.pop(0)
            if layer.bias is not None:
                z = z + parameters.pop(0)[:, np.newaxis, :]
            which = form.which(z)
            trace.append((x[0], z[0], which[0]))
            x = form.evaluate(z, which)
        trace.append((x[0], x[0], x[0]))
        return trace

    @cached_property
    def last(self) -> losses.Last:
        return losses.Last(self.trace[-2][1], self.trace[-1][0], self.network.layers[-1].activation.kind)

    @cached_property
    def targets(self) -> Array:
        """`[batch, outputs]`; class labels as one-hot rows."""
        assert not isinstance(self.objective, VectorObjective)
        targets = self.objective.targets
        if targets.ndim == 1:
            return np.eye(self.last.y.shape[1])[targets.astype(np.int64)]
        return targets.astype(np.float64)

    @cached_property
    def scales(self) -> Array:
        """The factor `[batch]` of each row's loss in the objective, from reduction and weights."""
        if isinstance(self.objective, VectorObjective):
            return np.ones(self.batch)
        loss: Any = self.objective.loss
        own = self.objective.sample_weights
        weights = np.ones(self.batch) if own is None else own.astype(np.float64)
        if loss.reduction == "sum":
            return weights
        counts = np.ones(self.batch)
        one_hot = np.isin(self.targets, (0, 1)).all() and (self.targets.sum(axis=1) == 1).all()
        if loss.kind in ("cross_entropy", "negative_log_likelihood") and loss.class_weights is not None and one_hot:
            counts = self.targets @ np.asarray(loss.class_weights)
        elementwise = losses.values(loss, self.last, self.last, self.targets).ndim == 2
        outputs = self.last.y.shape[1] if elementwise and loss.reduction == "mean" else 1
        scales: Array = weights / ((weights * counts).sum() * outputs)
        return scales

    def _arrays(self, points: Array) -> list[Array]:
        return [points[:, part.place].reshape(len(points), *part.shape) for part in self.parts]

    def terms(self, points: Array) -> Array:
        """`[points, batch]`: each row's share in the objective at each of the points `[points, coordinates]`."""
        x, *parameters = self._arrays(points)
        for (_, _, which), layer, form in zip(self.trace[:-1], self.network.layers, self.forms, strict=True):
            z = x @ parameters.pop(0)
            if layer.bias is not None:
                z = z + parameters.pop(0)[:, np.newaxis, :]
            x = form.evaluate(z, which)
        if isinstance(self.objective, VectorObjective):
            rows: Array = (x * self.objective.output_gradients).sum(axis=-1)
            return rows
        at = losses.Last(z, x, self.last.activation)
        values = losses.values(self.objective.loss, at, self.last, self.targets)
        return self.scales * (values.sum(axis=-1) if values.ndim == 3 else values)

    @cached_property
    def output_rounding(self) -> float:
        """How far the objective moves with the last digits of the outputs."""
        if isinstance(self.objective, VectorObjective):
            return float(np.abs(self.last.y * self.objective.output_gradients).sum()) * LAST_DIGITS
        at = losses.Last(self.last.z * (1 - LAST_DIGITS), self.last.y * (1 - LAST_DIGITS), self.last.activation)
        loss = self.objective.loss
        moved = losses.values(loss, at, self.last, self.targets) - losses.values(
            loss, self.last, self.last, self.targets
        )
        return float((np.abs(moved).T * self.scales).sum())

    def penalty(self, points: Array) -> Array:
        """`[points]`: l1 * sum|w| + l2/2 * sum(w^2) over the weights."""
        total: Array = np.zeros(len(points), points.dtype)
        if self.regularization is None:
            return total
        for part in self.parts:
            if part.where[-1] == "weights":
                w = points[:, part.place]
                total = total + self.regularization.l1 * (np.sign(self.base[part.place]) * w).sum(axis=1)
                total = total + self.regularization.l2 / 2 * (w * w).sum(axis=1)
        return total

    def values(self, count: int, points: Callable[[slice], Array]) -> Array:
        """The objective `[count]` at points that are made chunk by chunk."""
        held = self.base.size + self.batch * sum(layer.weights.shape[1] for layer in self.network.layers)
        size = max(1, CHUNK // held)
        found = []
        for start in range(0, count, size):
            chunk = points(slice(start, min(start + size, count)))
            found.append(self.terms(chunk).sum(axis=1) + self.penalty(chunk))
        return np.concatenate(found) if found else np.zeros(0)

    @cached_property
    def slopes(self) -> list[Array]:
        """The size of the derivative of each layer's activation at its preactivations; ones for those of rows."""
        slopes = []
        for (_, z, which), form in zip(self.trace[:-1], self.forms, strict=True):
            # A step that is not lost in the slopes of far tails.
            h = 2.0**-60
            slope = np.ones(z.shape) if form.row_wise else form.evaluate(z + 1j * h, which).imag / h
            slopes.append(np.abs(slope))
        return slopes

    def carried_back(self, marks: list[Array], size: Callable[[Array], Array], least: float = 0.0) -> Array:
        """Nonnegative numbers `marks[i]` at each layer's preactivations, carried back along all paths and added up:
        `[coordinates]`. `size` makes the nonnegative factors out of inputs, weights and slopes; slopes and activations
        count as at least `least`."""
        carried = np.zeros_like(marks[-1])
        found: list[Array] = []
        for i in reversed(range(len(self.network.layers))):
            carried = carried + marks[i]
            layer, x = self.network.layers[i], size(self.trace[i][0])
            if i > 0:
                x = np.maximum(x, size(np.full((), least)))
            if layer.bias is not None:
                found.append(carried.sum(axis=0))
            found.append((x.T @ carried).ravel())
            carried = np.minimum(carried @ size(layer.weights).T, LARGEST)
            if i > 0:
                by_rows = self.forms[i - 1].row_wise
                carried = carried * size(np.maximum(self.slopes[i - 1], least))
                carried = np.minimum(carried + (carried.sum(axis=1, keepdims=True) if by_rows else 0), LARGEST)
        return np.minimum(np.concatenate([carried.ravel(), *reversed(found)]), LARGEST)

    def kinks(self) -> tuple[list[Kink], Array]:
        """All kinks, and which coordinates `[coordinates]` move a number that lies on one."""
        found: list[Kink] = []
        marks: list[Array] = []
        for i, ((x, z, _), form) in enumerate(zip(self.trace[:-1], self.forms, strict=True)):
            layer = self.network.layers[i]
            on = np.zeros(z.shape, bool)
            if form.kinked and form.breaks:
                # How far rounding may have carried z.
                reach = np.abs(x) @ np.abs(layer.weights) + (0 if layer.bias is None else np.abs(layer.bias))
                for place in form.breaks:
                    on |= np.abs(z - place) <= losses.NEAR * (reach + abs(place))
            name: str = layer.activation.kind
            found += [Kink(("layers", i, "preactivations", *map(int, k)), float(z[*k]), name) for k in np.argwhere(on)]
            marks.append(on.astype(float))
        if not isinstance(self.objective, VectorObjective):
            on = losses.kinks(self.objective.loss, self.last, self.targets)
            name = self.objective.loss.kind
            found += [Kink(("outputs", *map(int, k)), float(self.last.y[*k]), name) for k in np.argwhere(on)]
            moved = on.any(axis=1, keepdims=True) if self.forms[-1].row_wise else on & (self.slopes[-1] > 0)
            marks[-1] = marks[-1] + moved
        left_out = self.carried_back(marks, lambda a: (a != 0).astype(float)) > 0
        if self.regularization is not None and self.regularization.l1:
            for part in self.parts:
                if part.where[-1] == "weights":
                    at_zero = self.base[part.place] == 0
                    left_out[part.place] |= at_zero
                    for k in np.argwhere(at_zero.reshape(part.shape)):
                        found.append(Kink(("network", *part.where[:2], "weights", *map(int, k)), 0.0, "l1 penalty"))
        return found, left_out


def surroundings(
    network: Network, inputs: Array, objective: Objective, regularization: Regularization | None
) -> Surroundings:
    """Raises Unknown where an activation or the loss has no second form."""
    arrays: list[tuple[Where, Array]] = [(("input_gradients",), inputs)]
    forms = []
    for i, layer in enumerate(network.layers):
        arrays += [(("layers", i, "gradients", name), array) for name, array in layer.parameters.items()]
        form = pieces(layer.activation)
        if form is None:
            raise Unknown(layer.activation.kind)
        forms.append(form)
    parts, start = [], 0
    for where, array in arrays:
        parts.append(Part(where, array.shape, slice(start, start + array.size)))
        start += array.size
    base = np.concatenate([array.ravel() for _, array in arrays]).astype(np.float64)
    found = Surroundings(network, objective, regularization, tuple(parts), base, len(inputs), tuple(forms))
    if not isinstance(objective, VectorObjective):
        try:
            losses.values(objective.loss, found.last, found.last, found.targets)
        except KeyError:
            raise Unknown(objective.loss.kind) from None
    return found
