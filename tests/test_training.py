"""Training against scikit-learn and PyTorch, and resumed to the bit, over HTTP."""

import json
from typing import Any, get_args

import httpx
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier, MLPRegressor

from engine import optimizers, schedules
from engine.data import Data, order, split
from engine.stopping import EarlyStopping
from schemas.limits import Limits
from schemas.rules import kind_of
from schemas.training import TrainRequest
from tests.test_bad_input import changed, refused

OPTIMIZERS = [kind_of(rule) for rule in get_args(optimizers.Optimizer)]
SCHEDULES = [kind_of(rule) for rule in get_args(schedules.Schedule)]
RANDOM = np.random.default_rng(4)
X = np.round(RANDOM.normal(size=(23, 3)), 3)
LABELS = RANDOM.integers(0, 3, 23)


def request(post: Any, **more: Any) -> dict[str, Any]:
    """23 examples, three classes, a network of 3-5-3."""
    layers = [{"units": 5, "activation": "tanh"}, {"units": 3, "activation": "softmax"}]
    network = post("/v1/initialize", {"input_size": 3, "layers": layers, "seed": 1})["network"]
    return {
        "network": network,
        "inputs": X.tolist(),
        "targets": LABELS.tolist(),
        "loss": "cross_entropy",
        "optimizer": {"kind": "sgd", "learning_rate": 0.1},
        "epochs": 3,
        "batch_size": 5,
        **more,
    }


