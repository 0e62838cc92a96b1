"""The metrics against scikit-learn's."""

import json
from typing import Any, get_args

import numpy as np
import pytest

from engine import metrics
from engine.errors import InvalidTarget, InvalidWeights, NotProbabilities, ShapeMismatch
from engine.rules import Array, paragraphs

sk = pytest.importorskip("sklearn.metrics")

METRICS = get_args(metrics.Metric)
SEEDS = range(25)
SCORES = {
    metrics.Precision: sk.precision_score,
    metrics.Recall: sk.recall_score,
    metrics.F1: sk.f1_score,
}
REGRESSIONS = {
    metrics.MeanSquaredError: sk.mean_squared_error,
    metrics.RootMeanSquaredError: sk.root_mean_squared_error,
    metrics.MeanAbsoluteError: sk.mean_absolute_error,
    metrics.MeanAbsolutePercentageError: sk.mean_absolute_percentage_error,
    metrics.R2: sk.r2_score,
}


def near(value: Any) -> Any:
    return pytest.approx(value, rel=1e-12, abs=1e-14)


def draw(seed: int, outputs: int) -> tuple[Array, Array, Array, Array | None]:
    """Probabilities with many ties, labels of which some classes may be missing, their rows, and weights."""
    random = np.random.default_rng(seed)
    batch = int(random.integers(5, 40))
    if outputs == 1:
        probabilities = random.integers(0, 9, (batch, 1)) / 8
        labels = random.integers(0, 2, batch)
        targets = labels[:, np.newaxis].astype(float)
    else:
        counts = random.integers(0, 3, (batch, outputs)) + np.eye(outputs)[random.integers(0, outputs, batch)]
        probabilities = counts / counts.sum(axis=1, keepdims=True)
        labels = random.integers(0, outputs - seed % 2, batch)
        targets = np.eye(outputs)[labels]
    weights = None if seed % 3 == 0 else random.choice([0.0, 0.5, 1.0, 2.0, 3.7], batch)
    if weights is not None:
        weights[0] = 1.0
    return probabilities, labels, targets, weights


def predicted(probabilities: Array) -> Array:
    return (probabilities[:, 0] > 0.5) * 1 if probabilities.shape[1] == 1 else probabilities.argmax(axis=1)


@pytest.mark.parametrize("outputs", [1, 2, 3, 6])
@pytest.mark.parametrize("seed", SEEDS)
def test_classifications(seed: int, outputs: int) -> None:
    y, labels, t, w = draw(seed, outputs)
    p = predicted(y)
    assert metrics.Accuracy().value(y, t, w) == near(sk.accuracy_score(labels, p, sample_weight=w))
    names = list(range(max(outputs, 2)))
    matrix = metrics.ConfusionMatrix().value(y, t, w)
    assert matrix == sk.confusion_matrix(labels, p, labels=names, sample_weight=w).tolist()
    assert json.loads(json.dumps(matrix)) == matrix
    for rule, score in SCORES.items():
        default = {"labels": [1], "average": "macro"} if outputs == 1 else {"average": "macro"}
        expected = score(labels, p, sample_weight=w, zero_division=0, **default)
        assert rule().value(y, t, w) == near(expected)
        for average in ("micro", "macro", "weighted"):
            expected = score(labels, p, sample_weight=w, zero_division=0, average=average)
            assert rule(average=average).value(y, t, w) == near(expected)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_single_output_is_scikit_learns_binary_average(seed: int) -> None:
    y, labels, t, w = draw(seed, 1)
    for rule, score in SCORES.items():
        assert rule().value(y, t, w) == near(score(labels, predicted(y), sample_weight=w, zero_division=0))


