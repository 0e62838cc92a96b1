"""Optimizer states on the wire, with what training keeps beside them, and the crossing to the engine's, both ways."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, get_args

import numpy as np
from pydantic import ConfigDict, Field, StrictInt, StrictStr, WithJsonSchema
from typing_extensions import TypedDict

from engine.errors import EngineError, InvalidState, ShapeMismatch, Where
from engine.network import Network
from engine.optimizers import Optimizer
from engine.step import NetworkState, init_state
from schemas.errors import InvalidValue, json_type
from schemas.model import Model
from schemas.network import DType, Layout, NetworkModel, network_to_wire
from schemas.rules import kind_of
from schemas.tensors import as_dtype, decode

KINDS = [kind_of(rule) for rule in get_args(Optimizer)]
UNCHANGED = "Post back the optimizer_state of the last answer as it was."
AFRESH = "Where the network or its optimizer has been changed since, start afresh with null."


class StoppingState(Model):
    """Where early stopping is in a training run."""

    monitor: Annotated[StrictStr, Field(max_length=64)] | None = Field(None, description="What it watches.")
    best: float | None = Field(
        strict=True, allow_inf_nan=False, description="The best value so far of what it watches."
    )
    bad_epochs: StrictInt = Field(ge=0, lt=2**53, description="For how many epochs there has been none better.")
    network: NetworkModel | None = Field(None, description="The network of the best epoch, where it is to be restored.")

    def to_engine(self, network: Network, dtype: DType) -> dict[str, Any]:
        """The engine's state; raises where its network does not have the shapes of this one."""
        state: dict[str, Any] = {"monitor": self.monitor, "best": self.best, "bad_epochs": self.bad_epochs}
        if self.network is None:
            return state
        here = ("optimizer_state", "early_stopping")
        try:
            best = self.network.to_engine(dtype)
        except EngineError as error:
            error.where = (*here, *error.where)
            raise
        if _shapes(best) != _shapes(network):
            raise InvalidState((*here, "network"), "This network has other shapes than the request's.", hint=UNCHANGED)
        return {**state, "network": network.with_parameters(best.parameters)}


def _shapes(network: Network) -> list[dict[str, tuple[int, ...]]]:
    return [{name: array.shape for name, array in layer.items()} for layer in network.parameters]


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
    kind = value.get("kind")
    if type(kind) is not str or kind != optimizer.kind:
        raise InvalidState(
            (*here, "kind"),
            "This state belongs to another optimizer.",
            expected=optimizer.kind,
            received=kind if type(kind) is str and kind in KINDS else json_type(kind),
            hint="Post back the optimizer_state of the last answer, or null to start afresh.",
        )
    layers = value.get("layers")
    if type(layers) is not list or len(layers) != len(fresh):
        raise InvalidState(
            (*here, "layers"),
            "The state has one entry for each layer of the network.",
            expected=[len(fresh)],
            received=[len(layers)] if type(layers) is list else json_type(layers),
            hint=AFRESH,
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
                array = decode(value[key], (example.ndim,))
            except InvalidValue as error:
                error.where = (*at, *error.where)
                raise
            wanted = layout.swap(example.shape) if example.ndim == 2 else list(example.shape)
            if list(array.shape) != wanted:
                raise ShapeMismatch(
                    at,
                    "This part of the optimizer state does not have the shape of its parameter.",
                    expected=wanted,
                    received=list(array.shape),
                    hint=AFRESH,
                )
            state[key] = layout.engine_form(as_dtype(array, example.dtype.name, at))
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
            detail = "This optimizer has no such state with these hyperparameters."
            if where[-2:-1] == ("layers",):
                detail = "This layer has no such parameter."
            raise InvalidState((*where, key), detail, expected=sorted(expected), hint=AFRESH)


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
