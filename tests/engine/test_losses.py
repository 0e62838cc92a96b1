"""Every loss against PyTorch: values, gradients, reductions, weights; and its errors, with what they name.

Central differences, documentation and the completeness of the union are in tests/test_rules.py.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest

from engine.activations import Identity
from engine.errors import EngineError, InvalidTarget, InvalidWeights, NonFinite, NotProbabilities, ShapeMismatch
from engine.layers import Dense
from engine.losses import CosineSimilarity, Huber, Loss, Mse, MultiMargin, NegativeLogLikelihood, Poisson, SmoothL1
from engine.network import Network
from engine.objective import LossObjective, combination
from engine.probability_losses import BinaryCrossEntropy, CrossEntropy, Focal, KlDivergence
from engine.reduction import example_losses, prepare_targets, reduce, row_scales
from engine.rules import Array, column
from engine.step import differentiate

LOSSES = {rule.__dataclass_fields__["kind"].default: rule for rule in get_args(Loss)}
assert LOSSES, "an empty union would make every test below pass"
WEIGHTED = [kind for kind, rule in LOSSES.items() if "class_weights" in rule.__dataclass_fields__]
REDUCTIONS = ("mean", "batch_mean", "sum")
BATCH, OUTPUTS = 6, 4
WEIGHTS = (0.5, 1.0, 2.5, 0.0)

RANDOM = np.random.default_rng(7)
PROBABILITIES = RANDOM.dirichlet([2.0] * OUTPUTS, BATCH)
LABELS = np.array([0, 2, 1, 3, 2, 0])
ONE_HOT = np.eye(OUTPUTS)[LABELS]
OUTPUT = {
    "real": RANDOM.normal(size=(BATCH, OUTPUTS)) * 2,
    "probabilities": PROBABILITIES,
    "unit": RANDOM.uniform(0.02, 0.98, (BATCH, OUTPUTS)),
    "logs": np.log(PROBABILITIES),
    "rates": RANDOM.uniform(0.1, 4, (BATCH, OUTPUTS)),
}
TARGET = {
    "labels": LABELS,
    "one_hot": ONE_HOT,
    "soft": RANDOM.dirichlet([2.0] * OUTPUTS, BATCH),
    "unit": RANDOM.uniform(0, 1, (BATCH, OUTPUTS)),
    "logs": np.log(RANDOM.dirichlet([2.0] * OUTPUTS, BATCH)),
    "real": RANDOM.normal(size=(BATCH, OUTPUTS)),
    "signs": 2 * ONE_HOT - 1,
    "zeros_and_ones": ONE_HOT,
    "counts": RANDOM.integers(0, 6, (BATCH, OUTPUTS)).astype(float),
}


@pytest.fixture(scope="module")
def torch() -> Any:
    return pytest.importorskip("torch")


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Any:
    """Callers of the engine silence NumPy's floating-point warnings."""
    with np.errstate(all="ignore"):
        yield


def native(name: str, **parameters: Any) -> Callable[..., Any]:
    """A loss of torch.nn.functional."""

    def loss(torch: Any, y: Any, t: Any, reduction: str) -> Any:
        given = {k: torch.tensor(v, dtype=y.dtype) if k == "weight" else v for k, v in parameters.items()}
        return getattr(torch.nn.functional, name)(y, t, reduction=reduction, **given)

    return loss


def written(values: Callable[..., Any]) -> Callable[..., Any]:
    """A loss that torch has not, written out before its reduction; it always gets a row for each example."""

    def loss(torch: Any, y: Any, t: Any, reduction: str) -> Any:
        rows = t if t.ndim == 2 else torch.nn.functional.one_hot(t, y.shape[1]).to(y.dtype)
        return getattr(values(torch, y, rows), reduction)()

    return loss


def probabilities(torch: Any, y: Any, t: Any) -> Any:
    return -(t * y.log()).sum(1)


def focal(gamma: float, alpha: float = 0.25, smoothing: float = 0.0, from_logits: bool = False) -> Any:
    def values(torch: Any, y: Any, t: Any) -> Any:
        log_p = torch.log_softmax(y, 1) if from_logits else y.log()
        smoothed = t * (1 - smoothing) + smoothing / y.shape[1]
        return (-alpha * (1 - log_p.exp()) ** gamma * smoothed * log_p).sum(1)

    return written(values)


