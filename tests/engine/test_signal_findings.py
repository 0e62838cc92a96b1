"""Findings about inputs, error signals and steps: scales, numbers that are exactly 0, and training that has arrived."""

import math
import re
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from engine import activations, losses, optimizers
from engine.findings import diagnose, examine
from engine.initializers import GlorotNormal, GlorotUniform, HeNormal, HeUniform, generator
from engine.network import Network
from engine.objective import LossObjective
from engine.rules import Array
from engine.step import init_state, step
from tests.engine.test_findings import POINTS, VALUES, found, hidden, network_of, warnings


@pytest.mark.parametrize(
    ("factors", "means", "severity"),
    [
        ([0.1, 0.1], [9.0, 9.0], "warning"),
        ([0.1, 1.0], [0.0, -9.0], None),
        ([0.5, 1.0], [9.0, 0.0], "info"),
        ([0.02, 1.0], [1.0, 0.0], "info"),
        ([1.0, 1.0], [5.0, 5.0], None),
        ([9.0, 0.001], [0.0, 0.0], "warning"),
        ([3.0, 0.01], [0.0, 0.0], "info"),
        ([1.0, 0.1], [0.0, 0.0], None),
        ([20.0, 1.0], [0.0, 0.0], "warning"),
    ],
)
def test_the_scales_and_means_of_inputs(factors: list[float], means: list[float], severity: str | None) -> None:
    x = (POINTS - POINTS.mean(axis=0)) / POINTS.std(axis=0) * factors + means
    finding = found(hidden(activations.Tanh()), x, VALUES).get("input_scale")
    assert (finding and finding.severity) == severity
    assert "input_scale" not in found(hidden(activations.Tanh()), x[:4] / np.abs(x[:4]).max(axis=0), VALUES[:4])


def test_inputs_far_from_0_beside_what_they_vary_by_are_told_before_dead_units() -> None:
    first = next(iter(found(hidden(activations.Relu()), 9 + POINTS / 10, VALUES).values()))
    assert first.code == "input_scale" and first.evidence["off_center"] == [0, 1]
    assert "2 of 2 features vary little beside their mean" in first.message


def test_features_that_never_change_have_no_scale() -> None:
    x = np.column_stack([POINTS, np.full(32, 0.1), np.zeros(32), np.full(32, 1e-6)])
    network = network_of((np.ones((5, 1)), None, activations.Identity()))
    assert "input_scale" not in found(network, x, VALUES)


def tower(depth: int, scale: float, last: float = 1.0) -> Network:
    random = np.random.default_rng(0)
    layers: list[Any] = [(scale * random.normal(size=(4, 4)), None, activations.Tanh()) for _ in range(depth)]
    return network_of(*layers, (last * random.normal(size=(4, 1)), None, activations.Identity()))


def test_a_gradient_vanishes_and_explodes_by_weights_and_slopes() -> None:
    """What the message names as the cause multiplies out to about the ratio, whichever of the two it is."""
    random = np.random.default_rng(1)
    x, y = random.normal(size=(32, 4)), random.normal(size=(32, 1))
    steep = activations.LeakyRelu(negative_slope=1e3)
    layers = [(0.05 * random.normal(size=(4, 4)), [-1.0] * 4, steep) for _ in range(3)]
    by_slopes = network_of(*layers, (np.full((4, 1), 0.3), None, activations.Identity()))
    sigmoid = network_of(
        (np.eye(4), None, activations.Sigmoid()),
        *((layer.weights, None, layer.activation) for layer in tower(3, 0.01).layers),
    )
    for network, code in ((by_slopes, "exploding_gradients"), (sigmoid, "vanishing_gradients")):
        finding = found(network, x, y)[code]
        numbers = re.fullmatch(
            r".* is (\S+) times .* multiply it by about (\S+), the slopes .* by (\S+?)( \(.*\))?\.", finding.message
        )
        assert numbers is not None, finding.message
        ratio, weights, slopes = (float(n) for n in numbers.groups()[:3])
        assert 0.1 < ratio / (weights * slopes) < 10
        assert (weights < 1) and (slopes > 1) == (code == "exploding_gradients")
    assert "(1 layer of sigmoids, whose slope is at most 1/4: (1/4)^1 = 0.25)." in finding.message


