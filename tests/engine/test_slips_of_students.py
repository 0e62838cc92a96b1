"""Slips that are natural in code as students write it, planted into small networks."""

from typing import Any

import numpy as np

from engine.activations import Identity, Softmax, Tanh
from engine.claims import Claim
from engine.losses import Mse
from engine.mistakes.computation import Case, Key, layer_keys
from engine.mistakes.output_error import OutputErrorMixedUp
from engine.mistakes.parameters import BiasGradientOneForAll, GradientMissing
from engine.probability_losses import CrossEntropy
from engine.verification import verify
from tests.engine.random_steps import case_of, claims_of, numbers_of


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


def test_labels_that_are_all_0_are_not_said_to_be_subtracted() -> None:
    case = case_of((3, 4, 3), (Tanh(), Softmax()), CrossEntropy(), np.eye(3)[[0, 0]])
    numbers = numbers_of(case, OutputErrorMixedUp(form="targets_left_out"))
    result = verify(case, claims_of(numbers or {}))
    assert [m.kind for d in result.diagnoses for m in d.mistakes] == ["output_error_mixed_up"]


def test_a_loop_over_one_unit_is_not_one_short() -> None:
    """Without its only term the error is 0, which is a gradient that is missing."""
    case = case_of((3, 4, 1), (Tanh(), Identity()), Mse(), np.array([[0.5], [1.0]]))
    result = verify(case, claims_of(numbers_of(case, GradientMissing(layer=0)) or {}))
    assert result.diagnoses[0].mistakes[0].kind == "gradient_missing"
