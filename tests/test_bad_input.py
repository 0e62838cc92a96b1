"""Every kind of bad input: its status, the pointer to the mistake, and an answer that stays small."""

import json
from base64 import b64encode
from typing import Any

import httpx
import numpy as np
import pytest

from tests.conftest import SHARED
from tests.fuzz.mutations import replaced

Change = dict[str, Any]


def changed(request: dict[str, Any], pointer: str, value: Any) -> dict[str, Any]:
    """A copy of the request with the value at a pointer replaced (`...` removes it)."""
    path = tuple(int(part) if part.isdigit() else part for part in pointer.split("/")[1:])
    result: dict[str, Any] = replaced(request, path, value)
    return result


def refused(response: httpx.Response, status: int, name: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert len(response.content) < 4096
    problem: dict[str, Any] = response.json()
    assert problem["type"] == f"/problems/{name}", problem
    assert problem["status"] == status
    assert problem["title"] and problem["detail"]
    assert problem["request_id"] == response.headers["x-request-id"]
    assert len(problem.get("errors", [])) <= 20
    return problem


W = "/network/layers/1/weights"
CASES = {
    "wrong inputs": ("/inputs", [[1, 2]], "shape-mismatch", "/network/layers/0/weights", [2, 3], [3, 3]),
    "layers do not fit": (W, [[1, 2], [3, 4]], "shape-mismatch", W, [3, 2], [2, 2]),
    "bias too long": ("/network/layers/1/bias", [1, 2], "shape-mismatch", "/network/layers/1/bias", [3], [2]),
    "targets too wide": ("/targets", [[1, 0, 0, 0]], "shape-mismatch", "/targets", [1, 3], [1, 4]),
    "too many targets": ("/targets", [[1, 0, 0]] * 2, "shape-mismatch", "/targets", [1, 3], [2, 3]),
    "sample weights": ("/sample_weights", [1, 2], "shape-mismatch", "/sample_weights", [1], [2]),
    "negative weight": ("/sample_weights", [-1], "out-of-range", "/sample_weights/0", ">= 0", -1),
    "label too large": ("/targets", [3], "invalid-target", "/targets/0", None, 3),
    "label negative": ("/targets", [-1], "invalid-target", "/targets/0", None, -1),
    "label no integer": ("/targets", [0.5], "invalid-target", "/targets/0", None, 0.5),
    "target no probability": ("/targets", [[1.5, 0, 0]], "invalid-target", "/targets/0/0", None, 1.5),
    "ragged weights": (W, [[1, 2, 3], [1, 2], [1, 2, 3]], "ragged-array", W + "/1", [3], [2]),
    "ragged first row": (W, [[1, 2, 3, 4], [1, 2, 3], [1, 2, 3]], "ragged-array", W + "/0", [3], [4]),
    "string in array": (W, [[1, 2, 3], [1, "2", 3], [1, 2, 3]], "not-a-number", W + "/1/1", "number", "string"),
    "boolean in array": (W, [[1, 2, True], [1, 2, 3], [1, 2, 3]], "not-a-number", W + "/0/2", "number", "boolean"),
    "null in array": (W, [[1, 2, 3], [1, 2, 3], [1, None, 3]], "not-a-number", W + "/2/1", "number", "null"),
    "null in vector": ("/network/layers/0/bias", [1, None, 1], "not-a-number", "/network/layers/0/bias/1", "number", "null"),
    "string for array": (W, "1,2,3", "wrong-type", W, "array of numbers", "string"),
    "one dimension of weights": (W, [1, 2, 3], "wrong-dimensions", W, "[rows, columns]", [3]),
    "one dimension": ("/inputs", [1, 2, 3], "wrong-dimensions", "/inputs", "[rows, columns]", [3]),
    "three dimensions": ("/inputs", [[[1, 2, 3]]], "wrong-dimensions", "/inputs/0/0", "number", "array"),
    "empty batch": ("/inputs", [], "empty-array", "/inputs", "at least one item", [0]),
    "no columns": ("/inputs", [[]], "empty-array", "/inputs/0", "at least one column", [0]),
    "zero-width layer": (W, [[], [], []], "empty-array", W + "/0", "at least one column", [0]),
    "no layers": ("/network/layers", [], "empty-array", "/network/layers", "at least 1 item", 0),
    "unknown field": ("/learning_rate", 0.1, "unknown-field", "/learning_rate", None, None),
    "unknown field in layer": ("/network/layers/2/biases", [1], "unknown-field", "/network/layers/2/biases", None, None),
    "misspelled hyperparameter": (
        "/optimizer", {"kind": "sgd", "momentun": 0.9}, "unknown-field", "/optimizer/momentun", None, None,
    ),
    "missing inputs": ("/inputs", ..., "missing", "/inputs", None, None),
    "missing weights": (W, ..., "missing", W, None, None),
    "missing targets": ("/targets", ..., "missing", "/targets", None, None),
    "missing loss": ("/loss", ..., "missing", "/loss", None, None),
    "missing optimizer": ("/optimizer", ..., "missing", "/optimizer", None, None),
    "learning rate negative": (
        "/optimizer", {"kind": "sgd", "learning_rate": -1}, "out-of-range", "/optimizer/learning_rate", ">= 0.0", -1,
    ),
    "learning rate as text": (
        "/optimizer", {"kind": "sgd", "learning_rate": "0.1"}, "wrong-type", "/optimizer/learning_rate", "number", "string",
    ),
    "betas with text": (
        "/optimizer", {"kind": "adam", "betas": [0.9, "0.9"]}, "not-a-number", "/optimizer/betas/1", "number", "string",
    ),
    "activation a number": ("/network/layers/0/activation", 3, "wrong-type", "/network/layers/0/activation", None, "number"),
    "dtype": ("/dtype", "float16", "unknown-name", "/dtype", ["float64", "float32"], None),
    "include": ("/include", ["loss", "gradient"], "unknown-name", "/include/1", None, None),
    "bad state": ("/optimizer_state", {"kind": "adam", "layers": []}, "invalid-state", "/optimizer_state/kind", "sgd", None),
    "vector and targets": ("/output_gradients", [[1, 0, 0]], "conflict", "/targets", None, None),
    "inputs an object": ("/inputs", {"a": 1}, "wrong-type", "/inputs", None, "object"),
    "no base64": (
        "/inputs", {"dtype": "float64", "shape": [1, 3], "base64": "%%%"}, "invalid-base64", "/inputs/base64", None, None,
    ),
    "base64 beyond 64 bits": (
        "/inputs", {"dtype": "float64", "shape": [2**39, 2**39], "base64": ""}, "shape-mismatch", "/inputs/base64", 2**81, 0,
    ),
    "short base64": (
        "/inputs", {"dtype": "float64", "shape": [1, 3], "base64": "AAAA"}, "shape-mismatch", "/inputs/base64", 24, 3,
    ),
    "beta": (
        "/optimizer", {"kind": "adam", "betas": [0.9, 2]}, "out-of-range", "/optimizer/betas/1", ">= 0, < 1", 2,
    ),
    "eta": ("/optimizer", {"kind": "rprop", "etas": [0.5, 1]}, "out-of-range", "/optimizer/etas/1", "> 1", 1),
    "nesterov": (
        "/optimizer", {"kind": "sgd", "nesterov": True}, "out-of-range", "/optimizer/momentum", "> 0 with nesterov", 0,
    ),
    "class weight": (
        "/loss", {"kind": "cross_entropy", "class_weights": [1, -1, 1]}, "out-of-range", "/loss/class_weights/1",
        ">= 0", -1,
    ),
    "few betas": ("/optimizer", {"kind": "adam", "betas": [0.9]}, "out-of-range", "/optimizer/betas", None, 1),
    "class weights in base64": (
        "/loss", {"kind": "cross_entropy", "class_weights": {"dtype": "float64", "shape": [3], "base64": "AAAA"}},
        "shape-mismatch", "/loss/class_weights/base64", 24, 3,
    ),
    "an object for a number": (
        "/optimizer", {"kind": "sgd", "learning_rate": {"epochs": 3}}, "wrong-type", "/optimizer/learning_rate", "number", "object",
    ),
    "one of two numbers": ("/loss", {"kind": "multi_margin", "p": 3}, "out-of-range", "/loss/p", [1, 2], None),
    "limits": (
        "/network/layers/0/activation", {"kind": "hard_tanh", "min_val": 2}, "out-of-range",
        "/network/layers/0/activation/max_val", "> 2.0", 1,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_refused_with_pointer(client: httpx.Client, textbook: dict[str, Any], case: str) -> None:
    path, value, name, pointer, expected, received = CASES[case]
    problem = refused(client.post("/v1/step", json=changed(textbook, path, value)), 422, name)
    error = problem["errors"][0]
    assert error["pointer"] == pointer
    if expected is not None:
        assert error["expected"] == expected
    if received is not None:
        assert error["received"] == received


@pytest.mark.parametrize(
    ("path", "name", "near"),
    [
        ("/network/layers/0/activation", "rellu", "relu"),
        ("/network/layers/0/activation", {"kind": "leaky_rleu"}, "leaky_relu"),
        ("/loss", "crossentropy", "cross_entropy"),
        ("/optimizer", "addam", "adam"),
        ("/dtype", "double", "float64"),
    ],
)
def test_misspelled_name_gets_the_nearest(
    client: httpx.Client, textbook: dict[str, Any], path: str, name: Any, near: str
) -> None:
    problem = refused(client.post("/v1/step", json=changed(textbook, path, name)), 422, "unknown-name")
    error = problem["errors"][0]
    assert error["pointer"] == path + ("/kind" if isinstance(name, dict) else "")
    assert f"'{near}'" in error["detail"]
    assert near in error["expected"]


def test_misspelled_field_gets_the_nearest(client: httpx.Client, textbook: dict[str, Any]) -> None:
    request = changed(textbook, "/optimizer", {"kind": "sgd", "momentun": 0.9})
    assert "'momentum'" in refused(client.post("/v1/step", json=request), 422, "unknown-field")["detail"]
    request = changed(textbook, "/target", [[1, 0, 0]])
    assert "'targets'" in refused(client.post("/v1/step", json=request), 422, "unknown-field")["detail"]


def test_transposed_weights_get_a_hint(client: httpx.Client, textbook: dict[str, Any]) -> None:
    request = changed(textbook, "/network/layers/2/weights", [[1, 2, 3], [4, 5, 6]])
    problem = refused(client.post("/v1/step", json=request), 422, "shape-mismatch")
    assert "transposed" in problem["errors"][0]["detail"]
    assert "units_by_inputs" in problem["errors"][0]["detail"]


def test_several_mistakes_are_told_together(client: httpx.Client, textbook: dict[str, Any]) -> None:
    request = changed(changed(textbook, "/network/layers/0/activation", "rellu"), "/inputs", [[1, None, 2]])
    problem = refused(client.post("/v1/step", json=request), 422, "validation-error")
    assert {error["pointer"] for error in problem["errors"]} == {"/network/layers/0/activation", "/inputs/0/1"}


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b'{"inputs": [1,]}', b'{"inputs": NaN}', b'{"inputs": [[1e999]]}', b'{"inputs": Infinity}',
     b'{"a": 1} x', b"\xff\xfe", b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 100_000 + b"1" + b"}" * 100_000],
    ids=["empty", "cut", "comma", "NaN", "1e999", "Infinity", "trailing", "utf-16", "deep arrays", "deep objects"],
)  # fmt: skip
def test_not_json(client: httpx.Client, body: bytes) -> None:
    response = client.post("/v1/step", content=body, headers={"Content-Type": "application/json"})
    refused(response, 400, "malformed-json")


@pytest.mark.parametrize(
    ("body", "hint"),
    [("", "Content-Length"), ('{"inputs": [[1, 2', "Content-Length"), ('["é", nan]', "NaN"), ("[-nan]", "NaN"),
     ("[1.#INF]", "NaN"), ("[0.5, -Infinity]", "NaN"), ("[0,05]", "decimal point"), ('{"loss": 0,7}', "decimal point"),
     ("[-.5]", "decimal point"), ("[1]\0", "strlen"), ("{'loss': 'mse'}", "double quotation marks"),
     ('{"a": [1, \'x\']}', "double quotation marks"), ("{loss: 1}", "double quotation marks"),
     ('{"bias": None}', "json.dumps"), ('{"shuffle": True}', "true, false and null")],
)  # fmt: skip
def test_what_is_not_json_gets_a_hint(client: httpx.Client, body: str, hint: str) -> None:
    response = client.post("/v1/step", content=body.encode(), headers={"Content-Type": "application/json"})
    assert hint in refused(response, 400, "malformed-json")["detail"]


@pytest.mark.parametrize(("encoding", "byte"), [("utf-16", 1), ("latin-1", 10), ("utf-8", None)])
@pytest.mark.parametrize("size", [0, 2**17], ids=["small", "large"])
def test_bytes_that_are_no_utf_8_are_pointed_at(
    client: httpx.Client, encoding: str, byte: int | None, size: int
) -> None:
    body = f'{{"name":"é"}}{" " * size}'.encode(encoding)
    response = client.post("/v1/step", content=body, headers={"Content-Type": "application/json"})
    if byte is None:
        assert response.status_code == 422
    else:
        assert f": byte {byte} is not valid UTF-8" in refused(response, 400, "malformed-json")["detail"]


def test_a_column_of_labels_is_told_from_a_list_of_them(client: httpx.Client, textbook: dict[str, Any]) -> None:
    column = changed(textbook, "/targets", [[0]])
    assert (
        "[0, 2] in place of [[0], [2]]"
        in refused(client.post("/v1/step", json=column), 422, "shape-mismatch")["detail"]
    )
    for loss in ("mse", "binary_cross_entropy"):
        problem = refused(client.post("/v1/step", json={**column, "loss": loss}), 422, "shape-mismatch")
        assert "labels" not in problem["detail"]


@pytest.mark.parametrize("body", ["[]", "3", '"text"', "null", "true"])
def test_json_that_is_no_object(client: httpx.Client, body: str) -> None:
    response = client.post("/v1/step", content=body, headers={"Content-Type": "application/json"})
    assert refused(response, 422, "wrong-type")["errors"][0]["pointer"] == ""


REPEATED = {
    "of the request": (b"{", b'{"loss": "mse",', "/loss"),
    "of a rule": (b'{"kind": "sgd",', b'{"kind": "sgd", "learning_rate": 1,', "/optimizer/learning_rate"),
    "of a layer": (b'"name": "output"', b'"name": "a:b", "name": "output"', "/network/layers/2/name"),
    "written otherwise": (b"{", b'{"l\\u006fss": "mse",', "/loss"),
    "beside an escaped colon": (b'"name": "output"', b'"name": "a", "name": "b\\u003ac"', "/network/layers/2/name"),
    "beside two": (b'"name": "output"', b'"name": "a", "name": "\\u003A\\u003a"', "/network/layers/2/name"),
    "with the same value": (b'"sgd"', b'"sgd", "kind": "sgd"', "/optimizer/kind"),
    "of an unknown object": (b"{", b'{"a": [1, {"b/c": 2, "b/c": 3}],', "/a/1/b~1c"),
    "deep below": (b"{", b'{"a": ' + b"[" * 900 + b'{"b": 1, "b": 2}' + b"]" * 900 + b",", "/a" + "/0" * 900 + "/b"),
    "too deep to be found": (b"{", b'{"a": ' + b"[" * 1020 + b'{"b": 1, "b": 2}' + b"]" * 1020 + b",", ""),
}


@pytest.mark.parametrize("rows", [1, 20_000], ids=["small", "large"])
@pytest.mark.parametrize("encoding", ["json", "base64"])
@pytest.mark.parametrize("case", REPEATED)
def test_a_name_that_stands_twice(
    client: httpx.Client, textbook: dict[str, Any], case: str, encoding: str, rows: int
) -> None:
    """Readers of JSON take the first value or the last: a silent choice between two learning rates."""
    inputs = np.tile(textbook["inputs"], (rows, 1))
    request = {**textbook, "inputs": inputs.tolist(), "targets": [0] * rows, "include": ["loss"]}
    if encoding == "base64":
        request["inputs"] = {"dtype": "float64", "shape": [rows, 3], "base64": b64encode(inputs.tobytes()).decode()}
    body = json.dumps(request).encode()
    headers = {"Content-Type": "application/json"}
    assert client.post("/v1/step", content=body, headers=headers).status_code == 200
    once, twice, pointer = REPEATED[case]
    assert once in body
    problem = refused(
        client.post("/v1/step", content=body.replace(once, twice, 1), headers=headers), 422, "duplicate-name"
    )
    assert [error["pointer"] for error in problem["errors"]] == [pointer]


@pytest.mark.parametrize("name", ["a:b", '":"', "\\", "::::"])
def test_colons_in_texts_are_no_names(client: httpx.Client, textbook: dict[str, Any], name: str) -> None:
    answer = client.post("/v1/step", json=changed(textbook, "/network/layers/0/name", name))
    assert answer.json()["layers"][0]["name"] == name
    problem = refused(client.post("/v1/step", json={**textbook, name: {name: name}}), 422, "unknown-field")
    assert problem["errors"][0]["pointer"] == f"/{name}"


@pytest.mark.parametrize("name", [r"a\u003Ab", r"\u003a", r"\\u003a", r"a:\\\u003a"])
def test_escaped_colons_are_no_names(client: httpx.Client, textbook: dict[str, Any], name: str) -> None:
    body = json.dumps(changed(textbook, "/network/layers/0/name", "here")).replace("here", name)
    answer = client.post("/v1/step", content=body, headers={"Content-Type": "application/json"})
    assert answer.json()["layers"][0]["name"] == json.loads(f'"{name}"')


def test_a_hundred_thousand_layers(client: httpx.Client, textbook: dict[str, Any]) -> None:
    layer = {"weights": [[1]], "bias": None, "activation": "relu"}
    request = changed(textbook, "/network/layers", [layer] * 100_000)
    problem = refused(client.post("/v1/step", json=request), 422, "too-large")
    assert problem["errors"][0]["pointer"] == "/network/layers"
    assert problem["errors"][0]["received"] == 100_000


def test_a_hundred_thousand_unknown_fields(client: httpx.Client, textbook: dict[str, Any]) -> None:
    request = {**textbook, **{f"field{i}": i for i in range(100_000)}}
    problem = refused(client.post("/v1/step", json=request), 422, "unknown-field")
    assert "100000" in problem["detail"]


def test_the_input_is_never_echoed(client: httpx.Client, textbook: dict[str, Any]) -> None:
    for path in ("/inputs", "/loss", "/network/layers/0/name", "/dtype", "/include", "/optimizer"):
        response = client.post("/v1/step", json=changed(textbook, path, "SECRET" * 100_000))
        assert response.status_code == 422
        assert "SECRET" not in response.text
    response = client.post("/v1/step", json={**textbook, "k" * 1_000_000: 1})
    refused(response, 422, "unknown-field")


def test_results_that_are_not_finite_name_layer_quantity_and_index(
    client: httpx.Client, textbook: dict[str, Any]
) -> None:
    request = changed(textbook, "/network/layers/1/weights/2/1", 1e308)
    request = changed(request, "/inputs", [[0.1, 0.2, 0.7], [1e10, 1e10, 1e10]])
    request = changed(request, "/targets", [0, 1])
    error = refused(client.post("/v1/step", json=request), 422, "non-finite")["errors"][0]
    assert error["pointer"] == "/layers/1/preactivations/0/1"
    assert "layer 1" in error["detail"] and "preactivations" in error["detail"] and "[0, 1]" in error["detail"]
    assert error["received"] == "Infinity"


@pytest.mark.parametrize(
    ("posted", "weight", "pointer", "hint"),
    [
        ({"targets": [[0]], "loss": "mse"}, 3.0, "/penalty", "Lower l1"),
        ({"output_gradients": [[1]]}, 3.0, "/penalty", "Lower l1"),
        ({"targets": [[1e200]], "loss": "mse"}, 3.0, "/example_losses/0", "targets"),
        ({"targets": [[1e154]], "loss": "mse"}, 1.0, "/loss", "targets"),
    ],
    ids=["penalty", "penalty without loss", "loss before it", "their sum"],
)
def test_a_penalty_that_is_not_finite_is_no_fault_of_the_loss(
    client: httpx.Client, posted: Change, weight: float, pointer: str, hint: str
) -> None:
    network = {"layers": [{"weights": [[weight]], "bias": None, "activation": "identity"}]}
    request = {"network": network, "inputs": [[1]], **posted, "optimizer": "sgd", "regularization": {"l1": 1e308}}
    problem = refused(client.post("/v1/step", json=request), 422, "non-finite")
    assert problem["errors"][0]["pointer"] == pointer
    assert hint in problem["detail"]


@pytest.mark.parametrize("path", ["forward", "evaluate"])
def test_a_sum_of_losses_that_is_not_finite_is_no_null(client: httpx.Client, path: str) -> None:
    network = {"layers": [{"weights": [[1.0]], "bias": None, "activation": "identity"}]}
    request = {"network": network, "inputs": [[1e154], [1e154]], "targets": [[0.0], [0.0]]}
    whole = client.post(f"/v1/{path}", json={**request, "loss": {"kind": "mse", "reduction": "sum"}})
    assert refused(whole, 422, "non-finite")["errors"][0]["pointer"] == "/loss"
    assert client.post(f"/v1/{path}", json={**request, "loss": "mse"}).json()["loss"] == 1e308


@pytest.mark.parametrize(
    ("field", "hint"),
    [
        ("learning_rate", "optimizer"),
        ("momentum", "optimizer"),
        ("class_weights", "loss"),
        ("weights_layout", "network"),
    ],
)
def test_a_field_in_the_wrong_place(client: httpx.Client, textbook: dict[str, Any], field: str, hint: str) -> None:
    response = client.post("/v1/step", json={**textbook, field: 1})
    assert f"It belongs in {hint}." in refused(response, 422, "unknown-field")["detail"]


@pytest.mark.parametrize(
    ("field", "hint"),
    [
        ("class_weight", "'class_weights', in loss"),
        ("lr", "'learning_rate', in optimizer"),
        ("clipnorm", "'gradient_clipping'"),
    ],
)
def test_a_field_of_another_name_in_the_wrong_place(
    client: httpx.Client, textbook: dict[str, Any], field: str, hint: str
) -> None:
    response = client.post("/v1/step", json={**textbook, field: 1})
    assert f"Did you mean {hint}?" in refused(response, 422, "unknown-field")["detail"]


@pytest.mark.parametrize(
    ("loss", "targets", "hint"),
    [
        ("cross_entropy", [[0]], "[0, 2] in place of [[0], [2]]"),
        ("mse", [0], "a class as a row of 0 with a 1 in its place"),
        ("mse", [[0]], None),
    ],
)
def test_labels_of_another_form(
    client: httpx.Client, textbook: dict[str, Any], loss: str, targets: Any, hint: str | None
) -> None:
    response = client.post("/v1/step", json={**textbook, "loss": loss, "targets": targets})
    detail = refused(response, 422, "shape-mismatch")["detail"]
    assert (
        detail == "The targets do not have the shape of the outputs. (at /targets)" if hint is None else hint in detail
    )


def test_the_error_of_a_wide_target_is_small(client: httpx.Client) -> None:
    layer = {"weights": [[0.1] * 2000], "bias": None, "activation": "identity"}
    request = {"network": {"layers": [layer]}, "inputs": [[1]], "targets": [[1] * 2000], "loss": "mse"}
    response = client.post("/v1/evaluate", json={**request, "metrics": ["accuracy"]})
    error = refused(response, 422, "invalid-target")["errors"][0]
    assert error["received"] == "2000 largest numbers" and len(response.content) < 1000


def test_a_float32_cannot_hold_every_number(client: httpx.Client, textbook: dict[str, Any]) -> None:
    request = changed(changed(textbook, "/inputs/0/1", 1e200), "/dtype", "float32")
    error = refused(client.post("/v1/step", json=request), 422, "out-of-range")["errors"][0]
    assert error["pointer"] == "/inputs/0/1"


def test_an_initializer_may_draw_too_much(client: httpx.Client) -> None:
    for kind, name, dtype in [
        ("glorot_uniform", "gain", "float64"),
        ("normal", "std", "float32"),
        ("uniform", "b", "float32"),
    ]:
        rule = {"kind": kind, name: 1e308}
        request = {"input_size": 3, "layers": [{"units": 2, "activation": "relu", "weights_initializer": rule}]}
        response = client.post("/v1/initialize", json={**request, "dtype": dtype})
        assert refused(response, 422, "non-finite")["errors"][0]["pointer"] == "/layers/0/weights_initializer"
    for rule in ({"kind": "uniform", "b": -0.0}, {"kind": "normal", "std": -0.0}, {"kind": "he_uniform", "gain": -0.0}):
        request = {"input_size": 3, "layers": [{"units": 2, "activation": "relu", "weights_initializer": rule}]}
        weights = client.post("/v1/initialize", json=request).json()["network"]["layers"][0]["weights"]
        assert weights == [[0, 0], [0, 0], [0, 0]]


def test_outputs_that_are_no_probabilities(client: httpx.Client, textbook: dict[str, Any]) -> None:
    request = changed(textbook, "/network/layers/2/activation", "identity")
    problem = refused(client.post("/v1/step", json=request), 422, "not-probabilities")
    assert "from_logits" in problem["detail"] and "softmax" in problem["detail"]


def test_more_numbers_than_the_server_holds(client: httpx.Client) -> None:
    request = {"input_size": 100_000, "layers": [{"units": 100_000, "activation": "relu"}]}
    refused(client.post("/v1/initialize", json=request), 422, "too-large")
    request = {"input_size": 2**63, "layers": [{"units": 2**63, "activation": "relu"}]}
    refused(client.post("/v1/initialize", json=request), 422, "too-large")
    wide = {"weights": [[1.0] * 50_000], "bias": None, "activation": "relu"}
    request = {"network": {"layers": [wide]}, "inputs": [[1.0]] * 50_000}
    refused(client.post("/v1/forward", json=request), 422, "too-large")


def test_headers(client: httpx.Client, textbook: dict[str, Any]) -> None:
    body = json.dumps(textbook)
    for headers, status, name in [
        ({"Content-Type": "text/plain"}, 415, "unsupported-media-type"),
        ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, 415, "unsupported-media-type"),
        ({"Content-Type": "application/json", "Accept": "text/csv"}, 406, "not-acceptable"),
        ({"Content-Type": "application/json", "Accept": "application/json;q=0, text/*"}, 406, "not-acceptable"),
    ]:
        refused(client.post("/v1/step", content=body, headers=headers), status, name)
    accepted = {"Content-Type": "application/json; charset=utf-8", "Accept": "text/html, application/*;q=0.5"}
    assert client.post("/v1/step", content=body, headers=accepted).status_code == 200


