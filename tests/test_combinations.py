"""Options that are right one by one, together: states that training keeps, weights of 0, schedules at their ends,
claims for every kind of request."""

import asyncio
from typing import Any, get_args

import httpx
import numpy as np
import pytest
from starlette.requests import ClientDisconnect

from app.compute import unless_gone
from engine.optimizers import Optimizer
from schemas.rules import kind_of
from tests.test_bad_input import refused
from tests.test_streams import events

ONE = {"layers": [{"weights": [[1.0]], "bias": None, "activation": "identity"}]}
RUN = {"network": ONE, "inputs": [[0.2]], "targets": [[1]], "loss": "mse", "optimizer": "sgd", "epochs": 1}
TWO = {"layers": [{"weights": [[1, 2]], "bias": None, "activation": "softmax"}]}
CLASSES = {"network": TWO, "inputs": [[1], [2], [3], [4]], "optimizer": "sgd", "epochs": 1, "shuffle": False}


def stopped(**early_stopping: Any) -> dict[str, Any]:
    return {"kind": "sgd", "layers": [{"weights": {"step": 1}}], "early_stopping": early_stopping}


NESTED: Any = 1
for _ in range(300):
    NESTED = [NESTED]
KEPT = "/optimizer_state/early_stopping"
BROKEN = [
    (stopped(best=1.0, bad_epochs=0, network="x"), "/network"),
    (stopped(best=1.0, bad_epochs=0, network={}), "/network/layers"),
    (
        stopped(best=1.0, bad_epochs=0, network={"layers": [{**ONE["layers"][0], "weights": None}]}),
        "/network/layers/0/weights",
    ),
    (
        stopped(best=1.0, bad_epochs=0, network={"layers": [{**ONE["layers"][0], "bias": [1, 2]}]}),
        "/network/layers/0/bias",
    ),
    (
        stopped(best=1.0, bad_epochs=0, network={"layers": [{**ONE["layers"][0], "activation": "x"}]}),
        "/network/layers/0/activation",
    ),
    (stopped(best=1.0, bad_epochs=0, network=TWO), "/network"),
    (stopped(best=1.0, bad_epochs=0, foo=1), "/foo"),
    (stopped(best="1", bad_epochs=0), "/best"),
    (stopped(best=1.0, bad_epochs=-1), "/bad_epochs"),
    (stopped(best=1.0), "/bad_epochs"),
    ({**stopped(), "early_stopping": NESTED}, ""),
    ({**stopped(), "early_stopping": "garbage"}, ""),
]


@pytest.mark.parametrize(("state", "where"), BROKEN)
@pytest.mark.parametrize("path", ["/v1/train", "/v1/step"])
def test_a_broken_state_of_early_stopping_is_pointed_at(
    client: httpx.Client, path: str, state: dict[str, Any], where: str
) -> None:
    asked: dict[str, Any] = {**RUN, "early_stopping": {"monitor": "loss"}, "optimizer_state": state}
    if path == "/v1/step":
        del asked["epochs"], asked["early_stopping"]
    response = client.post(path, json=asked)
    assert response.status_code == 422, response.text
    assert response.json()["errors"][0]["pointer"] == KEPT + where


@pytest.mark.parametrize(
    ("kind", "received"),
    [("adam", "adam"), ("secret", "string"), (None, "null"), (NESTED, "array"), (["sgd"], "array")],
)
def test_a_state_of_another_optimizer_is_told_by_its_name(client: httpx.Client, kind: Any, received: str) -> None:
    asked = {name: value for name, value in RUN.items() if name != "epochs"}
    response = client.post("/v1/step", json={**asked, "optimizer_state": {"kind": kind, "layers": []}})
    (error,) = refused(response, 422, "invalid-state")["errors"]
    assert (error["expected"], error["received"]) == ("sgd", received)


