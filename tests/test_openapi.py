"""The OpenAPI document: valid, complete, true to the service, and as committed."""

import json
import math
import re
from collections.abc import Iterator
from typing import Any

import httpx
import openapi_spec_validator
import pytest

from app.examples.answers import MISTAKES
from app.openapi import COMPONENTS
from app.problems import PROBLEMS
from tests.conftest import ROOT, Server

COMMITTED = json.loads((ROOT / "docs" / "openapi.json").read_text())
NO_OPERATION_BRINGS = {"method-not-allowed"}
COMPUTES = [path for path, item in COMMITTED["paths"].items() if "post" in item]
assert len(COMPUTES) >= 6, "an empty list would make every test below pass"


@pytest.fixture(scope="module")
def document(client: httpx.Client) -> Any:
    return client.get("/openapi.json").json()


def operations(document: Any) -> Iterator[tuple[str, str, Any]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def nodes(node: Any, place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object of the document, examples left out."""
    if isinstance(node, dict):
        yield place, node
        for key, value in node.items():
            if place.endswith("/properties") or key not in ("example", "examples", "default"):
                yield from nodes(value, f"{place}/{key}")
    elif isinstance(node, list):
        for i, value in enumerate(node):
            yield from nodes(value, f"{place}/{i}")


def differences(ours: Any, theirs: Any, place: str = "") -> Iterator[str]:
    """Where two documents differ. Numbers of examples may differ by rounding, which BLAS does in its own order.

    So may the `worst` place of an example, where the largest error is rounding's.
    """
    if type(ours) is not type(theirs):
        yield place
    elif isinstance(ours, dict):
        yield from (f"{place}/{key}" for key in ours.keys() ^ theirs.keys())
        errors = [of.get("max_relative_error") for of in (ours, theirs) if "/example" in place]
        rounded = bool(errors) and all(isinstance(error, float) and error < 1e-12 for error in errors)
        for key in (ours.keys() & theirs.keys()) - ({"worst"} if rounded else set()):
            yield from differences(ours[key], theirs[key], f"{place}/{key}")
    elif isinstance(ours, list):
        if len(ours) != len(theirs):
            yield place
        for i, (one, other) in enumerate(zip(ours, theirs, strict=False)):
            yield from differences(one, other, f"{place}/{i}")
    elif isinstance(ours, float) and "/example" in place:
        if not math.isclose(ours, theirs, rel_tol=1e-5, abs_tol=1e-8):
            yield place
    elif ours != theirs:
        yield place


def test_the_committed_document_is_the_one_served(document: Any) -> None:
    different = list(differences(document, COMMITTED))
    assert not different, f"docs/openapi.json is not what the service says; run `make openapi`. First: {different[:5]}"


def test_it_is_valid(document: Any) -> None:
    assert document["openapi"].startswith("3.1.")
    openapi_spec_validator.validate(document)
    assert not [place for place, node in nodes(document) if "itemSchema" in node or "x-name" in node]
    refs = {node["$ref"] for _, node in nodes(document) if "$ref" in node}
    named = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert refs <= named and named <= refs, f"without use, or without definition: {refs ^ named}"
    assert COMPONENTS.keys() <= document["components"]["schemas"].keys()


def test_the_page_of_a_server_with_keys_and_small_limits() -> None:
    limits = {"CHAINRULE_MAX_LAYERS": "1", "CHAINRULE_MAX_NUMBERS": "1", "CHAINRULE_MAX_WORK": "1"}
    with Server(CHAINRULE_API_KEYS="0" * 64, **limits) as server:
        response = httpx.get(f"{server.url}/openapi.json", timeout=60)
    assert response.status_code == 200
    document = response.json()
    openapi_spec_validator.validate(document)
    assert {} in document["security"] and {"bearer": []} in document["security"] and "security" not in COMMITTED
    assert document["paths"].keys() == COMMITTED["paths"].keys()


def test_every_name_and_field_is_described(document: Any) -> None:
    bare = [name for name, schema in document["components"]["schemas"].items() if not schema.get("description")]
    for place, node in nodes(document):
        if not place.endswith("/properties") and (fields := node.get("properties")):
            bare += [f"{place}/{name}" for name, field in fields.items() if len(field.get("description", "")) < 5]
    for path, _, operation in operations(document):
        bare += [path + p["name"] for p in operation.get("parameters", []) if not p.get("description")]
    assert not bare, f"without a description: {bare}"


def test_every_array_of_numbers_says_its_shape(document: Any) -> None:
    tensors = {"Vector", "Matrix", "Tensor3", "Targets"}
    silent, seen = [], 0
    for name, schema in document["components"]["schemas"].items():
        for field, node in schema.get("properties", {}).items():
            options = [node, *node.get("anyOf", [])]
            named = {option.get("$ref", "").rpartition("/")[2] for option in options} & tensors
            numbers = [
                o for o in options if o.get("items", {}).get("type") in ("number", "integer") or "prefixItems" in o
            ]
            if named or numbers:
                seen += 1
                if not re.search(r"`\[[a-z0-9]", node["description"]):
                    silent.append(f"{name}.{field}")
    assert seen > 50 and not silent, f"the description names no `[shape]`: {silent}"


def test_every_quantity_with_a_unit_says_it(document: Any) -> None:
    units = {"seconds": "second", "bytes": "byte", "epochs": "epoch"}
    for name, schema in document["components"]["schemas"].items():
        for field, node in schema.get("properties", {}).items():
            unit = units.get(field.rpartition("_")[2])
            assert unit is None or unit in node["description"].lower(), f"{name}.{field}: {node['description']}"


def test_every_operation_teaches(document: Any) -> None:
    ids = []
    for path, method, operation in operations(document):
        ids.append(operation["operationId"])
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", operation["operationId"])
        assert operation["summary"] and len(operation["tags"]) == 1
        assert len(operation["description"]) > (300 if method == "post" else 60), f"{path} has little to say"
    assert len(set(ids)) == len(ids)
    assert {"initialize", "forward", "backward", "step", "train", "evaluate", "get_catalog"} <= set(ids)


def test_its_examples_are_the_ready_requests(client: httpx.Client, document: Any) -> None:
    """Which are posted in tests/test_api.py."""
    shown = {}
    for path in COMPUTES:
        examples = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["examples"]
        assert len(examples) >= 3 and next(iter(examples)).startswith("textbook")
        assert all(example["summary"] and len(example["description"]) > 30 for example in examples.values())
        shown |= {(path, name): example["value"] for name, example in examples.items()}
    ready = client.get("/v1/examples").json()
    assert shown == {(example["endpoint"], example["name"]): example["request"] for example in ready}


def test_examples_of_parameters_run_as_they_are(client: httpx.Client, document: Any) -> None:
    for path, method, operation in operations(document):
        for parameter in operation.get("parameters", []):
            assert len(parameter["examples"]) >= 3
            for example in parameter["examples"].values():
                response = client.request(method, path.replace(f"{{{parameter['name']}}}", example["value"]))
                assert response.status_code == 200


@pytest.mark.parametrize("path", COMPUTES)
def test_its_example_answer_is_the_answer(client: httpx.Client, document: Any, path: str) -> None:
    operation = document["paths"][path]["post"]
    first = next(iter(operation["requestBody"]["content"]["application/json"]["examples"].values()))
    answer = client.post(path, json=first["value"]).json()
    assert not list(
        differences(operation["responses"]["200"]["content"]["application/json"]["example"], answer, "/example")
    )


def test_every_error_has_an_example(document: Any) -> None:
    shown = set()
    for path, method, operation in operations(document):
        errors = {status: r for status, r in operation["responses"].items() if status != "200"}
        expected = {"500"} | ({"400", "406", "413", "415", "422"} if method == "post" else set())
        assert expected | ({"404"} if "{" in path else set()) <= set(errors), path
        for status, response in errors.items():
            assert list(response["content"]) == ["application/problem+json"] and response["description"]
            examples = response["content"]["application/problem+json"]["examples"]
            assert examples, f"{path} {status}"
            for name, example in examples.items():
                shown.add(name)
                problem = example["value"]
                assert problem["type"] == f"/problems/{name}" and str(problem["status"]) == status
                assert problem["title"] and problem["detail"] and problem["request_id"]
                assert all(set(error) >= {"pointer", "code", "detail"} for error in problem.get("errors", []))
        if method == "post":
            assert len(errors["422"]["content"]["application/problem+json"]["examples"]) >= 3, path
    missing = {name for name, problem in PROBLEMS.items() if problem.status != 422} - shown
    assert missing == NO_OPERATION_BRINGS, "PROBLEMS_OF in app/openapi.py leaves out a problem that operations bring"


@pytest.mark.parametrize("path", COMPUTES)
def test_the_errors_shown_are_those_that_come(client: httpx.Client, document: Any, path: str) -> None:
    operation = document["paths"][path]["post"]
    request = next(iter(operation["requestBody"]["content"]["application/json"]["examples"].values()))["value"]
    text = json.dumps(request)
    calls: dict[str, dict[str, Any]] = {
        "malformed-json": {"content": '{"inputs": [[0.1, NaN, 0.7]]}', "headers": {"Content-Type": "application/json"}},
        "not-acceptable": {"content": text, "headers": {"Accept": "image/png"}},
        "unsupported-media-type": {"content": text, "headers": {"Content-Type": "text/plain"}},
    }
    for name, spoil in MISTAKES.items():
        spoiled = json.loads(text)
        spoil(spoiled)
        calls[name] = {"json": spoiled}
    compared = 0
    for response in operation["responses"].values():
        for name, example in response["content"].get("application/problem+json", {"examples": {}})["examples"].items():
            if name in calls:
                problem = client.post(path, **calls[name]).json()
                assert problem | {"request_id": ""} == example["value"] | {"request_id": ""}
                compared += 1
    assert compared >= 6
