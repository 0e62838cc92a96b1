"""The activations against PyTorch, against differences, and at the ends of the number range; erfc against math.erfc."""

import math
from dataclasses import fields
from typing import Any, get_args

import numpy as np
import pytest

from engine import activations, erf
from engine.activations import Activation
from engine.rules import Array

RULES = get_args(Activation)
assert RULES, "an empty union would make every test below pass"

SETTINGS: dict[str, list[dict[str, Any]]] = {
    "leaky_relu": [{"negative_slope": 0.2}, {"negative_slope": -0.5}],
    "elu": [{"alpha": 0.5}, {"alpha": 3.0}],
    "celu": [{"alpha": 0.5}, {"alpha": 3.0}],
    "gelu": [{"approximate": "tanh"}],
    "hard_tanh": [{"min_val": -0.5, "max_val": 2.0}],
    "softplus": [{"beta": 2.0, "threshold": 3.0}, {"beta": 0.5, "threshold": -1.0}],
    "hard_shrink": [{"lambd": 0.0}, {"lambd": 2.0}],
    "soft_shrink": [{"lambd": 0.0}, {"lambd": 2.0}],
    "threshold": [{"threshold": -1.0, "value": 5.0}, {"threshold": 0.5, "value": 0.5}],
}
VARIANTS = [rule(**kwargs) for rule in RULES for kwargs in [{}, *SETTINGS.get(rule().kind, [])]]
ROW_WISE = ("softmax", "softmin", "log_softmax")
KINKS = (-6.0, -3.0, -2.0, -1.0, -0.5, -0.0, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 6.0)

# What PyTorch calls each; exponential is no activation there.
TORCH = {
    "identity": "Identity",
    "relu": "ReLU",
    "relu6": "ReLU6",
    "leaky_relu": "LeakyReLU",
    "elu": "ELU",
    "celu": "CELU",
    "selu": "SELU",
    "gelu": "GELU",
    "silu": "SiLU",
    "mish": "Mish",
    "sigmoid": "Sigmoid",
    "hard_sigmoid": "Hardsigmoid",
    "log_sigmoid": "LogSigmoid",
    "tanh": "Tanh",
    "hard_tanh": "Hardtanh",
    "softplus": "Softplus",
    "softsign": "Softsign",
    "hard_swish": "Hardswish",
    "hard_shrink": "Hardshrink",
    "soft_shrink": "Softshrink",
    "tanh_shrink": "Tanhshrink",
    "threshold": "Threshold",
    "softmax": "Softmax",
    "softmin": "Softmin",
    "log_softmax": "LogSoftmax",
}


def hyperparameters(rule: Any) -> dict[str, Any]:
    return {field.name: getattr(rule, field.name) for field in fields(rule) if field.name != "kind"}


def quiet(rule: Any, z: Array, grad: Array) -> tuple[Array, Array]:
    """Value and gradient with NumPy's warnings silenced, as the engine's callers do; "invalid" remains an error."""
    with np.errstate(all="ignore", invalid="raise"):
        a = rule.forward(z)
        return a, rule.backward(grad, z, a)


def test_every_activation_is_compared() -> None:
    assert {rule().kind for rule in RULES} == {*TORCH, "exponential"}


@pytest.mark.parametrize("rule", VARIANTS, ids=str)
def test_values_and_gradients_are_pytorchs(rule: Any) -> None:
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(1)
    z = np.concatenate([random.normal(size=(40, 13)) * random.choice([0.1, 1, 5], (40, 1)), [KINKS]])
    grad = random.normal(size=z.shape)
    x = torch.tensor(z, requires_grad=True)
    if rule.kind == "exponential":
        y = torch.exp(x)
    else:
        y = getattr(torch.nn, TORCH[rule.kind])(
            **hyperparameters(rule), **({"dim": 1} if rule.kind in ROW_WISE else {})
        )(x)
    y.backward(torch.tensor(grad))
    a, gradient = quiet(rule, z, grad)
    # Where terms cancel both are right to the last digit of the larger one, hence the absolute part.
    np.testing.assert_allclose(a, y.detach().numpy(), rtol=1e-12, atol=1e-15)
    # PyTorch's derivative of hardsigmoid holds 1/6 in float32 whatever the dtype; ours is held to differences below.
    rtol = 4e-8 if rule.kind == "hard_sigmoid" else 1e-12
    np.testing.assert_allclose(gradient, x.grad.numpy(), rtol=rtol, atol=1e-14)


