"""What training keeps in an optimizer's state beside the optimizer's own: where its schedule and early stopping are."""

import math
from typing import Any

from pydantic import ValidationError

from engine.errors import EngineError, InvalidState
from engine.network import Network
from schemas.errors import json_type
from schemas.network import DType, NetworkModel

SCHEDULE, STOPPING = ("optimizer_state", "schedule"), ("optimizer_state", "early_stopping")
NUMBERS_OF_STOPPING = {"best", "bad_epochs"}
HINT = "Post back the optimizer_state of the last answer as it was."
Where = tuple[str | int, ...]


def require_training_state(posted: dict[str, Any], network: Network, dtype: DType) -> None:
    """Raises InvalidState, or what is wrong with a network in it, where it is not what training keeps."""
    if "schedule" in posted:
        schedule_state_of(posted["schedule"])
    if "early_stopping" in posted:
        stopping_state_of(posted["early_stopping"], network, dtype)


def schedule_state_of(posted: Any) -> dict[str, Any]:
    """The state of a schedule, which holds nothing but numbers; raises InvalidState where it is none."""
    state = _object(posted, SCHEDULE)
    for name, value in state.items():
        _require_number(value, (*SCHEDULE, name))
    return state


def stopping_state_of(posted: Any, network: Network, dtype: DType) -> dict[str, Any]:
    """The state of early stopping, with the best network so far as the engine's, where there is one."""
    state = _object(posted, STOPPING)
    known = NUMBERS_OF_STOPPING | {"network"}
    for name in (*sorted(NUMBERS_OF_STOPPING - set(state)), *(name for name in state if name not in known)):
        detail = "Early stopping has no such state." if name in state else "This part of the state is missing."
        raise InvalidState((*STOPPING, name), detail, expected=sorted(known), hint=HINT)
    _require_number(state["best"], (*STOPPING, "best"))
    if type(state["bad_epochs"]) is not int or not 0 <= state["bad_epochs"] < 2**53:
        raise InvalidState((*STOPPING, "bad_epochs"), "This counts epochs.", expected="0 to 2^53", hint=HINT)
    if "network" in state:
        state = {**state, "network": _best_network(state["network"], network, dtype)}
    return state


def _best_network(posted: Any, network: Network, dtype: DType) -> Network:
    where = (*STOPPING, "network")
    try:
        restored = NetworkModel.model_validate(posted).to_engine(dtype)
    except ValidationError as error:
        raise _first_of(error, posted, where) from None
    except EngineError as error:
        error.where = (*STOPPING, *error.where)
        raise
    shapes = [[{n: p.shape for n, p in layer.items()} for layer in net.parameters] for net in (restored, network)]
    if shapes[0] != shapes[1]:
        raise InvalidState(where, "The best network so far has not the shapes of this one.", hint=HINT)
    return network.with_parameters(restored.parameters)


def _first_of(error: ValidationError, posted: Any, where: Where) -> EngineError:
    """The first of Pydantic's errors as one of ours, at its place in the request."""
    first = error.errors(include_url=False)[0]
    for part in first["loc"]:  # It also has the names of the alternatives that were tried.
        inside = posted.keys() if isinstance(posted, dict) else range(len(posted)) if isinstance(posted, list) else ()
        if part in inside:
            posted = posted[part]
            where = (*where, part)
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, EngineError):
        cause.where = (*where, *cause.where)
        return cause
    if first["type"] == "missing":
        where = (*where, first["loc"][-1])
    return InvalidState(where, f"This is no network: {first['msg'].lower()}.", hint=HINT)


def _object(value: Any, where: Where) -> dict[str, Any]:
    if type(value) is not dict:
        raise InvalidState(
            where, "An object was expected here.", expected="object", received=json_type(value), hint=HINT
        )
    return value


def _require_number(value: Any, where: Where) -> None:
    fits = abs(value) < 2**63 if type(value) is int else type(value) is float and math.isfinite(value)
    if value is not None and not fits:
        raise InvalidState(
            where, "This is one number, or null.", expected="number", received=json_type(value), hint=HINT
        )