def sign(t: Any) -> Any:
    return 2.0 * (t == 1) - 1


def cosine(torch: Any, y: Any, t: Any) -> Any:
    return -(y / y.norm(dim=1, keepdim=True) * (t / t.norm(dim=1, keepdim=True))).sum(1)


def categorical_hinge(torch: Any, y: Any, t: Any) -> Any:
    return torch.relu(1 + ((1 - t) * y).max(1).values - (t * y).sum(1))


W: Any = {"weight": WEIGHTS}
CASES: list[tuple[Any, str, str, Any]] = [
    *((CrossEntropy(), "probabilities", t, written(probabilities)) for t in ("labels", "one_hot", "soft")),
    *(
        (CrossEntropy(from_logits=True, **ours), "real", t, native("cross_entropy", **theirs))
        for t in ("labels", "one_hot", "soft")
        for ours, theirs in [
            ({}, {}),
            ({"label_smoothing": 0.2}, {"label_smoothing": 0.2}),
            ({"label_smoothing": 1.0}, {"label_smoothing": 1.0}),
            ({"class_weights": WEIGHTS}, W),
            ({"class_weights": WEIGHTS, "label_smoothing": 0.2}, {"label_smoothing": 0.2, **W}),
        ]
    ),
    (BinaryCrossEntropy(), "unit", "unit", native("binary_cross_entropy")),
    (BinaryCrossEntropy(class_weights=WEIGHTS), "unit", "unit", native("binary_cross_entropy", **W)),
    (BinaryCrossEntropy(from_logits=True), "real", "unit", native("binary_cross_entropy_with_logits")),
    (BinaryCrossEntropy(from_logits=True, class_weights=WEIGHTS), "real", "one_hot",
     native("binary_cross_entropy_with_logits", **W)),
    (BinaryCrossEntropy(label_smoothing=0.2), "unit", "one_hot", lambda torch, y, t, r:
     torch.nn.functional.binary_cross_entropy(y, 0.8 * t + 0.1, reduction=r)),
    *((NegativeLogLikelihood(), "logs", t, native("nll_loss")) for t in ("labels", "one_hot")),
    (NegativeLogLikelihood(), "logs", "soft", written(lambda torch, y, t: -(t * y).sum(1))),
    (NegativeLogLikelihood(class_weights=WEIGHTS), "logs", "labels", native("nll_loss", **W)),
    (LOSSES["mse"](), "real", "real", native("mse_loss")),
    (LOSSES["mae"](), "real", "real", native("l1_loss")),
    (LOSSES["half_squared_error"](), "real", "real", written(lambda torch, y, t: ((y - t) ** 2).sum(1) / 2)),
    *((Huber(delta=d), "real", "real", native("huber_loss", delta=d)) for d in (1.0, 0.3, 2.0)),
    *((SmoothL1(beta=b), "real", "real", native("smooth_l1_loss", beta=b)) for b in (1.0, 0.0, 2.0)),
    (LOSSES["log_cosh"](), "real", "real", written(lambda torch, y, t: (y - t).cosh().log())),
    *((KlDivergence(), "logs", t, native("kl_div")) for t in ("soft", "one_hot")),
    (KlDivergence(log_target=True), "logs", "logs", native("kl_div", log_target=True)),
    *(
        (KlDivergence(from_logits=True, log_target=logs), "real", t, lambda torch, y, t, r, logs=logs:
         torch.nn.functional.kl_div(torch.log_softmax(y, 1), t, reduction=r, log_target=logs))
        for t, logs in (("soft", False), ("logs", True))
    ),
    *((Poisson(full=full), "real", "counts", native("poisson_nll_loss", full=full)) for full in (False, True)),
    (Poisson(log_input=False, eps=0.1), "rates", "counts", native("poisson_nll_loss", log_input=False, eps=0.1)),
    *((LOSSES["hinge"](), "real", t, written(lambda torch, y, t: torch.relu(1 - sign(t) * y)))
      for t in ("signs", "zeros_and_ones")),
    *((LOSSES["squared_hinge"](), "real", t, written(lambda torch, y, t: torch.relu(1 - sign(t) * y) ** 2))
      for t in ("signs", "zeros_and_ones")),
    *((LOSSES["categorical_hinge"](), "real", t, written(categorical_hinge)) for t in ("labels", "one_hot", "soft")),
    *((MultiMargin(p=p, margin=m), "real", t, native("multi_margin_loss", p=p, margin=m))
      for t in ("labels", "one_hot") for p, m in ((1, 1.0), (2, 0.5))),
    *((MultiMargin(p=p, class_weights=WEIGHTS), "real", "labels", native("multi_margin_loss", p=p, **W))
      for p in (1, 2)),
    (LOSSES["cosine_similarity"](), "real", "real", written(cosine)),
    *((Focal(gamma=g), "probabilities", t, focal(g)) for t in ("labels", "soft") for g in (2.0, 0.0, 0.5, 1.0)),
    *((Focal(gamma=g, from_logits=True), "real", t, focal(g, from_logits=True))
      for t in ("labels", "soft") for g in (2.0, 0.0, 0.5, 1.0)),
    (Focal(alpha=0.7, label_smoothing=0.2, from_logits=True), "real", "one_hot", focal(2.0, 0.7, 0.2, True)),
]  # fmt: skip