def test_gradients_that_vanish_to_exactly_0() -> None:
    x = np.random.default_rng(1).normal(size=(16, 4))
    finding = found(tower(12, 1e-30), x, x[:, :1])["vanishing_gradients"]
    assert finding.evidence["ratio"] == 0 and finding.evidence["preactivation_gradients"][0] == 0
    # Weights of 0 stop a gradient, too, but it does not vanish on a way.
    assert "vanishing_gradients" not in found(tower(3, 0.5, last=0.0), x, x[:, :1])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_what_cancels_but_for_rounding_has_not_vanished(dtype: Any) -> None:
    """Errors of softmax add up to 0 in each row, so that nothing passes weights that are equal for all outputs."""
    x = np.random.default_rng(1).normal(size=(33, 4)).astype(dtype)
    ends = [(np.random.default_rng(2).normal(size=(4, 8)), None, activations.Tanh())]
    ends += [(np.full((8, 8), 0.3), np.arange(8) / 8, activations.Tanh())]
    ends += [(np.full((8, 3), 0.1), None, activations.Softmax())]
    network = network_of(*ends)
    network = network.with_parameters(
        [{name: a.astype(dtype) for name, a in layer.items()} for layer in network.parameters]
    )
    labels = np.eye(3, dtype=dtype)[np.arange(33) % 3]
    case = examine(network, x, LossObjective(losses.CrossEntropy(), labels))
    assert 0 < case.gradient_sizes[0] < 1e-6 * case.gradient_sizes[-1]
    assert "vanishing_gradients" not in [finding.code for finding in diagnose(case)]


@pytest.mark.parametrize("rate", [1e-9, 1e-15, 1e-18, 1e-25, 0.0])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_steps_of_exactly_0_are_small(rate: float, dtype: Any) -> None:
    network = hidden(activations.Tanh())
    network = Network(tuple(replace(layer, weights=layer.weights.astype(dtype), bias=layer.bias.astype(dtype))
                            for layer in network.layers if layer.bias is not None))  # fmt: skip
    objective, optimizer = LossObjective(losses.Mse(), VALUES.astype(dtype)), optimizers.Sgd(learning_rate=rate)
    case = examine(network, POINTS.astype(dtype), objective, optimizer, init_state(optimizer, network))
    told = [finding for finding in diagnose(case) if finding.code == "small_updates"]
    assert [finding.layer for finding in told] == [0, 1]
    for finding, ratio in zip(told, case.update_ratios, strict=True):
        assert finding.evidence["update_ratio"] == ratio
        assert ("as they are" in finding.message) == (ratio == 0)


def test_a_layer_without_a_gradient_need_not_move() -> None:
    network = hidden(activations.Tanh())
    perfect = np.tanh(POINTS @ network.layers[0].weights) @ network.layers[1].weights
    assert "small_updates" not in found(network, POINTS, perfect, None, optimizers.Sgd(learning_rate=0.1))


def test_a_network_that_is_frozen_throughout() -> None:
    layers = tuple(replace(layer, frozen=frozenset({"weights", "bias"})) for layer in hidden(activations.Tanh()).layers)
    result = found(Network(layers), POINTS, VALUES, None, optimizers.Adam())
    assert result["small_updates"].severity == "info" and "frozen" in result["small_updates"].message
    assert "small_updates" not in found(Network(layers), POINTS, VALUES)


def test_a_step_at_the_bottom_of_the_valley_is_no_warning() -> None:
    network = network_of(([[1.5], [-0.7]], None, activations.Identity()))
    targets = POINTS @ [[1.5], [-0.7]] + 1e-6 * VALUES
    low = found(network, POINTS, targets, None, optimizers.Adam(learning_rate=1e-3))["large_learning_rate"]
    assert low.severity == "info" and low.evidence["loss_before"] < 1e-11 < low.evidence["loss_after"]
    high = found(network, POINTS, targets, None, optimizers.Adam(learning_rate=0.5))["large_learning_rate"]
    assert high.severity == "warning"


