"""What a derivation says in words and symbols is what this request computes, not only what its rules usually do."""

import re
from typing import Any, get_args

import numpy as np
import pytest

from engine.optimizers import Optimizer
from schemas.rules import kind_of
from tests.test_explain_documents import check_all_forms, example


def steps_of(answer: Any) -> list[Any]:
    return [step for section in answer["sections"] for step in section["steps"]]


@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("focus", [None, {"layer": 2, "parameter": "bias", "index": [0]}])
def test_a_clipped_gradient_is_not_called_the_derivative(client: Any, post: Any, focus: Any, maximize: bool) -> None:
    request = example(client, "textbook") | {
        "optimizer": {"kind": "sgd", "learning_rate": 0.1, "maximize": maximize},
        "gradient_clipping": {"kind": "norm", "max_norm": 0.1},
        "focus": focus,
    }
    updates = [s for s in steps_of(post("/v1/explain", request)) if s["text"].startswith(("The update", "It ascends"))]
    assert updates and not any(r"\partial" in step["latex"] for step in updates)
    free = steps_of(post("/v1/explain", request | {"gradient_clipping": None}))
    assert any(r"\partial" in step["latex"] for step in free if step["text"].startswith(("The update", "It ascends")))


def words(request: dict[str, Any], post: Any) -> str:
    return "\n".join(f"{step['text']} {step['latex']}" for step in steps_of(post("/v1/explain", request)))


def one_layer(activation: Any, loss: Any, targets: list[Any], **more: Any) -> dict[str, Any]:
    layer = {"weights": [[0.5, -0.2], [0.1, 0.3]], "bias": [0.1, -0.1], "activation": activation}
    inputs = [[1.0, -2.0], [0.5, 0.4]]
    return {"network": {"layers": [layer]}, "inputs": inputs, "targets": targets, "loss": loss, **more}


def test_what_each_losss_weight_is_in_the_mean(post: Any) -> None:
    nll = {"kind": "negative_log_likelihood", "class_weights": [1, 3]}
    told = words(one_layer("log_softmax", nll, [0, 1]), post)
    assert "their sum over the sum of the weights of the labels." in told and "times its weight" not in told
    told = words(one_layer("log_softmax", nll, [0, 1], sample_weights=[1, 2]), post)
    assert "their sum, each times the weight of its example, over the sum of the weights of the labels, each" in told
    told = words(one_layer("identity", "mse", [[0, 1], [1, 0]], sample_weights=[1, 2]), post)
    assert "over the sum of the weights times the 2 outputs." in told


@pytest.mark.parametrize("weights", [None, [1, 2], [0, 2], [0, 0]])
def test_a_sum_of_losses_has_the_sum_of_the_gradients(client: Any, post: Any, weights: Any) -> None:
    """The weights are in the examples' own gradients."""
    request = one_layer("tanh", {"kind": "mse", "reduction": "sum"}, [[0, 1], [1, 0]], sample_weights=weights)
    assert "Each example has its own gradient; the batch has their sum. " in words(request, post)
    check_all_forms(client, post, request)


@pytest.mark.parametrize(
    ("activation", "loss", "targets", "right", "wrong"),
    [
        (
            "softplus",
            {"kind": "poisson", "log_input": False},
            [[3, 0], [1, 2]],
            [r"\ell = y - t \log(y + \epsilon)", "1 - t / (y + eps)", "log_input = false"],
            ["exp(y) - t.", "e^y"],
        ),
        (
            "identity",
            {"kind": "poisson", "full": True},
            [[3, 0], [1, 2]],
            [
                r"\ell = e^y - t y + [t > 1] \left( t \log t - t",
                "where t > 1. Here log_input = true, full = true",
                "e^y - t",
            ],
            [],
        ),
        (
            "identity",
            {"kind": "smooth_l1", "beta": 0},
            [[0, 1], [1, 0]],
            [r"\ell = |y - t|", ": sign(y - t)."],
            [r"\beta"],
        ),
        (
            "log_softmax",
            {"kind": "kl_divergence", "log_target": True},
            [[-0.5, -0.9], [-0.7, -0.7]],
            [r"\ell = e^t (t - y)", "-exp(t)."],
            [r"\log t"],
        ),
        (
            {"kind": "gelu", "approximate": "tanh"},
            "mse",
            [[0, 1], [1, 0]],
            [r"f(z) = \frac{z}{2} (1 + \tanh u)", "(1 - tanh(u)^2) * sqrt(2 / pi) * (1 + 0.134145 * z^2)."],
            [r"\Phi", "phi(z)"],
        ),
        (
            "tanh",
            "cosine_similarity",
            [[0, 1], [1, 0]],
            [r"\quad c = \frac{y \cdot t}", "c the cosine", "counts as at least eps"],
            [r"\cos"],
        ),
        (
            "sigmoid",
            {"kind": "binary_cross_entropy", "class_weights": [1, 2]},
            [[0, 1], [1, 0]],
            [": w (y - t) / (y (1 - y)) by a probability", r"= w \frac{y - t}{y (1 - y)}"],
            [": (y - t)"],
        ),
        (
            "identity",
            "huber",
            [[0, 1], [1, 0]],
            [r"\end{cases}, \quad d = y - t", "The δ of the loss's own formula is another."],
            [],
        ),
        ({"kind": "threshold", "threshold": 0}, "mse", [[0, 1], [1, 0]], ["Here threshold = 0, value = 0."], []),
    ],
)
def test_the_formula_is_that_of_the_hyperparameters(
    client: Any, post: Any, activation: Any, loss: Any, targets: list[Any], right: list[str], wrong: list[str]
) -> None:
    request = one_layer(activation, loss, targets)
    told = words(request, post)
    check_all_forms(client, post, request)
    assert all(part in told for part in right) and not any(part in told for part in wrong)


