"""The errors of one parameter's chain: from the last layer, layer by layer, back to that of the parameter."""

import numpy as np

from engine.clipping import norm
from engine.derivation.chain import MOST_UNITS, Chain, largest
from engine.derivation.derivation import Section, Statement
from engine.derivation.formulas import (
    Difference,
    Formula,
    Numbers,
    Product,
    Transposed,
    abbreviated,
    elementwise,
    equation,
    matrix_product,
    number,
)
from engine.derivation.judging import counted_targets, judged, without_smoothing
from engine.derivation.notation import by, delta, layer_name, symbol
from engine.derivation.slopes import jacobian_column, works_by_rows
from engine.rules import Array

MOST_TOLD = 24
"""Of a deeper network, so many layers at the ends are told, and those between in one section."""
MOST_WEIGHTS = 36
"""A product with a matrix is written with all numbers where the matrix has no more than these."""


def ways_back(chain: Chain) -> list[Section]:
    """For each example shown: the errors of all layers from the last to the parameter's."""
    sections = []
    for n in chain.examples:
        which = f", example {n + 1}" if chain.worked.batch > 1 else ""
        told = list(range(chain.last, chain.layer - 1, -1))
        between = told[MOST_TOLD // 2 : -MOST_TOLD // 2]
        for i in told:
            if i in between:
                if i == between[0]:
                    sections.append(_likewise(chain, n, between, which))
                continue
            steps = _choice(chain, n, i)
            steps += _first_errors(chain, n) if i == chain.last else _errors(chain, n, i)
            sections.append(Section(f"The error of {layer_name(chain.worked, i)}{which}", tuple(steps)))
    return sections


def _choice(chain: Chain, n: int, i: int) -> list[Statement]:
    """Why some units of layer i are told of, and others not; nothing where all are, or where all are told at once."""
    units, by_rows = len(chain.deltas[i][n]), works_by_rows(chain.layers[i].activation)
    combined = chain.worked.before.evaluation.preactivation_gradients is not None
    if (i == chain.last and combined) or (i == chain.layer and (i == chain.last or not by_rows)):
        return []
    text = f"Of the {units} units, those with the largest errors are told one by one."
    if i == chain.layer:
        text = f"Of the {units} units, those are told from which most of the error of unit {chain.unit + 1} comes."
    told = MOST_UNITS if i == chain.layer else len(chain.units(n, i))
    return [Statement(text)] if 0 < told < units else []


def _likewise(chain: Chain, n: int, between: list[int], which: str) -> Section:
    """The layers in the middle of a very deep network, in one section."""
    norms = np.array([norm([chain.deltas[i][n]]) for i in between])
    text = (
        f"The error goes back through these {len(between)} layers as through those before. Its length from layer "
        "to layer, the square root of the sum of its squares:"
    )
    formula = equation(r"\lVert \delta \rVert", Numbers(norms[None], short=True))
    title = f"The errors of layers {between[0] + 1} to {between[-1] + 1}{which}"
    return Section(title, (Statement(text, formula, norms),))


def _first_errors(chain: Chain, n: int) -> list[Statement]:
    """Of the last layer: from the loss."""
    worked, i = chain.worked, chain.last
    errors = chain.deltas[i][n]
    own = worked.before.evaluation.preactivation_gradients
    if own is not None:
        text = f"At the end, {chain.layers[i].activation.kind} and the loss are differentiated together."
        seen = judged(worked)
        sides: list[Formula | str] = [delta(i, chain.example(n))]
        y = worked.before.trace[-1].activations[n]
        scale = worked.before.evaluation.scales[n]
        if seen is not None and seen.loss.kind in ("cross_entropy", "binary_cross_entropy"):
            assert seen.combined is not None
            t = counted_targets(seen.combined, seen.targets, seen.targets)[n]
            if (y - t == own[n]).all():
                text += " The error of a unit is output minus target."
                text += "" if without_smoothing(seen) is seen else " Label smoothing has moved the target."
                inner = Difference(Numbers(y[None], short=True), Numbers(t[None], short=True))
                sides.append(inner if scale == 1 else Product((number(scale), inner)))
                if scale != 1:
                    text += f" The factor {scale:.6g} in front is what this example counts in the loss."
        text += f" The error{'' if len(errors) == 1 else f's of all {len(errors)} units'}:"
        return [Statement(text, equation(*sides, Numbers(errors[None], short=True)), errors)]
    by_outputs = worked.before.gradients.layers[i].activations[n]
    giver = "request" if judged(worked) is None else "loss"
    text = f"At the end stands the derivative by the outputs, which the {giver} gives."
    formula = equation(by(symbol("a", i, chain.example(n))), Numbers(by_outputs[None], short=True))
    return [Statement(text, formula, by_outputs), *_through_activation(chain, n, i, by_outputs)]


def _errors(chain: Chain, n: int, i: int) -> list[Statement]:
    """Of a layer before the last: from the errors of the layer after it."""
    gradients = chain.worked.before.gradients.layers[i].activations[n]
    if not works_by_rows(chain.layers[i].activation):
        return _through_activation(chain, n, i, gradients)
    steps = []
    weights, after = chain.layers[i + 1].weights, chain.deltas[i + 1][n]
    for k in chain.units(n, i) if i != chain.layer else _largest_outputs(chain, n, i, gradients):
        terms = [[w, d] for w, d in zip(weights[k], after, strict=True)]
        left = by(symbol("a", i, chain.example(n, str(k + 1))))
        formula = equation(left, abbreviated(terms, gradients[k]), number(gradients[k]))
        text = f"What comes back to unit {k + 1}: each weight that leaves it, times the error of the unit it enters."
        steps.append(Statement(text, formula, gradients[k], terms))
    return steps + _through_activation(chain, n, i, gradients)


def _largest_outputs(chain: Chain, n: int, i: int, gradients: Array) -> list[int]:
    """The outputs of a row from which most of the error of the parameter's unit comes."""
    _, z, a = chain.worked.before.trace[i]
    return largest(gradients * jacobian_column(chain.layers[i].activation, z[n], a[n], chain.unit), MOST_UNITS)


def _through_activation(chain: Chain, n: int, i: int, gradients: Array) -> list[Statement]:
    """The errors of layer i: what came back to each unit, through the derivative of the activation."""
    activation = chain.layers[i].activation
    _, z, a = chain.worked.before.trace[i]
    units, errors = chain.units(n, i), chain.deltas[i][n]
    steps = []
    for j in units:
        left = delta(i, chain.example(n, str(j + 1)))
        error = errors[j]
        if works_by_rows(activation):
            column = jacobian_column(activation, z[n], a[n], j)
            terms = [[g, slope] for g, slope in zip(gradients, column, strict=True)]
            text = (
                f"{activation.kind} works on whole rows, so the error of unit {j + 1} is a sum over all outputs of "
                "the row: what came back to each, times its derivative by this unit's z."
            )
            steps.append(Statement(text, equation(left, abbreviated(terms, error), number(error)), error, terms))
            continue
        slope = chain.slopes_of(i)[n, j]
        inner: Formula = number(gradients[j])
        text = f"Unit {j + 1}: the derivative of {activation.kind}, times what came back."
        terms = [[slope, gradients[j]]]
        if i < chain.last:
            back = [[w, d] for w, d in zip(chain.layers[i + 1].weights[j], chain.deltas[i + 1][n], strict=True)]
            text = (
                f"Unit {j + 1}: the derivative of {activation.kind} at {z[n, j]:.6g}, times the sum of what comes "
                "back: each weight that leaves the unit, times the error of the unit that it enters."
            )
            inner = abbreviated(back, gradients[j])
            terms = [[slope, *factors] for factors in back]
        formula = equation(left, Product((number(slope), inner)), number(error))
        steps.append(Statement(text, formula, error, terms))
    if len(units) < len(errors) and i != chain.layer:
        steps += _all_errors(chain, n, i, gradients)
    return steps


def _all_errors(chain: Chain, n: int, i: int, gradients: Array) -> list[Statement]:
    """The errors of all units of layer i at once, where not each is told by itself."""
    activation, errors = chain.layers[i].activation, chain.deltas[i][n]
    steps = []
    if i < chain.last and chain.layers[i + 1].weights.size <= MOST_WEIGHTS:
        text = "What comes back: the errors of the layer after, times the weights between."
        weights = Numbers(chain.worked.weights_form(chain.layers[i + 1].weights))
        back = matrix_product(
            Numbers(chain.deltas[i + 1][n][None]), weights if chain.worked.transposed else Transposed(weights)
        )
        left = by(symbol("a", i, chain.example(n)))
        steps.append(Statement(text, equation(left, back, Numbers(gradients[None])), gradients))
    sides: list[Formula | str] = [delta(i, chain.example(n))]
    text = f"The errors of all {len(errors)} units"
    if not works_by_rows(activation):
        slope = chain.slopes_of(i)[n : n + 1]
        sides.append(elementwise(Numbers(gradients[None], short=True), Numbers(slope, short=True)))
        text += f": what comes back, times the derivative of {activation.kind}"
    steps.append(Statement(f"{text}.", equation(*sides, Numbers(errors[None], short=True)), errors))
    return steps
