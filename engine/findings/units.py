"""Findings about units: those that give nothing, those that learn nothing, and copies of each other."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from engine.findings.case import Case, Finding, plural, share, some
from engine.rules import Array

ENOUGH_EXAMPLES = 8
"""A healthy relu unit is off for about half of all inputs, so for all of n examples by chance once in 2^n. The ranges
of fewer examples are taken to be wider for what is called certain."""
MOST_UNITS = 0.9
"""From this share of a layer's units on, units that are off here and might be on elsewhere are a warning too."""
FLAT = 0.01
"""Saturated: a slope below this share of the steepest one. That is |z| > 6 for sigmoid, |z| > 3 for tanh."""
MANY_SATURATED = 0.5
"""A layer of which half is saturated learns at a small part of its speed. Source: Glorot and Bengio 2010, figure 2."""
CLEARLY_WRONG = 0.25
"""A saturated output is only wrong where it is this share of the activation's range away from its target."""
SQUASHING = {"sigmoid", "tanh", "hard_sigmoid", "hard_tanh", "softsign"}
GROUPS = 5
"""How many groups of copies are listed at most."""
EQUAL = 1e-9
"""Gradients of copies may differ by rounding, relatively to the largest of their layer."""


@dataclass(frozen=True, slots=True)
class DeadRelu:
    """A unit whose activation is constant, with slope 0, for every example: its weights receive no gradient.

    It is certain that no input within the ranges seen here wakes it where even the largest preactivation over the box
    of the layer's inputs, b + sum_i max(w_i low_i, w_i high_i), lies on the flat piece.

    Source: Maas et al. 2013, Rectifier nonlinearities improve neural network acoustic models; interval arithmetic.
    """

    code: ClassVar[str] = "dead_relu"
    title: ClassVar[str] = "Units that are off for every example"
    remedy: ClassVar[str] = (
        "Raise these units' biases or draw their weights anew (He's initializers keep half of the units on), lower the "
        "learning rate that carried them here, or use leaky_relu, whose slope is never 0."
    )

    def find(self, case: Case) -> list[Finding]:
        found = []
        for i, (layer, (x, z, _), limits) in enumerate(
            zip(case.network.layers, case.before.trace, case.ranges, strict=True)
        ):
            if limits.dead is None:
                continue
            low, high = limits.dead
            off = ((z >= low) & (z <= high)).all(axis=0)
            least, most = reach(layer.weights, layer.bias, *box(case, i))
            certain = off & (least >= low) & (most <= high) & (len(x) > 1)
            if not (off.all() or (off.any() and len(x) > 1)):
                continue
            units = np.flatnonzero(certain if certain.any() else off)
            bad = certain.any() or off.all() or share(off) >= MOST_UNITS
            message = (
                f"{plural(len(units), 'unit')} of {z.shape[1]} in layer {i} ({layer.activation.kind}) "
                f"{'is' if len(units) == 1 else 'are'} off for {'all ' if len(x) > 1 else ''}"
                f"{plural(len(x), 'example')}"
                f"{' and for any other input in their ranges' if certain.any() else ''}: the slope is 0, so that no "
                "gradient reaches their weights"
                f"{', nor any layer before' if off.all() else ''}."
            )
            evidence = {
                "units": some(units),
                "count": len(units),
                "of": z.shape[1],
                "largest_preactivation": float(z[:, units].max()),
                "largest_possible": float(most[units].max()),
            }
            found.append(Finding(self.code, "warning" if bad else "info", i, message, evidence, self.remedy))
        return found


@dataclass(frozen=True, slots=True)
class SaturatedUnits:
    """Squashing units so far out that their slope is below 1/100 of the steepest: sigmoid at |z| > 6, tanh at |z| > 3.

    In the last layer it counts where the output is wrong as well, and the loss does not cancel the slope (as
    cross-entropies do in their combined form).

    Source: LeCun et al. 1998, Efficient BackProp; Glorot and Bengio 2010.
    """

    code: ClassVar[str] = "saturated_units"
    title: ClassVar[str] = "Saturated sigmoid or tanh units"
    remedy: ClassVar[str] = (
        "Scale the inputs to mean 0 and standard deviation 1, start from smaller weights (Glorot's initializers), or "
        "use relu in hidden layers. At the outputs, use the cross-entropy, whose gradient does not carry the slope."
    )

    def find(self, case: Case) -> list[Finding]:
        found = []
        last = len(case.network.layers) - 1
        for i, (layer, (_, z, a), limits) in enumerate(
            zip(case.network.layers, case.before.trace, case.ranges, strict=True)
        ):
            slope = case.slopes[i]
            if layer.activation.kind not in SQUASHING or slope is None or limits.steepest is None:
                continue
            flat = slope < FLAT * limits.steepest
            if i == last:
                if case.before.evaluation.preactivation_gradients is not None or case.targets is None:
                    continue
                flat &= np.abs(a - case.targets) > CLEARLY_WRONG * (limits.high - limits.low)
            if share(flat) < MANY_SATURATED:
                continue
            units = np.flatnonzero(flat.all(axis=0))
            message = (
                f"{share(flat):.0%} of the {layer.activation.kind} values of layer {i} are saturated"
                f"{' at a wrong output' if i == last else ''}: there the slope is less than 1/100 of the steepest "
                f"({limits.steepest:.4g}), and hardly any gradient passes."
            )
            evidence = {
                "saturated_fraction": share(flat),
                "units": some(units),
                "count": len(units),
                "mean_slope": float(slope.mean()),
                "steepest_slope": float(limits.steepest),
                "largest_preactivation": float(np.abs(z).max()),
            }
            found.append(Finding(self.code, "warning", i, message, evidence, self.remedy))
        return found


