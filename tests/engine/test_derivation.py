"""Every equation that a derivation prints is computed again, from the numbers that stand in it.

How far two sides may differ follows from what they are: a sum of products of n numbers, added up in any order, is off
by at most about n times the rounding unit times the sum of the products' magnitudes (Higham, Accuracy and Stability of
Numerical Algorithms, 3.1). That bound is computed beside each side.
"""

from typing import Any, NamedTuple, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.examples.textbook import TEXTBOOK
from engine.activations import Gelu, Identity
from engine.clipping import ClipByNorm, ClipByValue
from engine.derivation import formulas
from engine.derivation.counting import counts, total
from engine.derivation.derivation import Derivation, Focus, Statement, Worked
from engine.derivation.focus import focus
from engine.derivation.slopes import jacobian, jacobian_column, slopes, works_by_rows
from engine.derivation.whole import derive
from engine.layers import Dense
from engine.losses import Mse
from engine.network import Network
from engine.objective import LossObjective, VectorObjective
from engine.optimizers import Adam, Lion, NAdam, Optimizer, Sgd
from engine.regularization import Regularization
from engine.row_activations import softmax
from engine.rules import Array
from engine.step import differentiate, init_state, step
from schemas.explain import ExplainRequest
from tests.test_laws import KINDS, PROPERTIES, problems

EXTRA = 32
"""Roundings beyond those of the sum itself: in the factors, which a rule may compute in several operations."""


class Side(NamedTuple):
    """A side's value, and the sum of the magnitudes it is made of."""

    value: Array
    magnitude: Array


def computed(formula: formulas.Formula) -> Side | None:
    """What a formula gives; None where it has symbols."""
    match formula:
        case formulas.Symbols():
            return None
        case formulas.Numbers():
            return Side(formula.value, np.abs(formula.value))
        case formulas.Omitted():
            return Side(formula.total, np.abs(formula.total))
        case formulas.Sum():
            return together([computed(term) for term in formula.terms], np.add, np.add)
        case formulas.Difference():
            return together([computed(formula.left), computed(formula.right)], np.subtract, np.add)
        case formulas.Product():
            rule = np.matmul if formula.kind == "matrix" else np.multiply
            return together([computed(factor) for factor in formula.factors], rule, rule)
        case formulas.Fraction():
            parts = [computed(formula.numerator), computed(formula.denominator)]
            return together(parts, np.divide, np.divide)
        case formulas.Transposed():
            side = computed(formula.of)
            return side and Side(side.value.T, side.magnitude.T)
        case formulas.Squared():
            side = computed(formula.of)
            return side and Side(side.value**2, side.magnitude**2)
        case formulas.SumOfRows():
            side = computed(formula.of)
            return side and Side(side.value.sum(axis=0, keepdims=True), side.magnitude.sum(axis=0, keepdims=True))
        case formulas.Applied():
            sides = [computed(argument) for argument in formula.arguments]
            value = formula.rule(*[side.value for side in sides if side])
            return Side(value, np.abs(value) + 1)
        case formulas.Equation():
            raise AssertionError("no equation stands within a formula")


def together(sides: list[Side | None], rule: Any, of_magnitudes: Any) -> Side | None:
    first, *others = sides
    for other in others:
        if first is None or other is None:
            return None
        first = Side(rule(first.value, other.value), of_magnitudes(first.magnitude, other.magnitude))
    return first


def largest_sum(formula: formulas.Formula) -> int:
    """How many numbers are added at most for one number of a side."""
    match formula:
        case formulas.Numbers():
            return max(formula.value.shape, default=1)
        case formulas.Sum():
            return len(formula.terms) + sum(largest_sum(term) for term in formula.terms)
        case formulas.Product():
            return sum(largest_sum(factor) for factor in formula.factors)
        case formulas.Difference():
            return largest_sum(formula.left) + largest_sum(formula.right)
        case formulas.Transposed() | formulas.SumOfRows() | formulas.Squared():
            return largest_sum(formula.of)
        case formulas.Omitted():
            return formula.count
        case formulas.Applied():
            return sum(largest_sum(argument) for argument in formula.arguments)
        case _:
            return 1


