"""The OpenAPI document: what FastAPI reads off the routes, with shapes by name and every error shown.

FastAPI writes a shape out wherever it stands; here each becomes one component, with a name that reads well in a
generated client. The examples of answers and errors are what the routes answer to their first example, and to it with
a mistake in it, so they cannot drift from the service.
"""

from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from app.compute import ComputeRoute
from app.errors import MEDIA_TYPE
from app.examples import openapi_examples
from app.examples.answers import example_answer, example_problems, plain_problem
from app.forms import JSON, name_of
from app.openapi import COMPONENTS, FORMS, HEADERS, PROBLEMS_OF, SECURITY_SCHEMES, STATUSES, ProblemModel
from app.problems import PROBLEMS
from app.settings import settings
from schemas.catalog import UNIONS, members

Schema = dict[str, Any]
SCHEMAS = "#/components/schemas/"
OF_PLACE = ("description", "default", "examples")
"""What belongs to the place where a shape stands, and not to the shape."""
LEADING = ("kind", "network", "inputs", "targets", "loss", "sample_weights", "optimizer", "optimizer_state", "epochs")
VERBATIM = ("const", "default", "enum", "example", "examples")
NOUNS = {
    "activations": "Activation",
    "losses": "Loss",
    "optimizers": "Optimizer",
    "initializers": "Initializer",
    "schedules": "Schedule",
    "metrics": "Metric",
    "gradient_clippings": "",
}
"""What the names of a union's classes end in."""


def finished(page: Schema, app: FastAPI) -> Schema:
    """What FastAPI has read off the routes, as this service shows it."""
    problem = ProblemModel.model_json_schema(ref_template=SCHEMAS + "{model}")
    schemas = page["components"]["schemas"] | problem.pop("$defs") | {"Problem": problem}
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    names = _new_names(schemas)
    schemas = {names.get(name, name): _renamed(schema, names) for name, schema in schemas.items()}
    shapes: Schema = {}
    schemas = {name: _with_shapes(schema, shapes) for name, schema in schemas.items()} | shapes
    for name, schema in schemas.items():
        schema.pop("title", None)
        if "properties" in schema:
            schema["properties"] = dict(sorted(schema["properties"].items(), key=_place))
        if "description" not in schema:
            schema["description"] = COMPONENTS.get(name, "A name; GET /v1/catalog tells what it stands for.")
    page["components"]["schemas"] = dict(sorted(schemas.items()))
    page["paths"] = _with_shapes(_renamed(page["paths"], names), {})
    if settings().api_keys or settings().api_keys_file:
        # Said once for all: functions generated from an operation that asks for a key take no client without one.
        page["components"]["securitySchemes"] = SECURITY_SCHEMES
        page["security"] = [{}, *({name: []} for name in SECURITY_SCHEMES)]
    for route in app.routes:
        if isinstance(route, APIRoute) and route.include_in_schema:
            for method in route.methods or ():
                _complete(page["paths"][route.path][method.lower()], route)
    return page


def _place(field: tuple[str, Schema]) -> int:
    """Where a field stands: what a request is about comes first, the rest in the order of the model."""
    return LEADING.index(field[0]) if field[0] in LEADING else len(LEADING)


def _new_names(schemas: Schema) -> dict[str, str]:
    """Rules are called by what they are (ReluActivation); models lose the suffix that tells them from the engine's."""
    names = {name: name.removesuffix("Model") for name in schemas if name.endswith("Model")}
    for noun, suffix in NOUNS.items():
        for rule in members(UNIONS[noun]):
            long = f"{rule.__module__}.{rule.__name__}".replace(".", "__")
            name = long if long in schemas else rule.__name__
            names[name] = rule.__name__ + suffix
            schemas[name]["properties"]["kind"]["description"] = "The name of this rule."
            schemas[name]["required"] = ["kind", *schemas[name].get("required", [])]
    return names


def _renamed(node: Any, names: dict[str, str]) -> Any:
    match node:
        case dict():
            return {key: _renamed(value, names) for key, value in node.items()}
        case list():
            return [_renamed(item, names) for item in node]
        case str() if node.startswith(SCHEMAS):
            name = node.removeprefix(SCHEMAS)
            return SCHEMAS + names.get(name, name)
        case _:
            return node


def _with_shapes(node: Any, shapes: Schema) -> Any:
    """`node` with references in place of the shapes that have a name, which go to `shapes`; titles made of the names of
    fields say nothing, and go."""
    if isinstance(node, list):
        return [_with_shapes(item, shapes) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: value if key in VERBATIM else _with_shapes(value, shapes) for key, value in node.items()}
    for field in node.get("properties", {}).values():
        field.pop("title", None)
    name = node.pop("x-name", None)
    if name is None:
        return node
    shapes[name] = {key: value for key, value in node.items() if key not in (*OF_PLACE, "title")}
    return {"$ref": SCHEMAS + name} | {key: node[key] for key in OF_PLACE if key in node}


def _complete(operation: Schema, route: APIRoute) -> None:
    """Adds what FastAPI does not know: other forms of request and answer, an example answer, every error."""
    answer: Schema = operation["responses"]["200"] | {"description": "The answer."}
    problems: list[Schema] = []
    if isinstance(route, ComputeRoute):
        asked = operation["requestBody"]["content"]
        examples = openapi_examples(route.path)
        asked[JSON.decode()]["examples"] = examples  # FastAPI leaves out what is null in them
        for forms, content in (
            (route.request_forms, asked),
            ((*route.answer_forms, *route.stream_forms), answer["content"]),
        ):
            for form in (name_of(form).decode() for form in forms):
                content.setdefault(form, FORMS.get(form))
        first = next(iter(examples.values()))["value"]
        answer["description"] = "The answer; here the numbers of the example have six digits."
        answer["content"][JSON.decode()]["example"] = example_answer(route, first)
        problems += example_problems(route, first)
    shown = {problem["type"] for problem in problems}
    wanted = PROBLEMS_OF.get(route.path, PROBLEMS_OF["POST" if isinstance(route, ComputeRoute) else "GET"])
    for name, kind in PROBLEMS.items():
        if (name in wanted or kind.status in wanted) and f"/problems/{name}" not in shown:
            problems.append(plain_problem(name))
    operation["responses"] = {"200": answer} | _responses(problems)


def _responses(problems: list[Schema]) -> Schema:
    """The error responses, with these problems as their examples."""
    responses: Schema = {}
    for problem in sorted(problems, key=lambda problem: int(problem["status"])):
        status = problem["status"]
        headers = HEADERS.get(status, {}) | {"X-Request-ID": "The id of this exchange: the request's, or a new one."}
        response = responses.setdefault(
            str(status),
            {
                "description": STATUSES[status],
                "headers": {
                    name: {"description": text, "schema": {"type": "string"}} for name, text in headers.items()
                },
                "content": {MEDIA_TYPE: {"schema": {"$ref": SCHEMAS + "Problem"}, "examples": {}}},
            },
        )
        name = problem["type"].rpartition("/")[2]
        response["content"][MEDIA_TYPE]["examples"][name] = {"summary": problem["title"], "value": problem}
    return responses