@pytest.mark.parametrize(
    ("change", "where", "words"),
    [
        ({"units": 5}, "/0/weights/exp_avg", "shape of its parameter"),
        ({"more": True}, "", "one entry for each layer"),
        ({"bias": None}, "/0/bias", "This layer has no such parameter"),
    ],
)
def test_a_network_that_was_changed_starts_afresh(
    client: httpx.Client, post: Any, change: dict[str, Any], where: str, words: str
) -> None:
    """Transfer learning: a new head, or another one on top."""

    def network(units: int = 3, more: bool = False, **layer: Any) -> dict[str, Any]:
        sizes = [units, *([3] if more else [])]
        layers = [{"units": size, "activation": "softmax"} for size in sizes]
        made: dict[str, Any] = post("/v1/initialize", {"input_size": 2, "layers": layers})["network"]
        made["layers"][0] |= layer
        return made

    asked = {"network": network(), "inputs": [[1, 2], [3, 4]], "targets": [0, 1], "loss": "cross_entropy"}
    asked |= {"optimizer": "adam", "epochs": 1}
    asked |= {"optimizer_state": post("/v1/train", asked)["optimizer_state"], "network": network(**change)}
    response = client.post("/v1/train", json=asked)
    error = response.json()["errors"][0]
    assert (response.status_code, error["pointer"]) == (422, "/optimizer_state/layers" + where)
    assert words in error["detail"] and "start afresh with null" in error["detail"]
    post("/v1/train", {**asked, "optimizer_state": None})


@pytest.mark.parametrize("schedule", [NESTED, {"learning_rate": [1]}, {"learning_rate": "x"}, {"best": 2**63}, 3])
def test_a_broken_state_of_a_schedule_is_refused_by_a_step(client: httpx.Client, schedule: Any) -> None:
    asked = {name: value for name, value in RUN.items() if name != "epochs"}
    asked["optimizer_state"] = {"kind": "sgd", "layers": [{"weights": {"step": 1}}], "schedule": schedule}
    refused(client.post("/v1/step", json=asked), 422, "invalid-state")


@pytest.mark.parametrize("count", [-1, 2**53])
def test_a_count_of_steps_is_one_that_can_be_counted(client: httpx.Client, count: int) -> None:
    asked = {name: value for name, value in RUN.items() if name != "epochs"}
    asked["optimizer_state"] = {"kind": "sgd", "layers": [{"weights": {"step": count}}]}
    problem = refused(client.post("/v1/step", json=asked), 422, "invalid-state")
    assert problem["errors"][0]["pointer"] == "/optimizer_state/layers/0/weights/step"


def test_a_step_hands_on_what_training_keeps(post: Any) -> None:
    layer = {"kind": "dense", **ONE["layers"][0], "activation": {"kind": "identity"}}
    network = {"layers": [layer], "weights_layout": "inputs_by_units"}
    kept = {"monitor": "loss", "best": 1.0, "bad_epochs": 2, "network": network}
    asked = {name: value for name, value in RUN.items() if name != "epochs"}
    state = {**stopped(**kept), "schedule": {"learning_rate": 0.5, "best": None}}
    assert (
        post("/v1/step", {**asked, "optimizer_state": state})["optimizer_state"].items()
        >= {"early_stopping": kept, "schedule": {"learning_rate": 0.5, "best": None}}.items()
    )


@pytest.mark.parametrize(
    "optimizer",
    [
        {"kind": "sgd", "momentum": 0.9},
        {"kind": "sgd", "momentum": 0.9, "nesterov": True},
        {"kind": "rmsprop", "momentum": 0.5},
        "adam",
    ],
)
def test_a_schedules_momentum_may_reach_0(post: Any, optimizer: Any) -> None:
    schedule = {"kind": "cyclic", "cycle_momentum": True, "base_momentum": 0, "step_size_up": 1}
    answer = post("/v1/train", {**RUN, "epochs": 4, "optimizer": optimizer, "learning_rate_schedule": schedule})
    assert len(answer["history"]) == 4 and np.isfinite(answer["network"]["layers"][0]["weights"]).all()


def test_a_penalty_that_overflows_is_refused_without_a_loss_too(client: httpx.Client) -> None:
    layer = {"weights": [[1e200]], "bias": None, "activation": "tanh"}
    asked = {"network": {"layers": [layer]}, "inputs": [[0]], "output_gradients": [[3]], "optimizer": "sgd"}
    problem = refused(client.post("/v1/step", json={**asked, "regularization": {"l2": 1}}), 422, "non-finite")
    assert problem["errors"][0]["pointer"] == "/penalty"


@pytest.mark.parametrize("kind", ["cross_entropy", "focal", "negative_log_likelihood", "binary_cross_entropy"])
def test_own_losses_are_verified_without_the_weights_of_classes(post: Any, kind: str) -> None:
    activation = {"negative_log_likelihood": "log_softmax", "binary_cross_entropy": "sigmoid"}.get(kind, "softmax")
    network = {"layers": [{"weights": [[1, 0], [0, 1]], "bias": None, "activation": activation}]}
    loss = {"kind": kind, "class_weights": [2, 1]}
    asked = {"network": network, "inputs": [[1, 0], [0.5, 2]], "targets": [[1, 0], [0, 1]], "loss": loss}
    answer = post("/v1/backward", asked)
    verified = post("/v1/verify", {**asked, "claimed": answer})
    assert verified["verdict"] == "match"


