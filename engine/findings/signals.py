"""Findings about how large the signals are, on their way forward and back."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from engine.clipping import root_mean_square
from engine.findings.case import Case, Finding, some

VANISHED = 1e-3
"""The first layer's error signal over the last one's. A step then changes the first layer a thousand times less."""
EXPLODED = 1e3
DEEP = 3
"""With fewer layers there is no depth for a gradient to vanish in."""
LARGE_INPUT = 10.0
SMALL_INPUTS = 0.01
"""Initializers assume inputs of size 1. A factor of ten saturates or carries a step ten times too far; sparse inputs
(one-hot rows, pixels) are small in the mean and fine, so that only a factor of a hundred below is told, over all."""


class _Ratio:
    """The ratio of the first layer's error signal to the last one's, and where it comes from."""

    __slots__ = ()

    def ratio(self, case: Case) -> float | None:
        """None where there is nothing to compare."""
        sizes = case.gradient_sizes
        if len(sizes) < DEEP or not sizes[0] > 0 or not sizes[-1] > 0:
            return None
        return sizes[0] / sizes[-1]

    def evidence(self, case: Case, ratio: float) -> dict[str, Any]:
        hidden = case.ranges[:-1]
        steepest = [limits.steepest for limits in hidden]
        bounds = [None if s is None else float(s) for s in steepest]
        product = math.prod(s for s in steepest if s is not None) if all(s is not None for s in steepest) else None
        slopes = [None if slope is None else float(np.abs(slope).mean()) for slope in case.slopes[:-1]]
        # What independent weights multiply the size of a signal by, on its way back.
        above = [layer.weights for layer in case.network.layers[1:]]
        weights = [root_mean_square(w) * math.sqrt(w.shape[1]) for w in above]
        return {
            "ratio": ratio,
            "preactivation_gradients": case.gradient_sizes,
            "mean_slopes": slopes,
            "steepest_slopes": bounds,
            "product_of_steepest_slopes": product,
            "weight_factors": weights,
        }


@dataclass(frozen=True, slots=True)
class VanishingGradients(_Ratio):
    """The error signal dL/dz (root mean square) of the first layer is less than 1/1000 of the last one's.

    dL/dz_l = (dL/dz_{l+1} W^T) f'(z_l): every layer multiplies by its slope, and a sigmoid's is at most 1/4, so that n
    of them leave at most (1/4)^n times what the weights make of it.

    Source: Hochreiter 1991; Bengio, Simard and Frasconi 1994, doi:10.1109/72.279181.
    """

    code: ClassVar[str] = "vanishing_gradients"
    title: ClassVar[str] = "Gradients that vanish on the way back"
    remedy: ClassVar[str] = (
        "Use relu or its kin in hidden layers, start from weights that keep the size of the signal (He's initializers "
        "for relu, Glorot's for tanh), or use fewer layers."
    )

    def find(self, case: Case) -> list[Finding]:
        ratio = self.ratio(case)
        if ratio is None or ratio >= VANISHED:
            return []
        evidence = self.evidence(case, ratio)
        sigmoids = sum(layer.activation.kind == "sigmoid" for layer in case.network.layers[:-1])
        slopes = [s for s in evidence["mean_slopes"] if s is not None]
        why = f"the slopes of the activations between them multiply to {math.prod(slopes):.2g}"
        if sigmoids:
            why += f" ({sigmoids} are sigmoids, whose slope is at most 1/4: (1/4)^{sigmoids} = {0.25**sigmoids:.2g})"
        message = f"The first layer's error signal is {ratio:.2g} times the last one's: {why}."
        return [Finding(self.code, "warning", 0, message, evidence, self.remedy)]


@dataclass(frozen=True, slots=True)
class ExplodingGradients(_Ratio):
    """The error signal dL/dz (root mean square) of the first layer is more than 1000 times the last one's.

    Every layer multiplies by its weights; where they stretch the signal by more than the slopes shrink it, the product
    over the layers grows exponentially with depth.

    Source: Pascanu, Mikolov and Bengio 2012, arXiv:1211.5063.
    """

    code: ClassVar[str] = "exploding_gradients"
    title: ClassVar[str] = "Gradients that explode on the way back"
    remedy: ClassVar[str] = (
        "Start from smaller weights (He's or Glorot's initializers), or limit the gradients with gradient_clipping."
    )

    def find(self, case: Case) -> list[Finding]:
        ratio = self.ratio(case)
        if ratio is None or ratio <= EXPLODED:
            return []
        evidence = self.evidence(case, ratio)
        factors = ", ".join(f"{f:.2g}" for f in evidence["weight_factors"][:8])
        message = (
            f"The first layer's error signal is {ratio:.2g} times the last one's: the weights of the layers above "
            f"stretch it by about {factors}, more than the slopes shrink it."
        )
        return [Finding(self.code, "warning", 0, message, evidence, self.remedy)]


@dataclass(frozen=True, slots=True)
class InputScale:
    """Features of a size above 10, or inputs of a size below 1/100 over all (root mean square).

    Source: LeCun et al. 1998, Efficient BackProp, section 4.3: inputs of mean 0 and standard deviation 1.
    """

    code: ClassVar[str] = "input_scale"
    title: ClassVar[str] = "Inputs far from unit scale"
    remedy: ClassVar[str] = (
        "Subtract each feature's mean and divide by its standard deviation (computed once, on the training data)."
    )

    def find(self, case: Case) -> list[Finding]:
        x = case.inputs.astype(np.float64)
        sizes = np.array([root_mean_square(column) for column in x.T])
        whole = root_mean_square(x)
        large = np.flatnonzero(sizes > LARGE_INPUT)
        if not len(large) and not 0 < whole < SMALL_INPUTS:
            return []
        evidence = {
            "root_mean_square": whole,
            "features": some(large),
            "count": len(large),
            "largest": float(np.abs(x).max()),
        }
        if len(large):
            worst = int(sizes.argmax())
            message = (
                f"{len(large)} of {x.shape[1]} features are larger than {LARGE_INPUT:g} (feature {worst} has a root "
                f"mean square of {sizes[worst]:.3g}), while initial weights and learning rates are made for inputs of "
                "size 1."
            )
        else:
            message = (
                f"The inputs have a root mean square of {whole:.2g}, far below the size of 1 that initial weights and "
                "learning rates are made for: the first layer hardly sees them, and its weights hardly learn."
            )
        return [Finding(self.code, "warning", 0, message, evidence, self.remedy)]
