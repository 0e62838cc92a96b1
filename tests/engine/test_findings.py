"""The findings: each is made where it should be, and none where all is well."""

import inspect
import math
from itertools import pairwise
from typing import Any, get_args

import numpy as np
import pytest
from sklearn.datasets import load_digits

from engine import activations, findings, losses, optimizers
from engine.findings import RULES, Finding, decay, diagnose, examine, outputs, signals, targets, units, updates
from engine.findings.case import spread
from engine.findings.ranges import SHAPES, shape_of
from engine.findings.statistics import statistics
from engine.initializers import GlorotUniform, HeNormal, generator
from engine.layers import Dense
from engine.network import Network
from engine.objective import LossObjective, VectorObjective
from engine.rules import Array
from engine.step import init_state, step
from schemas.rules import kind_of

ACTIVATIONS = get_args(activations.Activation)
RANDOM = np.random.default_rng(7)
POINTS = RANDOM.normal(size=(32, 2))
VALUES = POINTS[:, :1] * POINTS[:, 1:]


def network_of(*layers: tuple[Any, Any, Any]) -> Network:
    return Network(
        tuple(Dense(np.asarray(w, float), None if b is None else np.asarray(b, float), a) for w, b, a in layers)
    )


def found(
    network: Network, x: Array, targets: Array, loss: Any = None, optimizer: Any = None, **options: Any
) -> dict[str, Finding]:
    """The findings by their codes, the first of each."""
    objective = LossObjective(losses.Mse() if loss is None else loss, targets)
    state = None if optimizer is None else init_state(optimizer, network)
    case = examine(network, x, objective, optimizer, state, **options)
    result: dict[str, Finding] = {}
    for finding in diagnose(case):
        result.setdefault(finding.code, finding)
    return result


def warnings(result: dict[str, Finding]) -> list[Finding]:
    return [finding for finding in result.values() if finding.severity == "warning"]


def hidden(activation: Any, width: int = 16, scale: float = 1.0) -> Network:
    """Two inputs, one hidden layer, one output, weights by Glorot."""
    random = np.random.default_rng(3)
    first, second = random.normal(size=(2, width)) / math.sqrt(2), random.normal(size=(width, 1)) / math.sqrt(width)
    return network_of((scale * first, np.zeros(width), activation), (second, [0.0], activations.Identity()))


def test_no_rule_is_missing_from_the_union() -> None:
    classes = {
        c
        for module in (units, signals, outputs, targets, updates, decay)
        for _, c in inspect.getmembers(module, inspect.isclass)
        if c.__module__ == module.__name__ and hasattr(c, "code")
    }
    assert classes == set(RULES) == set(get_args(findings.Rule)) and len({rule.code for rule in RULES}) == len(RULES)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_every_rule_is_documented(rule: Any) -> None:
    assert rule.title and rule.remedy.endswith(".")
    assert inspect.cleandoc(rule.__doc__).split("\n\n")[-1].startswith("Source: ")


@pytest.mark.parametrize("rule", ACTIVATIONS, ids=kind_of)
def test_shapes_of_activations(rule: Any) -> None:
    """The bounds hold, and the values come close to them."""
    assert kind_of(rule) in SHAPES
    shape = shape_of(rule())
    z = np.concatenate([np.linspace(-8, 8, 4001), [-700, -60, 60, 700]])
    z = np.stack([z, np.zeros_like(z)], axis=1)
    a = rule().forward(z)
    assert a.min() >= shape.low and a.max() <= shape.high
    assert a.min() - shape.low < 2e-3 or (shape.low == -math.inf and a.min() < -2)
    assert shape.high - a.max() < 2e-3 or (shape.high == math.inf and a.max() > 60)
    if shape.steepest is not None:
        slope = rule().backward(np.ones_like(z), z, a)[:, 0]
        assert slope.max() <= shape.steepest and shape.steepest - slope.max() < 2e-3
    for low, high in shape.flat:
        middle = z[(z[:, 0] >= low) & (z[:, 0] <= high)]
        assert len(middle) and (rule().backward(np.ones_like(middle), middle, rule().forward(middle))[:, 0] == 0).all()


