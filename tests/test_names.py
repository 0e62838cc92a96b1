"""What other libraries call a thing leads to our name of it."""

from typing import Any

import httpx
import pytest

from app.application import Application
from app.main import create_app
from schemas.names import SYNONYMS, nearest
from tests.test_bad_input import changed, refused


@pytest.mark.parametrize(
    ("path", "name", "ours"),
    [
        ("/loss", "categorical_crossentropy", "cross_entropy"),
        ("/loss", "CrossEntropyLoss", "cross_entropy"),
        ("/loss", "BCEWithLogitsLoss", "binary_cross_entropy"),
        ("/loss", "mean_squared_error", "mse"),
        ("/loss", "L1Loss", "mae"),
        ("/loss", "log_loss", "cross_entropy"),
        ("/loss", {"kind": "kld"}, "kl_divergence"),
        ("/network/layers/0/activation", "swish", "silu"),
        ("/network/layers/0/activation", "linear", "identity"),
        ("/network/layers/0/activation", "LeakyReLU", "leaky_relu"),
        ("/network/layers/0/activation", "logistic", "sigmoid"),
        ("/optimizer", "gradient_descent", "sgd"),
        ("/optimizer", "RMSprop", "rmsprop"),
        ("/optimizer", "amsgrad", "adam"),
    ],
)
def test_a_name_of_another_library_leads_to_ours(
    client: httpx.Client, textbook: dict[str, Any], path: str, name: Any, ours: str
) -> None:
    problem = refused(client.post("/v1/step", json=changed(textbook, path, name)), 422, "unknown-name")
    assert f"'{ours}'" in problem["errors"][0]["detail"]


@pytest.mark.parametrize(
    ("path", "ours"),
    [
        ("/X", "inputs"),
        ("/labels", "targets"),
        ("/criterion", "loss"),
        ("/optimizer/lr", "learning_rate"),
        ("/network/layers/0/W", "weights"),
        ("/network/layers/1/nonlinearity", "activation"),
    ],
)
def test_a_field_of_another_library_leads_to_ours(
    client: httpx.Client, textbook: dict[str, Any], path: str, ours: str
) -> None:
    asked = {**textbook, "optimizer": {"kind": "sgd"}}
    problem = refused(client.post("/v1/step", json=changed(asked, path, 1)), 422, "unknown-field")
    assert (problem["errors"][0]["pointer"], f"'{ours}'" in problem["detail"]) == (path, True)


@pytest.mark.parametrize(
    ("name", "ours"),
    [("xavier_uniform", "glorot_uniform"), ("kaiming_normal_", "he_normal"), ("eye", "identity"), ("zero", "zeros")],
)
def test_initializers(client: httpx.Client, name: str, ours: str) -> None:
    layer = {"units": 2, "activation": "relu", "weights_initializer": name}
    problem = refused(client.post("/v1/initialize", json={"input_size": 2, "layers": [layer]}), 422, "unknown-name")
    assert f"'{ours}'" in problem["detail"]


def test_one_name_means_what_is_known_at_its_place() -> None:
    assert nearest("logistic", ["binary_cross_entropy"]) == "Did you mean 'binary_cross_entropy'?"
    assert nearest("log_loss", ["accuracy", "log_loss_"]) == "Did you mean 'log_loss_'?"
    assert nearest("crossentropy", ["log_loss"]) == "Did you mean 'log_loss'?"
    assert nearest("mape", ["mae", "mse"]) is None
    assert nearest("pos_weight", ["class_weights"]) is None
    assert nearest("qwertz", ["relu", "tanh"]) is None
    assert nearest("l" * 10**6, ["relu"]) is None


def test_all_synonyms_are_of_names_that_exist(client: httpx.Client) -> None:
    app = create_app()
    assert isinstance(app, Application)
    document = app.openapi()
    fields = {name for shape in document["components"]["schemas"].values() for name in shape.get("properties", ())}
    catalog = client.get("/v1/catalog").json()
    kinds = {entry["kind"] for entries in catalog.values() if isinstance(entries, list) for entry in entries}
    layouts = set(document["components"]["schemas"]["WeightsLayout"]["enum"])
    dtypes = set(document["components"]["schemas"]["DType"]["enum"])
    assert set(SYNONYMS) - fields - kinds - layouts - dtypes == set()


@pytest.mark.parametrize(("path", "field"), [("train", "schedule"), ("step", "schedule"), ("step", "early_stopping")])
def test_nobody_is_sent_to_the_state_that_answers_give(
    client: httpx.Client, textbook: dict[str, Any], path: str, field: str
) -> None:
    asked = {**textbook, field: 1} | ({"epochs": 1} if path == "train" else {})
    detail = refused(client.post(f"/v1/{path}", json=asked), 422, "unknown-field")["detail"]
    assert "optimizer_state" not in detail and (path == "step" or "Did you mean 'learning_rate_schedule'?" in detail)


def test_a_whole_answer_in_the_place_of_its_network(client: httpx.Client, textbook: dict[str, Any]) -> None:
    asked = {**textbook, "network": {"network": textbook["network"]}}
    errors = refused(client.post("/v1/step", json=asked), 422, "validation-error")["errors"]
    details = {error["pointer"]: error["detail"] for error in errors}
    assert details["/network/network"] == "This field is not known here. Post what is in it as network."


@pytest.mark.parametrize(
    ("inputs", "pointer", "words"),
    [
        ([[1, 2, None]], "/inputs/0/2", "NaN"),
        ([[True, 2, 3]], "/inputs/0/0", "1 for true"),
        ({"0": 1, "1": 2, "2": 3}, "/inputs", "Array.from"),
        ([{"0": 1, "1": 2, "2": 3}], "/inputs/0", "Array.from"),
        ([{"x": 1}], "/inputs/0", ""),
    ],
)
def test_what_other_languages_write_for_numbers(
    client: httpx.Client, textbook: dict[str, Any], inputs: Any, pointer: str, words: str
) -> None:
    problem = client.post("/v1/step", json={**textbook, "inputs": inputs}).json()
    (error,) = problem["errors"]
    assert (problem["status"], error["pointer"]) == (422, pointer) and words in error["detail"]
    assert bool(words) == (not error["detail"].endswith("here is something else."))
