"""The loss, the derivatives that matter, and where the error starts."""

from typing import Any, NamedTuple

import numpy as np

from engine.derivation.derivation import Section, Statement, Worked
from engine.derivation.formulas import (
    Applied,
    Formula,
    Numbers,
    Product,
    Sum,
    elementwise,
    equation,
    number,
)
from engine.derivation.notation import by, hyperparameters, plain_formula
from engine.derivation.slopes import works_by_rows
from engine.derivation.update import update_rule
from engine.losses import Loss
from engine.objective import LossObjective, combination
from engine.probability_losses import BinaryCrossEntropy, CrossEntropy, LossOfProbabilities
from engine.reduction import prepare_targets
from engine.rules import Array, column

MOST_EXAMPLES = 4
"""Of so many examples of a batch at most, what is done alike for each is shown."""


ROUNDINGS = 32
"""Two ways that differ by no more than so many roundings are shown as equal."""


class Judged(NamedTuple):
    """A loss on these outputs. `combined` is the loss on logits where it is taken together with the last activation,
    whose logits are `sign` * z; `values` are before the reduction."""

    loss: Loss
    targets: Array
    combined: LossOfProbabilities | None
    sign: int
    values: Array


def judged(worked: Worked) -> Judged | None:
    """What the loss sees; None where output gradients are given in its place."""
    objective = worked.objective
    if not isinstance(objective, LossObjective):
        return None
    loss = objective.loss
    _, z, a = worked.before.trace[-1]
    targets = prepare_targets(loss, objective.targets, a.shape, a.dtype)
    combined, sign = combination(loss, worked.network.layers[-1].activation.kind)
    values = loss.values(a, targets) if combined is None else combined.values(sign * z, targets)
    return Judged(loss, targets, combined, sign, values)


def agree(one: Any, other: Any, magnitude: Any) -> bool:
    """Whether two ways of computing the same numbers, sums of terms of this magnitude, differ by rounding alone."""
    unit = np.finfo(np.asarray(other).dtype).eps
    return bool((np.abs(one - other) <= ROUNDINGS * unit * magnitude).all())


def loss_section(worked: Worked) -> Section:
    seen = judged(worked)
    if seen is None:
        gradients = worked.before.evaluation.output_gradients
        text = (
            "There is no loss here. The request gives the derivative by the outputs itself, and what comes back are "
            "vector-Jacobian products: L stands for the sum of the outputs, each times the number given for it."
        )
        return Section("The loss", (Statement(text, equation("v", Numbers(gradients)), gradients),))
    loss = seen.loss
    told = (
        f"The loss is {loss.kind}, with y the outputs and t the targets: {plain_formula(loss)}{hyperparameters(loss)}"
    )
    steps = [Statement(told, equation(r"\ell", loss.about.latex))]
    if seen.combined is not None:
        steps.append(
            Statement(
                f"The last layer's {worked.network.layers[-1].activation.kind} and the loss are computed together from "
                "z. That is the same function, and it keeps its digits where an output rounds to 0 or 1."
            )
        )
    objective = worked.objective
    if isinstance(objective, LossObjective) and objective.targets.ndim == 1:
        steps.append(Statement("The labels as rows:", equation("t", Numbers(seen.targets)), seen.targets))
    steps += _values(worked, seen)
    steps.append(_reduction(worked, seen))
    if worked.regularization is not None:
        steps += _penalty(worked)
    return Section("The loss", tuple(steps))


def effective_targets(seen: Judged) -> Array | None:
    """The targets of a cross-entropy of probabilities after smoothing and class weights; None for another loss.

    Its derivative by logits is p * sum(t) - t: at p = 0, minus these targets.
    """
    if not isinstance(seen.combined, CrossEntropy):
        return None
    return -seen.combined.logit_gradient(seen.targets, np.zeros_like(seen.targets), seen.targets)