FRESH = [
    ([8, 16, 1], activations.Relu(), activations.Identity(), losses.Mse()),
    ([10, 32, 32, 3], activations.Relu(), activations.Softmax(), losses.CrossEntropy()),
    ([10, 64, 64, 64, 64, 5], activations.Relu(), activations.Softmax(), losses.CrossEntropy()),
    ([6, 24, 24, 1], activations.Tanh(), activations.Sigmoid(), losses.BinaryCrossEntropy()),
    ([6, 24, 24, 24, 2], activations.Tanh(), activations.Identity(), losses.HalfSquaredError()),
    ([5, 20, 1], activations.Sigmoid(), activations.Identity(), losses.Huber()),
    ([5, 20, 20, 20, 4], activations.Gelu(), activations.Identity(), losses.CrossEntropy(from_logits=True)),
    ([5, 20, 20, 4], activations.LeakyRelu(), activations.LogSoftmax(), losses.NegativeLogLikelihood()),
    ([4, 3], activations.Relu(), activations.Softmax(), losses.CrossEntropy()),
    ([30, 50, 50, 50, 10], activations.Silu(), activations.Sigmoid(), losses.BinaryCrossEntropy()),
]


@pytest.mark.parametrize("number", range(len(FRESH)))
@pytest.mark.parametrize("optimizer", [None, optimizers.Sgd(learning_rate=0.01), optimizers.Adam()], ids=str)
def test_no_false_alarm_at_a_fresh_start(number: int, optimizer: Any) -> None:
    sizes, middle, last, loss = FRESH[number]
    rule = HeNormal() if middle.kind in ("relu", "leaky_relu", "gelu", "silu") else GlorotUniform()
    for seed in range(12):
        random = np.random.default_rng(seed)
        layers = []
        for i, (inputs, width) in enumerate(pairwise(sizes)):
            weights = rule.sample((inputs, width), inputs, width, generator(seed, i, 0))
            layers.append((weights, np.zeros(width), middle if i < len(sizes) - 2 else last))
        x = random.normal(size=(32, sizes[0]))
        if loss.takes_labels:
            targets: Array = random.integers(0, sizes[-1], 32)
        elif loss.kind == "binary_cross_entropy":
            targets = random.integers(0, 2, (32, sizes[-1])).astype(float)
        else:
            targets = random.normal(size=(32, sizes[-1]))
        assert warnings(found(network_of(*layers), x, targets, loss, optimizer)) == []


@pytest.fixture(scope="module")
def digits() -> tuple[Array, Array, Network, Network]:
    """The digits data scaled to 0..1, a fresh network for it, and a trained one."""
    data = load_digits()
    x, labels = data.data / 16, data.target
    layers = []
    for i, (inputs, width, rule) in enumerate([(64, 32, activations.Relu()), (32, 10, activations.Softmax())]):
        layers.append((HeNormal().sample((inputs, width), inputs, width, generator(1, i, 0)), np.zeros(width), rule))
    fresh = trained = network_of(*layers)
    adam = optimizers.Adam(learning_rate=3e-3)
    state = init_state(adam, trained)
    random = np.random.default_rng(0)
    for _ in range(600):
        rows = random.integers(0, len(x), 64)
        made = step(trained, x[rows], LossObjective(losses.CrossEntropy(), labels[rows]), adam, state)
        trained, state = made.network, made.state
    return x[:256], labels[:256], fresh, trained


@pytest.mark.parametrize("optimizer", [None, optimizers.Sgd(learning_rate=0.01), optimizers.Adam()], ids=str)
def test_no_false_alarm_on_digits(digits: tuple[Array, Array, Network, Network], optimizer: Any) -> None:
    x, labels, fresh, trained = digits
    at_first = found(fresh, x, labels, losses.CrossEntropy(), optimizer)
    assert warnings(at_first) == []
    assert at_first["chance_level"].evidence["chance_loss"] == pytest.approx(math.log(10), abs=0.02)
    assert set(at_first["unused_inputs"].evidence["constant"]) >= {0, 32, 39}  # pixels that are always blank
    at_last = found(trained, x, labels, losses.CrossEntropy(), optimizer)
    assert warnings(at_last) == [] and "chance_level" not in at_last


