"""Every mistake of the catalog, planted into random steps, is the one that is found."""

import dataclasses
import inspect
import re
from functools import cache
from typing import Any, get_args

import numpy as np
import pytest

from engine import mistakes as registry
from engine.activations import Identity, Softmax, Tanh
from engine.claims import Claim
from engine.layers import Dense
from engine.mistakes import Alteration, FiniteDifferences, Mistake, Seldom, Slip, variants, variants_of
from engine.mistakes.backward import LayerOrderReversed, SignFlipped
from engine.mistakes.computation import INPUT_GRADIENTS, LOSS, Case, Key, layer_keys, right
from engine.mistakes.numerics import in_dtype
from engine.mistakes.other_loss import EpsilonInLogarithm
from engine.mistakes.parameters import BiasGradientOneForAll
from engine.mistakes.run import run
from engine.mistakes.slips import DigitWrong
from engine.mistakes.update import NotUpdated
from engine.network import Network
from engine.objective import LossObjective
from engine.optimizers import Sgd
from engine.probability_losses import CrossEntropy
from engine.step import differentiate, step
from engine.verification import verify
from tests.engine.random_steps import (
    PLANTED,
    by_parameter,
    claims_of,
    differing,
    named_first,
    numbers_of,
    odd_case,
    parts,
    random_case,
)

ALTERATIONS = get_args(Alteration)
SLIPS = get_args(Slip)
assert len(ALTERATIONS) > 45 and len(SLIPS) == 5, "an empty list would make the tests below pass"


def test_every_mistake_is_in_the_union() -> None:
    modules = [m for _, m in inspect.getmembers(registry, inspect.ismodule)]
    classes = {
        c
        for module in modules
        for _, c in inspect.getmembers(module, inspect.isclass)
        if c.__module__ == module.__name__ and "kind" in getattr(c, "__dataclass_fields__", {})
    }
    assert classes == set(get_args(Mistake))
    kinds = [c().kind for c in classes]
    assert len(set(kinds)) == len(kinds)


def test_the_right_computation_is_the_engines_own() -> None:
    random = np.random.default_rng(0)
    for _ in range(30):
        case = random_case(random)
        numbers = dict(run(right(case), case))
        if case.optimizer is None:
            result = differentiate(case.network, case.inputs, case.objective, case.regularization)
        else:
            made = step(
                case.network,
                case.inputs,
                case.objective,
                case.optimizer,
                case.state,
                case.regularization,
                case.clipping,
            )
            result = made.before
            for i, layer in enumerate(made.network.parameters):
                for name, array in layer.items():
                    np.testing.assert_array_equal(numbers[layer_keys(i).new[name]], array)
            assert numbers["update_norm",] == made.update_norm
        assert numbers[LOSS] == result.loss and numbers["gradient_norm",] == result.gradient_norm
        np.testing.assert_array_equal(numbers["input_gradients",], result.gradients.inputs)
        for i, gradients in enumerate(result.gradients.layers):
            keys = layer_keys(i)
            np.testing.assert_array_equal(numbers[keys.preactivations], result.trace[i].preactivations)
            np.testing.assert_array_equal(numbers[keys.by_preactivations], gradients.preactivations)
            np.testing.assert_array_equal(numbers[keys.by_activations], gradients.activations)
            for name, array in gradients.parameters.items():
                np.testing.assert_array_equal(numbers[keys.by[name]], array)


def everywhere(mistake: Any) -> Any:
    """The same mistake in all layers."""
    return dataclasses.replace(mistake, layer=None) if hasattr(mistake, "layer") else mistake


@cache
@np.errstate(all="ignore")
def possible_options() -> set[Any]:
    """Every mistake with every combination of its options that makes sense in some case."""
    random = np.random.default_rng(19)
    cases = [make(random) for make in (random_case, odd_case) for _ in range(300)]
    return {everywhere(mistake) for case in cases for mistake in variants(case, range(case.depth))}