def reduced(loss: Any, y: Array, targets: Array, weights: Array | None = None) -> tuple[Any, Array]:
    """The reduced loss and its derivative by y, as the engine puts them together."""
    t = prepare_targets(loss, targets, y.shape, y.dtype)
    loss.check(y, t)
    values = loss.values(y, t)
    scales = row_scales(loss, t, weights, values.shape, values.dtype)
    return reduce(values, scales), loss.gradient(y, t) * column(scales)


def from_torch(torch: Any, reference: Any, loss: Any, y: Array, targets: Array) -> tuple[Any, Array]:
    """The same of torch; one-hot rows become labels where that is what torch's loss takes them for."""
    if loss.takes_labels and targets.ndim == 2 and np.isin(targets, (0, 1)).all():
        targets = targets.argmax(axis=1)
    outputs = torch.tensor(y, requires_grad=True)
    value = reference(torch, outputs, torch.tensor(targets), "sum" if loss.reduction == "sum" else "mean")
    if loss.reduction == "batch_mean" and loss.values(y, np.ones_like(y)).ndim == 2:
        value = value * y.shape[1]
    value.backward()
    return value.item(), outputs.grad.numpy()


def test_every_loss_has_a_reference() -> None:
    assert {type(loss) for loss, *_ in CASES} == set(LOSSES.values())


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides the total loss:UserWarning")  # torch's advice on kl_div
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(
    ("loss", "outputs", "targets", "reference"), CASES, ids=[f"{c[0].kind}-{i}" for i, c in enumerate(CASES)]
)
def test_values_and_gradients_are_torchs(
    torch: Any, loss: Any, outputs: str, targets: str, reference: Any, reduction: str
) -> None:
    loss = replace(loss, reduction=reduction)
    value, gradient = reduced(loss, OUTPUT[outputs], TARGET[targets])
    expected, expected_gradient = from_torch(torch, reference, loss, OUTPUT[outputs], TARGET[targets])
    assert value == pytest.approx(expected, rel=1e-12, abs=0)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-12, atol=1e-14)


