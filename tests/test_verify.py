"""POST /v1/verify against a real server."""

import base64
import dataclasses
import json
from typing import Any, get_args, get_type_hints

import httpx
import numpy as np
import pytest

from engine.mistakes import Mistake
from schemas.mistake_words import CHOICES, WHERE
from schemas.remedies import REMEDIES
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def request_of(client: httpx.Client) -> Any:
    """The textbook step as a verify request, with claims."""
    textbook = client.get("/v1/examples/textbook").json()["request"]
    return lambda claimed, **fields: {**textbook, **fields, "claimed": claimed}


@pytest.fixture(scope="module")
def step(client: httpx.Client, request_of: Any) -> dict[str, Any]:
    request = request_of(None)
    del request["claimed"]
    answer: dict[str, Any] = client.post("/v1/step", json=request).json()
    return answer


def of(answer: dict[str, Any], pointer: str) -> dict[str, Any]:
    (comparison,) = [c for c in answer["comparisons"] if c["pointer"] == pointer]
    return comparison


def mistakes(answer: dict[str, Any]) -> list[str]:
    return [d["mistake"] for d in answer["diagnoses"]]


def test_an_answer_of_this_service_is_a_match_as_it_came(post: Any, request_of: Any, step: dict[str, Any]) -> None:
    answer = post("/v1/verify", request_of(step))
    assert answer["verdict"] == "match" and not answer["diagnoses"] and answer["first_mismatch"] is None
    pointers = [c["pointer"] for c in answer["comparisons"]]
    assert len(pointers) == 6 + 12 + 6 + 7 and pointers[0] == "/layers/0/preactivations"
    assert pointers[-1] == "/update_norm" and "/network/layers/2/bias" in pointers
    assert all(c["max_absolute_error"] == 0 and c["mismatched"] == 0 for c in answer["comparisons"])


@pytest.mark.parametrize(
    ("claim", "code", "pointer"),
    [
        ({"dtype": "float64", "shape": [1] * 5, "base64": "AAAAAAAA8D8="}, "wrong_dimensions", "/shape"),
        ([0.5, [[[1]]], 0.5], "ragged_array", "/1"),
        ([[[[1]]], 0.5, 0.5], "ragged_array", "/0"),
        ([[[1], [2]], 3], "ragged_array", "/1"),
        ([3, [1], [2]], "ragged_array", "/0"),
    ],
)
def test_claims_that_are_no_arrays(client: httpx.Client, request_of: Any, claim: Any, code: str, pointer: str) -> None:
    response = client.post("/v1/verify", json=request_of({"loss": claim}))
    assert response.status_code == 422
    error = response.json()["errors"][0]
    assert (error["code"], error["pointer"]) == (code, f"/claimed/loss{pointer}")


def test_without_claims_the_answer_is_the_certificate(post: Any, request_of: Any) -> None:
    answer = post("/v1/verify", {k: v for k, v in request_of(None).items() if k != "claimed"})
    assert answer["verdict"] == "match" and answer["comparisons"] == answer["diagnoses"] == []
    certificate = answer["certificate"]
    assert certificate["verdict"] == "match" and certificate["complex_step"]["max_relative_error"] < 1e-9
    assert certificate["taylor"]["order"] == pytest.approx(2, abs=0.1)


