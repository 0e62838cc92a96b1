"""The contract, field by field, against a real server."""

import base64
import json
from typing import Any

import httpx
import numpy as np
import pytest

from app.page import LOADING
from app.problems import PROBLEMS
from schemas.limits import Limits
from schemas.requests import InitializeRequest
from tests.test_bad_input import changed, refused

NAMES = {"outputs", "loss", "example_losses", "layers"}


def close(actual: Any, expected: Any, tolerance: float = 1e-12) -> None:
    np.testing.assert_allclose(np.asarray(actual), np.asarray(expected), rtol=tolerance, atol=tolerance)


def parameters(answer: dict[str, Any], place: str = "gradients") -> list[Any]:
    return [np.array(layer[place][name]) for layer in answer["layers"] for name in ("weights", "bias")]


def test_textbook_shows_every_number(client: httpx.Client, textbook: dict[str, Any], post: Any) -> None:
    example = client.get("/v1/examples/textbook").json()
    answer = post(example["endpoint"], example["request"])
    assert answer["loss"] == pytest.approx(1.6172337500003393, rel=1e-15)
    close(answer["outputs"], [[0.198446894232731, 0.2853555304250049, 0.5161975753422642]])
    first, second, third = answer["layers"]
    close(first["preactivations"], [[1.35, 1.27, 1.8]])
    close(second["preactivations"], [[2.731, 2.76, 4.004]], 1e-3)
    close(third["gradients"]["preactivations"], np.array(answer["outputs"]) - [[1, 0, 0]])
    for layer in answer["layers"]:
        assert set(layer) == {"name", "preactivations", "activations", "gradients"}
        assert set(layer["gradients"]) == {"weights", "bias", "preactivations", "activations"}
        close(layer["gradients"]["bias"], layer["gradients"]["preactivations"][0])
    for before, gradients, after in zip(
        textbook["network"]["layers"], answer["layers"], answer["network"]["layers"], strict=True
    ):
        for name in ("weights", "bias"):
            close(after[name], np.array(before[name]) - 0.01 * np.array(gradients["gradients"][name]), 1e-15)
    norm = np.sqrt(sum((p**2).sum() for p in parameters(answer)))
    assert answer["gradient_norm"] == pytest.approx(norm, rel=1e-14)
    assert answer["update_norm"] == pytest.approx(0.01 * norm, rel=1e-12)
    assert answer["penalty"] == 0
    assert [layer["activation"] for layer in answer["network"]["layers"]] == [
        {"kind": "relu"}, {"kind": "sigmoid"}, {"kind": "softmax"},
    ]  # fmt: skip


def test_every_example_can_be_posted_as_it_is(client: httpx.Client) -> None:
    examples = client.get("/v1/examples").json()
    assert {e["name"] for e in examples} >= {
        "textbook", "xor", "batch", "vanishing_gradients", "symmetric_weights", "delta_rule", "mazur",
    }  # fmt: skip
    for example in examples:
        assert client.get(f"/v1/examples/{example['name']}").json() == example
        response = client.post(example["endpoint"], json=example["request"])
        assert response.status_code == 200, (example["name"], response.text)


