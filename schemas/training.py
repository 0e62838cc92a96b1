"""Training and evaluation on the wire."""

from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, Field, StrictBool, StrictInt, field_validator, model_validator

from engine.data import Data, split
from engine.errors import EngineError, InvalidState, InvalidWeights, ShapeMismatch
from engine.metrics import boundary, classes, suited
from engine.network import Network
from engine.probability_losses import BinaryCrossEntropy
from engine.reduction import prepare_targets
from engine.rules import Array
from engine.running_loss import counts_nothing
from engine.stopping import EarlyStopping
from engine.training import Checkpoint, Plan, begin
from schemas.answers import Batch, BatchOutputs, Selectable
from schemas.errors import InvalidValue
from schemas.model import Model
from schemas.network import NetworkModel, network_to_wire
from schemas.optimizer_state import (
    OptimizerState,
    schedule_state_to_engine,
    state_to_engine,
    state_to_wire,
    training_state_to_wire,
)
from schemas.requests import ForwardRequest, Seed, UpdateFields
from schemas.rules import Loss, Metric, Schedule
from schemas.tensors import Matrix, Targets, Vector, as_dtype

PASS_WORK, NUMBER_WORK = 30_000, 20
"""How many multiplications take as long as calling NumPy for a layer of a step, and as what is done with a number
beside them: activations, losses, metrics."""
Count = Annotated[StrictInt, Field(ge=1, le=10**9)]
Metrics = Annotated[list[Metric], Field(max_length=20)]


def _distinct(metrics: list[Any]) -> list[Any]:
    for i, metric in enumerate(metrics):
        if metric.kind in [other.kind for other in metrics[:i]]:
            raise InvalidValue("conflict", (i,), "This metric is listed twice, and answers name metrics by their kind.")
    return metrics


class Validation(Model):
    """Data of its own, or a fraction of the training data, drawn by seed and then left out of the training."""

    inputs: Matrix | None = Field(None, description="`[examples, features]`: one row for each example.")
    targets: Targets | None = Field(None, description="`[examples, outputs]` numbers, or `[examples]` class labels.")
    sample_weights: Vector | None = Field(None, description="`[examples]` numbers >= 0.")
    fraction: float | None = Field(
        None, gt=0, lt=1, strict=True, description="The share of the training data, in place of inputs and targets."
    )
    stratify: StrictBool = Field(False, description="Take the fraction of each class; targets must tell classes.")

    @model_validator(mode="after")
    def _one_or_the_other(self) -> "Validation":
        own = [name for name in ("inputs", "targets", "sample_weights") if getattr(self, name) is not None]
        detail = "Validation takes data of its own, or a fraction of the training data."
        expected = "inputs and targets, or fraction"
        if self.fraction is not None and own:
            raise InvalidValue("conflict", ("fraction",), detail, expected=expected)
        if self.fraction is None and self.stratify:
            raise InvalidValue("conflict", ("stratify",), "Only a fraction is drawn by classes.", expected=expected)
        if self.fraction is None and not {"inputs", "targets"} <= set(own):
            absent = "fraction" if not own else "targets" if "inputs" in own else "inputs"
            raise InvalidValue("missing", (absent,), detail, expected=expected)
        return self


class EvaluateAnswer(Selectable):
    """The loss and the metrics of a network on data."""

    loss: float = Field(description="The reduced loss, one number.")
    example_losses: Batch = Field(description="`[batch]`: each example's own loss, unweighted.")
    metrics: dict[str, Any] = Field(description="What was measured, by the metric's kind.")
    outputs: BatchOutputs = Field(description="`[batch, outputs]`: the last layer's activations.")
    predictions: Batch | None = Field(
        None, description="`[batch]`: the class of each example, an integer, where the loss is one of classes."
    )


class Measured(BaseModel):
    """Loss and metrics on one set of data."""

    loss: float = Field(description="The reduced loss, one number.")
    metrics: dict[str, Any] | None = Field(None, description="What was measured, by the metric's kind.")


class Epoch(Measured):
    """How one epoch went."""

    epoch: int = Field(description="Its number, from 1, over all calls of a run.")
    validation: Measured | None = Field(None, description="The same on the validation data, after the epoch.")
    learning_rate: float | None = Field(None, description="The learning rate of its last step.")
    gradient_norm: float | None = Field(None, description="The mean of its batches' gradient norms, before clipping.")


class TrainAnswer(Selectable):
    """What a training run ended with; `network`, `optimizer_state` and `completed_epochs` continue it."""

    network: NetworkModel = Field(description="The network as it is now.")
    optimizer_state: OptimizerState = Field(
        description="The optimizer's memory, with the state of schedule and early stopping; post it back to go on."
    )
    completed_epochs: int = Field(description="How many epochs this run has in all; post it back to go on.")
    stopped_because: Literal["epochs", "early_stopping", "target_loss", "diverged", "deadline"] = Field(
        description="What ended the call: all epochs asked for are done, or one of the others came first."
    )
    history: list[Epoch] = Field(description="One row for each epoch of this call.")