@np.errstate(all="ignore")  # a step before may have made a case's numbers large
@pytest.mark.parametrize("rule", ALTERATIONS, ids=lambda rule: rule().kind)
def test_a_planted_mistake_comes_first(rule: Any) -> None:
    random = np.random.default_rng(sum(rule().kind.encode()))
    in_one_layer = "layer" in {f.name for f in dataclasses.fields(rule)} and not rule().kind.startswith(
        ("softmax", "derivative_of_neighbor")
    )
    layers = set()
    found = 0
    left = {m for m in possible_options() if type(m) is rule}
    for k in range(8000):
        case = odd_case(random) if k % 2 else random_case(random)
        options = [m for layer in (None, *range(case.depth)) for m in variants_of(rule, case, layer)]
        if found >= PLANTED // 2 and left:  # those options that have not been planted yet
            options = [m for m in options if everywhere(m) in left]
        if not options:
            continue
        planted = options[random.integers(len(options))]
        truth, numbers = numbers_of(case), numbers_of(case, planted)
        if truth is None or numbers is None:
            continue
        numbers = parts(random, numbers)
        wrong = differing(numbers, truth)
        if not any(np.any(numbers[key]) or np.any(truth[key]) for key in wrong):  # zeros in another shape are silent
            continue
        if len(wrong) == 1 and not differing(numbers, truth, 1e-3):  # too few digits are wrong to tell it from chance
            continue
        first = named_first(case, planted, numbers)
        assert set(wrong) <= set(first.explains) and not first.from_claims
        assert first.residual < 1e-9
        layers.add(getattr(first.mistakes[0], "layer", None))
        left -= {everywhere(planted)}
        found += 1
        if found >= PLANTED and not left and not (in_one_layer and layers == {None}):
            break
    assert found >= PLANTED and not left
    assert not in_one_layer or layers != {None}, "no mistake in one layer alone was named with its layer"


def test_two_mistakes_at_once_are_found() -> None:
    """Of those that are tried in pairs."""
    random = np.random.default_rng(2)
    named = 0
    for _ in range(PLANTED * 3):
        planted, numbers, truth = None, None, None
        while planted is None:
            case = random_case(random)
            options = [m for m in variants(case, range(case.depth)) if not isinstance(m, Seldom)]
            one, other = (options[k] for k in sorted(random.choice(len(options), 2, replace=False)))
            truth, numbers = numbers_of(case), numbers_of(case, one, other)
            alone = [numbers_of(case, one), numbers_of(case, other)]
            if one.kind == other.kind or truth is None or numbers is None or None in alone:
                continue
            # Each changes what the other leaves, and more than the other changes of it.
            if all(differing(numbers, n) and differing(n, truth) for n in alone if n is not None):
                planted = {one.kind, other.kind}
        assert numbers is not None
        result = verify(case, claims_of(numbers))
        assert not result.unexplained, planted
        named += planted <= {m.kind for d in result.diagnoses for m in d.mistakes}
    assert named >= 0.85 * PLANTED * 3, "the others are explained by mistakes that give the same numbers"


@pytest.mark.parametrize("at", ["preactivations", "passed_back"])
def test_a_number_written_elsewhere_may_have_been_changed_before(at: Any) -> None:
    """The first wrong number is another layer's: neither mistake makes it alone, and only one of them changes it."""
    random = np.random.default_rng(3)
    pairs = 0
    while pairs < 6:
        case = random_case(random)
        one, other = SignFlipped(at=at), LayerOrderReversed(at="answer" if pairs % 2 else "parameters")
        truth, numbers = numbers_of(case), numbers_of(case, one, other)
        alone = [numbers_of(case, one), numbers_of(case, other)]
        if truth is None or numbers is None or any(n is None or not differing(numbers, n) for n in alone):
            continue
        result = verify(case, claims_of(numbers))
        kinds = {m.kind for d in result.diagnoses for m in d.mistakes}
        assert not result.unexplained and {one.kind, other.kind} <= kinds, result.diagnoses
        pairs += 1


def test_pairs_are_found_from_the_gradients_of_parameters_alone() -> None:
    from engine.mistakes.activation import DerivativeLeftOut
    from engine.mistakes.parameters import BiasGradientAveraged

    random = np.random.default_rng(3)
    pairs = 0
    while pairs < 10:
        case = random_case(random)
        one, other = DerivativeLeftOut(layer=0), BiasGradientAveraged(layer=0)
        truth = numbers_of(case)
        if truth is None or not (one.applies(case) and other.applies(case)):
            continue
        numbers = numbers_of(case, one, other)
        assert numbers is not None
        numbers = {k: n for k, n in numbers.items() if by_parameter(k)}
        wrong = differing(numbers, truth)
        if len(wrong) < 2:
            continue
        result = verify(case, claims_of(numbers))
        kinds = {m.kind for d in result.diagnoses for m in d.mistakes}
        assert not result.unexplained and {one.kind, other.kind} <= kinds, result.diagnoses
        pairs += 1


