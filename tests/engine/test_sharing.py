"""What an altered computation takes over from the right one is what it would have computed."""

from typing import Any

import numpy as np
import pytest

from engine.mistakes import variants
from engine.mistakes.computation import Case, Key, right
from engine.mistakes.run import run, shared_numbers
from engine.mistakes.search import FAILURES
from tests.engine.random_steps import random_case


def outcome(computation: Any, case: Case, given: dict[Key, Any], **shared: Any) -> dict[Key, Any] | type[Exception]:
    """The numbers of a run, or how it failed."""
    try:
        return dict(run(computation, case, given, **shared))
    except FAILURES as error:
        return type(error)


@np.errstate(all="ignore")
@pytest.mark.parametrize("share_given", [0.0, 0.5, 1.0])
def test_every_mistake_gives_the_same_numbers(share_given: float) -> None:
    """With `given`, numbers that somebody claims stand in place of those computed, as in half of the arrays or all."""
    random, seen = np.random.default_rng(3), set()
    for _ in range(3):
        case = random_case(random)
        truth = dict(run(right(case), case))
        given = {
            key: np.asarray(numbers) * random.uniform(0.9, 1.1, np.shape(numbers))
            for key, numbers in truth.items()
            if random.random() < share_given
        }
        answer = dict(run(right(case), case, given))
        shared = shared_numbers(case, answer, given)
        for mistake in variants(case, range(case.depth)):
            computation = mistake.alter(right(case), case)
            alone, sharing = outcome(computation, case, given), outcome(computation, case, given, shared=shared)
            if isinstance(alone, dict) and isinstance(sharing, dict):
                for key, numbers in alone.items():
                    np.testing.assert_array_equal(sharing.get(key, answer[key]), numbers, f"{mistake} {key}")
                seen.add(mistake.kind)
            else:
                assert alone == sharing, mistake
    assert len(seen) > 80
