"""Clipping, and the update of a layer's parameters."""

import numpy as np

from engine.clipping import ClipByNorm
from engine.derivation.derivation import Section, Statement, Worked
from engine.derivation.descent import rule_text, update_statements
from engine.derivation.formulas import Fraction, Sum, equation, number
from engine.derivation.notation import about, by, hyperparameters, layer_name, plain_formula, symbol
from engine.descent import State
from engine.optimizers import Sgd
from engine.rules import Array

LETTERS = {"weights": "W", "bias": "b"}
KEPT = {
    "momentum_buffer": "b",
    "exp_avg": "m",
    "exp_avg_sq": "v",
    "exp_inf": "u",
    "square_avg": "v",
    "acc_delta": "u",
    "sum": "s",
    "step_size": "size",
}
"""What the formulas of the optimizers call the arrays of their states."""


def clipped(worked: Worked) -> dict[tuple[int, str], Array]:
    """The gradients that the update takes, of all parameters that are not frozen."""
    places = worked.before.trainable
    gradients = [gradient for _, _, gradient in places]
    if worked.clipping is not None:
        gradients = worked.clipping.clip(gradients, worked.before.gradient_norm)
    return {(i, name): gradient for (i, name, _), gradient in zip(places, gradients, strict=True)}


def is_plain(worked: Worked) -> bool:
    """Whether the update is w - learning_rate * g and nothing else."""
    rule = worked.optimizer
    return isinstance(rule, Sgd) and not (rule.momentum or rule.weight_decay or rule.maximize)


def update_steps(worked: Worked, i: int) -> list[Statement]:
    """The new weights and bias of layer i; nothing without an optimizer."""
    if worked.step is None or worked.optimizer is None:
        return []
    steps = []
    gradients = clipped(worked)
    for name, old in worked.network.layers[i].parameters.items():
        new = worked.step.network.layers[i].parameters[name]
        what = "The update of the weights" if name == "weights" else "The update of the bias"
        value = worked.weights_form(new)
        letter = symbol(LETTERS[name], i)
        if (i, name) not in gradients:
            frozen = "they are frozen" if name == "weights" else "it is frozen"
            steps.append(Statement(f"{what} is left out: {frozen}.", equation(letter, worked.shown(new)), value))
            continue
        last, kept = states(worked, i, name)
        steps += update_statements(worked, letter, old, gradients[i, name], new, last, kept, what)
        steps += _states(worked, i, name)
    return steps


def states(worked: Worked, i: int, name: str) -> tuple[State, State]:
    """What the optimizer kept of the step before, and keeps of this one, for a parameter of layer i."""
    assert worked.step is not None and worked.state is not None
    return worked.state[i][name], worked.step.state[i][name]


def _states(worked: Worked, i: int, name: str) -> list[Statement]:
    """What the optimizer keeps of this step for the next."""
    _, kept = states(worked, i, name)
    return [
        Statement(
            f"For the next step the optimizer keeps {key}{f', the {KEPT[key]} of its formula' if key in KEPT else ''}:",
            equation(rf"\text{{{key.replace('_', ' ')}}}", worked.shown(array)),
            worked.weights_form(array),
        )
        for key, array in kept.items()
        if isinstance(array, np.ndarray)
    ]


def update_rule(worked: Worked) -> Statement:
    """What the optimizer does, or that there is none."""
    rule = worked.optimizer
    if rule is None:
        return Statement(
            "The request names no optimizer, so the derivation ends with the gradients. With one, each layer's update "
            "follows its gradients."
        )
    if is_plain(worked):
        text = "The optimizer is plain gradient descent: each parameter w moves against its gradient, times the "
        text += "learning rate η."
        return Statement(text, equation(r"w \leftarrow w - \eta \, " + by("w")))
    return Statement(rule_text(rule), equation(about(rule).latex))


def clipping_steps(worked: Worked) -> list[Statement]:
    """The rule of clipping, and what it goes by."""
    rule, norm = worked.clipping, worked.before.gradient_norm
    assert rule is not None
    told = f"All gradients are known; now they are clipped. The rule: {plain_formula(rule)}{hyperparameters(rule)}"
    text = "The length of all gradients together, those of frozen parameters left out, is their Euclidean norm:"
    steps = [Statement(told), Statement(text, equation(r"\lVert g \rVert", number(norm)), norm)]
    if isinstance(rule, ClipByNorm):
        factor = rule.max_norm / (norm + 1e-6)
        fraction = Fraction(number(rule.max_norm), Sum((number(norm), number(1e-6))))
        told = "Every gradient is multiplied with this factor:"
        if factor >= 1:
            told = "The factor would not be below 1, so the gradients stay as they are:"
        steps.append(
            Statement(told, equation(r"\frac{c}{\lVert g \rVert + 10^{-6}}", fraction, number(factor)), factor)
        )
    return steps


def clipping_section(worked: Worked) -> Section:
    """How clipping changes the gradients, and the updates after it."""
    steps = clipping_steps(worked)
    for (i, name), gradient in clipped(worked).items():
        text = f"After clipping, the gradient by the {name} of {layer_name(worked, i)}:"
        steps.append(Statement(text, equation("g", worked.shown(gradient)), worked.weights_form(gradient)))
    for i in reversed(range(len(worked.network.layers))):
        steps += update_steps(worked, i)
    return Section("Clipping and the update" if worked.step is not None else "Clipping", tuple(steps))
