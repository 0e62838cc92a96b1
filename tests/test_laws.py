"""Laws that hold for every network: Hypothesis draws 1 to 6 layers with every activation and loss that fit."""

import builtins
import json
import math
from collections.abc import Iterable
from functools import reduce
from itertools import pairwise
from operator import add
from typing import Any, get_args

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine import activations, losses, optimizers
from engine.certificate.activations import _odd_coefficients
from engine.layers import Dense
from engine.metrics import RocAuc
from engine.network import Network, forward
from engine.objective import LossObjective, VectorObjective, evaluated
from engine.regularization import Regularization
from engine.rules import Array
from engine.step import Differentiation, differentiate, example_gradients, init_state, step
from schemas.answers import write
from schemas.network import Layout, NetworkModel, network_to_wire
from schemas.rules import kind_of
from schemas.tensors import decode

HIDDEN = [rule for rule in get_args(activations.Activation) if kind_of(rule) != "exponential"]
LAST = {
    "cross_entropy": ["softmax", "softmin", "sigmoid"],
    "focal": ["softmax", "softmin", "sigmoid"],
    "binary_cross_entropy": ["sigmoid", "softmax"],
    "negative_log_likelihood": ["log_softmax"],
    "kl_divergence": ["softmax", "softmin", "log_softmax"],
    "poisson": ["identity", "tanh"],
}
KINDS = {kind_of(rule): rule for rule in get_args(activations.Activation)}
PROPERTIES = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def problems(draw: Any, smooth: bool = False) -> tuple[Network, Array, LossObjective]:
    """A network, inputs, and a loss with targets that fit its outputs; with `smooth`, nothing has a kink."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sizes = draw(st.lists(st.integers(1, 20), min_size=2, max_size=7))
    batch = draw(st.integers(1, 20))
    kinked = {
        "relu", "relu6", "leaky_relu", "hard_sigmoid", "hard_tanh", "hard_swish", "hard_shrink", "soft_shrink",
        "threshold", "elu", "celu", "selu", "mae", "huber", "smooth_l1", "hinge", "squared_hinge",
        "categorical_hinge", "multi_margin",
    }  # fmt: skip
    rules = [rule for rule in HIDDEN if not (smooth and kind_of(rule) in kinked)]
    loss_rule = draw(
        st.sampled_from([rule for rule in get_args(losses.Loss) if not (smooth and kind_of(rule) in kinked)])
    )
    loss = loss_rule(reduction=draw(st.sampled_from(["mean", "batch_mean", "sum"])))
    fitting = LAST.get(loss.kind, [kind_of(rule) for rule in rules])
    # Only the combined form is smooth where a probability reaches 0 or 1.
    last = KINDS[draw(st.sampled_from(fitting[:1] if smooth and loss.kind in LAST else fitting))]
    layers = []
    for i, (inputs, units) in enumerate(pairwise(sizes)):
        rule = last if i == len(sizes) - 2 else draw(st.sampled_from(rules))
        bias = random.normal(size=units) if draw(st.booleans()) else None
        layers.append(Dense(random.normal(size=(inputs, units)) / np.sqrt(inputs), bias, rule()))
    shape = (batch, sizes[-1])
    match loss.kind:
        case "cross_entropy" | "focal" | "negative_log_likelihood" | "kl_divergence" | "binary_cross_entropy":
            targets = random.dirichlet(np.ones(shape[1]), batch)
        case "multi_margin" | "categorical_hinge":
            targets = np.eye(shape[1])[random.integers(0, shape[1], batch)]
        case "hinge" | "squared_hinge":
            targets = random.choice([-1.0, 1.0], shape)
        case _:
            targets = random.normal(size=shape)
    weights = random.uniform(0.1, 2, batch) if draw(st.booleans()) else None
    return Network(tuple(layers)), random.normal(size=(batch, sizes[0])), LossObjective(loss, targets, weights)


def gradients(result: Differentiation) -> list[Array]:
    return [g for layer in result.gradients.layers for g in layer.parameters.values()]


def close(actual: Array, expected: Array, tolerance: float = 1e-10) -> None:
    scale = max(float(np.abs(expected).max()), 1e-30)
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance * scale)


@PROPERTIES
@given(problems())
def test_a_batch_equals_its_rows_alone(problem: tuple[Network, Array, LossObjective]) -> None:
    network, x, objective = problem
    whole = differentiate(network, x, objective)
    own = example_gradients(network, whole)
    assert whole.evaluation.example_losses is not None
    for i in range(len(x)):
        rows = slice(i, i + 1)
        weights = None if objective.sample_weights is None else objective.sample_weights[rows]
        alone = differentiate(network, x[rows], LossObjective(objective.loss, objective.targets[rows], weights))
        assert alone.evaluation.example_losses is not None
        close(alone.evaluation.example_losses, whole.evaluation.example_losses[rows])
        close(alone.trace[-1].activations, whole.trace[-1].activations[rows])
        for batch, single in zip(own, alone.gradients.layers, strict=True):
            for name, gradient in single.parameters.items():
                scale = max(float(np.abs(batch[name]).max()), 1e-30)
                np.testing.assert_allclose(batch[name][i], gradient, rtol=1e-9, atol=1e-10 * scale + 1e-14)


@PROPERTIES
@given(problems())
def test_weighted_losses_add_up(problem: tuple[Network, Array, LossObjective]) -> None:
    network, x, objective = problem
    result = differentiate(network, x, objective)
    own = result.evaluation.example_losses
    assert own is not None
    weights = np.ones(len(x)) if objective.sample_weights is None else objective.sample_weights
    total = (weights * own).sum()
    expected = total if objective.loss.reduction == "sum" else total / weights.sum()
    assert result.loss == pytest.approx(expected, rel=1e-10, abs=1e-12)


@PROPERTIES
@given(problems(smooth=True), st.integers(0, 2**32 - 1))
def test_every_gradient_against_central_differences(problem: tuple[Network, Array, LossObjective], seed: int) -> None:
    """By weights, biases and inputs along random directions; by preactivations and activations through a network that
    starts there."""
    network, x, objective = problem
    random = np.random.default_rng(seed)
    result = differentiate(network, x, objective)

    def loss(changed: Network, inputs: Array) -> float:
        with np.errstate(all="ignore"):
            return float(evaluated(objective, changed, forward(changed, inputs)).loss)

    def check(value: Any, gradient: Array) -> None:
        direction = random.normal(size=gradient.shape)
        direction /= np.linalg.norm(direction)
        slopes = [(value(h * direction) - value(-h * direction)) / (2 * h) for h in (1e-4, 2e-4)]
        # Where the two differ the function bends too sharply for differences (cosine similarity close to 0 does).
        if abs(slopes[0] - slopes[1]) > 1e-3 * abs(slopes[0]) + 1e-6:
            return
        difference = (4 * slopes[0] - slopes[1]) / 3
        # Across a bend of a second derivative, as elu has one at 0, both are off by some of what they differ by.
        noise = abs(float(result.loss)) * 1e-11 + 1e-10 + abs(slopes[0] - slopes[1])
        assert difference == pytest.approx(
            np.vdot(gradient, direction), rel=2e-5, abs=noise + 1e-6 * np.linalg.norm(gradient)
        )

    check(lambda d: loss(network, x + d), result.gradients.inputs)
    for i, layer in enumerate(network.layers):
        found = result.gradients.layers[i]
        for name, gradient in found.parameters.items():

            def moved(d: Array, i: int = i, name: str = name) -> float:
                parameters = network.parameters
                parameters[i][name] = parameters[i][name] + d
                return loss(network.with_parameters(parameters), x)

            check(moved, gradient)
        # Preactivations: an identity in place of the layer's weights makes them inputs.
        units = len(layer.weights[0])
        rest = Network((Dense(np.eye(units), None, layer.activation), *network.layers[i + 1 :]))
        check(lambda d, rest=rest, i=i: loss(rest, result.trace[i].preactivations + d), found.preactivations)
        if i + 1 < len(network.layers):
            rest = Network(network.layers[i + 1 :])
            check(lambda d, rest=rest, i=i: loss(rest, result.trace[i].activations + d), found.activations)


@PROPERTIES
@given(problems())
def test_a_vector_jacobian_product_with_the_loss_gradient_is_the_loss_gradient(
    problem: tuple[Network, Array, LossObjective],
) -> None:
    network, x, objective = problem
    whole = differentiate(network, x, objective)
    vector = whole.gradients.layers[-1].activations
    product = differentiate(network, x, VectorObjective(vector))
    close(product.gradients.inputs, whole.gradients.inputs, 1e-6)


@PROPERTIES
@given(problems(), st.sampled_from(["inputs_by_units", "units_by_inputs"]), st.sampled_from(["json", "base64"]))
def test_the_wire_round_trip_is_bit_exact(
    problem: tuple[Network, Array, LossObjective], layout: Any, encoding: str
) -> None:
    network, x, _ = problem
    wire = orjson.loads(write({"network": network_to_wire(network, Layout(layout)), "x": x}, encoding))
    back = NetworkModel.model_validate(wire["network"]).to_engine("float64")
    assert decode(wire["x"], (2,)).tobytes() == x.tobytes()
    for before, after in zip(network.layers, back.layers, strict=True):
        assert before.weights.tobytes() == after.weights.tobytes()
        assert (before.bias is None) == (after.bias is None)
        assert before.bias is None or before.bias.tobytes() == after.bias.tobytes()  # type: ignore[union-attr]
        assert before.activation == after.activation


@PROPERTIES
@given(problems(), st.sampled_from(get_args(optimizers.Optimizer)))
def test_every_optimizer_takes_its_state_back(problem: tuple[Network, Array, LossObjective], rule: Any) -> None:
    network, x, objective = problem
    optimizer = rule(learning_rate=1e-3)
    state = init_state(optimizer, network)
    for _ in range(3):
        result = step(network, x, objective, optimizer, state)
        network, state = result.network, result.state
    assert all(s["step"] == 3 for layer in state for s in layer.values())


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=8), st.floats(-1e3, 1e3))
def test_softmax_ignores_a_constant_shift(row: list[float], shift: float) -> None:
    z = np.array([row])
    rule = activations.Softmax()
    np.testing.assert_allclose(rule.forward(z + shift), rule.forward(z), rtol=1e-9)
    assert rule.forward(z).sum() == pytest.approx(1)


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(["float64", "float32"]))
def test_numbers_read_back_bit_for_bit(number: float, dtype: str) -> None:
    with np.errstate(over="ignore"):
        array = np.array([[number]], dtype)
    if np.isfinite(array).all():
        read = json.loads(write({"x": array}))["x"]
        assert np.array(read, dtype).tobytes() == array.tobytes()


def test_no_bit_depends_on_how_python_adds_floats(monkeypatch: pytest.MonkeyPatch) -> None:
    """`sum` rounds floats after each term before Python 3.12, and nearly once for all since then."""

    def sum_of_3_11(terms: Iterable[Any], start: Any = 0) -> Any:
        return reduce(add, terms, start)

    def sum_of_3_12(terms: Iterable[Any], start: Any = 0) -> Any:
        terms = list(terms)
        return math.fsum([start, *terms]) if any(type(term) is float for term in terms) else reduce(add, terms, start)

    def answers() -> list[Any]:
        layers = tuple(Dense(np.array([[w]]), None, activations.Identity()) for w in (1.0, 2.0**-53, 2.0**-53))
        made = differentiate(
            Network(layers), np.zeros((1, 1)), LossObjective(losses.Mse(), np.zeros((1, 1))), Regularization(l1=1.0)
        )
        targets = np.eye(7)[np.arange(37) % 7]
        areas = [RocAuc().value(np.random.default_rng(seed).random(targets.shape), targets) for seed in range(9)]
        return [made.penalty, made.loss, areas, _odd_coefficients(14)]

    monkeypatch.setattr(builtins, "sum", sum_of_3_11)
    before = answers()
    monkeypatch.setattr(builtins, "sum", sum_of_3_12)
    assert answers() == before
