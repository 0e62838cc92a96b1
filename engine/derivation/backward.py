"""The backward pass through one layer: by its outputs, by its preactivations, by its weights and bias."""

from typing import Any

import numpy as np

from engine.derivation.derivation import Section, Statement, Worked
from engine.derivation.formulas import (
    Difference,
    Formula,
    Numbers,
    Omitted,
    Product,
    Sum,
    SumOfRows,
    Transposed,
    abbreviated,
    elementwise,
    equation,
    matrix_product,
    number,
)
from engine.derivation.judging import (
    MOST_EXAMPLES,
    agree,
    counted_targets,
    judged,
    name_of_scale,
    probabilities,
    scaled,
)
from engine.derivation.notation import by, delta, layer_name, symbol
from engine.derivation.slopes import jacobian, slopes, works_by_rows
from engine.derivation.update import update_steps
from engine.probability_losses import LossOfProbabilities
from engine.rules import Array, row_sums


def backward_section(worked: Worked, i: int, own: list[dict[str, Array]] | None) -> Section:
    """All derivatives of layer i; `own` are each example's own gradients, for a batch."""
    depth = len(worked.network.layers)
    steps = [*_by_outputs(worked, i), *_by_preactivations(worked, i), *_by_parameters(worked, i)]
    if own is not None:
        steps.append(_average(worked, i, own[i]["weights"]))
    if worked.clipping is None:
        steps += update_steps(worked, i)
    if i == 0:
        gradients = worked.before.gradients
        text = (
            "The derivative by the inputs is made the same way. No update needs it; it tells how the loss would change "
            "with the inputs."
        )
        formula = equation(by("x"), _passed_back(worked, 0), Numbers(gradients.inputs))
        steps.append(Statement(text, formula, gradients.inputs))
    elif i == depth - 1 and depth > 1:
        steps.append(
            Statement(
                f"What goes on from here is the error of layer {i + 1} alone: the layer before needs it, the weights "
                f"of this layer{_old_weights(worked, i)}, and what it has itself from the way forward."
            )
        )
    return Section(f"Backward through {layer_name(worked, i)}", tuple(steps))


def _old_weights(worked: Worked, i: int) -> str:
    """Which weights carry the error back, where new ones have just been told."""
    updated = worked.step is not None and worked.clipping is None and "weights" not in worked.network.layers[i].frozen
    return " as they were before the update" if updated else ""


def _passed_back(worked: Worked, i: int) -> Formula:
    """The product that carries the error from the preactivations of layer i to its inputs."""
    weights = Numbers(worked.weights_form(worked.network.layers[i].weights))
    back = weights if worked.transposed else Transposed(weights)
    return matrix_product(Numbers(worked.before.gradients.layers[i].preactivations), back)


def _by_outputs(worked: Worked, i: int) -> list[Statement]:
    gradients = worked.before.gradients.layers[i].activations
    if i < len(worked.network.layers) - 1:
        letter = symbol("W", i + 1)
        back = letter if worked.transposed else rf"{{{letter}}}^{{\top}}"
        units = worked.network.layers[i + 1].weights.shape[1]
        text = (
            f"By what the layer gives. Every unit of layer {i + 2} hears each unit of layer {i + 1}, so the error "
            f"comes back along all of its weights: a sum over {units} units, and not along one weight alone."
        )
        if units == 1:
            text = (
                f"By what the layer gives. Layer {i + 2} has a single unit, so the error comes back to each unit of "
                f"layer {i + 1} along one weight."
            )
        rule = f"{delta(i + 1)} \\, {back}"
        formula = equation(by(symbol("a", i)), rule, _passed_back(worked, i + 1), Numbers(gradients))
        return [Statement(text, formula, gradients), _back_to_first_unit(worked, i)]
    left = by(symbol("a", i))
    if judged(worked) is None:
        text = "By the outputs: given in the request."
        return [Statement(text, equation(left, "v", Numbers(gradients)), gradients)]
    unscaled = worked.before.evaluation.output_gradients
    text = f"By the outputs: the derivative of the loss, at these outputs and targets.{name_of_scale(worked)}"
    minus_target = _probability_minus_target(worked)
    if minus_target is not None:
        text = f"By the outputs, which are logits: probability minus target.{name_of_scale(worked)}"
    start = scaled(worked, minus_target or Numbers(unscaled))
    if isinstance(start, Numbers):
        return [Statement(text, equation(left, Numbers(gradients)), gradients)]
    return [Statement(text, equation(left, start, Numbers(gradients)), gradients)]