def test_what_terms_cancel_to_is_no_number_of_its_own() -> None:
    """A row of softmax's errors adds up to 0, of which rounding leaves 1e-17 in one order and 2e-17 in another."""
    random = np.random.default_rng(22)
    layers = (
        Dense(random.normal(size=(4, 5)), np.zeros(5), Tanh()),
        Dense(random.normal(size=(5, 3)), np.zeros(3), Softmax()),
    )
    targets = np.eye(3)[random.integers(0, 3, 6)]
    case = Case(Network(layers), random.normal(size=(6, 4)), LossObjective(CrossEntropy(), targets))
    numbers = numbers_of(case, BiasGradientOneForAll())
    assert numbers is not None
    key = layer_keys(1).by["bias"]
    claims = claims_of({k: n for k, n in numbers.items() if by_parameter(k)} | {key: np.array([3e-17, -1e-17, 2e-17])})
    result = verify(case, claims)
    assert not result.unexplained and [m.kind for d in result.diagnoses for m in d.mistakes] == [
        "bias_gradient_one_for_all"
    ]


@pytest.mark.parametrize("scheme", ["central", "forward"])
def test_the_step_of_finite_differences_is_found(scheme: Any) -> None:
    random = np.random.default_rng(4)
    found = 0
    while found < PLANTED:
        case = random_case(random)
        of: Any = ["parameters", "inputs_too"][found % 2]
        planted = FiniteDifferences(scheme=scheme, of=of, step=float(f"{10 ** random.uniform(-2.5, -0.7):.2g}"))
        truth, numbers = numbers_of(case), numbers_of(case, planted)
        if truth is None or numbers is None or case.optimizer is not None:
            continue
        numbers = {k: n for k, n in numbers.items() if k in (LOSS, INPUT_GRADIENTS) or by_parameter(k)}
        wrong = differing(numbers, truth, 1e-4)
        if not wrong:
            continue
        first = verify(case, claims_of(numbers)).diagnoses[0]
        (mistake,) = first.mistakes
        assert isinstance(mistake, FiniteDifferences)
        assert (mistake.scheme, mistake.step) == (planted.scheme, planted.step)
        assert set(wrong) <= set(first.explains)
        found += 1


def test_float32_is_a_match_and_named() -> None:
    random = np.random.default_rng(5)
    for _ in range(PLANTED):
        case = random_case(random)
        narrow = numbers_of(in_dtype(case, np.float32))
        assert narrow is not None
        result = verify(case, claims_of(narrow))
        assert result.matches and [m.kind for d in result.diagnoses for m in d.mistakes] == [
            "float32_in_place_of_float64"
        ]


def printed(numbers: dict[Key, Any], digits: int) -> list[Claim]:
    round_ = np.vectorize(lambda number: float(f"{number:.{digits}g}"))
    return [Claim(key, np.array(round_(np.asarray(value, np.float64)))) for key, value in numbers.items()]


@pytest.mark.parametrize("digits", [5, 6, 8, 10, 12, 15])
def test_float32_is_a_match_with_any_number_of_digits(digits: int) -> None:
    random = np.random.default_rng(15)
    for _ in range(PLANTED):
        narrow = numbers_of(in_dtype(case := random_case(random), np.float32))
        assert narrow is not None
        result = verify(case, printed(narrow, digits))
        assert result.matches, [c for c in result.comparisons if not c.matches]


def test_a_mistake_that_changes_nothing_explains_nothing() -> None:
    """A number that is a little off is within what a mistake's numbers may be off by."""
    random = np.random.default_rng(16)
    tried = 0
    while tried < PLANTED:
        case = random_case(random)
        key = layer_keys(0).by["weights"]
        if (numbers := numbers_of(case)) is None or np.abs(numbers[key]).max() < 1e-3:
            continue
        numbers[key] = np.array(numbers[key])
        numbers[key].flat[0] += 1.2e-6 * np.abs(numbers[key]).max()
        result = verify(case, printed({k: n for k, n in numbers.items() if by_parameter(k)}, 8))
        assert result.matches or result.diagnoses == []  # as float32's it may match
        tried += not result.matches


def stepped(random: np.random.Generator, learning_rate: float, decimals: int | None = None) -> Case:
    """A case with plain gradient descent, its parameters rounded to so many decimals."""
    case = random_case(random)
    while case.batch == 1 or case.regularization is not None or case.clipping is not None:
        case = random_case(random)
    layers = case.network.layers
    if decimals is not None:
        layers = tuple(
            layer.with_parameters({name: p.round(decimals) for name, p in layer.parameters.items()}) for layer in layers
        )
    rule = Sgd(learning_rate=learning_rate)
    return dataclasses.replace(case, network=Network(layers), optimizer=rule, optimizer_state=None)


