"""POST /v1/diagnose against a real server: an example for every finding, the contract, and bad input."""

import copy
import math
import re
from typing import Any

import httpx
import numpy as np
import pytest

from app.examples import EXAMPLES
from engine.findings import RULES
from schemas.diagnose import DiagnoseAnswer
from tests.conftest import ROOT
from tests.test_bad_input import changed, refused

PAGE = (ROOT / "docs" / "diagnose.md").read_text()


def numbers(value: Any) -> Any:
    """Every number of an answer."""
    if isinstance(value, dict):
        for item in value.values():
            yield from numbers(item)
    elif isinstance(value, list):
        for item in value:
            yield from numbers(item)
    elif isinstance(value, int | float):
        yield value


@pytest.fixture
def request_of(client: httpx.Client) -> Any:
    return lambda name: client.get(f"/v1/examples/{name}").json()["request"]


@pytest.mark.parametrize("code", [rule.code for rule in RULES])
def test_every_finding_has_an_example_that_shows_it_first(post: Any, request_of: Any, code: str) -> None:
    answer = post("/v1/diagnose", request_of(f"diagnose_{code}"))
    first = answer["findings"][0]
    assert first["code"] == code
    assert first["message"].endswith(".") and first["evidence"] and first["remedy"].endswith(".")
    assert first["layer"] is None or 0 <= first["layer"] < len(answer["layers"])


def test_every_example_is_of_a_finding_or_the_textbook() -> None:
    shown = {name for name, example in EXAMPLES.items() if example["endpoint"] == "/v1/diagnose"}
    assert shown == {f"diagnose_{rule.code}" for rule in RULES} | {"textbook_diagnose"}


@pytest.mark.parametrize("name", ["textbook_diagnose", "xor", "mazur", "batch"])
def test_well_behaved_examples_give_no_warning(post: Any, request_of: Any, name: str) -> None:
    request = request_of(name)
    answer = post("/v1/diagnose", request)
    assert [finding for finding in answer["findings"] if finding["severity"] == "warning"] == []
    if name == "textbook_diagnose":
        assert answer["findings"] == []


