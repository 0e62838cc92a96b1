"""The derivations of POST /v1/explain against a real server: its numbers, products that multiply out, its limits."""

import base64
import json
from typing import Any

import httpx
import numpy as np
import pytest

from engine.derivation.whole import MOST_NUMBERS, size
from schemas.network import NetworkModel
from tests.test_bad_input import changed, refused
from tests.test_explain_documents import check_all_forms, document, example


def numbers_of(answer: Any) -> list[str]:
    return [json.dumps(step["value"]) for section in answer["sections"] for step in section["steps"]]


@pytest.mark.parametrize("name", ["textbook", "batch", "xor", "mazur", "delta_rule", "symmetric_weights"])
@pytest.mark.parametrize("layout", ["inputs_by_units", "units_by_inputs"])
def test_the_numbers_are_those_of_a_step(client: httpx.Client, post: Any, name: str, layout: str) -> None:
    request = example(client, name) | {"optimizer": "adam"}
    if layout == "units_by_inputs":
        layers = [
            layer | {"weights": np.transpose(layer["weights"]).tolist()} for layer in request["network"]["layers"]
        ]
        request["network"] = {"layers": layers, "weights_layout": layout}
    done = post("/v1/step", request)
    told = post("/v1/explain", request)
    found = numbers_of(told)
    wanted = {"loss": done["loss"], "outputs": done["outputs"], "input_gradients": done["input_gradients"]}
    for i, layer in enumerate(done["layers"]):
        wanted |= {f"{i} {key}": layer[key] for key in ("preactivations", "activations")}
        wanted |= {f"{i} gradient {key}": value for key, value in layer["gradients"].items() if value is not None}
        new = done["network"]["layers"][i]
        wanted |= {f"{i} new {key}": new[key] for key in ("weights", "bias") if new[key] is not None}
    for place, value in wanted.items():
        assert json.dumps(value) in found, place
    formula = "x Wᵀ + b" if layout == "units_by_inputs" else "x W + b"
    assert any(formula in step["text"] for step in told["sections"][0]["steps"])


def test_the_textbook_is_told_in_the_order_of_the_textbook(client: httpx.Client, post: Any) -> None:
    answer = check_all_forms(client, post, example(client, "textbook_explain"))
    titles = [section["title"] for section in answer["sections"]]
    assert titles == [
        "The network",
        'Forward through layer 1 ("hidden1")',
        'Forward through layer 2 ("hidden2")',
        'Forward through layer 3 ("output")',
        "The loss",
        "The derivatives that matter here",
        'Backward through layer 3 ("output")',
        'Backward through layer 2 ("hidden2")',
        'Backward through layer 1 ("hidden1")',
        "What is reused, and what that saves",
    ]
    latex = {step["latex"] for section in answer["sections"] for step in section["steps"]}
    assert r"\ell = -1 \cdot \log \left( 0.198447 \right) = 1.61723" in latex
    values = {section["title"]: section["steps"] for section in answer["sections"]}
    # 3 x 3 weights in each of three layers: 9 + (9 + 3 + 9) + (3 + 9 + 9), none for the combined last derivative.
    reused = {step["text"]: step["value"] for step in values["What is reused, and what that saves"]}
    assert reused["Backpropagation takes in all:"] == 51 and reused["Each on its own takes in all:"] == 267
    backward = [step["text"].split(".")[0] for step in values['Backward through layer 2 ("hidden2")']]
    assert backward == [
        "By what the layer gives",
        "To the first unit comes back, along each of its weights:",
        "By what goes into the activation",
        "By the weights",
        "By the bias",
        "The update of the weights: against the gradient, as far as the learning rate η = 0",
        "The update of the bias: against the gradient, as far as the learning rate η = 0",
    ]


def test_a_batch_shows_how_the_average_arises(client: httpx.Client, post: Any) -> None:
    answer = check_all_forms(client, post, example(client, "explain_batch"))
    means = [
        step
        for section in answer["sections"]
        for step in section["steps"]
        if "the batch has their mean" in step["text"]
    ]
    assert len(means) == 3 and all(step["latex"].count(r"0.25 \cdot \begin{pmatrix}") == 4 for step in means)


