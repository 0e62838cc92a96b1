"""What the OpenAPI page says beyond the models of requests and answers."""

from collections.abc import Iterable, Mapping
from typing import Any

from fastapi.routing import APIRoute
from pydantic import BaseModel, Field


class ProblemDetail(BaseModel):
    """One mistake: where it is, what was expected and what was received."""

    pointer: str = Field(
        description="JSON pointer (RFC 6901) to the mistake in the request; where a result is not finite, to the first "
        "such number in the shape of the answer."
    )
    code: str = Field(description="The kind of mistake as a name, for programs: shape_mismatch, for instance.")
    detail: str = Field(description="What is wrong here, in a sentence or two, and how to mend it where that is known.")
    expected: Any = Field(None, description="What would have been right: a shape, a type, a range, or the known names.")
    received: Any = Field(None, description="What was there: a shape, a type or a number, never the whole input.")


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: str = Field(description="Which kind of error; a GET of this path explains it.")
    title: str = Field(description="The kind of error in a few words, the same for every error of this type.")
    status: int = Field(description="The HTTP status of the answer.")
    detail: str = Field(description="What was wrong with this request, and where, in a sentence for people.")
    errors: list[ProblemDetail] = Field([], description="Each mistake on its own, at most 20 of them.")
    request_id: str = Field(description="The X-Request-ID of this exchange, by which the server's log knows it.")


TAGS = [
    {
        "name": "networks",
        "description": "Make a network, run it forward and backward, and train it one step at a time, every number "
        "shown.",
    },
    {
        "name": "training",
        "description": "Whole training runs, watched as they go and resumable to the bit; evaluation on other data.",
    },
    {"name": "reference", "description": "What there is: rules, ready requests, and what each error means."},
    {"name": "service", "description": "Health, versions, and the limits in force."},
]
DESCRIPTION = """\
Post a network, inputs and targets; get back every activation, the loss, every gradient and the updated weights.

**Start here:** open `POST /v1/step` below and press *Execute*. It posts the textbook network (three inputs; relu,
sigmoid and softmax layers; cross-entropy) and answers with every number of one step of backpropagation. The other
examples in the list each show one thing: XOR, symmetric weights, the delta rule.

- **Nothing is kept between requests.** `network` and `optimizer_state` of an answer can be posted unchanged in the next
  request.
- **Batch first.** `inputs` is `[batch, features]`; a single example is a batch of one, `[[0.1, 0.2, 0.7]]`.
- **`gradients.X` is the derivative of the loss by X**, and has X's shape.
- **Same body, same bytes.** Randomness comes only from a `seed` in the request.
- **Mistakes come back as problems** (RFC 9457) that say where and why; `GET /problems/{name}` explains each kind.
"""
COMPONENTS = {
    "Activation": "The function of a layer: its name, or an object with its kind and hyperparameters. "
    "GET /v1/catalog has the formulas.",
    "Base64Tensor": "An array as bytes: numbers in little-endian order, row by row (C order), in base64.",
    "Clipping": "How gradients are limited before an update: a name, or an object with its kind and bounds.",
    "DType": "The floating-point numbers that are computed with: 64 or 32 bits.",
    "Encoding": "How an answer writes its arrays: nested JSON lists, or base64 objects.",
    "Initializer": "How parameters are drawn: a name, or an object with its kind and hyperparameters.",
    "Labels": "`[batch]` class labels, integers from 0.",
    "Loss": "What is minimized: a name, or an object with its kind, reduction and hyperparameters. "
    "GET /v1/catalog has the formulas.",
    "Matrix": "A two-dimensional array: rows of numbers, all equally long, or the base64 form.",
    "Metric": "What is measured beside the loss: a name, or an object with its kind and hyperparameters.",
    "Optimizer": "How parameters are updated: a name, or an object with its kind and hyperparameters. Defaults are "
    "PyTorch's.",
    "OptimizerState": "What an optimizer remembers between steps (momenta, averages, counts). Post back what the last "
    "answer gave, unchanged; null or absent at first.",
    "Schedule": "How the learning rate changes: a name, or an object with its kind and hyperparameters.",
    "Targets": "What the outputs should be: `[batch, outputs]` numbers, or `[batch]` integer class labels.",
    "Tensor3": "A three-dimensional array: one matrix for each example, or the base64 form.",
    "Vector": "A one-dimensional array of numbers, or the base64 form.",
    "WeightsLayout": "Which axis of a weight matrix stands first: inputs (textbooks, Keras) or units (PyTorch).",
}
"""What the shapes are that have a name; a field that takes one says what it stands for there."""
STATUSES = {
    "POST": (400, 401, 406, 408, 413, 415, 422, 429, 431, 500, 503),
    "GET": (401, 429, 431, 500),
    "/v1/examples/{name}": (401, 404, 429, 431, 500),
    "/problems/{name}": (401, 404, 429, 431, 500),
    "/readyz": (431, 500, 503),
}
"""The errors of an operation, by its path or its method; those that the service does not know are left out."""
FORMS: dict[bytes, dict[str, Any]] = {
    b"text/event-stream": {
        "schema": {"type": "string", "description": "Server-sent events: progress, checkpoint, result or problem."},
        "example": 'event: progress\ndata: {"epoch": 1, "loss": 0.7, "learning_rate": 0.1, "epochs": 200}\n\n',
    },
    b"application/jsonl": {
        "schema": {"type": "string", "description": "One JSON object a line; its first field, event, names it."},
        "example": '{"event": "progress", "epoch": 1, "loss": 0.7, "learning_rate": 0.1, "epochs": 200}\n',
    },
}
"""The forms of an answer beside JSON."""


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