def test_what_the_examples_say_is_so(client: httpx.Client, post: Any) -> None:
    def run(name: str) -> Any:
        example = client.get(f"/v1/examples/{name}").json()
        return post(example["endpoint"], example["request"])

    mazur = run("mazur")
    assert mazur["loss"] == pytest.approx(0.298371109, abs=5e-10)
    close(mazur["network"]["layers"][1]["weights"], [[0.35891648, 0.511301270], [0.408666186, 0.561370121]], 1e-8)
    close(mazur["network"]["layers"][0]["weights"], [[0.149780716, 0.24975114], [0.19956143, 0.29950229]], 1e-8)
    delta = run("delta_rule")
    error = 1.0 - (0.2 - 0.2 - 0.1)
    close(delta["network"]["layers"][0]["weights"], [[0.2 + 0.1 * error], [-0.4 + 0.05 * error], [0.1 - 0.1 * error]])
    weights = run("symmetric_weights")["network"]["layers"][0]["weights"]
    assert all(row[0] == row[1] == row[2] and row[0] != 0.5 for row in weights)
    vanishing = [np.linalg.norm(layer["gradients"]["weights"]) for layer in run("vanishing_gradients")["layers"]]
    assert vanishing[0] < vanishing[-1] / 1000
    batch = run("batch")
    for layer in batch["layers"]:
        close(np.mean(layer["per_example_gradients"]["weights"], axis=0), layer["gradients"]["weights"])
    request = client.get("/v1/examples/xor").json()["request"]
    for _ in range(100):
        answer = post("/v1/step", request)
        request |= {"network": answer["network"], "optimizer_state": answer["optimizer_state"]}
    assert np.round(answer["outputs"], 1).tolist() == [[0.0], [1.0], [1.0], [0.0]]


def test_posting_back_what_came_back_is_bit_exact(post: Any, textbook: dict[str, Any]) -> None:
    request = {**textbook, "optimizer": "adam"}
    for encoding in ("json", "base64"):
        first = post("/v1/step", request | {"encoding": encoding})
        again = request | {"network": first["network"], "optimizer_state": first["optimizer_state"]}
        second = post("/v1/step", again)
        other = post("/v1/step", json.loads(json.dumps(again)))
        assert second == other
        if encoding == "json":
            expected = second
    assert second == expected


def test_same_body_same_bytes(client: httpx.Client, textbook: dict[str, Any]) -> None:
    answers = {client.post("/v1/step", json=textbook).content for _ in range(5)}
    assert len(answers) == 1


def test_forward(post: Any, textbook: dict[str, Any]) -> None:
    request = {name: textbook[name] for name in ("network", "inputs")}
    answer = post("/v1/forward", request)
    assert set(answer) == NAMES and answer["loss"] is None and answer["example_losses"] is None
    answer = post("/v1/forward", request | {"targets": [0], "loss": "cross_entropy"})
    assert answer["loss"] == pytest.approx(1.6172337500003393)
    assert answer["example_losses"] == [answer["loss"]]
    del request["network"]["layers"][0]["name"]
    assert post("/v1/forward", request)["layers"][0]["name"] == "layers.0"


def test_forward_needs_targets_and_loss_together(client: httpx.Client, textbook: dict[str, Any]) -> None:
    request = {name: textbook[name] for name in ("network", "inputs", "targets")}
    assert refused(client.post("/v1/forward", json=request), 422, "missing")["errors"][0]["pointer"] == "/loss"


def test_both_layouts_give_the_same_numbers(post: Any, textbook: dict[str, Any]) -> None:
    request = {**textbook, "optimizer": {"kind": "adam", "amsgrad": True}, "per_example": True}
    request["network"] = {"layers": [dict(layer) for layer in textbook["network"]["layers"]]}
    request["network"]["layers"][0]["weights"] = [[0.1, 0.2, 0.3], [0.3, 0.2, 0.7]]
    request["inputs"] = [[0.5, 0.25]]
    plain = post("/v1/step", request)
    for layer in request["network"]["layers"]:
        layer["weights"] = np.transpose(layer["weights"]).tolist()
    request["network"]["weights_layout"] = "units_by_inputs"
    torch_like = post("/v1/step", request)
    assert torch_like["loss"] == plain["loss"]
    assert torch_like["network"]["weights_layout"] == "units_by_inputs"
    for ours, theirs in zip(plain["layers"], torch_like["layers"], strict=True):
        assert np.transpose(ours["gradients"]["weights"]).tolist() == theirs["gradients"]["weights"]
        assert (
            np.swapaxes(ours["per_example_gradients"]["weights"], 1, 2).tolist()
            == theirs["per_example_gradients"]["weights"]
        )
        assert ours["per_example_gradients"]["bias"] == theirs["per_example_gradients"]["bias"]
    for ours, theirs in zip(plain["network"]["layers"], torch_like["network"]["layers"], strict=True):
        assert np.transpose(ours["weights"]).tolist() == theirs["weights"]
    states = [answer["optimizer_state"]["layers"][0]["weights"]["exp_avg"] for answer in (plain, torch_like)]
    assert np.shape(states[1]) == (3, 2) and np.transpose(states[0]).tolist() == states[1]
    again = post(
        "/v1/step", request | {"network": torch_like["network"], "optimizer_state": torch_like["optimizer_state"]}
    )
    expected = {**request, "network": plain["network"], "optimizer_state": plain["optimizer_state"]}
    assert post("/v1/step", expected)["loss"] == again["loss"]


