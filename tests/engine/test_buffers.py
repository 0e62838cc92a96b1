"""A training run works in memory of its own: the bits are those of pure steps, and there is no more of it than said."""

import tracemalloc
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, get_args

import numpy as np
import pytest

from engine import activations, optimizers
from engine.activations import Gelu, Identity, Mish, Sigmoid, Softmax, Tanh
from engine.blocks import BLOCK, by_rows
from engine.clipping import ClipByNorm, ClipByValue, Clipping
from engine.data import Data
from engine.layers import Dense
from engine.losses import Loss, Mse
from engine.network import Network
from engine.objective import LossObjective
from engine.optimizers import Adam, Optimizer, Sgd
from engine.piecewise_activations import Relu
from engine.probability_losses import BinaryCrossEntropy, CrossEntropy
from engine.regularization import Regularization
from engine.rules import Array
from engine.step import init_state, step
from engine.training import Checkpoint, Outcome, Plan, begin, train

BATCH = 100


@dataclass(frozen=True)
class PassThrough:
    """A rule that hands back what it is given, as a pure one may."""

    kind: str = "pass_through"

    def forward(self, z: Array) -> Array:
        return z

    def backward(self, grad: Array, z: Array, a: Array) -> Array:
        return grad


def network(sizes: list[int], rules: list[Any], dtype: str) -> Network:
    random = np.random.default_rng(0)
    layers = [
        Dense(
            (random.normal(size=(inputs, units)) / np.sqrt(inputs)).astype(dtype),
            random.normal(size=units).astype(dtype),
            rule,
            frozen=frozenset({"bias"} if i == 1 else ()),
        )
        for i, ((inputs, units), rule) in enumerate(zip(pairwise(sizes), rules, strict=True))
    ]
    return Network(tuple(layers))


def examples(count: int, start: Network) -> Data:
    random = np.random.default_rng(1)
    features, outputs = start.layers[0].weights.shape[0], start.layers[-1].weights.shape[1]
    dtype = start.layers[0].weights.dtype
    labels = random.integers(0, outputs, count)
    return Data(random.normal(size=(count, features)).astype(dtype), np.eye(outputs, dtype=dtype)[labels])


def outcome(start: Network, data: Data, plan: Plan) -> Outcome:
    *_, last = train(begin(start, init_state(plan.optimizer, start), plan), data, plan)
    assert isinstance(last, Outcome)
    return last


def assert_same(actual: Any, expected: Any) -> None:
    """Equal to the bit, in every array and number of nested lists and dictionaries."""
    assert type(actual) is type(expected)
    if isinstance(actual, dict):
        assert actual.keys() == expected.keys()
        for key in actual:
            assert_same(actual[key], expected[key])
    elif isinstance(actual, list):
        assert len(actual) == len(expected)
        for one, other in zip(actual, expected, strict=True):
            assert_same(one, other)
    elif isinstance(actual, np.ndarray):
        assert actual.dtype == expected.dtype
        np.testing.assert_array_equal(actual, expected)
    else:
        assert actual == expected


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("optimizer", "last", "loss"),
    [
        (Sgd(learning_rate=0.05, momentum=0.9), Softmax(), CrossEntropy()),
        (Adam(), Sigmoid(), BinaryCrossEntropy()),
        (Adam(weight_decay=0.1, amsgrad=True), Identity(), Mse(reduction="batch_mean")),
    ],
)
@pytest.mark.parametrize(
    ("units", "clipping"),
    [(5, ClipByValue(max_value=0.001)), (20, ClipByNorm(max_norm=0.01)), (350, ClipByNorm(max_norm=0.01))],
)
def test_a_run_makes_the_bits_of_pure_steps(
    optimizer: Optimizer, last: Any, loss: Loss, dtype: str, units: int, clipping: Clipping
) -> None:
    """On small layers and on those of more than a block, with a smaller last batch, a frozen bias, a penalty and
    clipping."""
    start = network([30, units, units, units, 7], [Tanh(), PassThrough(), Mish(), last], dtype)
    assert BATCH * 350 * np.dtype(dtype).itemsize > BLOCK > BATCH * 30 * 8
    data = examples(2 * BATCH + 13, start)
    penalty = Regularization(l1=0.001, l2=0.01)
    plan = Plan(loss, optimizer, 2, BATCH, shuffle=False, regularization=penalty, clipping=clipping)
    trained = outcome(start, data, plan).checkpoint
    pure, state = start, init_state(optimizer, start)
    for _ in range(2):
        for k in range(0, len(data), BATCH):
            batch = data.take(slice(k, k + BATCH))
            made = step(pure, batch.inputs, LossObjective(loss, batch.targets), optimizer, state, penalty, clipping)
            pure, state = made.network, made.state
    assert_same(trained.network.parameters, pure.parameters)
    assert_same(trained.state, state)


def test_parameters_that_have_made_more_steps_than_others_go_on_with_their_own_count() -> None:
    """As those do that were frozen for a while: the others are updated in one vector."""
    start = network([4, 5, 3], [Tanh(), Softmax()], "float64")
    data, optimizer = examples(6, start), Adam()
    state = init_state(optimizer, start)
    state[1]["weights"]["step"] = 7
    plan = Plan(CrossEntropy(), optimizer, 1, None)
    *_, trained = train(begin(start, state, plan), data, plan)
    made = step(start, data.inputs, LossObjective(plan.loss, data.targets), optimizer, state)
    assert isinstance(trained, Outcome)
    assert_same(trained.checkpoint.network.parameters, made.network.parameters)
    assert_same(trained.checkpoint.state, made.state)


