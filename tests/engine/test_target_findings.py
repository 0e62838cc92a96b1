"""Findings about targets: contradictions, constants, their scale, and sums that softmax cannot give."""

import math
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine

from engine import activations, losses, optimizers
from engine.errors import NonFinite
from engine.findings import answers, diagnose, examine
from engine.objective import LossObjective
from engine.rules import Array
from engine.step import init_state, step
from tests.engine.test_findings import POINTS, VALUES, found, hidden, network_of

LABELS = np.random.default_rng(5).integers(0, 3, 32)
SOFT = network_of((np.array([[0.5, -0.4, 0.2], [0.1, 0.3, -0.6]]), np.zeros(3), activations.Softmax()))
LINE = network_of((np.array([[0.5], [0.3]]), np.zeros(1), activations.Identity()))
SIGMOID = network_of((np.array([[0.5], [0.3]]), np.zeros(1), activations.Sigmoid()))


def test_equal_inputs_with_two_labels() -> None:
    x, labels = np.vstack([POINTS, POINTS[:4]]), np.append(LABELS, (LABELS[:4] + 1) % 3)
    finding = found(SOFT, x, labels, losses.CrossEntropy())["contradictory_targets"]
    assert finding.severity == "info" and finding.layer is None
    assert finding.evidence["groups"] == [[0, 32], [1, 33], [2, 34], [3, 35]] and finding.evidence["group_count"] == 4
    assert finding.evidence["count"] == 8 and finding.evidence["of"] == 36
    assert "8 of 36 examples" in finding.message and "such as 0 and 32" in finding.message
    # Eight examples of 36 are even odds at best, and the others can be right.
    assert finding.evidence["lowest_loss"] == pytest.approx(8 * math.log(2) / 36)
    entropy = -sum(p * math.log(p) for p in np.bincount(labels) / 36)
    assert finding.evidence["out_of_reach"] == pytest.approx(8 * math.log(2) / 36 / entropy)
    assert "contradictory_targets" not in found(SOFT, x, np.append(LABELS, LABELS[:4]), losses.CrossEntropy())
    every = found(SOFT, np.vstack([POINTS] * 2), np.append(LABELS, (LABELS + 1) % 3), losses.CrossEntropy())
    assert every["contradictory_targets"].severity == "warning"
    assert len(every["contradictory_targets"].evidence["groups"]) == 20
    assert every["contradictory_targets"].evidence["groups"][-1] == [19, 51]


def test_the_pair_that_is_named_differs() -> None:
    x, values = np.vstack([POINTS, POINTS[[5, 5]]]), np.append(VALUES, [VALUES[5], VALUES[5] + 1])[:, np.newaxis]
    finding = found(LINE, x, values)["contradictory_targets"]
    assert finding.evidence["groups"] == [[5, 32, 33]] and "such as 5 and 33" in finding.message
    # The pure error of three measurements, over all 34 examples.
    assert finding.evidence["lowest_loss"] == pytest.approx(np.var([0, 0, 1]) * 3 / 34)


def test_one_measurement_twice_is_no_contradiction() -> None:
    x = np.vstack([POINTS, POINTS])
    assert "contradictory_targets" not in found(LINE, x, np.vstack([VALUES, VALUES + 0.005 * VALUES.std()]))
    assert "contradictory_targets" in found(LINE, x, np.vstack([VALUES, VALUES + 0.05 * VALUES.std()]))
    # Inputs that are nearly equal tell the examples apart, and -0 is 0.
    zeros, twos = np.zeros((8, 2)), np.repeat([[1.0], [-1.0]], 4, axis=0)
    zeros[4:] = -0.0
    assert found(LINE, zeros, twos)["contradictory_targets"].evidence["out_of_reach"] == pytest.approx(1)
    zeros[4:, 1] = 5e-324
    assert "contradictory_targets" not in found(LINE, zeros, twos)


def test_contradictions_of_weight_0_are_not_there_and_examples_keep_their_numbers() -> None:
    x, labels = np.vstack([POINTS, POINTS[:4]]), np.append(LABELS, (LABELS[:4] + 1) % 3)
    weights = np.ones(36)
    weights[[0, 33, 34]] = 0
    case = examine(SOFT, x, LossObjective(losses.CrossEntropy(), labels, weights))
    evidence = {finding.code: finding for finding in diagnose(case)}["contradictory_targets"].evidence
    assert evidence["groups"] == [[3, 35]] and evidence["of"] == 33


