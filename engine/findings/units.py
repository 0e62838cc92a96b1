"""Findings about units: those that give nothing, those that learn nothing, and copies of each other."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from engine.findings.case import Case, Finding, share, some
from engine.rules import Array
from engine.wording import plural

ENOUGH_EXAMPLES = 8
"""A healthy relu unit is off for about half of all inputs, so for all of n examples by chance once in 2^n. The ranges
of fewer examples are taken to be wider for what is called certain."""
MANY_DEAD = 0.5
"""From this share of a layer's units on, dead units are a warning. A fresh network has some: a unit all of whose
weights from n relu units are negative comes by chance once in 2^n, and in twenty He layers of 16 units up to a sixth of
a layer is dead on a batch, whose examples have become alike on the way. The other units learn without them."""
MOST_UNITS = 0.9
"""From this share of a layer's units on, units that are off here and might be on elsewhere are a warning too."""
FLAT = 0.01
"""Saturated: a slope below this share of the steepest one. That is |z| > 6 for sigmoid, |z| > 3 for tanh."""
MANY_SATURATED = 0.5
"""A layer of which half is saturated learns at a small part of its speed. Source: Glorot and Bengio 2010, figure 2."""
CLEARLY_WRONG = 0.25
"""A saturated output is only wrong where it is this share of the activation's range away from its target."""
SQUASHING = {"sigmoid", "tanh", "hard_sigmoid", "hard_tanh", "softsign"}
TAILED = {"elu", "celu", "selu", "gelu", "silu", "mish", "softplus", "log_sigmoid"}
"""Flat to one side only, where values of healthy units lie too: here a unit is saturated where all its values are."""
BETWEEN_PIECES = (
    "Scale the inputs first, where input_scale is told. Change these units' biases so that their preactivations leave "
    "the flat piece, or draw their weights anew, lower the learning rate that carried them here, or use leaky_relu, "
    "whose slope is never 0."
)
"""The remedy for dead units where a flat piece is not all that lies below a number: raising biases need not help."""
GROUPS = 5
"""How many groups of copies are listed at most."""
EQUAL = 1e-9
"""Gradients of copies may differ by rounding, relatively to the largest of their layer."""


@dataclass(frozen=True, slots=True)
class DeadRelu:
    """A unit whose activation is constant, with slope 0, for every example: its weights receive no gradient.

    It is certain that no input within the ranges seen here wakes it where even the largest preactivation over the box
    of the layer's inputs, b + sum_i max(w_i low_i, w_i high_i), lies on the flat piece. It is a warning where that is
    half of a layer: below that the layer is smaller than it looks, and learns. In the last layer, where no other unit
    stands in, it is one for any unit that is off and not what its targets are.

    Source: Maas et al. 2013, Rectifier nonlinearities improve neural network acoustic models; interval arithmetic.
    """

    code: ClassVar[str] = "dead_relu"
    title: ClassVar[str] = "Units that are off for every example"
    remedy: ClassVar[str] = (
        "Scale the inputs first, where input_scale is told. Raise these units' biases or draw their weights anew (He's "
        "initializers keep half of the units on), lower the learning rate that carried them here, or use leaky_relu, "
        "whose slope is never 0."
    )

    def find(self, case: Case) -> list[Finding]:
        found = []
        for i, (layer, (x, z, a), shape) in enumerate(zip(case.network.layers, case.trace, case.shapes, strict=True)):
            if not shape.flat:
                continue
            off = shape.is_flat(z).all(axis=0)
            least, most = reach(layer.weights, layer.bias, *box(case, i))
            within = np.any([(least >= low) & (most <= high) for low, high in shape.flat], axis=0)
            certain = off & within & (len(x) > 1)
            if not (off.all() or (off.any() and len(x) > 1)):
                continue
            dead, asleep = share(certain) >= MANY_DEAD, share(off) >= MOST_UNITS
            if i == len(case.network.layers) - 1 and case.targets is not None:
                asleep |= bool((off & (a != case.targets).any(axis=0)).any())
            units = np.flatnonzero(certain if certain.any() and (dead or not asleep) else off)
            where = "off" if len(shape.flat) == 1 else "on a flat piece"
            message = (
                f"{plural(len(units), 'unit')} of {z.shape[1]} in layer {i} ({layer.activation.kind}) "
                f"{'is' if len(units) == 1 else 'are'} {where} for {'all ' if len(x) > 1 else ''}"
                f"{plural(len(x), 'example')}"
                f"{' and for any other input in their ranges' if certain[units].all() else ''}: the slope is 0, so "
                f"that no gradient reaches {'its' if len(units) == 1 else 'their'} weights"
                f"{', nor any layer before' if off.all() else ''}."
            )
            evidence = {
                "units": some(units),
                "count": len(units),
                "of": z.shape[1],
                "largest_preactivation": float(z[:, units].max()),
                "least_possible": float(least[units].min()),
                "largest_possible": float(most[units].max()),
            }
            remedy = self.remedy if all(low == -np.inf for low, _ in shape.flat) else BETWEEN_PIECES
            found.append(Finding(self.code, "warning" if dead or asleep else "info", i, message, evidence, remedy))
        return found


