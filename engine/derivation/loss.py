"""The loss and its reduction, and the derivatives that matter."""

import numpy as np

from engine.derivation.derivation import Section, Statement, Worked
from engine.derivation.example_losses import example_loss_steps
from engine.derivation.formulas import Applied, Numbers, Product, Sum, equation, number
from engine.derivation.judging import LOGITS, Judged, effective_targets, judged, probabilities, without_smoothing
from engine.derivation.notation import about, by, function, hyperparameters, l_of_outputs, plain_formula
from engine.derivation.slopes import works_by_rows
from engine.derivation.update import update_rule
from engine.losses import Huber
from engine.objective import LossObjective
from engine.probability_losses import BinaryCrossEntropy

MOST_SHOWN = 16
"""So many losses of outputs are added up one by one; more row by row."""
OF_LOGITS = {
    "cross_entropy": (r"\frac{\partial \ell}{\partial z_c}", r"y_c \sum_k w_k t_k - w_c t_c"),
    "binary_cross_entropy": (r"\frac{\partial \ell}{\partial z}", "w (y - t)"),
    "focal": (
        r"\frac{\partial \ell}{\partial z_j}",
        r"g_j - y_j \sum_k g_k, \quad g_k = \frac{\partial \ell}{\partial y_k} \, y_k",
    ),
    "kl_divergence": (
        r"\frac{\partial \ell}{\partial z_j}",
        r"g_j - e^{y_j} \sum_k g_k, \quad g_k = \frac{\partial \ell}{\partial y_k}",
    ),
}
"""The derivatives of losses by logits, of which y are the probabilities, or their logarithms."""
TAKEN_AWAY = {"cross_entropy", "binary_cross_entropy"}
"""The derivative of the probabilities takes the denominators of these losses' away."""


def loss_section(worked: Worked) -> Section:
    """The loss of each example, their reduction, and the penalty."""
    seen = judged(worked)
    if seen is None:
        gradients = worked.before.evaluation.output_gradients
        text = (
            "There is no loss here. The request gives the derivative by the outputs itself, and what comes back are "
            f"vector-Jacobian products: {l_of_outputs(worked)}"
        )
        given = Statement(text, equation("v", Numbers(gradients)), gradients)
        return Section("The loss", (given, *_penalty(worked)))
    loss = seen.loss
    outputs = worked.before.trace[-1].activations
    p = probabilities(loss, outputs)
    made = "logarithms of probabilities" if loss.kind == "kl_divergence" else "probabilities"
    plain = "logarithms of the outputs" if loss.kind == "kl_divergence" and seen.combined is not None else "outputs"
    told = (
        f"The loss is {loss.kind}, with y the {plain if p is None else made} and t the targets: "
        f"{plain_formula(loss)}{hyperparameters(loss)}"
    )
    steps = [Statement(told, equation(r"\ell", about(loss).latex))]
    if p is not None:
        name, rule = LOGITS[loss.kind]
        text = f"The outputs are logits: the loss itself makes {made} of them, by {name}."
        steps.append(Statement(text, equation("y", Applied(function(name), rule, (Numbers(outputs),)), Numbers(p)), p))
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
    effective = effective_targets(seen)
    if effective is not None and (effective != seen.targets).any():
        text = "What takes the place of the targets after label smoothing and class weights:"
        steps.append(Statement(text, equation("w t", Numbers(effective)), effective))
    elif effective is None and (moved := without_smoothing(seen).targets) is not seen.targets:
        text = "What takes the place of the targets after label smoothing:"
        steps.append(Statement(text, equation("t", Numbers(moved)), moved))
    steps += example_loss_steps(worked, seen)
    steps.append(_reduction(worked, seen))
    steps += _penalty(worked)
    return Section("The loss", tuple(steps))