@pytest.mark.parametrize("regularization", [None, {"l2": 1}])
def test_a_step_from_output_gradients_verifies(post: Any, regularization: Any) -> None:
    asked = {"network": ONE, "inputs": [[0.2]], "output_gradients": [[1.0]], "optimizer": "sgd"}
    asked["regularization"] = regularization
    verified = post("/v1/verify", {**asked, "claimed": post("/v1/step", asked)})
    assert verified["verdict"] == "match"
    assert "/penalty" in [c["pointer"] for c in verified["comparisons"]]


def test_an_answer_with_examples_own_gradients_can_be_claimed(post: Any) -> None:
    asked = {name: value for name, value in RUN.items() if name not in ("optimizer", "epochs")}
    assert (
        post("/v1/verify", {**asked, "claimed": post("/v1/backward", {**asked, "per_example": True})})["verdict"]
        == "match"
    )


def test_one_wrong_number_of_float32_leaves_the_others_right(post: Any) -> None:
    weights = [[-0.79, 0.13, -0.11, 0.54], [0.22, 2.55, 1.5, 1.5], [-2.04, -0.34, -0.61, 0.53]]
    layer = {"weights": weights, "bias": [0.1, 0.2, 0.3, 0.4], "activation": "tanh"}
    asked = {"network": {"layers": [layer]}, "inputs": [[-2.28, 1.17, 1.07], [-1.3, -0.98, -0.8]], "loss": "mse"}
    asked |= {"targets": [[0.04, 0.64, 2.05, -0.2], [0.77, 0.16, 1.76, 0.74]], "dtype": "float32"}
    claimed = post("/v1/forward", asked)["layers"][0]["preactivations"]
    claimed[1][3] += 0.1
    verified = post("/v1/verify", {**asked, "claimed": {"layers": [{"preactivations": claimed}]}})
    assert verified["comparisons"][0]["mismatched"] == 1
    assert verified["first_mismatch"]["pointer"] == "/layers/0/preactivations/1/3"


def test_pointers_into_a_claimed_network_are_in_its_own_layout(post: Any) -> None:
    network = {"layers": [{"weights": [[1, 2, 3], [4, 5, 6]], "bias": None, "activation": "identity"}]}
    asked = {"network": network, "inputs": [[1, 2]], "targets": [[0, 0, 0]], "loss": "mse", "optimizer": "sgd"}
    new = np.array(post("/v1/step", asked)["network"]["layers"][0]["weights"]).T
    new[2, 0] += 1
    claimed = {"weights_layout": "units_by_inputs", "layers": [{"weights": new.tolist()}]}
    verified = post("/v1/verify", {**asked, "claimed": {"network": claimed}})
    assert verified["first_mismatch"]["pointer"] == "/network/layers/0/weights/2/0"
    assert verified["comparisons"][0]["worst"]["index"] == [2, 0]


def test_the_class_of_a_logit_is_1_above_0(post: Any) -> None:
    loss = {"kind": "binary_cross_entropy", "from_logits": True}
    asked = {"network": ONE, "inputs": [[0.2], [2], [-1]], "targets": [[1], [1], [0]], "loss": loss}
    answer = post("/v1/evaluate", {**asked, "metrics": ["accuracy", "confusion_matrix"]})
    assert answer["predictions"] == [1, 1, 0]
    assert answer["metrics"] == {"accuracy": 1, "confusion_matrix": [[1, 0], [0, 2]]}
    own = {"kind": "accuracy", "threshold": 0.5}
    assert post("/v1/evaluate", {**asked, "metrics": [own]})["metrics"]["accuracy"] == 2 / 3
    still = {"optimizer": {"kind": "sgd", "learning_rate": 0}, "epochs": 1}
    trained = post("/v1/train", {**asked, **still, "metrics": ["accuracy"]})
    assert trained["history"][0]["metrics"] == {"accuracy": 1}


def test_the_class_of_a_hinges_score_is_1_above_0(post: Any) -> None:
    asked = {"network": ONE, "inputs": [[0.2], [2], [-1]], "targets": [[1], [1], [-1]], "loss": "hinge"}
    assert post("/v1/evaluate", {**asked, "metrics": ["accuracy"]})["metrics"] == {"accuracy": 1}


