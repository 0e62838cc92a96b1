"""Networks and optimizer states on the wire, and the crossing to the engine's, both ways."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import ConfigDict, Field, StrictInt, StrictStr, WithJsonSchema
from typing_extensions import TypedDict

from engine.errors import EngineError, InvalidState, ShapeMismatch, Where
from engine.layers import Dense
from engine.network import Network
from engine.optimizers import Optimizer
from engine.rules import Array
from engine.step import NetworkState, init_state
from schemas.errors import InvalidValue, json_type
from schemas.limits import WithinLimits
from schemas.model import Model
from schemas.rules import Activation
from schemas.shapes import shape
from schemas.tensors import Matrix, Vector, as_dtype, decode

WeightsLayout = Annotated[Literal["inputs_by_units", "units_by_inputs"], shape("WeightsLayout")]
DType = Annotated[Literal["float64", "float32"], shape("DType")]
Name = Annotated[StrictStr, Field(min_length=1, max_length=64)]


class LayerModel(Model):
    """A dense layer: preactivations = inputs @ weights + bias, activations = activation(preactivations)."""

    kind: Literal["dense"] = Field("dense", description="The kind of layer.")
    weights: Matrix = Field(description="`[inputs, units]`, or `[units, inputs]` with weights_layout units_by_inputs.")
    bias: Vector | None = Field(description="`[units]`: one number for each unit, or null for a layer without bias.")
    activation: Activation = Field(
        description="The function of the preactivations: a name, or an object with hyperparameters. Answers always "
        "have the object."
    )
    name: Name | None = Field(None, description="Answers call the layer by it; layers.<index> without one.")
    frozen: tuple[Literal["weights", "bias"], ...] = Field(
        (), description="The names of parameters that an update leaves as they are; their gradients are still answered."
    )


class NetworkModel(Model):
    """Layers in order. Every weight and weight gradient of an answer comes back in the layout of the request."""

    layers: Annotated[list[LayerModel], WithinLimits] = Field(
        min_length=1, description="The layers, from the inputs to the outputs."
    )
    weights_layout: WeightsLayout = Field(
        "inputs_by_units",
        description="inputs_by_units (row i holds what leaves input i; Keras) or units_by_inputs (PyTorch).",
    )

    def to_engine(self, dtype: DType, input_size: int | None = None) -> Network:
        """The engine's network; raises ShapeMismatch where layers, or the inputs, do not fit together."""
        crossing = LAYOUTS[self.weights_layout]
        layers: list[Dense] = []
        for i, layer in enumerate(self.layers):
            where = ("network", "layers", i)
            weights = as_dtype(crossing.engine_form(layer.weights), dtype, (*where, "weights"))
            units = weights.shape[1]
            if input_size is not None and weights.shape[0] != input_size:
                self._refuse_inputs(i, weights.shape, input_size)
            bias = None
            if layer.bias is not None:
                if len(layer.bias) != units:
                    raise ShapeMismatch(
                        (*where, "bias"),
                        f"Layer {i} has {units} units, and its bias has {len(layer.bias)} numbers.",
                        expected=[units],
                        received=[len(layer.bias)],
                    )
                bias = as_dtype(layer.bias, dtype, (*where, "bias"))
            layers.append(Dense(weights, bias, layer.activation, layer.name, frozenset(layer.frozen)))
            input_size = units
        return Network(tuple(layers))

    def _refuse_inputs(self, i: int, shape: tuple[int, ...], size: int) -> None:
        inputs, units = shape
        wire = LAYOUTS[self.weights_layout].swap
        hint = "Each layer's weights need as many inputs as the layer before has units."
        if i == 0:
            hint = "The weights of layer 0 need one input for each column of inputs."
        if units == size:
            other = LAYOUTS[self.weights_layout].other
            hint = (
                f"These weights look transposed: as they stand they would fit with weights_layout {other}. "
                "Set it, or transpose them."
            )
        before = f"inputs have {size} columns" if i == 0 else f"layer {i - 1} has {size} units"
        raise ShapeMismatch(
            ("network", "layers", i, "weights"),
            f"The weights of layer {i} take {inputs} inputs, but {before}.",
            expected=wire((size, units)),
            received=wire(shape),
            hint=hint,
        )


UNCHANGED = "Post back the optimizer_state of the last answer as it was."