def test_a_run_may_be_stopped_within_an_epoch_and_ends_with_the_last_whole_one() -> None:
    start = network([4, 5, 3], [Tanh(), Softmax()], "float64")
    plan = Plan(CrossEntropy(), Sgd(), 9, 5)
    asked = iter([False] * 6 + [True])
    row, end = train(
        begin(start, init_state(plan.optimizer, start), plan), examples(20, start), plan, None, asked.__next__
    )
    assert isinstance(row, dict) and isinstance(end, Outcome)
    assert (end.reason, end.checkpoint.completed_epochs) == ("deadline", 1)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "loss",
    [CrossEntropy(class_weights=(0.5, 1.0, 2.0)), CrossEntropy(reduction="sum"), Mse(), Mse(reduction="batch_mean")],
)
def test_an_epoch_s_loss_is_the_mean_of_its_batches_losses(loss: Loss, weighted: bool) -> None:
    """By what each counts: with class weights a batch of labels counts their weights, one of probabilities its rows."""
    start = network([4, 5, 3], [Tanh(), Softmax()], "float64")
    data = examples(20, start)
    data.targets[12:16] = [0.2, 0.3, 0.5]
    if weighted:
        data = replace(data, weights=np.random.default_rng(3).uniform(0, 2, 20))
    plan = Plan(loss, Sgd(learning_rate=0.1), 1, 6, shuffle=False)
    pure, state, losses, counts = start, init_state(plan.optimizer, start), [], []
    for k in range(0, 20, 6):
        batch = data.take(slice(k, k + 6))
        made = step(pure, batch.inputs, LossObjective(loss, batch.targets, batch.weights), plan.optimizer, state)
        pure, state = made.network, made.state
        weights = np.ones(len(batch)) if batch.weights is None else batch.weights
        of_labels = loss.row_weights(batch.targets)
        losses.append(float(made.before.loss))
        counts.append(float(np.sum(weights if of_labels is None else weights * of_labels)))
    expected = sum(losses) if loss.reduction == "sum" else np.average(losses, weights=counts)
    row = next(train(begin(start, init_state(plan.optimizer, start), plan), data, plan))
    assert isinstance(row, dict) and row["loss"] == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("rule", get_args(activations.Activation))
def test_a_rule_in_blocks_is_the_rule(rule: Any) -> None:
    random = np.random.default_rng(2)
    z, grad = random.normal(size=(2, 130, 300)) * 3
    assert z.nbytes > 2 * BLOCK
    with np.errstate(all="ignore"):
        a, kept = rule().forward(z), z.copy()
        delta = rule().backward(grad, z, a)
        same = np.testing.assert_array_equal
        same(by_rows(rule().forward, z), a)
        same(by_rows(rule().backward, grad, z, a), delta)
        same(z, kept)
        assert by_rows(rule().backward, grad, z, a, out=z) is z
        same(z, delta)


@pytest.mark.parametrize("rule", get_args(optimizers.Optimizer))
def test_what_a_run_hands_out_does_not_change_any_more(rule: Any) -> None:
    start = network([5, 4, 3], [Tanh(), Softmax()], "float64")
    before = [{name: p.copy() for name, p in layer.items()} for layer in start.parameters]
    plan = Plan(CrossEntropy(), rule(), 4, 6, checkpoint_every=1)
    seen: list[tuple[Checkpoint, Any]] = []

    def contents(checkpoint: Checkpoint) -> list[Any]:
        return [checkpoint.network.parameters, checkpoint.state]

    for event in train(begin(start, init_state(plan.optimizer, start), plan), examples(20, start), plan):
        if isinstance(event, Checkpoint):
            seen.append((event, copied(contents(event))))
    assert len(seen) == 4
    for checkpoint, copy in seen:
        assert_same(contents(checkpoint), copy)
    assert_same(start.parameters, before)


def copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copied(item) for item in value]
    return value.copy() if isinstance(value, np.ndarray) else value


def peak(start: Network, data: Data, plan: Plan) -> int:
    """The most bytes that a run holds beside what it is given."""
    state = init_state(plan.optimizer, start)
    checkpoint = begin(start, state, plan)
    tracemalloc.start()
    for _ in train(checkpoint, data, plan):
        pass
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


def size(arrays: Any) -> int:
    if isinstance(arrays, dict):
        return sum(size(array) for array in arrays.values())
    if isinstance(arrays, list):
        return sum(size(array) for array in arrays)
    return arrays.nbytes if isinstance(arrays, np.ndarray) else 0


@pytest.mark.parametrize(
    ("optimizer", "rule"), [(Sgd(), Relu()), (Sgd(momentum=0.9), Relu()), (Adam(), Relu()), (Adam(), Gelu())]
)
@pytest.mark.parametrize("batch", [64, 512])
def test_memory_of_a_run(optimizer: Optimizer, rule: Any, batch: int) -> None:
    """Activations + 3 x parameters + the optimizer's state, and that state once more from the second epoch on: what the
    last whole epoch ended with is kept, so that a run that diverges loses nothing.

    Activations are the inputs of the batch, z and a of every layer, and the gradients by a of one layer at a time.
    """
    start = network([256, 512, 512, 10], [rule, rule, Softmax()], "float64")
    data = examples(2 * batch, start)
    parameters, state = size(start.parameters), size(init_state(optimizer, start))
    numbers = batch * (256 + 2 * (512 + 512 + 10) + 512)
    rest = 12 * BLOCK  # what a rule makes on its way
    most = [peak(start, data, Plan(CrossEntropy(), optimizer, epochs, batch)) for epochs in (1, 3)]
    assert most[0] <= 8 * numbers + rest + 3 * parameters + state
    assert most[1] <= 8 * numbers + rest + 3 * parameters + 2 * state
