"""What backpropagation saves: multiplications counted, by formulas."""

import math
from typing import NamedTuple

from engine.derivation.derivation import Section, Statement, Worked
from engine.derivation.formulas import Formula, Fraction, Sum, equation, number, product
from engine.derivation.notation import layer_name, shapes
from engine.derivation.slopes import works_by_rows
from engine.wording import capitalized, plural


class LayerCounts(NamedTuple):
    """Multiplications for the gradients of one layer, the forward pass and the loss's derivative already known. Each is
    a list of products, whose factors multiply out to what they count.

    `derivative`: delta from the derivative by the layer's outputs, none where loss and activation are differentiated
    together. `by_weights`: the gradients by the weights. `passed_back`: the error of the layer before, which the first
    layer does not need. `alone`: each of the layer's parameters on its own. `one`: the error of a single unit, made
    anew from the loss on.
    """

    derivative: list[list[int]]
    by_weights: list[list[int]]
    passed_back: list[list[int]]
    alone: list[list[int]]
    one: int

    @property
    def shared(self) -> list[list[int]]:
        """What backpropagation takes for the layer."""
        return [*self.derivative, *self.by_weights, *self.passed_back]


def total(terms: list[list[int]]) -> int:
    """What a sum of products comes to."""
    return sum(math.prod(row) for row in terms)


def counts(worked: Worked) -> list[LayerCounts]:
    """For each layer. With N examples and layer l from n[l-1] to n[l]: x^T delta takes N n[l-1] n[l], and so does
    delta W^T; delta from the derivative by the outputs takes N n[l], N n[l]^2 where the activation works by rows.

    A parameter on its own needs the delta of its unit. For that, the whole deltas of all layers after its own must be
    made, then one sum along the weights that leave its unit, one derivative, and for a weight one product with x.
    """
    batch, layers = worked.batch, worked.network.layers
    combined = worked.before.evaluation.preactivation_gradients is not None
    found: list[LayerCounts] = []
    behind = 0  # what all of delta of the layer after takes
    for i in reversed(range(len(layers))):
        layer = layers[i]
        inputs, units = layer.weights.shape
        last = i == len(layers) - 1
        heard = units if works_by_rows(layer.activation) else 1
        derivative = [] if last and combined else [[batch, units, heard] if heard > 1 else [batch, units]]
        after = 0 if last else layers[i + 1].weights.shape[1]
        one = behind + batch * after * heard + (batch * heard if derivative else 0)
        alone = [[inputs * units, one + batch]]
        if layer.bias is not None:
            alone.append([units, one])
        matrix = [[batch, inputs, units]]
        found.append(LayerCounts(derivative, matrix, matrix if i else [], alone, one))
        behind += batch * after * units + total(derivative)
    return found[::-1]


def reuse_section(worked: Worked) -> Section:
    """How much is saved by using each layer's error again in the layer before."""
    found = counts(worked)
    shared, alone = [total(layer.shared) for layer in found], [total(layer.alone) for layer in found]
    once, anew = sum(shared), sum(alone)
    parameters = sum(p.size for layer in worked.network.parameters for p in layer.values())
    examples = plural(worked.batch, "example")
    steps = [
        Statement(
            "Backpropagation makes each layer's error once, and uses it for three things: the gradient by the weights, "
            "the gradient by the bias, and the error of the layer before. That is what makes it efficient. Here are "
            f"the multiplications for this network, {shapes(worked)}, and {examples}, with all values of the forward "
            "pass known."
        )
    ]
    order = list(reversed(range(len(found))))
    for i in order:
        steps.append(Statement(_shared_words(worked, found, i), _counted(found[i].shared), shared[i], found[i].shared))
    if len(found) > 1:
        steps.append(_added("Backpropagation takes in all:", [shared[i] for i in order]))
    for i in order:
        layer, name = found[i], layer_name(worked, i)
        text = f"{capitalized(name)}, each gradient on its own. "
        if i == order[0]:
            text = f"Now each of the {parameters} gradients on its own, nothing kept from one to the next. {text}"
        text += f"Making the error of one unit takes {layer.one}, from the loss on. A weight needs that and "
        text += f"{worked.batch} more, for its input"
        text += ":" if len(layer.alone) == 1 else "; a bias needs that alone:"
        steps.append(Statement(text, _counted(layer.alone), alone[i], layer.alone))
    if len(found) > 1:
        steps.append(_added("Each on its own takes in all:", [alone[i] for i in order]))
    ratio = Fraction(number(anew), number(once))
    steps.append(Statement("That is so many times as much work:", equation(ratio, number(anew / once)), anew / once))
    passes = [[parameters, worked.batch, *layer.weights.shape] for layer in worked.network.layers]
    text = (
        "Trying instead, changing one parameter at a time and computing the loss again, takes a forward pass for each "
        "parameter, and is not even exact:"
    )
    steps.append(Statement(text, _counted(passes), total(passes), passes))
    return Section("What is reused, and what that saves", tuple(steps))


def _shared_words(worked: Worked, found: list[LayerCounts], i: int) -> str:
    layer, name = found[i], layer_name(worked, i)
    parts = []
    if layer.derivative:
        size = "examples × units" if len(layer.derivative[0]) == 2 else "examples × units × outputs"
        parts.append(f"the derivatives of the activation ({size})")
    parts.append("the gradients by the weights (examples × inputs × units)")
    if layer.passed_back:
        parts.append("passing the error back (as many)")
    text = f"{capitalized(name)}: {', '.join(parts)}."
    return text if layer.derivative else f"{text} Its activation is differentiated together with the loss."


def _added(text: str, numbers: list[int]) -> Statement:
    terms = [[n] for n in numbers]
    return Statement(text, _counted(terms), sum(numbers), terms)


def _counted(terms: list[list[int]]) -> Formula:
    products = [product(list(row)) for row in terms]
    return equation(products[0] if len(products) == 1 else Sum(tuple(products)), number(total(terms)))
