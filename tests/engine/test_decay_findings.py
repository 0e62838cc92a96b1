"""Weight decay and penalties that leave nothing to learn, and those that do."""

from typing import Any

import numpy as np
import pytest

from engine import activations, losses, optimizers
from engine.adam_optimizers import Adam, AdamW, NAdam
from engine.findings import diagnose, examine
from engine.network import Network
from engine.objective import LossObjective
from engine.regularization import Regularization
from engine.rules import Array
from engine.step import init_state, step
from tests.engine.test_findings import POINTS, VALUES, hidden, network_of

TARGETS = np.tanh(POINTS @ [[-1.0], [1.0]])
SGD = optimizers.Sgd(learning_rate=0.1)


def trained(network: Network, optimizer: Any, penalty: Regularization | None, steps: int) -> tuple[list[Any], float]:
    """The findings after so many steps, and the part of the variance that is not explained."""
    state, objective = init_state(optimizer, network), LossObjective(losses.Mse(), TARGETS)
    for _ in range(steps):
        taken = step(network, POINTS, objective, optimizer, state, penalty)
        network, state = taken.network, taken.state
    case = examine(network, POINTS, objective, optimizer, state, penalty)
    return diagnose(case), float(case.before.evaluation.loss) / TARGETS.var()


@pytest.mark.parametrize("steps", [0, 300])
@pytest.mark.parametrize(
    ("optimizer", "penalty", "words"),
    [
        (SGD, Regularization(l2=2.0), "layer the penalty pulls"),
        (SGD, Regularization(l1=0.5), "layer the penalty pulls"),
        (optimizers.Sgd(learning_rate=0.1, weight_decay=2.0), None, "layer weight decay pulls"),
        (optimizers.Sgd(learning_rate=0.1, weight_decay=1.0), Regularization(l2=1.0), "the penalty with weight decay"),
        (AdamW(learning_rate=0.003, weight_decay=100.0), None, "layer weight decay pulls"),
        (NAdam(learning_rate=0.003, weight_decay=100.0, decoupled_weight_decay=True), None, "layer weight decay pulls"),
        (optimizers.Lion(learning_rate=0.003, weight_decay=100.0), None, "layer weight decay pulls"),
    ],
)
def test_decay_that_outweighs_the_loss_is_told_first(optimizer: Any, penalty: Any, words: str, steps: int) -> None:
    told, left = trained(hidden(activations.Tanh()), optimizer, penalty, steps)
    assert told[0].code == "strong_decay" and told[0].severity == "warning" and words in told[0].message
    assert left > 0.98 and min(told[0].evidence["ratios"]) >= 0.5
    assert len(told[0].evidence["weight_norms"]) == 2


@pytest.mark.parametrize("steps", [0, 300])
@pytest.mark.parametrize(
    ("optimizer", "penalty"),
    [
        (SGD, Regularization(l2=0.01)),
        (SGD, Regularization(l1=0.001)),
        (optimizers.Sgd(learning_rate=0.1, weight_decay=0.01), None),
        (AdamW(learning_rate=0.01), None),
        (Adam(learning_rate=0.01, weight_decay=0.01), None),
        (AdamW(learning_rate=0.01, weight_decay=0.3), Regularization(l2=0.001)),
        (optimizers.Lion(learning_rate=0.003, weight_decay=0.3), None),
    ],
)
def test_decay_that_lets_a_network_learn_is_not_told(optimizer: Any, penalty: Any, steps: int) -> None:
    told, left = trained(hidden(activations.Tanh()), optimizer, penalty, steps)
    assert "strong_decay" not in [finding.code for finding in told]
    assert steps == 0 or left < 0.3


def found(network: Network, targets: Array, optimizer: Any, penalty: Any = None) -> set[str]:
    state = init_state(optimizer, network)
    case = examine(network, POINTS, LossObjective(losses.Mse(), targets), optimizer, state, penalty)
    return {finding.code for finding in diagnose(case)}


def test_decay_is_not_blamed_for_what_others_do() -> None:
    dead = network_of(
        (np.full((2, 4), 0.5), np.full(4, -99.0), activations.Relu()), (np.ones((4, 1)), [0.0], activations.Identity())
    )
    decay = optimizers.Sgd(learning_rate=0.1, weight_decay=2.0)
    assert {"dead_relu", "chance_level"} <= found(dead, VALUES, decay) and "strong_decay" not in found(
        dead, VALUES, decay
    )
    up = optimizers.Sgd(learning_rate=0.1, weight_decay=2.0, maximize=True)
    assert "strong_decay" not in found(hidden(activations.Tanh()), TARGETS, up)
    still = AdamW(learning_rate=0.0, weight_decay=20.0)
    assert "strong_decay" not in found(hidden(activations.Tanh()), TARGETS, still)