def test_the_textbooks_numbers(client: httpx.Client) -> None:
    example = client.get("/v1/examples/textbook_claims").json()
    answer = client.post(example["endpoint"], json=example["request"]).json()
    explained = {}
    for d in answer["diagnoses"]:
        for pointer in d["explains"]:
            explained.setdefault(pointer, set()).add(d["mistake"])
    column = [f"/layers/2/gradients/weights/{i}/0" for i in range(3)]
    assert all(explained[pointer] == {"softmax_jacobian_diagonal_only"} for pointer in column)
    assert "softmax_derivative_twice" in explained["/layers/2/gradients/weights/1/1"]  # -0.301 for -1.4755
    assert explained["/layers/2/gradients/activations"] == {"binary_term_sign"}
    assert explained["/loss"] == {"logarithm_base", "digit_wrong"}
    assert explained["/layers/0/gradients/activations"] == {"diagonal_weights_only"}
    assert explained["/outputs"] == {"softmax_without_exponential"}
    assert explained["/layers/1/preactivations/0/2"] == {"digit_wrong"}
    shifted = ["1/weights/2/2", "2/weights/1/0", "2/weights/1/2", "2/weights/2/0", "2/weights/2/2"]
    assert all(explained[f"/network/layers/{place}"] == {"decimal_point_moved"} for place in shifted)
    (logarithm,) = [d for d in answer["diagnoses"] if d["mistake"] == "logarithm_base"]
    assert logarithm["parameters"]["base"] == 10 and logarithm["together_with"] == ["digit_wrong"]
    (diagonal,) = [d for d in answer["diagnoses"] if d["mistake"] == "diagonal_weights_only"]
    assert diagonal["layer"] == 1 and diagonal["from_claimed"]
    matches = {c["pointer"] for c in answer["comparisons"] if c["verdict"] == "match"}
    assert matches == {"/layers/0/activations", "/layers/1/activations", "/layers/2/preactivations"}
    assert "computed from rounded numbers" in of(answer, "/layers/2/preactivations")["rounding"]
    assert "follow from the claimed numbers" in of(answer, "/network/layers/0/weights")["message"]
    assert answer["first_mismatch"]["pointer"] == "/layers/1/preactivations/0/2"
    assert answer["first_mismatch"]["absolute_error"] == pytest.approx(0.003)
    assert answer["unexplained"] == ["/layers/1/gradients/activations"]
    assert answer["certificate"]["verdict"] == "match"


def test_the_textbooks_numbers_against_the_categorical_loss(client: httpx.Client) -> None:
    request = client.get("/v1/examples/textbook_claims").json()["request"]
    found = mistakes(client.post("/v1/verify", json={**request, "loss": "cross_entropy"}).json())
    assert {"binary_in_place_of_categorical", "logarithm_base", "softmax_jacobian_diagonal_only"} <= set(found)


def test_the_example_file_is_the_example(client: httpx.Client) -> None:
    example = client.get("/v1/examples/transposed_claims").json()["request"]
    assert json.loads((ROOT / "examples" / "transposed.json").read_text()) == example


@pytest.mark.parametrize("layout", ["inputs_by_units", "units_by_inputs"])
def test_a_transposed_gradient_in_either_layout(client: httpx.Client, layout: str) -> None:
    weights = [[0.1, -0.4], [0.7, 0.3], [-0.2, 0.6]]
    turn = layout == "units_by_inputs"
    layer = {"weights": np.array(weights).T.tolist() if turn else weights, "bias": [0.1, 0.2], "activation": "tanh"}
    request = {
        "network": {"layers": [layer], "weights_layout": layout},
        "inputs": [[1.0, 2.0, -1.0], [0.5, -0.3, 0.8]],
        "targets": [[0.5, 0.1], [-0.2, 0.9]],
        "loss": "mse",
    }
    right = client.post("/v1/backward", json=request).json()["layers"][0]["gradients"]["weights"]
    claimed = {"layers": [{"gradients": {"weights": np.array(right).T.tolist()}}]}
    answer = client.post("/v1/verify", json={**request, "claimed": claimed}).json()
    (comparison,) = answer["comparisons"]
    assert comparison["verdict"] == "mismatch" and "the transpose" in comparison["message"]
    assert "The numbers themselves agree" in comparison["message"]
    assert comparison["expected_shape"] == ([2, 3] if turn else [3, 2])
    assert comparison["claimed_shape"] == ([3, 2] if turn else [2, 3])
    assert mistakes(answer) == ["gradient_transposed"]
    # One number wrong: its place is that of the request's layout.
    changed = np.array(right)
    place = (1, 2) if turn else (2, 1)
    changed[place] += 1
    wrong = client.post(
        "/v1/verify", json={**request, "claimed": {"layers": [{"gradients": {"weights": changed.tolist()}}]}}
    ).json()
    assert wrong["comparisons"][0]["worst"]["index"] == list(place)
    assert wrong["first_mismatch"]["pointer"] == f"/layers/0/gradients/weights/{place[0]}/{place[1]}"