def test_relu_units_are_dead_for_certain_or_off_for_now() -> None:
    network = hidden(activations.Relu())
    assert "dead_relu" not in found(network, POINTS, VALUES)
    bias = np.zeros(16)
    bias[[3, 5]] = -100
    dead = Network((Dense(network.layers[0].weights, bias, activations.Relu()), network.layers[1]))
    finding = found(dead, POINTS, VALUES)["dead_relu"]
    assert finding.severity == "info" and finding.layer == 0 and finding.evidence["units"] == [3, 5]
    assert finding.evidence["largest_possible"] < 0 and "2 units of 16" in finding.message
    half = Network((Dense(network.layers[0].weights, bias - 100 * (np.arange(16) < 8), activations.Relu()),
                    network.layers[1]))  # fmt: skip
    assert found(half, POINTS, VALUES)["dead_relu"].severity == "warning"
    # Off for these examples, but awake somewhere in the box of their ranges.
    x = np.stack([np.linspace(-1, 1, 12), np.linspace(-1, 1, 12)], axis=1)
    corner = network_of(
        ([[1.0, 1.0], [-1.0, 1.0]], [-0.5, 0.5], activations.Relu()), ([[1], [1]], [0], activations.Identity())
    )
    finding = found(corner, x, x[:, :1])["dead_relu"]
    assert (
        finding.severity == "info" and finding.evidence["units"] == [0] and finding.evidence["largest_possible"] == 1.5
    )
    assert "1 unit of 2" in finding.message and "reaches its weights" in finding.message
    # The ranges of few examples are widened, and one example says nothing of a unit that is off for it.
    few = found(corner, x[5:8], x[5:8, :1])["dead_relu"]
    assert few.severity == "info" and few.evidence["largest_possible"] > 0
    assert "dead_relu" not in found(corner, x[6:7], x[6:7, :1])


def test_a_layer_that_is_off_as_a_whole_is_told_of_one_example() -> None:
    network = network_of(([[-1.0, -1.0]], [0, 0], activations.Relu()), ([[1], [1]], [0], activations.Identity()))
    finding = found(network, np.array([[1.0]]), np.array([[1.0]]))["dead_relu"]
    assert finding.severity == "warning" and "nor any layer before" in finding.message
    assert "1 example:" in finding.message


@pytest.mark.parametrize(
    "rule", [activations.Relu6(), activations.HardSwish(), activations.SoftShrink(), activations.HardShrink()], ids=str
)
def test_other_activations_have_flat_pieces_too(rule: Any) -> None:
    network = hidden(rule)
    bias = np.zeros(16)
    weights = network.layers[0].weights.copy()
    weights[:, 2] *= 1e-3
    bias[2] = -50 if rule.kind in ("relu6", "hard_swish") else 0
    finding = found(Network((Dense(weights, bias, rule), network.layers[1])), POINTS, VALUES)["dead_relu"]
    assert finding.evidence["units"] == [2] and "other input in their ranges" in finding.message


@pytest.mark.parametrize("rule", [activations.Sigmoid(), activations.Tanh(), activations.Softsign()], ids=str)
def test_saturated_hidden_units(rule: Any) -> None:
    assert "saturated_units" not in found(hidden(rule), POINTS, VALUES)
    finding = found(hidden(rule, scale=60), POINTS, VALUES)["saturated_units"]
    assert finding.layer == 0 and finding.evidence["saturated_fraction"] > 0.5 and finding.severity == "warning"


def test_saturated_outputs_count_where_they_are_wrong_and_the_loss_lets_them() -> None:
    network = network_of(([[20.0]], [0.0], activations.Sigmoid()))
    x = np.array([[1.0], [-1.0], [1.5], [-1.5]])
    right = (x > 0).astype(float)
    assert "saturated_units" not in found(network, x, right)
    assert found(network, x, 1 - right)["saturated_units"].evidence["saturated_fraction"] == 1
    assert "saturated_units" not in found(network, x, 1 - right, losses.BinaryCrossEntropy())