@dataclass(frozen=True, slots=True)
class SymmetricUnits:
    """Units of a hidden layer with equal incoming weights and equal gradients: every update leaves them equal.

    Equal incoming weights alone do not suffice: where the outgoing weights differ, so do the gradients, and the units
    part at the first step. With an optimizer its step is looked at too.

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
            states = [layer.parameters, case.before.gradients.layers[i].parameters]
            if case.taken is not None:
                states.append(case.taken.network.layers[i].parameters)
            columns = np.vstack([layer.weights, *([] if layer.bias is None else [layer.bias])])
            which = np.unique(columns, axis=1, return_inverse=True)[1].ravel()
            groups = [np.flatnonzero(which == k) for k in np.flatnonzero(np.bincount(which) > 1)]
            copies = [g for g in groups if all(alike(state, g) for state in states)]
            if not copies:
                continue
            units, width = sum(len(g) for g in copies), layer.weights.shape[1]
            left = plural(width - units + len(copies), "unit")
            message = (
                f"{units} units of layer {i} have equal incoming weights and equal gradients: they compute the same "
                f"number and stay copies of each other, as if the layer had {left} in place of {width}."
            )
            evidence = {"groups": [some(g) for g in copies[:GROUPS]], "units": units, "of": width}
            found.append(Finding(self.code, "warning", i, message, evidence, self.remedy))
        return found


def alike(parameters: dict[str, Array], units: Array) -> bool:
    """Whether the units' columns are equal up to rounding."""
    for array in parameters.values():
        columns = array[..., units]
        if np.abs(columns - columns[..., :1]).max() > EQUAL * np.abs(array).max():
            return False
    return True


def box(case: Case, layer: int) -> tuple[Array, Array]:
    """The ranges `[inputs]` of a layer's inputs. Few examples tell little of them: there a range is taken to be as far
    to either side as the largest input is, but for what the activation before never gives."""
    x = case.before.trace[layer].inputs
    low, high = x.min(axis=0), x.max(axis=0)
    if len(x) < ENOUGH_EXAMPLES:
        limits = case.ranges[layer - 1] if layer else None
        largest = np.abs(x).max()
        low = np.maximum(np.minimum(low, -largest), -np.inf if limits is None else limits.low)
        high = np.minimum(np.maximum(high, largest), np.inf if limits is None else limits.high)
    return low, high


def reach(weights: Array, bias: Array | None, low: Array, high: Array) -> tuple[Array, Array]:
    """The least and the largest preactivation of each unit over the box of the layer's inputs."""
    ends = np.stack([weights * low[:, np.newaxis], weights * high[:, np.newaxis]])
    offset = 0 if bias is None else bias
    return ends.min(axis=0).sum(axis=0) + offset, ends.max(axis=0).sum(axis=0) + offset


@dataclass(frozen=True, slots=True)
class UnusedInputs:
    """Features that are the same number in every example, and features whose outgoing weights are all 0.

    Source: a constant x_i adds w_i x_i to every preactivation, which is what a bias does.
    """

    code: ClassVar[str] = "unused_inputs"
    title: ClassVar[str] = "Inputs that make no difference"
    remedy: ClassVar[str] = (
        "Leave constant features out (a bias does what they do), and check how they were made; give weights that are "
        "all 0 random values unless that is where they should start."
    )

    def find(self, case: Case) -> list[Finding]:
        x, weights = case.inputs, case.network.layers[0].weights
        constant = (x == x[:1]).all(axis=0) & (len(x) > 1)
        unheard = (weights == 0).all(axis=1) & ~constant
        if not (constant.any() or unheard.any()):
            return []
        parts = []
        if constant.any():
            parts.append(f"{plural(int(constant.sum()), 'feature')} of {x.shape[1]} never changes between examples")
        if unheard.any():
            parts.append(f"{plural(int(unheard.sum()), 'feature')} of {x.shape[1]} has only weights of 0")
        evidence = {
            "constant": some(np.flatnonzero(constant)),
            "constant_count": int(constant.sum()),
            "without_weights": some(np.flatnonzero(unheard)),
            "without_weights_count": int(unheard.sum()),
        }
        return [Finding(self.code, "info", 0, f"{' and '.join(parts)}.", evidence, self.remedy)]