@dataclass(frozen=True, slots=True)
class SaturatedUnits:
    """Squashing units so far out that their slope is below 1/100 of the steepest: sigmoid at |z| > 6, tanh at |z| > 3.

    Hidden units of gelu, silu, elu and others with one flat side count where they are on it for every example; fewer
    than half of a layer are an info.

    In the last layer it counts where the output is wrong as well, and the loss does not cancel the slope (as
    cross-entropies do in their combined form).

    Source: LeCun et al. 1998, Efficient BackProp; Glorot and Bengio 2010.
    """

    code: ClassVar[str] = "saturated_units"
    title: ClassVar[str] = "Saturated units"
    remedy: ClassVar[str] = (
        "Scale the inputs to mean 0 and standard deviation 1, start from smaller weights (Glorot's initializers), or "
        "use relu in hidden layers; lower the learning rate, if it carried them here; raise biases of gelu, silu or "
        "elu units that are far below 0. At the outputs, use the cross-entropy, whose gradient lacks the slope."
    )

    def find(self, case: Case) -> list[Finding]:
        found = []
        last = len(case.network.layers) - 1
        for i, (layer, (_, z, a), shape) in enumerate(zip(case.network.layers, case.trace, case.shapes, strict=True)):
            slope = case.slopes[i]
            tailed = layer.activation.kind in TAILED and i < last and len(z) > 1
            if not (tailed or layer.activation.kind in SQUASHING) or slope is None or shape.steepest is None:
                continue
            flat = np.abs(slope) < FLAT * shape.steepest
            if tailed:
                flat &= flat.all(axis=0)
            if i == last:
                if case.before.evaluation.preactivation_gradients is not None or case.targets is None:
                    continue
                flat &= np.abs(a - case.targets) > CLEARLY_WRONG * (shape.high - shape.low)
            if share(flat) < MANY_SATURATED and not (tailed and flat.any()):
                continue
            units = np.flatnonzero(flat.all(axis=0))
            message = (
                f"{share(flat):.0%} of the {layer.activation.kind} values of layer {i} are saturated"
                f"{' at a wrong output' if i == last else ''}: there the slope is less than 1/100 of the steepest "
                f"({shape.steepest:.4g}), and hardly any gradient passes."
            )
            evidence = {
                "saturated_fraction": share(flat),
                "units": some(units),
                "count": len(units),
                "mean_slope": float(slope.mean()),
                "steepest_slope": float(shape.steepest),
                "largest_preactivation": float(np.abs(z).max()),
            }
            severity = "warning" if share(flat) >= MANY_SATURATED else "info"
            found.append(Finding(self.code, severity, i, message, evidence, self.remedy))
        return found


@dataclass(frozen=True, slots=True)
class SymmetricUnits:
    """Units of a hidden layer with equal incoming weights, outgoing weights and gradients: every update leaves them so.

    Equal incoming weights alone do not suffice: where the outgoing weights differ, so do the gradients, and the units
    part at the first step that has a gradient. With an optimizer its step is looked at too.

    Source: Rumelhart, Hinton and Williams 1986, doi:10.1038/323533a0 (the problem of symmetry breaking).
    """

    code: ClassVar[str] = "symmetric_units"
    title: ClassVar[str] = "Units that are copies of each other"
    remedy: ClassVar[str] = (
        "Draw the weights at random (POST /v1/initialize does): equal units receive equal gradients, so that no number "
        "of steps makes them different, and a layer of copies is worth one unit."
    )

    def find(self, case: Case) -> list[Finding]:
        found = []
        for i, layer in enumerate(case.network.layers[:-1]):
            arrays = [case.network.layers[i + 1].weights.T, *case.before.gradients.layers[i].parameters.values()]
            if case.taken is not None:
                arrays += case.taken.network.layers[i].parameters.values()
            first = first_equal(np.vstack([layer.weights, *([] if layer.bias is None else [layer.bias])]))
            apart = np.any([unlike(array, first) for array in arrays], axis=0)
            counts = np.bincount(first)
            heads = np.flatnonzero((counts > 1) & (np.bincount(first, weights=apart) == 0))
            if not len(heads):
                continue
            units, width = int(counts[heads].sum()), layer.weights.shape[1]
            left = plural(width - units + len(heads), "unit")
            message = (
                f"{units} units of layer {i} have equal incoming weights, outgoing weights and gradients: they compute "
                f"the same number and stay copies of each other, as if the layer had {left} in place of {width}."
            )
            groups = [some(np.flatnonzero(first == head)) for head in heads[:GROUPS]]
            evidence = {"groups": groups, "units": units, "of": width}
            found.append(Finding(self.code, "warning", i, message, evidence, self.remedy))
        return found