def _probability_minus_target(worked: Worked) -> Formula | None:
    """The derivative of a cross-entropy by logits, where it is just that."""
    seen, a = judged(worked), worked.before.trace[-1].activations
    if seen is None or not isinstance(seen.loss, LossOfProbabilities) or (p := probabilities(seen.loss, a)) is None:
        return None
    t = counted_targets(seen.loss, a, seen.targets)
    plain = (p - t == worked.before.evaluation.output_gradients).all()
    return Difference(Numbers(p), Numbers(t)) if plain else None


def _back_to_first_unit(worked: Worked, i: int) -> Statement:
    """What comes back to one unit of layer i for one example, along each weight that leaves it."""
    weights = worked.network.layers[i + 1].weights[0]
    errors = worked.before.gradients.layers[i + 1].preactivations[0]
    gradient = worked.before.gradients.layers[i].activations[0, 0]
    terms = [[error, weight] for error, weight in zip(errors, weights, strict=True)]
    example = "" if worked.batch == 1 else " in the first example"
    left = by(symbol("a", i, "1" if worked.batch == 1 else "1,1"))
    formula = equation(left, abbreviated(terms, gradient), number(gradient))
    return Statement(f"To the first unit{example} comes back, along each of its weights:", formula, gradient, terms)


def _by_preactivations(worked: Worked, i: int) -> list[Statement]:
    layer = worked.network.layers[i]
    _, z, a = worked.before.trace[i]
    by_outputs, by_z = worked.before.gradients.layers[i].activations, worked.before.gradients.layers[i].preactivations
    last = i == len(worked.network.layers) - 1
    left = f"{delta(i)} = {by(symbol('z', i))}"
    start = "By what goes into the activation. "
    if last and worked.before.evaluation.preactivation_gradients is not None:
        text, combined = _combined(worked)
        told = [Statement(start + text, equation(left, combined, Numbers(by_z)), by_z)]
        if not works_by_rows(layer.activation):
            slope = slopes(layer.activation, z, a)
            if agree(by_outputs * slope, by_z, np.abs(by_outputs * slope)):
                text = "The long way, derivative by derivative, gives the same:"
                rule = rf"{by(symbol('a', i))} \odot f'(z)"
                told.append(_slope_step(text, rule, by_outputs, slope, by_z))
            else:
                told.append(Statement(LOST))
            return told
        return told + _by_rows(worked, i, "The long way, through the whole Jacobian, gives the same", long_way=True)
    if works_by_rows(layer.activation):
        text = (
            f"{start}{layer.activation.kind} works on whole rows, so the row of derivatives by the outputs is "
            "multiplied with the Jacobian"
        )
        return _by_rows(worked, i, text)
    text = f"{start}Each unit has its own derivative f'(z), which multiplies what came back to it."
    if (slopes(layer.activation, z, a) == 0).all():
        text += " Here all of them are 0: nothing gets through to the layers before."
    rule = rf"{by(symbol('a', i))} \odot f'(z)"
    return [_slope_step(text, f"{left} = {rule}", by_outputs, slopes(layer.activation, z, a), by_z)]


def _slope_step(text: str, left: str, by_outputs: Array, slope: Array, by_z: Array) -> Statement:
    return Statement(text, equation(left, elementwise(Numbers(by_outputs), Numbers(slope)), Numbers(by_z)), by_z)