SHAPES = [
    ("/layers/2/gradients/bias", lambda b: [b], "matrix of one row"),
    ("/layers/2/gradients/bias", lambda b: [[x] for x in b], "matrix of one column"),
    ("/layers/2/activations", lambda a: a[0], "batch axis is missing"),
    ("/outputs", lambda a: a[0], "batch axis is missing"),
    ("/outputs", lambda a: [a], "one dimension too many"),
    ("/layers/1/gradients/weights", lambda w: [x for row in w for x in row], "right count of numbers"),
    ("/loss", lambda loss: [loss], "leave out the brackets"),
    ("/input_gradients", lambda g: [[*g[0], 1.0]], "An array of shape [1, 3] was expected"),
    ("/layers/0/gradients/weights", lambda w: 0.5, "An array of shape [3, 3] was expected"),
]


@pytest.mark.parametrize(("pointer", "change", "message"), SHAPES, ids=lambda x: x if isinstance(x, str) else "")
def test_a_claim_of_the_wrong_shape_is_a_mismatch_that_helps(
    post: Any, request_of: Any, step: dict[str, Any], pointer: str, change: Any, message: str
) -> None:
    claimed = json.loads(json.dumps(step))
    *path, last = pointer.strip("/").split("/")
    place = claimed
    for part in path:
        place = place[int(part) if part.isdigit() else part]
    place[last] = change(place[last])
    answer = post("/v1/verify", request_of(claimed))
    wrong = [c for c in answer["comparisons"] if c["verdict"] == "mismatch"]
    assert [c["pointer"] for c in wrong] == [pointer]
    assert message in wrong[0]["message"] and wrong[0]["worst"] is None
    assert "The numbers differ" not in wrong[0]["message"]
    assert answer["first_mismatch"] == {
        "pointer": pointer, "expected": None, "claimed": None, "absolute_error": None, "relative_error": None
    }  # fmt: skip


@pytest.mark.parametrize("layout", ["inputs_by_units", "units_by_inputs"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: [w], "a pair of brackets around it. The numbers themselves agree."),
        (lambda w: np.ravel(w).tolist(), "{} was expected, not [6]. The numbers themselves agree."),
        (lambda w: [w, np.zeros_like(w).tolist()], "sum over the batch. The numbers themselves agree."),
        (lambda w: [[1, 2]], "An array of shape {} was expected here, and this one has shape [1, 2]."),
    ],
)
def test_weights_of_a_wrong_shape_are_told_in_their_layout(post: Any, layout: str, change: Any, message: str) -> None:
    turn = np.transpose if layout == "units_by_inputs" else np.array
    layer = {"weights": turn([[0.1, -0.4], [0.7, 0.3], [-0.2, 0.6]]).tolist(), "bias": None, "activation": "tanh"}
    request = {
        "network": {"layers": [layer], "weights_layout": layout},
        "inputs": [[1.0, 2.0, -1.0], [0.5, -0.3, 0.8]],
        "output_gradients": [[0.5, 0.1], [-0.2, 0.9]],
    }
    right = post("/v1/backward", request)["layers"][0]["gradients"]["weights"]
    claimed = {"layers": [{"gradients": {"weights": change(right)}}]}
    (comparison,) = post("/v1/verify", {**request, "claimed": claimed})["comparisons"]
    assert comparison["message"].endswith(message.format(list(np.shape(right))))
    assert comparison["expected_shape"] == list(np.shape(right))


