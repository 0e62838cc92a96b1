"""One parameter: the chain of factors from the loss to it, as sums and products that multiply out."""

from typing import Any

import numpy as np

from engine.derivation.chain import Chain
from engine.derivation.derivation import Derivation, Focus, Section, Statement, Worked
from engine.derivation.descent import rule_text, update_statements
from engine.derivation.formulas import Sum, abbreviated, equation, number, product
from engine.derivation.notation import LEGEND, about, by, delta, l_of_outputs, symbol
from engine.derivation.slopes import jacobian_column, works_by_rows
from engine.derivation.update import clipped, clipping_steps, is_plain, states
from engine.derivation.way_back import ways_back

MOST_PATHS = 32
"""All paths are listed where they are not more than these."""


@np.errstate(all="ignore")
def focus(worked: Worked, on: Focus) -> Derivation:
    """The derivation of one parameter's gradient."""
    chain = Chain(worked, on)
    sections = [_parameter_section(chain), *ways_back(chain), _gradient_section(chain)]
    paths = _paths_section(chain)
    if paths is not None:
        sections.append(paths)
    if worked.step is not None:
        sections.append(_update_section(chain))
    return Derivation(f"The chain rule from the loss to {chain.words}", tuple(sections), worked, on)


def _parameter_section(chain: Chain) -> Section:
    """Which parameter it is, and the chain rule for it in symbols."""
    text = f"This is {chain.words}, counted from 1. In the request it stands in layer {chain.layer}, counted from 0."
    steps = [Statement(text, equation(chain.letter, number(chain.old)), chain.old), Statement(LEGEND)]
    loss = chain.worked.before.loss
    if loss is None:
        steps.append(Statement(f"There is no loss here: {l_of_outputs(chain.worked)}"))
    else:
        steps.append(Statement("The loss that is to be differentiated by it:", equation("L", number(loss)), loss))
    steps.append(Statement(_plan(chain), equation(by(chain.letter), *_rule(chain))))
    return Section("The parameter", tuple(steps))


def _plan(chain: Chain) -> str:
    """What the gradient is made of, in words."""
    between = chain.last - chain.layer
    text = "The error δ of a unit is the derivative of the loss by z, by what goes into the unit's activation. "
    if chain.parameter == "weights":
        text += "The derivative by a weight is its input, times the error of the unit that it enters."
    else:
        text += "A bias is added to z as it is, so the derivative by it is the error of its unit."
    if between:
        layers = "One more layer stands" if between == 1 else f"{between} more layers stand"
        text += (
            f" {layers} between the unit and the loss. Every unit hears every unit of the layer before, so the "
            "error is a sum over the units after it, layer by layer; f' is the derivative of an activation."
        )
    if chain.worked.batch > 1:
        text += f" All of that is added up over the {chain.worked.batch} examples n."
        if len(chain.examples) < chain.worked.batch:
            told = ", ".join(str(n + 1) for n in chain.examples)
            text += f" Told one by one is what gives most of it: of the examples, {told}."
    return text


def _rule(chain: Chain) -> list[str]:
    """The chain in symbols, sums within sums where it is short enough."""
    example = "n," if chain.worked.batch > 1 else ""
    outer = r"\sum_n " if chain.worked.batch > 1 else ""
    j = str(chain.unit + 1)
    source = ""
    if chain.parameter == "weights":
        source = symbol("a", chain.layer - 1, example + str(chain.index[0] + 1)) + r" \, "
    sides = [outer + source + delta(chain.layer, example + j)]
    between = chain.last - chain.layer
    if 1 <= between <= 3:
        text, unit = "", j
        for step, (output, after) in enumerate((("h", "k"), ("i", "m"), ("r", "p"))[:between]):
            i = chain.layer + step
            z = symbol("z", i, example + unit)
            if works_by_rows(chain.layers[i].activation):
                a = symbol("a", i, example + output)
                text += rf"\sum_{output} \frac{{\partial {a}}}{{\partial {z}}} "
            else:
                output = unit
                text += f"f'({z}) "
            indices = f"{after},{output}" if chain.worked.transposed else f"{output},{after}"
            text += rf"\sum_{after} {symbol('W', i + 1, indices)} \, "
            unit = after
        sides.append(outer + source + text + delta(chain.last, example + unit))
    return sides


