"""Errors to answers: the one place that knows which error has which status (RFC 9457 problems)."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

import orjson
from fastapi import Request, Response
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Route

from app.problems import PROBLEMS
from engine.errors import EngineError, Where
from engine.wording import plural
from schemas.errors import InvalidValue, json_type
from schemas.fields import known_fields
from schemas.names import meant, nearest

MEDIA_TYPE = "application/problem+json"
MOST_ERRORS = 20
RETRY_AFTER = "1"
"""The seconds after which to try again what is refused with a 503, where nobody knows better."""
MOST_BYTES = 3000
LONGEST_PART = 64
"""A pointer's part is cut at this length: a key of a megabyte must not make a megabyte of error."""

EXHAUSTED = "The system has too little memory, or too few processes or open files, for this request now."
STATUS_NAMES = {404: "not-found", 405: "method-not-allowed"}
BOUNDS = {"greater_than": ("gt", "> {}"), "greater_than_equal": ("ge", ">= {}"),
          "less_than": ("lt", "< {}"), "less_than_equal": ("le", "<= {}")}  # fmt: skip
TYPES = {
    "float": "number",
    "int": "integer",
    "string": "string",
    "bool": "boolean",
    "list": "array",
    "tuple": "array",
    "dict": "object",
    "dataclass": "object",
    "model": "object",
}


