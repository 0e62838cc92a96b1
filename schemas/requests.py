"""The requests: what a client may post, and the crossing to the engine."""

from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import BaseModel as AnswerModel
from pydantic import Field, StrictBool, StrictInt, StrictStr, field_validator, model_validator

from engine.errors import ShapeMismatch
from engine.initialization import Blank, initialize
from engine.initializers import Orthogonal, PytorchLinear
from engine.network import Network
from engine.objective import LossObjective, Objective, VectorObjective
from engine.regularization import Regularization
from engine.rules import Array
from engine.step import NetworkState, numbers_kept
from schemas.answers import BackwardAnswer, ForwardAnswer, InitializeAnswer, StepAnswer, include_names
from schemas.errors import InvalidValue
from schemas.limits import WithinLimits
from schemas.model import Model
from schemas.names import nearest
from schemas.network import LAYOUTS, DType, Layout, Name, NetworkModel, WeightsLayout
from schemas.optimizer_state import (
    OptimizerState,
    schedule_state_to_engine,
    state_to_engine,
    training_state_to_wire,
)
from schemas.rules import Activation, Clipping, Initializer, Loss, Optimizer
from schemas.shapes import shape
from schemas.tensors import Matrix, Targets, Vector, as_dtype

Encoding = Annotated[Literal["json", "base64"], shape("Encoding")]
Seed = Annotated[StrictInt, Field(ge=0, lt=2**63)]


class ForwardRequest(Model):
    """A network and inputs; with targets and a loss, the loss too."""

    answer: ClassVar[type[AnswerModel]] = ForwardAnswer
    passes: ClassVar[int] = 1
    work_field: ClassVar[tuple[str, ...]] = ()

    network: NetworkModel = Field(description="The layers with their weights, biases and activations.")
    inputs: Matrix = Field(description="`[batch, features]`: one row for each example.")
    targets: Targets | None = Field(
        None, description="`[batch, outputs]` numbers, or `[batch]` integer class labels for the classification losses."
    )
    loss: Loss | None = Field(None, description="A name, or an object with reduction and hyperparameters.")
    sample_weights: Vector | None = Field(
        None, description="`[batch]` numbers >= 0; a mean becomes sum(w * l) / sum(w)."
    )
    dtype: DType = Field("float64", description="What is computed in: float64 has 53 bits of precision, float32 24.")
    encoding: Encoding = Field("json", description="How the answer writes arrays: nested lists, or base64.")
    include: list[StrictStr] | None = Field(
        None,
        fail_fast=True,
        description="Names of fields of the answer, or of its layers, that are wanted; the others are left out.",
    )

    @field_validator("include")
    @classmethod
    def _known_fields(cls, include: list[str] | None) -> list[str] | None:
        names = include_names(cls.answer)
        for i, name in enumerate(include or []):
            if name not in names:
                raise InvalidValue(
                    "unknown_name", (i,), "The answer has no such field.", expected=names, hint=nearest(name, names)
                )
        return include

    @property
    def layout(self) -> Layout:
        return LAYOUTS[self.network.weights_layout]

    def engine_network(self) -> Network:
        return self.network.to_engine(self.dtype, self.inputs.shape[1])

    def engine_inputs(self) -> Array:
        return as_dtype(self.inputs, self.dtype, ("inputs",))

    def objective(self) -> Objective | None:
        """What the request asks to differentiate or evaluate; raises where a part of it is missing."""
        if self.targets is None and self.loss is None:
            if self.sample_weights is not None:
                raise InvalidValue("missing", ("targets",), "Sample weights stand beside targets and a loss.")
            return None
        if self.targets is None or self.loss is None:
            absent = "loss" if self.loss is None else "targets"
            raise InvalidValue(
                "missing",
                (absent,),
                "Targets and loss belong together.",
                expected="a loss" if self.loss is None else "targets",
                hint=f"Add {absent}.",
            )
        targets = self.targets
        if targets.ndim == 2 or targets.dtype.kind == "f":
            targets = as_dtype(targets, self.dtype, ("targets",))
        return LossObjective(self.loss, targets, self._weights())

    def _weights(self) -> Array | None:
        if self.sample_weights is None:
            return None
        return self.checked_weights(self.sample_weights, len(self.inputs), ("sample_weights",))

    def checked_weights(self, weights: Array, examples: int, where: tuple[str, ...]) -> Array:
        """Sample weights in the request's dtype; raises where they are not one number >= 0 for each example."""
        weights = as_dtype(weights, self.dtype, where)
        if len(weights) != examples:
            raise ShapeMismatch(
                where,
                "There is one sample weight for each example.",
                expected=[examples],
                received=[len(weights)],
            )
        if weights.min() < 0:
            raise InvalidValue(
                "out_of_range",
                (*where, int(np.argmax(weights < 0))),
                "A sample weight is at least 0.",
                expected=">= 0",
                received=float(weights.min()),
            )
        return weights

    def numbers(self) -> int:
        """How many numbers the computation holds at most, answer included."""
        axis = 0 if self.layout.transposed else 1
        units = parameters = 0
        for layer in self.network.layers:
            units += layer.weights.shape[axis]
            parameters += layer.weights.size
        return 4 * self.examples() * units + self.copies() * parameters

    def depth(self) -> int:
        """How many layers the network has."""
        return len(self.network.layers)

    def for_depth(self, work: int, layers: int) -> int:
        """What takes `work` in any network of so many layers, and more of more in proportion."""
        return work * max(layers, self.depth()) // layers

    def examples(self) -> int:
        """How many examples are in the server's memory at once, in every layer."""
        return len(self.inputs)

    def copies(self) -> int:
        """How many copies of the parameters, or numbers for each of them, there are at once."""
        return 3

    def work(self) -> int:
        """An estimate of the multiplications: passes over the network x examples x parameters."""
        return self.passes * len(self.inputs) * sum([layer.weights.size for layer in self.network.layers])


