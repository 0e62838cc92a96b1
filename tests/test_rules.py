"""Every rule of every union: its derivative against central differences, its ends, its documentation."""

import dataclasses
import inspect
import math
from typing import Any, get_args

import numpy as np
import pytest

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
from schemas.rules import kind_of

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
OPTIMIZERS = get_args(optimizers.Optimizer)
INITIALIZERS = get_args(initializers.Initializer)
assert ACTIVATIONS and LOSSES and OPTIMIZERS and INITIALIZERS, "an empty union would make every test below pass"

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


def variants(rule: Any) -> list[Any]:
    """The rule with its defaults, and with other hyperparameters where it has some."""
    others = {
        "leaky_relu": {"negative_slope": 0.2},
        "elu": {"alpha": 0.5},
        "celu": {"alpha": 2.0},
        "gelu": {"approximate": "tanh"},
        "softplus": {"beta": 2.0},
        "hard_tanh": {"min_val": -0.5, "max_val": 2.0},
        "threshold": {"threshold": 0.1, "value": 0.1},
    }
    kind = kind_of(rule)
    return [rule(), *([rule(**others[kind])] if kind in others else [])]


@pytest.mark.parametrize("rule", [v for rule in ACTIVATIONS for v in variants(rule)], ids=str)
def test_activation_derivatives(rule: Any) -> None:
    z = RANDOM.uniform(-7, 7, (6, 5))
    # No coordinate within reach of the differences may lie at a kink.
    for kink in (-3, -1, -0.5, 0, 0.1, 0.5, 1, 2, 3, 6):
        z[np.abs(z - kink) < 1e-3] += 0.01
    weights = RANDOM.normal(size=z.shape)
    a = rule.forward(z)
    assert slope_error(lambda x: float(np.vdot(weights, rule.forward(x))), rule.backward(weights, z, a), z) < 1e-7


def test_a_wrong_derivative_is_found() -> None:
    z = RANDOM.uniform(-2, 2, (4, 3))
    rule = activations.Tanh()
    wrong = 1 - np.tanh(z)
    assert slope_error(lambda x: float(rule.forward(x).sum()), wrong, z) > 1e-2


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("rule", ACTIVATIONS)
def test_activations_at_both_ends(rule: Any, dtype: str) -> None:
    z = np.array([[-1e4, 0, 1e4], [1e4, 1e4, -1e4], [-500, -100, 500], [0, -0.0, 1e-30]], dtype)
    kept = z.copy()
    with np.errstate(all="ignore"):
        a = rule().forward(z)
        slopes = rule().backward(np.ones_like(z), z, a)
    assert (z == kept).all() and a.dtype == slopes.dtype == dtype
    if rule is activations.Exponential:
        assert np.isinf(a[0, 2]) and a[0, 0] == 0 and slopes[0, 0] == 0
        return
    assert np.isfinite(a).all() and np.isfinite(slopes).all()
    linear = {"identity", "relu", "leaky_relu", "elu", "celu", "gelu", "silu", "mish", "softplus", "hard_swish",
              "hard_shrink", "soft_shrink", "tanh_shrink", "threshold", "selu"}  # fmt: skip
    if kind_of(rule) in linear:
        assert a[0, 2] == pytest.approx(1e4 * (1.0507009873554805 if rule is activations.Selu else 1), rel=1e-3)
        assert slopes[0, 2] == pytest.approx(1.0507009873554805 if rule is activations.Selu else 1, rel=1e-6)


def test_tails_keep_their_digits() -> None:
    z = np.array([[-700.0, -50.0, -30.0]])
    np.testing.assert_allclose(activations.Sigmoid().forward(z), np.exp(z), rtol=1e-12)
    np.testing.assert_allclose(activations.Softplus().forward(z), np.exp(z), rtol=1e-12)
    np.testing.assert_allclose(activations.LogSigmoid().forward(-z), -np.exp(z), rtol=1e-12)
    np.testing.assert_allclose(activations.Silu().forward(z), z * np.exp(z), rtol=1e-12)
    z = np.array([[-10.0, -5.0, 8.0]])
    expected = [[x * 0.5 * math.erfc(-x / math.sqrt(2)) for x in z[0]]]
    np.testing.assert_allclose(activations.Gelu().forward(z), expected, rtol=1e-14)


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