def test_frozen_parameters_stay_and_their_gradients_are_returned(post: Any, textbook: dict[str, Any]) -> None:
    request = changed(textbook, "/network/layers/1/frozen", ["weights"])
    request = changed(request, "/optimizer", {"kind": "adam", "weight_decay": 0.1})
    free, frozen = post("/v1/step", textbook), post("/v1/step", request)
    assert frozen["network"]["layers"][1]["weights"] == textbook["network"]["layers"][1]["weights"]
    assert frozen["network"]["layers"][1]["bias"] != textbook["network"]["layers"][1]["bias"]
    assert frozen["network"]["layers"][1]["frozen"] == ["weights"]
    assert frozen["layers"][1]["gradients"] == free["layers"][1]["gradients"]
    assert frozen["gradient_norm"] < free["gradient_norm"]
    assert frozen["optimizer_state"]["layers"][1]["weights"]["step"] == 0
    assert frozen["optimizer_state"]["layers"][1]["bias"]["step"] == 1


def test_labels_and_one_hot_rows_are_the_same(post: Any, textbook: dict[str, Any]) -> None:
    weighted = {"kind": "cross_entropy", "class_weights": [0.5, 2, 1], "label_smoothing": 0.1}
    for loss in ("cross_entropy", weighted):
        one_hot = post("/v1/backward", {**_backward(textbook), "loss": loss})
        labels = post("/v1/backward", {**_backward(textbook), "targets": [0], "loss": loss})
        assert one_hot == labels


def _backward(textbook: dict[str, Any]) -> dict[str, Any]:
    return {name: textbook[name] for name in ("network", "inputs", "targets", "loss")}


BATCH = {"inputs": [[0.1, 0.2, 0.7], [0.9, 0.1, 0.3], [0.4, 0.8, 0.2]], "targets": [0, 2, 1]}


@pytest.mark.parametrize("loss", ["cross_entropy", "mse", "half_squared_error", "categorical_hinge"])
@pytest.mark.parametrize("reduction", ["mean", "batch_mean", "sum"])
def test_an_integer_weight_repeats_its_example(post: Any, textbook: dict[str, Any], loss: str, reduction: str) -> None:
    targets = np.eye(3)[BATCH["targets"]].tolist()
    request = {"network": textbook["network"], "loss": {"kind": loss, "reduction": reduction}}
    weighted = post(
        "/v1/backward", request | {"inputs": BATCH["inputs"], "targets": targets, "sample_weights": [2, 1, 3]}
    )
    index = [0, 0, 1, 2, 2, 2]
    repeated = post(
        "/v1/backward",
        request | {"inputs": [BATCH["inputs"][i] for i in index], "targets": [targets[i] for i in index]},
    )
    assert weighted["loss"] == pytest.approx(repeated["loss"], rel=1e-13)
    for ours, theirs in zip(parameters(weighted), parameters(repeated), strict=True):
        close(ours, theirs)
    plain = post("/v1/backward", request | {"inputs": BATCH["inputs"], "targets": targets})
    assert weighted["example_losses"] == plain["example_losses"]


def test_weights_of_zero_leave_nothing_to_average(client: httpx.Client, textbook: dict[str, Any]) -> None:
    response = client.post("/v1/step", json={**textbook, "sample_weights": [0]})
    assert refused(response, 422, "invalid-weights")["errors"][0]["pointer"] == "/sample_weights"


