"""Mistakes in which the gradients of weights and of biases are made in each other's way."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from engine.mistakes.computation import LAYER, Case, Computation, Numbers
from engine.rules import About, Array, hyper


@dataclass(frozen=True, slots=True)
class BiasGradientOfWeights:
    """The gradient of the bias made of its unit's weights' gradients: their sum, their mean, or the last of them.

    In the loop over the weights the bias is given what the weight gets, or after it what the last one got. A bias is no
    weight of any of the inputs: its own input is 1.

    Source: Nielsen 2015, Neural Networks and Deep Learning, chapter 2, BP3.
    """

    kind: Literal["bias_gradient_of_weights"] = "bias_gradient_of_weights"
    form: Literal["sum", "mean", "last"] = "sum"
    layer: int | None = hyper(None, description=LAYER)
    about: ClassVar = About("Bias gradient made of the weights'", r"\sum_i \frac{\partial L}{\partial W_{ij}} "
                            r"\text{ for } \sum_n \frac{\partial L}{\partial z_{nj}}")  # fmt: skip

    def applies(self, case: Case) -> bool:
        return case.has_bias(self.layer)

    def alter(self, c: Computation, case: Case) -> Computation:
        def stage(n: Numbers, i: int) -> Array:
            gradient = n.computation.by_weights(n, i)
            if self.form == "last":
                return gradient[-1]
            return gradient.sum(axis=0) if self.form == "sum" else gradient.mean(axis=0)

        return c.in_layers(case.indices(self.layer), by_bias=stage)


@dataclass(frozen=True, slots=True)
class InputsLeftOut:
    """The gradient of the weights without the inputs: each weight gets its unit's summed error, as a bias does.

    The error is what a weight is corrected by only where its input is 1.

    Source: Rumelhart, Hinton and Williams 1986, doi:10.1038/323533a0, equation 6.
    """

    kind: Literal["inputs_left_out"] = "inputs_left_out"
    layer: int | None = hyper(None, description=LAYER)
    about: ClassVar = About("Inputs left out of the weights' gradient", r"\sum_n \frac{\partial L}{\partial z_n} "
                            r"\text{ for } x^\top \frac{\partial L}{\partial z}")  # fmt: skip

    def applies(self, case: Case) -> bool:
        return True

    def alter(self, c: Computation, case: Case) -> Computation:
        return c.in_layers(
            case.indices(self.layer),
            by_weights=lambda n, i: np.broadcast_to(n.by_z[i].sum(axis=0), n.layer(i).weights.shape),
        )