def test_paths_and_methods(client: httpx.Client) -> None:
    for path in ("/v1/nothing", "/assets", "/assets/nothing"):
        assert refused(client.get(path), 404, "not-found")["detail"] == "No such path."
    for path in ("/v1/step/", "/step", "/V1//Step", "/v1/steps"):
        assert refused(client.post(path, json={}), 404, "not-found")["detail"].endswith("Did you mean /v1/step?")
    response = client.get("/v1/step")
    assert "It takes POST." in refused(response, 405, "method-not-allowed")["detail"]
    assert response.headers["allow"] == "POST"
    for path in ("/v1/catalog", "/livez", "/docs", "/problems/missing", "/assets/swagger-ui.css"):
        response = client.post(path)
        refused(response, 405, "method-not-allowed")
        answered = [method for method in ("GET", "HEAD", "PUT") if client.request(method, path).status_code == 200]
        assert response.headers["allow"].split(", ") == answered
    assert "'textbook'" in refused(client.get("/v1/examples/textbok"), 404, "not-found")["detail"]


@pytest.mark.skipif(not SHARED.exists(), reason="the parsing cases are not in this clone")
def test_json_test_suite(client: httpx.Client) -> None:
    files = sorted((SHARED / "data" / "json_parsing").glob("*.json"))
    assert len(files) > 300
    for file in files:
        response = client.post("/v1/step", content=file.read_bytes(), headers={"Content-Type": "application/json"})
        assert response.status_code in {"n": (400,), "y": (422,), "i": (400, 422)}[file.name[0]], file.name
        assert response.headers["content-type"] == "application/problem+json"
        assert len(response.content) < 4096