@pytest.mark.parametrize("name", [name for name, e in EXAMPLES.items() if e["endpoint"] == "/v1/diagnose"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_answer_is_as_documented(client: httpx.Client, request_of: Any, name: str, dtype: str) -> None:
    request = request_of(name) | {"dtype": dtype}
    response = client.post("/v1/diagnose", json=request)
    assert response.status_code == 200, response.text
    assert client.post("/v1/diagnose", json=request).content == response.content
    answer = response.json()
    DiagnoseAnswer.model_validate(answer)
    assert set(answer) == set(DiagnoseAnswer.model_fields)
    assert set(answer["findings"][0] if answer["findings"] else {}) <= set(
        DiagnoseAnswer.model_fields["findings"].annotation.__args__[0].model_fields  # type: ignore[union-attr]
    )
    assert all(math.isfinite(number) for number in numbers(answer))
    severities = [finding["severity"] for finding in answer["findings"]]
    assert severities == sorted(severities, key=["warning", "info"].index)
    assert len(answer["layers"]) == len(request["network"]["layers"])
    for line in answer["loss_slices"]:
        assert line["positions"][0] == 0 and len(line["positions"]) == len(line["losses"])
    loss = post_loss(client, request)
    assert answer["loss_slices"][0]["losses"][0] == pytest.approx(loss, rel=0 if dtype == "float64" else 1e-7, abs=0)


def post_loss(client: httpx.Client, request: dict[str, Any]) -> float:
    kept = {name: request[name] for name in ("network", "inputs", "targets", "loss", "dtype")}
    return float(client.post("/v1/backward", json=kept).json()["loss"])


def test_both_layouts_give_the_same(post: Any, request_of: Any) -> None:
    request = request_of("diagnose_dead_relu")
    turned = copy.deepcopy(request)
    turned["network"]["weights_layout"] = "units_by_inputs"
    for layer in turned["network"]["layers"]:
        layer["weights"] = np.transpose(layer["weights"]).tolist()
    assert post("/v1/diagnose", turned) == post("/v1/diagnose", request)


def test_a_slice_is_what_steps_of_that_learning_rate_give(post: Any, request_of: Any) -> None:
    request = request_of("diagnose_large_learning_rate")
    slices = post("/v1/diagnose", request)["loss_slices"]
    assert [line["along"] for line in slices] == ["gradient", "step"]
    for line in slices:
        for position, loss in list(zip(line["positions"], line["losses"], strict=True))[1::4]:
            rate = position * (request["optimizer"]["learning_rate"] if line["along"] == "step" else 1)
            moved = post("/v1/step", request | {"optimizer": {"kind": "sgd", "learning_rate": rate}})
            request_after = request | {"network": moved["network"]}
            assert post("/v1/step", request_after)["loss"] == pytest.approx(loss, rel=1e-9)


def test_continuing_with_a_state_and_a_penalty(post: Any, request_of: Any) -> None:
    request = request_of("diagnose_large_updates") | {"regularization": {"l2": 0.1}}
    made = post("/v1/step", request)
    answer = post("/v1/diagnose", request | {key: made[key] for key in ("network", "optimizer_state")})
    after = post("/v1/step", request | {key: made[key] for key in ("network", "optimizer_state")})
    assert answer["loss_slices"][0]["losses"][0] == after["loss"]
    old, new = (np.array(m["network"]["layers"][0]["weights"]) for m in (made, after))
    assert answer["layers"][0]["update_ratio"] == pytest.approx(np.linalg.norm(new - old) / np.linalg.norm(old))


def test_a_product_with_a_vector(post: Any, textbook: dict[str, Any]) -> None:
    request = {"network": textbook["network"], "inputs": textbook["inputs"], "output_gradients": [[1, 0, 0]]}
    answer = post("/v1/diagnose", request)
    assert answer["loss_slices"] == [] and len(answer["layers"]) == 3


def test_include(post: Any, textbook: dict[str, Any]) -> None:
    assert set(post("/v1/diagnose", textbook | {"include": ["findings"]})) == {"findings"}
    layers = post("/v1/diagnose", textbook | {"include": ["update_ratio"]})["layers"]
    assert [set(layer) for layer in layers] == [{"name", "update_ratio"}] * 3


CASES: dict[str, tuple[str, Any, str, str]] = {
    "wrong inputs": ("/inputs", [[1, 2]], "shape-mismatch", "/network/layers/0/weights"),
    "no targets": ("/targets", ..., "missing", "/targets"),
    "label too large": ("/targets", [3], "invalid-target", "/targets/0"),
    "unknown field": ("/claimed", {}, "unknown-field", "/claimed"),
    "unknown optimizer": ("/optimizer", "sdg", "unknown-name", "/optimizer"),
    "state without optimizer": ("/optimizer_state", {"kind": "sgd", "layers": []}, "missing", "/optimizer"),
    "bad state": ("/optimizer_state", {"kind": "adam", "layers": []}, "invalid-state", "/optimizer_state/kind"),
    "penalty below 0": ("/regularization", {"l2": -1}, "out-of-range", "/regularization/l2"),
    "null in weights": ("/network/layers/1/weights", [[None]], "not-a-number", "/network/layers/1/weights/0/0"),
    "no such part": ("/include", ["finding"], "unknown-name", "/include/0"),
    "overflow": ("/inputs", [[1e308, 1e308, 1e308]], "non-finite", "/layers/0/preactivations/0/2"),
    "vector and targets": ("/output_gradients", [[1, 0, 0]], "conflict", "/targets"),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_refused_with_a_pointer(client: httpx.Client, textbook: dict[str, Any], case: str) -> None:
    path, value, name, pointer = CASES[case]
    request = changed(textbook, path, value)
    if case == "state without optimizer":
        del request["optimizer"]
    problem = refused(client.post("/v1/diagnose", json=request), 422, name)
    assert problem["errors"][0]["pointer"] == pointer


def test_numbers_too_large_to_sum_up_are_refused_rather_than_null(client: httpx.Client) -> None:
    layers = [{"weights": [[1e308] * 4], "bias": None, "activation": "identity"}]
    request = {"network": {"layers": layers}, "inputs": [[1e-308]], "targets": [[1] * 4], "loss": "mse"}
    response = client.post("/v1/diagnose", json=request)
    assert response.status_code == 422 and response.json()["errors"][0]["pointer"] == "/layers/0/weight_norm"


def test_the_page_names_every_finding() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) == {rule.code for rule in RULES}
