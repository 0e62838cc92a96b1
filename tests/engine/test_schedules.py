"""The schedules against torch.optim.lr_scheduler, their warmup, and the state of reduce_on_plateau."""

import json
import warnings
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest

from engine import schedules
from engine.errors import InvalidState, NonFinite
from engine.schedules import (
    Constant,
    Cosine,
    CosineWarmRestarts,
    Cyclic,
    Exponential,
    Linear,
    MultiStep,
    OneCycle,
    Polynomial,
    ReduceOnPlateau,
    Step,
)

SCHEDULES = get_args(schedules.Schedule)
BASE = 0.3
COUNT = 130

CASES: list[tuple[str, dict[str, Any], Any]] = [
    ("StepLR", {"step_size": 30}, Step()),
    ("StepLR", {"step_size": 7, "gamma": 0.5}, Step(step_size=7, gamma=0.5)),
    ("StepLR", {"step_size": 1, "gamma": 1.1}, Step(step_size=1, gamma=1.1)),
    ("MultiStepLR", {"milestones": [30, 80]}, MultiStep()),
    ("MultiStepLR", {"milestones": [50, 3, 3, 20], "gamma": 0.7}, MultiStep(milestones=(50, 3, 3, 20), gamma=0.7)),
    ("ConstantLR", {}, Constant()),
    ("ConstantLR", {"factor": 0.8, "total_iters": 40}, Constant(factor=0.8, total_iters=40)),
    ("LinearLR", {}, Linear()),
    (
        "LinearLR",
        {"start_factor": 1.0, "end_factor": 0.1, "total_iters": 70},
        Linear(start_factor=1.0, end_factor=0.1, total_iters=70),
    ),
    ("ExponentialLR", {"gamma": 0.95}, Exponential()),
    ("ExponentialLR", {"gamma": 1.02}, Exponential(gamma=1.02)),
    ("PolynomialLR", {}, Polynomial()),
    ("PolynomialLR", {"total_iters": 90, "power": 2.5}, Polynomial(total_iters=90, power=2.5)),
    ("CosineAnnealingLR", {"T_max": 100}, Cosine()),
    ("CosineAnnealingLR", {"T_max": 13, "eta_min": 0.01}, Cosine(t_max=13, eta_min=0.01)),
    ("CosineAnnealingWarmRestarts", {"T_0": 10}, CosineWarmRestarts()),
    (
        "CosineAnnealingWarmRestarts",
        {"T_0": 5, "T_mult": 3, "eta_min": 0.02},
        CosineWarmRestarts(t_0=5, t_mult=3, eta_min=0.02),
    ),
]
CYCLES: list[tuple[str, dict[str, Any], Any]] = [
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.1}, Cyclic(cycle_momentum=True)),
    (
        "CyclicLR",
        {"base_lr": 0.02, "max_lr": 0.5, "step_size_up": 7, "step_size_down": 12, "mode": "triangular2"},
        Cyclic(
            base_learning_rate=0.02,
            max_learning_rate=0.5,
            step_size_up=7,
            step_size_down=12,
            mode="triangular2",
            cycle_momentum=True,
        ),
    ),
    (
        "CyclicLR",
        {"base_lr": 0.02, "max_lr": 0.5, "step_size_up": 9, "mode": "exp_range", "gamma": 0.98, "base_momentum": 0.5},
        Cyclic(
            base_learning_rate=0.02,
            max_learning_rate=0.5,
            step_size_up=9,
            mode="exp_range",
            gamma=0.98,
            cycle_momentum=True,
            base_momentum=0.5,
        ),
    ),
    ("OneCycleLR", {"max_lr": 0.01, "total_steps": 1000}, OneCycle(cycle_momentum=True)),
    *(
        (
            "OneCycleLR",
            {
                "max_lr": 0.4,
                "total_steps": COUNT,
                "pct_start": pct_start,
                "anneal_strategy": anneal,
                "three_phase": three_phase,
                "div_factor": 10.0,
                "final_div_factor": 50.0,
                "max_momentum": 0.99,
            },
            OneCycle(
                max_learning_rate=0.4,
                total_steps=COUNT,
                pct_start=pct_start,
                anneal_strategy=anneal,  # type: ignore[arg-type]
                three_phase=three_phase,
                div_factor=10.0,
                final_div_factor=50.0,
                max_momentum=0.99,
                cycle_momentum=True,
            ),
        )
        for pct_start in (0.0, 0.23, 0.7, 1.0)
        for anneal in ("cos", "linear")
        for three_phase in (False, True)
    ),
]


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


def sgd(torch: Any, **hyperparameters: Any) -> Any:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=BASE, **hyperparameters)


def rates(schedule: Any, count: int = COUNT) -> list[float]:
    return [schedule.rate(i, BASE, schedule.init(BASE)) for i in range(count)]