def test_thresholds_and_targets_that_are_no_labels() -> None:
    z = np.array([[-1.0], [0.2], [0.4], [3.0]])
    t = np.array([[-1.0], [-1.0], [1.0], [1.0]])
    assert metrics.Accuracy().value(z, t) == 0.75 and metrics.Accuracy(threshold=0.3).value(z, t) == 1
    assert metrics.Recall(threshold=0.0).value(z, t) == 1 and metrics.Precision(threshold=0.0).value(z, t) == 2 / 3
    assert metrics.F1(threshold=5.0).value(z, t) == 0 and metrics.Precision(threshold=5.0).value(z, t) == 0
    assert metrics.ConfusionMatrix(threshold=0.0).value(z, t) == [[1, 1], [0, 2]]
    soft = np.array([[0.1, 0.6, 0.3], [0.5, 0.2, 0.3]])
    assert metrics.Accuracy().value(np.array([[1.0, 5.0, 2.0], [1.0, 2.0, 3.0]]), soft) == 0.5


@pytest.mark.parametrize("k", [1, 2, 3, 5])
@pytest.mark.parametrize("seed", SEEDS)
def test_top_k(seed: int, k: int) -> None:
    y, labels, t, w = draw(seed, 6)
    expected = sk.top_k_accuracy_score(labels, y, k=k, labels=range(6), sample_weight=w)
    assert metrics.TopKAccuracy(k=k).value(y, t, w) == near(expected)


def test_top_k_needs_k_outputs() -> None:
    y = np.eye(3)
    assert metrics.TopKAccuracy(k=3).value(y, y[::-1]) == 1
    for k, outputs in ((4, 3), (5, 3), (1, 1)):
        with pytest.raises(ShapeMismatch, match="outputs") as caught:
            metrics.TopKAccuracy(k=k).value(y[:, :outputs], y[:, :outputs])
        assert caught.value.where == ("metrics",)


@pytest.mark.parametrize("outputs", [1, 2, 3, 5])
@pytest.mark.parametrize("seed", SEEDS)
def test_roc_auc(seed: int, outputs: int) -> None:
    y, labels, t, w = draw(2 * seed, outputs)
    labels[: max(outputs, 2)] = np.arange(max(outputs, 2))
    t = labels[:, np.newaxis] * 1.0 if outputs == 1 else np.eye(outputs)[labels]
    if w is not None:
        w[: max(outputs, 2)] = 1.5
    if outputs <= 2:
        expected = sk.roc_auc_score(labels, y[:, -1], sample_weight=w)
    else:
        expected = sk.roc_auc_score(labels, y, multi_class="ovr", sample_weight=w)
    assert metrics.RocAuc().value(y, t, w) == near(expected)


def test_roc_auc_of_a_missing_class_is_undefined() -> None:
    y = np.array([[0.2, 0.8], [0.6, 0.4]])
    for label in (0, 1):
        with pytest.raises(InvalidTarget, match="undefined") as caught:
            metrics.RocAuc().value(y, np.eye(2)[[label, label]])
        assert caught.value.where == ("targets",)
    with pytest.raises(InvalidTarget, match="none of the examples are of class 2"):
        metrics.RocAuc().value(np.eye(3)[:2], np.eye(3)[:2])
    with pytest.raises(InvalidTarget):
        metrics.RocAuc().value(y, np.eye(2), np.array([1.0, 0.0]))
    assert metrics.RocAuc().value(np.full((4, 1), 0.3), np.array([[0.0], [1.0], [1.0], [1.0]])) == 0.5


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("outputs", [1, 2, 4])
@pytest.mark.parametrize("seed", SEEDS)
def test_log_loss(seed: int, outputs: int, dtype: str) -> None:
    y, labels, t, w = draw(seed, outputs)
    y, t = y.astype(dtype), t.astype(dtype)
    expected = sk.log_loss(labels, y[:, 0] if outputs == 1 else y, labels=range(max(outputs, 2)), sample_weight=w)
    exact = near(expected) if dtype == "float64" else pytest.approx(expected, rel=1e-5)
    assert metrics.LogLoss().value(y, t, w) == exact