@pytest.mark.parametrize(
    ("more", "where"),
    [
        ({"loss": "hinge", "batch_size": 1, "targets": [[1, -1], [1, 1], [1, 1], [3, 1]]}, "/targets/3/0"),
        ({"loss": "multi_margin", "batch_size": 2, "targets": [[1, 0], [1, 0], [1, 0], [3, 1]]}, "/targets/3"),
        (
            {
                "loss": "cross_entropy",
                "targets": [0, 1, 0, 1],
                "validation": {"inputs": [[1], [2]], "targets": [[1, 0], [2, 0]]},
            },
            "/validation/targets/1/0",
        ),
        (
            {
                "loss": "cross_entropy",
                "targets": [[1, 0], [0, 1], [1, 0], [2, 0]],
                "validation": {"fraction": 0.25},
                "seed": 2,
            },
            "/targets/3/0",
        ),
        (
            {
                "loss": "mse",
                "targets": [[1, 0]] * 4,
                "validation": {"inputs": [[1]], "targets": [[1, 0]], "sample_weights": [0]},
            },
            "/validation/sample_weights",
        ),
        ({"loss": "cross_entropy", "targets": [0, 1, 0, 2**63]}, "/targets/3"),
        (
            {"loss": "mse", "targets": [[1, 0]] * 4, "validation": {"inputs": [[1]], "fraction": 0.5}},
            "/validation/fraction",
        ),
        (
            {"loss": "mse", "targets": [[1, 0]] * 4, "validation": {"fraction": 0.5, "sample_weights": [1]}},
            "/validation/fraction",
        ),
        (
            {
                "loss": "mse",
                "targets": [[1, 0]] * 4,
                "validation": {"inputs": [[1]], "targets": [[1, 0]], "stratify": True},
            },
            "/validation/stratify",
        ),
        (
            {
                "loss": "binary_cross_entropy",
                "targets": [[1, 0], [0, 1], [1, 1], [0, 0]],
                "validation": {"fraction": 0.5, "stratify": True},
            },
            "/targets/2",
        ),
        (
            {
                "loss": "cross_entropy",
                "targets": [0, 1, 0, 1],
                "sample_weights": [1, 0, 0, 1],
                "validation": {"fraction": 0.25},
                "seed": 0,
            },
            "/validation/fraction",
        ),
    ],
)
def test_training_points_into_the_request(client: httpx.Client, more: dict[str, Any], where: str) -> None:
    response = client.post("/v1/train", json={**CLASSES, **more})
    assert response.status_code == 422, response.text
    assert response.json()["errors"][0]["pointer"] == where


def test_outputs_are_numbered_by_example(client: httpx.Client) -> None:
    network = {"layers": [{"weights": [[0.5]], "bias": None, "activation": "identity"}]}
    asked = {
        **CLASSES,
        "network": network,
        "inputs": [[1], [1], [1], [9]],
        "targets": [[1], [0], [1], [0]],
        "batch_size": 1,
    }
    problem = refused(
        client.post("/v1/train", json={**asked, "loss": "binary_cross_entropy"}), 422, "not-probabilities"
    )
    assert problem["errors"][0]["pointer"] == "/outputs/3/0"


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_a_batch_of_nothing_but_classes_of_weight_0_is_passed_over(post: Any, batch_size: int) -> None:
    loss = {"kind": "cross_entropy", "class_weights": [0, 1]}
    asked = {**CLASSES, "loss": loss, "targets": [0, 0, 1, 0], "batch_size": batch_size, "epochs": 3, "shuffle": True}
    answer = post("/v1/train", asked)
    assert answer["stopped_because"] == "epochs" and all(np.isfinite(row["loss"]) for row in answer["history"])


def test_the_last_row_is_told_where_a_run_ends_early(client: httpx.Client) -> None:
    asked = {**RUN, "epochs": 50, "early_stopping": {"monitor": "loss", "min_delta": 10, "patience": 3}}
    told = list(events(client, asked))
    rows = [content["epoch"] for name, content in told if name == "progress"]
    assert told[-1][0] == "result" and rows[-1] == told[-1][1]["completed_epochs"]


def test_work_that_lets_a_cancellation_go_by_has_ended_when_its_client_is_gone() -> None:
    ended = []

    async def work() -> None:
        for _ in range(2):
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                if ended:
                    raise
                ended.append("one")

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def main() -> None:
        with pytest.raises(ClientDisconnect):
            await unless_gone(work(), receive)
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())
    assert ended == ["one"]