def test_reductions(post: Any, textbook: dict[str, Any]) -> None:
    targets = np.eye(3)[BATCH["targets"]].tolist()
    request = {"network": textbook["network"], "inputs": BATCH["inputs"], "targets": targets}
    outputs = np.array(post("/v1/forward", request | {"loss": "mse"})["outputs"])
    squares = (outputs - targets) ** 2
    for reduction, loss, own in [
        ("mean", squares.mean(), squares.mean(axis=1)),
        ("batch_mean", squares.sum(axis=1).mean(), squares.sum(axis=1)),
        ("sum", squares.sum(), squares.sum(axis=1)),
    ]:
        answer = post("/v1/backward", request | {"loss": {"kind": "mse", "reduction": reduction}})
        close(answer["loss"], loss)
        close(answer["example_losses"], own)


@pytest.mark.parametrize("reduction", ["mean", "batch_mean", "sum"])
@pytest.mark.parametrize("first", [[0, 1, 0], [0.2, 0.3, 0.5]])
@pytest.mark.parametrize(
    "loss", [{"kind": "cross_entropy"}, {"kind": "cross_entropy", "class_weights": [2, 1, 4]}, {"kind": "mse"}]
)
def test_per_example_gradients_are_those_of_each_example_alone(
    post: Any, textbook: dict[str, Any], loss: dict[str, Any], reduction: str, first: list[float]
) -> None:
    request = {"network": textbook["network"], "loss": loss | {"reduction": reduction}}
    targets = [first, *np.eye(3)[BATCH["targets"][1:]].tolist()]
    weights = [2.0, 0.5, 1.0]
    whole = post(
        "/v1/backward",
        request | {"inputs": BATCH["inputs"], "targets": targets, "sample_weights": weights, "per_example": True},
    )
    for i in range(3):
        alone = {"inputs": [BATCH["inputs"][i]], "targets": [targets[i]], "sample_weights": [weights[i]]}
        answer = post("/v1/backward", request | alone)
        for batch, single in zip(parameters(whole, "per_example_gradients"), parameters(answer), strict=True):
            close(batch[i], single)


def test_vector_jacobian_products(post: Any, textbook: dict[str, Any]) -> None:
    request = {"network": textbook["network"], "inputs": [[0.1, 0.2, 0.7]]}
    vectors = np.eye(3)
    jacobian = [
        post("/v1/backward", request | {"output_gradients": [v.tolist()]})["input_gradients"][0] for v in vectors
    ]
    h = 1e-6
    for j in range(3):
        moved = []
        for sign in (1, -1):
            inputs = [[0.1, 0.2, 0.7]]
            inputs[0][j] += sign * h
            moved.append(np.array(post("/v1/forward", request | {"inputs": inputs})["outputs"][0]))
        close((moved[0] - moved[1]) / (2 * h), np.array(jacobian)[:, j], 1e-9)
    answer = post("/v1/backward", request | {"output_gradients": [[1, 2, 3]]})
    assert answer["loss"] is None and answer["example_losses"] is None
    close(answer["input_gradients"][0], np.array([1, 2, 3]) @ np.array(jacobian))
    stepped = post("/v1/step", request | {"output_gradients": [[1, 2, 3]], "optimizer": "sgd"})
    assert stepped["layers"] == answer["layers"] and stepped["loss"] is None


def test_include(client: httpx.Client, post: Any, textbook: dict[str, Any]) -> None:
    full = post("/v1/step", textbook)
    assert post("/v1/step", {**textbook, "include": ["loss", "network"]}) == {
        "loss": full["loss"],
        "network": full["network"],
    }
    some = post("/v1/step", {**textbook, "include": ["preactivations"]})
    assert some == {"layers": [{"name": x["name"], "preactivations": x["preactivations"]} for x in full["layers"]]}
    assert post("/v1/step", {**textbook, "include": ["layers"]}) == {"layers": full["layers"]}
    assert post("/v1/step", {**textbook, "include": []}) == {}
    alone = client.post("/v1/step", json={**textbook, "include": ["loss", "per_example_gradients"]})
    assert refused(alone, 422, "missing")["errors"][0]["pointer"] == "/per_example"
    own = post("/v1/step", {**textbook, "include": ["per_example_gradients"], "per_example": True})
    assert [set(layer) for layer in own.pop("layers")] == [{"name", "per_example_gradients"}] * 3 and not own
    names = [{"name": layer["name"]} for layer in full["layers"]]
    assert post("/v1/step", {**textbook, "include": ["name"]}) == {"layers": names}


