"""The certificate: it agrees with every rule, shares no code with them, and each of its means can fail."""

import ast
import inspect
import math
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

import engine.certificate
from engine import activations, losses, optimizers
from engine.certificate import Certificate, certify
from engine.certificate.activations import FORMS, erfc, pieces
from engine.certificate.surroundings import IMAGINARY, surroundings
from engine.errors import EngineError
from engine.layers import Dense
from engine.network import Gradients, LayerGradients, Network, forward
from engine.objective import LossObjective, Objective, VectorObjective
from engine.regularization import Regularization
from engine.rules import Array
from engine.step import differentiate
from schemas.answers import write
from schemas.certificate import MOST_KINKS, CertificateModel, certificate_of, certificate_to_wire
from schemas.network import Layout
from schemas.requests import OptionalStepRequest
from schemas.rules import kind_of

ACTIVATIONS, LOSSES = get_args(activations.Activation), get_args(losses.Loss)
SOURCES = sorted(Path(engine.certificate.__file__).parent.glob("*.py"))
BATCH, OUTPUTS = 5, 4


def targets_for(loss: Any, random: np.random.Generator) -> Array:
    match loss.kind:
        case "cross_entropy" | "focal" | "negative_log_likelihood" | "kl_divergence" | "binary_cross_entropy":
            return random.dirichlet(np.ones(OUTPUTS), BATCH)
        case "multi_margin" | "categorical_hinge":
            return np.eye(OUTPUTS)[random.integers(0, OUTPUTS, BATCH)]
        case "hinge" | "squared_hinge":
            return random.choice([-1.0, 1.0], (BATCH, OUTPUTS))
        case _:
            return random.normal(size=(BATCH, OUTPUTS))


OPTIONS: list[dict[str, Any]] = [
    {"reduction": "mean", "class_weights": (0.5, 1.0, 2.0, 0.3)},
    {"reduction": "batch_mean", "from_logits": True, "label_smoothing": 0.1, "p": 2, "log_input": False, "full": True},
    {
        "reduction": "sum",
        "class_weights": (0.5, 1.0, 2.0, 0.3),
        "label_smoothing": 0.2,
        "log_target": True,
        "gamma": 0.5,
    },
    {"reduction": "mean", "delta": 0.3, "beta": 0.0, "gamma": 0.0},
]


def problem(
    last: Any, loss: Any, seed: int, scale: float = 1.0
) -> tuple[Network, Array, LossObjective, Regularization | None]:
    """Two hidden layers of any activations, sample weights and a penalty for some seeds."""
    random = np.random.default_rng(seed)
    hidden = [ACTIVATIONS[int(i)]() for i in random.integers(0, len(ACTIVATIONS), 2)]
    rules = [*hidden, last]
    layers = [
        Dense(scale * random.normal(size=(i, j)), random.normal(size=j) if random.random() < 0.8 else None, rule)
        for (i, j), rule in zip(pairwise([3, 5, 4, OUTPUTS]), rules, strict=True)
    ]
    targets = targets_for(loss, random)
    if loss.takes_labels and seed % 2:
        targets = random.integers(0, OUTPUTS, BATCH)
    weights = random.uniform(0.1, 2, BATCH) if seed % 3 == 0 else None
    penalty = Regularization(0.01, 0.02) if seed % 4 == 1 else None
    return Network(tuple(layers)), random.normal(size=(BATCH, 3)), LossObjective(loss, targets, weights), penalty


@pytest.mark.parametrize("last", ACTIVATIONS, ids=kind_of)
def test_agrees_with_every_rule(last: Any) -> None:
    checked = set()
    for k, loss_rule in enumerate(LOSSES):
        for n in (0, 1 + (k + ACTIVATIONS.index(last)) % (len(OPTIONS) - 1)):
            options = OPTIONS[n]
            loss = loss_rule(**{name: v for name, v in options.items() if name in loss_rule.__dataclass_fields__})
            network, x, objective, penalty = problem(last(), loss, 100 * k + n)
            try:
                result = differentiate(network, x, objective, penalty)
            except EngineError:  # outputs that are no probabilities, overflows
                continue
            f = surroundings(network, x, objective, penalty)
            with np.errstate(all="ignore"):
                value = f.terms(f.base[np.newaxis]).sum() + f.penalty(f.base[np.newaxis])[0]
            assert value == pytest.approx(result.loss, rel=1e-9, abs=1e-12)
            found = certify(network, x, objective, result.gradients, penalty)
            assert found.verdict == "match", (loss, found)
            checked.add(loss.kind)
    assert len(checked) >= 13  # all but those that take probabilities
    assert checked == {kind_of(rule) for rule in LOSSES} or last().kind not in ("softmax", "softmin", "sigmoid")


