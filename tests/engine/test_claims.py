"""Reading claims: digits as printed, rounding, float32, and no false accusation on 500 correct claims."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from engine.activations import Identity, Tanh
from engine.claims import Claim, compare
from engine.layers import Dense
from engine.losses import HalfSquaredError
from engine.mistakes.computation import Case, Key
from engine.mistakes.numerics import in_dtype
from engine.network import Network
from engine.objective import LossObjective
from engine.verification import verify
from tests.engine.random_steps import claims_of, numbers_of, random_case

FORMS = ["full", "digits", "decimals", "float32", "noise", "part"]


def to_digits(numbers: Any, digits: int) -> Any:
    return np.vectorize(lambda v: float(f"{v:.{digits}g}"))(np.asarray(numbers, np.float64))


def claimed(random: np.random.Generator, form: str, case: Case, numbers: dict[Key, Any]) -> dict[Key, Any] | None:
    """Correct numbers as people write them."""
    places = int(random.integers(3, 17))
    match form:
        case "digits":
            return {key: to_digits(n, places) for key, n in numbers.items()}
        case "decimals":
            return {key: np.round(np.asarray(n, np.float64), places) for key, n in numbers.items()}
        case "float32":
            return numbers_of(in_dtype(case, np.float32))
        case "noise":  # another order of adding up
            return {key: n * (1 + random.normal(size=np.shape(n)) * 1e-14) for key, n in numbers.items()}
        case "part":
            keys = [list(numbers)[k] for k in random.permutation(len(numbers))[: random.integers(1, 5)]]
            return {key: to_digits(numbers[key], places) for key in keys}
    return numbers


def test_no_false_accusation() -> None:
    random = np.random.default_rng(0)
    seen = 0
    while seen < 500:
        case = random_case(random)
        if random.random() < 0.2:  # small and large weights: vanishing, saturated
            factor = 10.0 ** random.uniform(-2, 0.7)
            layers = tuple(replace(layer, weights=layer.weights * factor) for layer in case.layers)
            case = replace(case, network=Network(layers))
        numbers = numbers_of(case)
        form = FORMS[seen % len(FORMS)]
        made = None if numbers is None else claimed(random, form, case, numbers)
        if made is None:
            continue
        result = verify(case, claims_of(made))
        wrong = [(c.key, c.worst) for c in result.comparisons if not c.matches]
        assert not wrong, (form, wrong, [d.mistakes for d in result.diagnoses])
        assert {d.mistakes[0].kind for d in result.diagnoses} <= {"float32_in_place_of_float64"}
        seen += 1


@pytest.mark.parametrize("digits", range(1, 13))
def test_digits_and_decimals_are_read_as_printed(digits: int) -> None:
    random = np.random.default_rng(digits)
    numbers = to_digits(random.normal(size=50) * 10.0 ** random.integers(-9, 15, 50), digits)
    tuples = [Decimal(repr(float(v))).normalize().as_tuple() for v in numbers]
    assert Claim(("outputs",), numbers).printed == [(len(t.digits), -int(t.exponent)) for t in tuples]


@pytest.mark.parametrize(
    ("printed", "units"),
    [
        ([0.938, 0.94, 0.98], [0.001, 0.005, 0.005]),  # two digits: 0.940, or rounded to two
        ([0.5, 0.25], [0.001, 0.001]),  # few digits everywhere: read as three
        ([1230.0, 45.6], [10.0, 0.1]),
        ([0.0, 0.1234], [1e-4, 1e-4]),  # a zero has the others' decimals
        ([1e-12, 2.34e-12], [1e-14, 1e-14]),
        ([5e-324, -1330.0], [0.0, 10.0]),  # a number as small as can be does not make the other one exact
        ([1 / 3, 0.5], None),
        ([0.0, 0.0], None),  # nothing but zeros tells nothing
    ],
)
def test_the_place_that_numbers_are_printed_to(printed: list[float], units: list[float] | None) -> None:
    unit = Claim(("outputs",), np.array(printed)).unit
    if units is None:
        assert unit is None
    else:
        assert unit == pytest.approx(np.array(units), rel=1e-12, abs=0)


@pytest.mark.parametrize(("printed", "told"), [([0.39, -1.2], True), ([0.38, -1.2], False), ([0.394, -1.3], False)])
def test_right_numbers_of_too_few_digits_are_told_from_wrong_ones(printed: list[float], told: bool) -> None:
    found = compare(Claim(("outputs",), np.array(printed)), np.array([0.394, -1.234]), 1e-6, 1e-9)
    assert not found.matches and ("fewer than three digits" in (found.message or "")) == told


def test_zeros_match_what_rounds_to_zero_only_among_rounded_numbers() -> None:
    layers = (
        Dense(np.eye(2), np.full(2, 0.1), Tanh()),
        Dense(np.full((2, 1), 1e-5), np.array([0.3]), Identity()),
    )
    case = Case(Network(layers), np.array([[0.3, -0.2]]), LossObjective(HalfSquaredError(), np.array([[1.0]])))
    numbers = numbers_of(case)
    key: Key = ("layers", 0, "gradients", "bias")
    assert numbers is not None and 0 < np.abs(numbers[key]).max() < 1e-4
    rounded = {k: np.round(n, 3) for k, n in numbers.items()}
    assert not rounded[key].any() and verify(case, claims_of(rounded)).matches
    missing = verify(case, claims_of(numbers | {key: np.zeros(2)}))
    assert [c.key for c in missing.comparisons if not c.matches] == [key]
    assert missing.diagnoses[0].mistakes[0].kind == "bias_gradient_missing"


@pytest.mark.parametrize(
    ("claimed", "right", "told"), [(1.0, 1.617, True), (0.0, 0.7, True), (1.0, 0.7, False), (2.0, 1.617, False)]
)
def test_an_integer_in_place_of_a_number_is_told(claimed: float, right: float, told: bool) -> None:
    found = compare(Claim(("loss",), np.array(claimed)), right, 1e-6, 1e-9)
    assert not found.matches and ("without their decimals" in (found.message or "")) == told


@pytest.mark.parametrize(
    ("claimed", "right", "told"),
    [(6.9e-310, 0.1, True), (-6.3e66, 0.1, True), (6.3e66, 5e66, False), (5.0, 0.1, False)],
)
def test_a_number_from_memory_that_was_not_set_is_told(claimed: float, right: float, told: bool) -> None:
    found = compare(Claim(("outputs",), np.array([[0.25, claimed]])), np.array([[0.25, right]]), 1e-6, 1e-9)
    assert not found.matches and ("never set" in (found.message or "")) == told