def decoded(tensor: dict[str, Any]) -> Any:
    return np.frombuffer(base64.b64decode(tensor["base64"]), tensor["dtype"]).reshape(tensor["shape"])


def encoded(values: Any, dtype: str) -> dict[str, Any]:
    array = np.asarray(values, dtype)
    return {"dtype": dtype, "shape": list(array.shape), "base64": base64.b64encode(array.tobytes()).decode()}


def test_base64_in_and_out(post: Any, textbook: dict[str, Any]) -> None:
    plain = post("/v1/step", textbook)
    request = changed(textbook, "/inputs", encoded(textbook["inputs"], "float64"))
    request = changed(
        request, "/network/layers/0/weights", encoded(textbook["network"]["layers"][0]["weights"], "float64")
    )
    request = changed(request, "/targets", encoded([0], "int64"))
    assert post("/v1/step", request) == plain
    answer = post("/v1/step", request | {"encoding": "base64"})
    assert decoded(answer["outputs"]).tolist() == plain["outputs"]
    for ours, theirs in zip(answer["layers"], plain["layers"], strict=True):
        assert decoded(ours["gradients"]["weights"]).tolist() == theirs["gradients"]["weights"]
    assert answer["loss"] == plain["loss"]


def test_float32(post: Any, textbook: dict[str, Any]) -> None:
    double, single = post("/v1/step", textbook), post("/v1/step", {**textbook, "dtype": "float32"})
    assert single["loss"] != double["loss"]
    close(single["loss"], double["loss"], 1e-6)
    weights = np.array(single["network"]["layers"][0]["weights"])
    assert (weights.astype(np.float32).astype(str) == weights.astype(str)).all(), "float32 numbers, shortest form"
    answer = post("/v1/step", {**textbook, "dtype": "float32", "encoding": "base64"})
    assert answer["outputs"]["dtype"] == "float32"
    assert decoded(answer["outputs"]).tolist() == np.float32(single["outputs"]).tolist()


def test_regularization_is_told_apart(post: Any, textbook: dict[str, Any]) -> None:
    plain = post("/v1/step", textbook)
    answer = post("/v1/step", {**textbook, "regularization": {"l1": 0.01, "l2": 0.1}})
    weights = [np.array(layer["weights"]) for layer in textbook["network"]["layers"]]
    penalty = sum(0.01 * np.abs(w).sum() + 0.05 * (w**2).sum() for w in weights)
    close(answer["penalty"], penalty)
    close(answer["loss"], plain["loss"] + penalty)
    for w, ours, theirs in zip(weights, answer["layers"], plain["layers"], strict=True):
        close(ours["gradients"]["weights"], np.array(theirs["gradients"]["weights"]) + 0.01 * np.sign(w) + 0.1 * w)
        assert ours["gradients"]["bias"] == theirs["gradients"]["bias"]


def test_gradient_clipping(post: Any, textbook: dict[str, Any]) -> None:
    request = {**textbook, "optimizer": {"kind": "sgd", "learning_rate": 1.0}}
    plain = post("/v1/step", request)
    clipped = post("/v1/step", {**request, "gradient_clipping": {"kind": "norm", "max_norm": 0.1}})
    assert clipped["gradient_norm"] == plain["gradient_norm"] and clipped["layers"] == plain["layers"]
    close(clipped["update_norm"], 0.1 * plain["gradient_norm"] / (plain["gradient_norm"] + 1e-6), 1e-12)
    by_value = post("/v1/step", {**request, "gradient_clipping": {"kind": "value", "max_value": 0.05}})
    before, after = textbook["network"]["layers"][2], by_value["network"]["layers"][2]
    gradient = np.clip(plain["layers"][2]["gradients"]["weights"], -0.05, 0.05)
    close(after["weights"], np.array(before["weights"]) - gradient)