class StoppingState(Model):
    """Where early stopping is in a training run."""

    monitor: Annotated[StrictStr, Field(max_length=64)] | None = Field(None, description="What it watches.")
    best: float | None = Field(
        strict=True, allow_inf_nan=False, description="The best value so far of what it watches."
    )
    bad_epochs: StrictInt = Field(ge=0, lt=2**53, description="For how many epochs there has been none better.")
    network: NetworkModel | None = Field(None, description="The network of then, where that is to be restored.")

    def to_engine(self, network: Network, dtype: DType) -> dict[str, Any]:
        """The engine's state; raises where its network has not the shapes of this one."""
        state: dict[str, Any] = {"monitor": self.monitor, "best": self.best, "bad_epochs": self.bad_epochs}
        if self.network is None:
            return state
        here = ("optimizer_state", "early_stopping")
        try:
            best = self.network.to_engine(dtype)
        except EngineError as error:
            error.where = (*here, *error.where)
            raise
        shapes = [[{n: p.shape for n, p in layer.items()} for layer in net.parameters] for net in (best, network)]
        if shapes[0] != shapes[1]:
            raise InvalidState((*here, "network"), "This network has not the shapes of the other.", hint=UNCHANGED)
        return {**state, "network": network.with_parameters(best.parameters)}


NUMBERS_OR_NULL = {"type": "object", "additionalProperties": {"anyOf": [{"type": "number"}, {"type": "null"}]}}


class OptimizerState(TypedDict, total=False):
    """What an optimizer remembers between steps (momenta, averages, counts), and what training keeps beside it.

    Post back what the last answer gave, unchanged; null or absent at first.
    """

    # Each optimizer has fields of its own, which state_to_engine looks at.

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]
    schedule: Annotated[
        Any,
        WithJsonSchema(NUMBERS_OR_NULL),
        Field(description="Training keeps it where the learning rate has a schedule."),
    ]
    early_stopping: Annotated[StoppingState | None, Field(description="Training keeps it where it may stop early.")]


TRAINING_STATE = tuple(OptimizerState.__annotations__)


class Layout:
    """The crossing of weights between their layout on the wire and the engine's `[inputs, units]`."""

    def __init__(self, layout: WeightsLayout) -> None:
        self.name = layout
        self.transposed = layout == "units_by_inputs"
        self.other = "inputs_by_units" if self.transposed else "units_by_inputs"

    def swap(self, shape: tuple[int, ...]) -> list[int]:
        """The shape on the wire of weights with `shape` in the engine, and the reverse."""
        return list(reversed(shape)) if self.transposed else list(shape)

    def engine_form(self, array: Array) -> Array:
        """Weights (or any array of their shape) as the engine has them; vectors as they are."""
        return np.ascontiguousarray(array.T) if self.transposed and array.ndim == 2 else array

    def wire_form(self, array: Array) -> Array:
        """The reverse; a leading batch axis stays where it is."""
        if self.transposed and array.ndim >= 2:
            return np.ascontiguousarray(np.swapaxes(array, -1, -2))
        return array


LAYOUTS: dict[str, Layout] = {
    "inputs_by_units": Layout("inputs_by_units"),
    "units_by_inputs": Layout("units_by_inputs"),
}


def state_to_engine(
    value: Mapping[str, Any] | None, optimizer: Optimizer, network: Network, layout: Layout
) -> NetworkState:
    """The optimizer state that a request posts back; null is the state before the first step.

    Raises InvalidState or ShapeMismatch where it is not a state of this optimizer for this network.
    """
    fresh = init_state(optimizer, network)
    if value is None:
        return fresh
    here = ("optimizer_state",)
    if value.get("kind") != optimizer.kind:
        raise InvalidState(
            (*here, "kind"),
            "This state belongs to another optimizer.",
            expected=optimizer.kind,
            received=json_type(value.get("kind")),
            hint="Post back the optimizer_state of the last answer, or null to start afresh.",
        )
    layers = value.get("layers")
    if type(layers) is not list or len(layers) != len(fresh):
        raise InvalidState(
            (*here, "layers"),
            "The state has one entry for each layer of the network.",
            expected=[len(fresh)],
            received=[len(layers)] if type(layers) is list else json_type(layers),
        )
    known = {"kind": None, "layers": None}
    _require_keys(value, known | {key: None for key in TRAINING_STATE if key in value}, here)
    state: NetworkState = []
    for i, (layer, expected) in enumerate(zip(layers, fresh, strict=True)):
        at = (*here, "layers", i)
        _require_keys(layer, expected, at)
        state.append({name: _parameter_state(layer[name], expected[name], (*at, name), layout) for name in expected})
    return state


