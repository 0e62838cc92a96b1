"""The optimizers against torch.optim, and what their states promise."""

import dataclasses
import inspect
import itertools
import json
import math
from collections.abc import Iterator
from typing import Any, get_args

import numpy as np
import pytest

from engine import optimizers
from engine.descent import State
from engine.errors import InvalidState, OutOfRange
from engine.optimizers import Optimizer
from engine.rules import Array, paragraphs

RULES = get_args(Optimizer)
assert RULES, "an empty union would make every test below pass"

STEPS = 12
TORCH_NAMES = {
    "sgd": "SGD",
    "adam": "Adam",
    "adamw": "AdamW",
    "adamax": "Adamax",
    "nadam": "NAdam",
    "radam": "RAdam",
    "rmsprop": "RMSprop",
    "adagrad": "Adagrad",
    "adadelta": "Adadelta",
    "rprop": "Rprop",
    "asgd": "ASGD",
}
BETAS = [(0.9, 0.999), (0.5, 0.8), (0.0, 0.0)]
DECAYS = [0.0, 0.1]
BOTH = [False, True]
CHOICES: dict[str, dict[str, list[Any]]] = {
    "sgd": {"momentum": [0.0, 0.9], "dampening": [0.0, 0.3], "nesterov": BOTH, "weight_decay": DECAYS},
    "adam": {"betas": BETAS, "eps": [1e-8, 1e-3], "weight_decay": DECAYS, "amsgrad": BOTH},
    "adamw": {"betas": BETAS, "eps": [1e-8, 1e-3], "weight_decay": [0.0, 0.01, 0.3], "amsgrad": BOTH},
    "adamax": {"betas": BETAS, "eps": [1e-8, 1e-3], "weight_decay": DECAYS},
    "nadam": {"betas": BETAS, "momentum_decay": [0.004, 0.5], "weight_decay": DECAYS, "decoupled_weight_decay": BOTH},
    "radam": {"betas": BETAS, "eps": [1e-8, 1e-3], "weight_decay": DECAYS, "decoupled_weight_decay": BOTH},
    "rmsprop": {"alpha": [0.99, 0.5], "momentum": [0.0, 0.9], "centered": BOTH, "weight_decay": DECAYS},
    "adagrad": {"lr_decay": [0.0, 0.2], "initial_accumulator_value": [0.0, 0.5], "weight_decay": DECAYS},
    "adadelta": {"rho": [0.9, 0.5], "eps": [1e-6, 1e-3], "weight_decay": DECAYS},
    "rprop": {"etas": [(0.5, 1.2), (0.3, 2.0)], "step_sizes": [(1e-6, 50.0), (5e-3, 2e-2)]},
    "asgd": {"lambd": [1e-4, 0.1], "alpha": [0.75, 0.5], "t0": [1e6, 3.0], "weight_decay": DECAYS},
    "lion": {"betas": [(0.9, 0.99), (0.5, 0.8)], "weight_decay": DECAYS},
}


def kind_of(rule: Any) -> str:
    kind: str = rule.__dataclass_fields__["kind"].default
    return kind


def variants(rule: Any) -> list[Any]:
    """The rule with its defaults and with every combination of the hyperparameters above that it allows."""
    choices = CHOICES[kind_of(rule)] | {"maximize": BOTH}
    made = [rule()]
    for values in itertools.product(*choices.values()):
        parameters = dict(zip(choices, values, strict=True))
        if not (parameters.get("nesterov") and (parameters["momentum"] == 0 or parameters["dampening"])):
            made.append(rule(learning_rate=0.05, **parameters))
    return made


VARIANTS = [variant for rule in RULES for variant in variants(rule)]


def problem(dtype: str = "float64", steps: int = STEPS, shape: tuple[int, ...] = (3, 4)) -> tuple[Array, list[Array]]:
    """Parameters, and a random gradient for each step."""
    random = np.random.default_rng(7)
    return random.normal(size=shape).astype(dtype), list(random.normal(size=(steps, *shape)).astype(dtype))


def run(optimizer: Optimizer, parameters: Array, gradients: list[Array]) -> tuple[Array, State]:
    state = optimizer.init(parameters)
    for g in gradients:
        parameters, state = optimizer.update(g, state, parameters)
    return parameters, state


def same_bits(a: State, b: State) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) and type(a[k]) is type(b[k]) for k in a)


def close(actual: Any, expected: Any, tolerance: float, name: str) -> None:
    """Relative, with room at a number that is small because larger ones cancelled."""
    largest = float(np.abs(expected).max())
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance * 0.1 * largest, err_msg=name)