def check(told: Statement, slack: Any = 0) -> int:
    """All sides of a step's equation that can be computed are equal, and the last one is the value, to the bit.

    `slack` is added to the bound of rounding. Returns how many pairs of sides were compared.
    """
    slack = slack + row_slack(told)
    if told.terms is not None:
        check_terms(told, slack)
    if not isinstance(told.formula, formulas.Equation):
        return 0
    last = told.formula.sides[-1]
    assert told.value is None or isinstance(last, formulas.Numbers)
    if isinstance(last, formulas.Numbers) and told.value is not None:
        assert np.array_equal(last.value.ravel(), np.asarray(told.value).ravel()), told.text
    sides = [(side, computed(side)) for side in told.formula.sides]
    pairs = [(form, side) for form, side in sides if side is not None]
    for form, side in pairs[:-1]:
        expected = pairs[-1][1]
        unit = np.finfo(expected.value.dtype).eps if expected.value.dtype.kind == "f" else 0
        bound = (largest_sum(form) + EXTRA) * unit * (side.magnitude + expected.magnitude) + slack
        # A sum may be stated as one row, and as a column where it stands for each example.
        off = np.abs(np.broadcast_to(side.value, expected.value.shape) - expected.value)
        assert (off <= bound).all(), (told.text, side.value, expected.value, off, bound)
    return max(len(pairs) - 1, 0)


def row_slack(told: Statement) -> Any:
    """Rules that work by rows compute a_j (g_j - sum of g_k a_k), which rounds as numbers of the size of g do, also
    where the Jacobian's entries are far smaller: 1 - a_j cancels there."""
    by_outputs: Array = np.zeros(0)
    if "works on whole rows" in told.text and told.terms is not None:
        by_outputs = np.array([row[0] for row in told.terms])
    elif "works on whole rows" in told.text or "with its Jacobian" in told.text:
        assert isinstance(told.formula, formulas.Equation)
        product = next(side for side in told.formula.sides if isinstance(side, formulas.Product))
        side = computed(product.factors[0])
        assert side is not None
        by_outputs = side.value
    if not by_outputs.size:
        return 0
    return (by_outputs.size + EXTRA) * np.finfo(by_outputs.dtype).eps * np.abs(by_outputs).sum()


def check_terms(told: Statement, slack: Any = 0) -> None:
    assert told.terms
    products = np.array([np.prod([float(factor) for factor in row]) for row in told.terms])
    value = np.asarray(told.value)
    unit = np.finfo(value.dtype).eps if value.dtype.kind == "f" else 0
    bound = (len(products) + EXTRA) * unit * np.abs(products).sum() + slack
    assert abs(products.sum() - float(value)) <= bound, (told.text, products.sum(), value)


@np.errstate(all="ignore")
def check_all(derivation: Derivation) -> int:
    slacks = iter(reversed(path_magnitudes(derivation.worked)))
    compared = 0
    for section in derivation.sections:
        for told in section.steps:
            own = told.text.startswith("Each example has its own gradient")
            compared += check(told, next(slacks) if own else 0)
    return compared


def path_magnitudes(worked: Worked) -> list[Array]:
    """What each layer's gradients by weights, computed once for the batch and once for each example, may differ by.

    Both are the same sums over all paths, with factors in front that differ, so that each path is rounded differently;
    what matters is the sum of the paths' magnitudes, which is a backward pass with magnitudes everywhere.
    """
    evaluation, trace = worked.before.evaluation, worked.before.trace
    errors = np.abs(evaluation.output_gradients)
    magnitudes = []
    for i in reversed(range(len(trace))):
        layer, (x, z, a) = worked.network.layers[i], trace[i]
        if evaluation.preactivation_gradients is not None and i == len(trace) - 1:
            errors = np.abs(evaluation.preactivation_gradients)
        elif layer.activation.kind == "log_softmax":
            errors = errors + np.exp(a) * errors.sum(axis=1, keepdims=True)
        elif works_by_rows(layer.activation):
            errors = a * (errors + (errors * a).sum(axis=1, keepdims=True))
        else:
            errors = errors * np.abs(slopes(layer.activation, z, a))
        total = (np.abs(x) * np.abs(evaluation.scales)[:, None]).T @ errors
        unit = np.finfo(total.dtype).eps
        magnitudes.append(worked.weights_form(64 * len(trace) * max(total.shape) * unit * total))
        errors = errors @ np.abs(layer.weights).T
    return magnitudes[::-1]


def texts(derivation: Derivation) -> str:
    return "\n".join(told.text for section in derivation.sections for told in section.steps)


