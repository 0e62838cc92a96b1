"""What a search for mistakes does beside the passes that it counts grows with the depth, not with its square."""

from typing import Any

import numpy as np
import pytest

from engine.activations import Tanh
from engine.claims import Claim
from engine.layers import Dense
from engine.losses import Mse
from engine.mistakes import search as searching
from engine.mistakes.computation import Case, Key, right
from engine.mistakes.run import run
from engine.mistakes.search import Search, branch
from engine.mistakes.walk import Overlay, Walk
from engine.network import Network
from engine.objective import LossObjective
from engine.optimizers import Sgd
from engine.verification import verify

DEPTH = 12


@pytest.fixture
def case() -> Case:
    random = np.random.default_rng(0)
    layers = tuple(Dense(random.normal(size=(1, 1)), random.normal(size=1), Tanh()) for _ in range(DEPTH))
    objective = LossObjective(Mse(), np.array([[0.3], [0.1]]))
    return Case(Network(layers), np.array([[0.5], [0.7]]), objective, optimizer=Sgd())


@pytest.fixture
def claims(case: Case) -> dict[Key, Claim]:
    """All of its numbers, each of them wrong."""
    return {key: Claim(key, np.asarray(n) * 1.1234567 + 0.0123456789) for key, n in run(right(case), case)}


def test_what_follows_from_the_claims_is_computed_once_for_all_arrays(
    case: Case, claims: dict[Key, Claim], monkeypatch: pytest.MonkeyPatch
) -> None:
    passes, overlay = [], Walk._overlay

    def counted(self: Walk, given: Any) -> Overlay:
        passes.append(given)
        return overlay(self, given)

    monkeypatch.setattr(Walk, "_overlay", counted)
    assert len(verify(case, claims.values()).unexplained) > DEPTH
    assert 2 <= len(passes) <= 4


def test_the_layers_of_a_mistake_are_found_without_a_look_at_every_claim(
    case: Case, claims: dict[Key, Claim], monkeypatch: pytest.MonkeyPatch
) -> None:
    search, looks = Search(case, claims, dict(run(right(case), case)), list(claims)), []
    monkeypatch.setattr(searching, "branch", lambda key: looks.append(key) or branch(key))
    windows = {key: search.window(key) for key in claims}
    assert len(looks) <= 4 * len(claims)
    assert windows["layers", 3, "activations"] == range(2, 4)
    assert windows["layers", 3, "gradients", "weights"] == range(3, 5)
    assert windows["network", "layers", DEPTH - 1, "bias"] == range(DEPTH - 1, DEPTH)
    assert windows["loss",] == range(DEPTH)


def test_the_layers_of_a_mistake_reach_to_the_next_claim(case: Case, claims: dict[Key, Claim]) -> None:
    few = {key: claims[key] for key in claims if "layers" not in key or key[key.index("layers") + 1] in (2, 7)}
    search = Search(case, few, dict(run(right(case), case)), list(few))
    assert search.window(("layers", 2, "preactivations")) == range(3)
    assert search.window(("layers", 7, "preactivations")) == range(2, 8)
    assert search.window(("layers", 2, "gradients", "weights")) == range(2, 8)
    assert search.window(("layers", 7, "gradients", "weights")) == range(7, DEPTH)
