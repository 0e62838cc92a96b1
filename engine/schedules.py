"""The learning-rate schedules: each a frozen dataclass whose `scheduled` is its formula, in closed form.

An index counts epochs or steps, as `unit` says, from 0. `rate(index, base, state)` is the learning rate there, warmup
included, with `base` the optimizer's own; it depends on nothing that ran before, so training resumes anywhere, bit for
bit. `momentum(index)` is the momentum (or beta1) there, None where the optimizer keeps its own. `init(base)` and, after
each epoch, `observe(index, value, state)` of the quantity that `monitor` names give the state: empty for all schedules
but reduce_on_plateau. Nothing is changed in place, and a state is ready for JSON.

In the formulas i is the index after the warmup, and base the optimizer's learning rate.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from engine.errors import InvalidState, NonFinite, require
from engine.rules import About, hyper

State = dict[str, Any]
Unit = Literal["epoch", "step"]

UNIT = "What the index counts: epochs, or steps (batches)."
WARMUP = "This many units at first lead up, in a straight line, to the schedule's first rate; its own index 0 follows."
WARMUP_START = "The warmup starts at this part of the schedule's first rate."
GAMMA = "What the rate is multiplied by."
TOTAL_ITERS = "After this many units the rate no longer changes."
ETA_MIN = "The lowest rate."
CYCLE_MOMENTUM = "Let momentum (or beta1) fall while the rate rises, and rise while it falls."
BASE_MOMENTUM = "The momentum (or beta1) where the rate is highest."
MAX_MOMENTUM = "The momentum (or beta1) where the rate is lowest."


@dataclass(frozen=True, slots=True)
class _Schedule:
    """What all schedules have in common: what their index counts, the warmup, and no state."""

    kind: str
    warmup: int = hyper(0, ge=0, description=WARMUP)
    warmup_start_factor: float = hyper(1 / 3, ge=0.0, le=1.0, description=WARMUP_START)
    unit: Unit = hyper("epoch", description=UNIT)
    scheduled: ClassVar[Callable[[Any, int, float, State], float]]
    monitor = "loss"

    def init(self, base: float) -> State:
        return {}

    def check(self, state: State) -> None:
        """Raises InvalidState where `state` is none of this schedule's."""
        expected = self.init(0.0).keys()
        if state.keys() != expected:
            raise InvalidState(
                ("schedule_state",),
                f"This is not a state of the schedule {self.kind}.",
                expected=sorted(expected),
                hint="Post back the state of the last answer, or leave its schedule out to start that afresh.",
            )

    def observe(self, index: int, value: float, state: State) -> State:
        return state

    def momentum(self, index: int) -> float | None:
        return None

    def rate(self, index: int, base: float, state: State) -> float:
        """The learning rate at an index; raises NonFinite where it overflows."""
        try:
            rate = self.scheduled(max(index - self.warmup, 0), base, state)
        except OverflowError:
            rate = math.inf
        if not math.isfinite(rate):
            raise NonFinite(
                ("learning_rate_schedule",),
                f"The learning rate of {self.kind} grew beyond the largest number at index {index}.",
                expected="a finite number",
                received="Infinity",
                hint="A gamma above 1 makes the learning rate grow.",
            )
        if index >= self.warmup:
            return rate
        return rate * (self.warmup_start_factor + (1 - self.warmup_start_factor) * index / self.warmup)