def slope_error(rule: Any, backward: Any, z: Array) -> float:
    """How far `backward` is from central differences along random directions, relative to the gradient."""
    random = np.random.default_rng(2)
    worst = 0.0
    for _ in range(5):
        weights, direction = random.normal(size=(2, *z.shape))
        # Richardson's extrapolation leaves an error of the order h^4.
        once, twice = (
            np.vdot(weights, rule.forward(z + h * direction) - rule.forward(z - h * direction)) / (2 * h)
            for h in (1e-4, 2e-4)
        )
        gradient = backward(weights, z, rule.forward(z))
        scale = np.linalg.norm(gradient * direction) + 1e-3
        worst = max(worst, abs((4 * once - twice) / 3 - np.vdot(gradient, direction)) / scale)
    return worst


def away_from_kinks() -> Array:
    z = np.random.default_rng(3).uniform(-7, 7, (8, 5))
    for kink in KINKS:
        z[np.abs(z - kink) < 2e-3] += 0.01
    return z


@pytest.mark.parametrize("rule", VARIANTS, ids=str)
def test_gradients_are_the_slopes(rule: Any) -> None:
    assert slope_error(rule, rule.backward, away_from_kinks()) < 1e-8


@pytest.mark.parametrize("rule", VARIANTS, ids=str)
def test_a_wrong_derivative_is_caught(rule: Any) -> None:
    def wrong(grad: Array, z: Array, a: Array) -> Array:
        return rule.backward(grad, z, a) * 1.0001

    assert slope_error(rule, wrong, away_from_kinks()) > 1e-6


# The value and the slope at minus and plus 1e4, with the default hyperparameters.
LAMBDA, ALPHA = 1.0507009873554804934, 1.6732632423543772848
ENDS = {
    "identity": (-1e4, 1, 1e4, 1),
    "relu": (0, 0, 1e4, 1),
    "relu6": (0, 0, 6, 0),
    "leaky_relu": (-100, 0.01, 1e4, 1),
    "elu": (-1, 0, 1e4, 1),
    "celu": (-1, 0, 1e4, 1),
    "selu": (-LAMBDA * ALPHA, 0, 1e4 * LAMBDA, LAMBDA),
    "gelu": (0, 0, 1e4, 1),
    "silu": (0, 0, 1e4, 1),
    "mish": (0, 0, 1e4, 1),
    "sigmoid": (0, 0, 1, 0),
    "hard_sigmoid": (0, 0, 1, 0),
    "log_sigmoid": (-1e4, 1, 0, 0),
    "tanh": (-1, 0, 1, 0),
    "hard_tanh": (-1, 0, 1, 0),
    "softplus": (0, 0, 1e4, 1),
    "softsign": (-1e4 / 10001, 1 / 10001**2, 1e4 / 10001, 1 / 10001**2),
    "hard_swish": (0, 0, 1e4, 1),
    "hard_shrink": (-1e4, 1, 1e4, 1),
    "soft_shrink": (-9999.5, 1, 9999.5, 1),
    "tanh_shrink": (-9999, 1, 9999, 1),
    "threshold": (0, 0, 1e4, 1),
    "exponential": (0, 0, np.inf, np.inf),
}


