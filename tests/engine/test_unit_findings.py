"""Findings about units: flat pieces and tails, copies, and what is told in the plural."""

import time
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from engine import activations, losses
from engine.findings.units import first_equal
from engine.initializers import HeNormal, generator
from engine.layers import Dense
from engine.network import Network
from tests.engine.test_findings import POINTS, VALUES, found, hidden, network_of


def shifted(rule: Any, bias: float, units: int) -> Network:
    """A hidden layer of 16 units, the first `units` of which have this bias."""
    first, last = hidden(rule).layers
    return Network((Dense(first.weights, np.where(np.arange(16) < units, bias, 0.0), rule), last))


@pytest.mark.parametrize(
    ("rule", "bias", "words"),
    [
        (activations.Relu(), -50, "off"),
        (activations.LeakyRelu(negative_slope=0.0), -50, "off"),
        (activations.Relu6(), -50, "on a flat piece"),
        (activations.Relu6(), 50, "on a flat piece"),
        (activations.Threshold(threshold=-1.0, value=0.0), -50, "off"),
    ],
    ids=str,
)
def test_every_flat_piece_is_dead(rule: Any, bias: float, words: str) -> None:
    finding = found(shifted(rule, bias, 8), POINTS, VALUES)["dead_relu"]
    assert finding.evidence["units"] == list(range(8)) and f"8 units of 16 in layer 0 ({rule.kind})" in finding.message
    assert finding.severity == "warning" and f" are {words} for all 32 examples and for any other" in finding.message
    assert finding.evidence["least_possible"] < finding.evidence["largest_possible"]
    assert found(shifted(rule, bias, 7), POINTS, VALUES)["dead_relu"].severity == "info"
    assert "dead_relu" not in found(shifted(activations.LeakyRelu(), bias, 16), POINTS, VALUES)


TAILED = ["elu", "celu", "selu", "gelu", "silu", "mish", "softplus"]


@pytest.mark.parametrize("kind", [*TAILED, "log_sigmoid"])
def test_units_in_the_flat_tail_of_their_activation_are_saturated(kind: str) -> None:
    rule: Any = getattr(activations, "".join(part.title() for part in kind.split("_")))()
    far = 50 if kind == "log_sigmoid" else -50
    assert "saturated_units" not in found(hidden(rule), POINTS, VALUES)
    half = found(shifted(rule, far, 8), POINTS, VALUES)["saturated_units"]
    assert half.severity == "warning" and half.evidence["units"] == list(range(8))
    assert found(shifted(rule, far, 1), POINTS, VALUES)["saturated_units"].severity == "info"


@pytest.mark.parametrize(("depth", "width"), [(20, 16), (10, 32), (3, 8), (50, 32)])
def test_the_few_dead_units_of_a_fresh_network_are_no_warning(depth: int, width: int) -> None:
    told = []
    for seed in range(20):
        layers: list[Any] = [
            (HeNormal().sample(pair, *pair, generator(seed, i, 0)), np.zeros(pair[1]), activations.Relu())
            for i, pair in enumerate(pairwise([10] + [width] * depth + [1]))
        ]
        layers[-1] = (*layers[-1][:2], activations.Identity())
        x = np.random.default_rng(seed).normal(size=(32, 10))
        told.append(found(network_of(*layers), x, x[:, :1]).get("dead_relu"))
    assert {finding.severity for finding in told if finding} <= {"info"}
    assert width < 10 or any(told)


def test_of_one_example_nothing_is_certain() -> None:
    message = found(shifted(activations.Relu(), -50, 16), POINTS[:1], VALUES[:1])["dead_relu"].message
    assert "16 units of 16" in message and "any other input" not in message


def test_units_with_other_outgoing_weights_are_no_copies_where_the_fit_is_perfect() -> None:
    def network(outgoing: list[list[float]]) -> Network:
        first = ([[0.5, 0.5], [0.3, 0.3]], [0.1, 0.1], activations.Tanh())
        return network_of(first, (outgoing, [0.0], activations.Identity()))

    for outgoing, copies in [([[1.0], [2.0]], False), ([[1.5], [1.5]], True)]:
        perfect = np.tanh(POINTS @ [[0.5], [0.3]] + 0.1) * 3
        assert ("symmetric_units" in found(network(outgoing), POINTS, perfect)) == copies


