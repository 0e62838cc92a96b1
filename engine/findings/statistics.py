"""What each layer looks like in numbers."""

from typing import NamedTuple

import numpy as np

from engine.clipping import norm
from engine.findings.case import Case, share, spread
from engine.findings.units import FLAT, SQUASHING
from engine.rules import Array


class Spread(NamedTuple):
    """How numbers are spread; `std` is their standard deviation."""

    mean: float
    std: float
    least: float
    largest: float


class LayerStatistics(NamedTuple):
    """Of one layer, over all its units and all examples that have a weight.

    `off_units` counts units on the flat piece of their activation (relu below 0) for every example; None where the
    activation has none. `mean_slope` is None for softmax and its kin, `saturated_fraction` for what is no squashing
    function, `bias_norm` without a bias, `update_ratio` without a step.
    """

    name: str
    units: int
    activation: str
    preactivations: Spread
    activations: Spread
    zero_fraction: float
    saturated_fraction: float | None
    off_units: int | None
    mean_slope: float | None
    weight_norm: float
    bias_norm: float | None
    weight_gradient_norm: float
    bias_gradient_norm: float | None
    preactivation_gradient_size: float
    update_ratio: float | None


@np.errstate(all="ignore")
def statistics(case: Case) -> list[LayerStatistics]:
    """The statistics of each layer, first to last."""
    found = []
    for i, (layer, (_, z, a), shape) in enumerate(zip(case.network.layers, case.trace, case.shapes, strict=True)):
        slope = case.slopes[i]
        gradients = case.before.gradients.layers[i].parameters
        saturated = None
        if slope is not None and shape.steepest is not None and layer.activation.kind in SQUASHING:
            saturated = share(slope < FLAT * shape.steepest)
        off = int(shape.is_flat(z).all(axis=0).sum()) if shape.flat else None
        found.append(
            LayerStatistics(
                layer.name or f"layers.{i}",
                z.shape[1],
                layer.activation.kind,
                _spread(z),
                _spread(a),
                share(a == 0),
                saturated,
                off,
                None if slope is None else float(slope.mean()),
                norm([layer.weights]),
                None if layer.bias is None else norm([layer.bias]),
                norm([gradients["weights"]]),
                norm([gradients["bias"]]) if "bias" in gradients else None,
                case.gradient_sizes[i],
                case.update_ratios[i],
            )
        )
    return found


def _spread(array: Array) -> Spread:
    return Spread(*spread(array), float(array.min()), float(array.max()))