def torch_rates(optimizer: Any, scheduler: Any, count: int = COUNT) -> list[float]:
    found = []
    for _ in range(count):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        with warnings.catch_warnings():
            # SequentialLR passes an epoch itself, which PyTorch warns of.
            warnings.simplefilter("ignore", UserWarning)
            scheduler.step()
    return found


@pytest.mark.parametrize(("name", "hyperparameters", "schedule"), CASES)
def test_rates_are_those_of_pytorch(torch: Any, name: str, hyperparameters: dict[str, Any], schedule: Any) -> None:
    optimizer = sgd(torch)
    scheduler = getattr(torch.optim.lr_scheduler, name)(optimizer, **hyperparameters)
    found = rates(schedule)
    # PyTorch's recursions lose digits where a rate comes near 0; its closed forms do not.
    np.testing.assert_allclose(found, torch_rates(optimizer, scheduler), rtol=1e-12, atol=1e-14)
    if hasattr(scheduler, "_get_closed_form_lr"):
        for i, rate in enumerate(found):
            scheduler.last_epoch = i
            assert rate == pytest.approx(scheduler._get_closed_form_lr()[0], rel=1e-12, abs=0)
    assert schedule.momentum(3) is None and schedule.unit == "epoch"


@pytest.mark.parametrize(("name", "hyperparameters", "schedule"), CYCLES)
def test_cycles_are_those_of_pytorch(torch: Any, name: str, hyperparameters: dict[str, Any], schedule: Any) -> None:
    optimizer = sgd(torch, momentum=0.9)
    scheduler = getattr(torch.optim.lr_scheduler, name)(optimizer, **hyperparameters)
    for i in range(COUNT):
        group = optimizer.param_groups[0]
        assert schedule.rate(i, BASE, {}) == pytest.approx(group["lr"], rel=1e-12, abs=0)
        assert schedule.momentum(i) == pytest.approx(group["momentum"], rel=1e-12, abs=0)
        assert replace(schedule, cycle_momentum=False).momentum(i) is None
        optimizer.step()
        if i < COUNT - 1:
            scheduler.step()
    assert schedule.unit == "step" and not type(schedule)().cycle_momentum


def test_one_cycle_where_pytorch_fails() -> None:
    """A phase of no length divides by zero there, and a step after the last is an error."""
    schedule = OneCycle(total_steps=10, pct_start=0.1)
    assert schedule.rate(0, BASE, {}) == 0.01
    last = schedule.rate(9, BASE, {})
    assert last == pytest.approx(0.01 / 25 / 1e4)
    assert schedule.rate(10, BASE, {}) == schedule.rate(10**9, BASE, {}) == last
    assert OneCycle(total_steps=1).rate(0, BASE, {}) == last


def starts_at_base(rule: Any) -> Any:
    """Whether the schedule starts from the base rate, to which PyTorch's warmup leads."""
    return rule not in (Constant, Linear)