def _values(worked: Worked, seen: Judged) -> list[Statement]:
    _, z, a = worked.before.trace[-1]
    values = seen.values
    shown = column(values) if values.ndim == 1 else values
    what = "of each example" if values.ndim == 1 else "of each output"
    if worked.batch > 1 and values.ndim == 2:
        what += " of each example"
    targets = effective_targets(seen)
    if targets is not None and worked.batch <= MOST_EXAMPLES and not (a[targets != 0] == 0).any():
        steps = []
        for n, (t, y) in enumerate(zip(targets, a, strict=True)):
            chosen = [c for c in range(len(t)) if t[c] != 0]
            terms = [Product((number(-t[c]), Applied(r"\log", np.log, (number(y[c]),)))) for c in chosen]
            if terms and agree(sum([-t[c] * np.log(y[c]) for c in chosen]), values[n], 1 + values[n]):
                subscript = f"_{n + 1}" if worked.batch > 1 else ""
                sides = (rf"\ell{subscript}", Sum(tuple(terms)), number(values[n]))
                text = "Only classes with a target above 0 count" if n == 0 else f"Example {n + 1}"
                text += ". Example 1:" if n == 0 and worked.batch > 1 else ":"
                steps.append(Statement(text, equation(*sides), values[n]))
        if len(steps) == len(a):
            return steps
    plain = seen.loss.values(a, seen.targets)
    if agree(plain, values, 1 + np.abs(values)):
        rule, arguments = seen.loss.values, (Numbers(a), Numbers(seen.targets))
    else:
        assert seen.combined is not None
        rule, arguments = seen.combined.values, (Numbers(seen.sign * z), Numbers(seen.targets))

    def in_rows(y: Array, t: Array) -> Array:
        result = rule(y, t)
        return column(result) if result.ndim == 1 else result

    formula = equation(r"\ell", Applied(r"\ell", in_rows, arguments), Numbers(shown))
    return [Statement(f"The loss {what}:", formula, values)]


def _reduction(worked: Worked, seen: Judged) -> Statement:
    evaluation, values = worked.before.evaluation, seen.values
    rows = values if values.ndim == 1 else values.sum(axis=1)
    scales = evaluation.scales
    data_loss = evaluation.loss
    terms = [[scale, row] for scale, row in zip(scales, rows, strict=True)]
    text = _reduction_text(worked, seen)
    total = Sum(tuple(Product((number(s), number(r))) for s, r in terms))
    if len(rows) == 1 and scales[0] == 1:
        return Statement(text, equation("L", number(data_loss)), data_loss)
    return Statement(text, equation("L", total, number(data_loss)), data_loss, terms)


def _reduction_text(worked: Worked, seen: Judged) -> str:
    batch, loss = worked.batch, seen.loss
    outputs = worked.before.trace[-1].activations.shape[1]
    objective = worked.objective
    weighted = isinstance(objective, LossObjective) and objective.sample_weights is not None
    by_class = loss.row_weights(seen.targets) is not None
    elementwise_values = seen.values.ndim == 2
    if loss.reduction == "sum":
        text = "The reduction is sum: all losses are added"
        text += ", each example's times its weight." if weighted else "."
    elif weighted or by_class:
        what = "weights of the examples" if not by_class else "weights that examples and labels have"
        text = f"The loss is a weighted mean: each example's loss times its weight, over the sum of the {what}"
        text += f" and the {outputs} outputs." if elementwise_values and loss.reduction == "mean" else "."
    elif elementwise_values and loss.reduction == "mean":
        text = f"The reduction is mean: the sum over all outputs of all examples, over their number {batch * outputs}."
    elif batch == 1:
        return "With one example, the mean over the batch is its own loss."
    else:
        text = f"The loss of the batch is the mean over its {batch} examples."
    return text + " The first factor of each product is what an example's loss counts in it."


def _penalty(worked: Worked) -> list[Statement]:
    rule, before = worked.regularization, worked.before
    assert rule is not None
    text = f"Regularization adds a penalty on the weights of all layers: l1 = {rule.l1:g}, l2 = {rule.l2:g}."
    formula = r"\lambda_1 \sum |w| + \frac{\lambda_2}{2} \sum w^2"
    steps = [Statement(text, equation(r"\text{penalty}", formula, number(before.penalty)), before.penalty)]
    if before.loss is not None:
        both = Sum((number(before.evaluation.loss), number(before.penalty)))
        steps.append(Statement("So the whole loss is:", equation("L", both, number(before.loss)), before.loss))
    return steps