OPTIMIZERS = get_args(Optimizer)
assert OPTIMIZERS, "an empty union would test nothing"
OPTIMIZERS_IN_STEPS = [
    Sgd(momentum=0.9, nesterov=True, weight_decay=0.1),
    Sgd(momentum=0.5, dampening=0.3, maximize=True),
    Sgd(weight_decay=0.1),
    Adam(weight_decay=0.1, maximize=True),
    NAdam(weight_decay=0.1, decoupled_weight_decay=True),
    Lion(weight_decay=0.1),
]


class Drawn(NamedTuple):
    """A worked example that does not print all of its numbers."""

    worked: Worked

    def __repr__(self) -> str:
        kinds = [layer.activation.kind for layer in self.worked.network.layers]
        return f"<{kinds}, {self.worked.objective}, {self.worked.optimizer}, {self.worked.clipping}>"


@st.composite
def examples(draw: Any) -> Drawn:
    """A worked example: with or without penalty, clipping, optimizer, frozen parameters, in either layout and dtype."""
    network, inputs, objective = draw(problems())
    if draw(st.booleans()):
        network = type(network)(
            tuple(
                type(layer)(layer.weights, layer.bias, layer.activation, None, frozenset({"weights"}))
                for layer in network.layers
            )
        )
    if draw(st.booleans()):
        network, inputs, objective = in_single_precision(network, inputs, objective)
    penalty = draw(st.sampled_from([None, Regularization(0.01, 0.1), Regularization(0.0, 0.5)]))
    transposed = draw(st.booleans())
    if draw(st.booleans()):
        result = differentiate(network, inputs, objective, penalty)
        return Drawn(Worked(network, inputs, objective, result, regularization=penalty, transposed=transposed))
    rule = draw(st.sampled_from([*(kind() for kind in OPTIMIZERS), *OPTIMIZERS_IN_STEPS]))
    clipping = draw(st.sampled_from([None, ClipByNorm(max_norm=0.1), ClipByNorm(max_norm=1e9), ClipByValue()]))
    state = init_state(rule, network)
    if draw(st.booleans()):
        state = step(network, -inputs, objective, rule, state, penalty, clipping).state
    made = step(network, inputs, objective, rule, state, penalty, clipping)
    return Drawn(Worked(network, inputs, objective, made.before, made, rule, penalty, clipping, transposed, state))


def in_single_precision(
    network: Network, inputs: Array, objective: LossObjective
) -> tuple[Network, Array, LossObjective]:
    parameters = [{name: p.astype(np.float32) for name, p in layer.items()} for layer in network.parameters]
    weights = objective.sample_weights
    single = None if weights is None else weights.astype(np.float32)
    targets = objective.targets.astype(np.float32)
    return (
        network.with_parameters(parameters),
        inputs.astype(np.float32),
        LossObjective(objective.loss, targets, single),
    )


@PROPERTIES
@given(examples())
def test_every_equation_of_a_whole_derivation_holds(drawn: Drawn) -> None:
    assert check_all(derive(drawn.worked)) >= 3 * len(drawn.worked.network.layers)


@PROPERTIES
@given(examples(), st.data())
def test_every_equation_of_a_focus_holds(drawn: Drawn, data: Any) -> None:
    worked = drawn.worked
    layer = data.draw(st.integers(0, len(worked.network.layers) - 1))
    name = data.draw(st.sampled_from(sorted(worked.network.layers[layer].parameters)))
    shape = worked.network.layers[layer].parameters[name].shape
    index = tuple(data.draw(st.integers(0, size - 1)) for size in shape)
    told = focus(worked, Focus(layer, name, index))
    assert check_all(told) >= 1
    gradient = worked.before.gradients.layers[layer].parameters[name][index]
    chain = next(section for section in told.sections if section.title == "The gradient")
    assert chain.steps[0].value == gradient and chain.steps[0].terms is not None


def test_an_equation_that_does_not_hold_is_seen() -> None:
    wrong = formulas.equation(formulas.product([2.0, 3.0]), formulas.number(6.0 + 1e-13))
    with pytest.raises(AssertionError):
        check(Statement("", wrong))
    with pytest.raises(AssertionError):
        check(Statement("", None, np.float64(6.0), [[2.0, 3.1]]))
    right = formulas.equation(formulas.product([2.0, 3.0]), formulas.number(6.0))
    with pytest.raises(AssertionError):
        check(Statement("", right, np.float64(6.1)))
    assert check(Statement("", right, np.float64(6.0))) == 1