def test_another_learning_rate_is_no_step_uphill() -> None:
    random = np.random.default_rng(17)
    for _ in range(PLANTED):
        case = stepped(random, 0.001)
        if (numbers := numbers_of(case)) is None:
            continue
        for i, layer in enumerate(case.network.parameters):
            for name, old in layer.items():
                key = layer_keys(i).new[name]
                numbers[key] = old + random.uniform(0.2, 3, old.shape) * (numbers[key] - old)
        claims = printed({k: n for k, n in numbers.items() if by_parameter(k) or k[0] == "network"}, 8)
        # Where a single digit of a number changes, that is what is seen.
        assert {m.kind for d in verify(case, claims).diagnoses for m in d.mistakes} <= {"digit_wrong"}


@pytest.mark.parametrize("forgotten", ["weights", "bias"])
def test_parameters_that_were_not_updated_are_no_rounded_ones(forgotten: str) -> None:
    random = np.random.default_rng(18)
    found = 0
    while found < PLANTED:
        case = stepped(random, 1e-4, decimals=1)
        numbers, right_ones = numbers_of(case, NotUpdated(of=forgotten)), numbers_of(case)  # type: ignore[arg-type]
        if numbers is None or right_ones is None or ("update_norm",) not in differing(numbers, right_ones):
            continue
        del numbers["update_norm",]
        result = verify(case, claims_of(numbers))
        wrong = differing({k: n for k, n in numbers.items() if np.abs(n - right_ones[k]).max() > 1e-5}, right_ones)
        assert {c.key for c in result.comparisons if not c.matches} >= set(wrong)
        if wrong:
            assert [m.kind for m in result.diagnoses[0].mistakes] == ["not_updated"]
            found += 1