@dataclass(frozen=True, slots=True)
class Step(_Schedule):
    """base * gamma^floor(i / step_size).

    step_size has no default in PyTorch.

    Source: torch.optim.lr_scheduler.StepLR.
    """

    kind: Literal["step"] = "step"
    step_size: int = hyper(30, ge=1, description="The rate changes each time that this many units are over.")
    gamma: float = hyper(0.1, gt=0.0, description=GAMMA)
    about: ClassVar = About("Step decay", r"\eta_0 \gamma^{\lfloor i / s \rfloor}")

    def scheduled(self, index: int, base: float, state: State) -> float:
        return float(base * self.gamma ** (index // self.step_size))


@dataclass(frozen=True, slots=True)
class MultiStep(_Schedule):
    """base * gamma^(how many milestones are at most i).

    A milestone listed twice counts twice. milestones have no default in PyTorch.

    Source: torch.optim.lr_scheduler.MultiStepLR.
    """

    kind: Literal["multi_step"] = "multi_step"
    milestones: tuple[int, ...] = hyper(
        (30, 80),
        ({"minimum": 0},),
        fail_fast=True,
        description="`[n]`: the indices where the rate changes, in order.",
    )
    gamma: float = hyper(0.1, gt=0.0, description=GAMMA)
    about: ClassVar = About("Step decay at milestones", r"\eta_0 \gamma^{|\{m : m \le i\}|}")

    def __post_init__(self) -> None:
        for i, milestone in enumerate(self.milestones):
            require(milestone >= 0, ("milestones", i), ">= 0", milestone)

    def scheduled(self, index: int, base: float, state: State) -> float:
        return float(base * self.gamma ** sum(milestone <= index for milestone in self.milestones))


@dataclass(frozen=True, slots=True)
class Constant(_Schedule):
    """base * factor where i < total_iters, else base.

    Source: torch.optim.lr_scheduler.ConstantLR.
    """

    kind: Literal["constant"] = "constant"
    factor: float = hyper(1 / 3, ge=0.0, le=1.0, description="What the rate is multiplied by at first.")
    total_iters: int = hyper(5, ge=0, description="How many units the factor holds for.")
    about: ClassVar = About("Constant factor at first", r"\eta_0 f \;(i < T), \quad \eta_0 \;(i \ge T)")

    def scheduled(self, index: int, base: float, state: State) -> float:
        return base * self.factor if index < self.total_iters else base


@dataclass(frozen=True, slots=True)
class Linear(_Schedule):
    """base * (start_factor + (end_factor - start_factor) * min(i, total_iters) / total_iters).

    Source: torch.optim.lr_scheduler.LinearLR.
    """

    kind: Literal["linear"] = "linear"
    start_factor: float = hyper(1 / 3, gt=0.0, le=1.0, description="What the rate is multiplied by at first.")
    end_factor: float = hyper(1.0, ge=0.0, le=1.0, description="What it is multiplied by in the end.")
    total_iters: int = hyper(5, ge=1, description=TOTAL_ITERS)
    about: ClassVar = About("Linear change", r"\eta_0 \left(f_0 + (f_1 - f_0) \frac{\min(i, T)}{T}\right)")

    def scheduled(self, index: int, base: float, state: State) -> float:
        change = (self.end_factor - self.start_factor) * min(index, self.total_iters) / self.total_iters
        return base * (self.start_factor + change)


@dataclass(frozen=True, slots=True)
class Exponential(_Schedule):
    """base * gamma^i.

    gamma has no default in PyTorch.

    Source: torch.optim.lr_scheduler.ExponentialLR.
    """

    kind: Literal["exponential"] = "exponential"
    gamma: float = hyper(0.95, gt=0.0, description=GAMMA)
    about: ClassVar = About("Exponential decay", r"\eta_0 \gamma^i")

    def scheduled(self, index: int, base: float, state: State) -> float:
        return float(base * self.gamma**index)


@dataclass(frozen=True, slots=True)
class Polynomial(_Schedule):
    """base * (1 - min(i, total_iters) / total_iters)^power.

    Source: torch.optim.lr_scheduler.PolynomialLR.
    """

    kind: Literal["polynomial"] = "polynomial"
    total_iters: int = hyper(5, ge=1, description=TOTAL_ITERS)
    power: float = hyper(1.0, ge=0.0, description="The degree of the polynomial.")
    about: ClassVar = About("Polynomial decay", r"\eta_0 \left(1 - \frac{\min(i, T)}{T}\right)^p")

    def scheduled(self, index: int, base: float, state: State) -> float:
        return float(base * (1 - min(index, self.total_iters) / self.total_iters) ** self.power)


def cosine(start: float, end: float, part: float) -> float:
    """From `start` at part 0 to `end` at part 1, along half a cosine wave."""
    return end + (start - end) * (1 + math.cos(math.pi * part)) / 2


@dataclass(frozen=True, slots=True)
class Cosine(_Schedule):
    """eta_min + (base - eta_min) * (1 + cos(pi * i / t_max)) / 2.

    After t_max the rate rises again: the wave goes on. t_max (T_max) has no default in PyTorch.

    Source: Loshchilov and Hutter 2016, arXiv:1608.03983; torch.optim.lr_scheduler.CosineAnnealingLR.
    """

    kind: Literal["cosine"] = "cosine"
    t_max: int = hyper(100, ge=1, description="The index of the lowest rate: usually all units of the training.")
    eta_min: float = hyper(0.0, ge=0.0, description=ETA_MIN)
    about: ClassVar = About(
        "Cosine annealing", r"\eta_{min} + \frac{\eta_0 - \eta_{min}}{2} \left(1 + \cos \frac{\pi i}{T_{max}}\right)"
    )

    def scheduled(self, index: int, base: float, state: State) -> float:
        return cosine(base, self.eta_min, index / self.t_max)


@dataclass(frozen=True, slots=True)
class CosineWarmRestarts(_Schedule):
    """eta_min + (base - eta_min) * (1 + cos(pi * j / n)) / 2, with j the index within a cycle of n units.

    The first cycle has t_0 units, each later one t_mult times as many as the one before. t_0 (T_0) has no default in
    PyTorch.

    Source: Loshchilov and Hutter 2016, arXiv:1608.03983; torch.optim.lr_scheduler.CosineAnnealingWarmRestarts.
    """

    kind: Literal["cosine_warm_restarts"] = "cosine_warm_restarts"
    t_0: int = hyper(10, ge=1, description="How many units the first cycle has.")
    t_mult: int = hyper(1, ge=1, description="How many times longer each next cycle is.")
    eta_min: float = hyper(0.0, ge=0.0, description=ETA_MIN)
    about: ClassVar = About(
        "Cosine annealing with warm restarts",
        r"\eta_{min} + \frac{\eta_0 - \eta_{min}}{2} \left(1 + \cos \frac{\pi j}{n}\right)",
    )

    def scheduled(self, index: int, base: float, state: State) -> float:
        length = self.t_0
        if self.t_mult == 1:
            index %= length
        while index >= length:
            index -= length
            length *= self.t_mult
        return cosine(base, self.eta_min, index / length)


@dataclass(frozen=True, slots=True)
class Cyclic(_Schedule):
    """base_learning_rate + (max_learning_rate - base_learning_rate) * h * s, h rising from 0 to 1 and falling back.

    The optimizer's learning rate is not used. s is 1 for triangular, 1/2 to the number of cycles that are over for
    triangular2, gamma^i for exp_range. With cycle_momentum, momentum is max_momentum - (max_momentum - base_momentum) *
    h * s; it is false by default, true in PyTorch, which then refuses an optimizer without momentum. The two rates have
    no default in PyTorch.

    Source: Smith 2015, arXiv:1506.01186; torch.optim.lr_scheduler.CyclicLR.
    """

    kind: Literal["cyclic"] = "cyclic"
    unit: Unit = hyper("step", description=UNIT)
    base_learning_rate: float = hyper(0.01, ge=0.0, description="The lowest rate.")
    max_learning_rate: float = hyper(0.1, ge=0.0, description="The highest rate.")
    step_size_up: int = hyper(2000, ge=1, description="How many units the rate rises for.")
    step_size_down: int | None = hyper(
        None, ge=1, strict=True, description="How many units it falls for; null: as many as it rises for."
    )
    mode: Literal["triangular", "triangular2", "exp_range"] = hyper(
        "triangular", description="Every cycle as high, half as high as the one before, or lower by gamma each unit."
    )
    gamma: float = hyper(1.0, gt=0.0, le=1.0, description="How the height shrinks each unit, for exp_range.")
    cycle_momentum: bool = hyper(False, description=CYCLE_MOMENTUM)
    base_momentum: float = hyper(0.8, ge=0.0, lt=1.0, description=BASE_MOMENTUM)
    max_momentum: float = hyper(0.9, ge=0.0, lt=1.0, description=MAX_MOMENTUM)
    about: ClassVar = About("Cyclic rate", r"\eta_{base} + (\eta_{max} - \eta_{base}) \, h(i) \, s(i)")

    def scheduled(self, index: int, base: float, state: State) -> float:
        return self.base_learning_rate + (self.max_learning_rate - self.base_learning_rate) * self.height(index)

    def momentum(self, index: int) -> float | None:
        if not self.cycle_momentum:
            return None
        height = self.height(max(index - self.warmup, 0))
        return self.max_momentum - (self.max_momentum - self.base_momentum) * height

    def height(self, index: int) -> float:
        down = self.step_size_up if self.step_size_down is None else self.step_size_down
        cycle, i = divmod(index, self.step_size_up + down)
        height = i / self.step_size_up if i <= self.step_size_up else (self.step_size_up + down - i) / down
        if self.mode == "triangular":
            return height
        return float(height * (0.5**cycle if self.mode == "triangular2" else self.gamma**index))


@dataclass(frozen=True, slots=True)
class OneCycle(_Schedule):
    """From max_learning_rate / div_factor up to max_learning_rate, then down to the first rate / final_div_factor.

    The optimizer's learning rate is not used. The rise takes pct_start * total_steps - 1 steps; with three_phase, the
    fall back to the first rate takes as many, and the rest leads to the last rate. Both follow half a cosine wave, or
    a straight line. After total_steps the last rate stays, where PyTorch raises an error. With cycle_momentum, momentum
    goes from max_momentum to base_momentum and back; it is false by default, true in PyTorch, which then refuses an
    optimizer without momentum. max_learning_rate and total_steps have no default in PyTorch. Count every step of the
    whole training in total_steps, over all calls.

    Source: Smith and Topin 2017, arXiv:1708.07120; torch.optim.lr_scheduler.OneCycleLR.
    """

    kind: Literal["one_cycle"] = "one_cycle"
    unit: Unit = hyper("step", description=UNIT)
    max_learning_rate: float = hyper(0.01, ge=0.0, description="The highest rate.")
    total_steps: int = hyper(1000, ge=1, description="How many units the cycle has: all of the training, in all calls.")
    pct_start: float = hyper(0.3, ge=0.0, le=1.0, description="The part of the cycle that rises.")
    anneal_strategy: Literal["cos", "linear"] = hyper("cos", description="Half a cosine wave, or a straight line.")
    cycle_momentum: bool = hyper(False, description=CYCLE_MOMENTUM)
    base_momentum: float = hyper(0.85, ge=0.0, lt=1.0, description=BASE_MOMENTUM)
    max_momentum: float = hyper(0.95, ge=0.0, lt=1.0, description=MAX_MOMENTUM)
    div_factor: float = hyper(25.0, gt=0.0, description="How many times lower the first rate is than the highest.")
    final_div_factor: float = hyper(1e4, gt=0.0, description="How many times lower the last rate is than the first.")
    three_phase: bool = hyper(False, description="Fall as long as it rose, then on to the last rate.")
    about: ClassVar = About(
        "One cycle", r"\frac{\eta_{max}}{d} \nearrow \eta_{max} \searrow \frac{\eta_{max}}{d \, d'}"
    )

    def scheduled(self, index: int, base: float, state: State) -> float:
        first = self.max_learning_rate / self.div_factor
        return self.between(index, (first, self.max_learning_rate, first, first / self.final_div_factor))

    def momentum(self, index: int) -> float | None:
        if not self.cycle_momentum:
            return None
        high, low = self.max_momentum, self.base_momentum
        return self.between(max(index - self.warmup, 0), (high, low, high, high))

    def between(self, index: int, turns: tuple[float, float, float, float]) -> float:
        """From turn to turn, of first, highest, first again (with three_phase), last."""
        last = self.total_steps - 1
        index = min(index, last)
        peak = self.pct_start * self.total_steps - 1
        fallen = 2 * self.pct_start * self.total_steps - 2
        top, back, end = turns[1:]
        if index <= peak:
            return self.anneal(turns[0], top, index, 0, peak)
        if not self.three_phase:
            return self.anneal(top, end, index, peak, last)
        if index <= fallen:
            return self.anneal(top, back, index, peak, fallen)
        return self.anneal(back, end, index, fallen, last)

    def anneal(self, start: float, end: float, index: int, since: float, until: float) -> float:
        # A phase of no length, for which PyTorch divides by zero, is over at once.
        part = (index - since) / (until - since) if until != since else 1.0
        return cosine(start, end, part) if self.anneal_strategy == "cos" else (end - start) * part + start


@dataclass(frozen=True, slots=True)
class ReduceOnPlateau(_Schedule):
    """The rate becomes max(rate * factor, min_learning_rate) after more than patience epochs without improvement.

    An improvement is a value below best * (1 - threshold) with rel, below best - threshold with abs; for max, above
    best * (1 + threshold) and best + threshold. Epochs of the cooldown and of the warmup do not count.

    Source: torch.optim.lr_scheduler.ReduceLROnPlateau.
    """

    kind: Literal["reduce_on_plateau"] = "reduce_on_plateau"
    unit: Literal["epoch"] = hyper("epoch", description="What the index counts: epochs.")
    monitor: Literal["loss", "validation_loss"] = hyper("loss", description="The quantity that should improve.")
    mode: Literal["min", "max"] = hyper("min", description="Whether lower or higher is better.")
    factor: float = hyper(0.1, gt=0.0, lt=1.0, description=GAMMA)
    patience: int = hyper(10, ge=0, description="How many epochs in a row may pass without improvement.")
    threshold: float = hyper(1e-4, ge=0.0, description="How large an improvement must be.")
    threshold_mode: Literal["rel", "abs"] = hyper("rel", description="Relative to the best value, or absolute.")
    cooldown: int = hyper(0, ge=0, description="How many epochs do not count after a reduction.")
    min_learning_rate: float = hyper(0.0, ge=0.0, description=ETA_MIN)
    eps: float = hyper(1e-8, ge=0.0, description="A reduction by no more than this is left out.")
    about: ClassVar = About("Reduction on a plateau", r"\eta \leftarrow \max(f \eta, \eta_{min})")

    def init(self, base: float) -> State:
        return {"learning_rate": base, "best": None, "bad_epochs": 0, "cooldown_left": 0}

    def check(self, state: State) -> None:
        _Schedule.check(self, state)  # super() knows the class as it was before dataclass gave it slots.
        for key, value in state.items():
            numbers = (int,) if key in ("bad_epochs", "cooldown_left") else (int, float)
            fits = type(value) in numbers and math.isfinite(value) and (value >= 0 or key == "best")
            if not fits and not (key == "best" and value is None):
                raise InvalidState(
                    ("schedule_state", key),
                    f"{key} cannot have this value.",
                    expected="a number or null" if key == "best" else "a number at least 0",
                )

    def observe(self, index: int, value: float, state: State) -> State:
        if index < self.warmup:
            return state
        better = self.improves(value, state["best"])
        cooling = state["cooldown_left"] > 0
        new = {
            "learning_rate": state["learning_rate"],
            "best": value if better else state["best"],
            "bad_epochs": 0 if better or cooling else state["bad_epochs"] + 1,
            "cooldown_left": state["cooldown_left"] - cooling,
        }
        if new["bad_epochs"] > self.patience:
            new |= {"bad_epochs": 0, "cooldown_left": self.cooldown}
            reduced = max(state["learning_rate"] * self.factor, self.min_learning_rate)
            if state["learning_rate"] - reduced > self.eps:
                new["learning_rate"] = reduced
        return new

    def improves(self, value: float, best: float | None) -> bool:
        if best is None:
            return math.isfinite(value)
        change = self.threshold if self.mode == "max" else -self.threshold
        bar = best * (1 + change) if self.threshold_mode == "rel" else best + change
        return value > bar if self.mode == "max" else value < bar

    def scheduled(self, index: int, base: float, state: State) -> float:
        return float(state["learning_rate"])


Schedule = (
    Step
    | MultiStep
    | Constant
    | Linear
    | Exponential
    | Polynomial
    | Cosine
    | CosineWarmRestarts
    | Cyclic
    | OneCycle
    | ReduceOnPlateau
)