def test_symmetric_units_need_equal_gradients_too() -> None:
    same = [[0.5, 0.5, 0.2], [0.3, 0.3, 0.4]]
    layers = (same, [0.1, 0.1, 0.1], activations.Tanh())
    finding = found(network_of(layers, ([[1.0], [1.0], [1.0]], [0.0], activations.Identity())), POINTS, VALUES)
    assert finding["symmetric_units"].evidence == {"groups": [[0, 1]], "units": 2, "of": 3}
    apart = network_of(layers, ([[1.0], [-1.0], [1.0]], [0.0], activations.Identity()))
    assert "symmetric_units" not in found(apart, POINTS, VALUES)
    other_bias = network_of((same, [0.1, 0.2, 0.1], activations.Tanh()), ([[1.0]] * 3, [0.0], activations.Identity()))
    assert "symmetric_units" not in found(other_bias, POINTS, VALUES)
    # Outputs have targets of their own: a first layer of zeros that is the last is a fine start.
    assert "symmetric_units" not in found(network_of((np.zeros((2, 3)), None, activations.Softmax())), POINTS,
                                          RANDOM.integers(0, 3, 32), losses.CrossEntropy())  # fmt: skip


def test_symmetric_units_stay_equal_for_a_hundred_steps_and_others_part_at_once() -> None:
    network = network_of(
        (np.full((2, 4), 0.5), np.zeros(4), activations.Tanh()), (np.full((4, 1), 0.5), [0.0], activations.Identity())
    )
    optimizer = optimizers.Adam(learning_rate=0.01)
    state, objective = init_state(optimizer, network), LossObjective(losses.Mse(), VALUES)
    for _ in range(100):
        made = step(network, POINTS, objective, optimizer, state)
        network, state = made.network, made.state
    assert found(network, POINTS, VALUES, None, optimizer)["symmetric_units"].evidence["units"] == 4


def test_a_state_that_breaks_the_symmetry_is_seen() -> None:
    network = network_of(
        (np.full((2, 2), 0.5), None, activations.Tanh()), (np.full((2, 1), 0.5), None, activations.Identity())
    )
    optimizer = optimizers.Sgd(learning_rate=0.1, momentum=0.9)
    state = init_state(optimizer, network)
    state[0]["weights"] = {"step": 3, "momentum_buffer": np.array([[1.0, 0.0], [0.0, 0.0]])}
    case = examine(network, POINTS, LossObjective(losses.Mse(), VALUES), optimizer, state)
    assert "symmetric_units" not in {finding.code for finding in diagnose(case)}


def deep(depth: int, scale: float, rule: Any, width: int = 16) -> Network:
    random = np.random.default_rng(5)
    layers: list[Any] = [(random.normal(size=(2, width)), np.zeros(width), rule)]
    for _ in range(depth - 1):
        layers.append((scale * random.normal(size=(width, width)) / math.sqrt(width), np.zeros(width), rule))
    return network_of(*layers, (random.normal(size=(width, 1)) / math.sqrt(width), [0.0], activations.Identity()))


def test_vanishing_and_exploding_gradients() -> None:
    result = found(deep(8, 1.0, activations.Sigmoid()), POINTS, VALUES)["vanishing_gradients"]
    assert result.evidence["ratio"] < 1e-3 and "(1/4)^8" in result.message
    assert result.evidence["product_of_steepest_slopes"] == 0.25**8
    assert all(0 < slope <= 0.25 for slope in result.evidence["mean_slopes"])
    sizes = result.evidence["preactivation_gradients"]
    assert len(sizes) == 9 and result.evidence["ratio"] == sizes[0] / sizes[-1]
    assert "vanishing_gradients" not in found(deep(8, math.sqrt(2), activations.Relu()), POINTS, VALUES)
    result = found(deep(8, 6.0, activations.LeakyRelu()), POINTS, VALUES)["exploding_gradients"]
    assert result.evidence["ratio"] > 1e3 and all(f > 2 for f in result.evidence["weight_factors"][:-1])
    assert "exploding_gradients" not in found(deep(8, 1.0, activations.LeakyRelu()), POINTS, VALUES)


def test_input_scale() -> None:
    network = hidden(activations.Tanh())
    assert "input_scale" not in found(network, POINTS, VALUES)
    large = found(network, POINTS * [1, 300], VALUES)["input_scale"]
    assert large.evidence["features"] == [1] and large.evidence["count"] == 1
    assert "far below" in found(network, POINTS / 1000, VALUES)["input_scale"].message
    sparse = np.eye(32)[:, :2]  # one-hot columns are small in the mean, and fine
    assert "input_scale" not in found(network, sparse, VALUES)