def continued(asked: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    return {**asked, **{name: answer[name] for name in ("network", "optimizer_state", "completed_epochs")}}


def assert_ten_calls_equal_one(post: Any, asked: dict[str, Any], calls: int = 10) -> Any:
    whole = post("/v1/train", {**asked, "epochs": calls})
    one, history = {**asked, "epochs": 1}, []
    for _ in range(calls):
        part = post("/v1/train", one)
        one = continued(one, part)
        history += part["history"]
        if part["stopped_because"] != "epochs":
            break
    assert history == whole["history"]
    for name in ("network", "optimizer_state", "completed_epochs", "stopped_because"):
        assert part[name] == whole[name], name
    return whole


def turned(asked: dict[str, Any]) -> dict[str, Any]:
    """The same request with its weights in PyTorch's layout."""
    layers = [{**layer, "weights": np.transpose(layer["weights"]).tolist()} for layer in asked["network"]["layers"]]
    return {**asked, "network": {"layers": layers, "weights_layout": "units_by_inputs"}}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_ten_calls_of_one_epoch_end_where_one_of_ten_does(post: Any, kind: str, dtype: str) -> None:
    asked = request(post, optimizer={"kind": kind, "learning_rate": 0.01}, dtype=dtype, seed=7)
    whole = assert_ten_calls_equal_one(post, asked)
    assert assert_ten_calls_equal_one(post, turned(asked))["history"] == whole["history"]


@pytest.mark.parametrize("kind", SCHEDULES)
def test_schedules_resume_too(post: Any, kind: str) -> None:
    hyper = {
        "step": {"step_size": 3},
        "multi_step": {"milestones": [2, 7]},
        "cyclic": {"step_size_up": 7, "cycle_momentum": True},
        "one_cycle": {"total_steps": 50, "cycle_momentum": True},
        "reduce_on_plateau": {"patience": 0, "threshold": 0.2},
    }
    schedule = {"kind": kind, "warmup": 2, **hyper.get(kind, {})}
    optimizer = {"kind": "sgd", "learning_rate": 0.1, "momentum": 0.9}
    asked = request(post, optimizer=optimizer, learning_rate_schedule=schedule)
    whole = assert_ten_calls_equal_one(post, asked)
    assert len({row["learning_rate"] for row in whole["history"]}) > 1


def test_layout_validation_and_early_stopping_resume_too(post: Any) -> None:
    asked = request(post, validation={"fraction": 0.3, "stratify": True}, metrics=["accuracy"], epochs=1)
    asked = turned(asked)
    asked["early_stopping"] = {"patience": 2, "restore_best": True, "min_delta": 0.05}
    asked["optimizer"] = {"kind": "adam", "learning_rate": 0.1}
    whole = assert_ten_calls_equal_one(post, asked, 30)
    assert whole["stopped_because"] == "early_stopping"
    best = whole["optimizer_state"]["early_stopping"]["network"]
    assert whole["network"]["layers"] == best["layers"]
    best_epoch = 1 + int(np.argmin([row["validation"]["loss"] for row in whole["history"]]))
    assert 1 <= best_epoch <= whole["completed_epochs"] - 2
    again = post("/v1/train", {**asked, "epochs": best_epoch, "early_stopping": None})
    assert again["network"] == whole["network"]


def test_frozen_parameters_and_sample_weights(post: Any) -> None:
    asked = request(post, sample_weights=RANDOM.uniform(0, 2, 23).round(2).tolist(), epochs=4)
    asked["network"]["layers"][0]["frozen"] = ["weights"]
    asked["optimizer"] = {"kind": "adam", "weight_decay": 0.1}
    asked |= {"regularization": {"l2": 0.1}, "gradient_clipping": {"kind": "norm", "max_norm": 0.5}}
    answer = assert_ten_calls_equal_one(post, asked, 4)
    assert answer["network"]["layers"][0]["weights"] == asked["network"]["layers"][0]["weights"]
    assert answer["network"]["layers"][0]["bias"] != asked["network"]["layers"][0]["bias"]


@pytest.mark.parametrize("optimizer", ["adam", {"kind": "sgd", "momentum": 0.9, "learning_rate": 0.1}])
def test_an_epoch_of_training_is_its_steps(post: Any, optimizer: Any) -> None:
    asked = request(post, optimizer=optimizer, epochs=2, seed=3, regularization={"l1": 0.01, "l2": 0.1})
    trained = post("/v1/train", asked)
    step = {k: v for k, v in asked.items() if k not in ("epochs", "batch_size", "seed")}
    for epoch in range(2):
        rows = order(3, epoch, 23)
        losses, penalties, norms, sizes = [], [], [], []
        for k in range(0, 23, 5):
            chosen = rows[k : k + 5]
            answer = post("/v1/step", {**step, "inputs": X[chosen].tolist(), "targets": LABELS[chosen].tolist()})
            step |= {"network": answer["network"], "optimizer_state": answer["optimizer_state"]}
            losses.append(answer["loss"] - answer["penalty"])
            penalties.append(answer["penalty"])
            norms.append(answer["gradient_norm"])
            sizes.append(len(chosen))
        row = trained["history"][epoch]
        assert sizes[-1] == 3
        assert row["loss"] == pytest.approx(np.average(losses, weights=sizes) + np.mean(penalties), rel=1e-12)
        assert row["gradient_norm"] == pytest.approx(np.mean(norms), rel=1e-12)
    assert trained["network"] == step["network"]
    assert trained["optimizer_state"] == step["optimizer_state"]


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("task", ["classifier", "regressor"])
def test_loss_curves_are_those_of_scikit_learn(post: Any, solver: str, task: str) -> None:
    """scikit-learn's penalty is alpha / (2 batch) * sum w^2: l2 = alpha / batch. Its regression loss is half the mean
    squared error, and its gradient sums over the outputs: half_squared_error with one output is the same. Its Adam adds
    epsilon before the bias correction of v, ours after it, so both get one that is too small to matter."""
    alpha, n = 0.05, len(X)
    targets = LABELS if task == "classifier" else np.sin(X[:, 0]) + 0.1 * X[:, 1]
    model = (MLPClassifier if task == "classifier" else MLPRegressor)(
        hidden_layer_sizes=(6,), activation="tanh", solver=solver, alpha=alpha, batch_size=n, learning_rate_init=0.02,
        shuffle=False, max_iter=20, tol=0.0, n_iter_no_change=1000, random_state=5, epsilon=1e-16,
    )  # fmt: skip
    # A fit that is not allowed to move shows the initial weights.
    fresh = type(model)(**{**model.get_params(), "learning_rate_init": 1e-300, "max_iter": 1})
    for estimator in (fresh, model):
        with pytest.warns(UserWarning, match="Maximum iterations"):
            estimator.fit(X, targets)
    layers = [
        {"weights": w.tolist(), "bias": b.tolist(), "activation": a}
        for w, b, a in zip(
            fresh.coefs_, fresh.intercepts_, ("tanh", "softmax" if task == "classifier" else "identity"), strict=True
        )
    ]
    optimizer = (
        {"kind": "adam", "learning_rate": 0.02, "eps": 1e-16}
        if solver == "adam"
        else {"kind": "sgd", "learning_rate": 0.02, "momentum": 0.9, "nesterov": True}
    )
    asked = {
        "network": {"layers": layers},
        "inputs": X.tolist(),
        "targets": targets.tolist() if task == "classifier" else targets[:, np.newaxis].tolist(),
        "loss": "cross_entropy" if task == "classifier" else "half_squared_error",
        "optimizer": optimizer,
        "regularization": {"l2": alpha / n},
        "epochs": 20,
        "batch_size": None,
        "shuffle": False,
    }
    answer = post("/v1/train", asked)
    np.testing.assert_allclose([row["loss"] for row in answer["history"]], model.loss_curve_, rtol=1e-10)


def digits() -> tuple[Any, Any]:
    data = load_digits()
    return data.data / 16, data.target


@pytest.mark.parametrize("kind", [kind for kind in OPTIMIZERS if kind != "lion"])
def test_digits_against_pytorch(post: Any, kind: str) -> None:
    torch = pytest.importorskip("torch")
    x, labels = digits()
    layers = [{"units": 32, "activation": "relu"}, {"units": 10, "activation": "softmax"}]
    made = {"input_size": 64, "layers": layers, "weights_layout": "units_by_inputs", "seed": 9}
    network = post("/v1/initialize", made)["network"]
    asked = {
        "network": network,
        "inputs": x.tolist(),
        "targets": labels.tolist(),
        "loss": "cross_entropy",
        "optimizer": kind,
        "epochs": 2,
        "batch_size": 64,
        "seed": 2,
    }
    answer = post("/v1/train", asked)
    names = {"sgd": "SGD", "adamw": "AdamW", "nadam": "NAdam", "radam": "RAdam", "rmsprop": "RMSprop", "asgd": "ASGD"}
    model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10)).double()
    with torch.no_grad():
        for module, layer in zip((model[0], model[2]), network["layers"], strict=True):
            module.weight.copy_(torch.tensor(layer["weights"], dtype=torch.float64))
            module.bias.copy_(torch.tensor(layer["bias"], dtype=torch.float64))
    optimizer = getattr(torch.optim, names.get(kind, kind.capitalize()))(model.parameters())
    tx, ty = torch.tensor(x), torch.tensor(labels)
    for epoch in range(2):
        rows = torch.tensor(order(2, epoch, len(x)))
        for chosen in rows.split(64):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(tx[chosen]), ty[chosen]).backward()
            optimizer.step()
    for module, layer in zip((model[0], model[2]), answer["network"]["layers"], strict=True):
        np.testing.assert_allclose(layer["weights"], module.weight.detach().numpy(), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(layer["bias"], module.bias.detach().numpy(), rtol=1e-9, atol=1e-9)


def test_digits_are_learned(post: Any) -> None:
    x, labels = digits()
    layers = [
        {"units": 64, "activation": "relu", "weights_initializer": "he_normal", "bias_initializer": "zeros"},
        {"units": 10, "activation": "softmax", "weights_initializer": "glorot_uniform", "bias_initializer": "zeros"},
    ]
    network = post("/v1/initialize", {"input_size": 64, "layers": layers})["network"]
    asked = {
        "network": network,
        "inputs": x.tolist(),
        "targets": labels.tolist(),
        "loss": "cross_entropy",
        "optimizer": "adam",
        "epochs": 30,
        "validation": {"fraction": 0.2, "stratify": True},
        "metrics": ["accuracy"],
        "include": ["history"],
    }
    history = post("/v1/train", asked)["history"]
    assert history[-1]["validation"]["metrics"]["accuracy"] >= 0.97


def test_divergence_ends_with_the_last_finite_checkpoint(post: Any) -> None:
    asked = request(post, loss="mse", optimizer={"kind": "sgd", "learning_rate": 1e3}, epochs=50, batch_size=None)
    asked["targets"] = np.eye(3)[LABELS].tolist()
    asked["network"]["layers"][1]["activation"] = "identity"
    asked["network"]["layers"][0]["activation"] = "identity"
    answer = post("/v1/train", asked)
    assert answer["stopped_because"] == "diverged"
    assert 0 < answer["completed_epochs"] == len(answer["history"]) < 50
    weights = np.array(answer["network"]["layers"][0]["weights"])
    assert np.isfinite(weights).all()
    expected = post("/v1/train", {**asked, "epochs": answer["completed_epochs"]})
    assert expected["network"] == answer["network"] and expected["stopped_because"] == "epochs"


@pytest.mark.parametrize("inputs", [[[1e308], [1.0]], [[1e160], [1e160]], [[1e154], [1e154]]])
def test_losses_and_gradients_whose_sum_overflows(post: Any, inputs: Any) -> None:
    layer = {"weights": [[0.0]], "bias": [0.0], "activation": "identity"}
    asked = {"network": {"layers": [layer]}, "inputs": inputs, "targets": [[1.0], [1.0]], "loss": "mse"}
    answer = post("/v1/train", asked | {"optimizer": "sgd", "epochs": 5, "batch_size": 1})
    assert answer["stopped_because"] == "diverged"


def test_target_loss_and_deadline(post: Any) -> None:
    asked = request(post, optimizer="adam", epochs=1000, target_loss=1.0)
    answer = post("/v1/train", asked)
    assert answer["stopped_because"] == "target_loss"
    assert answer["history"][-1]["loss"] <= 1.0 < answer["history"][-2]["loss"]
    late = post("/v1/train", {**asked, "epochs": 1_000_000, "target_loss": None, "max_seconds": 0.3})
    assert late["stopped_because"] == "deadline" and 0 < late["completed_epochs"] < 1_000_000
    assert late["completed_epochs"] == len(late["history"])


def test_evaluate(post: Any) -> None:
    asked = request(post)
    fields = {name: asked[name] for name in ("network", "inputs", "targets", "loss")}
    answer = post("/v1/evaluate", {**fields, "metrics": ["accuracy", {"kind": "top_k_accuracy", "k": 2}, "f1"]})
    assert set(answer) == {"loss", "example_losses", "metrics", "outputs", "predictions"}
    assert answer["predictions"] == np.argmax(answer["outputs"], axis=1).tolist()
    assert answer["metrics"]["accuracy"] == np.mean(np.array(answer["predictions"]) == LABELS)
    assert answer["loss"] == pytest.approx(np.mean(answer["example_losses"]))
    assert "predictions" not in post("/v1/evaluate", {**fields, "targets": X.tolist(), "loss": "mse"})


def test_validation_data_of_its_own(post: Any) -> None:
    asked = request(post, metrics=["accuracy"], validation={"inputs": X[:4].tolist(), "targets": LABELS[:4].tolist()})
    answer = post("/v1/train", asked)
    fields = {name: asked[name] for name in ("loss",)} | {"network": answer["network"]}
    own = post("/v1/evaluate", {**fields, **asked["validation"], "metrics": ["accuracy"]})
    assert answer["history"][-1]["validation"] == {"loss": own["loss"], "metrics": own["metrics"]}


@pytest.mark.parametrize("validation", [{"fraction": 0.05}, {"inputs": [[1, 2, 3]], "targets": [0]}])
def test_what_is_wrong_with_validation_data_is_said_of_them(
    client: httpx.Client, post: Any, validation: dict[str, Any]
) -> None:
    asked = request(post, metrics=["roc_auc"], validation=validation)
    problem = refused(client.post("/v1/train", json=asked), 422, "invalid-target")
    assert problem["errors"][0]["pointer"] == "/validation" and "validation data" in problem["detail"]


def test_weights_that_are_all_zero_are_refused(client: httpx.Client, post: Any) -> None:
    asked = request(post, sample_weights=[0] * 23)
    problem = refused(client.post("/v1/train", json=asked), 422, "invalid-weights")
    assert problem["errors"][0]["pointer"] == "/sample_weights"
    asked = request(post, loss={"kind": "cross_entropy", "class_weights": [0, 0, 0]})
    problem = refused(client.post("/v1/train", json=asked), 422, "invalid-weights")
    assert problem["errors"][0]["pointer"] == "/loss/class_weights"


@pytest.mark.parametrize(
    ("monitor", "hint"),
    [
        ("validation_loss", "Give validation data."),
        ("val_accuracy", "Did you mean 'validation_accuracy'?"),
        ("f1", "Add it to metrics."),
        ("confusion_matrix", "It is not one number."),
        ("learning_rate", "Watch a loss, or one of the metrics."),
    ],
)
def test_what_cannot_be_watched_has_a_hint(client: httpx.Client, post: Any, monitor: str, hint: str) -> None:
    asked = request(post, early_stopping={"monitor": monitor}, metrics=["confusion_matrix"])
    assert hint in refused(client.post("/v1/train", json=asked), 422, "invalid-value")["detail"]


@pytest.mark.parametrize(
    ("path", "value", "name", "pointer"),
    [
        ("/epochs", 0, "out-of-range", "/epochs"),
        ("/epochs", 10**9, "too-large", "/epochs"),
        ("/batch_size", 0, "out-of-range", "/batch_size"),
        ("/metrics", ["acuracy"], "unknown-name", "/metrics/0"),
        ("/metrics", ["f1", "f1"], "conflict", "/metrics/1"),
        ("/learning_rate_schedule", "cosin", "unknown-name", "/learning_rate_schedule"),
        ("/validation", {"fraction": 1.5}, "out-of-range", "/validation/fraction"),
        ("/validation", {"inputs": [[1, 2, 3]]}, "missing", "/validation/targets"),
        ("/validation", {"inputs": [[1, 2]], "targets": [0]}, "shape-mismatch", "/validation/inputs"),
        ("/validation", {"inputs": [[1, 2, 3]], "targets": [7]}, "invalid-target", "/validation/targets/0"),
        ("/early_stopping", {"monitor": "accuracy"}, "invalid-value", "/early_stopping/monitor"),
        ("/completed_epochs", -1, "out-of-range", "/completed_epochs"),
        ("/optimizer_state", {"kind": "sgd", "layers": [], "schedule": 3}, "invalid-state", "/optimizer_state/layers"),
        ("/output_gradients", [[1]], "unknown-field", "/output_gradients"),
        ("/targets", ..., "missing", "/targets"),
        ("/targets", [[0.5, 0.5, 1.5]] * 23, "invalid-target", "/targets/0/2"),
        ("/loss", {"kind": "cross_entropy", "class_weights": [1]}, "shape-mismatch", "/loss/class_weights"),
    ],
)
def test_bad_requests(client: httpx.Client, post: Any, path: str, value: Any, name: str, pointer: str) -> None:
    response = client.post("/v1/train", json=changed(request(post), path, value))
    assert refused(response, 422, name)["errors"][0]["pointer"] == pointer


def test_the_budget_names_estimate_and_limit(client: httpx.Client, post: Any) -> None:
    problem = refused(client.post("/v1/train", json=request(post, epochs=10**9)), 422, "too-large")
    estimate = 3 * 23 * (15 + 15) * 10**9
    assert problem["errors"][0]["received"] == estimate
    assert str(estimate) in problem["detail"] and str(2 * 10**11) in problem["detail"]
    assert json.loads(client.get("/version").content)["limits"]["max_work"] == 2 * 10**11


def test_validation_data_of_its_own_is_work_too(client: httpx.Client, post: Any) -> None:
    validation = {"inputs": [[1.0, 2.0, 3.0]] * 5000, "targets": [0] * 5000}
    problem = refused(
        client.post("/v1/train", json=request(post, epochs=10**7, validation=validation)), 422, "too-large"
    )
    assert problem["errors"][0]["received"] == (3 * 23 + 5000) * (15 + 15) * 10**7


def test_numbers_count_validation_data_and_the_states_of_the_optimizer(post: Any) -> None:
    def numbers(**more: Any) -> int:
        return TrainRequest.model_validate(request(post, **more), context=Limits()).numbers()

    units, parameters = 5 + 3, 15 + 15
    assert numbers() == 4 * 23 * units + 3 * parameters
    assert numbers(optimizer="adam") == numbers() + 4 * parameters
    validation = {"inputs": [[1.0, 2.0, 3.0]] * 50, "targets": [0] * 50}
    assert numbers(validation=validation) == numbers() + 4 * 50 * units
    assert numbers(early_stopping={"monitor": "loss", "restore_best": True}) == numbers() + parameters


def test_confusion_matrices_count_by_their_size(client: httpx.Client) -> None:
    layers = [{"weights": [[0.0] * 200_000], "bias": None, "activation": "softmax"}]
    asked = {"network": {"layers": layers}, "inputs": [[1.0]], "targets": [0], "loss": "cross_entropy"}
    asked["metrics"] = ["confusion_matrix"]
    refused(client.post("/v1/evaluate", json=asked), 422, "too-large")
    refused(client.post("/v1/train", json={**asked, "optimizer": "sgd", "epochs": 1}), 422, "too-large")
    layers[0]["weights"] = [[0.0] * 500]
    assert np.shape(client.post("/v1/evaluate", json=asked).json()["metrics"]["confusion_matrix"]) == (500, 500)
    refused(client.post("/v1/train", json={**asked, "optimizer": "sgd", "epochs": 60}), 422, "too-large")


@pytest.mark.parametrize(
    ("optimizer", "quantity"),
    [
        ({"kind": "adagrad", "initial_accumulator_value": 1e39}, "sum"),
        ({"kind": "rprop", "learning_rate": 1e39}, "step_size"),
    ],
)
@pytest.mark.parametrize("path", ["step", "train"])
def test_a_state_that_starts_beyond_the_dtype_is_no_null(
    client: httpx.Client, textbook: dict[str, Any], path: str, optimizer: dict[str, Any], quantity: str
) -> None:
    asked = {**textbook, "optimizer": optimizer, "dtype": "float32"} | ({"epochs": 1} if path == "train" else {})
    problem = refused(client.post(f"/v1/{path}", json=asked), 422, "non-finite")
    assert problem["errors"][0]["pointer"] == f"/optimizer_state/layers/0/weights/{quantity}/0/0"


def test_what_is_not_finite_before_any_update_is_no_divergence(client: httpx.Client, post: Any) -> None:
    asked = request(post, inputs=[[1e308] * 3, *X[1:].tolist()])
    asked["network"]["layers"][0] |= {"weights": [[1.0] * 5] * 3, "activation": "relu"}
    problem = refused(client.post("/v1/train", json=asked), 422, "non-finite")
    assert problem["errors"][0]["pointer"] == "/layers/0/preactivations/0/0"
    layer = {"weights": [[1.0], [1.0]], "bias": None, "activation": "identity"}
    asked = {"network": {"layers": [layer]}, "inputs": [[1.0, 2.0]], "targets": [[1.0]], "loss": "mse"}
    asked |= {"optimizer": "sgd", "epochs": 2, "validation": {"inputs": [[1e308, 1e308]], "targets": [[0.0]]}}
    problem = refused(client.post("/v1/train", json=asked), 422, "non-finite")
    assert problem["errors"][0]["pointer"] == "/validation/outputs/0/0" and "validation" in problem["detail"]
    diverged = post("/v1/train", {**asked, "validation": None, "optimizer": {"kind": "sgd", "learning_rate": 1e300}})
    assert (diverged["stopped_because"], diverged["completed_epochs"]) == ("diverged", 1)


@pytest.mark.parametrize(
    ("size", "fraction", "share"), [(4, 0.1, 4), (4, 0.3, 12), (4, 0.9, 30), (1, 0.6, 0), (7, 0.5, 35)]
)
def test_a_stratified_split_gives_the_fraction_and_leaves_every_class(size: int, fraction: float, share: int) -> None:
    labels = np.repeat(np.arange(10), size)
    data = Data(np.arange(float(10 * size))[:, np.newaxis], np.eye(10)[labels])
    training, validation = split(data, fraction, True, 0)
    assert len(validation) == max(share, 1) and len(training) + len(validation) == 10 * size
    counts = validation.targets.sum(axis=0)
    assert share == 0 or counts.max() - counts.min() <= 1
    assert size == 1 or (training.targets.sum(axis=0) > 0).all()
    assert validation.row(0) == validation.inputs[0, 0]


def test_examples_keep_their_numbers_where_some_are_split_off(client: httpx.Client, post: Any) -> None:
    layer = {"weights": [[1.0]], "bias": None, "activation": "identity"}
    asked = {"network": {"layers": [layer]}, "inputs": [[0.5]] * 9 + [[1.7]], "targets": [[1.0]] * 10}
    asked |= {"loss": "binary_cross_entropy", "optimizer": "sgd", "epochs": 1, "batch_size": 2}
    pointers = set()
    for seed in range(6):
        response = client.post("/v1/train", json={**asked, "seed": seed, "validation": {"fraction": 0.3}})
        pointers.add(refused(response, 422, "not-probabilities")["errors"][0]["pointer"])
    assert pointers <= {"/outputs/9/0", "/validation"} and "/outputs/9/0" in pointers
    own = {"inputs": [[0.3], [1.7]], "targets": [[1.0], [1.0]]}
    response = client.post("/v1/train", json={**asked, "inputs": [[0.5]] * 10, "validation": own})
    assert refused(response, 422, "not-probabilities")["errors"][0]["pointer"] == "/validation"
    asked = request(post, metrics=["accuracy"], validation={"fraction": 0.2}, loss="binary_cross_entropy")
    asked["network"]["layers"][1]["activation"] = "sigmoid"
    asked["targets"] = np.eye(3)[LABELS].tolist()
    asked["targets"][17] = [1, 1, 0]
    problem = refused(client.post("/v1/train", json=asked), 422, "invalid-target")
    assert problem["errors"][0]["pointer"] in ("/targets/17", "/validation")


@pytest.mark.parametrize(("patience", "epochs"), [(0, 2), (1, 2), (3, 4)])
def test_a_run_stops_after_as_many_epochs_without_improvement_as_it_has_patience(
    post: Any, patience: int, epochs: int
) -> None:
    """The first epoch is the best so far, and none of the others is better."""
    rule = {"monitor": "loss", "patience": patience}
    stopped = post(
        "/v1/train", request(post, epochs=9, optimizer={"kind": "sgd", "learning_rate": 0}, early_stopping=rule)
    )
    assert (stopped["completed_epochs"], stopped["stopped_because"]) == (epochs, "early_stopping")


def test_early_stopping_knows_which_way_is_better(post: Any) -> None:
    rising = EarlyStopping(monitor="validation_accuracy")
    assert rising.improves(0.9, 0.8) and not rising.improves(0.7, 0.8)
    falling = EarlyStopping(monitor="validation_loss")
    assert falling.improves(0.7, 0.8) and not falling.improves(0.9, 0.8)
    assert EarlyStopping(monitor="accuracy", mode="min").improves(0.7, 0.8)


def test_a_state_of_early_stopping_is_not_taken_for_another(client: httpx.Client, post: Any) -> None:
    asked = request(post, metrics=["accuracy"], early_stopping={"monitor": "loss"})
    after = continued(asked, post("/v1/train", asked))
    other = {**after, "early_stopping": {"monitor": "accuracy"}}
    error = refused(client.post("/v1/train", json=other), 422, "invalid-state")["errors"][0]
    assert error["pointer"] == "/optimizer_state/early_stopping/monitor" and error["expected"] == "accuracy"
    restoring = {**after, "early_stopping": {"monitor": "loss", "restore_best": True}}
    error = refused(client.post("/v1/train", json=restoring), 422, "invalid-state")["errors"][0]
    assert error["pointer"] == "/optimizer_state/early_stopping/network"
    after["optimizer_state"]["early_stopping"] = None
    assert post("/v1/train", {**after, "early_stopping": {"monitor": "accuracy"}})["completed_epochs"] == 6
