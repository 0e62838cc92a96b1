"""Mistakes of loops and arrays that are written by hand: where they end, what they reset, how they lie in memory."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from engine.losses import HalfSquaredError
from engine.mistakes.computation import LAYER, Answer, Case, Computation, Numbers, layer_keys
from engine.mistakes.targets import with_targets_of
from engine.rules import About, Array, hyper

MOST_SUMS = 10**8
"""The most multiplications of a pass whose partial sums are cut one by one, which takes much longer than a product."""


def with_inputs(c: Computation, other: Array) -> Computation:
    """The computation with other inputs of the network."""
    return c.in_layers(
        [0],
        preactivations=lambda n, i: n.sums(i, other, n.layer(i).weights),
        by_weights=lambda n, i: other.T @ n.by_z[i],
    )


def _by_columns(array: Array) -> Array:
    """The numbers in the order of the rows, put into the columns one after the other."""
    return array.reshape(array.shape[::-1]).T


def _by_rows(array: Array) -> Array:
    """The numbers in the order of the columns, put into the rows one after the other."""
    return array.T.reshape(array.shape)


@dataclass(frozen=True, slots=True)
class FlattenedInOtherOrder:
    """A matrix that lies in memory row after row, read column after column (columns), or the other way round (rows).

    C, Rust's vectors of vectors and NumPy write rows, Fortran, MATLAB, R, Julia and Eigen columns; or the index is
    `j * inputs + i` where it is `i * units + j`. The shape is right and most numbers are in the wrong place. `of` says
    what: the gradients of the weights, or the weights, in the forward pass, on the way back or in both (weights); both
    weights and gradients, by a program that is at one with itself; or the inputs.

    Source: numpy.reshape, its order.
    """

    kind: Literal["flattened_in_other_order"] = "flattened_in_other_order"
    of: Literal["gradients", "both", "weights", "forward", "passed_back", "inputs"] = "gradients"
    read: Literal["columns", "rows"] = "columns"
    layer: int | None = hyper(None, description=LAYER)
    about: ClassVar = About("Matrix flattened in the other order", r"w_{j \cdot d + i} \text{ for } w_{i \cdot u + j}")

    def applies(self, case: Case) -> bool:
        if self.of == "inputs":
            return self.layer is None and min(case.inputs.shape) > 1
        # Those of a square one are those of the transpose, which is another mistake.
        shapes = [layer.weights.shape for layer in case.layers_of(self.layer)]
        return any(min(shape) > 1 and shape[0] != shape[1] for shape in shapes)

    def alter(self, c: Computation, case: Case) -> Computation:
        read, written = (_by_columns, _by_rows) if self.read == "columns" else (_by_rows, _by_columns)
        if self.of == "inputs":
            return with_inputs(c, read(case.inputs))
        layers, by_weights, turned = case.indices(self.layer), c.by_weights, written if self.of == "both" else read
        if self.of in ("both", "weights", "forward"):
            c = c.in_layers(layers, preactivations=lambda n, i: n.sums(i, n.x(i), read(n.layer(i).weights)))
        if self.of in ("both", "weights", "passed_back"):
            c = c.in_layers(layers, passed_back=lambda n, i: n.by_z[i] @ read(n.layer(i).weights).T)
        if self.of in ("both", "gradients"):
            c = c.in_layers(layers, by_weights=lambda n, i: turned(by_weights(n, i)))
        return c


@dataclass(frozen=True, slots=True)
class LoopOneShort:
    """A loop that ends one short, or begins at 1: the last, or first, item is left out.

    `over` says which loop: the inputs of a layer's sum, its biases, the units that an input collects its error from,
    the inputs or the units whose gradients are computed, those of the weights alone, or the biases whose gradients are.
    What is left out of a gradient is 0.

    Source: Dijkstra 1982, EWD831, why numbering should start at zero.
    """

    kind: Literal["loop_one_short"] = "loop_one_short"
    over: Literal[
        "inputs",
        "biases",
        "passed_back",
        "gradients_of_inputs",
        "gradients_of_units",
        "weights_of_units",
        "bias_gradients",
    ] = "inputs"
    left: Literal["last", "first"] = "last"
    layer: int | None = hyper(None, description=LAYER)
    about: ClassVar = About(
        "Loop one short", r"\sum_{i = 1}^{d - 1} x_i w_{i j} \text{ for } \sum_{i = 1}^{d} x_i w_{i j}"
    )

    def applies(self, case: Case) -> bool:
        layers = case.layers_of(self.layer)
        if "bias" in self.over:
            return any(layer.bias is not None and len(layer.bias) > 1 for layer in layers)
        axis = 0 if self.over in ("inputs", "gradients_of_inputs") else 1
        if self.over == "passed_back" and self.layer is None and case.depth > 1:
            layers = layers[1:]  # what the first one passes back is no layer's error
        return any(layer.weights.shape[axis] > 1 for layer in layers)

    def alter(self, c: Computation, case: Case) -> Computation:
        def without(array: Array, axis: int) -> Array:
            kept = array.copy()
            kept[(slice(None),) * axis + (-1 if self.left == "last" else 0,)] = 0
            return kept

        layers, before, by_weights, by_bias = case.indices(self.layer), c.preactivations, c.by_weights, c.by_bias

        def sums(n: Numbers, i: int) -> Array:
            x, w, b = n.x(i), n.layer(i).weights, n.layer(i).bias
            z = before(n, i)
            if self.over == "inputs":
                return z - (x - without(x, 1)) @ w
            return z if b is None else z - (b - without(b, 0))

        if self.over in ("inputs", "biases"):
            return c.in_layers(layers, preactivations=sums)
        if self.over == "passed_back":
            return c.in_layers(layers, passed_back=lambda n, i: n.layer(i).input_gradients(without(n.by_z[i], 1)))
        if self.over != "bias_gradients":
            axis = 0 if self.over == "gradients_of_inputs" else 1
            c = c.in_layers(layers, by_weights=lambda n, i: without(by_weights(n, i), axis))
        if self.over not in ("gradients_of_inputs", "weights_of_units"):
            c = c.in_layers(layers, by_bias=lambda n, i: without(by_bias(n, i), 0))
        return c


@dataclass(frozen=True, slots=True)
class OneTermOnly:
    """One term in place of a sum: the last, which `=` for `+=` leaves, or the first, which a loop returns from within.

    `of` says which sum: a unit's weighted inputs, to which the bias is added (weighted_inputs) or whose start it was
    (preactivations); the error that an input collects; or the loss, of one example, divided as the sum would be (loss)
    or not (loss_undivided).

    Source: ISO C 6.5.16, assignment operators.
    """

    kind: Literal["one_term_only"] = "one_term_only"
    of: Literal["weighted_inputs", "preactivations", "passed_back", "loss", "loss_undivided"] = "weighted_inputs"
    term: Literal["last", "first"] = "last"
    layer: int | None = hyper(None, description=LAYER)
    about: ClassVar = About("One term in place of a sum", r"x_d w_{d j} \text{ for } \sum_{i = 1}^{d} x_i w_{i j}")

    def applies(self, case: Case) -> bool:
        if self.of.startswith("loss"):
            divided = self.of == "loss" or (case.loss is not None and case.loss.reduction != "sum")
            return self.layer is None and case.loss is not None and case.batch > 1 and divided
        axis = 1 if self.of == "passed_back" else 0
        return any(layer.weights.shape[axis] > 1 for layer in case.layers_of(self.layer))

    def alter(self, c: Computation, case: Case) -> Computation:
        layers, scales = case.indices(self.layer), c.loss_scales
        kept = slice(-1, None) if self.term == "last" else slice(1)

        def sums(n: Numbers, i: int) -> Array:
            z: Array = n.x(i)[:, kept] @ n.layer(i).weights[kept]
            bias = n.layer(i).bias
            return z if bias is None or self.of == "preactivations" else z + bias

        def one_example(n: Numbers) -> Array:
            every = scales(n)
            one = np.zeros_like(every)
            one[kept] = every[kept] if self.of == "loss" else every.sum()
            return one

        if self.of.startswith("loss"):
            return c._replace(loss_scales=one_example)
        if self.of == "passed_back":
            return c.in_layers(layers, passed_back=lambda n, i: n.by_z[i][:, kept] @ n.layer(i).weights[:, kept].T)
        return c.in_layers(layers, preactivations=sums)


@dataclass(frozen=True, slots=True)
class RowsShared:
    """All rows of the weights' gradient are one and the same row, to which everything is added; or which holds what was
    written last.

    `[[0] * n] * m` in Python, `Arrays.fill(rows, new double[n])` in Java and a copied pointer make one row with many
    names. `rows` says whether a row belongs to an input or, in the layout `units_by_inputs`, to a unit.

    Source: the Python FAQ, how to create a multidimensional list.
    """

    kind: Literal["rows_shared"] = "rows_shared"
    rows: Literal["inputs", "units"] = "inputs"
    form: Literal["added", "last"] = "added"
    layer: int | None = hyper(None, description=LAYER)
    about: ClassVar = About("One row for all rows", r"\sum_k \frac{\partial L}{\partial w_{k j}} \text{ for } "
                            r"\frac{\partial L}{\partial w_{i j}}")  # fmt: skip

    def applies(self, case: Case) -> bool:
        return any(layer.weights.shape[self._axis] > 1 for layer in case.layers_of(self.layer))

    @property
    def _axis(self) -> int:
        return 0 if self.rows == "inputs" else 1

    def alter(self, c: Computation, case: Case) -> Computation:
        before, axis = c.by_weights, self._axis

        def stage(n: Numbers, i: int) -> Array:
            gradient = before(n, i)
            row = gradient.sum(axis, keepdims=True) if self.form == "added" else np.take(gradient, [-1], axis)
            return np.broadcast_to(row, gradient.shape).copy()

        return c.in_layers(case.indices(self.layer), by_weights=stage)


@dataclass(frozen=True, slots=True)
class KeptOfLastExample:
    """The backward pass of every example with the activations of the last one: one buffer was kept for all of them.

    The forward pass of the whole batch comes first, and each example writes into the same array, or adds the same
    array to a list. `shown` says whether the activations that are given are those of the last example too.

    Source: the Python FAQ, how to create a multidimensional list.
    """

    kind: Literal["kept_of_last_example"] = "kept_of_last_example"
    shown: Literal["no", "yes"] = "no"
    about: ClassVar = About("Activations of the last example kept", r"a_N \text{ for } a_n")

    def applies(self, case: Case) -> bool:
        return case.batch > 1 and case.depth > 1

    def alter(self, c: Computation, case: Case) -> Computation:
        activations = c.activations

        def last(array: Array) -> Array:
            return np.broadcast_to(array[-1:], array.shape)

        def errors(n: Numbers, i: int) -> Array:
            return n.layer(i).activation.backward(n.by_a[i], last(n.z[i]), last(n.a[i]))

        def shown(answer: Answer) -> Answer:
            keys = [layer_keys(i).activations for i in range(case.depth - 1)]
            return answer | {key: last(answer[key]) for key in keys if key in answer}

        c = c.in_layers(range(1, case.depth), by_weights=lambda n, i: last(n.a[i - 1]).T @ n.by_z[i])
        c = c.in_layers(range(case.depth - 1), by_preactivations=errors)
        # Another function, if it gives the same: the right one's numbers are not computed again, and not given either.
        return c if self.shown == "no" else c._replace(activations=lambda n, i: activations(n, i)).rewritten(shown)


@dataclass(frozen=True, slots=True)
class AccumulatorNotReset:
    """A sum that is not set to 0 before the next one begins: each has those before it in it.

    `of` says which: a unit's preactivation, its bias included, or without it, or the error that an input collects;
    `between` whether the variable is to be reset for each unit (or input), or for each example.

    Source: none needed; the variable is declared outside of the loop.
    """

    kind: Literal["accumulator_not_reset"] = "accumulator_not_reset"
    of: Literal["passed_back", "preactivations", "weighted_sums"] = "passed_back"
    between: Literal["examples", "units"] = "examples"
    layer: int | None = hyper(None, description=LAYER)
    about: ClassVar = About("Accumulator not reset", r"\sum_{m \le n} \delta_m W^\top \text{ for } \delta_n W^\top")

    def applies(self, case: Case) -> bool:
        if self.between == "examples":
            return case.batch > 1
        axis = 0 if self.of == "passed_back" else 1
        return any(layer.weights.shape[axis] > 1 for layer in case.layers_of(self.layer))

    def alter(self, c: Computation, case: Case) -> Computation:
        axis, forwards, back = 0 if self.between == "examples" else 1, c.preactivations, c.passed_back
        if self.of == "passed_back":
            return c.in_layers(case.indices(self.layer), passed_back=lambda n, i: back(n, i).cumsum(axis))

        def sums(n: Numbers, i: int) -> Array:
            bias, z = n.layer(i).bias, forwards(n, i)
            if bias is None or self.of == "preactivations":
                return z.cumsum(axis)
            total: Array = (z - bias).cumsum(axis) + bias
            return total

        return c.in_layers(case.indices(self.layer), preactivations=sums)


@dataclass(frozen=True, slots=True)
class IntegersInPlaceOfDecimals:
    """Decimals cut off, because a variable or a sum holds integers.

    `std::accumulate(first, last, 0)` and `inner_product` of C++ add up in an int, since their last argument is one;
    `pixel / 255` of integers is 0. `of` says where: each partial sum of the weighted inputs (sums), the
    preactivations, the activations, the inputs of the network, its weights and biases, or the weights alone, or the
    targets; or the factor of the loss, `1 / n` or `1 / 2`, which leaves 0 of it (loss).

    Source: ISO C++, std::accumulate; ISO C 6.3.1.4.
    """

    kind: Literal["integers_in_place_of_decimals"] = "integers_in_place_of_decimals"
    of: Literal["sums", "preactivations", "activations", "inputs", "parameters", "weights", "targets", "loss"] = "sums"
    layer: int | None = hyper(None, description=LAYER)
    about: ClassVar = About("Integers in place of decimals", r"\lfloor z \rfloor \text{ for } z")

    def applies(self, case: Case) -> bool:
        if self.of == "sums":
            return case.work <= MOST_SUMS
        if self.of == "targets" and case.loss is None:
            return False
        if self.of == "loss":
            divided = case.loss is not None and case.loss.reduction != "sum" and case.batch > 1
            return self.layer is None and (divided or isinstance(case.loss, HalfSquaredError))
        return self.of in ("preactivations", "activations") or self.layer is None

    def alter(self, c: Computation, case: Case) -> Computation:
        if self.of == "inputs":
            return with_inputs(c, np.trunc(case.inputs))
        if self.of == "loss":
            scales = c.loss_scales
            return c._replace(loss_scales=lambda n: np.zeros_like(scales(n)))
        if self.of == "targets":
            return with_targets_of(c, case, np.trunc(case.targets))
        if self.of in ("parameters", "weights"):
            return _with_integers(c, case, ("weights", "bias") if self.of == "parameters" else ("weights",))
        before, activations = c.preactivations, c.activations
        if self.of == "activations":
            return c.in_layers(case.indices(self.layer), activations=lambda n, i: np.trunc(activations(n, i)))

        def sums(n: Numbers, i: int) -> Array:
            if self.of == "preactivations":
                return np.trunc(before(n, i))
            layer, total = n.layer(i), np.zeros((n.case.batch, n.layer(i).weights.shape[1]), n.case.inputs.dtype)
            for x, row in zip(n.x(i).T, layer.weights, strict=True):
                total = np.trunc(total + np.outer(x, row))
            return total if layer.bias is None else total + layer.bias

        return c.in_layers(case.indices(self.layer), preactivations=sums)


def _with_integers(c: Computation, case: Case, names: tuple[str, ...]) -> Computation:
    """The computation with the decimals of these parameters cut off, before the step too."""
    layers = [
        layer.with_parameters({k: np.trunc(p) if k in names else p for k, p in layer.parameters.items()})
        for layer in case.layers
    ]
    updated = c.updated

    def step(n: Numbers, i: int, name: str, gradient: Array) -> Array:
        return updated(n, i, name, gradient) - (case.layers[i].parameters[name] - layers[i].parameters[name])

    return c._replace(
        preactivations=lambda n, i: layers[i].preactivations(n.x(i)),
        passed_back=lambda n, i: layers[i].input_gradients(n.by_z[i]),
        updated=step,
    )