def schedule_state_to_engine(posted: Any) -> dict[str, Any]:
    """The state of a schedule, which holds nothing but numbers; raises InvalidState where it is none."""
    here = ("optimizer_state", "schedule")
    if type(posted) is not dict:
        raise InvalidState(here, "An object was expected here.", expected="object", received=json_type(posted))
    for name, value in posted.items():
        fits = abs(value) < 2**63 if type(value) is int else type(value) is float and math.isfinite(value)
        if value is not None and not fits:
            raise InvalidState(
                (*here, name),
                "This is one number, or null.",
                expected="number",
                received=json_type(value),
                hint=UNCHANGED,
            )
    return posted


def _parameter_state(value: Any, fresh: dict[str, Any], where: Where, layout: Layout) -> dict[str, Any]:
    _require_keys(value, fresh, where)
    state: dict[str, Any] = {}
    for key, example in fresh.items():
        at = (*where, key)
        if isinstance(example, np.ndarray):
            try:
                array = layout.engine_form(decode(value[key], (example.ndim,)))
            except InvalidValue as error:
                error.where = (*at, *error.where)
                raise
            if array.shape != example.shape:
                raise ShapeMismatch(
                    at,
                    "This part of the optimizer state has not the shape of its parameter.",
                    expected=list(layout.wire_form(example).shape),
                    received=list(layout.wire_form(array).shape),
                )
            state[key] = as_dtype(array, example.dtype.name, at)
        else:
            number = value[key]
            if type(number) is not int and (type(example) is int or type(number) is not float):
                expected = "integer" if type(example) is int else "number"
                raise InvalidState(
                    at, "This part of the optimizer state is one number.", expected=expected, received=json_type(number)
                )
            if type(example) is int and not 0 <= number < 2**53:
                raise InvalidState(at, "A count of steps is out of range.", expected="0 to 2^53 - 1", received=number)
            state[key] = number
    return state


def _require_keys(value: Any, expected: dict[str, Any], where: Where) -> None:
    if type(value) is not dict:
        raise InvalidState(where, "An object was expected here.", expected=sorted(expected), received=json_type(value))
    for key in expected:
        if key not in value:
            raise InvalidState(
                (*where, key),
                "This part of the optimizer state is missing.",
                expected=sorted(expected),
                hint="Post back the optimizer_state of the last answer as it was, with the same optimizer.",
            )
    for key in value:
        if key not in expected:
            raise InvalidState(
                (*where, key), "This optimizer has no such state with these hyperparameters.", expected=sorted(expected)
            )


def network_to_wire(network: Network, layout: Layout) -> dict[str, Any]:
    """The wire form of a network, its weights in `layout`."""
    layers = []
    for layer in network.layers:
        form: dict[str, Any] = {"kind": layer.kind, "weights": layout.wire_form(layer.weights), "bias": layer.bias}
        form["activation"] = layer.activation
        if layer.name is not None:
            form["name"] = layer.name
        if layer.frozen:
            form["frozen"] = sorted(layer.frozen)
        layers.append(form)
    return {"layers": layers, "weights_layout": layout.name}


def state_to_wire(state: NetworkState, optimizer: Optimizer, layout: Layout) -> dict[str, Any]:
    """The wire form of an optimizer's state, its arrays in the layout of their parameters."""
    if not layout.transposed:
        return {"kind": optimizer.kind, "layers": state}
    layers = [
        {
            name: {key: layout.wire_form(v) if isinstance(v, np.ndarray) else v for key, v in parameter.items()}
            for name, parameter in layer.items()
        }
        for layer in state
    ]
    return {"kind": optimizer.kind, "layers": layers}


def training_state_to_wire(
    schedule_state: dict[str, Any], stopping_state: dict[str, Any], layout: Layout
) -> dict[str, Any]:
    """The wire form of what training keeps, of which either may be {}."""
    state: dict[str, Any] = {"schedule": schedule_state} if schedule_state else {}
    if stopping_state:
        state["early_stopping"] = dict(stopping_state)
        if "network" in stopping_state:
            state["early_stopping"]["network"] = network_to_wire(stopping_state["network"], layout)
    return state