OUTPUT_MINUS_TARGET = "Both derivatives taken together leave output minus target."
OF_SOFTMIN = " After softmin, it is minus that."
LOST = (
    "The long way, derivative by derivative, loses digits here: an output is so near 0 or 1 that one factor has become "
    "very large and the other very small. That is why both are taken together."
)


def _combined(worked: Worked) -> tuple[str, Formula]:
    """The combined derivative by the last layer's z, from the outputs and what the loss makes of the targets.

    On logits it is p * sum(t) - t after softmax, and w * p - t after sigmoid, with t as `counted_targets` has them.
    """
    seen = judged(worked)
    assert seen is not None and seen.combined is not None
    _, z, p = worked.before.trace[-1]
    logits = seen.sign * z
    t = counted_targets(seen.combined, logits, seen.targets)
    if seen.loss.kind == "binary_cross_entropy":
        slope = seen.combined.logit_gradient(logits, np.ones_like(p), seen.targets) + t
        plain = bool((slope == 1).all())
        outputs: Formula = Numbers(p) if plain else elementwise(Numbers(slope), Numbers(p))
        text = OUTPUT_MINUS_TARGET if plain else f"{OUTPUT_MINUS_TARGET} Each has its class weight."
        return text + name_of_scale(worked), scaled(worked, Difference(outputs, Numbers(t)))
    totals = row_sums(t)
    text, outputs = OUTPUT_MINUS_TARGET, Numbers(p)
    if not (totals == 1).all():
        outputs = elementwise(Numbers(p), Numbers(totals))
        text = "Both derivatives taken together leave each output times the sum of its row's targets, minus the target."
    if seen.loss.kind not in ("cross_entropy", "kl_divergence") or getattr(seen.loss, "log_target", False):
        text = (
            "Both derivatives taken together; what takes the place of a target is minus the derivative by the "
            "logarithm of the output."
        )
    inner: Formula = Difference(outputs, Numbers(t))
    if seen.sign == -1:
        text += OF_SOFTMIN
        inner = Product((number(np.asarray(-1, p.dtype)), inner))
    return text + name_of_scale(worked), scaled(worked, inner)


def _by_rows(worked: Worked, i: int, text: str, long_way: bool = False) -> list[Statement]:
    """Each example's row of derivatives times its Jacobian; the long way, beside a combined form, if they agree."""
    layer = worked.network.layers[i]
    _, z, a = worked.before.trace[i]
    by_outputs, by_z = worked.before.gradients.layers[i].activations, worked.before.gradients.layers[i].preactivations
    steps = []
    for n in range(min(worked.batch, MOST_EXAMPLES)):
        matrix = jacobian(layer.activation, z[n], a[n])
        if long_way and not agree(by_outputs[n] @ matrix, by_z[n], np.abs(by_outputs[n]) @ np.abs(matrix)):
            return [Statement(LOST)]
        index = "" if worked.batch == 1 else str(n + 1)
        rule = rf"{by(symbol('a', i, index))} \, \frac{{\partial a}}{{\partial z}}"
        formula = equation(
            delta(i, index),
            rule,
            matrix_product(Numbers(by_outputs[n : n + 1]), Numbers(matrix)),
            Numbers(by_z[n][None]),
        )
        which = f"; example {n + 1}:" if worked.batch > 1 else ":"
        others = f"Example {n + 1}, {'the long way' if long_way else 'with its Jacobian'}:"
        steps.append(Statement(text + which if n == 0 else others, formula, by_z[n]))
    if worked.batch > MOST_EXAMPLES:
        steps.append(Statement("The other examples likewise; all together:", equation(delta(i), Numbers(by_z)), by_z))
    return steps


