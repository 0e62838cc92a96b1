"""What an optimizer makes of gradient and parameter before, and in place of, the g and w of its formula."""

import re

import numpy as np

from engine.derivation.derivation import Statement, Worked
from engine.derivation.formulas import Difference, Formula, Product, Sum, equation, number
from engine.derivation.notation import by, hyperparameters
from engine.descent import State
from engine.optimizers import Optimizer, Sgd, decays_apart
from engine.rules import Array, paragraphs


def rule_text(rule: Optimizer) -> str:
    """The optimizer's formula, what its letters and options mean, and its hyperparameters."""
    *told, _ = paragraphs(type(rule))
    letters = "g is the gradient, w the parameter, η the learning rate"
    letters += ", t the number of the step." if counts_steps(rule) else "."
    return f"The optimizer is {rule.kind}: {' '.join(told)} In its formula {letters}{hyperparameters(rule)}"


def counts_steps(rule: Optimizer) -> bool:
    """Whether the number of the step is in its formula."""
    return re.search(r"\bt\b", rule.about.latex) is not None


def update_statements(
    worked: Worked, letter: str, old: Array, gradient: Array, new: Array, last: State, kept: State, what: str
) -> list[Statement]:
    """The update of `old` to `new`, a parameter or one of its numbers, in as many steps as it takes; `last` and `kept`
    are the states before and after it.

    A gradient that was clipped is called g from there on: the derivative by the parameter is another.
    """
    rule, clipped, shown = worked.optimizer, worked.clipping is not None, worked.shown
    assert rule is not None
    g, moving, steps = gradient, old, []
    name, sign = ("the clipped gradient", r"g \leftarrow -g") if clipped else ("the gradient", rf"g = -{by(letter)}")

    buffer = rf"b_{{{letter}}}"

    def tell(text: str, left: str, right: Formula, value: Array) -> None:
        steps.append(Statement(text, equation(left, right, shown(value)), worked.weights_form(value)))

    def times(factor: float, array: Array) -> Product:
        return Product((number(np.asarray(factor, old.dtype)), shown(array)))

    decay = getattr(rule, "weight_decay", 0.0)
    if getattr(rule, "maximize", False):
        g = -g
        tell(f"It ascends, so g is the negative of {name}:", sign, times(-1.0, gradient), g)
    if decay and getattr(rule, "decoupled_weight_decay", False):
        moving = old * (1 - rule.learning_rate * decay)
        text = "Weight decay shrinks what the step starts from, by the learning rate times weight_decay:"
        tell(text, rf"(1 - \eta \lambda) {letter}", times(1 - rule.learning_rate * decay, old), moving)
    elif decay and not decays_apart(rule):
        summed = g + decay * old
        text = "Weight decay adds weight_decay times the parameter to the gradient; the sum is g:"
        tell(text, rf"g + \lambda {letter}", Sum((shown(g), times(decay, old))), summed)
        g = summed
    if isinstance(rule, Sgd):
        direction = g
        if rule.momentum:
            direction = kept["momentum_buffer"]
            if last["step"]:
                text = "The momentum, b in the formula: momentum * b, of the step before, and (1 - dampening) * g:"
                parts = times(rule.momentum, last["momentum_buffer"]), times(1 - rule.dampening, g)
                tell(text, buffer, Sum(parts), direction)
            else:
                text = "The momentum, b in the formula, is g itself in the first step:"
                steps.append(Statement(text, equation(buffer, shown(direction)), worked.weights_form(direction)))
        if rule.nesterov:
            ahead = g + rule.momentum * direction
            text = "With nesterov the step goes along g + momentum * b:"
            tell(text, rf"g + \mu \, {buffer}", Sum((shown(g), times(rule.momentum, direction))), ahead)
            direction = ahead
        moved: Formula = Difference(shown(moving), times(rule.learning_rate, direction))
        text, change = f"{what}: against that, times the learning rate η = {rule.learning_rate:g}.", r"\eta \, g"
        if direction is gradient:
            text = f"{what}: against {name}, as far as the learning rate η = {rule.learning_rate:g} says."
            change = r"\eta \, g" if clipped else rf"\eta \, {by(letter)}"
        elif rule.momentum:
            change = rf"\eta (g + \mu \, {buffer})" if rule.nesterov else rf"\eta \, {buffer}"
        left = rf"{letter} \leftarrow {letter} - {change}"
    else:
        step = f"in step t = {kept['step']}, " if counts_steps(rule) else ""
        text = f"{what} by {rule.kind}, {step}from the old values and {name}:"
        moved, left = Sum((shown(moving), shown(new - moving))), rf"{letter} \leftarrow {letter} + \Delta {letter}"
    steps.append(Statement(text, equation(left, moved, shown(new)), worked.weights_form(new)))
    return steps
