"""What the OpenAPI page says beyond the models."""

from collections.abc import Iterable, Mapping
from typing import Any

from fastapi.routing import APIRoute
from pydantic import BaseModel, Field


class ProblemError(BaseModel):
    """One mistake: where it is, what was expected and what was received."""

    pointer: str = Field(description="JSON pointer (RFC 6901) into the request; for non-finite results, the answer.")
    code: str = Field(description="The kind of mistake, as a name.")
    detail: str
    expected: Any = Field(None, description="What would have been right.")
    received: Any = Field(None, description="What was there: a shape, a type or a number, never the whole input.")


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: str = Field(description="The path of a page that explains this kind of error.")
    title: str
    status: int
    detail: str = Field(description="One sentence that says what was wrong.")
    errors: list[ProblemError] = Field([], description="At most 20 mistakes.")
    request_id: str


PROBLEM_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"description": description, "model": Problem, "content": {"application/problem+json": {}}}
    for status, description in {
        400: "The body is not JSON.",
        406: "The client accepts no form that this answer has.",
        413: "The body is too large.",
        415: "The body's content type or encoding is not taken.",
        422: "The request is JSON and wrong: each mistake has a pointer, what was expected and what was received.",
    }.items()
}
TAGS = [
    {"name": "networks", "description": "Make networks, run them forward and backward, and train them step by step."},
    {
        "name": "training",
        "description": "Whole training runs, watched as they go and resumable to the bit; evaluation.",
    },
    {"name": "reference", "description": "What there is: rules, ready requests, and what each error means."},
    {"name": "service", "description": "Health and versions."},
]
DESCRIPTION = """\
Post a network, inputs and targets; get back every activation, the loss, every gradient and the updated weights.

The service keeps nothing between requests: what comes back goes in. `GET /v1/examples/textbook` is a request to start
with; its answer shows every number of one step of backpropagation on a network of three layers.
"""


def other_forms(options: Mapping[str, Any], taken: Iterable[bytes], given: Iterable[bytes]) -> dict[str, Any]:
    """A route's options, with what it takes and gives beside JSON."""
    responses = dict(options.get("responses") or {})
    responses[200] = {**responses.get(200, {}), "content": _contents(given) | responses.get(200, {}).get("content", {})}
    extra = dict(options.get("openapi_extra") or {})
    return {"responses": responses, "openapi_extra": {"requestBody": {"content": _contents(taken)}} | extra}


def _contents(forms: Iterable[bytes]) -> dict[str, Any]:
    """The media types of forms other than JSON; only text is shown as such."""
    names = [form.decode().partition(";")[0] for form in forms]
    text: dict[str, Any] = {"type": "string"}
    return {
        name: {"schema": text if name.startswith("text/") else text | {"format": "binary"}}
        for name in names
        if name != "application/json"
    }


def route_name(route: APIRoute) -> str:
    """The name of a route's function, which reads well as that of a generated client."""
    return route.name
