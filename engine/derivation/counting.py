"""What backpropagation saves: multiplications counted, by formulas."""

from typing import Any, NamedTuple

import numpy as np

from engine.derivation.derivation import Section, Statement, Worked
from engine.derivation.formulas import Formula, Fraction, Product, Sum, equation, number
from engine.derivation.notation import count, shapes
from engine.derivation.slopes import works_by_rows


class Counts(NamedTuple):
    """Multiplications for all gradients by weights and biases, the forward pass and the loss's derivative already
    known. Each is a list of products, whose factors multiply out to what they count.

    `backpropagation`: the error passed back once. `alone`: for each parameter anew, nothing kept from one to the next.
    `differences`: the loss of the network once more for each parameter.
    """

    backpropagation: list[list[int]]
    alone: list[list[int]]
    differences: list[list[int]]


def total(terms: list[list[int]]) -> int:
    return sum(int(np.prod(np.array(row, dtype=object))) for row in terms)


def counts(worked: Worked) -> Counts:
    """With N examples and layer l from n[l-1] to n[l]: x^T delta takes N n[l-1] n[l], and so does delta W^T, which the
    first layer does not need; delta from the derivative by the outputs takes N n[l], N n[l]^2 where the activation
    works by rows, none where loss and activation are differentiated together.

    A parameter on its own needs the delta of its unit. For that, the whole deltas of all layers after its own must be
    made, then one sum along the weights that leave its unit, one derivative, and for a weight one product with x.
    """
    batch, layers = worked.batch, worked.network.layers
    by_z_known = worked.before.evaluation.preactivation_gradients is not None
    backpropagation: list[list[int]] = []
    alone: list[list[int]] = []
    behind = 0  # what all of delta of the layer after takes
    for i in reversed(range(len(layers))):
        layer = layers[i]
        inputs, units = layer.weights.shape
        last = i == len(layers) - 1
        by_rows = works_by_rows(layer.activation)
        derivative = [] if last and by_z_known else [batch, units, units] if by_rows else [batch, units]
        if derivative:
            backpropagation.append(derivative)
        backpropagation.append([batch, inputs, units])
        if i:
            backpropagation.append([batch, inputs, units])
        after = 0 if last else layers[i + 1].weights.shape[1]
        sums = after * (units if by_rows else 1)
        one = behind + batch * sums + (batch * (units if by_rows else 1) if derivative else 0)
        alone.append([inputs, units, one + batch])
        if layer.bias is not None and one:
            alone.append([units, one])
        behind += batch * after * units + (total([derivative]) if derivative else 0)
    parameters = sum(p.size for layer in worked.network.parameters for p in layer.values())
    forward = [[parameters, batch, *layer.weights.shape] for layer in layers]
    return Counts(backpropagation, alone, forward)


def reuse_section(worked: Worked) -> Section:
    """How much is saved by using each layer's error again in the layer before."""
    numbers = counts(worked)
    once, anew, differences = (total(terms) for terms in numbers)
    parameters = sum(p.size for layer in worked.network.parameters for p in layer.values())
    batch = count(worked.batch, "example")
    return Section(
        "What is reused, and what that saves",
        (
            Statement(
                "Backpropagation makes each layer's error once, and uses it for three things: the gradient by the "
                "weights, the gradient by the bias, and the error of the layer before. That is what makes it "
                f"efficient. Multiplications for this network, {shapes(worked)}, and {batch}, with all values of the "
                "forward pass known:"
            ),
            Statement(
                "Backpropagation, from the last layer to the first: for each layer the derivatives of its activation "
                "(none where the loss is differentiated together with it), its weights' gradients, and passing the "
                "error back (not from the first layer).",
                equation(_sum(numbers.backpropagation), number(once)),
                once,
                numbers.backpropagation,
            ),
            Statement(
                f"Each of the {parameters} gradients on its own, nothing kept from one to the next: for each layer, "
                "the number of weights times what one takes, then the number of biases times what one takes.",
                equation(_sum(numbers.alone), number(anew)),
                anew,
                numbers.alone,
            ),
            Statement(
                "So finding each gradient on its own takes this many times as much work:",
                equation(Fraction(number(anew), number(once)), number(anew / once)),
                anew / once,
            ),
            Statement(
                "Trying instead, changing one parameter at a time and computing the loss again, takes a forward pass "
                "for each parameter, and is not even exact:",
                equation(_sum(numbers.differences), number(differences)),
                differences,
                numbers.differences,
            ),
        ),
    )


def _sum(terms: list[list[int]]) -> Formula:
    return Sum(tuple(_product(row) for row in terms))


def _product(row: list[Any]) -> Formula:
    return number(row[0]) if len(row) == 1 else Product(tuple(number(factor) for factor in row))