@pytest.mark.parametrize(
    ("last", "loss"),
    [
        (activations.Softmax(), losses.CrossEntropy()),
        (activations.Softmin(), losses.CrossEntropy(label_smoothing=0.2, class_weights=(1.0, 5.0, 0.5))),
        (activations.Identity(), losses.CrossEntropy(from_logits=True, reduction="sum")),
        (activations.LogSoftmax(), losses.NegativeLogLikelihood()),
        (activations.Sigmoid(), losses.BinaryCrossEntropy(label_smoothing=0.1)),
        (activations.Identity(), losses.BinaryCrossEntropy(from_logits=True, class_weights=(1.0, 2.0, 3.0))),
        (activations.Identity(), losses.Mse(reduction="batch_mean")),
        (activations.Identity(), losses.Mae()),
    ],
    ids=str,
)
def test_the_lowest_loss_is_that_of_the_groups_best_answers(last: Any, loss: Any) -> None:
    """Weights count, and each group's best is what the best constant answer to it alone is."""
    random = np.random.default_rng(11)
    which = random.permutation(np.repeat(np.arange(3), [7, 9, 16]))
    x, t, weights = POINTS[which], np.eye(3)[LABELS], random.uniform(0.5, 2, 32)
    network = network_of((random.normal(size=(2, 3)), np.zeros(3), last))
    case = examine(network, x, LossObjective(loss, t, weights))
    evidence = {finding.code: finding for finding in diagnose(case)}["contradictory_targets"].evidence
    y = np.empty((32, 3))
    for group in range(3):
        rows = which == group
        constant = answers.constant_answer(examine(network, x[rows], LossObjective(loss, t[rows], weights[rows])))
        assert constant is not None
        y[rows] = constant.answer
    assert evidence["lowest_loss"] == pytest.approx(case.reduced(loss.values(y, t)), rel=1e-12)
    assert 0 < evidence["out_of_reach"] <= 1 and evidence["lowest_loss"] > evidence["ideal_loss"]


def test_where_no_best_answer_is_known_none_is_stated() -> None:
    x, t = np.vstack([POINTS, POINTS]), np.repeat([[1.0], [-1.0]], 32, axis=0)
    finding = found(LINE, x, t, losses.Hinge())["contradictory_targets"]
    assert finding.severity == "info" and "lowest_loss" not in finding.evidence and "stays above" not in finding.message


@pytest.mark.parametrize("load", [load_iris, load_wine, load_breast_cancer, load_diabetes])
def test_real_data_is_free_of_both(load: Any) -> None:
    """Of iris two examples have equal inputs, and the same label."""
    data = load()
    x = (data.data - data.data.mean(axis=0)) / data.data.std(axis=0)
    targets: Array = data.target
    loss: Any = losses.CrossEntropy()
    if load is load_diabetes:
        targets, loss = ((targets - targets.mean()) / targets.std())[:, np.newaxis], losses.Mse()
    last = activations.Identity() if load is load_diabetes else activations.Softmax()
    outputs = 1 if load is load_diabetes else 3
    network = network_of((np.random.default_rng(3).normal(size=(x.shape[1], outputs)) / 9, None, last))
    assert not {"contradictory_targets", "constant_targets"} & set(found(network, x, targets, loss))
    if load is load_iris:
        targets = np.where(np.arange(150) == 142, 0, targets)
        assert found(network, x, targets, loss)["contradictory_targets"].evidence["groups"] == [[101, 142]]


def test_targets_of_one_class() -> None:
    finding = found(SOFT, POINTS, np.full(32, 2), losses.CrossEntropy())["constant_targets"]
    assert finding.severity == "warning" and "All 32 examples are of class 2" in finding.message
    assert finding.evidence == {"examples": 32, "target": [0, 0, 1], "class": 2}
    almost = np.full(32, 2)
    almost[7] = 0
    assert "constant_targets" not in found(SOFT, POINTS, almost, losses.CrossEntropy())
    weights = (np.arange(32) != 7).astype(float)
    case = examine(SOFT, POINTS, LossObjective(losses.CrossEntropy(), almost, weights))
    assert "constant_targets" in {finding.code for finding in diagnose(case)}
    # Seven examples are of one class by chance.
    assert "constant_targets" not in found(SOFT, POINTS[:7], np.full(7, 2), losses.CrossEntropy())
    both = found(SIGMOID, POINTS, np.ones((32, 1)), losses.BinaryCrossEntropy())["constant_targets"]
    assert "the same targets, 1:" in both.message and both.evidence == {"examples": 32, "target": [1]}
    assert "the same targets, 3.5:" in found(LINE, POINTS, np.full((32, 1), 3.5))["constant_targets"].message


def test_targets_that_softmax_adds_up_otherwise() -> None:
    several = np.eye(3)[LABELS]
    several[[3, 8]] = [[1, 1, 0], [1, 1, 1]]
    finding = found(SOFT, POINTS, several, losses.BinaryCrossEntropy())["targets_out_of_range"]
    assert finding.severity == "warning" and "use binary_cross_entropy" in finding.remedy
    assert finding.evidence == {"count": 2, "of": 32, "worst": {"index": [8], "sum": 3}}
    assert found(SOFT, POINTS, several)["targets_out_of_range"].severity == "warning"
    assert found(SOFT, POINTS, several, losses.CrossEntropy())["targets_out_of_range"].severity == "info"
    logits = network_of((SOFT.layers[0].weights, None, activations.Identity()))
    of_logits = losses.CrossEntropy(from_logits=True)
    assert "softmax of this loss" in found(logits, POINTS, several, of_logits)["targets_out_of_range"].message
    own = losses.BinaryCrossEntropy(from_logits=True)
    assert "targets_out_of_range" not in found(logits, POINTS, several, own)
    sigmoid = network_of((SOFT.layers[0].weights, None, activations.Sigmoid()))
    assert "targets_out_of_range" not in found(sigmoid, POINTS, several, losses.BinaryCrossEntropy())
    rounded = np.full((32, 3), 0.3333)
    for t, loss in [(np.eye(3)[LABELS], losses.Mse()), (rounded, losses.BinaryCrossEntropy())]:
        assert "targets_out_of_range" not in found(SOFT, POINTS, t, loss)