@pytest.mark.parametrize(
    ("loss", "name", "by_logits"),
    [("focal", "softmax", r"g_j - y_j \sum_k g_k"), ("kl_divergence", "log_softmax", r"g_j - e^{y_j} \sum_k g_k")],
)
def test_the_derivative_by_logits_is_not_that_by_a_probability(
    client: Any, post: Any, loss: str, name: str, by_logits: str
) -> None:
    request = one_layer("identity", {"kind": loss, "from_logits": True}, [[0.2, 0.8], [1, 0]])
    told = words(request, post)
    assert f"of them, by {name}." in told and by_logits in told and r"\frac{\partial \ell}{\partial y} =" not in told
    check_all_forms(client, post, request)


@pytest.mark.parametrize("activation", ["softmax", "softmin"])
@pytest.mark.parametrize("log_target", [False, True])
def test_the_y_of_a_divergence_after_softmax_is_no_output(
    client: Any, post: Any, activation: str, log_target: bool
) -> None:
    targets = [[-1.6, -0.2], [-0.7, -0.7]] if log_target else [[0.2, 0.8], [0.5, 0.5]]
    request = one_layer(activation, {"kind": "kl_divergence", "log_target": log_target}, targets)
    told = words(request, post)
    assert "with y the logarithms of the outputs and" in told and r"g_j - a_j \sum_k g_k" in told and "y_j" not in told
    assert ("leave output minus target." in told) is not log_target
    check_all_forms(client, post, request)
    assert "with y the outputs and" in words(one_layer("log_softmax", request["loss"], targets), post)


@pytest.mark.parametrize(
    ("optimizer", "letter"), [("adam", "m' = m / (1 - beta1^t)"), ("radam", "rho_t ="), ("nadam", "M_t =")]
)
def test_the_letters_of_an_optimizer_are_told(post: Any, optimizer: str, letter: str) -> None:
    assert letter in words(one_layer("identity", "mse", [[0, 1], [1, 0]], optimizer=optimizer), post)


def test_a_chain_of_smoothed_targets_is_not_output_minus_target(post: Any) -> None:
    """Class weights leave targets that do not add up to 1, of an example that counts nothing too."""
    loss = {"kind": "cross_entropy", "label_smoothing": 0.1, "class_weights": [1, 2]}
    focus = {"layer": 0, "parameter": "bias", "index": [0]}
    request = one_layer("softmax", loss, [0, 1], sample_weights=[1, 0], focus=focus)
    assert "output minus target" not in words(request, post)
    plain = words(request | {"loss": "cross_entropy"}, post)
    assert "output minus target." in plain and "smoothing" not in plain
    moved = words(request | {"loss": {"kind": "cross_entropy", "label_smoothing": 0.1}}, post)
    assert "output minus target. Label smoothing has moved the target." in moved