EXTREME = [
    (CrossEntropy(from_logits=True), native("cross_entropy")),
    (CrossEntropy(from_logits=True, label_smoothing=0.1), native("cross_entropy", label_smoothing=0.1)),
    (BinaryCrossEntropy(from_logits=True), native("binary_cross_entropy_with_logits")),
    (KlDivergence(from_logits=True), lambda torch, y, t, r:
     torch.nn.functional.kl_div(torch.log_softmax(y, 1), t, reduction=r)),
    (Focal(from_logits=True), focal(2.0, from_logits=True)),
    (MultiMargin(p=2), native("multi_margin_loss", p=2)),
    (Huber(), native("huber_loss")),
    (LOSSES["cosine_similarity"](), written(cosine)),
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("loss", "reference"), EXTREME, ids=lambda value: "" if callable(value) else str(value))
def test_logits_of_a_thousand_are_torchs(torch: Any, loss: Any, reference: Any, dtype: str) -> None:
    y = np.array([[1000, -1000, 0], [-1000, 1000, 1000], [1000, 1000, 1000], [-1000, -1000, 3]], dtype)
    t = np.array([[0, 1, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1]], dtype)
    loss = replace(loss, reduction="sum")
    value, gradient = reduced(loss, y, t)
    expected, expected_gradient = from_torch(torch, reference, loss, y, t)
    assert value.dtype == gradient.dtype == dtype and np.isfinite(value) and np.isfinite(gradient).all()
    assert value == pytest.approx(expected, rel=1e-6 if dtype == "float32" else 1e-12, abs=0)
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-6 if dtype == "float32" else 1e-14)


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0, 2.0])
@pytest.mark.parametrize("logits", [True, False])
def test_focal_is_finite_at_certainty(gamma: float, logits: bool) -> None:
    y = np.array([[1000.0, -1000], [-1000, 1000]]) if logits else np.array([[1.0, 0], [1e-300, 1]])
    loss = Focal(gamma=gamma, alpha=1.0, from_logits=logits)
    t = np.array([[1.0, 0], [1, 0]])
    values, gradient = loss.values(y, t), loss.gradient(y, t)
    assert values[0] == 0 and values[1] > 600 and np.isfinite(values).all() and np.isfinite(gradient).all()
    if gamma == 0:
        entropy = CrossEntropy(from_logits=logits)
        np.testing.assert_allclose(values, entropy.values(y, t), rtol=1e-14)
        np.testing.assert_allclose(gradient, entropy.gradient(y, t), rtol=1e-14)


@pytest.mark.parametrize("kind", LOSSES)
def test_a_loss_of_0_has_no_sign(kind: str) -> None:
    ends = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    y, t = np.repeat(ends, 4, axis=0), np.tile(ends, (4, 1))
    rows = t.sum(axis=1) == 1 if kind == "multi_margin" else slice(None)
    loss = LOSSES[kind]()
    loss.check(y[rows], t[rows])
    values = loss.values(y[rows], t[rows])
    assert (values == 0).any() or kind == "poisson"
    assert not np.signbit(values[values == 0]).any()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("rule", [CrossEntropy, Focal])
def test_a_probability_of_zero(rule: Any, dtype: str) -> None:
    y, t = np.array([[0, 1], [1, 0]], dtype), np.array([[1, 0], [1, 0]], dtype)
    values, gradient = rule().values(y, t), rule().gradient(y, t)
    assert values.tolist() == [np.inf, 0] and np.isfinite(gradient).all() and gradient[0, 0] < -1e29
    assert gradient.dtype == dtype


def test_binary_cross_entropy_at_both_ends_is_torchs(torch: Any) -> None:
    y, t = np.array([[0.0, 0.0, 1.0, 1.0]]), np.array([[0.0, 1.0, 0.0, 1.0]])
    loss = BinaryCrossEntropy(reduction="sum")
    value, gradient = reduced(loss, y, t)
    expected, expected_gradient = from_torch(torch, native("binary_cross_entropy"), loss, y, t)
    assert value == expected == 200
    # torch's 1e-12 is a float32 even in float64.
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-8)


def sample(kind: str) -> tuple[Any, Array, Array]:
    """The first case of a kind."""
    return next((loss, OUTPUT[y], TARGET[t]) for loss, y, t, _ in CASES if loss.kind == kind)


@pytest.mark.parametrize("kind", LOSSES)
def test_reductions_agree(kind: str) -> None:
    loss, y, targets = sample(kind)
    (mean, by_mean), (batch_mean, by_batch), (total, by_total) = (
        reduced(replace(loss, reduction=reduction), y, targets) for reduction in REDUCTIONS
    )
    t = prepare_targets(loss, targets, y.shape, y.dtype)
    outputs = OUTPUTS if loss.values(y, t).ndim == 2 else 1
    assert (mean * outputs, batch_mean * BATCH) == pytest.approx((batch_mean, total), rel=1e-14)
    np.testing.assert_allclose(by_mean * outputs, by_batch, rtol=1e-14)
    np.testing.assert_allclose(by_batch * BATCH, by_total, rtol=1e-14)
    for reduction, expected in zip(REDUCTIONS, (mean, batch_mean, total / BATCH), strict=True):
        own = example_losses(replace(loss, reduction=reduction), loss.unweighted().values(y, t))
        assert own.shape == (BATCH,) and own.mean() == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(
    ("kind", "given"), [*((kind, {}) for kind in LOSSES), *((kind, {"class_weights": WEIGHTS}) for kind in WEIGHTED)]
)
def test_an_integer_weight_repeats_its_example(kind: str, given: dict[str, Any], reduction: str) -> None:
    loss, y, targets = sample(kind)
    loss = replace(loss, reduction=reduction, **given)
    counts = np.array([2, 1, 3, 1, 0, 1])
    value, gradient = reduced(loss, y, targets, counts.astype(float))
    rows = np.repeat(np.arange(BATCH), counts)
    repeated, by_repeated = reduced(loss, y[rows], targets[rows])
    assert value == pytest.approx(repeated, rel=1e-13, abs=0)
    together = np.zeros_like(y)
    np.add.at(together, rows, by_repeated)
    np.testing.assert_allclose(gradient, together, rtol=1e-13, atol=1e-16)