@pytest.fixture
def torch() -> Iterator[Any]:
    """PyTorch, made to keep the numbers of its states (eta, mu_product) in float64."""
    module = pytest.importorskip("torch")
    before = module.get_default_dtype()
    module.set_default_dtype(module.float64)
    yield module
    module.set_default_dtype(before)


def torch_optimizer(torch: Any, optimizer: Any, parameters: Any) -> Any:
    fields = {f.name: getattr(optimizer, f.name) for f in dataclasses.fields(optimizer) if f.name != "kind"}
    rate = fields.pop("learning_rate")
    made = getattr(torch.optim, TORCH_NAMES[optimizer.kind])
    return made([parameters], lr=rate, foreach=False, **fields)


def test_every_optimizer_is_compared_but_the_one_that_pytorch_has_not() -> None:
    assert {kind_of(rule) for rule in RULES} == TORCH_NAMES.keys() | {"lion"} == CHOICES.keys()


@pytest.mark.parametrize("rule", [rule for rule in RULES if kind_of(rule) in TORCH_NAMES], ids=kind_of)
def test_defaults_are_pytorchs(torch: Any, rule: Any) -> None:
    signature = inspect.signature(getattr(torch.optim, TORCH_NAMES[kind_of(rule)])).parameters
    for field in dataclasses.fields(rule):
        if field.name != "kind":
            assert field.default == signature["lr" if field.name == "learning_rate" else field.name].default


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("optimizer", [v for v in VARIANTS if v.kind in TORCH_NAMES], ids=str)
def test_steps_and_states_are_pytorchs(torch: Any, optimizer: Any, dtype: str) -> None:
    """The learning rate changes on the way, as a schedule does it."""
    tolerance = 1e-12 if dtype == "float64" else 1e-6
    parameters, gradients = problem(dtype, STEPS if dtype == "float64" else 4)
    tensor = torch.tensor(parameters.copy(), requires_grad=True)
    theirs = torch_optimizer(torch, optimizer, tensor)
    state = optimizer.init(parameters)
    for i, g in enumerate(gradients):
        if i == 3:
            optimizer = dataclasses.replace(optimizer, learning_rate=0.02)
            theirs.param_groups[0]["lr"] = 0.02
        parameters, state = optimizer.update(g, state, parameters)
        tensor.grad = torch.tensor(g)
        theirs.step()
        close(parameters, tensor.detach().numpy(), tolerance, f"step {i}")
    assert parameters.dtype == dtype
    for key, value in theirs.state[tensor].items():
        if value is not None:  # SGD without momentum
            close(state[key], np.asarray(value), tolerance, key)


def test_a_wrong_formula_is_found(torch: Any) -> None:
    """Keras's epsilon, which stands before the bias correction, is not PyTorch's."""
    parameters, gradients = problem(steps=1)
    tensor = torch.tensor(parameters.copy(), requires_grad=True)
    theirs = torch_optimizer(torch, optimizers.Adam(eps=1e-3), tensor)
    tensor.grad = torch.tensor(gradients[0])
    theirs.step()
    g = gradients[0]
    keras = parameters - 1e-3 * math.sqrt(0.001) / 0.1 * (0.1 * g) / (np.sqrt(0.001 * g * g) + 1e-3)
    with pytest.raises(AssertionError):
        close(keras, tensor.detach().numpy(), 1e-12, "parameters")


@pytest.mark.parametrize("maximize", BOTH)
@pytest.mark.parametrize(("beta1", "beta2"), [(0.9, 0.99), (0.5, 0.8)])
@pytest.mark.parametrize("decay", DECAYS)
def test_lion_is_algorithm_2_of_its_paper(beta1: float, beta2: float, decay: float, maximize: bool) -> None:
    parameters, gradients = problem()
    lion = optimizers.Lion(learning_rate=0.01, betas=(beta1, beta2), weight_decay=decay, maximize=maximize)
    theta, m = parameters.copy(), np.zeros_like(parameters)
    for g in gradients:
        g = -g if maximize else g
        c = beta1 * m + (1 - beta1) * g
        theta = theta - 0.01 * (np.sign(c) + decay * theta)
        m = beta2 * m + (1 - beta2) * g
    ours, state = run(lion, parameters, gradients)
    np.testing.assert_allclose(ours, theta, rtol=1e-12)
    np.testing.assert_allclose(state["exp_avg"], m, rtol=1e-12)
    assert optimizers.Lion() == optimizers.Lion(learning_rate=1e-4, betas=(0.9, 0.99), weight_decay=0.0, maximize=False)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("optimizer", VARIANTS, ids=str)