@pytest.mark.parametrize("rule", OPTIMIZERS)
def test_optimizers_are_pure_and_elementwise(rule: Any) -> None:
    optimizer = rule()
    for dtype in ("float64", "float32"):
        p, g = RANDOM.normal(size=(3, 4)).astype(dtype), RANDOM.normal(size=(3, 4)).astype(dtype)
        state, flat = optimizer.init(p), optimizer.init(p.ravel())
        for _ in range(4):
            before = (p.copy(), g.copy(), {k: np.copy(v) for k, v in state.items()})
            new, new_state = optimizer.update(g, state, p)
            flat_new, flat = optimizer.update(g.ravel(), flat, p.ravel())
            assert (p == before[0]).all() and (g == before[1]).all()
            assert all((state[k] == v).all() for k, v in before[2].items())
            assert new.dtype == dtype and (new.ravel() == flat_new).all()
            assert new_state.keys() == state.keys()
            assert all(v.dtype == dtype for v in new_state.values() if isinstance(v, np.ndarray))
            p, state = new, new_state


def test_lion_is_its_papers_algorithm() -> None:
    beta1, beta2, rate, decay = 0.9, 0.99, 0.01, 0.1
    lion = optimizers.Lion(learning_rate=rate, weight_decay=decay)
    theta = p = RANDOM.normal(size=5)
    m = np.zeros(5)
    state = lion.init(p)
    for _ in range(12):
        g = RANDOM.normal(size=5)
        c = beta1 * m + (1 - beta1) * g
        theta = theta - rate * (np.sign(c) + decay * theta)
        m = beta2 * m + (1 - beta2) * g
        p, state = lion.update(g, state, p)
        np.testing.assert_allclose(p, theta, rtol=1e-14)


@pytest.mark.parametrize("rule", INITIALIZERS)
def test_initializers_have_their_distribution(rule: Any) -> None:
    inputs, units = 300, 200
    x = rule().sample((inputs, units), inputs, units, initializers.generator(1, 0, 0))
    again = rule().sample((inputs, units), inputs, units, initializers.generator(1, 0, 0))
    assert x.shape == (inputs, units) and x.dtype == np.float64 and x.tobytes() == again.tobytes()
    variance, bound = {
        "uniform": (1 / 12, 1),
        "normal": (1, np.inf),
        "truncated_normal": (0.7737413035499232, 2),
        "glorot_uniform": (2 / 500, math.sqrt(6 / 500)),
        "glorot_normal": (2 / 500, np.inf),
        "he_uniform": (2 / 300, math.sqrt(6 / 300)),
        "he_normal": (2 / 300, np.inf),
        "lecun_uniform": (1 / 300, math.sqrt(3 / 300)),
        "lecun_normal": (1 / 300, np.inf),
        "pytorch_linear": (1 / 900, 1 / math.sqrt(300)),
        "orthogonal": (1 / 300, 1),
        "identity": (199 / 300 / 200, 1),
        "zeros": (0, 0),
        "ones": (0, 1),
        "constant": (0, 0),
    }[kind_of(rule)]
    assert x.var() == pytest.approx(variance, rel=0.03)
    assert np.abs(x).max() <= bound
    if rule is initializers.Orthogonal:
        np.testing.assert_allclose(x.T @ x, np.eye(units), atol=1e-12)
        wide = rule(gain=2.0).sample((3, 8), 3, 8, initializers.generator(0, 0, 0))
        np.testing.assert_allclose(wide @ wide.T, 4 * np.eye(3), atol=1e-12)


def test_the_streams_of_random_numbers_do_not_change() -> None:
    """The same seed must give the same bytes in every release."""
    first = initializers.HeNormal().sample((2, 2), 2, 2, initializers.generator(42, 0, 0))
    assert first.tolist() == EXPECTED_HE_NORMAL
    other = initializers.HeNormal().sample((2, 2), 2, 2, initializers.generator(42, 1, 0))
    assert first.tolist() != other.tolist()


EXPECTED_HE_NORMAL = [[-1.3148377963700608, 1.750398451756758], [-0.11517501264793234, -0.927686426655334]]


def test_norms_neither_overflow_nor_vanish() -> None:
    for scale in (1e-300, 1e-160, 1.0, 1e160, 1e300):
        assert clipping.norm([np.array([3.0, 0.0]) * scale, np.array([[4.0]]) * scale]) == pytest.approx(5 * scale)
    assert clipping.norm([np.float32([3e30, 4e30])]) == pytest.approx(5e30)
    assert clipping.norm([]) == 0