class ProblemError(Exception):
    """A request that is refused before or beside the computation, by the name of its problem."""

    def __init__(self, name: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.name = name
        self.detail = detail
        self.headers = headers


class InvalidRequest(Exception):
    """A body that is JSON and not this request; `errors` are the first of its `count` mistakes."""

    def __init__(self, error: ValidationError, body: Any, model: type[BaseModel]) -> None:
        super().__init__("invalid request")
        self.count = error.error_count()
        entries = error.errors(include_url=False, include_input=False)[:MOST_ERRORS]
        self.errors = [_field_error(entry, body, model) for entry in entries]


def pointer(where: Iterable[str | int]) -> str:
    """The JSON pointer (RFC 6901) of a path."""
    return "".join("/" + _part(part) for part in where)


def _part(part: str | int) -> str:
    text = str(part)
    if len(text) > LONGEST_PART:
        text = text[:LONGEST_PART] + "…"
    return text.replace("~", "~0").replace("/", "~1").encode("utf-8", "replace").decode()


def problem_json(name: str, detail: str, request_id: str, errors: list[dict[str, Any]] | None = None) -> bytes:
    """The body of a problem."""
    problem = PROBLEMS[name]
    content: dict[str, Any] = {
        "type": f"/problems/{name}",
        "title": problem.title,
        "status": problem.status,
        "detail": detail,
    }
    if errors:
        content["errors"] = errors
    return orjson.dumps({**content, "request_id": request_id})


def problem_response(
    request: Request,
    name: str,
    detail: str,
    errors: list[dict[str, Any]] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A problem as an answer; the log is told its name."""
    state = request.scope.setdefault("state", {})
    state["problem"] = name
    body = problem_json(name, detail, state.get("request_id", ""), errors)
    status = PROBLEMS[name].status
    usual = {"Cache-Control": "no-store"} | ({"Retry-After": RETRY_AFTER} if status == 503 else {})
    return Response(body, status, {**usual, **(headers or {})}, MEDIA_TYPE)


def answer_error(request: Request, error: Exception) -> Response:
    """The problem that stands for an error; what is not known here is an internal error, and none of its text shows."""
    match error:
        case InvalidRequest():
            return _refusal(request, error.errors, error.count)
        case EngineError():
            return _refusal(request, [_engine_error(error)], 1)
        case ProblemError():
            return problem_response(request, error.name, error.detail, headers=error.headers)
        case HTTPException():
            name = STATUS_NAMES.get(error.status_code, "internal-error")
            headers = dict(error.headers or {})
            if headers.get("Allow") == "GET":  # Routes do not know that HEAD is answered for them.
                headers["Allow"] = "GET, HEAD"
            detail = PROBLEMS[name].meaning
            if name == "not-found":
                detail += _other_path(request)
            elif "Allow" in headers:
                detail += f" It takes {headers['Allow']}."
            return problem_response(request, name, detail, headers=headers)
        case MemoryError() | OSError():
            return problem_response(request, "unavailable", EXHAUSTED)
        case _:
            return problem_response(request, "internal-error", PROBLEMS["internal-error"].meaning)


def _other_path(request: Request) -> str:
    """A hint with the path that was meant: without a slash at the end, in small letters, with /v1, or nearly alike."""
    routes = request.app.router.routes
    paths = [route.path for route in routes if isinstance(route, Route) and "{" not in route.path]
    asked = "/" + "/".join(part for part in request.url.path[:LONGEST_PART].lower().split("/") if part)
    found = [path for path in (asked, f"/v1{asked}") if path in paths and asked != "/"]
    found += get_close_matches(asked, paths, n=1, cutoff=0.8)
    return f" Did you mean {found[0]}?" if found else ""


def problem_of(request: Request, error: Exception) -> dict[str, Any]:
    """The same as an object, for what holds a problem and is none."""
    problem: dict[str, Any] = orjson.loads(bytes(answer_error(request, error).body))
    return problem


def _refusal(request: Request, errors: list[dict[str, Any]], count: int) -> Response:
    codes = {error["code"] for error in errors}
    name = codes.pop().replace("_", "-") if len(codes) == 1 else "validation-error"
    first = errors[0]
    more = "" if count == 1 else f" ({count} mistakes in all)"
    place = f" (at {first['pointer']})" if first["pointer"] else ""
    while len(errors) > 1 and len(orjson.dumps(errors)) > MOST_BYTES:
        errors.pop()
    return problem_response(request, name, f"{first['detail']}{place}{more}", errors)


def _engine_error(error: EngineError, where: Where = ()) -> dict[str, Any]:
    detail = error.detail if error.hint is None else f"{error.detail} {error.hint}"
    facts: dict[str, Any] = {"pointer": pointer((*where, *error.where)), "code": error.code, "detail": detail}
    if error.expected is not None:
        facts["expected"] = _writable(error.expected)
    if error.received is not None:
        facts["received"] = _writable(error.received)
    return facts


def _writable(fact: Any) -> Any:
    """A fact with the integers that orjson writes, of 64 bits; an estimate or a product of sizes may have more."""
    if isinstance(fact, list):
        return [_writable(item) for item in fact]
    return float(fact) if type(fact) is int and abs(fact) >= 2**63 else fact


def _field_error(entry: Any, body: Any, model: type[BaseModel]) -> dict[str, Any]:
    """One of Pydantic's errors in our words."""
    where, value = _resolve(entry["loc"], body)
    kind, context = entry["type"], entry.get("ctx", {})
    expected: Any
    if kind == "value_error":
        cause = context["error"]
        if isinstance(cause, EngineError):
            return _engine_error(cause, where)
        return _error(where, "invalid_value", f"{cause}.")
    if kind == "missing" and isinstance(where[-1], int):
        items = plural(where[-1] + 1, "item")
        return _error(where[:-1], "out_of_range", "This has the wrong length.", f"at least {items}", where[-1])
    if kind == "missing":
        return _error(where, "missing", f"The field {where[-1]} is missing.", expected=str(where[-1]))
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        return _unknown_field(where, model, body)
    if kind in ("union_tag_invalid", "literal_error"):
        parts = context.get("expected_tags", context.get("expected", "")).replace(" or ", ", ").split(", ")
        names = [part.strip("'") for part in parts]
        if kind == "union_tag_invalid" and isinstance(value, dict):
            where, value = (*where, "kind"), value.get("kind")
        if not isinstance(value, str):
            if all(part.isdecimal() for part in parts):
                return _error(where, "out_of_range", "This is not one of the possible values.", list(map(int, parts)))
            return _error(where, "wrong_type", "A name was expected here.", names, json_type(value))
        hint = nearest(value, names)
        return _error(where, "unknown_name", f"This name is not known.{' ' + hint if hint else ''}", names)
    if kind in BOUNDS:
        key, form = BOUNDS[kind]
        received = value if isinstance(value, int | float) and abs(value) < 1e300 else None
        return _error(where, "out_of_range", "This number is outside its range.", form.format(context[key]), received)
    if kind in ("too_short", "too_long", "string_too_short", "string_too_long"):
        bound, limit = ("at least", "min_length") if kind.endswith("short") else ("at most", "max_length")
        expected = f"{bound} {plural(context[limit], 'character' if kind.startswith('string') else 'item')}"
        length = context.get("actual_length")
        if kind == "too_short" and length == 0:
            return _error(where, "empty_array", "This array is empty.", expected, length)
        return _error(where, "out_of_range", "This has the wrong length.", expected, length)
    if kind == "finite_number":
        return _error(where, "out_of_range", "This number must be finite.", "a finite number")
    if kind == "int_type" and isinstance(value, float) and abs(value) >= 2**63:
        return _error(where, "out_of_range", "This number is outside its range.", "less than 2^63 in magnitude")
    expected = next((name for prefix, name in TYPES.items() if kind.startswith(prefix)), None)
    return _error(where, "wrong_type", "This value has the wrong type.", expected, json_type(value))


def _error(where: Where, code: str, detail: str, expected: Any = None, received: Any = None) -> dict[str, Any]:
    return _engine_error(InvalidValue(code, where, detail, expected=expected, received=received))


def _unknown_field(where: Where, model: type[BaseModel], body: Any) -> dict[str, Any]:
    *place, name = where
    known = known_fields(model, place, body)
    # What stands in optimizer_state comes from an answer: nobody is sent there to write something.
    within = {field: known_fields(model, (*place, field), body) for field in known if field != "optimizer_state"}
    inside = next((field for field, names in within.items() if name in names), None)
    hint = nearest(str(name), known) if inside is None else f"It belongs in {inside}."
    if place and place[-1] == name:  # as where the whole answer of POST /v1/initialize is posted as network
        hint = f"Post what is in it as {name}."
    if hint is None:
        others = ((field, meant(str(name), names)) for field, names in within.items())
        hint = next((f"Did you mean '{other}', in {field}?" for field, other in others if other), None)
    return _error(where, "unknown_field", f"This field is not known here.{' ' + hint if hint else ''}", known)


def _resolve(loc: Where, body: Any) -> tuple[Where, Any]:
    """The path that Pydantic's location names in the body, and the value there (None where there is none).

    Pydantic's locations also hold the tags of unions (`activation`, `elu`, `alpha`), which are no part of the body.
    """
    where: list[str | int] = []
    value = body
    fresh = True
    for part in loc:
        tag = value.get("kind") if isinstance(value, dict) else value
        if fresh and where and isinstance(tag, str) and tag == part:
            fresh = False
            continue
        fresh = True
        where.append(part)
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            value = None
    return tuple(where), value