def test_updates_are_pure_and_work_on_a_flat_vector(optimizer: Any, dtype: str) -> None:
    parameters, gradients = problem(dtype, 4)
    state, flat = optimizer.init(parameters), optimizer.init(parameters.ravel())
    flat_parameters = parameters.ravel()
    for g in gradients:
        kept = parameters.copy(), g.copy(), {k: np.copy(v) for k, v in state.items()}
        new, new_state = optimizer.update(g, state, parameters)
        assert np.array_equal(parameters, kept[0]) and np.array_equal(g, kept[1])
        assert state.keys() == kept[2].keys() and all(np.array_equal(state[k], v) for k, v in kept[2].items())
        flat_parameters, flat = optimizer.update(g.ravel(), flat, flat_parameters)
        parameters, state = new, new_state
        assert np.array_equal(parameters.ravel(), flat_parameters) and parameters.dtype == dtype
        assert all(np.array_equal(np.ravel(state[k]), np.ravel(flat[k])) for k in state)
        assert all(v.dtype == dtype and v.shape == (3, 4) for v in state.values() if isinstance(v, np.ndarray))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("optimizer", VARIANTS, ids=str)
def test_a_state_goes_through_json(optimizer: Any, dtype: str) -> None:
    """At the start and on the way, with the same next step bit for bit."""
    parameters, gradients = problem(dtype)
    keys = optimizer.init(parameters).keys()
    for steps in (0, 1, 5):
        reached, state = run(optimizer, parameters, gradients[:steps])
        assert state.keys() == keys and state["step"] == steps
        assert all(type(v) is float or k == "step" for k, v in state.items() if not isinstance(v, np.ndarray))
        assert type(state["step"]) is int
        lists = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in state.items()}
        read = json.loads(json.dumps(lists, allow_nan=False))
        read = {k: np.array(v, dtype) if type(v) is list else v for k, v in read.items()}
        assert same_bits(read, state)
        expected, expected_state = optimizer.update(gradients[steps], state, reached)
        actual, actual_state = optimizer.update(gradients[steps], read, reached)
        assert np.array_equal(actual, expected) and same_bits(actual_state, expected_state)


def test_the_keys_of_a_state_depend_on_the_hyperparameters() -> None:
    p = np.ones(2)
    assert optimizers.Sgd().init(p) == {"step": 0}
    assert optimizers.Sgd(momentum=0.9).init(p).keys() == {"step", "momentum_buffer"}
    assert optimizers.Adam().init(p).keys() == {"step", "exp_avg", "exp_avg_sq"}
    assert optimizers.Adam(amsgrad=True).init(p).keys() == {"step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"}
    full = optimizers.RmsProp(momentum=0.9, centered=True).init(p)
    assert full.keys() == {"step", "square_avg", "grad_avg", "momentum_buffer"}


@pytest.mark.parametrize("maximize", BOTH)
@pytest.mark.parametrize("rule", RULES, ids=kind_of)
def test_a_step_goes_down_or_up(rule: Any, maximize: bool) -> None:
    p = np.ones(3)
    rule = rule(maximize=maximize, learning_rate=0.1)
    new, _ = rule.update(np.ones(3), rule.init(p), p)
    assert ((new > p) if maximize else (new < p)).all()


def test_asgd_averages_the_parameters_after_t0() -> None:
    asgd = optimizers.Asgd(learning_rate=0.1, t0=2.0)
    parameters, gradients = problem()
    state, seen = asgd.init(parameters), []
    for g in gradients:
        parameters, state = asgd.update(g, state, parameters)
        seen.append(parameters)
    # mu is 1 up to the fourth step, then 1/2, 1/3, ...: ax is the plain mean from there on.
    np.testing.assert_allclose(state["ax"], np.mean(seen[3:], axis=0), rtol=1e-12)


def test_asgd_is_what_its_formula_says() -> None:
    asgd = optimizers.Asgd(learning_rate=0.1, lambd=0.5)
    parameters, gradients = problem()
    state = asgd.init(parameters)
    formula, power = paragraphs(optimizers.Asgd)[0].removesuffix(".").split(" with eta_t = ")
    for t, g in enumerate(gradients, start=1):
        names: dict[str, Any] = {"learning_rate": 0.1, "lambd": 0.5, "alpha": 0.75, "t": t, "g": g, "w": parameters}
        names["eta_t"] = eval(power.replace("^", "**"), names)
        parameters, state = asgd.update(g, state, parameters)
        np.testing.assert_allclose(parameters, eval(formula, names), rtol=1e-14)