@pytest.mark.parametrize(
    ("last", "loss", "lowest"),
    [
        (activations.Softmax(), losses.CrossEntropy(from_logits=True), math.log(1 + 2 / math.e)),
        (activations.Sigmoid(), losses.CrossEntropy(from_logits=True), math.log(1 + 2 / math.e)),
        (activations.Tanh(), losses.CrossEntropy(from_logits=True), math.log(1 + 2 * math.exp(-2))),
        (activations.Sigmoid(), losses.BinaryCrossEntropy(from_logits=True), None),
        (activations.Relu(), losses.BinaryCrossEntropy(from_logits=True), math.log(2) * 2 / 3),
        (activations.Sigmoid(), losses.Hinge(), 2 / 3),
        (activations.Softmax(), losses.MultiMargin(margin=3.0), 4 / 3),
    ],
    ids=str,
)
def test_losses_that_cannot_be_reached(last: Any, loss: Any, lowest: float | None) -> None:
    network = network_of((RANDOM.normal(size=(2, 3)), np.zeros(3), last))
    targets = np.eye(3)[RANDOM.integers(0, 3, 32)]
    finding = found(network, POINTS, targets, loss)["unreachable_loss"]
    assert finding.layer == 0 and finding.evidence["ideal_loss"] == pytest.approx(0, abs=1e-9)
    if lowest is not None:
        assert finding.evidence["lowest_loss"] == pytest.approx(lowest, rel=1e-6)
    # Scaled up without end, the best network does reach it, and no lower.
    outputs = np.clip(np.where(targets == 1, 1e3, -1e3), *shape_of(last)[:2])
    assert np.mean(loss.values(outputs, targets)) == pytest.approx(finding.evidence["lowest_loss"], rel=1e-6)


@pytest.mark.parametrize(
    ("last", "loss"),
    [
        (activations.Identity(), losses.CrossEntropy(from_logits=True)),
        (activations.LogSoftmax(), losses.CrossEntropy(from_logits=True)),
        (activations.Relu(), losses.CrossEntropy(from_logits=True)),
        (activations.Softmax(), losses.CrossEntropy()),
        (activations.Tanh(), losses.Hinge()),
        (activations.Identity(), losses.Hinge()),
        (activations.Softmax(), losses.CategoricalHinge()),
        (activations.LogSoftmax(), losses.NegativeLogLikelihood()),
        (activations.Softmax(), losses.KlDivergence()),
        (activations.Identity(), losses.BinaryCrossEntropy(from_logits=True)),
    ],
    ids=str,
)
def test_losses_that_can(last: Any, loss: Any) -> None:
    network = network_of((RANDOM.normal(size=(2, 3)), np.zeros(3), last))
    targets = np.eye(3)[RANDOM.integers(0, 3, 32)]
    assert "unreachable_loss" not in found(network, POINTS, targets, loss)


@pytest.mark.parametrize("loss", [losses.NegativeLogLikelihood(), losses.KlDivergence()], ids=str)
def test_logarithms_of_probabilities_are_at_most_0(loss: Any) -> None:
    network = network_of((RANDOM.normal(size=(2, 3)), np.zeros(3), activations.Sigmoid()))
    targets = np.eye(3)[RANDOM.integers(0, 3, 32)]
    assert "takes logarithms" in found(network, POINTS, targets, loss)["unreachable_loss"].message


def test_outputs_that_add_up_to_anything() -> None:
    sigmoid = network_of((RANDOM.normal(size=(2, 3)), np.zeros(3), activations.Sigmoid()))
    labels = RANDOM.integers(0, 3, 32)
    assert found(sigmoid, POINTS, labels, losses.CrossEntropy())["unnormalized_outputs"].layer == 0
    assert "unnormalized_outputs" not in found(sigmoid, POINTS, np.eye(3)[labels], losses.BinaryCrossEntropy())


def test_targets_out_of_range() -> None:
    network = network_of((RANDOM.normal(size=(2, 1)), np.zeros(1), activations.Sigmoid()))
    targets = np.linspace(0, 1, 32)[:, np.newaxis]
    assert "targets_out_of_range" not in found(network, POINTS, targets)
    targets[[4, 9], 0] = 1.5, -3.0
    evidence = found(network, POINTS, targets)["targets_out_of_range"].evidence
    assert evidence == {"count": 2, "of": 32, "range": [0, 1], "worst": {"index": [9, 0], "target": -3.0}}
    relu = network_of((RANDOM.normal(size=(2, 1)), np.ones(1), activations.Relu()))
    assert found(relu, POINTS, targets)["targets_out_of_range"].evidence["range"] == [0, None]