@pytest.mark.parametrize(
    ("name", "hyperparameters", "schedule"), [case for case in CASES if starts_at_base(type(case[2]))]
)
def test_warmup_is_pytorchs_linear_before_the_schedule(
    torch: Any, name: str, hyperparameters: dict[str, Any], schedule: Any
) -> None:
    optimizer, lr = sgd(torch), torch.optim.lr_scheduler
    warmup = lr.LinearLR(optimizer, start_factor=0.2, end_factor=1.0, total_iters=6)
    after = getattr(lr, name)(optimizer, **hyperparameters)
    scheduler = lr.SequentialLR(optimizer, [warmup, after], milestones=[6])
    found = rates(replace(schedule, warmup=6, warmup_start_factor=0.2))
    np.testing.assert_allclose(found, torch_rates(optimizer, scheduler), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("rule", SCHEDULES)
def test_warmup_leads_to_the_first_rate(rule: Any) -> None:
    cold = rule()
    warm = replace(cold, warmup=8, warmup_start_factor=0.25)
    first = rates(cold, 1)[0]
    np.testing.assert_allclose(rates(warm, 8), [first * (0.25 + 0.75 * i / 8) for i in range(8)], rtol=1e-14)
    assert rates(warm, 60)[8:] == rates(cold, 52)
    assert replace(warm, warmup_start_factor=0.0).rate(0, BASE, warm.init(BASE)) == 0


def test_momentum_waits_for_the_warmup() -> None:
    for cold in (Cyclic(step_size_up=5, cycle_momentum=True), OneCycle(total_steps=30, cycle_momentum=True)):
        warm = replace(cold, warmup=4)
        assert [warm.momentum(i) for i in range(30)] == [cold.momentum(max(i - 4, 0)) for i in range(30)]
        assert warm.momentum(0) == cold.max_momentum


@pytest.mark.parametrize("rule", SCHEDULES)
def test_far_indices_are_finite_and_quick(rule: Any) -> None:
    for index in (10**6, 10**12, 10**18):
        assert 0 <= rule().rate(index, BASE, rule().init(BASE)) < 1
    assert CosineWarmRestarts(t_mult=2).rate(10**18, BASE, {}) <= BASE
    assert Cyclic(step_size_up=1, mode="triangular2").rate(10**9 + 1, BASE, {}) == 0.01


OVERFLOWING = [
    (Exponential(gamma=2.0), 5000, BASE),
    (Exponential(gamma=1e300), 1, 1e300),
    (Step(step_size=1, gamma=10.0), 5000, BASE),
    (MultiStep(milestones=(1, 1), gamma=1e300), 1, BASE),
]


@pytest.mark.parametrize(("schedule", "index", "base"), OVERFLOWING)
def test_a_rate_that_overflows_is_an_error(schedule: Any, index: int, base: float) -> None:
    assert schedule.rate(0, base, {}) == base
    with pytest.raises(NonFinite, match="learning rate") as caught:
        schedule.rate(index, base, {})
    assert caught.value.where == ("learning_rate_schedule",)


def test_milestones_below_zero_are_rejected() -> None:
    with pytest.raises(ValueError, match="outside its range"):
        MultiStep(milestones=(3, -1))
    assert MultiStep(milestones=()).rate(1000, BASE, {}) == BASE


@pytest.mark.parametrize("cooldown", [0, 3])
@pytest.mark.parametrize("threshold_mode", ["rel", "abs"])
@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("patience", [0, 2])
def test_plateaus_are_those_of_pytorch(
    torch: Any, mode: Any, threshold_mode: Any, cooldown: int, patience: int
) -> None:
    random = np.random.default_rng(3)
    for limits in ({"factor": 0.5}, {"factor": 0.1, "threshold": 0.05, "eps": 1e-4}, {"factor": 0.7, "minimum": 0.01}):
        shared: dict[str, Any] = {
            "mode": mode,
            "threshold_mode": threshold_mode,
            "cooldown": cooldown,
            "patience": patience,
            **{k: v for k, v in limits.items() if k != "minimum"},
        }
        minimum = limits.get("minimum", 0.0)
        optimizer = sgd(torch)
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, min_lr=minimum, **shared)
        schedule = ReduceOnPlateau(min_learning_rate=minimum, **shared)
        state = schedule.init(BASE)
        seen = set()
        for i in range(150):
            trend = np.exp(-i / 30) if mode == "min" else -np.exp(-i / 30)
            value = float(trend * random.uniform(0.5, 1.5)) if i % 5 else float("nan") if i == 60 else float(trend)
            kept = dict(state)
            new = schedule.observe(i, value, state)
            assert state == kept
            schedule.check(new)
            state = json.loads(json.dumps(new, allow_nan=False))
            assert state == new
            scheduler.step(value)
            assert schedule.rate(i + 1, BASE, state) == optimizer.param_groups[0]["lr"]
            assert state["best"] == scheduler.best
            assert state["bad_epochs"] == scheduler.num_bad_epochs
            assert state["cooldown_left"] == scheduler.cooldown_counter
            seen.add(state["learning_rate"])
        assert len(seen) > 1


def test_what_is_not_finite_is_never_the_best() -> None:
    schedule = ReduceOnPlateau()
    for value in (float("inf"), float("nan")):
        state = schedule.observe(0, value, schedule.init(BASE))
        assert state["best"] is None and state["bad_epochs"] == 1


def test_a_plateau_in_the_warmup_does_not_count() -> None:
    schedule = ReduceOnPlateau(patience=0, factor=0.5, warmup=5)
    state = schedule.init(BASE)
    for i in range(5):
        state = schedule.observe(i, float(i), state)
    assert state == schedule.init(BASE)
    for i in range(5, 7):
        state = schedule.observe(i, float(i), state)
    assert schedule.rate(7, BASE, state) == BASE / 2


@pytest.mark.parametrize("rule", [rule for rule in SCHEDULES if rule is not ReduceOnPlateau])
def test_the_others_have_no_state(rule: Any) -> None:
    schedule = rule()
    assert schedule.init(BASE) == {} and schedule.observe(3, 1.0, {}) == {} and schedule.monitor == "loss"
    schedule.check({})
    with pytest.raises(InvalidState, match=schedule.kind):
        schedule.check({"best": 1.0})


@pytest.mark.parametrize(
    "change",
    [
        {"best": "1"},
        {"best": float("inf")},
        {"best": True},
        {"learning_rate": None},
        {"learning_rate": -1.0},
        {"bad_epochs": 1.5},
        {"bad_epochs": -1},
        {"cooldown_left": None},
        {"cooldown_left": True},
        {"more": 1},
    ],
)
def test_a_state_of_something_else_is_rejected(change: dict[str, Any]) -> None:
    schedule = ReduceOnPlateau()
    state = {**schedule.init(BASE), **change}
    with pytest.raises(InvalidState):
        schedule.check(state)
    schedule.check({**schedule.init(1), "best": -3})


def test_every_schedule_has_a_case() -> None:
    assert {type(case[2]) for case in (*CASES, *CYCLES)} | {ReduceOnPlateau} == set(SCHEDULES)
