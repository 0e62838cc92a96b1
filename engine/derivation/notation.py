"""The symbols of a derivation, and how a rule is told in words."""

import dataclasses
import re
from typing import Any

from engine.derivation.derivation import Worked
from engine.rules import About, paragraphs

MOST_WIDTHS = 7

LEGEND = (
    "In the formulas x are the inputs, and of a layer W are the weights, b the biases, z what goes into its activation "
    "f, and a = f(z) what it gives. The number in parentheses above a letter is the layer; numbers below it are the "
    "example, where there are several, and the unit, or row and column of a weight. ᵀ swaps rows and columns, ⊙ "
    "multiplies number by number, and log is the natural logarithm."
)
"""What every derivation says of its letters and signs before it uses them."""


def symbol(letter: str, layer: int, index: str = "") -> str:
    """The symbol of a quantity of a layer, counted from 0: `W^{(1)}`. Activations before the first layer are x."""
    subscript = f"_{{{index}}}" if index else ""
    if letter == "a" and layer < 0:
        return f"x{subscript}"
    return f"{letter}^{{({layer + 1})}}{subscript}"


def by(what: str) -> str:
    """The derivative of the loss by something."""
    return rf"\frac{{\partial L}}{{\partial {what}}}"


def delta(layer: int, index: str = "") -> str:
    """The derivative of the loss by a layer's preactivations."""
    return symbol(r"\delta", layer, index)


def l_of_outputs(worked: Worked) -> str:
    """What takes the place of a loss where the derivative by the outputs is given."""
    penalty = "" if worked.regularization is None else ", plus the penalty"
    return f"L stands for the sum of the outputs, each times the number given for it{penalty}."


def function(kind: str) -> str:
    """The name of a rule in a formula."""
    return rf"\text{{{kind.replace('_', ' ')}}}"


def layer_name(worked: Worked, layer: int) -> str:
    """`layer 2 ("hidden2")`."""
    name = worked.network.layers[layer].name
    return f"layer {layer + 1}" + (f' ("{name}")' if name else "")


def about(rule: Any) -> About:
    """What is said of a rule with these hyperparameters."""
    found: About = getattr(rule, "chosen", rule.about)
    return found


def plain_formula(rule: Any) -> str:
    """The formula in words and plain symbols."""
    return paragraphs(type(rule))[0]


def hyperparameters(rule: Any) -> str:
    """` Here alpha = 0.2.` for a rule that has hyperparameters; one that is off (0, false) where the formula has it."""
    fields = [field.name for field in dataclasses.fields(rule) if field.name not in ("kind", "reduction")]
    given = {name: getattr(rule, name) for name in fields}
    named = set(re.findall(r"\w+", plain_formula(rule)))
    counts = {name: value for name, value in given.items() if value or (value is not None and name in named)}
    told = ", ".join(f"{name} = {_written(value)}" for name, value in counts.items())
    text = f" Here {told}." if told else ""
    return text + (" There are no class weights: every w is 1." if given.get("class_weights", ()) is None else "")


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "(" + ", ".join(_written(item) for item in value[:20]) + (", …)" if len(value) > 20 else ")")
    return f"{value:g}" if isinstance(value, float) else str(value)


def shapes(worked: Worked) -> str:
    """`3 → 3 → 2`: the widths of the network; of a deep one, those at its ends."""
    layers = worked.network.layers
    widths = [str(n) for n in [layers[0].weights.shape[0], *(layer.weights.shape[1] for layer in layers)]]
    return " → ".join(widths if len(widths) <= MOST_WIDTHS else [*widths[:3], "…", *widths[-2:]])
