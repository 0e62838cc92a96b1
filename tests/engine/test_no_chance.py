"""What verify does not say: nothing is named by chance, and nothing against numbers that match."""

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from engine.activations import Identity, Softmax, Tanh
from engine.adam_optimizers import Adam
from engine.layers import Dense
from engine.losses import Mse
from engine.mistakes.computation import INPUT_GRADIENTS, LOSS, Case, Key, layer_keys, right
from engine.mistakes.factor import digits_of
from engine.mistakes.run import run
from engine.mistakes.walk import choice
from engine.network import Network
from engine.objective import LossObjective
from engine.optimizers import Adagrad, Lion, RmsProp, Sgd
from engine.piecewise_activations import Relu
from engine.probability_losses import CrossEntropy
from engine.verification import Verification, verify
from tests.conftest import searching
from tests.engine.random_steps import by_parameter, claims_of, numbers_of, random_case

FORMS = ["%.3f", "%.4f", "%.5f", "%.6f", "%.3g", "%.4g", "%.6g", "%.3e"]


def as_printed(numbers: dict[Key, Any], form: str) -> dict[Key, Any]:
    return {key: np.vectorize(lambda v: float(form % v))(np.asarray(n, np.float64)) for key, n in numbers.items()}


@pytest.mark.parametrize("rate", [1e-5, 1e-4, 1e-3, 1e-2])
def test_a_step_too_small_to_be_printed_is_no_mistake(rate: float) -> None:
    random, seen = np.random.default_rng(5), 0
    while seen < searching(10, 15):
        case = replace(random_case(random), optimizer=Sgd(learning_rate=rate), optimizer_state=None)
        numbers = numbers_of(case)
        if numbers is None:
            continue
        seen += 1
        for form in FORMS:
            result = verify(case, claims_of(as_printed(numbers, form)))
            assert result.matches, (form, [c.key for c in result.comparisons if not c.matches])


def classifier(random: np.random.Generator) -> Case:
    layers = (Dense(random.normal(size=(4, 3)), random.normal(size=3), Softmax()),)
    targets = np.eye(3)[random.integers(0, 3, 5)]
    return Case(Network(layers), random.normal(size=(5, 4)), LossObjective(CrossEntropy(), targets))


def test_an_error_that_follows_from_the_claimed_gradient_by_the_outputs_is_no_other_loss() -> None:
    """Cross-entropy for shifted classes, through softmax the long way: dL/dz follows from dL/da."""
    keys, random = layer_keys(0), np.random.default_rng(1)
    for _ in range(10):
        case = classifier(random)
        numbers = numbers_of(case)
        assert numbers is not None
        y = np.asarray(numbers[keys.activations])
        t = np.roll(case.targets, 1, axis=1)
        claimed = {**numbers, keys.by_activations: -t / y / 5, keys.by_preactivations: (y - t) / 5}
        claimed[keys.by["weights"]] = case.inputs.T @ claimed[keys.by_preactivations]
        claimed[keys.by["bias"]] = claimed[keys.by_preactivations].sum(axis=0)
        kept = (keys.by_activations, keys.by_preactivations, keys.by["weights"], keys.by["bias"])
        result = verify(case, claims_of({key: claimed[key] for key in kept}))
        assert "binary_in_place_of_categorical" not in kinds(result)


def test_part_of_an_array_is_not_written_over() -> None:
    """Of one example, outputs less the targets are the outputs, but for that of its class: wrong ones are no errors."""
    keys, random = layer_keys(0), np.random.default_rng(6)
    for _ in range(4):
        case = classifier(random)
        case = replace(case, inputs=case.inputs[:1], objective=LossObjective(CrossEntropy(), case.targets[:1]))
        numbers = numbers_of(case)
        assert numbers is not None
        y = 0.7 * np.asarray(numbers[keys.activations])
        claimed = {keys.preactivations: numbers[keys.preactivations], keys.activations: y}
        claimed[keys.by_preactivations] = y - case.targets
        assert "written_over" not in kinds(verify(case, claims_of(claimed)))


