"""One parameter, and what lies between it and the loss."""

from typing import Any

import numpy as np

from engine.derivation.derivation import Focus, Worked
from engine.derivation.notation import layer_name, symbol
from engine.derivation.slopes import slopes
from engine.derivation.update import LETTERS
from engine.rules import Array

MOST_EXAMPLES = 3
MOST_UNITS = 4
MOST_LAYERS = 6
"""Each unit on the way is told one by one in networks that are not deeper and not wider than this, and for so many
examples; beyond, of each layer the units with the largest errors, or the errors alone."""


class Chain:
    """The way of the error from the loss to one parameter.

    `deltas` are the errors of all layers, each `[batch, units]`. `sources` `[batch]` are the inputs that the weight
    multiplies, None for a bias. `examples` are those that give most of the gradient, which are told one by one.
    """

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
        self.sources: Array | None = None
        words = f"the bias of unit {self.unit + 1}"
        if on.parameter == "weights":
            self.sources = worked.layer_inputs(on.layer)[:, on.index[0]]
            source = f"{'input' if on.layer == 0 else 'unit'} {on.index[0] + 1}"
            words = f"the weight from {source} to unit {self.unit + 1}"
        self.words = f"{words} of {layer_name(worked, on.layer)}"
        errors = self.deltas[on.layer][:, self.unit]
        sizes = errors if self.sources is None else errors * self.sources
        most = MOST_EXAMPLES if self.last - on.layer <= MOST_LAYERS else 1
        self.examples = largest(sizes, most)
        self.slopes: dict[int, Array] = {}

    @property
    def old(self) -> Any:
        """The parameter, before any update."""
        return self.layers[self.layer].parameters[self.parameter][self.index]

    @property
    def gradient(self) -> Any:
        """The engine's derivative of the loss by the parameter."""
        return self.worked.before.gradients.layers[self.layer].parameters[self.parameter][self.index]

    def slopes_of(self, i: int) -> Array:
        """The derivatives of layer i's activation, of all examples at once, as its errors were made. A rule may round
        a row alone otherwise, as gelu does (erfc of few numbers), which is much where its two terms cancel."""
        if i not in self.slopes:
            _, z, a = self.worked.before.trace[i]
            self.slopes[i] = slopes(self.layers[i].activation, z, a)
        return self.slopes[i]

    def example(self, n: int, index: str = "") -> str:
        """The index of a symbol: that of the example, where there are several, and what is given."""
        if self.worked.batch == 1:
            return index
        return f"{n + 1},{index}" if index else str(n + 1)

    def units(self, n: int, i: int) -> list[int]:
        """The units of layer i that are told of one by one."""
        if i == self.layer:
            return [self.unit]
        if self.last - self.layer > MOST_LAYERS:
            return []
        return largest(self.deltas[i][n], MOST_UNITS)


def largest(numbers: Array, most: int) -> list[int]:
    """The places, in order, of the `most` numbers of the largest magnitude."""
    return sorted(np.argsort(-np.abs(numbers), kind="stable")[:most].tolist())