@pytest.mark.parametrize("size", [1, 100], ids=["small", "large"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("rule", VARIANTS, ids=str)
def test_the_extremes(rule: Any, dtype: str, size: int) -> None:
    z = np.tile(np.array([[-1e4, 1e4]], dtype), (size, 2))
    a, slopes = quiet(rule, z, np.ones_like(z))
    assert a.dtype == slopes.dtype == dtype
    # The slopes along a constant vector: softmax does not move, log_softmax neither for those that share the maximum.
    if rule.kind in ROW_WISE:
        sign = -1 if rule.kind == "softmin" else 1
        expected = (
            np.where(sign * z > 0, 0.5, 0) if rule.kind != "log_softmax" else np.where(z > 0, 0, -2e4) - math.log(2)
        )
        np.testing.assert_allclose(a, expected, rtol=1e-6, atol=0)
        expected = 0 * z if rule.kind != "log_softmax" else np.where(z > 0, -1, 1)
        np.testing.assert_allclose(slopes, expected, rtol=1e-6, atol=1e-6)
    elif hyperparameters(rule) == hyperparameters(type(rule)()) or rule.kind == "gelu":
        tolerance = 1e-6 if dtype == "float32" else 1e-14
        for column, value, slope in ((0, *ENDS[rule.kind][:2]), (1, *ENDS[rule.kind][2:])):
            np.testing.assert_allclose(a[:, column], value, rtol=tolerance, atol=0)
            np.testing.assert_allclose(slopes[:, column], slope, rtol=tolerance, atol=0)
    # Whatever is finite goes in, nothing undefined comes out; only exp overflows truly (selu by its factor).
    information = np.finfo(z.dtype)
    far = float(information.max) / 2
    tiny = float(information.smallest_subnormal)
    z = np.tile(np.array([[-far, -0.0, 0.0, tiny, -tiny, far]], dtype), (size, 1))
    if rule.kind == "exponential":
        z[:, 5] = 80
    a, slopes = quiet(rule, z, np.ones_like(z))
    assert np.isfinite(a).all() and np.isfinite(slopes).all()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("rule", VARIANTS, ids=str)
def test_rules_are_pure(rule: Any, dtype: str) -> None:
    random = np.random.default_rng(4)
    z, grad = (random.normal(size=(5, 4)).astype(dtype) for _ in range(2))
    kept = z.copy(), grad.copy()
    a = rule.forward(z)
    kept_a = a.copy()
    slopes = rule.backward(grad, z, a)
    assert a.dtype == slopes.dtype == dtype and a.shape == slopes.shape == z.shape
    assert np.array_equal(z, kept[0]) and np.array_equal(grad, kept[1]) and np.array_equal(a, kept_a)
    assert not any(np.shares_memory(new, old) for new in (a, slopes) for old in (z, grad))
    assert np.array_equal(a, rule.forward(z))
    wide = rule.forward(z.astype(np.float64))
    np.testing.assert_allclose(a, wide, rtol=1e-12 if dtype == "float64" else 1e-5, atol=1e-6)


@pytest.mark.parametrize("rule", VARIANTS, ids=str)
def test_a_batch_equals_its_rows_alone(rule: Any) -> None:
    random = np.random.default_rng(5)
    z, grad = random.normal(size=(2, 60, 7)) * 3
    a, slopes = quiet(rule, z, grad)
    rows = [quiet(rule, z[i : i + 1], grad[i : i + 1]) for i in range(len(z))]
    np.testing.assert_allclose(a, np.concatenate([row[0] for row in rows]), rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose(slopes, np.concatenate([row[1] for row in rows]), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("shift", [-1e3, 0.5, 1e3])
@pytest.mark.parametrize("kind", ROW_WISE)
def test_rows_of_probabilities(kind: str, shift: float) -> None:
    rule = next(rule() for rule in RULES if rule().kind == kind)
    z, grad = np.random.default_rng(6).normal(size=(2, 9, 6)) * 3
    a, slopes = quiet(rule, z, grad)
    probabilities = np.exp(a) if kind == "log_softmax" else a
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-14)
    np.testing.assert_allclose(rule.forward(z + shift), a, rtol=1e-11)
    # Nothing changes along a constant, so that the gradient of each row adds up to 0.
    np.testing.assert_allclose(slopes.sum(axis=1), 0, atol=1e-13)


TAIL = np.array([[-700.0, -300.0, -50.0, -30.0, -20.0]])
POWERS = np.exp(TAIL)


@pytest.mark.parametrize(
    ("kind", "z", "value", "slope"),
    [
        ("sigmoid", TAIL, POWERS / (1 + POWERS), POWERS / (1 + POWERS) ** 2),
        ("silu", TAIL, TAIL * POWERS / (1 + POWERS), POWERS * (1 + TAIL + POWERS) / (1 + POWERS) ** 2),
        ("softplus", TAIL, np.log1p(POWERS), POWERS / (1 + POWERS)),
        ("log_sigmoid", -TAIL, -np.log1p(POWERS), POWERS / (1 + POWERS)),
        ("mish", TAIL, TAIL * POWERS, (1 + TAIL) * POWERS),
        ("elu", TAIL, np.expm1(TAIL), POWERS),
    ],
)
def test_tails_keep_their_digits(kind: str, z: Array, value: Array, slope: Array) -> None:
    a, slopes = quiet(next(rule() for rule in RULES if rule().kind == kind), z, np.ones_like(z))
    # Of mish the value and slope given are the first terms of series in exp(z), which is 2e-9 at -20.
    np.testing.assert_allclose(a, value, rtol=3e-9 if kind == "mish" else 1e-14)
    np.testing.assert_allclose(slopes, slope, rtol=5e-9 if kind == "mish" else 1e-13)


@pytest.mark.parametrize("beta", [1.0, 4.0])
def test_softplus_with_a_high_threshold_does_not_overflow(beta: float) -> None:
    z = np.array([[30.0, 79.0, 81.0, 1e4]])
    a, slopes = quiet(activations.Softplus(beta=beta, threshold=1e6), z, np.ones_like(z))
    np.testing.assert_allclose(a, z, rtol=1e-13)
    np.testing.assert_allclose(slopes, 1, rtol=1e-12)


@pytest.mark.parametrize("copies", [1, 300], ids=["small", "large"])
@pytest.mark.parametrize("approximate", ["none", "tanh"])
def test_tails_of_gelu(approximate: Any, copies: int) -> None:
    mpmath = pytest.importorskip("mpmath")
    # tanh comes to its tail by a cube, and ends sooner.
    z = np.tile([-37.0, -20.0, -10.0, -5.3, -1.0, 1e-300, 2.0, 9.0][0 if approximate == "none" else 1 :], (copies, 1))
    a, slopes = quiet(activations.Gelu(approximate=approximate), z, np.ones_like(z))

    def exact(x: Any) -> Any:
        if approximate == "none":
            return x * mpmath.erfc(-x / mpmath.sqrt(2)) / 2
        return x / (1 + mpmath.exp(-2 * mpmath.sqrt(2 / mpmath.pi) * (x + mpmath.mpf("0.044715") * x**3)))

    with mpmath.workdps(400):
        values = [float(exact(mpmath.mpf(x))) for x in z[0]]
        derivatives = [float(mpmath.diff(exact, mpmath.mpf(x))) for x in z[0]]
    np.testing.assert_allclose(a, np.tile(values, (copies, 1)), rtol=1e-12, atol=0)
    np.testing.assert_allclose(slopes, np.tile(derivatives, (copies, 1)), rtol=1e-12, atol=0)


def test_gelu_of_float32_keeps_its_tail() -> None:
    z = np.linspace(-12, 12, 300, dtype=np.float32)[np.newaxis]
    expected = [x * 0.5 * math.erfc(-x / math.sqrt(2)) for x in z[0].tolist()]
    np.testing.assert_allclose(activations.Gelu().forward(z)[0], expected, rtol=3e-7)


@pytest.mark.parametrize("small", [True, False])
def test_erfc(small: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.concatenate([np.linspace(-7, 28, 30001), [-1e300, -1e4, -5e-324, -0.0, 0.0, 5e-324, 1e4, 1e300]])
    monkeypatch.setattr(erf, "SMALL", 10**9 if small else 0)
    with np.errstate(all="raise", under="ignore", over="ignore"):
        result = erf.erfc(x.reshape(1, -1))[0]
    # Below 1e-305 the last digits go, as subnormal numbers have fewer.
    np.testing.assert_allclose(result, [math.erfc(v) for v in x], rtol=2e-15, atol=1e-319)
    np.testing.assert_allclose(1 - result, [math.erf(v) for v in x], rtol=0, atol=1e-15)
    assert erf.erfc(-x[:30001]) + result[:30001] == pytest.approx(2, rel=1e-15)
