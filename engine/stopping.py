"""Early stopping: when a quantity has not improved for a while, training ends."""

from dataclasses import dataclass
from typing import Any, Literal

from engine.rules import hyper

State = dict[str, Any]


@dataclass(frozen=True, slots=True)
class EarlyStopping:
    """Stops after more than `patience` epochs in a row without an improvement of more than min_delta.

    `monitor` is loss, validation_loss, or the name of a metric, with validation_ before it for the validation data.

    Source: keras.callbacks.EarlyStopping for the names; scikit-learn's n_iter_no_change for the count and its default
    (Keras stops an epoch sooner).
    """

    monitor: str = hyper("validation_loss", description="The quantity that should improve.", max_length=64)
    mode: Literal["min", "max"] = hyper("min", description="Whether lower or higher is better.")
    min_delta: float = hyper(0.0, ge=0.0, description="What a change must exceed to be an improvement.")
    patience: int = hyper(10, ge=0, description="How many epochs in a row may pass without improvement.")
    restore_best: bool = hyper(False, description="End with the parameters of the best epoch, once it stops.")

    def init(self) -> State:
        return {"best": None, "bad_epochs": 0}

    def improves(self, value: float, best: float | None) -> bool:
        if best is None:
            return True
        return value > best + self.min_delta if self.mode == "max" else value < best - self.min_delta

    def observe(self, value: float, state: State) -> State:
        if self.improves(value, state["best"]):
            return {"best": value, "bad_epochs": 0}
        return {"best": state["best"], "bad_epochs": state["bad_epochs"] + 1}

    def is_over(self, state: State) -> bool:
        return bool(state["bad_epochs"] > self.patience)