@pytest.mark.parametrize("rule", [rule for rule in LOSSES.values() if rule.takes_labels])
@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, np.float64])
def test_labels_are_one_hot_rows(rule: Any, dtype: Any) -> None:
    prepared = prepare_targets(rule(), LABELS.astype(dtype), (BATCH, OUTPUTS), np.dtype("float32"))
    assert prepared.dtype == np.float32 and (prepared == ONE_HOT).all()


@pytest.mark.parametrize("kind", WEIGHTED)
def test_rows_of_integers_are_targets_of_the_outputs_dtype(kind: str) -> None:
    loss, y, _ = sample(kind)
    loss = replace(loss, class_weights=WEIGHTS)
    given, expected = reduced(loss, y, ONE_HOT.astype(int)), reduced(loss, y, ONE_HOT)
    assert given[0] == expected[0] and (given[1] == expected[1]).all()


@pytest.mark.parametrize("kind", LOSSES)
def test_nothing_given_is_changed(kind: str) -> None:
    loss, y, targets = sample(kind)
    kept = y.copy(), targets.copy()
    reduced(loss, y, targets, np.ones(BATCH))
    assert (y == kept[0]).all() and (targets == kept[1]).all()


def changed(x: Array, index: Any, value: float) -> Array:
    x = x.copy()
    x[index] = value
    return x


PROBABILITY, SOFT, REAL, SIGNS = PROBABILITIES, TARGET["soft"], OUTPUT["real"], TARGET["signs"]
ERRORS: list[Any] = [
    *((LOSSES[kind](), OUTPUT["unit"], changed(SOFT, (1, 2), bad), InvalidTarget, ("targets", 1, 2),
       "a number from 0 to 1", bad)
      for kind in ("cross_entropy", "binary_cross_entropy", "negative_log_likelihood", "focal", "categorical_hinge")
      for bad in (1.5, -0.1)),
    *((LOSSES[kind](), changed(PROBABILITY, (3, 1), bad), SOFT, NotProbabilities, ("outputs", 3, 1),
       "a number from 0 to 1", bad)
      for kind in ("cross_entropy", "binary_cross_entropy", "focal") for bad in (1.1, -0.1)),
    (KlDivergence(), OUTPUT["logs"], changed(SOFT, (0, 3), -0.1), InvalidTarget, ("targets", 0, 3),
     "a number at least 0", -0.1),
    *((LOSSES[kind](), REAL, changed(SIGNS, (2, 1), 0.5), InvalidTarget, ("targets", 2, 1), "-1, 0 or 1", 0.5)
      for kind in ("hinge", "squared_hinge")),
    (MultiMargin(), REAL, changed(ONE_HOT, (1, 0), 1), InvalidTarget, ("targets", 1), "a one-hot row", None),
    *((rule(class_weights=(1.0, 2.0)), PROBABILITY, ONE_HOT, ShapeMismatch, ("loss", "class_weights"), [4], [2])
      for rule in (LOSSES[kind] for kind in WEIGHTED)),
    *((CrossEntropy(), PROBABILITY, changed(LABELS, 3, bad), InvalidTarget, ("targets", 3), "an integer from 0 to 3",
       bad) for bad in (4, -1)),
    (CrossEntropy(), PROBABILITY, changed(LABELS.astype(float), 3, 1.5), InvalidTarget, ("targets", 3),
     "an integer from 0 to 3", 1.5),
    (CrossEntropy(), PROBABILITY, LABELS[:5], ShapeMismatch, ("targets",), [6], [5]),
    (LOSSES["mse"](), REAL, REAL[:, :3], ShapeMismatch, ("targets",), [6, 4], [6, 3]),
    (BinaryCrossEntropy(), PROBABILITY, LABELS, ShapeMismatch, ("targets",), [6, 4], [6]),
    (BinaryCrossEntropy(), PROBABILITY[:, :1], LABELS, ShapeMismatch, ("targets",), [6, 1], [6]),
]  # fmt: skip