def test_examples_own_gradients_are_told_from_their_mean(post: Any) -> None:
    request = {
        "network": {"layers": [{"weights": [[0.5, -1], [0.2, 0.4]], "bias": [0.1, 0], "activation": "tanh"}]},
        "inputs": [[1, 2], [3, -1], [0.5, 0.1]],
        "targets": [[0, 1], [1, 0], [1, 1]],
        "loss": "mse",
    }
    own = post("/v1/backward", {**request, "per_example": True})["layers"][0]["per_example_gradients"]
    for comparison in post("/v1/verify", {**request, "claimed": {"layers": [{"gradients": own}]}})["comparisons"]:
        assert "These are 3 " in comparison["message"]
        assert comparison["message"].endswith("their mean over the batch. The numbers themselves agree.")


def test_a_bias_gradient_that_is_not_summed(post: Any) -> None:
    request = {
        "network": {"layers": [{"weights": [[0.5, -1], [0.2, 0.4]], "bias": [0.1, 0], "activation": "sigmoid"}]},
        "inputs": [[1, 2], [3, -1], [0.5, 0.1]],
        "targets": [[0, 1], [1, 0], [1, 1]],
        "loss": "binary_cross_entropy",
    }
    error = post("/v1/backward", request)["layers"][0]["gradients"]["preactivations"]
    answer = post("/v1/verify", {**request, "claimed": {"layers": [{"gradients": {"bias": error}}]}})
    assert "their sum over the batch. The numbers themselves agree." in answer["comparisons"][0]["message"]
    assert mistakes(answer)[0] == "bias_gradient_not_summed"


def test_a_bias_where_there_is_none_is_a_mismatch(post: Any, request_of: Any) -> None:
    request = request_of({"layers": [{"gradients": {"bias": [0.0, 0.0, 0.0]}}, None, None]})
    request["network"] = {"layers": [{**layer, "bias": None} for layer in request["network"]["layers"]]}
    (comparison,) = post("/v1/verify", request)["comparisons"]
    assert comparison["verdict"] == "mismatch" and comparison["message"] == "There is no bias here."
    gradients = request_of({"example_losses": [1.0]}, output_gradients=[[1.0, 0.0, 0.0]])
    del gradients["targets"], gradients["loss"]
    (comparison,) = post("/v1/verify", gradients)["comparisons"]
    assert comparison["message"] == "There are no example losses here."


def test_base64_and_float32_claims(post: Any, request_of: Any, step: dict[str, Any]) -> None:
    def tensor(values: Any) -> dict[str, Any]:
        array = np.array(values, "<f4")
        return {"dtype": "float32", "shape": list(array.shape), "base64": base64.b64encode(array.tobytes()).decode()}

    weights = [layer["gradients"]["weights"] for layer in step["layers"]]
    claimed = {"layers": [{"gradients": {"weights": tensor(w)}} for w in weights]}
    answer = post("/v1/verify", request_of(claimed))
    assert answer["verdict"] == "match" and mistakes(answer) == ["float32_in_place_of_float64"]
    assert {c["rounding"] for c in answer["comparisons"]} == {"float32"}
    # A request in float32 is compared as float32 is.
    assert post("/v1/verify", request_of(step, dtype="float32"))["verdict"] == "match"


def test_the_optimizers_state_is_honored(post: Any, request_of: Any) -> None:
    request = request_of(None, optimizer={"kind": "adam", "learning_rate": 0.01})
    del request["claimed"]
    first = post("/v1/step", request)
    request |= {"network": first["network"], "optimizer_state": first["optimizer_state"]}
    second = post("/v1/step", request)
    assert post("/v1/verify", {**request, "claimed": second})["verdict"] == "match"
    afresh = post("/v1/step", {**request, "optimizer_state": None})
    answer = post("/v1/verify", {**request, "claimed": {"network": afresh["network"]}})
    assert mistakes(answer)[0] == "optimizer_state_not_kept"