class BackwardRequest(ForwardRequest):
    """A network, inputs, and what to differentiate: a loss of targets, or the product with output_gradients."""

    answer: ClassVar[type[AnswerModel]] = BackwardAnswer
    passes: ClassVar[int] = 3  # Forward, and both products of the backward pass.

    output_gradients: Matrix | None = Field(
        None,
        description="`[batch, outputs]`: the vector of a vector-Jacobian product, in place of targets and loss.",
    )
    per_example: StrictBool = Field(
        False, description="Add each example's own gradients, `[batch, ...]`, beside those of the whole batch."
    )

    @model_validator(mode="after")
    def _included_gradients_are_computed(self) -> Self:
        if self.include is not None and "per_example_gradients" in self.include and not self.per_example:
            raise InvalidValue(
                "missing",
                ("per_example",),
                "The answer is to include per_example_gradients, which are only computed where per_example is true.",
                expected=True,
                received=False,
                hint="Set per_example to true.",
            )
        return self

    def objective(self) -> Objective:
        if self.output_gradients is None:
            objective = super().objective()
            if objective is None:
                raise InvalidValue(
                    "missing",
                    ("targets",),
                    "There is nothing to differentiate.",
                    expected="targets and loss, or output_gradients",
                )
            return objective
        for name in ("targets", "loss", "sample_weights"):
            if getattr(self, name) is not None:
                raise InvalidValue(
                    "conflict",
                    (name,),
                    f"output_gradients stand in place of targets and loss, and here is {name} too.",
                    hint=f"Leave out {name} or output_gradients.",
                )
        expected = [len(self.inputs), self.layout.swap(self.network.layers[-1].weights.shape)[1]]
        if list(self.output_gradients.shape) != expected:
            raise ShapeMismatch(
                ("output_gradients",),
                "The vector of a vector-Jacobian product has the shape of the outputs.",
                expected=expected,
                received=list(self.output_gradients.shape),
            )
        return VectorObjective(as_dtype(self.output_gradients, self.dtype, ("output_gradients",)))

    def copies(self) -> int:
        return super().copies() + (len(self.inputs) if self.per_example else 0)


class UpdateFields(Model):
    """How to update the parameters."""

    optimizer: Optimizer = Field(description="A name, or an object with hyperparameters; PyTorch's names and defaults.")
    optimizer_state: OptimizerState | None = Field(None, description="null at first, then what the last answer gave.")
    regularization: Regularization | None = Field(
        None, description="Adds l1 * sum|w| + l2/2 * sum(w^2) over the weights, not the biases, to the loss."
    )
    gradient_clipping: Clipping | None = Field(None, description="Limits the gradients before the update.")

    def state_copies(self) -> int:
        """How many numbers the optimizer's states before and after the update hold for each parameter."""
        return 2 * numbers_kept(self.optimizer)


