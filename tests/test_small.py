"""The short way for small networks: the same bits as the usual way, and nothing that it does not take."""

from itertools import product
from typing import Any, get_args

import httpx
import numpy as np
import orjson
import pytest

from app import routes
from app.examples import EXAMPLES
from engine.activations import Activation
from engine.losses import Loss
from engine.optimizers import Optimizer
from engine.small import MOST_EXAMPLES, MOST_PARAMETERS
from schemas.answers import write
from schemas.network import LayerModel
from schemas.requests import BackwardRequest, StepRequest
from schemas.rules import kind_of
from schemas.small import small_answer
from tests.test_bad_input import changed

ACTIVATIONS, LOSSES, OPTIMIZERS = (
    [kind_of(rule) for rule in get_args(union)] for union in (Activation, Loss, Optimizer)
)
WITH_PROBABILITIES = {
    "cross_entropy": "softmax",
    "focal": "softmax",
    "kl_divergence": "softmax",
    "binary_cross_entropy": "sigmoid",
    "negative_log_likelihood": "log_softmax",
    "poisson": "exponential",
}
WITH_SIGNS = {"hinge", "squared_hinge"}


def request(examples: int = 2, **fields: Any) -> dict[str, Any]:
    """A step of a network of three, four and two units with numbers of both signs, and some fields of its own."""
    random = np.random.default_rng(7)
    hidden, last = fields.pop("hidden", "tanh"), fields.pop("last", "softmax")
    layers = [
        {"weights": random.normal(size=shape).tolist(), "bias": random.normal(size=shape[1]).tolist(), "activation": a}
        for shape, a in (((3, 4), hidden), ((4, 2), last))
    ]
    return {
        "network": {"layers": layers},
        "inputs": random.normal(size=(examples, 3)).tolist(),
        "targets": [[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]][:examples],
        "loss": "cross_entropy",
        "optimizer": {"kind": "sgd", "learning_rate": 0.1},
        **fields,
    }


def with_loss(kind: str, examples: int = 2, **fields: Any) -> dict[str, Any]:
    """The same with a loss, and with targets and a last layer that it takes."""
    body = request(examples, loss={"kind": kind, **fields}, last=WITH_PROBABILITIES.get(kind, "identity"))
    if kind in WITH_SIGNS:
        body["targets"] = [[2 * t - 1 for t in row] for row in body["targets"]]
    return body