@pytest.mark.parametrize("layout", ["inputs_by_units", "units_by_inputs"])
def test_every_parameter_of_the_textbook_multiplies_out(client: httpx.Client, post: Any, layout: str) -> None:
    request = example(client, "textbook")
    if layout == "units_by_inputs":
        for layer in request["network"]["layers"]:
            layer["weights"] = np.transpose(layer["weights"]).tolist()
        request["network"]["weights_layout"] = layout
    done = post("/v1/step", request)
    checked = 0
    for i, layer in enumerate(done["layers"]):
        for parameter in ("weights", "bias"):
            gradients = np.array(layer["gradients"][parameter])
            for index in np.ndindex(gradients.shape):
                focus = {"layer": i, "parameter": parameter, "index": list(index)}
                answer = post("/v1/explain", request | {"focus": focus})
                steps = [step for section in answer["sections"] for step in section["steps"]]
                last = next(s for s in answer["sections"] if s["title"] == "The gradient")["steps"][0]
                assert last["value"] == gradients[index]
                assert steps[0]["value"] == np.array(request["network"]["layers"][i][parameter])[index]
                assert steps[-1]["value"] == np.array(done["network"]["layers"][i][parameter])[index]
                paths = [section["steps"][0] for section in answer["sections"] if section["title"] == "All paths"]
                assert len(paths) == (i < 2)
                if paths:
                    assert len(paths[0]["terms"]) == 3 ** (2 - i) and paths[0]["value"] == last["value"]
                for step in steps:
                    if "terms" in step:
                        products = np.prod(step["terms"], axis=1)
                        assert abs(products.sum() - step["value"]) <= 1e-15 * np.abs(products).sum()
                        checked += 1
    assert checked > 100


def test_a_focus_on_a_batch_adds_up_the_examples(client: httpx.Client, post: Any) -> None:
    request = example(client, "explain_batch") | {"focus": {"layer": 1, "index": [2, 0]}}
    gradients = post("/v1/backward", example(client, "batch"))["layers"][1]
    answer = check_all_forms(client, post, request)
    last = next(s for s in answer["sections"] if s["title"] == "The gradient")["steps"][0]
    assert last["value"] == gradients["gradients"]["weights"][2][0] and len(last["terms"]) == 4
    paths = next(s for s in answer["sections"] if s["title"] == "All paths")["steps"][0]
    assert len(paths["terms"]) == 12


def test_a_vanishing_gradient_is_followed_down(client: httpx.Client, post: Any) -> None:
    answer = check_all_forms(client, post, example(client, "explain_deep_bias"))
    errors = [section for section in answer["sections"] if section["title"].startswith("The error of layer")]
    assert len(errors) == 9


def wide(inputs: int, units: int, outputs: int, batch: int) -> dict[str, Any]:
    random = np.random.default_rng(3)

    def array(*shape: int) -> dict[str, Any]:
        numbers = random.normal(size=shape).astype("<f8") / np.sqrt(shape[0])
        return {"dtype": "float64", "shape": list(shape), "base64": base64.b64encode(numbers.tobytes()).decode()}

    layers = [
        {"weights": array(inputs, units), "bias": array(units), "activation": "softmax"},
        {"weights": array(units, outputs), "bias": array(outputs), "activation": "softmax"},
    ]
    return {
        "network": {"layers": layers},
        "inputs": array(batch, inputs),
        "targets": [i % outputs for i in range(batch)],
        "loss": "cross_entropy",
    }