def _gradient_section(chain: Chain) -> Section:
    """The parameter's gradient, from its inputs and the errors of its unit."""
    errors = chain.deltas[chain.layer][:, chain.unit]
    if chain.sources is None:
        terms = [[error] for error in errors]
        text = "The gradient is the error of the unit."
    else:
        terms = [[x, error] for x, error in zip(chain.sources, errors, strict=True)]
        text = "The gradient is the input of the weight, times the error of its unit."
    if chain.worked.batch > 1:
        text += f" It is added up over the {chain.worked.batch} examples; what each counts is in its error already."
    penalty, old = chain.worked.regularization, chain.old
    if penalty is not None and chain.parameter == "weights":
        text += " The penalty adds l1 * sign(w) + l2 * w."
        for factor, what in ((penalty.l1, np.sign(old)), (penalty.l2, old)):
            if factor:
                terms.append([np.asarray(factor, old.dtype)[()], what])
    formula = equation(by(chain.letter), abbreviated(terms, chain.gradient), number(chain.gradient))
    return Section("The gradient", (Statement(text, formula, chain.gradient, terms),))


def _paths_section(chain: Chain) -> Section | None:
    """Every path from the parameter to the errors of the last layer; None where there is one alone or there are many,
    or where a penalty adds to their sum."""
    penalized = chain.worked.regularization is not None and chain.parameter == "weights"
    if chain.layer == chain.last or penalized:
        return None
    rows = [works_by_rows(layer.activation) for layer in chain.layers[chain.layer : chain.last]]
    widths = [layer.weights.shape[1] for layer in chain.layers[chain.layer :]]
    ways = chain.worked.batch
    for i, by_rows in enumerate(rows):
        ways *= widths[i + 1] * (widths[i] if by_rows else 1)
        if ways > MOST_PATHS:
            return None
    terms = [factors for n in range(chain.worked.batch) for factors in _paths(chain, n)]
    text = (
        "Multiplied out, the gradient is a sum over all paths from the parameter to the loss. Each is a product: "
        + ("" if chain.sources is None else "the input, then ")
        + "for each layer the derivative of the activation and the weight that leads on, and at the end the "
        f"error of an output unit. There are {len(terms)} paths:"
    )
    paths = Sum(tuple(product(row) for row in terms))
    formula = equation(by(chain.letter), paths, number(chain.gradient))
    return Section("All paths", (Statement(text, formula, chain.gradient, terms),))


def _paths(chain: Chain, n: int) -> list[list[Any]]:
    """The factors of each path from the parameter to the loss, for one example."""
    # The unit that a path has reached, and its factors so far.
    paths: list[tuple[int, list[Any]]] = [(chain.unit, [] if chain.sources is None else [chain.sources[n]])]
    for i in range(chain.layer, chain.last):
        weights = chain.layers[i + 1].weights
        paths = [
            (m, [*factors, slope, weight])
            for j, factors in paths
            for k, slope in _outputs(chain, n, i, j)
            for m, weight in enumerate(weights[k])
        ]
    return [[*factors, chain.deltas[chain.last][n, j]] for j, factors in paths]


def _outputs(chain: Chain, n: int, i: int, j: int) -> list[tuple[int, Any]]:
    """The outputs of layer i that hear unit j's preactivation, each with its derivative by that."""
    activation = chain.layers[i].activation
    _, z, a = chain.worked.before.trace[i]
    if works_by_rows(activation):
        return list(enumerate(jacobian_column(activation, z[n], a[n], j)))
    return [(j, chain.slopes_of(i)[n, j])]


def _update_section(chain: Chain) -> Section:
    """What the optimizer makes of the parameter."""
    worked = chain.worked
    step, rule = worked.step, worked.optimizer
    assert step is not None and rule is not None
    new = step.network.layers[chain.layer].parameters[chain.parameter][chain.index]
    if chain.parameter in chain.layers[chain.layer].frozen:
        text = "This parameter is frozen, so an update leaves it as it is."
        return Section("The update", (Statement(text, equation(chain.letter, number(new)), new),))
    gradient = clipped(worked)[chain.layer, chain.parameter][chain.index]
    steps = []
    if worked.clipping is not None:
        steps += clipping_steps(worked)
        steps.append(Statement("After clipping, this gradient:", equation("g", number(gradient)), gradient))
    if not is_plain(worked):
        steps.append(Statement(rule_text(rule), equation(about(rule).latex)))
    last, kept = (
        {key: array[chain.index] if isinstance(array, np.ndarray) else array for key, array in state.items()}
        for state in states(worked, chain.layer, chain.parameter)
    )
    what = "The update of the parameter"
    steps += update_statements(worked, chain.letter, chain.old, gradient, new, last, kept, what)
    return Section("The update", tuple(steps))
