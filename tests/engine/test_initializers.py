"""The initializers: their distributions, their streams of random numbers, their bytes."""

import math
from statistics import NormalDist
from typing import Any, get_args

import numpy as np
import pytest

from engine import initializers
from engine.activations import Relu
from engine.errors import OutOfRange
from engine.initialization import Blank, initialize
from engine.initializers import Initializer, generator
from engine.rules import Array

RULES = get_args(Initializer)
assert RULES, "an empty union would make every test below pass"
MATRIX_RULES = [rule for rule in RULES if issubclass(rule, initializers.OfMatrices)]
ANY_SHAPE_RULES = [rule for rule in RULES if not issubclass(rule, initializers.OfMatrices)]

INPUTS, UNITS = 400, 300


def kind_of(rule: Any) -> str:
    kind: str = rule.__dataclass_fields__["kind"].default
    return kind


def sample(rule: Any, shape: tuple[int, ...] = (INPUTS, UNITS), seed: int = 1) -> Array:
    result: Array = rule.sample(shape, shape[0], shape[-1], generator(seed, 0, 0))
    assert result.shape == shape and result.dtype == np.float64 and result.flags.c_contiguous
    return result


def test_every_initializer_is_in_the_tables_of_this_file() -> None:
    assert {kind_of(rule) for rule in RULES} == FIRST_NUMBERS.keys()
    assert {kind_of(rule) for rule in MATRIX_RULES} == {"orthogonal", "identity"}


UNIFORMS = [
    (initializers.Uniform(), 0.0, 1.0),
    (initializers.Uniform(a=-3.0, b=-1.0), -3.0, -1.0),
    *[
        (rule, -bound, bound)
        for rule, bound in [
            (initializers.GlorotUniform(), math.sqrt(6 / (INPUTS + UNITS))),
            (initializers.GlorotUniform(gain=2.0), 2 * math.sqrt(6 / (INPUTS + UNITS))),
            (initializers.HeUniform(), math.sqrt(6 / INPUTS)),
            (initializers.HeUniform(gain=1.0, mode="fan_out"), math.sqrt(3 / UNITS)),
            (initializers.LecunUniform(), math.sqrt(3 / INPUTS)),
            (initializers.PytorchLinear(), 1 / math.sqrt(INPUTS)),
        ]
    ],
]
NORMALS = [
    (initializers.Normal(), 0.0, 1.0),
    (initializers.Normal(mean=5.0, std=0.1), 5.0, 0.1),
    (initializers.GlorotNormal(), 0.0, math.sqrt(2 / (INPUTS + UNITS))),
    (initializers.GlorotNormal(gain=2.0), 0.0, 2 * math.sqrt(2 / (INPUTS + UNITS))),
    (initializers.HeNormal(), 0.0, math.sqrt(2 / INPUTS)),
    (initializers.HeNormal(gain=1.0, mode="fan_out"), 0.0, math.sqrt(1 / UNITS)),
    (initializers.LecunNormal(), 0.0, math.sqrt(1 / INPUTS)),
]


def distance(numbers: Array, cumulative: Any) -> float:
    """Kolmogorov and Smirnov's distance times the root of the count: above 2 with a probability of 0.0007."""
    ordered = np.sort(numbers.ravel())
    ranks = np.arange(ordered.size + 1) / ordered.size
    expected = np.array([cumulative(x) for x in ordered.tolist()])
    return float(max((ranks[1:] - expected).max(), (expected - ranks[:-1]).max()) * math.sqrt(ordered.size))


@pytest.mark.parametrize(("rule", "low", "high"), UNIFORMS, ids=str)
def test_uniform_distributions(rule: Any, low: float, high: float) -> None:
    x = sample(rule)
    assert low <= x.min() and x.max() <= high
    assert x.mean() == pytest.approx((low + high) / 2, abs=(high - low) * 5e-3)
    assert x.var() == pytest.approx((high - low) ** 2 / 12, rel=0.02)
    assert distance(x, lambda v: (v - low) / (high - low)) < 2