def _reduction(worked: Worked, seen: Judged) -> Statement:
    evaluation, values = worked.before.evaluation, seen.values
    scales = evaluation.scales
    data_loss = evaluation.loss
    text = _reduction_text(worked, seen)
    if values.ndim == 2 and values.size > MOST_SHOWN and values.shape[1] > 1:
        text += " The losses of an example's outputs are added up first."
        values = values.sum(axis=1)
    terms = [[scale, value] for scale, row in zip(scales, values, strict=True) for value in np.atleast_1d(row)]
    total = Sum(tuple(Product((number(s), number(v))) for s, v in terms))
    if len(terms) == 1 and scales[0] == 1:
        return Statement(text, equation("L", number(data_loss)), data_loss)
    text += " The first factor of each product is what an example's loss counts in it."
    return Statement(text, equation("L", total, number(data_loss)), data_loss, terms)


def _reduction_text(worked: Worked, seen: Judged) -> str:
    batch, loss = worked.batch, seen.loss
    outputs = worked.before.trace[-1].activations.shape[1]
    objective = worked.objective
    weighted = isinstance(objective, LossObjective) and objective.sample_weights is not None
    by_class = loss.row_weights(seen.targets) is not None
    per_output = seen.values.ndim == 2 and loss.reduction == "mean"
    if loss.reduction == "sum":
        text = "The reduction is sum: all losses are added"
        text += ", each example's times its weight." if weighted else "."
    elif by_class:
        text = "The losses have the class weights in them. The loss of the batch is their sum"
        text += ", each times the weight of its example," if weighted else ""
        text += " over the sum of the weights of the labels"
        text += ", each times the weight of its example too." if weighted else "."
    elif weighted:
        text = "The loss is a weighted mean: each example's loss times its weight, over the sum of the weights"
        text += f" times the {outputs} outputs." if per_output and outputs > 1 else "."
    elif per_output:
        text = f"The reduction is mean: the sum over all outputs of all examples, over their number {batch * outputs}."
    elif batch == 1:
        text = "With one example, the mean over the batch is its own loss."
    else:
        text = f"The loss of the batch is the mean over its {batch} examples."
    return text


def _penalty(worked: Worked) -> list[Statement]:
    rule, before = worked.regularization, worked.before
    if rule is None:
        return []
    weights = [layer.weights for layer in worked.network.layers]
    sums = (
        (rule.l1, sum(float(np.abs(w).sum()) for w in weights)),
        (rule.l2 / 2, sum(float(np.vdot(w, w)) for w in weights)),
    )
    terms = tuple(Product((number(factor), number(total))) for factor, total in sums if factor)
    text = f"Regularization adds a penalty on the weights of all layers: l1 = {rule.l1:g}, l2 = {rule.l2:g}."
    formula = r"\lambda_1 \sum |w| + \frac{\lambda_2}{2} \sum w^2"
    sides = (formula, Sum(terms)) if terms else (formula,)
    steps = [Statement(text, equation(r"\text{penalty}", *sides, number(before.penalty)), before.penalty)]
    if before.loss is not None:
        both = Sum((number(before.evaluation.loss), number(before.penalty)))
        steps.append(Statement("So the whole loss is:", equation("L", both, number(before.loss)), before.loss))
    return steps