@pytest.mark.parametrize(("loss", "y", "targets", "error", "where", "expected", "received"), ERRORS)
def test_errors_name_the_place(
    loss: Any, y: Array, targets: Array, error: type[EngineError], where: Any, expected: Any, received: Any
) -> None:
    with pytest.raises(error) as caught:
        reduced(loss, y, targets)
    assert (caught.value.where, caught.value.expected, caught.value.received) == (where, expected, received)
    if error is NotProbabilities:
        assert "from_logits" in (caught.value.hint or "")
    if targets.ndim == 1 and not loss.takes_labels:
        assert ("[[0], [1]]" in (caught.value.hint or "")) == (y.shape[1] == 1)


def test_rounding_above_one_passes() -> None:
    CrossEntropy().check(np.array([[1 + 1e-7, 0.0]]), np.array([[1.0, 0.0]]))


@pytest.mark.parametrize(
    ("class_weights", "sample_weights", "where"),
    [
        (None, [0.0, 0.0], ("sample_weights",)),
        ((1.0, 0.0), [0.0, 0.0], ("sample_weights",)),
        ((1.0, 0.0), None, ("loss", "class_weights")),
        ((1.0, 0.0), [1.0, 2.0], ("loss", "class_weights")),
        (None, [1e308, 1e308], ("sample_weights",)),
    ],
)
def test_weights_without_a_mean(class_weights: Any, sample_weights: Any, where: Any) -> None:
    loss, y = CrossEntropy(class_weights=class_weights), np.full((2, 2), 0.5)
    weights = None if sample_weights is None else np.array(sample_weights)
    for reduction in ("mean", "batch_mean"):
        with pytest.raises(InvalidWeights) as caught:
            reduced(replace(loss, reduction=reduction), y, np.array([1, 1]), weights)
        assert caught.value.where == where
    reduced(replace(loss, reduction="sum"), y, np.array([1, 1]), weights)


@pytest.mark.parametrize(("dtype", "large"), [(np.float64, 1e155), (np.float64, 1e300), (np.float32, 1e20)])
def test_cosine_similarity_of_large_numbers(dtype: Any, large: float) -> None:
    loss, y, t = CosineSimilarity(), np.array([[large, large], [3, 4]], dtype), np.eye(2, dtype=dtype)
    with np.errstate(all="ignore"):
        values, gradients = loss.values(y, t), loss.gradient(y, t)
    assert values == pytest.approx([-(0.5**0.5), -0.8], rel=1e-6)
    share = 8**-0.5 / large
    assert gradients == pytest.approx(np.array([[-share, share], [0.096, -0.072]]), rel=1e-5, abs=0)


def test_a_loss_with_many_class_weights_is_not_kept() -> None:
    """Not even for the next request: a cache of such losses would be as large as many requests together."""
    few, many = (CrossEntropy(class_weights=(0.5,) * n) for n in (100, 101))
    for loss, kept in ((few, True), (many, False)):
        before = sys.getrefcount(loss)
        assert combination(loss, "softmax") == (replace(loss, from_logits=True), 1)
        assert (sys.getrefcount(loss) > before) is kept


@pytest.mark.parametrize(
    ("loss", "outputs", "hint"),
    [
        (Mse(), [[1e200]], "scale outputs and targets down"),
        (Poisson(log_input=False), [[-1.0]], "a loss of rates none below 0"),
        (CrossEntropy(), [[0.0, 1.0]], "a loss of probabilities no outputs of exactly 0 or 1"),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
def test_what_may_help_where_a_loss_is_not_finite(loss: Any, outputs: list[list[float]], hint: str) -> None:
    targets = np.eye(1, len(outputs[0]))
    network = Network((Dense(np.zeros((1, len(outputs[0]))), np.array(outputs[0]), Identity()),))
    with pytest.raises(NonFinite) as caught:
        differentiate(network, np.zeros((1, 1)), LossObjective(loss, targets))
    assert caught.value.hint is not None and hint in caught.value.hint