@pytest.mark.parametrize(("rule", "mean", "std"), NORMALS, ids=str)
def test_normal_distributions(rule: Any, mean: float, std: float) -> None:
    x = sample(rule)
    assert x.mean() == pytest.approx(mean, abs=0.02 * std)
    assert x.var() == pytest.approx(std**2, rel=0.02)
    assert distance(x, NormalDist(mean, std).cdf) < 2


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"std": 0.02},
        {"mean": 1.0, "std": 2.0, "a": 0.0, "b": 1.5},
        {"a": 1.0, "b": 1e308},
        {"a": 3.0, "b": 10.0},
        {"a": -10.0, "b": -3.0},
        {"a": 0.5, "b": 0.51},
        {"std": 100.0},
    ],
    ids=str,
)
def test_truncated_normal_distribution(parameters: dict[str, Any]) -> None:
    """By drawing again, and, where few numbers would fit, by the inverse: one distribution."""
    rule = initializers.TruncatedNormal(**parameters)
    normal = NormalDist(rule.mean, rule.std)
    low, high = normal.cdf(rule.a), normal.cdf(rule.b)
    x = sample(rule)
    assert rule.a <= x.min() and x.max() <= rule.b
    assert distance(x, lambda v: (normal.cdf(v) - low) / (high - low)) < 2


def test_a_wrong_distribution_is_found() -> None:
    x = generator(0).normal(size=(INPUTS, UNITS)).clip(-2, 2)
    normal = NormalDist()
    low, high = normal.cdf(-2), normal.cdf(2)
    assert distance(x, lambda v: (normal.cdf(v) - low) / (high - low)) > 2
    assert distance(sample(initializers.Normal()) * 1.05, NormalDist().cdf) > 2


def test_constants() -> None:
    assert not sample(initializers.Zeros()).any()
    assert (sample(initializers.Ones()) == 1).all()
    assert (sample(initializers.Constant(value=-0.3)) == -0.3).all()
    assert np.array_equal(sample(initializers.Identity(gain=3.0), (4, 2)), 3 * np.eye(4, 2))


@pytest.mark.parametrize("shape", [(8, 8), (40, 7), (7, 40), (1, 5), (5, 1), (1, 1)])
def test_orthogonal(shape: tuple[int, int]) -> None:
    x = sample(initializers.Orthogonal(gain=2.0), shape)
    product = x.T @ x if shape[0] >= shape[1] else x @ x.T
    np.testing.assert_allclose(product, 4 * np.eye(min(shape)), atol=1e-12)


def test_orthogonal_matrices_are_uniform() -> None:
    """Without the signs of r's diagonal, half of the signs would be fixed."""
    corners = [sample(initializers.Orthogonal(), (3, 3), seed)[0, 0] for seed in range(2000)]
    # A coordinate of a uniform point of the sphere in three dimensions is uniform within +-1.
    assert distance(np.array(corners), lambda v: (v + 1) / 2) < 2


@pytest.mark.parametrize("rule", RULES, ids=kind_of)
def test_the_same_seed_gives_the_same_bytes(rule: Any) -> None:
    x = sample(rule(), (6, 5))
    assert x.tobytes() == sample(rule(), (6, 5)).tobytes()
    if kind_of(rule) not in {"zeros", "ones", "constant", "identity"}:
        assert np.unique(x).size == x.size
        assert not np.isin(x, sample(rule(), (6, 5), seed=2)).any()


@pytest.mark.parametrize("rule", ANY_SHAPE_RULES, ids=kind_of)
def test_biases_and_small_shapes(rule: Any) -> None:
    assert rule().sample((5,), 3, 5, generator(0, 0, 1)).shape == (5,)
    for shape in ((1,), (1, 1), (0,), (3, 0)):
        x = rule().sample(shape, 1, 1, generator(0, 0, 1))
        assert x.shape == shape and np.isfinite(x).all()


@pytest.mark.parametrize("rule", MATRIX_RULES, ids=kind_of)
def test_matrices_without_columns(rule: Any) -> None:
    assert rule().sample((3, 0), 3, 0, generator(0)).shape == (3, 0)