class StepRequest(BackwardRequest, UpdateFields):
    """A backward request, and how to update the parameters."""

    answer: ClassVar[type[AnswerModel]] = StepAnswer

    def copies(self) -> int:
        return super().copies() + self.state_copies()

    def state(self, network: Network) -> NetworkState:
        return state_to_engine(self.optimizer_state, self.optimizer, network, self.layout)

    def training_state(self, network: Network) -> dict[str, Any]:
        """What training keeps in the state, to be handed on without a loss of digits."""
        posted = self.optimizer_state or {}
        stopping, schedule = posted.get("early_stopping"), posted.get("schedule")
        return training_state_to_wire(
            {} if schedule is None else schedule_state_to_engine(schedule),
            {} if stopping is None else stopping.to_engine(network, "float64"),
            self.layout,
        )


class OptionalStepRequest(BackwardRequest):
    """A backward request that may say how to update the parameters too."""

    optimizer: Optimizer | None = Field(None, description="With an optimizer, the step that it takes is looked at too.")
    optimizer_state: OptimizerState | None = Field(None, description="What the last step gave; null before the first.")
    regularization: Regularization | None = Field(None, description="The penalty, a part of loss and gradients.")
    gradient_clipping: Clipping | None = Field(None, description="How a step limits the gradients.")

    @model_validator(mode="after")
    def _state_has_an_optimizer(self) -> Self:
        if self.optimizer is None and self.optimizer_state is not None:
            raise InvalidValue("missing", ("optimizer",), "An optimizer state stands beside its optimizer.")
        return self


class InitializeLayer(Model):
    """A layer to be made."""

    units: StrictInt = Field(ge=1, description="How many units the layer has.")
    activation: Activation = Field(description="A name, or an object with hyperparameters.")
    weights_initializer: Initializer = Field(
        default_factory=PytorchLinear,
        description="How its weights are drawn. Default: PyTorch's for linear layers.",
    )
    bias_initializer: Initializer | None = Field(
        default_factory=PytorchLinear,
        description="How its bias is drawn; null for a layer without bias. Default: PyTorch's for linear layers.",
    )
    name: Name | None = Field(None, description="Answers call the layer by it; layers.<index> without one.")


class InitializeRequest(Model):
    """The architecture of a network to be made; the same seed gives the same bytes."""

    answer: ClassVar[type[AnswerModel]] = InitializeAnswer
    work_field: ClassVar[tuple[str, ...]] = ()

    input_size: StrictInt = Field(ge=1, description="How many features an example has.")
    layers: Annotated[list[InitializeLayer], WithinLimits] = Field(
        min_length=1, description="From the first hidden layer to the outputs."
    )
    weights_layout: WeightsLayout = Field("inputs_by_units", description="The layout of the weights in the answer.")
    seed: Seed = Field(0, description="All randomness comes from it: the same seed, the same numbers.")
    dtype: DType = Field("float64", description="The precision that the numbers are drawn in.")
    encoding: Encoding = Field("json", description="How the answer writes arrays: nested lists, or base64.")

    @property
    def layout(self) -> Layout:
        return LAYOUTS[self.weights_layout]

    def engine_network(self) -> Network:
        layers = [
            Blank(layer.units, layer.activation, layer.weights_initializer, layer.bias_initializer, layer.name)
            for layer in self.layers
        ]
        return initialize(self.input_size, layers, self.dtype, self.seed)

    def depth(self) -> int:
        """How many layers are made."""
        return len(self.layers)

    def numbers(self) -> int:
        sizes = [self.input_size, *(layer.units for layer in self.layers)]
        return 2 * sum(inputs * units + units for inputs, units in pairwise(sizes))

    def work(self) -> int:
        """An estimate of the multiplications: ten for each number drawn, and those of a decomposition where the
        initializer makes one."""
        sizes = [self.input_size, *(layer.units for layer in self.layers)]
        return sum(
            inputs * units * (4 * min(inputs, units) if isinstance(layer.weights_initializer, Orthogonal) else 10)
            for layer, (inputs, units) in zip(self.layers, pairwise(sizes), strict=True)
        )