HE = {"relu", "leaky_relu", "elu", "gelu", "silu", "mish", "hard_swish", "relu6", "celu"}
MIDDLES = [
    activations.Relu(), activations.LeakyRelu(), activations.Elu(), activations.Gelu(), activations.Silu(),
    activations.Mish(), activations.HardSwish(), activations.Relu6(), activations.Celu(), activations.Tanh(),
    activations.Softsign(), activations.Selu(), activations.Softplus(), activations.Sigmoid(),
]  # fmt: skip
ENDS: list[tuple[Any, Any]] = [
    (activations.Identity(), losses.Mse()),
    (activations.Softmax(), losses.CrossEntropy()),
    (activations.Identity(), losses.CrossEntropy(from_logits=True, label_smoothing=0.1)),
    (activations.LogSoftmax(), losses.NegativeLogLikelihood()),
    (activations.Sigmoid(), losses.BinaryCrossEntropy(label_smoothing=0.1)),
    (activations.Identity(), losses.BinaryCrossEntropy(from_logits=True)),
    (activations.Identity(), losses.Huber()),
    (activations.Softmax(), losses.KlDivergence()),
]


def healthy(seed: int) -> tuple[Network, Array, Array, Any]:
    """A fresh network, with data that it can learn."""
    random = np.random.default_rng(seed)
    middle, (last, loss) = MIDDLES[seed % len(MIDDLES)], ENDS[seed % len(ENDS)]
    depth = int(random.integers(0, 3 if middle.kind == "sigmoid" else 7))
    sizes = [int(random.integers(2, 20)), *(int(n) for n in random.integers(8, 65, depth)), int(random.integers(2, 6))]
    rules = (HeNormal(), HeUniform()) if middle.kind in HE else (GlorotNormal(), GlorotUniform())
    layers = []
    for i, pair in enumerate(pairwise(sizes)):
        weights = rules[seed % 2].sample(pair, *pair, generator(seed, i, 0))
        layers.append((weights, np.zeros(pair[1]), middle if i < depth else last))
    x = random.normal(size=(int(random.choice([8, 32, 128])), sizes[0]))
    sums = x @ random.normal(size=(sizes[0], sizes[-1])) / math.sqrt(sizes[0])
    targets: Array = sums
    if loss.kind == "binary_cross_entropy":
        targets = (sums > 0).astype(float)
    elif loss.kind not in ("mse", "huber"):
        targets = np.eye(sizes[-1])[sums.argmax(axis=1)]
    return network_of(*layers), x, targets, loss


OPTIMIZERS = (None, optimizers.Sgd(learning_rate=0.01), optimizers.Adam())


@pytest.mark.parametrize("seed", range(120))
def test_a_fresh_network_gives_no_warning(seed: int) -> None:
    for optimizer in OPTIMIZERS:
        assert warnings(found(*healthy(seed), optimizer)) == []


@pytest.mark.parametrize("seed", range(0, 120, 5))
def test_a_trained_network_gives_no_warning(seed: int) -> None:
    network, x, targets, loss = healthy(seed)
    adam: Any = optimizers.Adam(learning_rate=3e-3)
    state, objective = init_state(adam, network), LossObjective(loss, targets)
    for _ in range(200):
        network, state = step(network, x, objective, adam, state)[1:3]
    for optimizer in OPTIMIZERS:
        assert warnings(found(network, x, targets, loss, optimizer)) == []


def test_one_feature_is_told_in_the_singular() -> None:
    x = (POINTS - POINTS.mean(axis=0)) / POINTS.std(axis=0)
    large = found(hidden(activations.Tanh()), x * [20.0, 1.0], VALUES)["input_scale"].message
    assert "1 of 2 features is larger than 10" in large
    far = found(hidden(activations.Tanh()), x * [0.02, 1.0] + [1.0, 0.0], VALUES)["input_scale"].message
    assert "1 of 2 features varies little beside its mean" in far


def test_remedies_are_those_of_the_case() -> None:
    network, state = hidden(activations.Tanh()), {"learning_rate": 10.0}
    large = found(network, POINTS, VALUES, optimizer=optimizers.Adam(**state))["large_updates"]
    assert "With sgd" in large.remedy
    frozen = Network(tuple(replace(layer, frozen=frozenset(layer.parameters)) for layer in network.layers))
    remedy = found(frozen, POINTS, VALUES, optimizer=optimizers.Sgd())["small_updates"].remedy
    assert "frozen" in remedy and "learning rate" not in remedy
