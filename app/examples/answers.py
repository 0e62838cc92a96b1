"""What the routes answer to an example, and to it with a mistake in it, for the OpenAPI page."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import orjson
from fastapi import Request

from app.bodies import too_large
from app.compute import REFUSALS, ComputeRoute
from app.errors import ProblemError, problem_of
from app.forms import chosen, read_json, reader
from app.problems import PROBLEMS
from app.settings import Settings
from schemas.answers import write
from schemas.limits import Limits

REQUEST_ID = "6f1d3c0e5b7a4d2f9c8e1a0b3d5f7e92"
DIGITS = 6
"""The numbers of an example answer are cut to so many: enough to compare with, and no wall of digits."""
MISTAKES: dict[str, Callable[[Any], Any]] = {
    "missing": lambda request: request.pop("inputs" if "inputs" in request else "input_size"),
    "unknown-field": lambda request: request.update(learning_rate=0.1),
    "unknown-name": lambda request: _first_layer(request).update(activation="rellu"),
    "wrong-type": lambda request: request.update(seed="42") if "seed" in request else request.update(inputs="0.1 0.2"),
    "shape-mismatch": lambda request: _first_layer(request).update(bias=[1.0, 1.0]),
    "not-a-number": lambda request: request.update(inputs=[[0.1, "0.2", 0.7]]),
    "non-finite": lambda request: request.update(inputs=[[1e308, 1e308, 1e308]]),
}
"""What a first request may get wrong, by the problem that it brings."""


def _first_layer(request: Any) -> Any:
    return request.get("network", request)["layers"][0]


def example_answer(route: ComputeRoute, request: Any) -> Any:
    """The JSON answer to an example, whatever the limits of this server."""
    asked = route.model.model_validate(request, context=Limits())
    return _shortened(orjson.loads(route.answer(asked, write)))


def example_problems(route: ComputeRoute, request: Any) -> Iterator[Any]:
    """The problems that a route answers to bodies and headers that are not what it takes, whatever the limits."""
    yield _caught(read_json, b'{"inputs": [[0.1, NaN, 0.7]]}')
    yield _caught(chosen, {b"accept": b"image/png"}, (*route.answer_forms, *route.stream_forms))
    yield _caught(reader, {b"content-type": b"text/plain"}, route.request_forms)
    yield _problem(too_large(Settings.model_fields["max_body_bytes"].default))
    for name, spoil in MISTAKES.items():
        spoiled = copy.deepcopy(request)
        spoil(spoiled)
        problem = _caught(_ask, route, orjson.dumps(spoiled))
        if problem is not None and problem["type"] == f"/problems/{name}":
            yield problem


def plain_problem(name: str) -> Any:
    """A problem without a request that brings it: its meaning says what happened."""
    return _problem(ProblemError(name, PROBLEMS[name].meaning))


def _ask(route: ComputeRoute, body: bytes) -> bytes:
    return route.answer(route.validated(read_json(body), Limits()), write)


def _caught(act: Callable[..., Any], *arguments: Any) -> Any:
    try:
        act(*arguments)
    except REFUSALS as error:
        return _problem(error)
    return None


def _problem(error: Exception) -> Any:
    scope = {"type": "http", "state": {"request_id": REQUEST_ID}}
    return problem_of(Request(scope), error)


def _shortened(value: Any) -> Any:
    match value:
        case float():
            return float(f"{value:.{DIGITS}g}")
        case dict():
            return {key: _shortened(item) for key, item in value.items()}
        case list():
            return [_shortened(item) for item in value]
        case _:
            return value
