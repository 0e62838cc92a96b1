"""Slips that are natural in code as students write it, planted into small networks."""

from typing import Any

import numpy as np

from engine.activations import Identity, Tanh
from engine.claims import Claim
from engine.layers import Dense
from engine.losses import Mse
from engine.mistakes.computation import Case, Key, layer_keys
from engine.mistakes.parameters import BiasGradientOneForAll
from engine.network import Network
from engine.objective import LossObjective
from engine.optimizers import Sgd
from engine.verification import verify
from tests.engine.random_steps import numbers_of


def case_of(sizes: tuple[int, ...], activations: tuple[Any, ...], loss: Any, targets: Any) -> Case:
    random = np.random.default_rng(sum(sizes))
    layers = [
        Dense(random.normal(size=(n, m)), random.normal(size=m), rule)
        for n, m, rule in zip(sizes, sizes[1:], activations, strict=False)
    ]
    inputs = random.normal(size=(len(targets), sizes[0]))
    return Case(Network(tuple(layers)), inputs, LossObjective(loss, targets), optimizer=Sgd(learning_rate=0.1))


def squares() -> Case:
    return case_of((3, 4, 2), (Tanh(), Identity()), Mse(), np.random.default_rng(1).normal(size=(5, 2)))


def test_a_sum_without_axis_is_named_where_one_number_is_claimed() -> None:
    case = squares()
    mistake = BiasGradientOneForAll()
    numbers: dict[Key, Any] = numbers_of(case, mistake) or {}
    keys = [layer_keys(i).by["bias"] for i in range(case.depth)]
    claims = [Claim(key, np.array(n[0] if key in keys else n)) for key, n in numbers.items()]
    result = verify(case, claims)
    assert result.diagnoses[0].mistakes == (mistake,) and not result.unexplained
    assert set(keys) <= set(result.diagnoses[0].explains)