def test_collapsed_outputs() -> None:
    network = hidden(activations.Tanh())
    assert "collapsed_outputs" not in found(network, POINTS, VALUES)
    flat = Network((network.layers[0], Dense(np.zeros((16, 1)), np.array([2.0]), activations.Identity())))
    finding = found(flat, POINTS, VALUES)["collapsed_outputs"]
    assert finding.layer == 1 and finding.evidence["relative_spread"] == 0
    assert "collapsed_outputs" not in found(flat, POINTS, np.ones((32, 1)))  # one answer is what is asked for
    assert "collapsed_outputs" not in found(flat, np.ones((32, 2)), VALUES)  # equal inputs, equal outputs


@pytest.mark.parametrize(
    ("last", "loss"),
    [
        (activations.Softmax(), losses.CrossEntropy()),
        (activations.Identity(), losses.CrossEntropy(from_logits=True, reduction="sum")),
        (activations.LogSoftmax(), losses.NegativeLogLikelihood()),
        (activations.Sigmoid(), losses.BinaryCrossEntropy(reduction="batch_mean")),
    ],
    ids=str,
)
def test_chance_level_is_the_entropy_of_the_classes(last: Any, loss: Any) -> None:
    targets = np.eye(2)[[0] * 24 + [1] * 8]
    network = network_of((np.zeros((2, 2)), np.zeros(2), last))
    evidence = found(network, POINTS, targets, loss)["chance_level"].evidence
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    times = 2 if loss.kind == "binary_cross_entropy" else 32 if loss.reduction == "sum" else 1
    assert evidence["chance_loss"] == pytest.approx(times * entropy)
    assert evidence["loss"] >= evidence["chance_loss"]


def test_the_chance_level_of_a_regression_is_the_variance() -> None:
    network = network_of((np.zeros((2, 1)), np.zeros(1), activations.Identity()))
    assert found(network, POINTS, VALUES)["chance_level"].evidence["chance_loss"] == pytest.approx(VALUES.var())


def test_unused_inputs() -> None:
    x = np.column_stack([POINTS, np.full(32, 3.0), POINTS[:, 0]])
    network = network_of(([[1.0], [0.5], [0.2], [0.0]], [0.0], activations.Identity()))
    finding = found(network, x, VALUES)["unused_inputs"]
    assert finding.severity == "info"
    assert finding.evidence["constant"] == [2] and finding.evidence["without_weights"] == [3]
    assert "unused_inputs" not in found(network_of((np.ones((2, 1)), None, activations.Identity())), POINTS, VALUES)
    assert "unused_inputs" not in found(
        network_of((np.ones((2, 1)), None, activations.Identity())), POINTS[:1], VALUES[:1]
    )


def test_updates_and_learning_rates() -> None:
    network = hidden(activations.Tanh())
    well = found(network, POINTS, VALUES, None, optimizers.Sgd(learning_rate=0.01))
    assert not {"large_learning_rate", "large_updates", "small_updates"} & set(well)
    wild = found(network, POINTS, VALUES, None, optimizers.Sgd(learning_rate=50.0))
    evidence = wild["large_learning_rate"].evidence
    assert evidence["loss_after"] > 10 * evidence["loss_before"] and evidence["learning_rate"] == 50
    assert wild["large_updates"].evidence["update_ratio"] > 0.25
    assert warnings(found(network, POINTS, VALUES, None, optimizers.Sgd(learning_rate=1e-9)))[0].code == "small_updates"
    up = optimizers.Sgd(learning_rate=50.0, maximize=True)
    assert "large_learning_rate" not in found(network, POINTS, VALUES, None, up)


def test_the_best_factor_is_the_best_of_the_slice() -> None:
    network = network_of(([[1.0]], None, activations.Identity()))
    x, targets = np.array([[1.0], [2.0]]), np.array([[0.0], [0.0]])
    # loss = 5/2 w^2, gradient 5 w: a step of learning rate 0.8 goes from 1 to -3, a quarter of it to 0.
    assert "large_learning_rate" not in found(network, x, targets, None, optimizers.Sgd(learning_rate=0.4004))  # 0.4 %
    result = found(network, x, targets, None, optimizers.Sgd(learning_rate=0.8))["large_learning_rate"].evidence
    assert result == {
        "loss_before": 2.5,
        "loss_after": 22.5,
        "learning_rate": 0.8,
        "best_factor": 0.25,
        "best_loss": 0.0,
    }