def test_every_place_has_its_own_stream() -> None:
    """All pairs of layer and parameter of a few seeds, the largest included: none begin alike or correlate."""
    places = [(seed, i, j) for seed in (0, 1, 42, 2**63 - 1) for i in range(5) for j in range(2)]
    streams = np.array([generator(*place).normal(size=4000) for place in places])
    assert len({stream[0] for stream in streams}) == len(places)
    correlations = np.corrcoef(streams) - np.eye(len(places))
    assert np.abs(correlations).max() < 0.08


@pytest.mark.parametrize(
    ("rule", "parameters"),
    [
        (initializers.Uniform, {"a": 1.0, "b": 0.0}),
        (initializers.Uniform, {"a": -1.7e308, "b": 1.7e308}),
        (initializers.TruncatedNormal, {"a": 1.0, "b": 0.0}),
        (initializers.TruncatedNormal, {"a": 1.0, "b": 1.0}),
        (initializers.TruncatedNormal, {"a": 5.0, "b": 6.0}),
        (initializers.TruncatedNormal, {"mean": 1.7e308, "std": 1.7e308, "a": -1.7e308, "b": 1.7e308}),
    ],
)
def test_bounds_that_hold_nothing_are_refused(rule: Any, parameters: dict[str, float]) -> None:
    with pytest.raises(OutOfRange):
        rule(**parameters)


@pytest.mark.parametrize("rule", RULES, ids=kind_of)
def test_the_numbers_of_a_seed_do_not_change(rule: Any) -> None:
    """The same seed must give the same numbers in every release."""
    x = rule().sample((2, 2), 2, 2, generator(42, 1, 0))
    np.testing.assert_allclose(x.ravel(), FIRST_NUMBERS[kind_of(rule)], rtol=1e-12, atol=1e-15)


FIRST_NUMBERS = {
    "zeros": [0.0, 0.0, 0.0, 0.0],
    "ones": [1.0, 1.0, 1.0, 1.0],
    "constant": [0.0, 0.0, 0.0, 0.0],
    "uniform": [0.5700286821875662, 0.9724905038557506, 0.5037701096476371, 0.5425313613097212],
    "normal": [0.46191602741186016, -1.385507350004301, -0.05179107945803394, 0.20989975018319357],
    "truncated_normal": [0.46191602741186016, -1.385507350004301, -0.05179107945803394, 0.20989975018319357],
    "glorot_uniform": [0.17153453871906632, 1.1573606427571166, 0.009234844911055085, 0.10418013327476738],
    "glorot_normal": [0.32662395532167754, -0.9797016425718446, -0.0366218234897471, 0.14842153672389846],
    "he_uniform": [0.24258647107191655, 1.6367551175439572, 0.013060042919626147, 0.1473329574070128],
    "he_normal": [0.46191602741186016, -1.385507350004301, -0.05179107945803394, 0.20989975018319357],
    "lecun_uniform": [0.17153453871906632, 1.1573606427571166, 0.009234844911055085, 0.10418013327476738],
    "lecun_normal": [0.3266239553216775, -0.9797016425718444, -0.0366218234897471, 0.14842153672389843],
    "orthogonal": [0.9937729478271959, 0.11142409150109826, -0.11142409150109826, 0.993772947827196],
    "identity": [1.0, 0.0, 0.0, 1.0],
    "pytorch_linear": [0.09903551210477124, 0.6682024786452996, 0.005331740195322121, 0.0601484279903981],
}
"""The four numbers of a 2 by 2 matrix, from the seed 42, layer 1, parameter 0."""


def test_each_parameter_of_a_network_has_a_stream_of_its_own() -> None:
    he, uniform = initializers.HeNormal(), initializers.Uniform()
    layers = [Blank(4, Relu(), he, None, "hidden"), Blank(2, Relu(), he, uniform)]
    hidden, output = initialize(3, layers, "float64", 42).layers
    assert hidden.name == "hidden" and hidden.bias is None and output.bias is not None
    assert (hidden.weights == he.sample((3, 4), 3, 4, generator(42, 0, 0))).all()
    assert (output.weights == he.sample((4, 2), 4, 2, generator(42, 1, 0))).all()
    assert (output.bias == uniform.sample((2,), 4, 2, generator(42, 1, 1))).all()