def test_a_mistake_in_one_layer_says_which(post: Any, request_of: Any, step: dict[str, Any]) -> None:
    layers: list[Any] = [None, {"gradients": {"bias": [0.0, 0.0, 0.0]}}, {"gradients": step["layers"][2]["gradients"]}]
    layers[0] = {"gradients": step["layers"][0]["gradients"]}
    answer = post("/v1/verify", request_of({"layers": layers}))
    first = answer["diagnoses"][0]
    assert first["mistake"] == "bias_gradient_missing" and first["layer"] == 1
    assert first["explains"] == ["/layers/1/gradients/bias"] and first["residual"] == 0
    assert first["explanation"].endswith(
        "in layer 1 only. Made on purpose, it gives the claimed numbers of /layers/1/gradients/bias exactly. "
        "Take the sum of the layer's errors over the examples: dz.sum(axis=0)."
    )


def test_sigmoid_in_place_of_the_outputs_softmax(post: Any, request_of: Any) -> None:
    """Its error is y - t as well; the loss that goes with it is another mistake."""
    request = request_of(None)
    del request["claimed"]
    *hidden, last = request["network"]["layers"]
    other = {
        "network": {**request["network"], "layers": [*hidden, last | {"activation": "sigmoid"}]},
        "loss": {"kind": "binary_cross_entropy", "reduction": "sum"},
    }
    made = post("/v1/step", request | other)
    gradients = [
        {"gradients": {name: layer["gradients"][name] for name in ("weights", "bias")}} for layer in made["layers"]
    ]
    claimed = {"outputs": made["outputs"], "loss": made["loss"], "layers": gradients}
    first, second = post("/v1/verify", {**request, "claimed": claimed})["diagnoses"]
    assert (first["mistake"], first["parameters"]) == ("other_activation", {"to": "sigmoid", "of": "both"})
    assert first["layer"] == 2 and len(first["explains"]) == 7
    assert (second["mistake"], second["explains"]) == ("binary_in_place_of_categorical", ["/loss"])


def test_every_choice_of_where_has_its_words() -> None:
    choices = set()
    for rule in get_args(Mistake):
        at = get_type_hints(rule).get("at")
        choices |= set(get_args(at)) if at is not None else set()
    assert choices - {"both"} == set(WHERE)


def test_every_other_choice_has_its_words_and_every_mistake_a_remedy() -> None:
    clauses: dict[str, set[str] | None] = {}
    for rule in get_args(Mistake):
        for field in dataclasses.fields(rule):
            if field.name not in ("kind", "at", "layer"):
                values = set(get_args(get_type_hints(rule)[field.name]))
                name = f"{rule().kind}.{field.name}"
                clauses[name] = values if not isinstance(CHOICES[name], str) else None
    assert set(clauses) == set(CHOICES)
    assert all(values is None or values == set(CHOICES[name]) for name, values in clauses.items())
    assert {rule().kind for rule in get_args(Mistake)} == set(REMEDIES)


def test_a_choice_is_told_in_words(post: Any, request_of: Any) -> None:
    request = request_of(None, optimizer={"kind": "adam", "learning_rate": 0.01})
    del request["claimed"]
    right = post("/v1/step", request)
    old = np.array(request["network"]["layers"][2]["weights"])
    gradient = np.array(right["layers"][2]["gradients"]["weights"])
    m, v = 0.1 * gradient, 0.001 * (0.1 * gradient) ** 2
    new = old - 0.01 * (m / 0.1) / (np.sqrt(v / 0.001) + 1e-8)
    layers = [*right["network"]["layers"][:2], {"weights": new.tolist()}]
    answer = post("/v1/verify", {**request, "claimed": {"network": {"layers": [None, None, layers[2]]}}})
    first, other = answer["diagnoses"]
    assert other["parameters"] == {"form": "corrected_by_first"}  # of a first step the same numbers
    assert first["mistake"] == "adaptive_step_mixed_up" and first["parameters"] == {"form": "square_of_average"}
    assert "Here v averages m^2, the square of the first average, not g^2." in first["explanation"]
    assert "square_of_average" not in first["explanation"] and "`form`" not in first["explanation"]


