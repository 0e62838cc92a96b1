"""Findings about steps: those that lead uphill, and those that are too small."""

import numpy as np
import pytest

from engine import activations, losses, optimizers
from engine.clipping import ClipByNorm
from engine.findings import Finding, diagnose, examine
from engine.objective import LossObjective
from engine.step import init_state, step
from tests.engine.test_findings import POINTS, found, network_of

LINE = POINTS @ [[1.0], [2.0]]


def large(finding: Finding) -> tuple[str, bool]:
    """How bad a large_learning_rate is, and whether no shorter step would do."""
    return finding.severity, "uphill at any length" in finding.message


@pytest.mark.parametrize(("rate", "severity"), [(1e-3, "info"), (0.05, "warning")])
def test_a_step_that_momentum_leads_uphill_is_not_too_long(rate: float, severity: str) -> None:
    """The momentum of a batch that asked for the opposite."""
    network = network_of(([[0.9], [1.9]], None, activations.Identity()))
    optimizer = optimizers.Sgd(learning_rate=rate, momentum=0.9)
    state = init_state(optimizer, network)
    for _ in range(3):
        state = step(network, POINTS, LossObjective(losses.Mse(), -3 * LINE), optimizer, state).state
    finding = next(
        f
        for f in diagnose(examine(network, POINTS, LossObjective(losses.Mse(), LINE), optimizer, state))
        if f.code == "large_learning_rate"
    )
    assert large(finding) == (severity, True) and "momentum" in finding.remedy
    change = 1e-6  # of the step: the slope is the derivative along it
    taken = examine(network, POINTS, LossObjective(losses.Mse(), LINE), optimizer, state).taken
    assert taken is not None
    moved = [
        {"weights": old["weights"] + change * (new["weights"] - old["weights"])}
        for old, new in zip(network.parameters, taken.network.parameters, strict=True)
    ]
    case = examine(network, POINTS, LossObjective(losses.Mse(), LINE))
    slope = (case.loss_at(network.with_parameters(moved)) - float(case.before.loss)) / change
    assert finding.evidence["slope"] == pytest.approx(slope, rel=1e-3)


@pytest.mark.parametrize(("rate", "severity"), [(0.03, "info"), (1.0, "warning")])
def test_without_a_constant_answer_a_rise_is_small_beside_the_loss(rate: float, severity: str) -> None:
    network = network_of((0.3 * np.eye(2), None, activations.Identity()))
    labels = np.eye(2)[(POINTS[:, 1] > POINTS[:, 0]).astype(int)]
    optimizer = optimizers.Sgd(learning_rate=rate, momentum=0.9)
    state = init_state(optimizer, network)
    for _ in range(2):
        state = step(network, POINTS, LossObjective(losses.MultiMargin(), 1 - labels), optimizer, state).state
    case = examine(network, POINTS, LossObjective(losses.MultiMargin(), labels), optimizer, state)
    finding = next(f for f in diagnose(case) if f.code == "large_learning_rate")
    assert large(finding) == (severity, True) and "chance_level" not in {f.code for f in diagnose(case)}


@pytest.mark.parametrize(("offset", "severity"), [(0.05, "info"), (0.5, "warning")])
def test_an_overshoot_is_small_where_a_shorter_step_gains_nothing(offset: float, severity: str) -> None:
    """About the best fit of targets that are half noise, far from the ideal loss: a step ten times too long."""
    noise = np.random.default_rng(3).normal(size=(32, 1)) * LINE.std()
    best, *_ = np.linalg.lstsq(POINTS, LINE + noise, rcond=None)
    network = network_of((best + np.array([[offset], [0.0]]), None, activations.Identity()))
    rate = 10 / float(2 * np.mean(POINTS[:, 0] ** 2))
    finding = found(network, POINTS, LINE + noise, None, optimizers.Sgd(learning_rate=rate))["large_learning_rate"]
    assert large(finding) == (severity, False)


def test_a_step_that_weight_decay_leads_uphill() -> None:
    network = network_of(([[0.9], [1.9]], None, activations.Identity()))
    decayed = found(network, POINTS, LINE, None, optimizers.Sgd(learning_rate=0.1, weight_decay=2.0))
    assert large(decayed["large_learning_rate"]) == ("warning", True)
    steep = found(network, POINTS, LINE, None, optimizers.Sgd(learning_rate=3.0))["large_learning_rate"]
    assert large(steep)[1] is False and "slope" not in steep.evidence and np.isfinite(steep.evidence["loss_after"])


def test_steps_that_are_too_small_are_a_warning_until_something_is_learned() -> None:
    tiny = optimizers.Sgd(learning_rate=1e-9)
    network = network_of(([[0.1], [-0.2]], [0.0], activations.Identity()))
    assert "chance_level" in found(network, POINTS, LINE)
    assert found(network, POINTS, LINE, None, tiny)["small_updates"].severity == "warning"
    clipped = found(network, POINTS, LINE, None, optimizers.Sgd(), clipping=ClipByNorm(max_norm=1e-6))["small_updates"]
    assert clipped.severity == "warning" and "gradient_clipping" in clipped.remedy
    arrived = network_of(([[1.0], [1.9]], [0.0], activations.Identity()))
    assert found(arrived, POINTS, LINE, None, tiny)["small_updates"].severity == "info"


def test_first_layers_alone_that_stand_still_are_no_warning() -> None:
    """Whose gradients vanish is told that."""
    small = network_of(
        ([[1.0], [1.0]], [0.0], activations.Identity()),
        ([[1e-9]], [0.0], activations.Identity()),
    )
    finding = found(small, POINTS, LINE, None, optimizers.Sgd())["small_updates"]
    assert (finding.layer, finding.severity) == (0, "info")