def test_preactivations_that_relu_passes_through_are_not_written_over() -> None:
    """They are the activations that follow from them, whatever is wrong with them."""
    keys, random = layer_keys(0), np.random.default_rng(9)
    for _ in range(4):
        case = classifier(random)
        hidden = Dense(random.normal(size=(4, 4)), random.normal(size=4), Relu())
        case = replace(case, network=Network((hidden, *case.layers)))
        z = random.uniform(0.1, 2, (5, 4))
        assert "written_over" not in kinds(verify(case, claims_of({keys.preactivations: z, keys.activations: z})))
        errors = {keys.by_activations: z * (case.preactivations[0] > 0)}
        assert "written_over" not in kinds(verify(case, claims_of({**errors, keys.by_preactivations: z})))


def kinds(result: Verification) -> list[str]:
    return [mistake.kind for d in result.diagnoses for mistake in d.mistakes]


def test_a_diagnosis_contradicts_no_array_that_matches() -> None:
    """Weights' gradients divided by the batch, those of biases right, as is the loss: nothing that alters those."""
    random, seen = np.random.default_rng(2), 0
    while seen < 10:
        case = replace(random_case(random), optimizer=None, optimizer_state=None)
        numbers = numbers_of(case)
        if numbers is None or case.batch < 3 or case.depth < 2:
            continue
        seen += 1
        claimed = {key: n for key, n in numbers.items() if key[-1] in ("weights", "bias", "loss")}
        claimed = {key: n / case.batch if key[-1] == "weights" else n for key, n in claimed.items()}
        assert "divided_by_batch_twice" not in kinds(verify(case, claims_of(claimed)))


@pytest.mark.parametrize(("form", "most"), [("%.3f", 2), ("%.5f", 0)])
def test_numbers_that_are_wrong_in_no_known_way_get_no_name(form: str, most: int) -> None:
    """All gradients times a factor of no meaning, which has no other name, or each times its own: few digits fit some
    mistake or other now and then, five do not."""
    random, named, seen = np.random.default_rng(7), Counter[str](), 0
    while seen < 3:
        case = replace(random_case(random), optimizer=None, optimizer_state=None, regularization=None)
        numbers = numbers_of(case)
        if numbers is None:
            continue
        seen += 1
        gradients = {key: n for key, n in numbers.items() if key[-1] in ("weights", "bias")}
        factor = random.uniform(0.3, 3)
        scaled = {key: n * factor for key, n in gradients.items()}
        for wrong in (
            scaled,
            {key: n * random.uniform(0.5, 1.5, np.shape(n)) for key, n in gradients.items()},
        ):
            found = [
                kind for kind in kinds(verify(case, claims_of(as_printed(wrong, form)))) if kind != "wrong_from_here"
            ]
            assert found.count("constant_factor") <= (wrong is scaled)
            named.update(kind for kind in found[:1] if kind != "constant_factor")
    assert named.total() <= most, named


def test_a_step_that_follows_from_claimed_gradients_has_no_mistake_of_its_own() -> None:
    """Adam's first step is hardly more than the sign of the gradients: the wrong signs are those of the gradients."""
    random, seen = np.random.default_rng(3), 0
    while seen < 5:
        case = replace(random_case(random), optimizer=Adam(learning_rate=0.1), optimizer_state=None, clipping=None)
        numbers = numbers_of(case)
        if numbers is None:
            continue
        seen += 1
        wrong = {k: n * random.uniform(-3, -0.5, np.shape(n)) for k, n in numbers.items() if by_parameter(k)}
        claimed = dict(run(right(case), case, wrong)) | wrong
        kept = {key: n for key, n in claimed.items() if by_parameter(key) or key[0] == "network"}
        result = verify(case, claims_of(as_printed(kept, "%.4f")))
        assert not [d for d in result.diagnoses if all(key[0] == "network" for key in d.explains)]