MALFORMED = [
    ({"outputs": [[0.1, 0.2], [0.3]]}, "/claimed/outputs/1", "ragged_array"),
    ({"outputs": [["0.1"]]}, "/claimed/outputs/0/0", "not_a_number"),
    ({"outputs": []}, "/claimed/outputs", "empty_array"),
    ({"loss": "1.6"}, "/claimed/loss", "wrong_type"),
    ({"los": 1.6}, "/claimed/los", "unknown_field"),
    ({"layers": [None]}, "/claimed/layers", "shape_mismatch"),
    ({"layers": [{"gradients": {"weight": [[1]]}}, None, None]}, "/claimed/layers/0/gradients/weight", "unknown_field"),
    ({"outputs": [[[1.0], [2.0]], [[1.0]]]}, "/claimed/outputs/1", "ragged_array"),
    ({"outputs": [[[[[1.0]]]]]}, "/claimed/outputs/0/0", "wrong_dimensions"),
    ({"outputs": [[[1.0], 2.0]]}, "/claimed/outputs/0/1", "ragged_array"),
]


@pytest.mark.parametrize(("claimed", "pointer", "code"), MALFORMED)
def test_malformed_claims(client: httpx.Client, request_of: Any, claimed: Any, pointer: str, code: str) -> None:
    response = client.post("/v1/verify", json=request_of(claimed))
    assert response.status_code == 422, response.text
    error = response.json()["errors"][0]
    assert (error["pointer"], error["code"]) == (pointer, code)


def test_parameters_after_a_step_need_an_optimizer(client: httpx.Client, request_of: Any, step: dict[str, Any]) -> None:
    request = request_of({"network": step["network"]})
    del request["optimizer"]
    response = client.post("/v1/verify", json=request)
    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == "/optimizer"


def test_extreme_claims_are_answered(post: Any, request_of: Any) -> None:
    for number in (1.7e308, -1.7e308, 5e-324, 0.0, 1e300):
        answer = post("/v1/verify", request_of({"loss": number, "outputs": [[number] * 3]}))
        assert answer["verdict"] == "mismatch" and len(answer["comparisons"]) == 2


@pytest.mark.parametrize("hidden", ["softmax", "softmin", "log_softmax"])
def test_a_hidden_softmax_of_another_width_than_the_batch(post: Any, hidden: str) -> None:
    """Rows divided by the batch's sums are tried where arrays of these shapes can be divided, in every layer."""
    layers = [{"weights": np.eye(2, 3).tolist(), "bias": None, "activation": hidden}]
    layers.append({"weights": np.eye(3, 2).tolist(), "bias": None, "activation": "identity"})
    asked = {"network": {"layers": layers}, "inputs": [[1, 2], [3, 5]], "targets": [[1, 0], [0, 1]], "loss": "mse"}
    claimed = {"layers": [None, {"gradients": {"preactivations": [[0.123456789, 0.1], [0.2, 0.3]]}}]}
    assert post("/v1/verify", asked | {"claimed": claimed})["verdict"] == "mismatch"


def test_tolerances_decide(post: Any, request_of: Any, step: dict[str, Any]) -> None:
    claimed = {"loss": step["loss"] * (1 + 1e-7)}
    assert post("/v1/verify", request_of(claimed))["verdict"] == "match"
    strict = {"relative_tolerance": 1e-9, "absolute_tolerance": 0.0}
    assert post("/v1/verify", request_of(claimed, **strict))["verdict"] == "mismatch"
    assert post("/v1/verify", request_of(step, **strict))["verdict"] == "match"