@pytest.mark.parametrize(("dtype", "size"), [("float64", 1e-200), ("float32", 1e-30)])
def test_rprop_sees_the_signs_of_tiny_gradients(dtype: str, size: float) -> None:
    p, g = np.ones(2, dtype), np.array([size, -size], dtype)
    _, state = run(optimizers.Rprop(learning_rate=0.01), p, [g, g, np.array([size, size], dtype)])
    np.testing.assert_allclose(state["step_size"], [0.01 * 1.2 * 1.2, 0.01 * 1.2 * 0.5], rtol=1e-6)


def test_centered_rmsprop_survives_a_constant_gradient() -> None:
    """Where PyTorch may take the root of a variance that rounding carried below 0."""
    p, g = np.ones(4), np.array([0.7, 1.3040000451301372, -0.7037352358069926, 1e9])
    new, state = run(optimizers.RmsProp(alpha=0.5, centered=True), p, [g] * 200)
    assert np.isfinite(new).all() and all(np.isfinite(v).all() for v in state.values())


@pytest.mark.parametrize("rule", RULES, ids=kind_of)
def test_no_hyperparameter_makes_python_raise(rule: Any) -> None:
    """Whatever bounds allow ends in a number or, in an array, in infinity or NaN, which the caller reports."""
    p = np.array([0.0, 1.0, -1e30, 1e-30])
    floats = [f for f in dataclasses.fields(rule) if type(f.default) is float]
    assert floats
    for values in itertools.product([0.0, 5e-324, 0.5, 1e308], repeat=len(floats)):
        chosen = dict(zip((f.name for f in floats), values, strict=True))
        if any(chosen[f.name] >= f.metadata.get("lt", math.inf) for f in floats):
            continue
        if any(chosen[f.name] > f.metadata.get("le", math.inf) for f in floats):
            continue
        optimizer = rule(**chosen)
        with np.errstate(all="ignore"):
            for step in (0, 1, 2**53 - 1):
                _, state = optimizer.update(p, optimizer.init(p) | {"step": step}, p)
                assert all(math.isfinite(v) for v in state.values() if not isinstance(v, np.ndarray))


@pytest.mark.parametrize("product", [-5.0, 1.5, 2.221496853213759, 1e308])
def test_nadam_refuses_a_product_that_no_answer_holds(product: float) -> None:
    nadam, p = optimizers.NAdam(), np.ones(2)
    with pytest.raises(InvalidState, match="mu_product"):
        nadam.update(p, nadam.init(p) | {"mu_product": product}, p)


@pytest.mark.parametrize("rule", [r for r in RULES if "betas" in r.__dataclass_fields__], ids=kind_of)
@pytest.mark.parametrize("betas", [(1.0, 0.9), (0.9, 1.0), (-0.1, 0.9), (0.9, 2.0), (math.nan, 0.9)])
def test_betas_are_fractions(rule: Any, betas: tuple[float, float]) -> None:
    with pytest.raises(OutOfRange) as refusal:
        rule(betas=betas)
    assert refusal.value.where == ("betas", 0 if betas[1] == 0.9 else 1)


@pytest.mark.parametrize(
    ("parameters", "where"),
    [
        ({"etas": (1.5, 1.2)}, ("etas", 0)),
        ({"etas": (0.0, 1.2)}, ("etas", 0)),
        ({"etas": (0.5, 1.0)}, ("etas", 1)),
        ({"etas": (0.5, math.inf)}, ("etas", 1)),
        ({"step_sizes": (1.0, 0.5)}, ("step_sizes", 1)),
        ({"step_sizes": (-1.0, 0.5)}, ("step_sizes", 0)),
    ],
)
def test_rprop_bounds(parameters: dict[str, Any], where: tuple[str, int]) -> None:
    with pytest.raises(OutOfRange) as refusal:
        optimizers.Rprop(**parameters)
    assert refusal.value.where == where


@pytest.mark.parametrize("parameters", [{}, {"momentum": 0.9, "dampening": 0.1}])
def test_nesterov_needs_momentum_without_dampening(parameters: dict[str, Any]) -> None:
    with pytest.raises(OutOfRange, match="outside its range"):
        optimizers.Sgd(nesterov=True, **parameters)