@pytest.mark.parametrize(
    "optimizer", [Adam(learning_rate=0.01), RmsProp(), Adagrad(), Lion()], ids=lambda rule: rule.kind
)
def test_signs_alone_are_no_evidence_of_a_mistake(optimizer: Any) -> None:
    """Parameters after a first step that goes by the signs of the gradients, of which some are wrong by chance: most
    mistakes turn a few of them, and one or other turns just these. All of them turned are a step uphill."""
    random, named, seen = np.random.default_rng(13), Counter[str](), 0
    while seen < 6:
        case = replace(random_case(random), optimizer=optimizer, optimizer_state=None, clipping=None)
        numbers = numbers_of(case)
        if numbers is None:
            continue
        seen += 1
        gradients = {key: n for key, n in numbers.items() if by_parameter(key)}
        size = {k: random.uniform(0.3, 3, np.shape(n)) for k, n in gradients.items()}
        some = {k: n * np.where(random.random(np.shape(n)) < 0.15, -1, 1) * size[k] for k, n in gradients.items()}
        for wrong in (some, {key: -n for key, n in gradients.items()}):
            claimed = dict(run(right(case), case, wrong))
            result = verify(case, claims_of({key: n for key, n in claimed.items() if key[0] == "network"}))
            if wrong is some:
                named.update(kinds(result))
            else:
                assert {"sign_flipped", "plus_in_place_of_minus"} & set(kinds(result)[:2])
    assert named.total() <= 1, named


def test_what_nearly_follows_from_claimed_numbers_gets_no_name() -> None:
    """An error far off, and the gradients that follow from it off by their last digits: in view of these few digits a
    mistake that hardly changes anything would fit by chance."""
    random, seen = np.random.default_rng(11), 0
    while seen < searching(8, 12):
        case = replace(random_case(random), regularization=None, clipping=None)
        numbers = numbers_of(case)
        if numbers is None or case.optimizer is None:
            continue
        seen += 1
        key = layer_keys(case.depth - 1).by_preactivations
        wrong = {key: random.normal(size=np.shape(numbers[key]))}
        claimed = dict(run(right(case), case, wrong)) | wrong
        for k in claimed:
            if by_parameter(k) or k == INPUT_GRADIENTS:
                claimed[k] = claimed[k] + random.uniform(-2e-3, 2e-3, np.shape(claimed[k]))
        result = verify(case, claims_of(as_printed(claimed, "%.3f")))
        found = [mistake.kind for d in result.diagnoses if not d.entries for mistake in d.mistakes]
        assert set(found) <= {"wrong_from_here"}, found


@pytest.mark.parametrize(
    ("new", "fine", "choices"),
    [
        ([[1, 0], [1, 0]], [[0, 0], [0, 0]], 2),  # one of two columns
        ([[1, 0], [0, 1]], [[0, 0], [0, 0]], 6),  # two of four numbers
        ([[1, 1], [1, 0]], [[0, 0], [0, 0]], 2),  # a column and a number
        ([[0, 1], [0, 0]], [[1, 0], [1, 1]], 2),  # what is left of a column
        ([1, 1, 0], [0, 0, 0], 3),
        ([1, 1, 1, 1], [0, 0, 0, 0], 1),
    ],
)
def test_it_is_likelier_that_some_part_of_an_array_is_explained_by_chance(new: Any, fine: Any, choices: int) -> None:
    assert 10 ** choice(np.array(new, bool), np.array(fine, bool)) == pytest.approx(choices)
    assert choice(np.array([1, 0, 0], bool), np.zeros(3, bool)) == np.inf


@pytest.mark.parametrize(
    ("factor", "digits"),
    [(2.0, 1), (0.5, 1), (1 / 3, 1), (53 / 42, 4), (0.943601, 6), (1.113587782284821, 16), (1e-5, 5), (-1.0, 0)],
)
def test_a_factor_that_takes_many_digits_to_write_says_less(factor: float, digits: int) -> None:
    assert digits_of(factor) == digits


def test_one_number_alone_is_off_by_no_factor() -> None:
    random = np.random.default_rng(4)
    for _ in range(searching(6, 10)):
        layers = (Dense(random.normal(size=(3, 1)), random.normal(size=1), Tanh()),)
        case = Case(Network(layers), random.normal(size=(4, 3)), LossObjective(Mse(), random.normal(size=(4, 1))))
        numbers, key = numbers_of(case), layer_keys(0).by["bias"]
        assert numbers is not None
        claimed = {key: numbers[key] * random.uniform(0.5, 1.5)}
        assert kinds(verify(case, claims_of(claimed))) == []


