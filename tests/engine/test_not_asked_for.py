"""Weight decay, scales of dropout, clippings and preprocessings that nobody asked for, planted into random steps, are
found."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from engine.mistakes.clipping import clippings
from engine.mistakes.computation import Case, layer_keys
from engine.mistakes.data import preprocessings
from engine.mistakes.decay import WeightDecayNotAskedFor
from engine.mistakes.dropout import scales
from engine.optimizers import Sgd
from engine.verification import verify
from tests.conftest import searching
from tests.engine.random_steps import (
    PLANTED,
    by_parameter,
    claims_of,
    differing,
    named_first,
    numbers_of,
    parts,
    random_case,
)


@pytest.mark.parametrize("of", ["weights", "parameters"])
@pytest.mark.parametrize("at", ["both", "gradients", "loss", "step", "decoupled"])
def test_weight_decay_that_was_not_asked_for_is_found(at: Any, of: Any) -> None:
    random, found = np.random.default_rng(31), 0
    while found < PLANTED // 2:
        case = replace(random_case(random), regularization=None)
        if getattr(case.optimizer, "weight_decay", 0) or (case.optimizer is None and at in ("step", "decoupled")):
            continue
        usual = at == "step" and not isinstance(case.optimizer, Sgd)  # of a step that adapts
        strength = float(random.choice([5e-4, 1e-2] if usual else [5e-4, 1e-2, 0.037]))
        planted = WeightDecayNotAskedFor(at=at, of=of, strength=strength)
        truth, numbers = numbers_of(case), numbers_of(case, planted)
        if truth is None or numbers is None:
            continue
        numbers = parts(random, numbers)
        wrong = differing(numbers, truth, 1e-4)
        if not wrong:  # a step that adapts to its gradient may be the same
            continue
        assert set(wrong) <= set(named_first(case, planted, numbers).explains)
        found += 1


def test_a_scale_of_dropout_is_found() -> None:
    random, left, found = np.random.default_rng(32), set(scales(random_case(np.random.default_rng(0)), ())), 0
    assert len(left) == 24
    for _ in range(3000):
        case = random_case(random)
        options = list(scales(case, range(case.depth)))
        options = [m for m in options if m in left] if found >= PLANTED else options
        if not options:
            break
        planted = options[random.integers(len(options))]
        truth, numbers = numbers_of(case), numbers_of(case, planted)
        if truth is None or numbers is None:
            continue
        numbers = parts(random, numbers)
        wrong = differing(numbers, truth)
        if not wrong:
            continue
        assert set(wrong) <= set(named_first(case, planted, numbers).explains)
        left.discard(planted)
        found += 1
    assert not left


@pytest.mark.parametrize("by", ["norm", "value"])
def test_a_clipping_that_was_not_asked_for_is_found(by: Any) -> None:
    random, found = np.random.default_rng(34), 0
    while found < PLANTED // 2:
        case = replace(random_case(random), clipping=None)
        options = [m for m in clippings(case) if m.by == by]
        if not options:
            continue
        planted = options[random.integers(len(options))]
        truth, numbers = numbers_of(case), numbers_of(case, planted)
        if truth is None or numbers is None:
            continue
        wrong = differing(numbers, truth, 1e-4)
        if not wrong:
            continue
        first = named_first(case, planted, numbers)
        assert set(wrong) <= set(first.explains)
        found += first.mistakes == (planted,) or by == "norm"  # by the norm it is a step shorter by a factor


def test_preprocessed_inputs_and_targets_are_found() -> None:
    random, left, found = np.random.default_rng(35), set(preprocessings(example(5))), 0
    assert len(left) == 17 and len(set(preprocessings(example(1)))) == 6
    for _ in range(3000):
        case = random_case(random)
        options = [m for m in preprocessings(case) if m in left or found < PLANTED]
        if not left and found >= 3 * PLANTED:
            break
        if not options:
            continue
        planted = options[random.integers(len(options))]
        truth, numbers = numbers_of(case), numbers_of(case, planted)
        if truth is None or numbers is None:
            continue
        numbers = parts(random, numbers)
        wrong = differing(numbers, truth, 1e-4)
        if len(wrong) < 3:  # what is left may be another mistake's too
            continue
        assert set(wrong) <= set(named_first(case, planted, numbers).explains)
        left.discard(planted)
        found += 1
    assert not left


def example(batch: int) -> Case:
    random = np.random.default_rng(36)
    while (case := random_case(random)).batch != batch:
        pass
    return case


def test_inputs_of_another_scale_are_not_taken_for_standardized_ones() -> None:
    """Each feature times a factor of its own, and another number added to it."""
    random, seen = np.random.default_rng(37), 0
    while seen < searching(4, 6):
        case = random_case(random)
        features = case.inputs.shape[1]
        inputs = random.uniform(0.5, 2, features) * case.inputs + random.normal(size=features)
        numbers = numbers_of(replace(case, inputs=inputs))
        if numbers is None:
            continue
        claims = claims_of({k: n for k, n in numbers.items() if by_parameter(k)})
        kinds = {m.kind for d in verify(case, claims).diagnoses for m in d.mistakes}
        assert not kinds & {"inputs_preprocessed", "targets_preprocessed"}
        seen += 1


def test_weights_that_are_off_in_another_direction_have_not_decayed() -> None:
    random, seen = np.random.default_rng(33), 0
    while seen < 10:
        case = replace(random_case(random), regularization=None, clipping=None, optimizer=Sgd(learning_rate=0.1))
        numbers = numbers_of(replace(case, optimizer_state=None))
        if numbers is None:
            continue
        claimed = {k: n for k, n in numbers.items() if by_parameter(k)}
        key = layer_keys(case.depth - 1).by["weights"]
        claimed[key] = claimed[key] + 0.01 * random.normal(size=np.shape(claimed[key]))
        kinds = {m.kind for d in verify(case, claims_of(claimed)).diagnoses for m in d.mistakes}
        assert not kinds & {"weight_decay_not_asked_for", "dropout_scale"}
        seen += 1