def textbook(**changes: Any) -> Worked:
    return ExplainRequest.model_validate({**TEXTBOOK, **changes}).explained().worked


def test_single_precision_is_told_in_single_precision() -> None:
    worked = textbook(dtype="float32")
    derivation = derive(worked)
    assert check_all(derivation) > 20
    for section in derivation.sections:
        for told in section.steps:
            if isinstance(told.value, np.ndarray):
                assert told.value.dtype == np.float32, told.text
    assert check_all(focus(worked, Focus(0, "weights", (1, 2)))) > 4


def test_output_gradients_take_the_place_of_a_loss() -> None:
    worked = textbook()
    objective = VectorObjective(np.array([[1.0, -2.0, 0.5]]))
    result = differentiate(worked.network, worked.inputs, objective)
    derivation = derive(Worked(worked.network, worked.inputs, objective, result))
    assert check_all(derivation) > 15 and "no loss" in texts(derivation)
    assert check_all(focus(derivation.worked, Focus(0, "bias", (1,)))) > 4


def test_a_focus_shows_the_slopes_that_were_used() -> None:
    """Those of gelu, whose last digit depends on how many there are, where its two terms nearly cancel."""
    random = np.random.default_rng(5)
    weights = 1 + 1e-6 * random.normal(size=(1, 16))
    network = Network((Dense(weights, None, Gelu()), Dense(random.normal(size=(16, 1)), None, Identity())))
    inputs = -0.7517915 + 1e-6 * random.normal(size=(16, 1))
    objective = LossObjective(Mse(), np.zeros((16, 1)))
    worked = Worked(network, inputs, objective, differentiate(network, inputs, objective))
    assert all(check_all(focus(worked, Focus(0, "weights", (0, unit)))) > 3 for unit in range(16))


@pytest.mark.parametrize("loss", [{"kind": "cross_entropy"}, {"kind": "binary_cross_entropy", "label_smoothing": 0.2}])
def test_a_loss_of_logits_shows_its_probabilities(loss: dict[str, Any]) -> None:
    network = {"layers": [{"weights": [[0.5, -1.0], [1.0, 0.3]], "bias": [0.1, 0.2], "activation": "identity"}]}
    derivation = derive(
        textbook(
            network=network,
            inputs=[[0.3, 0.4], [-1.0, 2.0]],
            targets=[[0, 1], [1, 0]],
            loss={**loss, "from_logits": True},
        )
    )
    assert check_all(derivation) > 8
    told = {step.text: step for section in derivation.sections for step in section.steps}
    z = derivation.worked.before.trace[-1].activations
    p = softmax(z) if loss["kind"] == "cross_entropy" else 1 / (1 + np.exp(-z))
    made = next(step for text, step in told.items() if text.startswith("The outputs are logits"))
    assert made.value == pytest.approx(p)
    t = np.array([[0, 1], [1, 0]]) * (1 - loss.get("label_smoothing", 0)) + loss.get("label_smoothing", 0) / 2
    minus = next(step for text, step in told.items() if text.startswith("By the outputs, which are logits"))
    assert minus.value == pytest.approx((p - t) / (2 if loss["kind"] == "cross_entropy" else 4))
    assert isinstance(minus.formula, formulas.Equation) and isinstance(minus.formula.sides[1], formulas.Product)
    derivative = next(step for text, step in told.items() if "Here the outputs z are logits" in text)
    assert isinstance(derivative.formula, formulas.Equation)
    assert not any("frac{y - t}" in side.latex for side in derivative.formula.sides if hasattr(side, "latex"))
    first = next(step for text, step in told.items() if text.startswith("Example 1"))
    assert isinstance(first.formula, formulas.Equation) and r"\log" in str(first.formula.sides[1])


def test_a_target_of_zero_has_no_sign() -> None:
    derivation = derive(textbook(loss={"kind": "cross_entropy", "class_weights": [2.0, 3.0, 4.0]}))
    steps = [step for section in derivation.sections for step in section.steps]
    targets = next(step.value for step in steps if step.text.startswith("What takes the place of the targets"))
    assert 0 in targets and not np.signbit(targets).any()