def test_a_right_number_after_a_wrong_one_is_not_explained() -> None:
    """With as many examples as a unit has gradients these imply an error, whatever they are."""
    random = np.random.default_rng(9)
    for _ in range(3):
        layers = (
            Dense(random.normal(size=(2, 5)), random.normal(size=5), Tanh()),
            Dense(random.normal(size=(5, 2)), random.normal(size=2), Identity()),
        )
        case = Case(Network(layers), random.normal(size=(6, 2)), LossObjective(Mse(), random.normal(size=(6, 2))))
        truth = {k: n for k, n in (numbers_of(case) or {}).items() if by_parameter(k)}
        claimed = {k: np.array(n) for k, n in truth.items()}
        for i in range(2):
            claimed[layer_keys(i).by["bias"]][-1] += random.normal()
        for d in verify(case, claims_of(as_printed(claimed, "%.6g"))).diagnoses:
            (key,) = d.explains
            assert d.entries and all(claimed[key][entry] != truth[key][entry] for entry in d.entries), d


def test_the_second_error_of_two_classes_is_no_evidence_of_a_factor() -> None:
    """It is minus the first one, however wrong that is."""
    random, key = np.random.default_rng(8), layer_keys(0).by["bias"]
    for _ in range(5):
        layers = (Dense(random.normal(size=(3, 2)), random.normal(size=2), Softmax()),)
        case = Case(Network(layers), random.normal(size=(4, 3)), LossObjective(CrossEntropy(), np.eye(2)[[0, 1, 1, 0]]))
        wrong, numbers = random.normal(), numbers_of(case)
        assert numbers is not None
        for claimed, named in (([wrong, -wrong], False), (0.37 * np.asarray(numbers[key]), True)):
            found = kinds(verify(case, claims_of({key: np.asarray(claimed)})))
            assert ("constant_factor" in found) == named, found


@pytest.mark.parametrize("form", ["%.2f", "%.2g"])
def test_right_numbers_of_two_digits_have_no_wrong_digit(form: str) -> None:
    random, seen = np.random.default_rng(6), 0
    while seen < searching(5, 8):
        case = random_case(random)
        numbers = numbers_of(case)
        if numbers is None:
            continue
        seen += 1
        found = kinds(verify(case, claims_of(as_printed(numbers, form))))
        assert not {"digit_wrong", "digits_transposed", "decimal_point_moved", "entry_sign"} & set(found)


@pytest.mark.parametrize("form", ["%.4f", "%.5f", "%.4g", "%.6g"])
def test_a_step_that_is_a_little_off_is_no_matter_of_typing(form: str) -> None:
    """Each number of the step is off by up to 3 %, of which few digits show little: in one array it may be a typing
    error; in several, or beside an array that nothing explains, it is none."""
    random, seen, wrong = np.random.default_rng(8), 0, 0
    while seen < searching(8, 12):
        rate = float(random.choice([0.001, 0.01, 0.1]))
        case = replace(random_case(random), optimizer=Sgd(learning_rate=rate), optimizer_state=None, clipping=None)
        numbers = numbers_of(case)
        if numbers is None:
            continue
        seen += 1
        claimed = {key: n for key, n in numbers.items() if by_parameter(key)}
        for i, layer in enumerate(case.network.parameters):
            for name, old in layer.items():
                key = layer_keys(i).new[name]
                claimed[key] = old + random.uniform(0.97, 1.03, old.shape) * (numbers[key] - old)
        result = verify(case, claims_of(as_printed(claimed, form)))
        typed = [d for d in result.diagnoses if d.mistakes[0].kind == "digit_wrong"]
        assert len(typed) <= (not result.unexplained)
        assert result.matches or result.diagnoses or result.unexplained, "a mismatch of which nothing is said"
        wrong += not result.matches
    assert wrong > 3


def test_a_loss_of_0_is_that_of_integers() -> None:
    """Two mistakes that leave out each what the other keeps give 0 too."""
    random = np.random.default_rng(4)
    for _ in range(4):
        case = classifier(random)
        result = verify(case, claims_of({LOSS: 0.0}))
        assert kinds(result) == ["integers_in_place_of_decimals"]
