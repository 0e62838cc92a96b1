"""Every rule of every union is in it and documented; every loss against central differences, and at its ends."""

import dataclasses
import inspect
from typing import Any, get_args

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from engine import (
    activations,
    adam_optimizers,
    clipping,
    initializers,
    losses,
    metrics,
    optimizers,
    piecewise_activations,
    probability_losses,
    row_activations,
    schedules,
)
from engine.rules import Array
from schemas.catalog import describe, members
from schemas.rules import Loss, kind_of

UNIONS = {
    activations.Activation: (activations, piecewise_activations, row_activations),
    losses.Loss: (losses, probability_losses),
    optimizers.Optimizer: (optimizers, adam_optimizers),
    initializers.Initializer: (initializers,),
    clipping.Clipping: (clipping,),
    schedules.Schedule: (schedules,),
    metrics.Metric: (metrics,),
}
ACTIVATIONS = get_args(activations.Activation)
LOSSES = get_args(losses.Loss)
assert ACTIVATIONS and LOSSES, "an empty union would make every test below pass"

RANDOM = np.random.default_rng(20)


@pytest.mark.parametrize(("union", "modules"), UNIONS.items())
def test_no_rule_is_missing_from_its_union(union: Any, modules: Any) -> None:
    classes = [
        c
        for module in modules
        for name, c in inspect.getmembers(module, inspect.isclass)
        if c.__module__ == module.__name__ and "kind" in getattr(c, "__dataclass_fields__", {}) and name[0] != "_"
    ]
    assert set(classes) == set(members(union))
    assert len({kind_of(c) for c in classes}) == len(classes)


@pytest.mark.parametrize("rule", [rule for union in UNIONS for rule in members(union)])
def test_every_rule_is_documented(rule: Any) -> None:
    entry = describe(rule)
    assert entry["title"] and entry["formula"]["text"] and entry["formula"]["latex"] and entry["source"]
    assert inspect.cleandoc(rule.__doc__).split("\n\n")[-1].startswith("Source: ")
    assert all(field.name == "kind" or field.metadata["description"] for field in dataclasses.fields(rule))
    if rule in ACTIVATIONS or rule in LOSSES:
        assert entry["derivative"]["text"] and entry["derivative"]["latex"]


@pytest.mark.parametrize("rule", [rule for union in UNIONS for rule in members(union)])
def test_the_schema_of_an_array_has_the_bounds_of_its_numbers(rule: Any) -> None:
    for name, schema in describe(rule)["parameters"]["properties"].items():
        for array in [array for array in (schema, *schema.get("anyOf", [])) if array.get("type") == "array"]:
            for number in array.get("prefixItems") or [array["items"]]:
                assert {"minimum", "exclusiveMinimum"} & number.keys(), f"{name} has numbers without a bound"


def slope_error(value: Any, gradient: Array, x: Array) -> float:
    """How far a gradient is from central differences of `value` along random directions, relative to its size."""
    worst = 0.0
    for _ in range(5):
        direction = RANDOM.normal(size=x.shape)
        h = 1e-5
        # Richardson's extrapolation leaves an error of the order h^4.
        d1, d2 = ((value(x + s * direction) - value(x - s * direction)) / (2 * s) for s in (h, 2 * h))
        difference = (4 * d1 - d2) / 3
        expected = np.vdot(gradient, direction)
        worst = max(worst, abs(difference - expected) / max(abs(expected), np.linalg.norm(gradient) * 0.1, 1e-3))
    return float(worst)


def test_a_wrong_derivative_is_found() -> None:
    y, t = RANDOM.normal(size=(2, 6, 4))
    assert slope_error(lambda x: float(losses.Mse().values(x, t).sum()), y - t, y) > 1e-2


def pair(rule: Any) -> tuple[Array, Array]:
    """Outputs and targets that a loss can use, away from its kinks."""
    probabilities = RANDOM.dirichlet([2.0] * 4, 6)
    targets = RANDOM.dirichlet([2.0] * 4, 6)
    one_hot = np.eye(4)[RANDOM.integers(0, 4, 6)]
    plain = RANDOM.normal(size=(6, 4)) * 2
    match kind_of(rule):
        case "cross_entropy" | "focal":
            return probabilities, targets
        case "binary_cross_entropy":
            return RANDOM.uniform(0.05, 0.95, (6, 4)), RANDOM.uniform(0, 1, (6, 4))
        case "negative_log_likelihood" | "kl_divergence":
            return np.log(probabilities), targets
        case "hinge" | "squared_hinge":
            return plain, 2 * one_hot - 1
        case "categorical_hinge" | "multi_margin":
            return plain, one_hot
        case _:
            return plain, RANDOM.normal(size=(6, 4))


LOSS_VARIANTS = {
    "cross_entropy": {"label_smoothing": 0.2, "class_weights": (0.5, 1.0, 2.0, 0.0)},
    "binary_cross_entropy": {"label_smoothing": 0.2, "class_weights": (0.5, 1.0, 2.0, 0.0)},
    "focal": {"gamma": 0.5, "alpha": 1.0, "class_weights": (0.5, 1.0, 2.0, 0.0)},
    "negative_log_likelihood": {"class_weights": (0.5, 1.0, 2.0, 0.0)},
    "multi_margin": {"p": 2, "margin": 0.5, "class_weights": (0.5, 1.0, 2.0, 0.0)},
    "kl_divergence": {"log_target": True},
    "poisson": {"full": True},
    "huber": {"delta": 0.5},
    "smooth_l1": {"beta": 0.0},
}


@pytest.mark.parametrize(
    "loss", [v for rule in LOSSES for v in (rule(), rule(**LOSS_VARIANTS.get(kind_of(rule), {})))], ids=str
)
def test_loss_derivatives(loss: Any) -> None:
    y, t = pair(type(loss))
    loss.check(y, t)
    values, gradient = loss.values(y, t), loss.gradient(y, t)
    assert values.shape in ((6,), (6, 4)) and gradient.shape == y.shape
    assert slope_error(lambda x: float(loss.values(x, t).sum()), gradient, y) < 1e-6
    if hasattr(loss, "on_logits"):
        logits = loss.on_logits()
        z = RANDOM.normal(size=y.shape) * 3
        assert slope_error(lambda x: float(logits.values(x, t).sum()), logits.gradient(z, t), z) < 1e-6


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("rule", LOSSES)
def test_losses_at_both_ends(rule: Any, dtype: str) -> None:
    y = np.array([[1000, -1000, 0], [-1000, 1000, 1000]], dtype)
    t = np.array([[0, 1, 0], [1, 0, 0]], dtype)
    loss = rule().on_logits() if hasattr(rule, "on_logits") else rule()
    if rule is losses.Poisson:
        loss = losses.Poisson(log_input=False)
        y = np.abs(y)
    with np.errstate(all="ignore"):
        values, gradient = loss.values(y, t), loss.gradient(y, t)
    assert values.dtype == gradient.dtype == dtype
    assert np.isfinite(values).all() and np.isfinite(gradient).all()


def test_a_kind_that_is_nested_deep_is_not_written_out() -> None:
    """The attempt left a traceback in the log, of a recursion that was too deep."""
    kind: Any = "mse"
    for _ in range(1000):
        kind = {"kind": kind}
    with pytest.raises(ValidationError, match="union_tag_invalid"):
        TypeAdapter(Loss).validate_python(kind)