@pytest.mark.parametrize(
    ("activation", "loss", "moved"),
    [
        ("sigmoid", {"kind": "binary_cross_entropy", "class_weights": [2, 1]}, [[0.9, 0.1], [0.1, 0.9]]),
        ("identity", {"kind": "binary_cross_entropy", "from_logits": True}, [[0.9, 0.1], [0.1, 0.9]]),
        ("softmin", {"kind": "focal", "class_weights": [1, 3]}, [[0.9, 0.1], [0.1, 0.9]]),
        ("identity", {"kind": "focal", "from_logits": True, "class_weights": [1, 3]}, [[0.9, 0.1], [0.1, 0.9]]),
    ],
)
def test_smoothed_targets_are_told(client: Any, post: Any, activation: Any, loss: dict[str, Any], moved: Any) -> None:
    """And where the losses are told all together, they are those of these targets."""
    request = one_layer(activation, loss | {"label_smoothing": 0.2}, [[1, 0], [0, 1]])
    check_all_forms(client, post, request)
    steps = steps_of(post("/v1/explain", request))
    [told] = [step for step in steps if "after label smoothing:" in step["text"]]
    assert np.allclose(told["value"], moved, rtol=1e-15)
    for step in steps:
        if step["text"].startswith("The loss of each"):
            assert r"0.9 & 0.1 \\ 0.1 & 0.9" in step["latex"]
    assert "after label smoothing:" not in words(request | {"loss": loss}, post)


def test_paths_from_a_bias_start_with_the_first_derivative(client: Any, post: Any) -> None:
    request = example(client, "textbook") | {"focus": {"layer": 1, "parameter": "bias", "index": [0]}}
    assert "Each is a product: for each layer" in words(request, post)
    request["focus"] = {"layer": 1, "parameter": "weights", "index": [0, 0]}
    assert "Each is a product: the input, then for each layer" in words(request, post)


@pytest.mark.parametrize("focus", [None, {"layer": 0, "parameter": "bias", "index": [0]}])
def test_given_derivatives_come_from_no_loss(post: Any, focus: Any) -> None:
    request = one_layer("tanh", None, [], output_gradients=[[1, 0], [0.5, -1]], focus=focus)
    told = words({key: value for key, value in request.items() if key not in ("loss", "targets")}, post)
    assert "L stands for the sum of the outputs" in told and "given" in told
    assert "to the loss" not in told and "which the loss gives" not in told


def test_softmin_leaves_target_minus_output(post: Any) -> None:
    told = words(one_layer("softmin", "cross_entropy", [0, 1]), post)
    assert "target minus output remains" in told and "leave output minus target. After softmin, it is minus" in told
    told = words(one_layer("softmax", "cross_entropy", [0, 1]), post)
    assert "output minus target remains" in told and "softmin" not in told


def test_products_and_sums_are_spoken_of_where_they_are(client: Any, post: Any) -> None:
    one = one_layer("tanh", "mse", [[1]])
    one["network"] = {
        "layers": [*one["network"]["layers"], {"weights": [[0.5], [1]], "bias": [0], "activation": "tanh"}]
    }
    one["inputs"] = one["inputs"][:1]
    told = words(one, post)
    assert "first factor of each" not in told and "not along one weight alone" not in told
    assert "Layer 2 has a single unit" in told
    told = words(example(client, "batch"), post)
    assert "first factor of each" in told and "not along one weight alone" in told


def test_the_error_goes_back_along_the_old_weights(client: Any, post: Any) -> None:
    """Which the update has just replaced, where there is one."""
    request = example(client, "textbook")
    old = "the weights of this layer as they were before the update, and what it has itself"
    assert old in words(request, post)
    request["network"]["layers"][2]["frozen"] = ["weights"]
    for unchanged in (request, example(client, "textbook") | {"optimizer": None}):
        told = words(unchanged, post)
        assert "the weights of this layer, and what it has itself" in told and "before the update" not in told


@pytest.mark.parametrize("focus", [None, {"layer": 0, "parameter": "bias", "index": [0]}])
def test_letters_and_signs_are_explained_first(client: Any, post: Any, focus: Any) -> None:
    steps = steps_of(post("/v1/explain", example(client, "textbook") | {"focus": focus}))
    legend = next(i for i, step in enumerate(steps) if "⊙ multiplies number by number" in step["text"])
    assert all(step["latex"] is None or focus for step in steps[:legend]) and legend < 2