def test_log_loss_takes_probabilities() -> None:
    t = np.eye(2)
    for y in ([[0.5, 0.5], [0.3, 0.8]], [[0.5, 0.5], [-0.2, 1.2]], [[0.5, 0.5], [3.0, 2.0]]):
        with pytest.raises(NotProbabilities) as caught:
            metrics.LogLoss().value(np.array(y), t)
        assert caught.value.where == ("outputs", 1)
    with pytest.raises(NotProbabilities):
        metrics.LogLoss().value(np.array([[1.2]]), np.array([[1.0]]))
    certain = np.array([[1.0, 0.0]])
    assert metrics.LogLoss().value(certain, certain) == near(np.finfo(float).eps)


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("rule", REGRESSIONS)
def test_regressions(rule: Any, seed: int, outputs: int) -> None:
    random = np.random.default_rng(seed)
    batch = int(random.integers(2, 30))
    t = random.normal(size=(batch, outputs)).round(1)
    y = t + random.normal(size=t.shape)
    if seed % 4 == 0:
        t[:, 0] = 2.0
        y[:, 0] = 2.0 if seed % 8 else 3.0
    w = random.uniform(0, 3, batch) if seed % 3 else None
    expected = REGRESSIONS[rule](t, y, sample_weight=w)
    assert rule().value(y, t, w) == near(expected)
    y32, t32 = y.astype(np.float32), t.astype(np.float32)
    exact = REGRESSIONS[rule](t32.astype(float), y32.astype(float), sample_weight=w)
    assert rule().value(y32, t32, w) == pytest.approx(exact, rel=1e-6)


def test_r2_of_equal_targets() -> None:
    """scikit-learn's -1e32 here is a rounding of the mean, no measure."""
    t = np.full((3, 1), 0.1)
    assert metrics.R2().value(t.copy(), t) == 1 and metrics.R2().value(t + 1, t) == 0
    with pytest.raises(InvalidTarget, match="two examples"):
        metrics.R2().value(t[:1], t[:1])


@pytest.mark.parametrize("rule", METRICS)
def test_weights_repeat_examples(rule: Any) -> None:
    random = np.random.default_rng(8)
    y, t = random.dirichlet([1.0] * 6, 12), np.eye(6)[np.arange(12) % 6]
    repeats = random.integers(1, 4, 12)
    metric = rule()
    kept = y.copy(), t.copy()
    weighted = np.array(metric.value(y, t, repeats.astype(float)))
    again = metric.value(y.repeat(repeats, axis=0), t.repeat(repeats, axis=0), None)
    np.testing.assert_allclose(weighted, np.array(again), rtol=1e-12)
    assert (y == kept[0]).all() and (t == kept[1]).all()
    assert type(metric.value(y, t, None)) in (float, list)
    json.dumps(metric.value(y.astype(np.float32), t.astype(np.float32), repeats.astype(np.float32)), allow_nan=False)


def test_weights_without_a_sum() -> None:
    for rule in (metrics.Accuracy, metrics.MeanSquaredError, metrics.LogLoss, metrics.R2):
        with pytest.raises(InvalidWeights):
            rule().value(np.eye(2), np.eye(2), np.zeros(2))
    for rule in SCORES:
        assert [rule(average=a).value(np.eye(2), np.eye(2), np.zeros(2)) for a in (None, "micro", "weighted")] == [
            0
        ] * 3


def test_every_metric_names_its_counterpart() -> None:
    assert all(paragraphs(rule)[-1].startswith("Source: sklearn.metrics.") for rule in METRICS)


@pytest.mark.parametrize("rows", [[[1.0, 1.0, 0.0]], [[0.0, 0.0, 0.0]], [[1.0, 1.0, -1.0]], [[2.3]], [[-0.5]]])
def test_metrics_of_classes_refuse_targets_that_tell_none(rows: list[list[float]]) -> None:
    targets = np.array([[1.0] + [0.0] * (len(rows[0]) - 1), *rows])
    for metric in (metrics.Accuracy(), metrics.F1(), metrics.ConfusionMatrix(), metrics.LogLoss(), metrics.RocAuc()):
        with pytest.raises(InvalidTarget) as caught:
            metric.value(np.full(targets.shape, 1 / targets.shape[1]), targets)
        assert caught.value.where == ("targets", 1)


@pytest.mark.parametrize("rows", [[[0.5, 0.5]], [[1.0, -1.0, -1.0]], [[0.3]], [[-1.0]], [[0.2, 0.4, 0.4]]])
def test_metrics_of_classes_take_probabilities_and_signs(rows: list[list[float]]) -> None:
    targets = np.array(rows)
    assert metrics.Accuracy().value(targets, targets) == 1