def test_above_the_limit_a_focus_is_told(client: httpx.Client, post: Any) -> None:
    request = wide(100, 300, 10, 20)
    problem = refused(client.post("/v1/explain", json=request), 422, "too-large")
    error = problem["errors"][0]
    assert error["pointer"] == "/focus" and str(MOST_NUMBERS) in error["detail"] and "focus" in error["detail"]
    assert str(MOST_NUMBERS) in error["expected"] and error["received"] > MOST_NUMBERS
    focused = request | {"focus": {"layer": 0, "index": [7, 200]}}
    answer = check_all_forms(client, post, focused)
    last = next(s for s in answer["sections"] if s["title"] == "The gradient")["steps"][0]
    assert last["value"] == post("/v1/backward", request)["layers"][0]["gradients"]["weights"][7][200]
    assert len(last["terms"]) == 20 and r"\text{14 more: }" in last["latex"]
    assert len(document(client, focused, "text/html")) < 150_000


def test_the_deepest_network_has_a_path_that_is_told(client: httpx.Client) -> None:
    layers = [{"weights": [[1.0]], "bias": [0.0], "activation": "identity"}] * 1000
    asked = {"network": {"layers": layers}, "inputs": [[2.0]], "targets": [[0.0]], "loss": "half_squared_error"}
    response = client.post("/v1/explain", json={**asked, "focus": {"layer": 0, "index": [0, 0]}})
    assert response.status_code == 200, response.text
    (path,) = response.json()["sections"][-1]["steps"][0]["terms"]
    assert path == [2.0] + [1.0] * (2 * 999) + [2.0]


def test_the_limit_lets_through_what_it_says(client: httpx.Client, post: Any) -> None:
    # One example, n inputs, one unit: 11 * (n + 1) + 14 numbers.
    fits = {"network": {"layers": [{"weights": [[0.1]] * 906, "bias": [0], "activation": "tanh"}]},
            "inputs": [[0.5] * 906], "targets": [[1]], "loss": "mse"}  # fmt: skip
    assert 11 * 907 + 14 <= MOST_NUMBERS < 11 * 908 + 14
    post("/v1/explain", fits)
    fits["network"]["layers"][0]["weights"].append([0.1])  # type: ignore[index]
    fits["inputs"][0].append(0.5)  # type: ignore[index]
    refused(client.post("/v1/explain", json=fits), 422, "too-large")


def test_a_request_of_megabytes_is_told_by_an_annex(client: httpx.Client) -> None:
    request = wide(400, 800, 10, 4) | {"focus": {"layer": 1, "index": [799, 9]}}
    body = json.dumps(request).encode()
    assert len(body) > 2 * 2**20
    headers = {"Content-Type": "application/json", "Accept": "text/html"}
    response = client.post("/v1/explain", content=body, headers=headers)
    assert response.status_code == 200 and "The chain rule from the loss to the weight from unit 800" in response.text
    assert len(response.headers.get_list("content-security-policy")) == 1


@pytest.mark.parametrize("name", ["textbook", "batch", "xor", "vanishing_gradients", "mazur"])
def test_the_limit_counts_about_what_is_shown(client: httpx.Client, name: str) -> None:
    request = {key: value for key, value in example(client, name).items() if key != "include"}
    shown = document(client, request, "text/html").count("<mn")
    network = NetworkModel.model_validate(request["network"]).to_engine("float64")
    assert 0.5 < shown / size(network, len(request["inputs"])) < 2


