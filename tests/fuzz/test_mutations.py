"""Valid requests, each spoilt at one place: never a 500, always a small problem that points at the right place."""

import json
import sys
import time
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.examples import EXAMPLES
from tests.conftest import searching
from tests.fuzz.mutations import SLOW, Mutation, everywhere, mutations, places

MIB = 2**20
ELSEWHERE = (
    "layers", "outputs", "loss", "example_losses", "input_gradients", "network", "optimizer_state", "metrics",
    "findings", "loss_slices",
)  # fmt: skip
"""Where the answer's own numbers stand: a result that is not finite is pointed at there."""
OF_ONE_PLACE = {
    "wrong_type", "not_a_number", "unknown_name", "unknown_field", "missing", "wrong_dimensions", "empty_array",
    "ragged_array",
}  # fmt: skip
"""Mistakes that a spoilt value makes where it stands. The others show where two values do not fit together."""


def parts(pointer: str) -> list[str]:
    assert pointer == "" or pointer.startswith("/"), pointer
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def related(error: dict[str, Any], mutation: Mutation) -> bool:
    """Whether an error points at the spoilt place: at it, into it, or at something that it is part of."""
    found = parts(error["pointer"])
    # What was taken away is missed by what stood beside it; of two rows of unlike length either may be the wrong one.
    steps = len(mutation.path) - (mutation.name == "taken away") - (error["code"] == "ragged_array")
    spoilt = [str(part)[:64] for part in mutation.path[:steps]]
    shared = min(len(found), len(spoilt))
    return [part.removesuffix("…") for part in found[:shared]] == spoilt[:shared]


def resolves(pointer: str, request: Any) -> bool:
    """Whether a pointer leads to a value of the request, or to a field that is missing there."""
    value = request
    for part in parts(pointer):
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list):
            if not part.isdigit() or int(part) >= len(value):
                return False
            value = value[int(part)]
        else:
            return part == parts(pointer)[-1]
    return True


def holes(value: Any) -> bool:
    """Whether null stands among numbers, where something was not finite."""
    return isinstance(value, list) and None in value and set(map(type, value)) <= {type(None), float}


def check(response: httpx.Response, mutation: Mutation) -> None:
    told = (mutation.name, mutation.path, response.text[:2000])
    assert response.status_code in (200, 400, 422), told
    if response.status_code == 200:
        # A finding says null of a layer whose activation has no slope of its own.
        assert not any(holes(value) for path, value in places(response.json()) if "findings" not in path), told
        return
    assert response.headers["content-type"] == "application/problem+json", told
    assert len(response.content) < 4096, told
    problem = response.json()
    assert problem["status"] == response.status_code and problem["title"] and problem["detail"], told
    errors = problem.get("errors", [])
    assert len(errors) <= 20, told
    if response.status_code == 400:
        return
    assert errors, told
    for error in errors:
        pointer = error["pointer"]
        assert resolves(pointer, mutation.request) or parts(pointer)[0] in ELSEWHERE, told
    local = [error for error in errors if error["code"] in OF_ONE_PLACE]
    assert not local or any(related(error, mutation) for error in local), told


def post(client: httpx.Client, endpoint: str, mutation: Mutation) -> None:
    """Posts a spoilt request, and checks its answer and that a refusal is quick.

    A slow one is posted once more: the first may have waited for an annex to start.
    """
    body = json.dumps(mutation.request).encode()
    for attempt in (1, 2):
        start = time.monotonic()
        response = client.post(endpoint, content=body, headers={"Content-Type": "application/json"})
        seconds = time.monotonic() - start
        check(response, mutation)
        if response.status_code == 200 or len(body) > MIB or seconds < 1:
            return
        assert attempt == 1, f"{len(body)} bytes were refused after {seconds:.1f} s"


@pytest.mark.parametrize("name", EXAMPLES)
@settings(
    max_examples=searching(10, 400),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(data=st.data())
def test_a_spoilt_request(client: httpx.Client, name: str, data: st.DataObject) -> None:
    example = EXAMPLES[name]
    # Read anew, since rows of an example may be one list in two places.
    mutation = data.draw(mutations(json.loads(json.dumps(example["request"]))))
    post(client, example["endpoint"], mutation)


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_strange_value_everywhere(client: httpx.Client, name: str) -> None:
    example = EXAMPLES[name]
    most = searching(20 if example["endpoint"] == SLOW else 60, sys.maxsize)
    for mutation in everywhere(json.loads(json.dumps(example["request"])), most):
        post(client, example["endpoint"], mutation)
