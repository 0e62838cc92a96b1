"""What is measured of a network on data, and the number of an epoch that a name such as validation_loss stands for."""

from typing import Any, get_args

import numpy as np

from engine.data import Data
from engine.errors import EngineError, ShapeMismatch
from engine.finite import require_finite
from engine.losses import Loss
from engine.metrics import Metric
from engine.network import Network, forward
from engine.objective import LossObjective, evaluated
from engine.rules import Array

Row = dict[str, Any]
"""An epoch of the history: epoch, loss, metrics, validation, learning_rate, gradient_norm."""
METRICS = {rule().kind for rule in get_args(Metric)}


def monitor(row: Row, name: str, where: tuple[str, ...]) -> float:
    """The number of a history row that a name stands for; raises EngineError where there is none."""
    of_validation = name.startswith("validation_")
    part = row.get("validation", {}) if of_validation else row
    bare = name.removeprefix("validation_")
    value = part.get("loss") if bare == "loss" else part.get("metrics", {}).get(bare)
    if not isinstance(value, float):
        known = [n for n, v in {"loss": row["loss"], **row["metrics"]}.items() if isinstance(v, float)]
        names = known + [f"validation_{n}" for n in known if "validation" in row]
        hint = "Watch a loss, or one of the metrics."
        if of_validation and "validation" not in row:
            hint = "Give validation data."
        elif bare in METRICS:
            hint = "It is not one number." if bare in part["metrics"] else "Add it to metrics."
        if name.startswith("val_"):
            hint = f"Did you mean 'validation_{name.removeprefix('val_')}'?"
        raise EngineError(where, "There is no such quantity to watch.", expected=names, hint=hint)
    return value


@np.errstate(all="ignore")
def evaluate(network: Network, data: Data, loss: Loss) -> tuple[float, Array]:
    """The reduced loss, without any penalty, and the outputs; raises NonFinite."""
    trace = forward(network, data.inputs)
    outputs = trace[-1].activations
    require_finite(("outputs",), outputs)
    value = evaluated(LossObjective(loss, data.targets, data.weights), network, trace).loss
    require_finite(("loss",), np.asarray(value))
    return float(value), outputs


def measure(network: Network, data: Data, metrics: tuple[Metric, ...]) -> dict[str, Any]:
    """The metrics of a network on data, by kind; the forward pass is left out where there are none."""
    if not metrics:
        return {}
    with np.errstate(all="ignore"):
        outputs = forward(network, data.inputs)[-1].activations
    return measure_outputs(outputs, data, metrics)


@np.errstate(all="ignore")
def measure_outputs(outputs: Array, data: Data, metrics: tuple[Metric, ...]) -> dict[str, Any]:
    """The metrics of outputs against targets; raises NonFinite."""
    values: dict[str, Any] = {}
    for i, metric in enumerate(metrics):
        try:
            values[metric.kind] = value = metric.value(outputs, data.targets, data.weights)
        except ShapeMismatch as error:
            error.where = (*error.where, i)
            raise
        require_finite(("metrics", metric.kind), np.asarray(value))
    return values
