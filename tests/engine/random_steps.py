"""Random steps of training of every kind that the mistakes of the catalog are about."""

from dataclasses import replace
from itertools import pairwise
from typing import Any, get_args

import numpy as np

from engine import activations, losses, optimizers, piecewise_activations
from engine.claims import Claim
from engine.clipping import ClipByNorm, ClipByValue
from engine.layers import Dense
from engine.mistakes import Mistake
from engine.mistakes.computation import LOSS, Case, Key, right
from engine.mistakes.run import run
from engine.mistakes.search import Diagnosis
from engine.network import Network
from engine.objective import LossObjective
from engine.probability_losses import LossOfProbabilities
from engine.regularization import Regularization
from engine.step import step
from engine.verification import verify
from tests.conftest import searching

PLANTED = searching(5, 8)
"""So many times a mistake is planted, and its options until each of them was."""
ACTIVATIONS = {rule().kind: rule for rule in get_args(activations.Activation)}
LOSSES = {rule().kind: rule for rule in get_args(losses.Loss)}
HIDDEN = ["relu", "relu", "sigmoid", "tanh", "leaky_relu", "silu", "elu", "softplus", "gelu"]
ENDS = [
    ("softmax", "cross_entropy"), ("sigmoid", "binary_cross_entropy"), ("identity", "mse"), ("sigmoid", "mse"),
    ("tanh", "half_squared_error"), ("softmax", "mse"), ("softmax", "binary_cross_entropy"),
    ("identity", "cross_entropy"), ("sigmoid", "half_squared_error"), ("log_softmax", "negative_log_likelihood"),
]  # fmt: skip
OPTIMIZERS = [
    None,
    optimizers.Sgd(learning_rate=0.1),
    optimizers.Sgd(learning_rate=0.1, momentum=0.9, weight_decay=0.1),
    optimizers.Adam(learning_rate=0.1, eps=1e-3, weight_decay=0.1),
    optimizers.AdamW(learning_rate=0.1, eps=1e-3, weight_decay=0.1),
    optimizers.RmsProp(eps=1e-2),
    optimizers.Adagrad(eps=1e-2),
    optimizers.Adamax(),
]


def random_case(random: np.random.Generator) -> Case:
    """2 to 4 layers, often equally wide, a batch of 1 to 5; with or without optimizer, penalty, clipping, weights."""
    depth = int(random.integers(2, 5))
    sizes = [int(n) for n in random.integers(2, 6, depth + 1)]
    if random.random() < 0.5:
        sizes = [sizes[0]] * (depth + 1)
    batch = int(random.integers(1, 6))
    last, kind = ENDS[random.integers(len(ENDS))]
    options: dict[str, Any] = {"reduction": ["mean", "mean", "batch_mean", "sum"][random.integers(4)]}
    if (last, kind) == ("identity", "cross_entropy"):
        options["from_logits"] = True
    layers = []
    for i, (inputs, units) in enumerate(pairwise(sizes)):
        activation = last if i == depth - 1 else HIDDEN[random.integers(len(HIDDEN))]
        weights, bias = random.normal(size=(inputs, units)), random.normal(size=units)
        layers.append(Dense(weights, bias, ACTIVATIONS[activation]()))
    shape = (batch, sizes[-1])
    squared = kind in ("mse", "half_squared_error")
    targets = random.normal(size=shape) if squared else np.eye(shape[1])[random.integers(0, shape[1], batch)]
    weights = random.uniform(0.5, 2, batch) if random.random() < 0.3 else None
    optimizer = OPTIMIZERS[random.integers(len(OPTIMIZERS))]
    case = Case(
        Network(tuple(layers)),
        random.normal(size=(batch, sizes[0])),
        LossObjective(LOSSES[kind](**options), targets, weights),
        Regularization(l2=0.1) if random.random() < 0.3 else None,
        ClipByNorm(max_norm=0.3) if random.random() < 0.3 else None,
        optimizer,
    )
    if optimizer is not None and random.random() < 0.5:
        case = later(case)
    return case


PIECEWISE = [
    piecewise_activations.Relu(),
    piecewise_activations.LeakyRelu(negative_slope=0.2),
    piecewise_activations.HardTanh(min_val=-0.5, max_val=0.5),
    activations.Elu(alpha=0.5),
]
FROZEN = [["weights"], ["bias"], ["weights", "bias"]]
ODD_OPTIMIZERS = [
    optimizers.Sgd(learning_rate=0.1, momentum=0.9, nesterov=True),
    optimizers.RmsProp(eps=1e-2, alpha=0.8, momentum=0.5, centered=True, weight_decay=0.1),
    optimizers.NAdam(learning_rate=0.1, eps=1e-3),
    optimizers.RAdam(learning_rate=0.1, eps=1e-3),
    optimizers.Lion(learning_rate=0.1, weight_decay=0.1),
]


