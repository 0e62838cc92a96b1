"""A mistake of the update that is made in the line of some parameters alone, of a kind or a layer, is found there."""

from typing import Any

import numpy as np
import pytest

from engine.claims import Claim
from engine.mistakes.adaptive import BiasCorrectionLeftOut
from engine.mistakes.computation import Case, layer_keys, right
from engine.mistakes.run import run
from engine.mistakes.search import in_steps_of
from engine.mistakes.update import (
    LearningRateMissing,
    MomentumMixedUp,
    NotUpdated,
    PlusInPlaceOfMinus,
    StepInPlaceOfParameters,
)
from engine.verification import verify
from schemas.verify import verification_to_wire
from tests.engine.random_steps import PLANTED, claims_of, differing, later, numbers_of, random_case

PLANTS = [
    LearningRateMissing(),
    PlusInPlaceOfMinus(),
    StepInPlaceOfParameters(),
    MomentumMixedUp(form="left_out"),
    MomentumMixedUp(form="buffer_before"),
    BiasCorrectionLeftOut(of="second"),
]


def of_kind(case: Case, kind: str) -> tuple[tuple[int, str], ...]:
    return tuple((i, kind) for i in range(case.depth))


def claimed(case: Case, mistake: Any, only: tuple[tuple[int, str], ...]) -> list[Claim]:
    base = right(case)
    return claims_of(dict(run(in_steps_of(only, mistake.alter(base, case), base), case)))


@pytest.mark.parametrize("kind", ["weights", "bias"])
@pytest.mark.parametrize("planted", PLANTS, ids=lambda mistake: mistake.kind)
def test_it_is_named_and_so_is_the_kind(planted: Any, kind: str) -> None:
    random, found = np.random.default_rng(17), 0
    while found < PLANTED:
        case = random_case(random)
        if case.optimizer is None or not planted.applies(case := later(case)):
            continue
        only = of_kind(case, kind)
        truth, claims = numbers_of(case), claimed(case, planted, only)
        wrong = [key for key in differing({c.key: c.values for c in claims}, truth or {}) if key[0] == "network"]
        if truth is None or len(wrong) < case.depth:
            continue
        result = verify(case, claims)
        readings = [(m, d.only) for d in result.diagnoses for m in d.mistakes]
        assert (planted, only) in readings, (planted, readings)
        assert set(wrong) <= set(result.diagnoses[0].explains) and not result.unexplained
        wire = verification_to_wire(result, {claim.key: claim for claim in claims})
        of = {"weights": "weights", "bias": "biases"}[kind]
        assert f"made in the steps of {of} only" in wire["diagnoses"][0]["explanation"]
        found += 1


@pytest.mark.parametrize("names", [("weights",), ("bias",), ("bias", "weights")])
def test_it_is_named_in_one_layer_too(names: tuple[str, ...]) -> None:
    """Where each parameter has a line of its own."""
    random, found = np.random.default_rng(18), 0
    while found < PLANTED:
        case, i = random_case(random), found % 2
        if case.optimizer is None or not (LearningRateMissing().applies(case) and numbers_of(case)):
            continue
        only = tuple((i, name) for name in names)
        claims = claimed(case, LearningRateMissing(), only)
        wrong = differing({c.key: c.values for c in claims}, numbers_of(case) or {})
        if {key for key in wrong if key[0] == "network"} != {layer_keys(i).new[name] for name in names}:
            continue
        result = verify(case, claims)
        assert (LearningRateMissing(), only) in [(m, d.only) for d in result.diagnoses for m in d.mistakes]
        wire = verification_to_wire(result, {claim.key: claim for claim in claims})["diagnoses"][0]
        assert wire["layer"] == i and f"in layer {i} only" in wire["explanation"] and not result.unexplained
        found += 1


def test_where_one_kind_alone_is_claimed_it_is_made_in_both() -> None:
    random, found = np.random.default_rng(4), 0
    while found < PLANTED:
        case = random_case(random)
        if case.optimizer is None or numbers_of(case, PlusInPlaceOfMinus()) is None:
            continue
        only = of_kind(case, "weights")
        claims = [c for c in claimed(case, PlusInPlaceOfMinus(), only) if c.key[-1] == "weights"]
        first = verify(case, claims).diagnoses[0]
        assert not first.only and first.mistakes == (PlusInPlaceOfMinus(),)
        found += 1


def test_what_is_not_updated_says_itself_which() -> None:
    """Also where its gradients are claimed in another shape, so that they are not explained."""
    random, found = np.random.default_rng(6), 0
    while found < PLANTED:
        case = random_case(random)
        truth, numbers = numbers_of(case), numbers_of(case, NotUpdated(of="weights"))
        if case.optimizer is None or truth is None or numbers is None or not differing(numbers, truth):
            continue
        key = layer_keys(0).by["weights"]
        result = verify(case, claims_of({**numbers, key: np.zeros(())}))
        assert NotUpdated(of="weights") in [m for d in result.diagnoses for m in d.mistakes]
        assert not any(d.only for d in result.diagnoses)
        found += 1
