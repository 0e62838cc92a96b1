"""Findings about outputs and losses: what is one answer, the best constant one, and the least loss in reach."""

import math
from typing import Any

import numpy as np
import pytest

from engine import activations, losses
from engine.findings import answers, diagnose, examine
from engine.findings.statistics import statistics
from engine.objective import LossObjective
from engine.row_activations import softmax
from engine.rules import Array
from tests.engine.test_findings import POINTS, VALUES, found, hidden, network_of

SLOPES = np.array([[1.5], [-0.7]])
CLASSES = np.eye(3)[np.random.default_rng(5).integers(0, 3, 32)]
LOGITS = losses.CrossEntropy(from_logits=True)


def line(weights: Any, bias: float, activation: Any = None) -> Any:
    weights = np.asarray(weights, float)
    return network_of((weights, np.full(weights.shape[1], bias), activation or activations.Identity()))


@pytest.mark.parametrize(("offset", "scale"), [(1e6, 1.0), (1.7e9, 2000.0), (-1e6, 1e-3)])
def test_outputs_that_vary_as_the_targets_do_are_not_collapsed(offset: float, scale: float) -> None:
    targets = POINTS @ SLOPES * scale + offset
    assert "collapsed_outputs" not in found(line(SLOPES * scale, offset), POINTS, targets)
    assert "collapsed_outputs" in found(line(SLOPES * scale * 1e-9, offset), POINTS, targets)
    # An output is looked at beside its own targets, and one that varies is enough.
    both = np.hstack([targets, POINTS @ SLOPES])
    assert "collapsed_outputs" not in found(line(np.hstack([SLOPES * 1e-12, SLOPES]), 0), POINTS, both)


@pytest.mark.parametrize("loss", [LOGITS, losses.Focal(from_logits=True), losses.KlDivergence(from_logits=True)])
def test_a_shift_of_all_logits_is_no_answer(loss: Any) -> None:
    random = np.random.default_rng(11)
    weights = random.normal(size=(2, 3)) / 5
    assert "collapsed_outputs" not in found(line(weights, 1e4), POINTS, CLASSES, loss)
    # What differs from example to example is a shift alone.
    shifts = np.repeat(weights[:, :1], 3, axis=1)
    assert "collapsed_outputs" in found(line(shifts, 0.0), POINTS, CLASSES, loss)


def test_a_last_layer_of_zeros_is_a_start_and_a_hidden_one_is_not() -> None:
    first = hidden(activations.Tanh()).layers[0]
    start = network_of((first.weights, first.bias, activations.Tanh()), (np.zeros((16, 1)), [0.3],
                       activations.Identity()))  # fmt: skip
    finding = found(start, POINTS, VALUES)["collapsed_outputs"]
    assert finding.severity == "info" and "whose weights are all 0" in finding.message
    lost = network_of((np.zeros((2, 16)), None, activations.Tanh()), (np.zeros((16, 1)), None, activations.Identity()))
    assert found(lost, POINTS, VALUES)["collapsed_outputs"].severity == "warning"


def test_a_loss_a_little_below_chance_is_hardly_better() -> None:
    targets = VALUES - VALUES.mean()
    slopes = np.linalg.lstsq(POINTS, targets)[0] / 50
    for bias, words in ((0.0, "hardly better"), (0.5, "no better")):
        finding = found(line(slopes, bias), POINTS, targets)["chance_level"]
        assert words in finding.message
        assert (finding.evidence["loss"] < finding.evidence["chance_loss"]) == (words == "hardly better")


def weighted(network: Any, x: Array, targets: Array, weights: Array, loss: Any = None) -> dict[str, Any]:
    case = examine(network, x, LossObjective(losses.Mse() if loss is None else loss, targets, weights))
    return {finding.code: finding for finding in diagnose(case)}


def test_examples_of_weight_0_are_not_there() -> None:
    random = np.random.default_rng(11)
    x, targets = np.vstack([POINTS, 1e4 * POINTS]), np.vstack([POINTS, random.normal(size=POINTS.shape)]) @ SLOPES
    weights = np.repeat([1.0, 0.0], 32)
    network = line(SLOPES, 0.0)
    assert weighted(network, x, targets, weights) == {}
    assert {"input_scale", "chance_level"} <= set(weighted(network, x, targets, np.ones(64)))
    # Targets out of range are named by their places in the request, and statistics count the same examples.
    relu = line(SLOPES, 0.0, activations.Relu())
    weights = 1 - weights
    case = examine(relu, x, LossObjective(losses.Mse(), targets, weights))
    evidence = {finding.code: finding for finding in diagnose(case)}["targets_out_of_range"].evidence
    assert evidence["worst"]["index"][0] == 32 + targets[32:].argmin() and evidence["of"] == 32
    assert statistics(case)[0].preactivations.largest == (x[32:] @ SLOPES).max()