def test_what_is_not_compared_is_said(post: Any, request_of: Any) -> None:
    claimed = {"optimizer_state": {"step": 7}, "layers": [None, {"per_example_gradients": {"weights": [[[1]]]}}, None]}
    answer = post("/v1/verify", {**request_of("textbook"), "claimed": claimed})
    assert answer["not_compared"] == ["/optimizer_state", "/layers/1/per_example_gradients"]
    assert answer["comparisons"] == []


def test_a_claimed_layer_of_another_make_is_said_to_be_not_compared(post: Any, request_of: Any, step: Any) -> None:
    network = step["network"]
    answer = post("/v1/verify", request_of({"network": network, "layers": step["layers"]}))
    assert (answer["verdict"], answer["not_compared"]) == ("match", [])
    layers = [dict(layer) for layer in network["layers"]]
    layers[0]["activation"] = "tanh"
    layers[1] |= {"activation": "relu6", "name": "another", "frozen": ["bias"]}
    layers[2] |= {"activation": {"kind": "softmaxx"}, "kind": 7, "frozen": 7}
    claimed = {"network": {**network, "layers": layers}, "layers": [{"name": "first"}, {"name": "layers.1"}, None]}
    answer = post("/v1/verify", request_of(claimed))
    assert answer["verdict"] == "match"
    assert answer["not_compared"] == [
        "/layers/0/name",
        "/network/layers/0/activation",
        *(f"/network/layers/1/{field}" for field in ("activation", "name", "frozen")),
        *(f"/network/layers/2/{field}" for field in ("kind", "activation", "frozen")),
    ]


def test_a_claimed_activation_with_a_field_that_there_is_not(post: Any, request_of: Any, step: Any) -> None:
    layers = [{"activation": {**layer["activation"], "temperature": 2}} for layer in step["network"]["layers"]]
    answer = post("/v1/verify", request_of({"network": {"layers": layers}}))
    assert answer["not_compared"] == [f"/network/layers/{i}/activation" for i in range(len(layers))]


@pytest.mark.parametrize(
    ("loss", "told"),
    [
        (1.617, "rounded to 3 decimals"),
        (1.62, "rounded to 3 digits"),
        (1.61, "rounded or cut off at 3 digits"),
        (1.618, "within one in the last of 4 digits"),
    ],
)
def test_how_a_number_was_printed_is_told(post: Any, request_of: Any, loss: float, told: str) -> None:
    (compared,) = post("/v1/verify", request_of({"loss": loss}))["comparisons"]
    assert (compared["verdict"], compared["rounding"]) == ("match", told)


def test_a_number_is_not_taken_as_rounded_where_a_small_tolerance_is_meant(post: Any, request_of: Any) -> None:
    rounded = request_of({"loss": 1.62, "outputs": [[0.2, 0.29, 0.52]]})
    for tolerance in (1e-7, 0):
        assert post("/v1/verify", {**rounded, "relative_tolerance": tolerance})["verdict"] == "mismatch"


@pytest.mark.parametrize("tolerance", [1e-6, 0])
def test_an_answer_in_float32_is_a_match_at_any_tolerance(post: Any, request_of: Any, tolerance: float) -> None:
    asked = {**request_of(None), "dtype": "float32"}
    asked.pop("claimed")
    claimed = post("/v1/step", asked)
    verified = post("/v1/verify", {**asked, "claimed": claimed, "relative_tolerance": tolerance})
    assert verified["verdict"] == "match"


def test_the_catalog_lists_the_mistakes(client: httpx.Client) -> None:
    entries = client.get("/v1/catalog").json()["mistakes"]
    assert len(entries) > 55 and len({e["kind"] for e in entries}) == len(entries)
    for entry in entries:
        assert entry["title"] and entry["formula"]["latex"] and len(entry["notes"]) > 20 and entry["source"]