def test_an_unknown_error_is_located_and_the_rest_follows_from_it() -> None:
    random = np.random.default_rng(6)
    for _ in range(PLANTED // 2):
        case = random_case(random)
        i = int(random.integers(1, case.depth))
        key = layer_keys(i).by_preactivations
        shape = (case.batch, case.layers[i].weights.shape[1])
        numbers = dict(run(right(case), case, {key: random.normal(size=shape)}))
        numbers[key] = random.normal(size=shape)
        numbers = dict(run(right(case), case, {key: numbers[key]})) | {key: numbers[key]}
        numbers.pop(("gradient_norm",))
        result = verify(case, claims_of(numbers))
        (first,) = [d for d in result.diagnoses if d.mistakes[0].kind == "wrong_from_here"]
        assert first.mistakes[0].layer == i and first.explains[0] == key and len(first.explains) > 4  # type: ignore[union-attr]
        assert result.unexplained == [key]
        # The same from the gradients of parameters alone, where these determine the error.
        gradients = {k: n for k, n in numbers.items() if by_parameter(k)}
        system = np.concatenate(
            [case.inputs.T if i == 0 else numbers[layer_keys(i - 1).activations].T, np.ones((1, case.batch))]
        )
        if np.linalg.matrix_rank(system, tol=1e-3) == case.batch:
            (first,) = verify(case, claims_of(gradients)).diagnoses
            assert first.mistakes[0].kind == "wrong_from_here" and first.mistakes[0].layer == i  # type: ignore[union-attr]


def slipped(random: np.random.Generator, slip: Any, number: float) -> float:
    text = f"{number:.5g}"
    match slip.kind:
        case "entry_sign":
            return -float(text)
        case "decimal_point_moved":
            return float(text) * 10.0 ** random.choice([-1, 1])
        case "digits_transposed":
            return float(text[:-2] + text[-1] + text[-2])
        case "digit_wrong":
            return float(text[:-1] + str((int(text[-1]) + 2) % 9 + 1))
    raise AssertionError(slip)


@pytest.mark.parametrize("slip", [s for s in SLIPS if s().kind != "entry_copied"], ids=lambda slip: slip().kind)
def test_a_slip_in_one_number_is_found(slip: Any) -> None:
    random = np.random.default_rng(7)
    found = 0
    while found < PLANTED:
        case = random_case(random)
        numbers = numbers_of(case)
        key = layer_keys(int(random.integers(case.depth))).by["weights"]
        if numbers is None or (np.abs(numbers[key]) < 1e-3).any() or (np.abs(numbers[key]) > 100).any():
            continue
        printed = {key: np.vectorize(lambda v: float(f"{v:.5g}"))(numbers[key])}
        index = tuple(int(random.integers(n)) for n in printed[key].shape)
        text = f"{numbers[key][index]:.5g}"
        if not re.fullmatch(r"-?[0.]*[1-9][0-9]*[1-9][1-9]", text.replace(".", "")) or text[-1] == text[-2]:
            continue
        printed[key][index] = slipped(random, slip(), numbers[key][index])
        result = verify(case, claims_of(printed))
        (first,) = result.diagnoses
        assert first.mistakes == (slip(),) and first.explains == (key,) and first.entries == (index,), (text, first)
        found += 1


def test_a_number_copied_from_the_next_column_is_found() -> None:
    random = np.random.default_rng(8)
    found = 0
    while found < PLANTED:
        case = random_case(random)
        numbers = numbers_of(case)
        key = layer_keys(0).by["weights"]
        if numbers is None or (np.abs(numbers[key]) < 1e-3).any():
            continue
        claimed = np.array(numbers[key])
        claimed[0, 0] = claimed[0, 1]
        (first,) = verify(case, [Claim(key, claimed)]).diagnoses
        assert first.mistakes[0].kind == "entry_copied" and first.entries == ((0, 0),)
        found += 1


@pytest.mark.parametrize("digits", [1, 3])
def test_a_lone_number_that_is_wrong_at_random_is_not_explained_by_chance(digits: int) -> None:
    """A mistake, a pair of them or a step of finite differences can be found for any one number of few digits."""
    random = np.random.default_rng(10)
    tried = explained = 0
    while tried < PLANTED:
        case = random_case(random)
        numbers = numbers_of(case)
        key = LOSS if random.random() < 0.5 else layer_keys(int(random.integers(case.depth))).by["bias"]
        if numbers is None or key not in numbers or not np.asarray(numbers[key]).all():
            continue
        claimed = np.array(numbers[key], np.float64)
        claimed.flat[int(random.integers(claimed.size))] *= np.exp(random.normal())
        printed = np.array(np.vectorize(lambda v: float(f"{v:.{digits - 1}e}"))(claimed))
        result = verify(case, [Claim(key, printed)])
        tried += not result.matches
        explained += bool(result.diagnoses)
    assert explained <= 2


@pytest.mark.parametrize(
    ("right", "claimed", "fits"),
    [
        (0.394, 0.39, False),  # 0.390: its last digit may not have been printed
        (0.394, 0.364, True),
        (0.394, 0.894, True),
        (0.394, 0.4, False),
    ],
)
def test_a_digit_that_was_not_printed_is_not_wrong(right: float, claimed: float, fits: bool) -> None:
    assert (DigitWrong().made(right, claimed, 0.001) is not None) == fits


def test_a_search_in_a_large_network_ends_and_says_what_it_left_out() -> None:
    random = np.random.default_rng(9)
    layers = tuple(
        Dense(random.normal(size=(n, m)) / n**0.5, np.zeros(m), rule)
        for n, m, rule in ((400, 300, Tanh()), (300, 10, Softmax()))
    )
    targets = np.eye(10)[random.integers(0, 10, 64)]
    case = Case(Network(layers), random.normal(size=(64, 400)), LossObjective(CrossEntropy(), targets))
    numbers = numbers_of(case)
    assert numbers is not None
    key = layer_keys(0).by["weights"]
    claimed = {k: n for k, n in numbers.items() if by_parameter(k)}
    result = verify(case, claims_of(claimed | {key: claimed[key] * 1.3 + 0.01}))
    assert result.unexplained == [key] and not result.diagnoses and result.left_out > 0
    missing = layer_keys(0).by["bias"]
    (first,) = verify(case, claims_of(claimed | {missing: np.zeros(300)})).diagnoses
    assert first.mistakes[0].kind == "bias_gradient_missing"


@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize("epsilon", ["1e-7", "1e-8", "1e-15", "1e-12", "2.220446049250313e-16"])
def test_a_loss_that_an_epsilon_holds_is_told_with_its_epsilon(epsilon: str, from_logits: bool) -> None:
    """Of an example that the network is sure to have in another class, as naive code computes it."""
    weights = np.array([[60.0, -40.0, 3.0], [1.0, 2.0, 0.5]])
    layer = Dense(weights, None, Identity() if from_logits else Softmax())
    inputs, labels = np.array([[1.0, 0.5], [0.1, 2.0]]), np.eye(3)[[1, 2]]
    case = Case(Network((layer,)), inputs, LossObjective(CrossEntropy(from_logits=from_logits), labels))
    powers = np.exp(inputs @ weights)
    p = (powers / powers.sum(axis=1, keepdims=True))[[0, 1], [1, 2]]
    held = float(epsilon)
    for losses in (-np.log(p + held), -np.log(np.maximum(p, held))):  # equal in all digits that a loss shows
        found = verify(case, claims_of({LOSS: losses.mean()})).diagnoses[0].mistakes[0]
        assert isinstance(found, EpsilonInLogarithm) and found.epsilon == epsilon
