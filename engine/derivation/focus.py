"""One parameter: the chain of factors from the loss to it, as sums and products that multiply out."""

from typing import Any

import numpy as np

from engine.clipping import norm
from engine.derivation.derivation import Derivation, Focus, Section, Statement, Worked
from engine.derivation.descent import rule_text, update_statements
from engine.derivation.formulas import (
    Difference,
    Formula,
    Numbers,
    Product,
    Sum,
    Transposed,
    abbreviated,
    elementwise,
    equation,
    matrix_product,
    number,
    product,
)
from engine.derivation.judging import judged
from engine.derivation.notation import by, delta, layer_name, plain_formula, symbol
from engine.derivation.slopes import jacobian_column, slopes, works_by_rows
from engine.derivation.update import LETTERS, clipped, is_plain
from engine.rules import Array

MOST_PATHS = 32
"""All paths are listed where they are not more than these."""
MOST_TOLD = 24
"""Of a deeper network, so many layers at the ends are told, and those between in one section."""
MOST_WEIGHTS = 36
"""A product with a matrix is written with all numbers where the matrix has no more than these."""
MOST_EXAMPLES = 3
MOST_UNITS = 4
MOST_LAYERS = 6
"""Each unit on the way is told one by one in networks that are not deeper and not wider than this, and for so many
examples; beyond, of each layer the units with the largest errors, or the errors alone."""


@np.errstate(all="ignore")
def focus(worked: Worked, on: Focus) -> Derivation:
    """The derivation of one parameter's gradient."""
    chain = Chain(worked, on)
    sections = [chain.start(), *chain.ways_back(), chain.gradient()]
    paths = chain.paths()
    if paths is not None:
        sections.append(paths)
    if worked.step is not None:
        sections.append(chain.update())
    return Derivation(f"The chain rule from the loss to {chain.words}", tuple(sections), worked, on)