def derivatives_section(worked: Worked) -> Section:
    """The derivative of every activation that occurs, and of the loss."""
    seen = judged(worked)
    text = (
        "Backpropagation needs three derivatives: of the loss by the outputs, of each activation by what goes into it, "
        "and of x W + b, which is x by the weights, 1 by the bias and W by x. The derivative of the loss by z, by what "
        "goes into an activation, is called the error of a unit, and written δ."
    )
    if seen is not None and isinstance(seen.loss, Huber):
        text += " The δ of the loss's own formula is another."
    steps = [Statement(text, equation(r"\delta", by("z")))]
    for activation in dict.fromkeys(layer.activation for layer in worked.network.layers):
        said = about(activation)
        left = r"\frac{\partial a_j}{\partial z_k}" if works_by_rows(activation) else "f'(z)"
        text = f"The derivative of {activation.kind}: {said.derivative}."
        if works_by_rows(activation):
            text += (
                " Every output depends on every number of its row, so there is a whole matrix of derivatives, the "
                "Jacobian, and not its diagonal alone. [j = k] is 1 where j is k, else 0."
            )
        elif "[" in (said.derivative_latex or ""):
            text += " Square brackets are 1 where what they hold is true, else 0."
        steps.append(Statement(text, equation(left, said.derivative_latex or "")))
    if seen is not None:
        said = about(seen.loss)
        text = f"The derivative of the loss by an output: {said.derivative}."
        left, latex = r"\frac{\partial \ell}{\partial y}", said.derivative_latex or ""
        if probabilities(seen.loss, worked.before.trace[-1].activations) is not None:
            left, latex = OF_LOGITS[seen.loss.kind]
            name = LOGITS[seen.loss.kind][0]
            if seen.loss.kind in TAKEN_AWAY:
                text += (
                    f" Here the outputs z are logits: the derivative of {name} takes the denominators away, and what "
                    "remains is in essence probability minus target."
                )
            else:
                text = f"The derivative of the loss by y, which {name} makes of an output: {said.derivative}. By the "
                text += "outputs z, which are logits:"
        if seen.combined is not None and seen.loss.kind == "kl_divergence":
            text = (
                f"The derivative of the loss by the logarithm of an output, which y stands for: {said.derivative}. By "
                "the output itself it is that over the output."
            )
        steps.append(Statement(text, equation(left, latex)))
        if seen.combined is not None:
            steps.append(_combination(worked, seen))
    steps.append(update_rule(worked))
    return Section("The derivatives that matter here", tuple(steps))


def _combination(worked: Worked, seen: Judged) -> Statement:
    kind, loss = worked.network.layers[-1].activation.kind, seen.loss.kind
    start = f"After {kind}, {loss} is simple to differentiate by z: the product of both derivatives "
    if kind == "sigmoid":
        text = start + "loses its denominator, and output minus target remains."
        if isinstance(seen.combined, BinaryCrossEntropy) and seen.combined.label_smoothing:
            text += " Here t is the target after label smoothing."
        longer = r"w \frac{y - t}{y (1 - y)} \, y (1 - y)"
        return Statement(text, equation(r"\frac{\partial \ell}{\partial z}", longer, "w (y - t)"))
    y = "a" if loss == "kl_divergence" else "y"  # whose y are logarithms of the outputs
    general = rf"\sum_k \frac{{\partial \ell}}{{\partial {y}_k}} \frac{{\partial {y}_k}}{{\partial z_j}}"
    left = r"\frac{\partial \ell}{\partial z_j}"
    if loss == "cross_entropy":
        worked_out = r"y_j \sum_k t_k - t_j" if seen.sign == 1 else r"-\left( y_j \sum_k t_k - t_j \right)"
        slope = r"y_k ([j = k] - y_j)" if seen.sign == 1 else r"\left( -y_k ([j = k] - y_j) \right)"
        longer = rf"\sum_k \left( -\frac{{t_k}}{{y_k}} \right) {slope}"
        remains = "output minus target" if seen.sign == 1 else "target minus output"
        text = f"{start}loses its denominators. Where the targets of a row add up to 1, {remains} remains."
        effective = effective_targets(seen)
        if effective is not None and (effective != seen.targets).any():
            text += " Here t is the target after label smoothing, times its class weight."
        return Statement(text, equation(left, longer, worked_out))
    difference = rf"g_j - {y}_j \sum_k g_k"
    if seen.sign == -1:
        difference = rf"-\left( {difference} \right)"
    by_logs = rf"{difference}, \quad g_k = \frac{{\partial \ell}}{{\partial \log {y}_k}}"
    text = start + "can be written with the derivative by the logarithm of each output, which never divides by it."
    return Statement(text, equation(left, general, by_logs))