def test_where_no_example_has_a_weight_all_are_looked_at() -> None:
    assert "chance_level" not in weighted(line(SLOPES, 0.0), POINTS, VALUES, np.zeros(32), losses.Mse(reduction="sum"))


@pytest.mark.parametrize("loss", [losses.Mse(), losses.Mse(reduction="sum"), losses.Mae(), losses.Huber()], ids=str)
def test_an_example_of_weight_3_counts_as_three(loss: Any) -> None:
    random = np.random.default_rng(11)
    counts = random.integers(1, 4, 32)
    network, repeated = line(np.zeros((2, 1)), 9.0), np.repeat(np.arange(32), counts)
    weights = np.ones(len(repeated))
    once = weighted(network, POINTS, VALUES, counts.astype(float), loss)["chance_level"].evidence
    thrice = weighted(network, POINTS[repeated], VALUES[repeated], weights, loss)["chance_level"].evidence
    for name, value in once.items():
        assert value == pytest.approx(thrice[name])


@pytest.mark.parametrize(
    ("last", "loss"),
    [
        (activations.Softmax(), losses.CrossEntropy()),
        (activations.Softmin(), losses.CrossEntropy(label_smoothing=0.2)),
        (activations.Identity(), losses.CrossEntropy(from_logits=True, class_weights=(1.0, 5.0, 0.5))),
        (activations.LogSoftmax(), losses.CrossEntropy(from_logits=True, reduction="sum")),
        (activations.LogSoftmax(), losses.NegativeLogLikelihood(class_weights=(1.0, 5.0, 0.5))),
        (activations.Sigmoid(), losses.CrossEntropy(from_logits=True)),
        (activations.Tanh(), losses.CrossEntropy(from_logits=True)),
        (activations.Sigmoid(), losses.BinaryCrossEntropy(label_smoothing=0.1)),
        (activations.Tanh(), losses.BinaryCrossEntropy(from_logits=True)),
        (activations.Relu(), losses.BinaryCrossEntropy(from_logits=True, class_weights=(1.0, 2.0, 3.0))),
        (activations.Sigmoid(), losses.Mse()),
        (activations.HardTanh(min_val=-1.0, max_val=0.1), losses.HalfSquaredError()),
    ],
    ids=str,
)
@pytest.mark.parametrize("several", [False, True], ids=["one label", "several"])
def test_no_constant_answer_of_the_activation_is_better(last: Any, loss: Any, several: bool) -> None:
    """Against thousands of answers that the last activation does give, around the best and everywhere."""
    random = np.random.default_rng(11)
    t = CLASSES if not several else np.maximum(CLASSES, (random.random((32, 3)) < [0.6, 0.3, 0.1]).astype(float))
    case = examine(line(random.normal(size=(2, 3)), 0.0, last), POINTS, LossObjective(loss, t))
    best = answers.constant_answer(case)
    assert best is not None
    z = random.normal(size=(4000, 3)) * 10 ** random.uniform(-2, 1, size=(4000, 1))
    values = [case.reduced(loss.values(np.broadcast_to(a, t.shape), t)) for a in last.forward(z)]
    assert min(values) >= best.loss - 1e-9
    # It is an answer of the activation, up to the end of its range: some of those come close.
    assert min(values) < best.loss + 0.02 * max(1.0, best.loss)


def test_the_chance_level_of_several_labels() -> None:
    random = np.random.default_rng(11)
    t = (random.random((32, 3)) < 0.5).astype(float)
    frequencies = t.sum(axis=0) / t.sum()
    evidence = found(line(np.zeros((2, 3)), 0.0, activations.Softmax()), POINTS, t, losses.CrossEntropy())[
        "chance_level"
    ].evidence
    assert evidence["constant_answer"] == pytest.approx(frequencies)
    assert evidence["chance_loss"] == pytest.approx(-(t @ np.log(frequencies)).mean())


@pytest.mark.parametrize(
    ("last", "loss"),
    [
        (activations.Sigmoid(), losses.CrossEntropy()),
        (activations.Softmax(), losses.Mse()),
        (activations.Identity(), losses.Poisson()),
    ],
    ids=str,
)
def test_no_chance_level_where_none_is_known(last: Any, loss: Any) -> None:
    random = np.random.default_rng(11)
    t = np.abs(random.normal(size=(32, 3))) % 1
    assert answers.constant_answer(examine(line(np.ones((2, 3)), 0.0, last), POINTS, LossObjective(loss, t))) is None


