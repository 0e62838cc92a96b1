"""Mistakes in the derivative of relu and its like, which is a mask: 1 where the preactivation is positive."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from engine.mistakes.computation import LAYER, Case, Computation, Numbers
from engine.rules import About, Array, hyper

MASKED = ("relu", "relu6", "leaky_relu", "threshold", "hard_shrink")


@dataclass(frozen=True, slots=True)
class ReluMaskOfGradient:
    """The mask taken of the incoming gradient, where dL/da > 0, in place of the preactivation, or of both.

    "Zero where negative" is applied to what is at hand. Deconvolutional networks and guided backpropagation do it on
    purpose, to draw pictures; it is no gradient.

    Source: Zeiler and Fergus 2013, arXiv:1311.2901; Springenberg et al. 2014, arXiv:1412.6806.
    """

    kind: Literal["relu_mask_of_gradient"] = "relu_mask_of_gradient"
    layer: int | None = hyper(None, description=LAYER)
    of: Literal["gradient", "both"] = "gradient"
    about: ClassVar = About("ReLU mask of the incoming gradient", r"[g > 0] \, g \text{ for } [z > 0] \, g")

    def applies(self, case: Case) -> bool:
        return bool(case.of_kinds(MASKED, self.layer))

    def alter(self, c: Computation, case: Case) -> Computation:
        def stage(n: Numbers, i: int) -> Array:
            grad = n.by_a[i] * (n.by_a[i] > 0)
            return grad * (n.z[i] > 0) if self.of == "both" else grad

        return c.in_layers(case.of_kinds(MASKED, self.layer), by_preactivations=stage)


@dataclass(frozen=True, slots=True)
class ReluMaskOfOtherLayer:
    """The mask of the layer before or after in place of the layer's own.

    The list of kept preactivations is off by one; it goes unnoticed where layers are equally wide.

    Source: Nair and Hinton 2010, the derivative of the rectifier.
    """

    kind: Literal["relu_mask_of_other_layer"] = "relu_mask_of_other_layer"
    layer: int | None = hyper(None, description=LAYER)
    which: Literal["before", "after"] = "before"
    about: ClassVar = About("ReLU mask from the wrong layer", r"[z_{l \pm 1} > 0] \text{ for } [z_l > 0]")

    def applies(self, case: Case) -> bool:
        return bool(case.of_kinds(MASKED, self.layer))

    def alter(self, c: Computation, case: Case) -> Computation:
        before = c.by_preactivations

        def stage(n: Numbers, i: int) -> Array:
            other = i + (-1 if self.which == "before" else 1)
            if not -1 <= other <= n.last:
                return before(n, i)
            numbers = n.case.inputs if other < 0 else n.z[other]
            if numbers.shape != n.z[i].shape:
                return before(n, i)
            return n.layer(i).activation.backward(n.by_a[i], numbers, n.layer(i).activation.forward(numbers))

        return c.in_layers(case.of_kinds(MASKED, self.layer), by_preactivations=stage)


@dataclass(frozen=True, slots=True)
class ReluDerivativeWrong:
    """A wrong derivative of relu or leaky_relu: the slopes of both sides exchanged, that of the negative side with a
    minus or times z, or the sign of z, which is -1 there.

    The comparison is turned round, or the function is copied and a part of it left in.

    Source: torch.nn.LeakyReLU, whose derivative is 1 or negative_slope.
    """

    kind: Literal["relu_derivative_wrong"] = "relu_derivative_wrong"
    form: Literal["exchanged", "minus_slope", "slope_times_z", "sign"] = "exchanged"
    layer: int | None = hyper(None, description=LAYER)
    about: ClassVar = About("Wrong derivative of relu", r"[z \le 0] \text{ for } [z > 0]")

    def applies(self, case: Case) -> bool:
        return bool(self._layers(case))

    def _layers(self, case: Case) -> list[int]:
        return case.of_kinds(("leaky_relu",) if "slope" in self.form else ("relu", "leaky_relu"), self.layer)

    def alter(self, c: Computation, case: Case) -> Computation:
        def stage(n: Numbers, i: int) -> Array:
            slope, z = getattr(n.layer(i).activation, "negative_slope", 0.0), n.z[i]
            positive = slope if self.form == "exchanged" else 1.0
            match self.form:
                case "exchanged":
                    negative: Any = 1.0
                case "minus_slope":
                    negative = -slope
                case "slope_times_z":
                    negative = slope * z
                case "sign":
                    negative = np.sign(z)
            grad: Array = n.by_a[i] * np.where(z > 0, positive, negative)
            return grad

        return c.in_layers(self._layers(case), by_preactivations=stage)