class EvaluateRequest(ForwardRequest):
    """A network, data, a loss and metrics."""

    answer: ClassVar[type[BaseModel]] = EvaluateAnswer

    targets: Targets = Field(description="`[batch, outputs]` numbers, or `[batch]` class labels.")
    loss: Loss = Field(description="A name, or an object with reduction and hyperparameters.")
    metrics: Metrics = Field([], description="What to measure beside the loss: names, or objects with hyperparameters.")

    _no_metric_twice = field_validator("metrics")(_distinct)

    @property
    def suited_metrics(self) -> tuple[Any, ...]:
        """The metrics, with this loss's threshold where they name none."""
        return suited(self.metrics, self.loss)

    def matrices(self) -> int:
        """How many numbers the answer's confusion matrices take; a number in a list takes the memory of four."""
        outputs = self.layout.swap(self.network.layers[-1].weights.shape)[1]
        return 4 * outputs**2 if any(metric.kind == "confusion_matrix" for metric in self.metrics) else 0

    def numbers(self) -> int:
        return super().numbers() + self.matrices()

    def work(self) -> int:
        return super().work() + self.matrices()

    def data(self, network: Network) -> Data:
        """The examples as the engine takes them: labels as one-hot rows, everything in the request's dtype."""
        return self._data(network, self.inputs, self.targets, self._weights(), ())

    def _data(
        self, network: Network, inputs: Array, targets: Array, weights: Array | None, where: tuple[str, ...]
    ) -> Data:
        inputs = as_dtype(inputs, self.dtype, (*where, "inputs"))
        if targets.ndim == 2 or targets.dtype.kind == "f":
            targets = as_dtype(targets, self.dtype, (*where, "targets"))
        shape = (len(inputs), network.layers[-1].weights.shape[1])
        try:
            prepared = prepare_targets(self.loss, targets, shape, inputs.dtype)
            # Here, where the rows have the numbers of the request; outputs of 1/2 are right for every loss.
            self.loss.check(np.full_like(prepared, 0.5), prepared)
        except EngineError as error:
            error.where = (*where, *error.where)
            raise
        return Data(inputs, prepared, weights)