def derivatives_section(worked: Worked) -> Section:
    """The derivative of every activation that occurs, and of the loss."""
    steps = [
        Statement(
            "Backpropagation needs three derivatives: of the loss by the outputs, of each activation by what goes into "
            "it, and of x W + b, which is x by the weights, 1 by the bias and W by x. The derivative of the loss by z, "
            "by what goes into an activation, is called the error of a unit, and written δ.",
            equation(r"\delta", by("z")),
        )
    ]
    for activation in dict.fromkeys(layer.activation for layer in worked.network.layers):
        about = activation.about
        left = r"\frac{\partial a_j}{\partial z_k}" if works_by_rows(activation) else "f'(z)"
        text = f"The derivative of {activation.kind}: {about.derivative}."
        if works_by_rows(activation):
            text += (
                " Every output depends on every number of its row, so there is a whole matrix of derivatives, the "
                "Jacobian, and not its diagonal alone. [j = k] is 1 where j is k, else 0."
            )
        elif "[" in (about.derivative_latex or ""):
            text += " Square brackets are 1 where what they hold is true, else 0."
        steps.append(Statement(text, equation(left, about.derivative_latex or "")))
    seen = judged(worked)
    if seen is not None:
        about = seen.loss.about
        text = f"The derivative of the loss by an output: {about.derivative}."
        steps.append(Statement(text, equation(r"\frac{\partial \ell}{\partial y}", about.derivative_latex or "")))
        if seen.combined is not None:
            steps.append(_combination(worked, seen))
    steps.append(update_rule(worked))
    return Section("The derivatives that matter here", tuple(steps))


def _combination(worked: Worked, seen: Judged) -> Statement:
    kind, loss = worked.network.layers[-1].activation.kind, seen.loss.kind
    start = f"After {kind}, {loss} is simple to differentiate by z: the product of both derivatives "
    if kind == "sigmoid":
        formula = r"\frac{y - t}{y (1 - y)} \, y (1 - y)"
        text = start + "loses its denominator, and output minus target remains."
        if isinstance(seen.combined, BinaryCrossEntropy) and seen.combined.class_weights is not None:
            text += " A class weight multiplies it."
        return Statement(text, equation(r"\frac{\partial \ell}{\partial z}", formula, "y - t"))
    sign = "" if seen.sign == 1 else "-"
    general = r"\sum_k \frac{\partial \ell}{\partial y_k} \frac{\partial y_k}{\partial z_j}"
    left = r"\frac{\partial \ell}{\partial z_j}"
    if loss == "cross_entropy":
        plus = r"y_j \sum_k t_k - t_j"
        worked_out = rf"{sign}\left( {plus} \right)" if sign else plus
        longer = rf"\sum_k \left( -\frac{{t_k}}{{y_k}} \right) {sign} y_k ([j = k] - y_j)"
        text = start + "loses its denominators. Where the targets of a row add up to 1, output minus target remains."
        if isinstance(seen.combined, CrossEntropy) and seen.combined.class_weights is not None:
            text += " Here t is the target times its class weight."
        return Statement(text, equation(left, longer, worked_out))
    by_logs = rf"{sign}\left( g_j - y_j \sum_k g_k \right), \quad g_k = \frac{{\partial \ell}}{{\partial \log y_k}}"
    text = start + "can be written with the derivative by the logarithm of each output, which never divides by it."
    return Statement(text, equation(left, general, by_logs))


def scaled(worked: Worked, formula: Formula) -> Formula:
    """Each row times what its example counts in the loss; as it is where that is 1."""
    scales = worked.before.evaluation.scales
    if (scales == 1).all():
        return formula
    if (scales == scales[0]).all():
        return Product((number(scales[0]), formula))
    return elementwise(Numbers(column(scales)), formula)


def name_of_scale(worked: Worked) -> str:
    """What the factor of `scaled` is, in words."""
    scales = worked.before.evaluation.scales
    if (scales == 1).all():
        return ""
    if (scales == scales[0]).all():
        return f" The factor {scales[0]:.6g} in front comes from the reduction of the loss."
    return " The column in front holds what each example counts in the loss."
