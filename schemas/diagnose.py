"""Diagnoses on the wire: findings, each layer's statistics, and the loss along a line."""

import math
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field, StrictBool

from engine.errors import NonFinite, Where
from engine.findings import Case, diagnose, examine
from engine.findings.statistics import statistics
from schemas.answers import Selectable
from schemas.optimizer_state import state_to_engine
from schemas.requests import OptionalStepRequest

EXAMINATION_WORK, EXAMINATION_LAYERS = 10**7, 20
"""What a diagnosis counts as beside its passes, in multiplications: it takes milliseconds of so many layers."""


class FindingModel(BaseModel):
    """Something that is wrong, or may be."""

    code: str = Field(description="What kind of finding this is, as a name; docs/diagnose.md lists them.")
    severity: Literal["warning", "info"] = Field(
        description="warning: training suffers from it. info: it may be as wanted, before training for instance."
    )
    layer: int | None = Field(
        description="The layer it is about, counted from 0; null where it is about no single one."
    )
    message: str = Field(description="What was found, in a sentence or two with this network's numbers.")
    evidence: dict[str, Any] = Field(description="The numbers behind it, by name; lists are cut after 20 items.")
    remedy: str = Field(description="What to do about it.")


class SpreadModel(BaseModel):
    """What numbers are like over all units of a layer and all examples."""

    mean: float = Field(description="The mean of the numbers.")
    std: float = Field(description="The standard deviation of the numbers.")
    least: float = Field(description="The smallest of the numbers.")
    largest: float = Field(description="The largest of the numbers.")


class LayerStatisticsModel(Selectable):
    """A layer in numbers. Norms are Euclidean; sizes are root mean squares."""

    name: str = Field(description="The layer's name, or layers.<index>.")
    units: int = Field(description="How many units it has.")
    activation: str = Field(description="The kind of its activation.")
    preactivations: SpreadModel = Field(description="How the preactivations z = x W + b are spread.")
    activations: SpreadModel = Field(description="How the activations, which the layer hands on, are spread.")
    zero_fraction: float = Field(description="The share of activations that are exactly 0.")
    saturated_fraction: float | None = Field(
        description="The share of values whose slope is below 1/100 of the steepest; null for what is no squashing "
        "function."
    )
    off_units: int | None = Field(
        description="Units on the flat piece of their activation (relu below 0) for every example; null where the "
        "activation has none."
    )
    mean_slope: float | None = Field(description="The mean derivative of the activation; null for softmax and its kin.")
    weight_norm: float = Field(description="The norm of the weights.")
    bias_norm: float | None = Field(description="The norm of the bias; null without one.")
    weight_gradient_norm: float = Field(description="The norm of the gradient by the weights.")
    bias_gradient_norm: float | None = Field(description="The norm of the gradient by the bias; null without one.")
    preactivation_gradient_size: float = Field(description="The size of the error signal dL/dz.")
    update_ratio: float | None = Field(
        description="|W' - W| / |W| for the optimizer's step; null without an optimizer, and for frozen weights."
    )


class SliceModel(BaseModel):
    """The loss along a line through the parameters, for plotting. It ends where the loss is not finite."""

    along: Literal["gradient", "step"] = Field(
        description="gradient: plain gradient descent, positions are learning rates. step: the optimizer's step, "
        "positions are its multiples, 1 the step itself."
    )
    positions: list[float] = Field(description="`[points]`, the first is 0: the network as it stands.")
    losses: list[float] = Field(description="`[points]`, penalty included.")


class DiagnoseAnswer(Selectable):
    """What is wrong with a network, its data or its training, told from one batch."""

    findings: list[FindingModel] = Field(description="What was found, warnings first; empty where all is well.")
    layers: list[LayerStatisticsModel] = Field(description="Statistics of each layer, from the inputs to the outputs.")
    loss_slices: list[SliceModel] = Field(
        description="Along the gradient and, with an optimizer, along its step; none with output_gradients."
    )


class DiagnoseRequest(OptionalStepRequest):
    """A backward request; with an optimizer, the step that it takes is looked at too."""

    answer: ClassVar[type[BaseModel]] = DiagnoseAnswer
    passes: ClassVar[int] = 32  # Two steps at most, and the loss at 26 points.

    per_example: StrictBool = Field(False, description="Makes no difference: findings are about the whole batch.")

    def numbers(self) -> int:
        return 3 * super().numbers()  # The step's network and state, and a moved network, stand beside the rest.

    def work(self) -> int:
        return super().work() + self.for_depth(EXAMINATION_WORK, EXAMINATION_LAYERS)

    def examined(self) -> Case:
        """The computation and, with an optimizer, its step."""
        network = self.engine_network()
        state = None
        if self.optimizer is not None:
            state = state_to_engine(self.optimizer_state, self.optimizer, network, self.layout)
        return examine(
            network,
            self.engine_inputs(),
            self.objective(),
            self.optimizer,
            state,
            self.regularization,
            self.gradient_clipping,
        )


def diagnose_answer(case: Case) -> dict[str, Any]:
    """The fields of DiagnoseAnswer."""
    layers = []
    for layer in statistics(case):
        spreads = {name: getattr(layer, name)._asdict() for name in ("preactivations", "activations")}
        layers.append(layer._asdict() | spreads)
    answer = {
        "findings": [finding._asdict() for finding in diagnose(case)],
        "layers": layers,
        "loss_slices": [line._asdict() for line in case.slices],
    }
    _require_finite(answer, ())
    return answer


def _require_finite(value: Any, where: Where) -> None:
    """Raises NonFinite where a statistic overflowed: JSON has no infinity."""
    if isinstance(value, dict):
        for name, item in value.items():
            _require_finite(item, (*where, name))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            _require_finite(item, (*where, i))
    elif isinstance(value, float) and not math.isfinite(value):
        raise NonFinite(
            where,
            "The numbers are finite, but too large to sum up in one.",
            expected="a finite number",
            hint="Scale inputs and weights down.",
        )