@pytest.mark.parametrize("last", ACTIVATIONS, ids=kind_of)
def test_no_false_mismatch_far_out(last: Any) -> None:
    """Saturated, steep and overflowing networks may leave nothing to judge, and are never judged wrong."""
    for k, loss_rule in enumerate(LOSSES):
        network, x, objective, penalty = problem(last(), loss_rule(), 1000 + k, scale=8.0)
        try:
            result = differentiate(network, x, objective, penalty)
        except EngineError:
            continue
        assert certify(network, x, objective, result.gradients, penalty).verdict != "mismatch"


@pytest.mark.parametrize("scale", [5.0, 10.0, 20.0])
@pytest.mark.parametrize(
    ("last", "loss"),
    [
        (activations.Identity(), losses.CrossEntropy(from_logits=True)),
        (activations.Softmax(), losses.CrossEntropy()),
        (activations.Softmin(), losses.CrossEntropy()),
        (activations.Identity(), losses.BinaryCrossEntropy(from_logits=True)),
        (activations.Sigmoid(), losses.BinaryCrossEntropy()),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_answers_that_are_right_and_certain_are_no_mismatch(last: Any, loss: Any, scale: float) -> None:
    """Losses of 1e-10, as of a trained network: what is left of a logarithm near 0 must have its digits."""
    for seed in range(15):
        random = np.random.default_rng(seed)
        hidden = Dense(random.normal(size=(3, 4)), random.normal(size=4), activations.Tanh())
        top = Dense(scale * random.normal(size=(4, 3)), scale * random.normal(size=3), last)
        network, x = Network((hidden, top)), random.normal(size=(1, 3))
        y = forward(network, x)[-1].activations
        t = np.eye(3)[y.argmax(axis=1)]
        if loss.kind == "binary_cross_entropy":
            t = (y > (0 if loss.from_logits else 0.5)).astype(float)
        objective = LossObjective(loss, t)
        gradients = differentiate(network, x, objective).gradients
        assert certify(network, x, objective, gradients).verdict == "match"


@pytest.mark.parametrize(("seed", "gamma"), [(296, 5.0), (1774, 2.0), (3274, 2.0), (4617, 0.0)])
def test_a_loss_that_flattens_out_has_no_order_of_its_own(seed: int, gamma: float) -> None:
    """Along long steps such a loss goes to 0, and what is left of the remainder is the slope times the step."""
    random = np.random.default_rng(seed)
    hidden = Dense(random.normal(size=(3, 4)), random.normal(size=4), activations.Tanh())
    top = Dense(20 * random.normal(size=(4, 3)), 20 * random.normal(size=3), activations.Softmax())
    network, x = Network((hidden, top)), random.normal(size=(1, 3))
    objective = LossObjective(losses.Focal(gamma=gamma), forward(network, x)[-1].activations.argmax(axis=1))
    assert certify(network, x, objective, differentiate(network, x, objective).gradients).verdict == "match"


@pytest.mark.parametrize("scale", [1e-2, 1e-3, 1e-4])
def test_the_rounding_of_a_cosine_is_relative_to_the_length(scale: float) -> None:
    """Of a single output the cosine is 1 or -1, its derivative 0, and the terms of that are as large as 1 / |y|."""
    for seed in range(10):
        random = np.random.default_rng(seed)
        network = Network((Dense(scale * random.normal(size=(3, 1)), None, activations.Identity()),))
        x, objective = random.normal(size=(4, 3)), LossObjective(losses.CosineSimilarity(), random.normal(size=(4, 1)))
        assert certify(network, x, objective, differentiate(network, x, objective).gradients).verdict == "match"


def test_numbers_too_large_to_judge() -> None:
    network = Network((Dense(np.full((1, 1), 1e61), None, activations.Identity()),))
    objective = LossObjective(losses.HalfSquaredError(), np.zeros((1, 1)))
    gradients = differentiate(network, np.ones((1, 1)), objective).gradients
    found = certify(network, np.ones((1, 1)), objective, gradients)
    assert found.verdict == "undetermined" and "1e+60" in str(found.reason)


def test_every_activation_has_a_second_form() -> None:
    """A rule without one is certified by nobody: engine/certificate needs its formula once more."""
    assert set(FORMS) == {kind_of(rule) for rule in ACTIVATIONS}


def test_an_unknown_rule_is_said_to_be_unknown() -> None:
    network, x, objective, _ = smooth()
    new = activations.Tanh(kind="new")  # type: ignore[arg-type]
    layers = (*network.layers[:-1], Dense(network.layers[-1].weights, None, new))
    found = certify(Network(layers), x, objective, differentiate(network, x, objective).gradients)
    assert found.verdict == "undetermined" and found.reason and "new" in found.reason
    wire = certificate_to_wire(found, Layout("inputs_by_units"))
    assert wire["complex_step"] == {"applicable": False, "because": found.reason}
    CertificateModel.model_validate(wire)


def smooth(seed: int = 3) -> tuple[Network, Array, Objective, Gradients]:
    """A network without kinks, and its true gradients."""
    random = np.random.default_rng(seed)
    layers = [
        Dense(random.normal(size=(i, j)), random.normal(size=j), rule)
        for i, j, rule in ((3, 6, activations.Tanh()), (6, 5, activations.Gelu()), (5, 4, activations.Softmax()))
    ]
    network, x = Network(tuple(layers)), random.normal(size=(7, 3))
    objective = LossObjective(losses.CrossEntropy(), random.integers(0, 4, 7))
    return network, x, objective, differentiate(network, x, objective).gradients


def planted(gradients: Gradients, layer: int, change: Any) -> Gradients:
    """The gradients with one layer's weight gradient changed."""
    layers = list(gradients.layers)
    parameters = {**layers[layer].parameters, "weights": change(layers[layer].parameters["weights"].copy())}
    layers[layer] = LayerGradients(parameters, *layers[layer][1:])
    return Gradients(layers, gradients.inputs)


def one_wrong(weights: Array) -> Array:
    weights[1, 2] += 0.05
    return weights


@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("change", [lambda w: 1.1 * w, lambda w: -w, lambda w: 0 * w, np.roll, one_wrong])
def test_a_wrong_gradient_is_caught_by_each_of_the_means(layer: int, change: Any) -> None:
    network, x, objective, gradients = smooth()
    wrong = planted(gradients, layer, (lambda w: np.roll(w, 1, axis=0)) if change is np.roll else change)
    found = certify(network, x, objective, wrong)
    assert found.verdict == "mismatch"
    assert not found.central_differences.agrees and found.central_differences.max_relative_error > 1e-3
    assert not found.complex_step.agrees and found.complex_step.max_relative_error > 1e-3
    assert found.complex_step.worst[:4] == ("layers", layer, "gradients", "weights")
    assert not found.taylor.agrees and found.taylor.order == pytest.approx(1, abs=0.1)
    right = certify(network, x, objective, gradients)
    assert right.taylor.order == pytest.approx(2, abs=0.01)
    assert right.central_differences.max_relative_error < 1e-8 and right.complex_step.max_relative_error < 1e-12


def test_wrong_input_gradients_are_caught_too() -> None:
    network, x, objective, gradients = smooth()
    found = certify(network, x, objective, Gradients(gradients.layers, gradients.inputs * 1.01))
    assert not (found.central_differences.agrees or found.complex_step.agrees or found.taylor.agrees)
    assert found.complex_step.worst[0] == "input_gradients"


def test_a_tiny_error_is_seen_by_the_complex_step_alone() -> None:
    network, x, objective, gradients = smooth()
    found = certify(network, x, objective, planted(gradients, 1, lambda w: w * (1 + 1e-8)))
    assert found.verdict == "mismatch" and not found.complex_step.agrees


def test_products_with_a_vector() -> None:
    network, x, _, _ = smooth()
    objective = VectorObjective(np.random.default_rng(1).normal(size=(7, 4)))
    result = differentiate(network, x, objective)
    assert certify(network, x, objective, result.gradients).verdict == "match"
    wrong = planted(result.gradients, 0, lambda w: 1.01 * w)
    assert certify(network, x, objective, wrong).verdict == "mismatch"


def test_the_smooth_pieces_are_named() -> None:
    network, x, objective, gradients = smooth()
    assert certify(network, x, objective, gradients).complex_step.piecewise == []
    layers = (Dense(network.layers[0].weights, None, activations.Relu()), *network.layers[1:])
    result = differentiate(Network(layers), x, objective)
    assert certify(Network(layers), x, objective, result.gradients).complex_step.piecewise == ["relu"]


KINKS: list[tuple[Any, list[float]]] = [
    (activations.Relu(), [0]),
    (activations.Relu6(), [0, 6]),
    (activations.LeakyRelu(), [0]),
    (activations.Elu(alpha=0.5), [0]),
    (activations.Selu(), [0]),
    (activations.HardSigmoid(), [-3, 3]),
    (activations.HardTanh(min_val=-2), [-2, 1]),
    (activations.HardSwish(), [-3, 3]),
    (activations.HardShrink(), [-0.5, 0.5]),
    (activations.SoftShrink(), [-0.5, 0.5]),
    (activations.Threshold(), [1]),
    (activations.Softplus(), [20]),
]


@pytest.mark.parametrize(("rule", "places"), KINKS, ids=lambda value: getattr(value, "kind", ""))
def test_kinks_of_activations_are_listed_and_left_out(rule: Any, places: list[float]) -> None:
    for place in places:
        z = np.array([[place, 0.7, place + 0.3]])  # the first unit lies on the kink
        network = Network((Dense(np.eye(3), None, rule), Dense(np.ones((3, 1)), np.zeros(1), activations.Silu())))
        objective = LossObjective(losses.Mse(), np.array([[0.1]]))
        result = differentiate(network, z, objective)
        found = certify(network, z, objective, result.gradients)
        assert [(k.where, k.function) for k in found.kinks] == [(("layers", 0, "preactivations", 0, 0), rule.kind)]
        # That input, and the unit's weights from the inputs that are not 0.
        assert found.left_out == 1 + np.count_nonzero(z)
        assert found.verdict == "match"
        # What moves no kink is still checked.
        assert certify(network, z, objective, planted(result.gradients, 1, lambda w: -w)).verdict == "mismatch"


def smooth_at_0() -> list[Any]:
    listed = {kind_of(type(rule)) for rule, _ in KINKS}
    return [rule for rule in ACTIVATIONS if kind_of(rule) not in listed]


@pytest.mark.parametrize("rule", smooth_at_0(), ids=kind_of)
def test_no_kink_is_seen_where_there_is_none(rule: Any) -> None:
    z = np.array([[0.0, 0.5, -3.0]])
    network = Network((Dense(np.eye(3), None, rule()),))
    objective = LossObjective(losses.Mse(), np.array([[0.1, 0.2, 0.4]]))
    found = certify(network, z, objective, differentiate(network, z, objective).gradients)
    assert found.kinks == [] and found.left_out == 0 and found.verdict == "match"


@pytest.mark.parametrize(
    ("loss", "outputs", "targets", "on"),
    [
        (losses.Mae(), [1.0, 2.0, 3.0], [1.0, 0.0, 0.0], [0]),
        (losses.SmoothL1(beta=0.0), [1.0, 2.0, 3.0], [0.0, 2.0, 0.0], [1]),
        (losses.Hinge(), [1.0, 0.2, -1.0], [1.0, 1.0, -1.0], [0, 2]),
        (losses.MultiMargin(), [1.0, 2.0, 3.0], [0.0, 1.0, 0.0], [0]),
        (losses.MultiMargin(p=2), [1.0, 2.0, 3.0], [0.0, 1.0, 0.0], []),
        (losses.CategoricalHinge(), [2.0, 1.0, 2.0], [0.0, 1.0, 0.0], [0, 2]),
        (losses.CategoricalHinge(), [2.0, 3.0, 1.0], [0.0, 1.0, 0.0], [0, 1, 2]),
        (losses.SquaredHinge(), [1.0, 0.2, -1.0], [1.0, 1.0, -1.0], []),
        (losses.Huber(), [1.0, 2.0, 3.0], [0.0, 2.0, 0.0], []),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_kinks_of_losses(loss: Any, outputs: list[float], targets: list[float], on: list[int]) -> None:
    network = Network((Dense(np.eye(3), np.zeros(3), activations.Identity()),))
    x, objective = np.array([outputs]), LossObjective(loss, np.array([targets]))
    found = certify(network, x, objective, differentiate(network, x, objective).gradients)
    assert [k.where for k in found.kinks] == [("outputs", 0, j) for j in on]
    assert found.verdict == ("match" if len(on) < 3 else "undetermined")
    assert found.left_out == len(on) * (1 + 3 + 1)


def test_the_kinks_of_a_penalty() -> None:
    network, x, objective, _ = smooth()
    weights = network.layers[0].weights.copy()
    weights[2, 4] = 0
    network = Network((Dense(weights, None, activations.Tanh()), *network.layers[1:]))
    penalty = Regularization(l1=0.1)
    found = certify(network, x, objective, differentiate(network, x, objective, penalty).gradients, penalty)
    assert [k.where for k in found.kinks] == [("network", "layers", 0, "weights", 2, 4)]
    assert found.left_out == 1 and found.verdict == "match"
    assert (
        certificate_to_wire(found, Layout("units_by_inputs"))["kinks"][0]["pointer"] == "/network/layers/0/weights/4/2"
    )
    forgotten = differentiate(network, x, objective).gradients
    assert certify(network, x, objective, forgotten, penalty).verdict == "mismatch"


def test_where_all_lies_on_kinks_nothing_is_claimed() -> None:
    network = Network((Dense(np.ones((2, 1)), np.zeros(1), activations.Relu()),))
    x, objective = np.array([[1.0, -1.0]]), LossObjective(losses.Mse(), np.array([[1.0]]))
    found = certify(network, x, objective, differentiate(network, x, objective).gradients)
    assert found.verdict == "undetermined" and found.left_out == found.coordinates == 5


def test_a_large_network_is_sampled_and_a_single_wrong_layer_still_found() -> None:
    random = np.random.default_rng(0)
    sizes = [100, 80, 60, 10]
    rules = [activations.Relu(), activations.Tanh(), activations.Softmax()]
    layers = [
        Dense(random.normal(size=(i, j)) / math.sqrt(i), np.full(j, 0.1), rule)
        for (i, j), rule in zip(pairwise(sizes), rules, strict=True)
    ]
    network, x = Network(tuple(layers)), random.normal(size=(8, 100))
    objective = LossObjective(losses.CrossEntropy(), random.integers(0, 10, 8))
    gradients = differentiate(network, x, objective).gradients
    found = certify(network, x, objective, gradients)
    assert found.verdict == "match" and 8 <= found.complex_step.coordinates < found.coordinates
    assert found == certify(network, x, objective, gradients)
    assert certify(network, x, objective, planted(gradients, 0, lambda w: w * 1.001)).verdict == "mismatch"


def test_gradients_that_vanish_are_judged_by_their_own_size() -> None:
    random = np.random.default_rng(2)
    layers = tuple(Dense(random.normal(size=(4, 4)) / 2, np.zeros(4), activations.Sigmoid()) for _ in range(16))
    network, x = Network(layers), random.normal(size=(3, 4))
    objective = LossObjective(losses.Mse(), random.uniform(size=(3, 4)))
    gradients = differentiate(network, x, objective).gradients
    size = [np.abs(layer.parameters["weights"]).max() for layer in gradients.layers]
    assert size[0] < 1e-9 * size[-1]
    found = certify(network, x, objective, gradients)
    assert found.verdict == "match" and found.central_differences.unresolved > 0
    assert certify(network, x, objective, planted(gradients, 0, lambda w: w * 1.001)).complex_step.agrees is False


def test_erfc_of_complex_numbers() -> None:
    x = np.concatenate([np.linspace(-6, 6, 1201), np.linspace(6, 26, 101)])
    found = erfc(x + 1j * IMAGINARY)
    exact = np.array([math.erfc(v) for v in x])
    slope = -2 / math.sqrt(math.pi) * np.exp(-x * x)
    assert np.abs(found.real - exact).max() < 1e-15
    np.testing.assert_allclose(found.real, exact, rtol=2e-13)
    np.testing.assert_allclose((found.imag / IMAGINARY)[x < 13], slope[x < 13], rtol=1e-12)


@pytest.mark.parametrize("rule", ACTIVATIONS, ids=kind_of)
def test_second_forms_far_out(rule: Any) -> None:
    z = np.array([[-750.0, -40.0, -1e-9, 1e-9, 40.0, 700.0]])
    form = pieces(rule())
    assert form is not None
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(form.evaluate(z, form.which(z)), rule().forward(z), rtol=1e-12, atol=1e-15)
        assert np.isfinite(form.evaluate(z + 1j * IMAGINARY, form.which(z))).all()


def test_gelu_by_tanh_keeps_the_digits_of_its_lower_tail() -> None:
    rule, z = activations.Gelu(approximate="tanh"), np.array([[-9.0, -7.0, -5.0, -3.0, 0.5, 40.0]])
    form = pieces(rule)
    assert form is not None
    np.testing.assert_allclose(form.evaluate(z, form.which(z)), rule.forward(z), rtol=1e-12)


FORBIDDEN = {
    "forward", "backward", "gradient", "gradients_of", "logit_gradient", "probability_gradient", "parameter_gradients",
    "per_example_gradients", "input_gradients", "differentiate", "scaled_backward", "example_gradients", "check",
}  # fmt: skip
ALLOWED_MODULES = {
    "engine.errors", "engine.network", "engine.objective", "engine.regularization", "engine.rules",
}  # fmt: skip


def names_in(source: str) -> set[str]:
    """Every name that code calls, reads or imports; words in strings do not count."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.ImportFrom):
            names.update(alias.name for alias in node.names)
    return names


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_the_source_has_no_derivative_code_of_the_engine(path: Path) -> None:
    source = path.read_text()
    assert not names_in(source) & FORBIDDEN
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("engine"):
            assert node.module in ALLOWED_MODULES or str(node.module).startswith("engine.certificate")
    assert names_in("from engine.network import backward") & FORBIDDEN


def test_it_runs_without_the_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """With every method of every rule gone, the certificate is the same."""
    network, x, objective, gradients = smooth()
    before = certify(network, x, objective, gradients)

    def gone(*arguments: Any) -> None:
        raise AssertionError("the certificate called a rule")

    for rule in (*ACTIVATIONS, *LOSSES, *get_args(optimizers.Optimizer), Dense):
        for name, _ in inspect.getmembers(rule, inspect.isfunction):
            if not name.startswith("__"):
                monkeypatch.setattr(rule, name, gone)
    assert certify(network, x, objective, gradients) == before


REQUEST: dict[str, Any] = {
    "network": {
        "layers": [
            {"weights": [[0.5, -0.4], [0.3, 0.8]], "bias": [0, 0], "activation": "relu"},
            {"weights": [[0.7], [-0.2]], "bias": [0.1], "activation": "sigmoid"},
        ]
    },
    "inputs": [[0, 0], [1, -0.5]],
    "targets": [[1], [0]],
    "loss": "binary_cross_entropy",
}


@pytest.mark.parametrize("layout", ["inputs_by_units", "units_by_inputs"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_on_the_wire(layout: str, dtype: str) -> None:
    request: dict[str, Any] = {**REQUEST, "dtype": dtype}
    if layout == "units_by_inputs":
        layers = [
            {**layer, "weights": np.transpose(layer["weights"]).tolist()} for layer in REQUEST["network"]["layers"]
        ]
        request["network"] = {"layers": layers, "weights_layout": layout}
    answer = certificate_of(OptionalStepRequest.model_validate(request))
    CertificateModel.model_validate(answer)
    assert answer["verdict"] == "match" and answer["complex_step"]["max_relative_error"] < 1e-12
    # The first row gives both relu units exactly 0: their biases and that row's inputs are left out.
    assert [kink["pointer"] for kink in answer["kinks"]] == [
        "/layers/0/preactivations/0/0",
        "/layers/0/preactivations/0/1",
    ]
    assert answer["coordinates"] == {"total": 13, "left_out": 4}
    again = certificate_of(OptionalStepRequest.model_validate(request))
    assert write(answer) == write(again) and b"null" not in write({**answer, "reason": ""})


def test_many_kinks_make_no_long_answer() -> None:
    network = Network((Dense(np.zeros((2, 30)), np.zeros(30), activations.Relu()),))
    objective = LossObjective(losses.Mse(), np.ones((4, 30)))
    found: Certificate = certify(
        network, np.ones((4, 2)), objective, differentiate(network, np.ones((4, 2)), objective).gradients
    )
    wire = certificate_to_wire(found, Layout("inputs_by_units"))
    assert wire["kink_count"] == 120 and len(wire["kinks"]) == MOST_KINKS