def test_layers_without_bias(post: Any, textbook: dict[str, Any]) -> None:
    request = changed(textbook, "/network/layers/1/bias", None)
    answer = post("/v1/step", request)
    assert answer["layers"][1]["gradients"]["bias"] is None
    assert answer["network"]["layers"][1]["bias"] is None
    again = request | {"network": answer["network"], "optimizer_state": answer["optimizer_state"]}
    assert post("/v1/step", again)["loss"] < answer["loss"]


def test_logits_of_a_thousand(post: Any, client: httpx.Client) -> None:
    identity = {"weights": [[1, 0], [0, 1]], "bias": None}
    for loss, activation, targets, expected in [
        ("cross_entropy", "softmax", [[1, 0], [1, 0]], 2000),
        ("focal", "softmax", [[1, 0], [1, 0]], 500),
        ("binary_cross_entropy", "sigmoid", [[1, 0], [1, 0]], 2000),
    ]:
        request = {
            "network": {"layers": [{**identity, "activation": activation}]},
            "inputs": [[-1000, 1000], [1000, -1000]],
            "targets": targets,
            "loss": {"kind": loss, "reduction": "sum"},
        }
        answer = post("/v1/backward", request)
        assert answer["loss"] == pytest.approx(expected)
        assert np.isfinite(answer["layers"][0]["gradients"]["activations"]).all()
        logits = {**request, "network": {"layers": [{**identity, "activation": "identity"}]}}
        logits["loss"] = {"kind": loss, "reduction": "sum", "from_logits": True}
        other = post("/v1/backward", logits)
        assert other["loss"] == answer["loss"]
        for name in ("weights", "preactivations"):
            assert other["layers"][0]["gradients"][name] == answer["layers"][0]["gradients"][name]


def test_a_loss_of_zero_has_no_sign(post: Any) -> None:
    layer = {"weights": [[1, 0], [0, 1]], "bias": None, "activation": "softmax"}
    asked = {"network": {"layers": [layer]}, "inputs": [[-1000, 1000]], "targets": [1], "loss": "cross_entropy"}
    answer = post("/v1/forward", asked)
    assert str(answer["loss"]) == str(answer["example_losses"][0]) == "0.0"


def test_initialize(client: httpx.Client, post: Any) -> None:
    catalog = client.get("/v1/catalog").json()
    for entry in catalog["initializers"]:
        bias = None if entry["kind"] in ("orthogonal", "identity") else entry["kind"]
        layers = [
            {"units": 5, "activation": "relu", "weights_initializer": entry["kind"], "bias_initializer": bias},
            {"units": 2, "activation": {"kind": "elu", "alpha": 0.5}, "name": "out"},
        ]
        request = {"input_size": 3, "layers": layers, "seed": 42}
        body = json.dumps(request)
        headers = {"Content-Type": "application/json"}
        first, second = (client.post("/v1/initialize", content=body, headers=headers) for _ in range(2))
        assert first.status_code == 200, first.text
        assert first.content == second.content
        network = first.json()["network"]
        assert [np.shape(layer["weights"]) for layer in network["layers"]] == [(3, 5), (5, 2)]
        assert network["layers"][1]["name"] == "out"
        assert network["layers"][1]["activation"] == {"kind": "elu", "alpha": 0.5}
        post("/v1/forward", {"network": network, "inputs": [[1, 2, 3]]})
        other = post("/v1/initialize", request | {"seed": 43})["network"]
        random = entry["kind"] not in ("zeros", "ones", "constant", "identity")
        assert (other["layers"][0]["weights"] != network["layers"][0]["weights"]) == random
        assert other["layers"][1]["weights"] != network["layers"][1]["weights"]
        turned = post("/v1/initialize", request | {"weights_layout": "units_by_inputs"})["network"]
        assert np.transpose(turned["layers"][0]["weights"]).tolist() == network["layers"][0]["weights"]
    large = {"input_size": 2000, "layers": [{"units": 2000, "activation": "relu", "weights_initializer": "identity"}]}
    assert InitializeRequest.model_validate(large, context=Limits()).work() == 10 * 2000**2
    response = client.post("/v1/initialize", json=changed(request, "/layers/0/bias_initializer", "orthogonal"))
    assert refused(response, 422, "invalid-value")["errors"][0]["pointer"] == "/layers/0/bias_initializer"