def test_a_single_output_is_no_distribution_of_classes() -> None:
    targets = (VALUES > 0).astype(float)
    finding = found(SIGMOID, POINTS, targets, losses.CrossEntropy())["unnormalized_outputs"]
    assert "a single output" in finding.message and "binary_cross_entropy" in finding.remedy
    first = hidden(activations.Tanh()).layers[0]
    soft = network_of((first.weights, first.bias, first.activation), (np.ones((16, 1)), [0.3], activations.Softmax()))
    finding = found(soft, POINTS, targets, losses.BinaryCrossEntropy())["collapsed_outputs"]
    assert finding.layer == 1 and "softmax of a single unit" in finding.message
    logit = network_of((first.weights, first.bias, first.activation), (np.ones((16, 1)), [0.3], activations.Identity()))
    result = found(logit, POINTS, targets, losses.CrossEntropy(from_logits=True))
    assert "softmax of a single unit" in result["collapsed_outputs"].message
    assert "chance_level" not in result  # nothing is lost where the loss is 0 whatever the answer


def varied(a: float, d: float) -> Array:
    """Targets that a linear layer meets, of mean `a` and about this standard deviation."""
    linear = POINTS @ [[0.6], [-0.8]]
    return np.asarray(a + d * (linear - linear.mean()) / linear.std())


@pytest.mark.parametrize(
    ("targets", "told"),
    [(varied(150, 80), True), (varied(0, 11), True), (varied(9, 3), False), (varied(0, 0.011), False),
     (varied(0, 0.001), True), (varied(0.005, 0.001), True), (np.hstack([varied(0, 1), varied(0, 1e4)]), True)],
)  # fmt: skip
@pytest.mark.parametrize("loss", [losses.Mse(), losses.Mae(), losses.Huber()])
def test_targets_far_from_unit_scale(targets: Array, told: bool, loss: Any) -> None:
    width = targets.shape[1]
    network = network_of((np.full((2, width), 0.3), [1.0] * width, activations.Identity()))
    result = found(network, POINTS, targets, loss)
    assert ("target_scale" in result) == told
    if told:
        evidence = result["target_scale"].evidence
        assert result["target_scale"].severity == "warning"
        assert evidence["outputs"] == [j for j in range(width) if np.abs(targets[:, j]).max() > 10]
        assert evidence["mean"] == pytest.approx(targets.mean(axis=0), abs=1e-9)
        assert evidence["standard_deviation"] == pytest.approx(targets.std(axis=0))
        scaled = (targets - targets.mean(axis=0)) / targets.std(axis=0)
        assert "target_scale" not in found(network, POINTS, scaled, loss)


def test_targets_of_any_size_are_fine_once_they_are_learned() -> None:
    t = varied(150, 80)
    weights, *_ = np.linalg.lstsq(np.hstack([POINTS, np.ones((32, 1))]), 0.9 * t + 0.1 * 150, rcond=None)
    assert "target_scale" not in found(network_of((weights[:2], weights[2], activations.Identity())), POINTS, t)
    ends = network_of((np.full((2, 1), 0.3), [0.0], activations.Sigmoid()))
    assert "targets_out_of_range" in found(ends, POINTS, t) and "target_scale" not in found(ends, POINTS, t)
    assert "target_scale" not in found(SIGMOID, POINTS, np.full((32, 1), 1e-9), losses.BinaryCrossEntropy())


@pytest.mark.parametrize("optimizer", [optimizers.Adam(), optimizers.Sgd(learning_rate=0.05)])
def test_the_remedy_for_targets_helps(optimizer: Any) -> None:
    """What is left of the variance after 300 steps, by the targets as they are and by those of unit scale."""
    t = 1000 + 300 * np.tanh(POINTS[:, :1] * POINTS[:, 1:])
    left = []
    for scaled in (t, (t - t.mean()) / t.std()):
        network = hidden(activations.Relu())
        objective, state = LossObjective(losses.Mse(), scaled), init_state(optimizer, network)
        try:
            for _ in range(300):
                taken = step(network, POINTS, objective, optimizer, state)
                network, state = taken.network, taken.state
            left.append(float(taken.before.loss) / scaled.var())
        except NonFinite:
            left.append(np.inf)
    assert left[0] > 1 > 0.5 > left[1]
