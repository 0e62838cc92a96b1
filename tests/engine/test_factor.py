"""A factor that all numbers are off by, planted into random steps, is found."""

from typing import Any

import numpy as np
import pytest

from engine.mistakes.computation import LOSS, PENALTY
from engine.mistakes.factor import ConstantFactor
from engine.verification import verify
from tests.engine.random_steps import PLANTED, by_parameter, claims_of, differing, numbers_of, parts, random_case, same

STEPS = ("step", "weights_step", "bias_step")


@pytest.mark.parametrize("at", ["both", "gradients", "parameters", "preactivations", "weights", "bias", *STEPS])
def test_a_constant_factor_is_found(at: Any) -> None:
    random = np.random.default_rng(21)
    found = 0
    while found < PLANTED:
        case = random_case(random)
        layer = int(random.integers(case.depth)) if at in ("preactivations", "weights", "bias") else None
        times = float(random.choice([0.15625, 0.37, 2.6, 3 / 7]))
        planted = ConstantFactor(times=times, at=at, layer=layer)
        if at in STEPS and case.optimizer is None:
            continue
        truth, numbers = numbers_of(case), numbers_of(case, planted)
        if truth is None or numbers is None:
            continue
        numbers = parts(random, numbers)
        wrong = differing(numbers, truth)
        # Of fewer numbers any quotient could be a factor.
        if sum(np.size(numbers[key]) for key in wrong if len(key) > 1) < 4:
            continue
        first = verify(case, claims_of(numbers)).diagnoses[0]
        assert set(wrong) <= set(first.explains) and not first.from_claims
        (mistake,) = first.mistakes
        if isinstance(mistake, ConstantFactor):
            assert mistake.times == pytest.approx(times, rel=1e-9)
        others = numbers_of(case, mistake)
        assert others is not None and all(same(others[key], numbers[key]) for key in numbers), (planted, first)
        found += 1


@pytest.mark.parametrize("times", [2.0, 0.5, None])
@pytest.mark.parametrize("digits", [17, 5])
def test_a_simple_factor_of_the_loss_is_found(times: float | None, digits: int) -> None:
    """None is the square of the number of examples, by which a product in place of the division is off."""
    random, found = np.random.default_rng(13), 0
    while found < PLANTED:
        case = random_case(random)
        truth = numbers_of(case)
        factor = float(case.batch**2) if times is None else times
        if truth is None or factor == 1 or not 1e-2 < truth[LOSS] - truth[PENALTY] < 1e3:
            continue
        planted = truth[PENALTY] + factor * (truth[LOSS] - truth[PENALTY])
        first = verify(case, claims_of({**truth, LOSS: float(f"{planted:.{digits}g}")})).diagnoses[0]
        assert first.explains == (LOSS,) and len(first.mistakes) == 1
        (mistake,) = first.mistakes
        if isinstance(mistake, ConstantFactor):
            assert mistake.at == "loss" and mistake.times == pytest.approx(factor)
            found += 1


def test_no_factor_of_many_digits_is_one_of_the_loss() -> None:
    random, seen = np.random.default_rng(14), 0
    while seen < PLANTED:
        case = random_case(random)
        truth = numbers_of(case)
        if truth is None or truth[PENALTY]:
            continue
        seen += 1
        result = verify(case, claims_of({**truth, LOSS: truth[LOSS] * 1.23456789}))
        assert not result.diagnoses and result.unexplained == [LOSS]


@pytest.mark.parametrize("factor", [3.7, -0.25, None])
def test_the_factor_of_an_array_is_found(factor: float | None) -> None:
    """None is the number of examples."""
    random = np.random.default_rng(5)
    found = 0
    while found < PLANTED:
        case = random_case(random)
        truth = numbers_of(case)
        times = case.batch if factor is None else factor
        if truth is None or times == 1:
            continue
        numbers = {k: n for k, n in truth.items() if by_parameter(k)}
        keys = [k for k, n in numbers.items() if np.count_nonzero(n) > 1]
        if not keys:
            continue
        key = keys[random.integers(len(keys))]
        numbers[key] = times * numbers[key]
        first = verify(case, claims_of(numbers)).diagnoses[0]
        mistake = first.mistakes[0]
        if not isinstance(mistake, ConstantFactor):  # then one, or two, that give the same numbers
            others = numbers_of(case, *first.mistakes)
            assert others is not None and same(others[key], numbers[key]), (times, first)
            continue
        assert mistake.times == pytest.approx(times, rel=1e-9) and first.explains == (key,)
        assert factor is not None or mistake.meaning == "the number of examples"
        found += 1


@pytest.mark.parametrize("off", [3e-6, -2e-6])
def test_what_cancellation_leaves_is_no_factor(off: float) -> None:
    """The gradient of a saturated output has few digits that are right; an adaptive step makes it as large as any."""
    random, seen = np.random.default_rng(8), 0
    while seen < PLANTED // 2:
        case = random_case(random)
        truth = numbers_of(case)
        if truth is None:
            continue
        seen += 1
        claimed = {key: n * (1 + off) for key, n in truth.items() if by_parameter(key)}
        result = verify(case, claims_of(claimed))
        assert not [m for d in result.diagnoses for m in d.mistakes if isinstance(m, ConstantFactor)]