class TrainRequest(EvaluateRequest, UpdateFields):
    """A network, data, how to update, and for how long."""

    answer: ClassVar[type[BaseModel]] = TrainAnswer
    work_field: ClassVar[tuple[str, ...]] = ("epochs",)

    epochs: Count = Field(description="How many more epochs to train.")
    batch_size: Count | None = Field(32, description="Examples in a batch; the last one may be smaller. null: all.")
    shuffle: StrictBool = Field(True, description="Draw the order of each epoch from (seed, epoch).")
    seed: Seed = Field(0, description="For the order of the examples and the validation split.")
    completed_epochs: StrictInt = Field(
        0, ge=0, lt=2**53, description="How many epochs came before: what the last answer gave, 0 at first."
    )
    learning_rate_schedule: Schedule | None = Field(None, description="A name, or an object with hyperparameters.")
    validation: Validation | None = Field(None, description="Data to measure on after each epoch, not to train on.")
    early_stopping: EarlyStopping | None = Field(None, description="End when a quantity no longer improves.")
    target_loss: float | None = Field(
        None, strict=True, allow_inf_nan=False, description="Stop when the loss of an epoch is at most this."
    )
    checkpoint_every: StrictInt = Field(0, ge=0, description="Streams send a checkpoint after so many epochs; 0: none.")
    max_seconds: float | None = Field(
        None,
        gt=0,
        strict=True,
        allow_inf_nan=False,
        description="Stop after so many seconds, with what was reached. Above the server's own limit, max_seconds of "
        "GET /version, that limit counts.",
    )

    def plan(self) -> Plan:
        return Plan(
            self.loss,
            self.optimizer,
            self.epochs,
            self.batch_size,
            self.shuffle,
            self.seed,
            self.regularization,
            self.gradient_clipping,
            self.learning_rate_schedule,
            self.suited_metrics,
            self.early_stopping,
            self.target_loss,
            self.checkpoint_every,
        )

    def split_data(self, network: Network) -> tuple[Data, Data | None]:
        """Training and validation data."""
        data, asked = self.data(network), self.validation
        if asked is None:
            return data, None
        if asked.fraction is not None:
            if len(data) < 2:
                raise InvalidValue(
                    "out_of_range", ("inputs",), "A split takes at least two examples.", expected=2, received=len(data)
                )
            parts = split(data, asked.fraction, asked.stratify, self.seed)
            self._require_weight(parts[1], "fraction", "Take a larger fraction or another seed, or stratify.")
            return parts
        assert asked.inputs is not None and asked.targets is not None
        where = ("validation",)
        if asked.inputs.shape[1] != self.inputs.shape[1]:
            raise ShapeMismatch(
                (*where, "inputs"),
                "Validation inputs have as many columns as the training's.",
                expected=["examples", self.inputs.shape[1]],
                received=list(asked.inputs.shape),
            )
        weights = asked.sample_weights
        if weights is not None:
            weights = self.checked_weights(weights, len(asked.inputs), (*where, "sample_weights"))
        validation = self._data(network, asked.inputs, asked.targets, weights, where)
        self._require_weight(validation, "targets" if weights is None else "sample_weights")
        return data, validation

    def _require_weight(self, validation: Data, field: str, hint: str | None = None) -> None:
        if counts_nothing(self.loss, validation):
            raise InvalidWeights(
                ("validation", field),
                "The examples for validation have only weights of 0, so there is no mean of them.",
                expected="an example with a weight above 0",
                hint=hint,
            )

    def start(self, network: Network, plan: Plan) -> Checkpoint:
        """Where the last answer left off; raises InvalidState where its state is not one of this request's."""
        state = state_to_engine(self.optimizer_state, self.optimizer, network, self.layout)
        fresh = begin(network, state, plan, self.completed_epochs)
        posted = self.optimizer_state or {}
        schedule_state, stopping_state = fresh.schedule_state, fresh.stopping_state
        if plan.schedule is not None and posted.get("schedule") is not None:
            schedule_state = schedule_state_to_engine(posted["schedule"])
            try:
                plan.schedule.check(schedule_state)
            except InvalidState as error:
                error.where = ("optimizer_state", "schedule", *error.where[1:])
                raise
        posted_stopping = posted.get("early_stopping")
        if plan.early_stopping is not None and posted_stopping is not None:
            stopping_state = posted_stopping.to_engine(network, self.dtype)
            plan.early_stopping.check(stopping_state)
        return fresh._replace(schedule_state=schedule_state, stopping_state=stopping_state)

    def wire_checkpoint(self, checkpoint: Checkpoint) -> dict[str, Any]:
        """A checkpoint as the fields that continue from it."""
        kept = training_state_to_wire(checkpoint.schedule_state, checkpoint.stopping_state, self.layout)
        return {
            "network": network_to_wire(checkpoint.network, self.layout),
            "optimizer_state": state_to_wire(checkpoint.state, self.optimizer, self.layout) | kept,
            "completed_epochs": checkpoint.completed_epochs,
        }

    def steps(self) -> int:
        """How many updates the run makes."""
        examples = len(self.inputs)
        return self.epochs * -(-examples // (self.batch_size or examples))

    def validated(self) -> int:
        """How many examples each epoch is validated on, at most."""
        if self.validation is None:
            return 0
        return len(self.inputs if self.validation.inputs is None else self.validation.inputs)

    def examples(self) -> int:
        return super().examples() + self.validated()

    def copies(self) -> int:
        keeps_best = self.early_stopping is not None and self.early_stopping.restore_best
        return super().copies() + self.state_copies() + keeps_best

    def matrices(self) -> int:
        return super().matrices() * self.epochs * (1 if self.validation is None else 2)

    def work(self) -> int:
        """An estimate of the multiplications: examples x parameters x epochs, three times (forward, and both products
        of the backward pass), once more for metrics, and those of the validation."""
        parameters = sum(layer.weights.size for layer in self.network.layers)
        examples = (3 + bool(self.metrics)) * len(self.inputs) + self.validated()
        return examples * parameters * self.epochs + self.matrices()

    def handling(self) -> int:
        """What a run takes beside its multiplications, as so many of them: for each epoch, each step and each layer in
        it, and for each number of a layer, or that a metric looks at, in each epoch."""
        units = [self.layout.swap(layer.weights.shape)[1] for layer in self.network.layers]
        numbers = (len(self.inputs) + self.validated()) * (sum(units) + len(self.metrics) * units[-1])
        passes = self.epochs + self.steps() * (1 + self.depth())
        return passes * PASS_WORK + self.epochs * numbers * NUMBER_WORK


def predictions(outputs: Array, loss: Loss) -> Array | None:
    """The class of each row for a loss of classes: its largest output, or whether a single probability is above 1/2,
    its logit above 0."""
    tells_classes = loss.takes_labels if outputs.shape[1] > 1 else isinstance(loss, BinaryCrossEntropy)
    return classes(outputs, boundary(loss)) if tells_classes else None