def test_a_step_that_overflows_is_a_finding() -> None:
    network = network_of(([[1.0]], None, activations.Identity()))
    x, targets = np.array([[1e10], [2e10]]), np.array([[0.0], [0.0]])
    finding = found(network, x, targets, None, optimizers.Sgd(learning_rate=1e300))["large_learning_rate"]
    assert "loss_after" not in finding.evidence and "overflow" in finding.message


def test_slices_of_the_loss() -> None:
    network = network_of(([[1.0]], None, activations.Identity()))
    x, targets, optimizer = np.array([[1.0], [2.0]]), np.zeros((2, 1)), optimizers.Sgd(learning_rate=0.1)
    case = examine(network, x, LossObjective(losses.Mse(), targets), optimizer, init_state(optimizer, network))
    gradient, along = case.slices
    assert (gradient.along, along.along) == ("gradient", "step")
    np.testing.assert_allclose(gradient.losses, [2.5 * (1 - 5 * r) ** 2 for r in gradient.positions])
    np.testing.assert_allclose(along.losses, [2.5 * (1 - 0.5 * f) ** 2 for f in along.positions])
    assert gradient.positions[0] == 0 and 1.0 in along.positions


def test_a_slice_ends_where_outputs_are_no_probabilities_or_overflow() -> None:
    network = network_of(([[1.0]], None, activations.Exponential()))
    optimizer = optimizers.Sgd(learning_rate=1e3)
    objective = LossObjective(losses.Mse(), np.array([[1e4], [1e9]]))
    case = examine(network, np.array([[1.0], [2.0]]), objective, optimizer, init_state(optimizer, network))
    assert all(math.isfinite(loss) for line in case.slices for loss in line.losses)
    assert len(case.slices[1].losses) < 10
    assert diagnose(case)[0].code == "large_learning_rate"


def test_products_with_a_vector_have_no_loss_to_look_at() -> None:
    network = hidden(activations.Relu())
    case = examine(network, POINTS, VectorObjective(np.ones((32, 1))))
    assert case.slices == [] and diagnose(case) == [] and len(statistics(case)) == 2


def test_statistics_are_those_of_the_arrays() -> None:
    network = hidden(activations.Relu())
    optimizer = optimizers.Sgd(learning_rate=0.01)
    case = examine(network, POINTS, LossObjective(losses.Mse(), VALUES), optimizer, init_state(optimizer, network))
    first, last = statistics(case)
    z = POINTS @ network.layers[0].weights
    assert first.preactivations == pytest.approx((z.mean(), z.std(), z.min(), z.max()))
    assert first.zero_fraction == (z <= 0).mean() and first.mean_slope == (z > 0).mean() and first.off_units == 0
    assert first.weight_norm == pytest.approx(np.linalg.norm(network.layers[0].weights))
    gradient = case.before.gradients.layers[0].parameters["weights"]
    assert first.weight_gradient_norm == pytest.approx(np.linalg.norm(gradient))
    assert first.update_ratio == pytest.approx(0.01 * np.linalg.norm(gradient) / first.weight_norm)
    assert first.saturated_fraction is None and last.off_units is None and last.name == "layers.1"


def test_spread_does_not_overflow() -> None:
    assert spread(np.array([1e200, -1e200])) == (0.0, 1e200)
    assert spread(np.zeros(3)) == (0.0, 0.0)


def test_frozen_weights_have_no_update() -> None:
    network = hidden(activations.Tanh())
    frozen = Dense(network.layers[0].weights, network.layers[0].bias, activations.Tanh(), None, frozenset({"weights"}))
    optimizer = optimizers.Adam(learning_rate=10.0)
    result = Network((frozen, network.layers[1]))
    case = examine(result, POINTS, LossObjective(losses.Mse(), VALUES), optimizer, init_state(optimizer, result))
    assert case.update_ratios[0] is None and case.update_ratios[1] is not None