def test_both_ways_through_softmax_are_shown_where_they_agree() -> None:
    assert "The long way, through the whole Jacobian" in texts(derive(textbook()))
    saturated = textbook(inputs=[[100.0, 200.0, 70.0]])
    network = saturated.network
    weights = network.layers[-1].weights * [[1.0, 1.0, 1e4]]
    network = network.with_parameters([*network.parameters[:-1], {**network.parameters[-1], "weights": weights}])
    assert isinstance(saturated.objective, LossObjective)
    result = differentiate(network, saturated.inputs, saturated.objective)
    lost = derive(Worked(network, saturated.inputs, saturated.objective, result))
    assert result.trace[-1].activations[0, 0] == 0 and check_all(lost) > 15
    assert "The long way, derivative by derivative, loses digits here" in texts(lost)


def test_a_very_deep_network_is_told_at_its_ends() -> None:
    random = np.random.default_rng(2)
    layers = [Dense(random.normal(size=(2, 2)), np.zeros(2), KINDS["tanh"]()) for _ in range(300)]
    network, inputs = Network(tuple(layers)), random.normal(size=(3, 2))
    objective = LossObjective(Mse(), random.normal(size=(3, 2)))
    worked = Worked(network, inputs, objective, differentiate(network, inputs, objective))
    told = focus(worked, Focus(0, "weights", (0, 1)))
    assert check_all(told) > 30 and len(told.sections) < 40
    between = next(section for section in told.sections if section.title.startswith("The errors of layers 288 to 13"))
    assert len(between.steps[0].value) == 276


@pytest.mark.parametrize("kind", KINDS)
def test_jacobians_are_those_of_differences(kind: str) -> None:
    rule = KINDS[kind]()
    z = np.array([0.31, -0.62, 1.4, 0.07])
    if kind == "threshold":
        z = z + 0.5
    h = 1e-6
    differences = [
        (rule.forward((z + h * unit)[None])[0] - rule.forward((z - h * unit)[None])[0]) / (2 * h) for unit in np.eye(4)
    ]
    a = rule.forward(z[None])[0]
    matrix = jacobian(rule, z, a)
    np.testing.assert_allclose(matrix, np.transpose(differences), rtol=1e-7, atol=1e-9)
    for j in range(4):
        assert (jacobian_column(rule, z, a, j) == matrix[:, j]).all()
    assert works_by_rows(rule) == bool(matrix[~np.eye(4, dtype=bool)].any())


def test_a_column_of_a_wide_jacobian_is_made_in_blocks() -> None:
    rule = KINDS["log_softmax"]()
    z = np.random.default_rng(1).normal(size=600)
    a = rule.forward(z[None])[0]
    assert (jacobian_column(rule, z, a, 599) == jacobian(rule, z, a)[:, 599]).all()


def test_multiplications_are_counted_as_they_are_made() -> None:
    """The formulas of the counts against loops that count each multiplication as they make it."""
    for worked in (
        textbook(),
        textbook(loss="mse"),
        textbook(inputs=[[0.1, 0.2, 0.7], [0.3, 0.1, 0.2]], targets=[0, 2]),
    ):
        told = counts(worked)
        shared, alone = sum(total(layer.shared) for layer in told), sum(total(layer.alone) for layer in told)
        assert (shared, alone) == count_by_loops(worked)


def count_by_loops(worked: Worked) -> tuple[int, int]:
    layers, batch = worked.network.layers, worked.batch
    combined = worked.before.evaluation.preactivation_gradients is not None

    def through_activation(i: int, units: int) -> int:
        if i == len(layers) - 1 and combined:
            return 0
        per_unit = layers[i].weights.shape[1] if works_by_rows(layers[i].activation) else 1
        return sum(per_unit for _ in range(batch) for _ in range(units))

    def whole_error(i: int) -> int:
        """All of delta of layer i, from the loss."""
        units = layers[i].weights.shape[1]
        if i == len(layers) - 1:
            return through_activation(i, units)
        after = layers[i + 1].weights.shape[1]
        return whole_error(i + 1) + sum(1 for _ in range(batch * units * after)) + through_activation(i, units)

    once = alone = 0
    for i, layer in enumerate(layers):
        inputs, units = layer.weights.shape
        once += through_activation(i, units) + batch * inputs * units * (2 if i else 1)
        for parameter in [*(["weight"] * (inputs * units)), *(["bias"] * units)]:
            if i < len(layers) - 1:
                heard = units if works_by_rows(layer.activation) else 1
                alone += whole_error(i + 1) + batch * heard * layers[i + 1].weights.shape[1]
            alone += through_activation(i, 1) + (batch if parameter == "weight" else 0)
    return once, alone