@pytest.mark.parametrize(
    ("focus", "name", "pointer"),
    [
        ({"layer": 3, "index": [0, 0]}, "out-of-range", "/focus/layer"),
        ({"layer": -1, "index": [0, 0]}, "out-of-range", "/focus/layer"),
        ({"layer": 0, "index": [3, 0]}, "out-of-range", "/focus/index/0"),
        ({"layer": 0, "index": [0, 3]}, "out-of-range", "/focus/index/1"),
        ({"layer": 0, "index": [0]}, "wrong-dimensions", "/focus/index"),
        ({"layer": 0, "parameter": "bias", "index": [0, 0]}, "wrong-dimensions", "/focus/index"),
        ({"layer": 1, "parameter": "bias", "index": [0]}, "invalid-value", "/focus/parameter"),
        ({"layer": 0, "parameter": "weight", "index": [0, 0]}, "unknown-name", "/focus/parameter"),
        ({"layer": 0, "index": []}, "empty-array", "/focus/index"),
        ({"layer": 0, "index": [0.5, 0]}, "wrong-type", "/focus/index/0"),
        ({"layer": 0}, "missing", "/focus/index"),
        ({"index": [0, 0]}, "missing", "/focus/layer"),
        ({"layer": 0, "index": [0, 0], "name": "x"}, "unknown-field", "/focus/name"),
        ([0, 1], "wrong-type", "/focus"),
    ],
)
def test_a_focus_that_is_nowhere(client: httpx.Client, focus: Any, name: str, pointer: str) -> None:
    request = changed(example(client, "textbook"), "/network/layers/1/bias", None) | {"focus": focus}
    problem = refused(client.post("/v1/explain", json=request), 422, name)
    assert problem["errors"][0]["pointer"] == pointer


def test_what_belongs_to_an_update(client: httpx.Client, post: Any) -> None:
    request = example(client, "textbook")
    optimizer = request.pop("optimizer")
    texts = [step["text"] for section in post("/v1/explain", request)["sections"] for step in section["steps"]]
    assert any(text.startswith("The request names no optimizer") for text in texts)
    assert not any(text.startswith("The update") for text in texts)
    state = refused(client.post("/v1/explain", json=request | {"optimizer_state": {}}), 422, "missing")
    assert state["errors"][0]["pointer"] == "/optimizer"
    request |= {
        "optimizer": optimizer,
        "regularization": {"l1": 0.01, "l2": 0.1},
        "gradient_clipping": {"kind": "norm", "max_norm": 0.1},
    }
    request = changed(request, "/network/layers/1/frozen", ["weights"])
    done, answer = post("/v1/step", request), check_all_forms(client, post, request)
    assert answer["sections"][-2]["title"] == "Clipping and the update"
    found = numbers_of(answer)
    for layer in done["network"]["layers"]:
        assert json.dumps(layer["weights"]) in found and json.dumps(layer["bias"]) in found
    assert json.dumps(done["penalty"]) in found and json.dumps(done["gradient_norm"]) in found
    assert any("left out: they are frozen" in s["text"] for s in answer["sections"][-2]["steps"])
    stepped = {**request, "optimizer": {"kind": "adam"}, "optimizer_state": None}
    first = post("/v1/step", stepped)
    again = stepped | {"network": first["network"], "optimizer_state": first["optimizer_state"]}
    second = post("/v1/step", again)
    found = numbers_of(check_all_forms(client, post, again))
    assert json.dumps(second["network"]["layers"][0]["weights"]) in found
    assert json.dumps(second["optimizer_state"]["layers"][2]["weights"]["exp_avg_sq"]) in found


def test_each_part_of_an_update_is_told(client: httpx.Client, post: Any) -> None:
    rule = {"kind": "sgd", "learning_rate": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}
    request = example(client, "textbook") | {"optimizer": rule}
    for focus in (None, {"layer": 2, "parameter": "bias", "index": [0]}):
        steps = [s for section in post("/v1/explain", request | {"focus": focus})["sections"] for s in section["steps"]]
        texts = " ".join(step["text"] for step in steps)
        for part in (
            "weight_decay = 0.01",
            "Weight decay adds",
            "The momentum, b in the formula",
            "With nesterov the step goes along",
        ):
            assert part in texts


def test_include_and_base64(client: httpx.Client, post: Any) -> None:
    request = example(client, "textbook")
    assert list(post("/v1/explain", request | {"include": ["title"]})) == ["title"]
    refused(client.post("/v1/explain", json=request | {"include": ["steps"]}), 422, "unknown-name")
    encoded = post("/v1/explain", request | {"encoding": "base64"})
    values = [step["value"] for section in encoded["sections"] for step in section["steps"]]
    assert sum(isinstance(value, dict) and "base64" in value for value in values) > 20
