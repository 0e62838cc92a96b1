"""What the OpenAPI page says beyond the models of requests and answers."""

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


class ProblemModel(BaseModel):
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
    {
        "name": "oracle",
        "description": "Answers about a computation: how every number of it comes about (explain), what keeps the "
        "network from learning (diagnose), and which of somebody else's numbers are wrong, and why (verify).",
    },
    {"name": "reference", "description": "What there is: rules, ready requests, and what each error means."},
    {"name": "service", "description": "Health, versions, and the limits in force."},
]
DESCRIPTION = """\
Post a network, inputs and targets; get back every activation, the loss, every gradient and the updated weights.

**Start here:** `POST /v1/step`. Its first example is the textbook network (three inputs; relu, sigmoid and softmax
layers; cross-entropy), and the answer has every number of one step of backpropagation. To send it, open
[the operation](docs#/networks/step) and press *Execute*. The other examples in the list each show one thing: XOR,
symmetric weights, the delta rule. If you have numbers of your own and they are wrong, `POST /v1/verify` finds the
mistake in them.

- **Nothing is kept between requests.** `network` and `optimizer_state` of an answer can be posted unchanged in the next
  request.
- **Batch first.** `inputs` is `[batch, features]`; a single example is a batch of one, `[[0.1, 0.2, 0.7]]`.
- **`gradients.X` is the derivative of the loss by X**, and has X's shape.
- **Same body, same bytes.** Randomness comes only from a `seed` in the request.
- **Mistakes come back as problems** (RFC 9457) that say where and why; `GET /problems/{name}` explains each kind.

The same document [to try out](docs), [to read](redoc), and [for programs](openapi.json). The guides (first steps, a
cookbook, backpropagation derived by hand, how to run a server) are Markdown files in the folder `docs` of the service's
source code; `docs/README.md` lists them.
"""
COMPONENTS = {
    "Activation": "The function of a layer: its name, or an object with its kind and hyperparameters. "
    "GET /v1/catalog has the formulas.",
    "Base64Tensor": "An array as bytes: numbers in little-endian order, row by row (C order), in base64.",
    "Clipping": "How gradients are limited before an update: a name, or an object with its kind and bounds.",
    "DType": "The floating-point numbers that are computed with: 64 or 32 bits.",
    "Encoding": "How an answer writes its arrays: nested JSON lists, or base64 objects.",
    "Initializer": "How parameters are drawn: a name, or an object with its kind and hyperparameters.",
    "Loss": "What is minimized: a name, or an object with its kind, reduction and hyperparameters. "
    "GET /v1/catalog has the formulas.",
    "Matrix": "A two-dimensional array: rows of numbers, all equally long, or the base64 form.",
    "Metric": "What is measured beside the loss: a name, or an object with its kind and hyperparameters.",
    "Optimizer": "How parameters are updated: a name, or an object with its kind and hyperparameters. Defaults are "
    "PyTorch's.",
    "Schedule": "How the learning rate changes: a name, or an object with its kind and hyperparameters.",
    "Targets": "What the outputs should be: `[batch, outputs]` numbers, or `[batch]` integer class labels.",
    "Tensor3": "A three-dimensional array: one matrix for each example, or the base64 form.",
    "Vector": "A one-dimensional array of numbers, or the base64 form.",
    "WeightsLayout": "Which axis of a weight matrix stands first: inputs (textbooks, Keras) or units (PyTorch).",
}
"""What the shapes are that have a name; a field that takes one says what it stands for there."""
EVERYWHERE: set[int | str] = {"malformed-http", "too-many-connections", 408, 414, 421, 431, 500}
PROBLEMS_OF: dict[str, set[int | str]] = {
    "POST": EVERYWHERE | {400, 401, 406, 413, 415, 429, 503},
    "GET": EVERYWHERE | {429},
    "/v1/examples/{name}": EVERYWHERE | {"not-found", 429},
    "/problems/{name}": EVERYWHERE | {"not-found", 429},
    "/livez": EVERYWHERE,
    "/metrics": EVERYWHERE,
    "/readyz": EVERYWHERE | {"unavailable"},
}
"""The problems that an operation may answer, by name or status, for its path or else for its method; 422 is seen from
its examples."""
STATUSES = {
    400: "The request is not HTTP/1.1, or its body not what the content type says.",
    401: "This server asks for an API key, and the request has none that it knows.",
    404: "There is nothing of this name; the detail lists the names there are.",
    406: "The client accepts no form that this answer has.",
    408: "The request came too slowly.",
    413: "The body is too large.",
    414: "The path, with its query, is too long.",
    415: "The body's content type or encoding is not taken.",
    421: "The request names a host that this server does not answer for.",
    422: "The request is well-formed and wrong: each of `errors` says where, what was expected and what was received.",
    429: "Too many requests from here; `Retry-After` says when to go on.",
    431: "The headers are too large.",
    500: "The server made a mistake; never because of what a client sent.",
    503: "The server cannot take the request now; `Retry-After` says when to try again.",
}
"""What each status of an error means here."""
HEADERS = {
    401: {"WWW-Authenticate": "How to send a key: as a bearer token."},
    415: {"Accept": "The content types that are taken, or Accept-Encoding: the encodings."},
    429: {"Retry-After": "After how many seconds to go on.", "RateLimit": "What is left of the budget, and its reset."},
    503: {"Retry-After": "After how many seconds to try again."},
}
"""The headers that come with a status, beside X-Request-ID."""
SECURITY_SCHEMES = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key of this server.",
    },
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same key in another header."},
}
FORMS: dict[str, dict[str, Any]] = {
    "text/event-stream": {
        "schema": {"type": "string", "description": "Server-sent events: progress, checkpoint, result or problem."},
        "example": 'event: progress\ndata: {"epoch": 1, "loss": 0.7, "learning_rate": 0.1, "epochs": 200}\n\n',
    },
    "application/jsonl": {
        "schema": {"type": "string", "description": "One JSON object a line; its first field, event, names it."},
        "example": '{"event": "progress", "epoch": 1, "loss": 0.7, "learning_rate": 0.1, "epochs": 200}\n',
    },
    "application/vnd.safetensors": {
        "schema": {
            "type": "string",
            "format": "binary",
            "description": "A safetensors file: each array a tensor named by its path (network.layers.0.weights), and "
            "everything else one JSON text, the entry json of the metadata.",
        },
    },
    "text/markdown": {"schema": {"type": "string", "description": "The same as a Markdown document."}},
    "text/html": {"schema": {"type": "string", "description": "The same as a page."}},
}
"""The forms of requests and answers beside JSON."""


def route_name(route: APIRoute) -> str:
    """The name of a route's function, which reads well as that of a generated client."""
    return route.name