def test_catalog(client: httpx.Client) -> None:
    catalog = client.get("/v1/catalog").json()
    assert {len(catalog["activations"]), len(catalog["losses"]), len(catalog["optimizers"])} == {26, 17, 12}
    for entries in catalog.values():
        for entry in entries:
            assert {"kind", "title", "formula", "parameters", "source"} <= set(entry)
            assert entry["formula"]["text"] and entry["formula"]["latex"] and entry["source"]
    assert all(entry["derivative"]["latex"] for noun in ("activations", "losses") for entry in catalog[noun])
    elu = next(entry for entry in catalog["activations"] if entry["kind"] == "elu")
    assert elu["parameters"]["properties"]["alpha"]["default"] == 1.0
    assert elu["parameters"]["properties"]["alpha"]["exclusiveMinimum"] == 0.0


def test_health_versions_and_problems(client: httpx.Client) -> None:
    assert client.get("/livez").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready"}
    version = client.get("/version").json()
    assert version["version"] and version["limits"]["max_body_bytes"] == 64 * 2**20
    head = client.head("/livez")
    assert head.status_code == 200 and head.content == b"" and int(head.headers["content-length"]) > 0
    page = client.get("/problems/shape-mismatch").json()
    assert page["type"] == "/problems/shape-mismatch" and page["status"] == 422 and page["meaning"] and page["remedy"]
    pages = client.get("/problems").json()
    assert page in pages and [entry["type"] for entry in pages] == [f"/problems/{name}" for name in PROBLEMS]
    assert client.get("/livez", headers={"X-Request-ID": "abc-1"}).headers["x-request-id"] == "abc-1"


def test_the_page_loads_nothing_from_outside(client: httpx.Client) -> None:
    assert client.get("/").headers["location"] == "docs"
    for path in ("/docs", "/redoc"):
        page = client.get(path)
        assert page.status_code == 200 and "://" not in page.text
        assert LOADING in page.text and "{" not in page.text
        policy = page.headers["content-security-policy"]
        assert "script-src 'self';" in policy and "unsafe-inline" not in policy
        for asset in page.text.split('src="')[1:]:
            assert client.get(asset.split('"')[0]).status_code == 200


@pytest.mark.parametrize("part", ["bytes=0-9", "bytes=999999999-", "lines=1-2", "bytes"])
def test_the_files_of_the_page_come_whole(client: httpx.Client, part: str) -> None:
    response = client.get("/assets/swagger-ui.css", headers={"Range": part})
    assert response.status_code == 200 and len(response.content) > 100_000


def test_the_derivative_by_an_output_of_0_is_finite(post: Any) -> None:
    layer = {"weights": [[1, 0], [0, 1]], "bias": None, "activation": "softmax"}
    for dtype in ("float64", "float32"):
        for loss in ("cross_entropy", "focal"):
            answer = post(
                "/v1/backward",
                {
                    "network": {"layers": [layer]},
                    "inputs": [[-1000, 1000]],
                    "targets": [0],
                    "sample_weights": [50],
                    "loss": {"kind": loss, "class_weights": [1000, 1], "reduction": "sum"},
                    "dtype": dtype,
                },
            )
            assert answer["outputs"][0][0] == 0
            assert answer["layers"][0]["gradients"]["activations"][0][0] < -1e29
