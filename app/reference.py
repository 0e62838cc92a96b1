"""The GET routes: catalog, examples, problems, health, versions."""

import platform
from functools import cache
from importlib import metadata
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Header, Path, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, Field

from app import VERSION
from app.drain import drain
from app.errors import ProblemError
from app.examples import EXAMPLES
from app.metrics import exposition
from app.openapi import route_name
from app.problems import PROBLEMS
from app.settings import settings
from schemas.catalog import Catalog, catalog
from schemas.names import nearest

router = APIRouter(generate_unique_id_function=route_name)
LIBRARIES = ("fastapi", "pydantic", "numpy", "orjson", "uvicorn")
EXAMPLE_NAME = Path(
    description="The name of an example, as GET /v1/examples lists it.",
    openapi_examples={name: {"value": name} for name in ("textbook", "xor", "vanishing_gradients")},
)
PROBLEM_NAME = Path(
    description="The last part of a problem's type: shape-mismatch of /problems/shape-mismatch.",
    openapi_examples={name: {"value": name} for name in ("shape-mismatch", "unknown-name", "non-finite")},
)


class Example(BaseModel):
    """A ready request: post `request` to `endpoint` as it is."""

    name: str = Field(description="What /v1/examples/{name} calls it.")
    title: str = Field(description="What it shows, in a few words.")
    endpoint: str = Field(description="The path to post it to.")
    request: dict[str, Any] = Field(description="The body to post, as it is.")
    notes: str = Field(description="What to look at in the answer.")


class ProblemPage(BaseModel):
    """What a problem type means, and what to do about it."""

    type: str = Field(description="The path of this page, which problems give as their type.")
    title: str = Field(description="The kind of error in a few words.")
    status: int = Field(description="The HTTP status that it comes with.")
    meaning: str = Field(description="What happened.")
    remedy: str = Field(description="What to do about it.")


class Health(BaseModel):
    """How the process is."""

    status: str = Field(description="alive, or ready.")


class LimitsInForce(BaseModel):
    """What one request may ask for here."""

    max_body_bytes: int = Field(description="The largest body that is read, in bytes.")
    max_header_bytes: int = Field(description="The most bytes of a request's headers.")
    max_header_seconds: float = Field(description="How long the headers of a request may take, in seconds.")
    max_body_seconds: float = Field(description="How long a whole request may take to arrive, in seconds.")
    max_connections: int = Field(description="The most connections at once, of each process that serves.")
    max_layers: int = Field(description="The most layers of a network.")
    max_numbers: int = Field(description="The most numbers that a request may make the server hold at once.")
    max_work: int = Field(description="The most multiplications of a request, as estimated before they start.")
    max_seconds: float = Field(description="How long a training run may take, in seconds.")


class Version(BaseModel):
    """Versions, and the limits in force."""

    version: str = Field(description="Of this service.")
    python: str = Field(description="Of the Python that runs it.")
    libraries: dict[str, str] = Field(description="The version of each library, by name.")
    limits: LimitsInForce = Field(description="The limits in force here.")


@cache
def _versions() -> dict[str, str]:
    """The versions of the libraries, once: looking them up takes milliseconds."""
    return {name: metadata.version(name) for name in LIBRARIES}


def _json(content: Any) -> Response:
    return Response(orjson.dumps(content), media_type="application/json")


def _explained(name: str) -> dict[str, Any]:
    return {"type": f"/problems/{name}", **PROBLEMS[name]._asdict()}


def _unknown(noun: str, name: str, names: list[str]) -> ProblemError:
    hint = nearest(name, names)
    return ProblemError("not-found", f"There is no such {noun}. {hint + ' ' if hint else ''}Known: {', '.join(names)}.")


@router.get("/v1/catalog", response_model=Catalog, tags=["reference"], summary="Every rule there is")
def get_catalog() -> Response:
    """All activations, losses, optimizers, initializers, layers, schedules, metrics, gradient clippings and mistakes.

    Each has its formula as text and as LaTeX, its hyperparameters with defaults and bounds as a JSON schema, and the
    paper or program that it follows; activations, losses and layers have their derivative too.
    """
    return _json(catalog())


@router.get("/v1/examples", response_model=list[Example], tags=["reference"], summary="Ready requests")
def list_examples() -> Response:
    """All examples: each a request to post as it is to its `endpoint`, with what to look at in the answer.

    The examples that this page offers for the bodies of the POST operations are these.
    """
    return _json(list(EXAMPLES.values()))


@router.get("/v1/examples/{name}", response_model=Example, tags=["reference"], summary="One ready request")
def get_example(name: Annotated[str, EXAMPLE_NAME]) -> Response:
    """One example by its name: `textbook` is the network that textbooks compute by hand, with one step of training."""
    if name not in EXAMPLES:
        raise _unknown("example", name, list(EXAMPLES))
    return _json(EXAMPLES[name])


@router.get("/problems", response_model=list[ProblemPage], tags=["reference"], summary="All kinds of errors")
def list_problems() -> Response:
    """Every kind of error that this server answers: its type and status, what it means, and what to do about it."""
    return _json([_explained(name) for name in PROBLEMS])


@router.get("/problems/{name}", response_model=ProblemPage, tags=["reference"], summary="What an error means")
def get_problem(name: Annotated[str, PROBLEM_NAME]) -> Response:
    """Explains a kind of error: what it means, and what to do about it. The `type` of every error is this path."""
    if name not in PROBLEMS:
        raise _unknown("problem", name, list(PROBLEMS))
    return _json(_explained(name))


@router.get("/livez", response_model=Health, tags=["service"], summary="Is the process alive?")
async def get_liveness() -> Response:
    """Answers as long as the process can answer anything: for a probe that restarts it otherwise."""
    return _json({"status": "alive"})


@router.get("/readyz", response_model=Health, tags=["service"], summary="May requests be sent here?")
async def get_readiness() -> Response:
    """200 where requests are welcome, 503 while the server drains before it stops: for a load balancer's probe.

    What arrives while it drains is still answered, new connections for CHAINRULE_DRAIN_SECONDS; the probe says in time
    that requests should go elsewhere.
    """
    if drain.began is not None:
        raise ProblemError("unavailable", "The server is draining before it stops: send requests elsewhere.")
    return _json({"status": "ready"})


@router.get("/version", response_model=Version, tags=["service"], summary="Versions and limits")
async def get_version() -> Response:
    """The versions of the service and its libraries, and the limits in force."""
    limits = settings().model_dump(include=set(LimitsInForce.model_fields))
    versions = {"version": VERSION, "python": platform.python_version(), "libraries": _versions()}
    return _json({**versions, "limits": limits})


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    tags=["service"],
    summary="Counts and times for Prometheus",
)
def get_metrics(accept: Annotated[str, Header(include_in_schema=False)] = "") -> Response:
    """Requests, latencies, sizes, the queue and what was computed, of all workers together, in Prometheus's text format
    (or OpenMetrics, where the client accepts it)."""
    content, media_type = exposition(accept)
    return Response(content, media_type=media_type)