def odd_case(random: np.random.Generator) -> Case:
    """A random case with what is rarer: one output, label smoothing, class weights, hyperparameters and kinks of
    activations, a frozen layer, other optimizers, penalties and clippings."""
    case = random_case(random)
    loss, objective = case.loss, case.objective
    if isinstance(loss, LossOfProbabilities) and loss.kind != "kl_divergence" and random.random() < 0.5:
        rare: dict[str, Any] = {"label_smoothing": 0.2}
        if case.batch % 2:
            rare = {"class_weights": tuple(0.5 + 0.75 * k for k in range(case.targets.shape[1]))}
        objective = objective._replace(loss=replace(loss, **rare))
    layers = list(case.layers)
    i = int(random.integers(case.depth - 1))
    rule = PIECEWISE[random.integers(len(PIECEWISE))]
    for k in range(case.depth - 1):
        if k == i or random.random() < 0.3:
            layers[k] = replace(layers[k], activation=rule)
    if random.random() < 0.5:  # The first unit's preactivation is 0 exactly, or at hard_tanh's kink.
        weights, bias = layers[i].weights.copy(), np.array(layers[i].bias)
        weights[:, 0], bias[0] = 0, getattr(rule, "max_val", 0)
        layers[i] = replace(layers[i], weights=weights, bias=bias)
    if random.random() < 0.3:
        frozen = FROZEN[random.integers(len(FROZEN))]
        layers[i] = replace(layers[i], frozen=frozenset(frozen))
    case = replace(case, network=Network(tuple(layers)), objective=objective)
    if random.random() < 0.3:
        case = replace(case, regularization=Regularization(l1=0.1, l2=0.1))
    if random.random() < 0.3:
        case = replace(case, clipping=ClipByValue(max_value=0.1))
    if random.random() < 0.4:
        optimizer = ODD_OPTIMIZERS[random.integers(len(ODD_OPTIMIZERS))]
        case = replace(case, optimizer=optimizer, optimizer_state=None)
    if case.loss is not None and case.loss.kind in ("mse", "half_squared_error") and random.random() < 0.3:
        case = single_output(case)
    if case.optimizer is not None and random.random() < 0.5:
        case = later(case)
    return case


def single_output(case: Case) -> Case:
    """The same case with the first of its outputs alone."""
    last, objective = case.layers[-1], case.objective
    assert last.bias is not None and isinstance(objective, LossObjective)
    last = replace(last, weights=last.weights[:, :1], bias=last.bias[:1])
    network = Network((*case.layers[:-1], last))
    return replace(
        case, network=network, objective=objective._replace(targets=objective.targets[:, :1]), optimizer_state=None
    )


def case_of(sizes: tuple[int, ...], activations: tuple[Any, ...], loss: Any, targets: Any) -> Case:
    """A step by gradient descent of a network of these widths; its numbers are the same each time."""
    random = np.random.default_rng(sum(sizes))
    layers = [
        Dense(random.normal(size=(n, m)), random.normal(size=m), rule)
        for (n, m), rule in zip(pairwise(sizes), activations, strict=True)
    ]
    inputs = random.normal(size=(len(targets), sizes[0]))
    return Case(
        Network(tuple(layers)), inputs, LossObjective(loss, targets), optimizer=optimizers.Sgd(learning_rate=0.1)
    )


def later(case: Case) -> Case:
    """The same case one step later."""
    assert case.optimizer is not None
    made = step(case.network, case.inputs, case.objective, case.optimizer, case.state)
    return replace(case, network=made.network, optimizer_state=made.state)


@np.errstate(all="ignore")
def numbers_of(case: Case, *mistakes: Any) -> dict[Key, Any] | None:
    """What the step gives with these mistakes, or None where it is not finite."""
    computation = right(case)
    for mistake in mistakes:
        computation = mistake.alter(computation, case)
    numbers = dict(run(computation, case))
    return numbers if all(np.isfinite(n).all() for n in numbers.values()) else None


def claims_of(numbers: dict[Key, Any]) -> list[Claim]:
    return [Claim(key, np.array(n, np.float64)) for key, n in numbers.items()]


def same(one: Any, other: Any, tolerance: float = 1e-7) -> bool:
    return np.shape(one) == np.shape(other) and np.allclose(one, other, rtol=tolerance, atol=1e-3 * tolerance)


def differing(numbers: dict[Key, Any], others: dict[Key, Any], tolerance: float = 1e-5) -> list[Key]:
    """The keys whose numbers differ clearly."""
    return [key for key in numbers if not same(numbers[key], others[key], tolerance)]


def by_parameter(key: Key) -> bool:
    """Whether a key is that of a gradient by weights or biases."""
    return "gradients" in key and key[-1] in ("weights", "bias")


def parts(random: np.random.Generator, numbers: dict[Key, Any]) -> dict[Key, Any]:
    """All of the numbers, or those that people have: gradients of parameters and loss, perhaps parameters after it."""
    if random.random() < 0.6:
        return numbers
    kept = {k: n for k, n in numbers.items() if k == LOSS or by_parameter(k)}
    return kept | ({k: n for k, n in numbers.items() if k[0] == "network"} if random.random() < 0.5 else {})


def named_first(case: Case, planted: Mistake, numbers: dict[Key, Any]) -> Diagnosis:
    """The first diagnosis of these numbers: the planted mistake alone, or one alone that gives the same numbers."""
    first = verify(case, claims_of(numbers)).diagnoses[0]
    (mistake,) = first.mistakes
    if mistake != planted:
        others = numbers_of(case, mistake)
        assert others is not None and all(same(others[key], numbers[key]) for key in numbers), (planted, first)
    return first
