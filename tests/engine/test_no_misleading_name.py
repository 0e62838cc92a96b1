"""Numbers of which another name would be true by arithmetic alone: a wrong name is worse than none."""

from dataclasses import replace
from typing import Any

import numpy as np

from engine.activations import Identity, Sigmoid, Softmax, Tanh
from engine.layers import Dense
from engine.losses import Mse
from engine.mistakes.computation import GRADIENT_NORM, LOSS, UPDATE_NORM, Case, Numbers, layer_keys, right
from engine.mistakes.run import run
from engine.network import Network
from engine.objective import LossObjective
from engine.optimizers import Sgd
from engine.piecewise_activations import LeakyRelu, Relu
from engine.probability_losses import BinaryCrossEntropy, CrossEntropy
from engine.rules import Array
from engine.verification import Verification, verify
from tests.engine.random_steps import case_of, claims_of


def binary() -> Case:
    targets = np.array([[1.0], [0.0], [1.0], [1.0], [0.0], [0.0]])
    return case_of((4, 5, 1), (Tanh(), Sigmoid()), BinaryCrossEntropy(), targets)


def found(case: Case, **stages: Any) -> Verification:
    """What is said of the numbers that a program keeps, of the computation with these stages."""
    numbers = dict(run(right(case)._replace(**stages), case))
    left = {layer_keys(i).by_activations for i in range(case.depth)} | {GRADIENT_NORM, UPDATE_NORM}
    return verify(case, claims_of({key: n for key, n in numbers.items() if key not in left}))


def kinds(result: Verification) -> set[str]:
    return {m.kind for d in result.diagnoses for m in d.mistakes}


def test_one_number_is_not_made_by_two_mistakes_and_a_decimal_point() -> None:
    """Twice a mean of six is a sixth of it, times 6 / 5, times ten."""
    case = binary()
    numbers = dict(run(right(case), case))
    for loss in (2 * numbers[LOSS], float(f"{2 * numbers[LOSS]:.4g}")):
        assert "decimal_point_moved" not in kinds(verify(case, claims_of({**numbers, LOSS: loss})))


def test_zeros_are_not_two_mistakes() -> None:
    """tanh of relu's inputs, without decimals, is 0 as well."""
    case = case_of((3, 3, 3), (Relu(), Softmax()), CrossEntropy(), np.eye(3)[[0]])

    def activations(n: Numbers, i: int) -> Array:
        return np.zeros_like(n.z[i]) if i == 0 else n.layer(i).activation.forward(n.z[i])

    assert all(len(d.mistakes) == 1 for d in found(case, activations=activations).diagnoses)


def test_what_follows_from_the_preactivations_needs_no_name() -> None:
    """Activations that no mistake gives are below 0, and relu's derivative at z is still 1."""
    case = case_of((3, 4, 2), (Relu(), Identity()), Mse(), np.random.default_rng(1).normal(size=(5, 2)))
    positive = replace(case.layers[0], bias=np.full(4, 9.0))
    case = replace(case, network=Network((positive, case.layers[1])))

    def activations(n: Numbers, i: int) -> Array:
        return -n.z[i] / 3 if i == 0 else n.z[i]

    def by_preactivations(n: Numbers, i: int) -> Array:
        return n.by_a[i]

    result = found(case, activations=activations, by_preactivations=by_preactivations)
    assert kinds(result) <= {"wrong_from_here"}


def test_a_slope_is_no_decimal_point() -> None:
    """Nor is it relu with its sides exchanged, which gives the same where z > 0, and something else where it is not."""
    case = case_of(
        (3, 4, 2), (LeakyRelu(negative_slope=0.1), Identity()), Mse(), np.random.default_rng(1).normal(size=(5, 2))
    )
    result = found(case, activations=lambda n, i: (0.1 if i == 0 else 1.0) * n.z[i])
    assert kinds(result) == {"wrong_from_here"}


def test_rows_of_one_class_are_not_a_pair_of_mistakes() -> None:
    """Where t = 0 a lost denominator leaves p (1 - p), which other pairs of mistakes give too."""
    case = binary()

    def output_gradients(n: Numbers) -> Array:
        p, t = n.a[-1], n.case.targets
        return 1 - p - t / p

    result = found(case, output_gradients=output_gradients, combined=lambda n: None)
    assert all(len(d.mistakes) == 1 for d in result.diagnoses)


def test_parameters_from_before_the_step_are_not_nearly_updated() -> None:
    """A thousandth of a small step rounds to none, and nobody says so who can say that there was none."""
    case = binary()
    layers = [
        Dense(np.round(layer.weights, 1), np.round(np.asarray(layer.bias), 1), layer.activation)
        for layer in case.layers
    ]
    case = Case(Network(tuple(layers)), case.inputs, case.objective, optimizer=Sgd(learning_rate=0.01))
    assert kinds(found(case, updated=lambda n, i, name, g: n.layer(i).parameters[name])) == {"not_updated"}


def test_a_number_and_the_step_that_follows_from_it_have_no_factor() -> None:
    """Any number is some factor of three digits times another, and the step is so too."""
    case = binary()
    layers = [replace(one, bias=np.round(np.asarray(one.bias), 3)) for one in case.layers]
    case = replace(case, network=Network(tuple(layers)))
    result = found(case, by_bias=lambda n, i: np.array([3.0]) if i == 1 else n.by_z[i].sum(axis=0))
    assert "constant_factor" not in kinds(result)


def test_a_column_of_one_example_is_one_number() -> None:
    """Its error times the inputs; after a small step that shows few digits, some mistake gives it by chance."""
    weights = ("1 2 3 3 2 7 4 3 9", "2 3 5 3 5 7 6 4 8", "1 4 8 3 7 2 5 2 9")
    layers = [
        Dense(np.array(text.split(), float).reshape(3, 3) / 10, np.ones(3), rule)
        for text, rule in zip(weights, (Relu(), Sigmoid(), Softmax()), strict=True)
    ]
    objective = LossObjective(CrossEntropy(), np.eye(3)[[0]])
    case = Case(Network(tuple(layers)), np.array([[0.1, 0.2, 0.7]]), objective, optimizer=Sgd(learning_rate=0.01))

    def activations(n: Numbers, i: int) -> Array:
        a: Array = n.layer(i).activation.forward(n.z[i])
        return -a if i == 1 else a

    numbers = dict(run(right(case)._replace(activations=activations, by_preactivations=_by_sigmoid), case))
    result = verify(case, claims_of({key: n for key, n in numbers.items() if key[0] == "network"}))
    assert not any(d.entries for d in result.diagnoses)


def _by_sigmoid(n: Numbers, i: int) -> Array:
    a = n.layer(i).activation.forward(n.z[i])
    return n.a[-1] - n.case.targets if i == 2 else n.layer(i).activation.backward(n.by_a[i], n.z[i], a)