@pytest.fixture
def require_same(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Asserts that both ways take a request and give the same bytes; returns the answer of a step."""
    monkeypatch.setattr(routes, "small_answer", lambda request: None)

    def both(body: dict[str, Any]) -> Any:
        step, backward = {**body}, {**body}
        del backward["optimizer"]
        backward.pop("optimizer_state", None)
        for model, usual, form in ((BackwardRequest, routes.backward, backward), (StepRequest, routes.step, step)):
            asked = model.model_validate(form)
            short = small_answer(asked)
            assert short is not None
            for encoding in ("json", "base64"):
                content = write(short, encoding)
                assert content == write(usual(asked), encoding)
        return orjson.loads(write(short))

    return both


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation(require_same: Any, activation: str) -> None:
    asked = {"kind": "threshold", "threshold": 0.1, "value": 0.2} if activation == "threshold" else activation
    for examples in (1, 3):
        require_same(request(examples, hidden=asked, last=asked, loss="mse"))


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_and_reduction(require_same: Any, loss: str) -> None:
    for examples, reduction in product((1, 3), ("mean", "batch_mean", "sum")):
        require_same(with_loss(loss, examples, reduction=reduction))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_with_its_state_posted_back(require_same: Any, optimizer: str) -> None:
    body = request(optimizer=optimizer)
    for _ in range(3):
        answer = require_same(body)
        body |= {name: answer[name] for name in ("network", "optimizer_state")}


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_the_other_layout(require_same: Any, optimizer: str) -> None:
    body = request(optimizer=optimizer)
    body["network"]["weights_layout"] = "units_by_inputs"
    for layer in body["network"]["layers"]:
        layer["weights"] = np.transpose(layer["weights"]).tolist()
    answer = require_same(body)
    assert np.shape(answer["network"]["layers"][0]["weights"]) == (4, 3)


TAKEN: list[tuple[str, Any]] = [
    ("targets", [1, 0]),
    ("sample_weights", [1.0, 2.0]),
    ("inputs", [[0, 0, 0], [1, 1, 1]]),
    ("network/layers/0/bias", [0, 0, 1, 2]),
    ("network/layers/0/bias", None),
    ("network/layers/1/bias", None),
    ("network/layers/1/name", "the last"),
    ("loss", {"kind": "cross_entropy", "class_weights": [1.0, 2.0], "label_smoothing": 0.1}),
    ("loss", {"kind": "cross_entropy", "from_logits": True}),
    ("network/layers/1/bias", [100.0, -100.0]),
    ("network/layers/0/weights", [[0.0] * 4] * 3),
    ("optimizer", {"kind": "sgd", "learning_rate": 0.0}),
]


@pytest.mark.parametrize(("path", "value"), TAKEN)
def test_more_that_it_takes(require_same: Any, path: str, value: Any) -> None:
    require_same(changed(request(), f"/{path}", value))


def test_the_largest_that_it_takes(require_same: Any) -> None:
    random = np.random.default_rng(0)
    units = (MOST_PARAMETERS - 2) // 6
    body = request(MOST_EXAMPLES, targets=[0, 1] * (MOST_EXAMPLES // 2))
    for layer, shape in zip(body["network"]["layers"], ((3, units), (units, 2)), strict=True):
        layer |= {"weights": random.normal(size=shape).tolist(), "bias": random.normal(size=shape[1]).tolist()}
    require_same(body)
    body["network"]["layers"].append({"weights": np.ones((2, 2)).tolist(), "bias": None, "activation": "softmax"})
    assert small_answer(StepRequest.model_validate(body)) is None


SCHEDULED = {"kind": "sgd", "layers": [{"weights": {"step": 3}, "bias": {"step": 3}}] * 2, "schedule": {"best": 3}}
UNEVEN = {"kind": "sgd", "layers": [{"weights": {"step": 3}, "bias": {"step": 4}}] * 2}
LEFT: list[tuple[str, Any]] = [
    ("dtype", "float32"),
    ("per_example", True),
    ("regularization", {"l2": 0.1}),
    ("gradient_clipping", "norm"),
    ("optimizer_state", SCHEDULED),
    ("optimizer_state", UNEVEN),
    ("network/layers/1/frozen", ["bias"]),
    ("network/layers/1/bias", [1e4, -1e4]),  # The derivatives by the outputs are finite, and their squares are not.
    ("inputs", np.ones((MOST_EXAMPLES + 1, 3)).tolist()),
]


@pytest.mark.parametrize(("path", "value"), LEFT)
def test_what_goes_the_usual_way(post: Any, path: str, value: Any) -> None:
    body = changed(request(), f"/{path}", value)
    if path == "inputs":
        body["targets"] = [0] * len(value)
    assert small_answer(StepRequest.model_validate(body)) is None
    assert post("/v1/step", body)["loss"] > 0


def test_a_backward_pass_leaves_frozen_parameters_out_of_the_norm_too(post: Any) -> None:
    body = changed(request(), "/network/layers/1/frozen", ["bias"])
    step = post("/v1/step", body)
    del body["optimizer"]
    assert post("/v1/backward", body)["gradient_norm"] == step["gradient_norm"]


def test_output_gradients_are_taken_too(require_same: Any) -> None:
    body = request(output_gradients=[[1.0, 0.0], [0.0, 1.0]])
    del body["targets"], body["loss"]
    require_same(body)


WRONG: list[tuple[str, Any, str]] = [
    ("network/layers/0/weights", [[1.0, 2.0]], "/network/layers/0/weights"),
    ("network/layers/0/bias", [1.0], "/network/layers/0/bias"),
    ("inputs", [[1.0, 2.0]], "/network/layers/0/weights"),
    ("targets", [0, 2], "/targets/1"),
    ("targets", [[0.0, 1.0]], "/targets"),
    ("targets", [[0.0, 1.0], [0.5, 1.5]], "/targets/1/1"),
    ("targets", None, "/targets"),
    ("loss", None, "/loss"),
    ("sample_weights", [1.0], "/sample_weights"),
    ("output_gradients", [[1.0, 0.0], [0.0, 1.0]], "/targets"),
    ("optimizer_state", {"kind": "sgd", "layers": []}, "/optimizer_state/layers"),
    ("optimizer_state", {"kind": "adam", "layers": []}, "/optimizer_state/kind"),
    ("network/layers/1/weights", [[1e308, 1e308]] * 4, "/layers/1/preactivations/0/0"),
    ("optimizer", {"kind": "sgd", "learning_rate": 1e308}, "/network/layers/0/weights/0/0"),
]


@pytest.mark.parametrize(("path", "value", "pointer"), WRONG)
def test_what_is_wrong_is_told_as_ever(client: httpx.Client, path: str, value: Any, pointer: str) -> None:
    body = changed(request(hidden="exponential"), f"/{path}", value)
    if path == "optimizer":
        body["inputs"] = [[1e3, 1.0, 1.0]] * 2
        body["network"]["layers"][0]["activation"] = "identity"
    response = client.post("/v1/step", json=body)
    assert response.status_code == 422, response.json()
    assert response.json()["errors"][0]["pointer"] == pointer


def test_the_examples_of_steps_are_small() -> None:
    steps = [example for example in EXAMPLES.values() if example["endpoint"] == "/v1/step"]
    small = [e["name"] for e in steps if small_answer(StepRequest.model_validate(e["request"])) is not None]
    assert set(small) >= {"textbook", "xor", "delta_rule", "mazur", "symmetric_weights"}


@pytest.mark.parametrize(
    ("fields", "layer", "pointer"),
    [
        (
            {"loss": "hinge", "targets": [[1.0, 1.0]] * 2},
            {"bias": [800.0, 1.0], "activation": "exponential"},
            "/layers/1/activations/0/0",
        ),
        (
            {"loss": {"kind": "cross_entropy", "class_weights": [0.0, 1.0]}, "targets": [0, 1]},
            {"weights": [[0.0, 0.0]] * 4, "bias": [0.0, 1.0], "activation": "relu"},
            "/example_losses/0",
        ),
        (
            {
                "loss": {"kind": "cosine_similarity", "reduction": "sum"},
                "targets": [[1.0, 0.0]] * 2,
                "sample_weights": [1e308, 1e308],
            },
            {"weights": [[0.0, 0.0]] * 4, "bias": [1.0, 0.0], "activation": "identity"},
            "/loss",
        ),
        (
            {"loss": {"kind": "cross_entropy", "reduction": "sum"}, "sample_weights": [1e10, 1e10]},
            {"weights": [[0.0, 0.0]] * 4, "bias": [1e4, -1e4]},
            "/layers/1/gradients/activations/0/1",
        ),
    ],
)
def test_what_is_infinite_without_a_trace_in_the_gradients(
    client: httpx.Client, fields: dict[str, Any], layer: dict[str, Any], pointer: str
) -> None:
    body = request(**fields)
    body["network"]["layers"][1] |= layer
    response = client.post("/v1/step", json=body)
    assert response.status_code == 422, response.json()
    assert response.json()["errors"][0]["pointer"] == pointer


def test_a_state_that_overflows_behind_a_step_of_nothing_is_told(client: httpx.Client) -> None:
    network = {"layers": [{"weights": [[0.0]], "bias": None, "activation": "identity"}]}
    state = {"kind": "adagrad", "layers": [{"weights": {"step": 1, "sum": [[1.797e308]]}}]}
    body = {"network": network, "inputs": [[1.0]], "output_gradients": [[3e153]], "optimizer": "adagrad"}
    response = client.post("/v1/step", json=body | {"optimizer_state": state})
    assert response.status_code == 422, response.json()
    assert response.json()["errors"][0]["pointer"] == "/optimizer_state/layers/0/weights/sum/0/0"


def test_every_field_is_one_that_the_short_way_knows_of() -> None:
    """A new option must be refused or regarded there, or it would be passed over without a word."""
    assert set(StepRequest.model_fields) == {
        "network", "inputs", "targets", "loss", "sample_weights", "dtype", "encoding", "include", "output_gradients",
        "per_example", "optimizer", "optimizer_state", "regularization", "gradient_clipping",
    }  # fmt: skip
    assert set(LayerModel.model_fields) == {"kind", "weights", "bias", "activation", "name", "frozen"}