class Chain:
    """The way of the error from the loss to one parameter."""

    def __init__(self, worked: Worked, on: Focus) -> None:
        self.worked = worked
        self.layers = worked.network.layers
        self.layer, self.parameter, self.index = on.layer, on.parameter, on.index
        self.unit = on.index[-1]
        self.deltas = [layer.preactivations for layer in worked.before.gradients.layers]
        self.last = len(self.layers) - 1
        written = on.index[::-1] if worked.transposed else on.index
        where = ", ".join(str(k + 1) for k in written)
        self.letter = symbol(LETTERS[on.parameter], on.layer, where)
        self.words = (
            f"the weight from {'input' if on.layer == 0 else 'unit'} {on.index[0] + 1} to unit {self.unit + 1}"
            if on.parameter == "weights"
            else f"the bias of unit {self.unit + 1}"
        ) + f" of {layer_name(worked, on.layer)}"
        self.sources = worked.layer_inputs(on.layer)[:, on.index[0]] if on.parameter == "weights" else None
        errors = self.deltas[on.layer][:, self.unit]
        sizes = np.abs(errors if self.sources is None else errors * self.sources)
        most = MOST_EXAMPLES if self.last - on.layer <= MOST_LAYERS else 1
        self.examples = sorted(np.argsort(-sizes, kind="stable")[:most].tolist())

    @property
    def value(self) -> Any:
        """The engine's gradient."""
        return self.worked.before.gradients.layers[self.layer].parameters[self.parameter][self.index]

    def start(self) -> Section:
        worked = self.worked
        parameter = worked.network.layers[self.layer].parameters[self.parameter][self.index]
        text = f"This is {self.words}, counted from 1. In the request it stands in layer {self.layer}, counted from 0."
        steps = [Statement(text, equation(self.letter, number(parameter)), parameter)]
        if worked.before.loss is not None:
            loss = worked.before.loss
            steps.append(Statement("The loss that is to be differentiated by it:", equation("L", number(loss)), loss))
        steps.append(Statement(self._plan(), equation(by(self.letter), *self._rule())))
        return Section("The parameter", tuple(steps))

    def _plan(self) -> str:
        between = self.last - self.layer
        text = "The error δ of a unit is the derivative of the loss by z, by what goes into the unit's activation. "
        if self.parameter == "weights":
            text += "The derivative by a weight is its input, times the error of the unit that it enters."
        else:
            text += "A bias is added to z as it is, so the derivative by it is the error of its unit."
        if between:
            layers = "One more layer stands" if between == 1 else f"{between} more layers stand"
            text += (
                f" {layers} between the unit and the loss. Every unit hears every unit of the layer before, so the "
                "error is a sum over the units after it, layer by layer."
            )
        if self.worked.batch > 1:
            text += f" All of that is added up over the {self.worked.batch} examples n."
            if len(self.examples) < self.worked.batch:
                told = ", ".join(str(n + 1) for n in self.examples)
                text += f" Told one by one is what gives most of it: of the examples, {told}."
        return text

    def _rule(self) -> list[str]:
        """The chain in symbols, sums within sums where it is short enough."""
        example = "n," if self.worked.batch > 1 else ""
        outer = r"\sum_n " if self.worked.batch > 1 else ""
        j = str(self.unit + 1)
        source = ""
        if self.parameter == "weights":
            source = symbol("a", self.layer - 1, example + str(self.index[0] + 1)) + r" \, "
        sides = [outer + source + delta(self.layer, example + j)]
        between = self.last - self.layer
        if 1 <= between <= 3:
            text, unit = "", j
            for step, (output, after) in enumerate((("h", "k"), ("i", "m"), ("r", "p"))[:between]):
                i = self.layer + step
                z = symbol("z", i, example + unit)
                if works_by_rows(self.layers[i].activation):
                    a = symbol("a", i, example + output)
                    text += rf"\sum_{output} \frac{{\partial {a}}}{{\partial {z}}} "
                else:
                    output = unit
                    text += f"f'({z}) "
                indices = f"{after},{output}" if self.worked.transposed else f"{output},{after}"
                text += rf"\sum_{after} {symbol('W', i + 1, indices)} \, "
                unit = after
            sides.append(outer + source + text + delta(self.last, example + unit))
        return sides

    def ways_back(self) -> list[Section]:
        """For each example shown: the errors of all layers from the last to the parameter's."""
        sections = []
        for n in self.examples:
            which = f", example {n + 1}" if self.worked.batch > 1 else ""
            told = list(range(self.last, self.layer - 1, -1))
            between = told[MOST_TOLD // 2 : -MOST_TOLD // 2]
            for i in told:
                if i in between:
                    if i == between[0]:
                        sections.append(self._likewise(n, between, which))
                    continue
                steps = self._first_errors(n) if i == self.last else self._errors(n, i)
                sections.append(Section(f"The error of {layer_name(self.worked, i)}{which}", tuple(steps)))
        return sections

    def _likewise(self, n: int, between: list[int], which: str) -> Section:
        """The layers in the middle of a very deep network, in one section."""
        norms = np.array([norm([self.deltas[i][n]]) for i in between])
        text = (
            f"The error goes back through these {len(between)} layers as through those before. Its length from layer "
            "to layer, the square root of the sum of its squares:"
        )
        formula = equation(r"\lVert \delta \rVert", Numbers(norms[None], short=True))
        title = f"The errors of layers {between[0] + 1} to {between[-1] + 1}{which}"
        return Section(title, (Statement(text, formula, norms),))

    def _example(self, n: int, index: str = "") -> str:
        return f"{n + 1},{index}" if self.worked.batch > 1 and index else str(n + 1) if self.worked.batch > 1 else index

    def _units(self, n: int, i: int) -> list[int]:
        """The units of layer i that are told of one by one."""
        if i == self.layer:
            return [self.unit]
        errors = np.abs(self.deltas[i][n])
        if self.last - self.layer > MOST_LAYERS:
            return []
        return sorted(int(k) for k in np.argsort(-errors, kind="stable")[:MOST_UNITS])

    def _first_errors(self, n: int) -> list[Statement]:
        """Of the last layer: from the loss."""
        worked, i = self.worked, self.last
        errors = self.deltas[i][n]
        combined = worked.before.evaluation.preactivation_gradients is not None
        layer = self.layers[i]
        if combined:
            text = f"At the end, {layer.activation.kind} and the loss are differentiated together."
            seen = judged(worked)
            sides: list[Formula | str] = [delta(i, self._example(n))]
            y = worked.before.trace[-1].activations[n]
            scale = worked.before.evaluation.scales[n]
            if seen is not None and seen.loss.kind in ("cross_entropy", "binary_cross_entropy"):
                assert seen.combined is not None
                t = -seen.combined.logit_gradient(seen.targets, np.zeros_like(seen.targets), seen.targets)[n]
                if ((y - t) * scale == errors).all():
                    text += " The error of a unit is output minus target."
                    inner = Difference(Numbers(y[None], short=True), Numbers(t[None], short=True))
                    sides.append(inner if scale == 1 else Product((number(scale), inner)))
                    if scale != 1:
                        text += f" The factor {scale:.6g} in front is what this example counts in the loss."
            text += f" The error{'' if len(errors) == 1 else f's of all {len(errors)} units'}:"
            return [Statement(text, equation(*sides, Numbers(errors[None], short=True)), errors)]
        by_outputs = worked.before.gradients.layers[i].activations[n]
        text = "At the end stands the derivative by the outputs, which the loss gives."
        formula = equation(by(symbol("a", i, self._example(n))), Numbers(by_outputs[None], short=True))
        return [Statement(text, formula, by_outputs), *self._through_activation(n, i, by_outputs)]

    def _errors(self, n: int, i: int) -> list[Statement]:
        """Of a layer before the last: from the errors of the layer after it."""
        gradients = self.worked.before.gradients.layers[i].activations[n]
        steps = []
        if not works_by_rows(self.layers[i].activation):
            return self._through_activation(n, i, gradients)
        weights, after = self.layers[i + 1].weights, self.deltas[i + 1][n]
        for k in self._units(n, i) if i != self.layer else self._largest_outputs(n, i, gradients):
            terms = [[w, d] for w, d in zip(weights[k], after, strict=True)]
            left = by(symbol("a", i, self._example(n, str(k + 1))))
            formula = equation(left, abbreviated(terms, gradients[k]), number(gradients[k]))
            text = (
                f"What comes back to unit {k + 1}: each weight that leaves it, times the error of the unit it enters."
            )
            steps.append(Statement(text, formula, gradients[k], terms))
        return steps + self._through_activation(n, i, gradients)

    def _largest_outputs(self, n: int, i: int, gradients: Array) -> list[int]:
        """The outputs of a row from which most of the error of the parameter's unit comes."""
        _, z, a = self.worked.before.trace[i]
        parts = np.abs(gradients * jacobian_column(self.layers[i].activation, z[n], a[n], self.unit))
        return sorted(int(k) for k in np.argsort(-parts, kind="stable")[:MOST_UNITS])

    def _through_activation(self, n: int, i: int, gradients: Array) -> list[Statement]:
        """The errors of layer i: what came back to each unit, through the derivative of the activation."""
        activation = self.layers[i].activation
        _, z, a = self.worked.before.trace[i]
        units, errors = self._units(n, i), self.deltas[i][n]
        steps = []
        rowwise = works_by_rows(activation)
        for j in units:
            left = delta(i, self._example(n, str(j + 1)))
            error = errors[j]
            if rowwise:
                column = jacobian_column(activation, z[n], a[n], j)
                terms = [[g, slope] for g, slope in zip(gradients, column, strict=True)]
                text = (
                    f"{activation.kind} works on whole rows, so the error of unit {j + 1} is a sum over all outputs of "
                    "the row: what came back to each, times its derivative by this unit's z."
                )
                steps.append(Statement(text, equation(left, abbreviated(terms, error), number(error)), error, terms))
                continue
            slope = slopes(activation, z[n : n + 1, j : j + 1], a[n : n + 1, j : j + 1])[0, 0]
            inner: Formula = number(gradients[j])
            text = f"Unit {j + 1}: the derivative of {activation.kind}, times what came back."
            terms = [[slope, gradients[j]]]
            if i < self.last:
                weights, after = self.layers[i + 1].weights[j], self.deltas[i + 1][n]
                text = (
                    f"Unit {j + 1}: the derivative of {activation.kind} at {z[n, j]:.6g}, times the sum of what comes "
                    "back: each weight that leaves the unit, times the error of the unit that it enters."
                )
                inner = abbreviated([[w, d] for w, d in zip(weights, after, strict=True)], gradients[j])
                terms = [[slope, w, d] for w, d in zip(weights, after, strict=True)]
            formula = equation(left, Product((number(slope), inner)), number(error))
            steps.append(Statement(text, formula, error, terms))
        if len(units) < len(errors) and i != self.layer:
            steps += self._all_errors(n, i, gradients)
        return steps

    def _all_errors(self, n: int, i: int, gradients: Array) -> list[Statement]:
        """The errors of all units of layer i at once, where not each is told by itself."""
        activation, errors = self.layers[i].activation, self.deltas[i][n]
        _, z, a = self.worked.before.trace[i]
        steps = []
        if i < self.last and self.layers[i + 1].weights.size <= MOST_WEIGHTS:
            text = "What comes back: the errors of the layer after, times the weights between."
            weights = Numbers(self.worked.weights_form(self.layers[i + 1].weights))
            back = matrix_product(
                Numbers(self.deltas[i + 1][n][None]), weights if self.worked.transposed else Transposed(weights)
            )
            left = by(symbol("a", i, self._example(n)))
            steps.append(Statement(text, equation(left, back, Numbers(gradients[None])), gradients))
        sides: list[Formula | str] = [delta(i, self._example(n))]
        text = f"The errors of all {len(errors)} units"
        if not works_by_rows(activation):
            slope = slopes(activation, z[n : n + 1], a[n : n + 1])
            sides.append(elementwise(Numbers(gradients[None], short=True), Numbers(slope, short=True)))
            text += f": what comes back, times the derivative of {activation.kind}"
        steps.append(Statement(f"{text}.", equation(*sides, Numbers(errors[None], short=True)), errors))
        return steps

    def gradient(self) -> Section:
        """The parameter's gradient, from its inputs and the errors of its unit."""
        errors = self.deltas[self.layer][:, self.unit]
        if self.sources is None:
            terms = [[error] for error in errors]
            text = "The gradient is the error of the unit."
        else:
            terms = [[x, error] for x, error in zip(self.sources, errors, strict=True)]
            text = "The gradient is the input of the weight, times the error of its unit."
        if self.worked.batch > 1:
            text += f" It is added up over the {self.worked.batch} examples; what each counts is in its error already."
        penalty, old = self.worked.regularization, self.layers[self.layer].parameters[self.parameter][self.index]
        if penalty is not None and self.parameter == "weights":
            text += " The penalty adds l1 * sign(w) + l2 * w."
            for factor, what in ((penalty.l1, np.sign(old)), (penalty.l2, old)):
                if factor:
                    terms.append([np.asarray(factor, old.dtype)[()], what])
        formula = equation(by(self.letter), abbreviated(terms, self.value), number(self.value))
        return Section("The gradient", (Statement(text, formula, self.value, terms),))

    def paths(self) -> Section | None:
        """Every path from the parameter to the errors of the last layer: where they are few, there is a choice, and no
        penalty adds to their sum."""
        penalized = self.worked.regularization is not None and self.parameter == "weights"
        if self.layer == self.last or penalized:
            return None
        rows = [works_by_rows(layer.activation) for layer in self.layers[self.layer : self.last]]
        widths = [layer.weights.shape[1] for layer in self.layers[self.layer :]]
        ways = self.worked.batch
        for i, by_rows in enumerate(rows):
            ways *= widths[i + 1] * (widths[i] if by_rows else 1)
            if ways > MOST_PATHS:
                return None
        terms = []
        for n in range(self.worked.batch):
            start = [] if self.sources is None else [self.sources[n]]
            terms += self._paths(n, self.layer, self.unit, start)
        text = (
            "Multiplied out, the gradient is a sum over all paths from the parameter to the loss. Each is a product: "
            + ("" if self.sources is None else "the input, ")
            + "then for each layer the derivative of the activation and the weight that leads on, and at the end the "
            f"error of an output unit. There are {len(terms)} paths:"
        )
        left = by(self.letter)
        steps = [Statement(text, equation(left, Sum(tuple(product(row) for row in terms)), number(self.value)),
                           self.value, terms)]  # fmt: skip
        return Section("All paths", tuple(steps))

    def _paths(self, n: int, i: int, j: int, before: list[Any]) -> list[list[Any]]:
        """The products from unit j of layer i on, each with the factors that stand before."""
        if i == self.last:
            return [[*before, self.deltas[i][n, j]]]
        activation, weights = self.layers[i].activation, self.layers[i + 1].weights
        _, z, a = self.worked.before.trace[i]
        if works_by_rows(activation):
            column = jacobian_column(activation, z[n], a[n], j)
            outputs = list(enumerate(column))
        else:
            outputs = [(j, slopes(activation, z[n : n + 1, j : j + 1], a[n : n + 1, j : j + 1])[0, 0])]
        found = []
        for k, slope in outputs:
            for m in range(weights.shape[1]):
                found += self._paths(n, i + 1, m, [*before, slope, weights[k, m]])
        return found

    def update(self) -> Section:
        """What the optimizer makes of the parameter."""
        worked = self.worked
        step, rule = worked.step, worked.optimizer
        assert step is not None and rule is not None
        old = self.layers[self.layer].parameters[self.parameter][self.index]
        new = step.network.layers[self.layer].parameters[self.parameter][self.index]
        if self.parameter in self.layers[self.layer].frozen:
            text = "This parameter is frozen, so an update leaves it as it is."
            return Section("The update", (Statement(text, equation(self.letter, number(new)), new),))
        gradient = clipped(worked)[self.layer, self.parameter][self.index]
        steps = []
        if worked.clipping is not None:
            text = f"Clipping comes first: {plain_formula(worked.clipping)}"
            steps.append(Statement(text, equation("g", number(gradient)), gradient))
        if not is_plain(worked):
            steps.append(Statement(rule_text(rule), equation(rule.about.latex)))
        kept = {
            key: array[self.index] if isinstance(array, np.ndarray) else array
            for key, array in step.state[self.layer][self.parameter].items()
        }
        what = "The update of the parameter"
        steps += update_statements(rule, self.letter, old, gradient, new, kept, what, number, lambda value: value)
        return Section("The update", tuple(steps))