def test_copies_are_found_in_one_look_at_each() -> None:
    random = np.random.default_rng(0)

    def seconds(width: int) -> float:
        first = np.repeat(random.normal(size=(50, width // 2)), 2, axis=1)
        network = network_of(
            (first, None, activations.Tanh()), (np.full((width, 1), 0.01), None, activations.Identity())
        )
        x = random.normal(size=(4, 50))
        start = time.perf_counter()
        finding = found(network, x, x[:, :1])["symmetric_units"]
        assert finding.evidence["units"] == width and finding.evidence["groups"][1] == [2, 3]
        return time.perf_counter() - start

    # Once 199 seconds did not suffice for the wider one, and 0.2 did for the other.
    assert seconds(16_000) < 2 + 100 * seconds(1_000)


def test_equal_columns_have_the_first_of_them_in_common() -> None:
    columns = np.array([[1.0, 0.0, 1.0, -0.0, 2.0], [3.0, 4.0, 3.0, 4.0, 3.0]])
    assert first_equal(columns).tolist() == [0, 1, 0, 1, 4]


def test_features_are_told_in_singular_and_plural() -> None:
    def message(x: Any, weights: Any) -> str:
        return found(network_of((weights, [0.0], activations.Identity())), x, VALUES)["unused_inputs"].message

    constant, silent = np.full((32, 1), 3.0), [[0.0]]
    assert "1 feature of 3 never changes between" in message(np.hstack([POINTS, constant]), [[1.0]] * 3)
    assert "2 features of 4 never change between" in message(np.hstack([POINTS, constant, constant]), [[1.0]] * 4)
    assert "1 feature of 2 has only weights of 0." in message(POINTS, [[1.0], *silent])
    assert "2 features of 2 have only weights of 0." in message(POINTS, silent * 2)


def test_a_constant_feature_may_be_the_bias() -> None:
    x = np.hstack([POINTS, np.zeros((32, 1)), np.ones((32, 1)), np.full((32, 1), 2.0)])
    for bias, constant in ((None, [2, 4]), ([0.0], [2, 3, 4])):
        network = network_of((np.ones((5, 1)), bias, activations.Identity()))
        assert found(network, x, VALUES)["unused_inputs"].evidence["constant"] == constant
    alone = found(network_of((np.ones((3, 1)), None, activations.Identity())), x[:, [0, 1, 3]], VALUES)
    assert "unused_inputs" not in alone


def test_a_unit_beyond_a_flat_piece_above_is_not_told_to_rise() -> None:
    for rule, rises in ((activations.Relu(), True), (activations.Relu6(), False), (activations.SoftShrink(), False)):
        bias = {"relu": -99.0, "relu6": 99.0, "soft_shrink": 0.0}[rule.kind]
        network = network_of((np.full((2, 1), 1e-3), [bias], rule), ([[1.0]], [0.0], activations.Identity()))
        assert ("Raise these units' biases" in found(network, POINTS, VALUES)["dead_relu"].remedy) == rises


def test_a_low_threshold_lets_softplus_go_below_0() -> None:
    network = network_of(([[1.0], [1.0]], [0.0], activations.Softplus(beta=2.0, threshold=-6.0)))
    assert "targets_out_of_range" not in found(network, POINTS, np.full((32, 1), -2.0))
    assert found(network, POINTS, np.full((32, 1), -4.0))["targets_out_of_range"].evidence["range"] == [-3, None]


@pytest.mark.parametrize(
    ("loss", "wanted", "unwanted"),
    [(losses.Mse(), 1.0, 0.0), (losses.CrossEntropy(from_logits=True), 1.0, 0.0), (losses.Mae(), -1.0, 0.0)],
)
def test_in_the_last_layer_no_other_unit_stands_in_for_a_dead_one(loss: Any, wanted: float, unwanted: float) -> None:
    network = network_of((np.full((2, 3), 0.5), [1.0, 1.0, -9.0], activations.Relu()))
    targets = np.zeros((32, 3))
    targets[np.arange(32), np.arange(32) % 2] = 1.0
    assert found(network, POINTS, targets, loss)["dead_relu"].severity == "info"  # nobody asks for output 2
    targets[:5] = [unwanted, unwanted, wanted]
    finding = found(network, POINTS, targets, loss)["dead_relu"]
    assert finding.severity == "warning" and finding.evidence["units"] == [2]
    below = network_of(*((layer.weights, layer.bias, layer.activation) for layer in network.layers),
                       (np.ones((3, 3)), None, activations.Identity()))  # fmt: skip
    assert found(below, POINTS, targets, loss)["dead_relu"].severity == "info"