@pytest.mark.parametrize("focus", [None, {"layer": 0, "parameter": "weights", "index": [0, 1]}])
def test_a_later_step_says_which_it_is_and_what_was_kept(client: Any, post: Any, focus: Any) -> None:
    """The buffer of momentum is called by its parameter: b alone is a bias."""
    momentum = {"kind": "sgd", "momentum": 0.9, "dampening": 0.25}
    for optimizer, first, second in (
        (momentum, "is g itself in the first step:", "momentum * b, of the step before, and (1 - dampening) * g:"),
        ("adam", "in step t = 1, ", "in step t = 2, "),
    ):
        request = example(client, "textbook") | {"optimizer": optimizer, "focus": focus}
        assert first in words(request, post) and second not in words(request, post)
        step = {key: value for key, value in request.items() if key not in ("focus", "include")}
        request["optimizer_state"] = post("/v1/step", step)["optimizer_state"]
        told = words(request, post)
        assert second in told and first not in told
        if optimizer is momentum:
            assert r"b_{W^{(1)}" in told and r" = 0.9 \cdot" in told and r" + 0.75 \cdot" in told
        check_all_forms(client, post, request)


@pytest.mark.parametrize("optimizer", [kind_of(rule) for rule in get_args(Optimizer)])
def test_letters_of_what_is_kept_are_in_the_formula(post: Any, optimizer: str) -> None:
    chosen = {"kind": optimizer} | ({"momentum": 0.9} if optimizer in ("sgd", "rmsprop") else {})
    steps = steps_of(post("/v1/explain", one_layer("identity", "mse", [[0, 1], [1, 0]], optimizer=chosen)))
    [rule] = [step["text"] for step in steps if step["text"].startswith("The optimizer is")]
    letters = {step["text"].split(", the ")[1].split()[0] for step in steps if "of its formula:" in step["text"]}
    assert all(re.search(rf"\b{letter}\b", rule) for letter in letters), letters
    assert bool(letters) is (optimizer != "asgd")
    assert ("t the number of the step" in rule) is any("in step t = 1" in step["text"] for step in steps)


def test_a_clipped_gradient_of_a_focus_says_by_what_it_was_clipped(client: Any, post: Any) -> None:
    focus = {"layer": 2, "parameter": "bias", "index": [0]}
    request = example(client, "textbook") | {"focus": focus, "gradient_clipping": {"kind": "norm", "max_norm": 0.1}}
    steps = steps_of(post("/v1/explain", request))
    norm, factor, gradient = (
        next(step["value"] for step in steps if step["text"].startswith(start))
        for start in ("The length of all gradients", "Every gradient is multiplied", "After clipping")
    )
    assert norm == post("/v1/step", {k: v for k, v in request.items() if k != "focus"})["gradient_norm"]
    assert factor == 0.1 / (norm + 1e-6) and np.isclose(gradient, -0.801553105767269 * factor, rtol=1e-15)
    assert "Here max_norm = 0.1." in words(request, post)


@pytest.mark.parametrize("focus", [None, {"layer": 0, "parameter": "weights", "index": [0, 0]}])
def test_a_penalty_beside_given_derivatives_is_told(client: Any, post: Any, focus: Any) -> None:
    request = one_layer("tanh", None, [], output_gradients=[[1, 0], [0.5, -1]], focus=focus)
    request = {key: value for key, value in request.items() if key not in ("loss", "targets")}
    told = words(request | {"regularization": {"l1": 0.5, "l2": 0.25}}, post)
    assert "each times the number given for it, plus the penalty." in told
    assert focus or r"= 0.5 \cdot 1.1 + 0.125 \cdot 0.39 = 0.59875" in told
    assert "penalty" not in words(request, post)
    check_all_forms(client, post, request)


def test_a_choice_of_units_is_said(post: Any) -> None:
    def told(units: int, activation: str, layer: int, loss: str = "mse") -> str:
        square = {"weights": np.linspace(-1, 1, units**2).reshape(units, units).tolist(), "bias": None}
        layers = [square | {"activation": kind} for kind in ("tanh", activation, "softmax")]
        focus = {"layer": layer, "parameter": "weights", "index": [0, 1]}
        inputs = np.linspace(0, 1, units).tolist()
        request = {"network": {"layers": layers}, "inputs": [inputs], "targets": [inputs], "loss": loss, "focus": focus}
        return words(request, post)

    choice = "those with the largest errors are told one by one."
    assert told(6, "relu", 0).count(choice) == 2 and told(6, "relu", 0, "cross_entropy").count(choice) == 1
    assert "Of the 6 units, those are told from which most of the error of unit 2 comes." in told(6, "softmax", 1)
    assert "Of the " not in told(4, "softmax", 0) and "Of the " not in told(6, "relu", 2)
