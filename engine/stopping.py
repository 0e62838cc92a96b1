"""Early stopping: when a quantity has not improved for a while, training ends."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

from engine.errors import InvalidState
from engine.metrics import Metric
from engine.rules import hyper

State = dict[str, Any]
AFRESH = "Leave early_stopping out of optimizer_state to start its count afresh."
RISING = {rule().kind for rule in get_args(Metric) if rule.higher_is_better}


@dataclass(frozen=True, slots=True)
class EarlyStopping:
    """Stops after `patience` epochs in a row without an improvement of more than min_delta (0 is as good as 1).

    `monitor` is loss, validation_loss, or the name of a metric, with validation_ before it for the validation data.

    Source: keras.callbacks.EarlyStopping; the default patience is that of scikit-learn's n_iter_no_change.
    """

    monitor: str = hyper("validation_loss", description="The quantity that should improve.", max_length=64)
    mode: Literal["auto", "min", "max"] = hyper(
        "auto", description="Whether lower or higher is better; auto: higher of accuracy and its like, lower of losses."
    )
    min_delta: float = hyper(0.0, ge=0.0, description="What a change must exceed to be an improvement.")
    patience: int = hyper(10, ge=0, description="After how many epochs in a row without improvement it stops.")
    restore_best: bool = hyper(False, description="End with the parameters of the best epoch, once it stops.")

    def init(self) -> State:
        return {"monitor": self.monitor, "best": None, "bad_epochs": 0}

    def check(self, state: State) -> None:
        """Raises InvalidState where a state was made by watching something else, or lacks the network to restore."""
        here = ("optimizer_state", "early_stopping")
        if state["monitor"] not in (None, self.monitor):
            raise InvalidState(
                (*here, "monitor"),
                "This state was made by watching another quantity.",
                expected=self.monitor,
                hint=AFRESH,
            )
        if self.restore_best and state["best"] is not None and "network" not in state:
            raise InvalidState(
                (*here, "network"),
                "This state has no network of the best epoch, which restore_best takes.",
                expected="a network",
                hint=AFRESH,
            )

    def improves(self, value: float, best: float | None) -> bool:
        if best is None:
            return True
        rises = self.mode == "max" or (self.mode == "auto" and self.monitor.removeprefix("validation_") in RISING)
        return value > best + self.min_delta if rises else value < best - self.min_delta

    def observe(self, value: float, state: State) -> State:
        if self.improves(value, state["best"]):
            return {"monitor": self.monitor, "best": value, "bad_epochs": 0}
        return {"monitor": self.monitor, "best": state["best"], "bad_epochs": state["bad_epochs"] + 1}

    def is_over(self, state: State) -> bool:
        return bool(state["bad_epochs"] >= max(self.patience, 1))