@pytest.mark.parametrize(
    ("last", "loss"),
    [
        (activations.Softmax(), losses.CrossEntropy(from_logits=True, label_smoothing=0.1)),
        (activations.Sigmoid(), losses.BinaryCrossEntropy(from_logits=True, label_smoothing=0.1)),
        (activations.Softmax(), losses.KlDivergence(from_logits=True)),
        (activations.Softmax(), losses.KlDivergence(from_logits=True, reduction="sum")),
        (activations.Tanh(), losses.CrossEntropy(from_logits=True, class_weights=(1.0, 2.0, 3.0))),
    ],
    ids=str,
)
def test_losses_that_cannot_be_reached_with_soft_targets(last: Any, loss: Any) -> None:
    random = np.random.default_rng(11)
    finding = found(line(random.normal(size=(2, 3)), 0.0, last), POINTS, CLASSES, loss)["unreachable_loss"]
    ends = last.forward(np.array([[-50.0, 50.0], [50.0, -50.0]]))[0]
    outputs = np.where(CLASSES == 1, ends.max(), ends.min())
    objective = LossObjective(loss, CLASSES)
    network = network_of((np.eye(3), None, activations.Identity()))
    best = float(examine(network, outputs, objective).before.loss)
    assert finding.evidence["lowest_loss"] == pytest.approx(best)
    assert finding.evidence["ideal_loss"] < best


@pytest.mark.parametrize(
    ("last", "loss"),
    [
        (activations.Identity(), losses.CrossEntropy(from_logits=True, label_smoothing=0.1)),
        (activations.Identity(), losses.BinaryCrossEntropy(from_logits=True, label_smoothing=0.1)),
        (activations.Identity(), losses.KlDivergence(from_logits=True)),
        (activations.LogSoftmax(), losses.KlDivergence(from_logits=True)),
        (activations.Softmax(), losses.KlDivergence()),
        (activations.HardTanh(min_val=-3.0, max_val=3.0), losses.CrossEntropy(from_logits=True, label_smoothing=0.1)),
    ],
    ids=str,
)
def test_losses_that_can_with_soft_targets(last: Any, loss: Any) -> None:
    random = np.random.default_rng(11)
    assert "unreachable_loss" not in found(line(random.normal(size=(2, 3)), 0.0, last), POINTS, CLASSES, loss)


def test_a_minimum_of_0_is_stated_as_0() -> None:
    finding = found(line(SLOPES, 0.0, activations.Sigmoid()), POINTS, (VALUES > 0).astype(float),
                    losses.BinaryCrossEntropy(from_logits=True))["unreachable_loss"]  # fmt: skip
    assert finding.evidence["ideal_loss"] == 0 and "where 0 would be its minimum" in finding.message


def test_the_median_of_weights() -> None:
    for numbers, weights, median in [([5, 1, 3], [1, 1, 1], 3), ([4, 1, 2, 9], [1, 1, 1, 1], 3),
                                     ([4, 1, 2, 9], [5, 1, 1, 1], 4)]:  # fmt: skip
        assert answers.medians(np.array(numbers, float), np.array(weights, float), np.array([0])) == [median]
        # Of groups each has its own, wherever it stands.
        three = [np.tile(np.array(values, float), 3) + np.repeat(add, len(values)) for values, add in
                 ((numbers, [10.0, 0.0, -10.0]), (weights, [0.0] * 3))]  # fmt: skip
        starts = len(numbers) * np.arange(3)
        assert answers.medians(*three, starts).tolist() == [median + 10, median, median - 10]


def test_logits_in_a_range_are_the_best() -> None:
    random = np.random.default_rng(11)
    p = np.array([[0.6, 0.3, 0.1]])
    z = answers.logits(p, 0.0, 1.0)
    loss = -(p * np.log(softmax(z))).sum()
    others = random.random((50_000, 3))
    assert (-(p * np.log(softmax(others))).sum(axis=1)).min() > loss
    assert math.isclose(softmax(answers.logits(p))[0, 2], 0.1)


@pytest.mark.parametrize(
    ("last", "bias", "loss", "targets", "codes"),
    [
        (activations.Sigmoid(), 20.0, losses.CrossEntropy(), np.eye(2), ["unnormalized_outputs", "saturated_units"]),
        (activations.Relu(), -9.0, losses.Mse(), -1 - np.eye(2), ["targets_out_of_range", "dead_relu"]),
        (activations.Sigmoid(), 20.0, losses.Mse(), 9 * np.eye(2), ["targets_out_of_range", "saturated_units"]),
    ],
)  # fmt: skip
def test_causes_are_told_before_what_they_make_of_the_units(
    last: Any, bias: float, loss: Any, targets: Array, codes: list[str]
) -> None:
    network = network_of((0.3 * np.ones((2, 2)), [bias] * 2, last))
    rows = targets[(POINTS[:, 0] > 0).astype(int)]
    assert list(found(network, POINTS, rows, loss))[:2] == codes