def first_equal(columns: Array) -> Array:
    """For each column the index of the first that is equal to it, in one look at each."""
    seen: dict[bytes, int] = {}
    rows = np.ascontiguousarray(columns.T) + 0.0  # which makes -0 a 0
    return np.array([seen.setdefault(row.tobytes(), i) for i, row in enumerate(rows)])


def unlike(array: Array, first: Array) -> Array:
    """Which columns (numbers, of a vector) differ from those that `first` names by more than rounding."""
    far = np.abs(array - array[..., first]) > EQUAL * np.abs(array).max()
    return far.reshape(-1, len(first)).any(axis=0)


def box(case: Case, layer: int) -> tuple[Array, Array]:
    """The ranges `[inputs]` of a layer's inputs. Few examples tell little of them: there a range is taken to be as far
    to either side as the largest input is, but for what the activation before never gives."""
    x = case.trace[layer].inputs
    low, high = x.min(axis=0), x.max(axis=0)
    if len(x) < ENOUGH_EXAMPLES:
        shape = case.shapes[layer - 1] if layer else None
        largest = np.abs(x).max()
        low = np.maximum(np.minimum(low, -largest), -np.inf if shape is None else shape.low)
        high = np.minimum(np.maximum(high, largest), np.inf if shape is None else shape.high)
    return low, high


def reach(weights: Array, bias: Array | None, low: Array, high: Array) -> tuple[Array, Array]:
    """The least and the largest preactivation of each unit over the box of the layer's inputs."""
    ends = np.stack([weights * low[:, np.newaxis], weights * high[:, np.newaxis]])
    offset = 0 if bias is None else bias
    return ends.min(axis=0).sum(axis=0) + offset, ends.max(axis=0).sum(axis=0) + offset


@dataclass(frozen=True, slots=True)
class UnusedInputs:
    """Features that are the same number in every example, and features whose outgoing weights are all 0.

    Where the first layer has no bias, the first constant feature other than 0 is taken for one.

    Source: a constant x_i adds w_i x_i to every preactivation, which is what a bias does.
    """

    code: ClassVar[str] = "unused_inputs"
    title: ClassVar[str] = "Inputs that make no difference"
    remedy: ClassVar[str] = (
        "Leave constant features out (a bias does what they do), and check how they were made; give weights that are "
        "all 0 random values unless that is where they should start."
    )

    def find(self, case: Case) -> list[Finding]:
        x, weights = case.trace[0].inputs, case.network.layers[0].weights
        constant = (x == x[:1]).all(axis=0) & (len(x) > 1)
        instead_of_bias = np.flatnonzero(constant & (x[0] != 0))[:1]
        if case.network.layers[0].bias is None:
            constant[instead_of_bias] = False
        unheard = (weights == 0).all(axis=1) & ~constant
        if not (constant.any() or unheard.any()):
            return []
        parts = []
        for flags, one, many in [
            (constant, "never changes between examples", "never change between examples"),
            (unheard, "has only weights of 0", "have only weights of 0"),
        ]:
            if flags.any():
                count = int(flags.sum())
                parts.append(f"{plural(count, 'feature')} of {x.shape[1]} {one if count == 1 else many}")
        evidence = {
            "constant": some(np.flatnonzero(constant)),
            "constant_count": int(constant.sum()),
            "without_weights": some(np.flatnonzero(unheard)),
            "without_weights_count": int(unheard.sum()),
        }
        return [Finding(self.code, "info", 0, f"{' and '.join(parts)}.", evidence, self.remedy)]