@pytest.mark.parametrize("kind", sorted(kind_of(rule) for rule in get_args(Optimizer)))
def test_a_schedule_sets_the_rate_of_the_first_step_too(post: Any, kind: str) -> None:
    """Half the rate for ever is half the rate: for those too whose state starts from the learning rate."""
    asked = {**RUN, "epochs": 3, "optimizer": {"kind": kind, "learning_rate": 0.25}}
    half = {"kind": "constant", "factor": 0.5, "total_iters": 100}
    scheduled = post("/v1/train", asked | {"learning_rate_schedule": half})
    plain = post("/v1/train", asked | {"optimizer": {"kind": kind, "learning_rate": 0.125}})
    assert scheduled["history"] == plain["history"]
    assert scheduled["network"] == plain["network"]


MATRIX = np.zeros((2, 3))
OVERFLOWS: dict[str, tuple[str, dict[str, Any], str]] = {
    "gradients": (
        "backward",
        {"inputs": [[0, 1e200]], "output_gradients": [[0, 0, 1e200]]},
        "/layers/0/gradients/weights",
    ),
    "own gradients": (
        "backward",
        {
            "inputs": [[0, 1e154], [0, 0]],
            "targets": [[0, 0, 1.2e154], [0, 0, 0]],
            "loss": {"kind": "mse", "reduction": "batch_mean"},
            "per_example": True,
        },
        "/layers/0/per_example_gradients/weights/0",
    ),
    "update": (
        "step",
        {
            "inputs": [[0, 1e10]],
            "output_gradients": [[0, 0, 1]],
            "optimizer": {"kind": "sgd", "learning_rate": 1e300},
        },
        "/network/layers/0/weights",
    ),
    "state": (
        "step",
        {"inputs": [[0, 1e200]], "output_gradients": [[0, 0, 1]], "optimizer": "adam"},
        "/optimizer_state/layers/0/weights/exp_avg_sq",
    ),
    "training": (
        "train",
        {
            "inputs": [[0, 1e154]],
            "targets": [[0, 0, 1.2e154]],
            "loss": {"kind": "mse", "reduction": "sum"},
            "optimizer": "sgd",
            "epochs": 1,
        },
        "/layers/0/gradients/weights",
    ),
    "float32": (
        "forward",
        {"inputs": [[0, 0]], "dtype": "float32"},
        "/network/layers/0/weights",
    ),
}


@pytest.mark.parametrize("layout", ["inputs_by_units", "units_by_inputs"])
@pytest.mark.parametrize(("path", "asked", "pointer"), OVERFLOWS.values(), ids=OVERFLOWS)
def test_a_weight_that_overflows_is_pointed_at_in_the_requests_layout(
    client: httpx.Client, layout: str, path: str, asked: dict[str, Any], pointer: str
) -> None:
    weights = MATRIX.copy()
    weights[1, 2] = 1e39 if path == "forward" else 0
    turned = layout == "units_by_inputs"
    layer = {"weights": (weights.T if turned else weights).tolist(), "bias": None, "activation": "identity"}
    request = {"network": {"layers": [layer], "weights_layout": layout}, **asked}
    problem = client.post(f"/v1/{path}", json=request).json()
    (error,) = problem["errors"]
    assert error["pointer"] == pointer + ("/2/1" if turned else "/1/2")
    assert path == "forward" or ("2, 1]" if turned else "1, 2]") in error["detail"]


def test_a_state_too_large_for_float32_is_pointed_at_in_its_layout(client: httpx.Client) -> None:
    layer = {"weights": MATRIX.T.tolist(), "bias": None, "activation": "identity"}
    network = {"layers": [layer], "weights_layout": "units_by_inputs"}
    request = {"network": network, "inputs": [[0, 0]], "output_gradients": [[0, 0, 0]], "dtype": "float32"}
    buffer = MATRIX.T.copy()
    buffer[2, 1] = 1e39
    state = {"kind": "sgd", "layers": [{"weights": {"step": 1, "momentum_buffer": buffer.tolist()}}]}
    optimizer = {"kind": "sgd", "momentum": 0.9}
    response = client.post("/v1/step", json={**request, "optimizer": optimizer, "optimizer_state": state})
    (error,) = refused(response, 422, "out-of-range")["errors"]
    assert error["pointer"] == "/optimizer_state/layers/0/weights/momentum_buffer/2/1"
