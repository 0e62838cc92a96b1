"""Clipping against PyTorch, the norm at the ends of the number range, and the penalty on weights."""

import math
from typing import Any, get_args

import numpy as np
import pytest

from engine.clipping import FEW, ClipByNorm, ClipByValue, Clipping, norm
from engine.regularization import Regularization
from engine.rules import Array

RULES = get_args(Clipping)
assert RULES, "an empty union would make every test below pass"


def gradients(dtype: str = "float64") -> list[Array]:
    random = np.random.default_rng(3)
    return [random.normal(size=shape).astype(dtype) for shape in ((3, 4), (4,), (4, 1))]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    "rule", [*(ClipByNorm(max_norm=c) for c in (1e-3, 1.0, 1e3)),
             *(ClipByValue(max_value=c) for c in (1e-3, 0.5, 1e3))], ids=str,
)  # fmt: skip
def test_clipping_is_pytorchs(rule: Any, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    ours = gradients(dtype)
    tensors = [torch.zeros(g.shape, requires_grad=True) for g in ours]
    for tensor, g in zip(tensors, ours, strict=True):
        tensor.data = torch.tensor(g)
        tensor.grad = torch.tensor(g)
    if rule.kind == "norm":
        total = torch.nn.utils.clip_grad_norm_(tensors, rule.max_norm)
        assert norm(ours) == pytest.approx(float(total), rel=1e-12 if dtype == "float64" else 1e-6)
    else:
        torch.nn.utils.clip_grad_value_(tensors, rule.max_value)
    clipped = rule.clip(ours, norm(ours))
    for before, after, tensor, original in zip(ours, clipped, tensors, gradients(dtype), strict=True):
        assert after.dtype == dtype and np.array_equal(before, original)
        np.testing.assert_allclose(after, tensor.grad.numpy(), rtol=1e-12 if dtype == "float64" else 1e-6)


def test_gradients_within_the_limit_stay_as_they_are() -> None:
    small = gradients()
    for rule in (ClipByNorm(max_norm=100.0), ClipByValue(max_value=100.0)):
        assert all(np.array_equal(a, b) for a, b in zip(rule.clip(small, norm(small)), small, strict=True))
    zero = [np.zeros(3)]
    assert np.array_equal(ClipByNorm().clip(zero, norm(zero))[0], zero[0])


@pytest.mark.parametrize("times", [1, 10], ids=["few", "many"])
@pytest.mark.parametrize("scale", [5e-324, 1e-300, 1e-160, 1e-16, 1.0, 1e16, 1e160, 1e300])
def test_a_norm_is_finite_and_exact_where_its_squares_are_not(scale: float, times: int) -> None:
    arrays = [np.array([3.0, 0.0]) * scale, np.array([[-4.0]]) * scale] * times**2
    assert (sum(a.size for a in arrays) > FEW) == (times > 1)
    result = norm(arrays)
    assert type(result) is float and result == pytest.approx(5 * times * scale, rel=1e-14, abs=0)


@pytest.mark.parametrize("times", [1, 10], ids=["few", "many"])
@pytest.mark.parametrize("scale", [1e-40, 1e-20, 1.0, 1e18, 1e19, 5e37])
def test_a_norm_of_float32_does_not_overflow(scale: float, times: int) -> None:
    arrays = [np.array([3.0, 4.0], "float32") * np.float32(scale)] * (4 * times**2)
    assert norm(arrays) == pytest.approx(10 * times * scale, rel=1e-4 if scale < 1e-38 else 1e-6, abs=0)


def test_norms_of_nothing_and_of_what_is_not_finite() -> None:
    assert norm([]) == norm([np.zeros((0, 3))]) == norm([np.zeros(4), np.zeros(0)]) == 0
    assert norm(iter([np.array([2.0])])) == 2
    assert norm([np.array([np.inf]), np.ones(2)]) == math.inf
    for place in (0, 1):
        arrays = [np.ones(2), np.ones(2)]
        arrays[place][1] = np.nan
        assert math.isnan(norm(arrays))


def test_the_penalty_and_its_gradient() -> None:
    w = np.array([[-2.0, 0.0], [0.5, 3.0]])
    rule = Regularization(l1=0.1, l2=0.3)
    assert rule.penalty(w) == pytest.approx(0.1 * 5.5 + 0.15 * 13.25)
    np.testing.assert_allclose(rule.gradient(w), [[-0.7, 0.0], [0.25, 1.0]], rtol=1e-14)
    assert Regularization() == Regularization(l1=0.0, l2=0.0) and Regularization().penalty(w) == 0
    assert not Regularization().gradient(w).any()
    single = rule.gradient(w.astype("float32"))
    assert single.dtype == np.float32 and type(rule.penalty(w.astype("float32"))) is float


@pytest.mark.parametrize("rule", [Regularization(l1=0.7), Regularization(l2=0.7), Regularization(l1=0.2, l2=1.5)])
def test_the_gradient_of_the_penalty_is_its_derivative(rule: Regularization) -> None:
    random = np.random.default_rng(5)
    w, direction = random.normal(size=(2, 4, 3))
    assert np.abs(w).min() > 1e-4
    h = 1e-6
    slope = (rule.penalty(w + h * direction) - rule.penalty(w - h * direction)) / (2 * h)
    assert slope == pytest.approx(np.vdot(rule.gradient(w), direction), rel=1e-7)


def test_a_penalty_that_is_off_does_not_spoil_the_other() -> None:
    assert Regularization(l1=1.0).penalty(np.array([1e200, -1e200])) == 2e200
    assert Regularization(l2=2.0).penalty(np.array([3.0])) == 9