def _by_parameters(worked: Worked, i: int) -> list[Statement]:
    gradients, layer = worked.before.gradients.layers[i], worked.network.layers[i]
    x, by_z = worked.layer_inputs(i), gradients.preactivations
    by_weights = worked.weights_form(gradients.parameters["weights"])
    source = symbol("a", i - 1)
    if worked.transposed:
        rule = rf"{{{delta(i)}}}^{{\top}} \, {source}"
        product = matrix_product(Transposed(Numbers(by_z)), Numbers(x))
    else:
        rule = rf"{{{source}}}^{{\top}} \, {delta(i)}"
        product = matrix_product(Transposed(Numbers(x)), Numbers(by_z))
    text = (
        "By the weights. A weight takes what its input gave and passes it to its unit: its derivative is the input "
        "times the error of the unit."
    )
    if worked.batch > 1:
        text += " The matrix product adds up the examples."
    formula: Formula = product
    penalty = worked.regularization
    if penalty is not None and (penalty.l1 or penalty.l2):
        text += " The penalty adds its own derivative, l1 * sign(w) + l2 * w."
        rule += rf" + \lambda_1 \operatorname{{sign}}({symbol('W', i)}) + \lambda_2 {symbol('W', i)}"
        formula = Sum((product, *_penalty_terms(worked, i)))
    steps = [Statement(text, equation(by(symbol("W", i)), rule, formula, Numbers(by_weights)), by_weights)]
    if layer.bias is not None:
        by_bias = gradients.parameters["bias"]
        left = by(symbol("b", i))
        if worked.batch == 1:
            text = "By the bias. It is added as it is, so its derivative is the error of the unit itself."
            steps.append(Statement(text, equation(left, delta(i), Numbers(by_bias[None])), by_bias))
        else:
            text = "By the bias. It is added as it is to every example, so the errors of all examples add up."
            rule = rf"\sum_n {delta(i)}_n"
            formula = equation(left, rule, SumOfRows(Numbers(by_z)), Numbers(by_bias[None]))
            steps.append(Statement(text, formula, by_bias))
    return steps


def _penalty_terms(worked: Worked, i: int) -> list[Formula]:
    """What the penalty adds to the gradient by the weights of layer i."""
    penalty = worked.regularization
    if penalty is None:
        return []
    weights = worked.weights_form(worked.network.layers[i].weights)
    parts = ((penalty.l1, np.sign(weights)), (penalty.l2, weights))
    return [Product((number(np.asarray(factor, weights.dtype)), Numbers(array))) for factor, array in parts if factor]


def shares(worked: Worked) -> Array:
    """What each example's own gradient counts in that of the batch `[batch]`: 1 in a sum, where its weight is in it."""
    scales = worked.before.evaluation.scales
    own = worked.objective.own_scales(worked.before.trace[-1].activations)
    if (scales == own).all():
        return np.ones_like(scales)
    return np.divide(scales, own, out=np.zeros_like(scales), where=own != 0)


def _average(worked: Worked, i: int, own: Array) -> Statement:
    """The gradient by the weights again, from each example's own."""
    share = shares(worked)
    shown = len(own) if len(own) <= MOST_EXAMPLES else MOST_EXAMPLES - 1
    matrices: list[Formula] = [Numbers(worked.weights_form(matrix)) for matrix in own[:shown]]
    equal = bool((share == share[0]).all())
    if equal and share[0] == 1:
        text = "Each example has its own gradient; the batch has their sum."
        terms = matrices
    else:
        text = "Each example has its own gradient; the batch has their weighted mean, and the factors add up to 1."
        if equal:
            text = (
                f"Each example has its own gradient; the batch has their mean. Every factor is 1 over {worked.batch}, "
                "the number of examples."
            )
        elif not agree(share.sum(), np.ones((), share.dtype), 1):
            text = "Each example has its own gradient; the batch has their sum, each times its weight."
        terms = [Product((number(s), matrix)) for s, matrix in zip(share, matrices, strict=False)]
    if shown < len(own):
        rest: Any = np.tensordot(share[shown:], own[shown:], axes=1)
        terms.append(Omitted(len(own) - shown, worked.weights_form(rest)))
    if penalty := _penalty_terms(worked, i):
        text += " The penalty adds its own."
        terms += penalty
    value = worked.weights_form(worked.before.gradients.layers[i].parameters["weights"])
    return Statement(text, equation(by(symbol("W", i)), Sum(tuple(terms)), Numbers(value)), value)
