"""Findings about how large the signals are, on their way forward and back."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from engine.clipping import root_mean_square
from engine.findings.case import LARGE, SMALL, Case, Finding, deviations, some, spread
from engine.rules import Array
from engine.wording import plural

VANISHED = 1e-3
"""The first layer's error signal over the last one's. A step then changes the first layer a thousand times less."""
EXPLODED = 1e3
ROUNDINGS = 100
"""An error signal below so many roundings of what weights and slopes let through is what is left where its terms
cancel, as they do before outputs whose weights are all equal."""
DEEP = 3
"""With fewer layers there is no depth for a gradient to vanish in."""
FEW_EXAMPLES = 8
"""Of fewer the standard deviations of the features say little."""
OFF_CENTER = 10.0
FAR_OFF_CENTER = 30.0
FAR_MEAN = 3.0
"""The mean of a feature over its standard deviation. The loss then is (1 + ratio^2) times steeper along the feature's
constant part than along what it tells: a hundred times is told, a thousand is a warning where the mean itself is large.
A feature that is 1 in all but a few examples is as far off and does no harm."""
UNEVEN = 100.0
VERY_UNEVEN = 1000.0
"""The largest magnitude of a feature over that of another: one learning rate is wrong by its square for one of the two.
Magnitudes, since a feature that is seldom other than 0 has a small root mean square and is fine."""


class _Ratio:
    """The ratio of the first layer's error signal to the last one's, and where it comes from."""

    __slots__ = ()

    def ratio(self, case: Case) -> float | None:
        """None where there is nothing to compare."""
        sizes = case.gradient_sizes
        return sizes[0] / sizes[-1] if len(sizes) >= DEEP and sizes[-1] > 0 else None

    def passed_on(self, case: Case) -> list[float]:
        """The sizes of the error signals, 0 from where all but roundings cancels on the way back."""
        sizes, rounding = list(case.gradient_sizes), ROUNDINGS * float(np.finfo(case.outputs.dtype).eps)
        for i, factor in reversed(list(enumerate(weight_factors(case)))):
            slope = case.slopes[i]
            let_through = factor * (1.0 if slope is None else float(np.abs(slope).mean()))
            if sizes[i] <= rounding * sizes[i + 1] * let_through:
                return [0.0] * (i + 1) + sizes[i + 1 :]
        return sizes

    def evidence(self, case: Case, ratio: float) -> dict[str, Any]:
        hidden = case.shapes[:-1]
        steepest = [shape.steepest for shape in hidden]
        bounds = [None if s is None else float(s) for s in steepest]
        product = math.prod(s for s in steepest if s is not None) if all(s is not None for s in steepest) else None
        slopes = [None if slope is None else float(np.abs(slope).mean()) for slope in case.slopes[:-1]]
        return {
            "ratio": ratio,
            "preactivation_gradients": case.gradient_sizes,
            "mean_slopes": slopes,
            "steepest_slopes": bounds,
            "product_of_steepest_slopes": product,
            "weight_factors": weight_factors(case),
        }

    def message(self, ratio: float, evidence: dict[str, Any]) -> str:
        """The ratio, and what makes it: weights and slopes, as far as these are known."""
        slopes = [slope for slope in evidence["mean_slopes"] if slope is not None]
        text = (
            f"The first layer's error signal is {ratio:.2g} times the last one's: on the way back the weights multiply "
            f"it by about {math.prod(evidence['weight_factors']):.2g}"
        )
        return f"{text}, the slopes of the activations by {math.prod(slopes):.2g}" if slopes else text


def weight_factors(case: Case) -> list[float]:
    """What independent weights multiply the size of a signal by, on its way back, for each layer but the last."""
    above = [layer.weights for layer in case.network.layers[1:]]
    return [root_mean_square(w) * math.sqrt(w.shape[1]) for w in above]


@dataclass(frozen=True, slots=True)
class VanishingGradients(_Ratio):
    """The error signal dL/dz (root mean square) of the first layer is less than 1/1000 of the last one's.

    dL/dz_l = (dL/dz_{l+1} W^T) f'(z_l): every layer multiplies by its slope, and a sigmoid's is at most 1/4, so that n
    of them leave at most (1/4)^n times what the weights make of it. A signal that is 0 counts where it was below 1/1000
    before: then it has underflowed. One that ends at once has met weights of 0 or dead units, or equal weights, before
    which its terms cancel but for rounding.

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
        if ratio is None:
            return []
        sizes = self.passed_on(case)
        if next(s for s in sizes if s > 0) / sizes[-1] >= VANISHED:
            return []
        evidence = self.evidence(case, ratio)
        message = self.message(ratio, evidence)
        sigmoids = sum(layer.activation.kind == "sigmoid" for layer in case.network.layers[:-1])
        if sigmoids:
            message += (
                f" ({plural(sigmoids, 'layer')} of sigmoids, whose slope is at most 1/4: (1/4)^{sigmoids} = "
                f"{0.25**sigmoids:.2g})"
            )
        message += "."
        return [Finding(self.code, "warning", 0, message, evidence, self.remedy)]


@dataclass(frozen=True, slots=True)
class ExplodingGradients(_Ratio):
    """The error signal dL/dz (root mean square) of the first layer is more than 1000 times the last one's.

    Every layer multiplies by its weights and its slopes; where they stretch the signal, the product over the layers
    grows exponentially with depth.

    Source: Pascanu, Mikolov and Bengio 2012, arXiv:1211.5063.
    """

    code: ClassVar[str] = "exploding_gradients"
    title: ClassVar[str] = "Gradients that explode on the way back"
    remedy: ClassVar[str] = (
        "Start from smaller weights (He's or Glorot's initializers), or take activations whose slope is at most 1. "
        "gradient_clipping keeps sgd from diverging; it does little for adam, whose steps do not grow with a gradient."
    )

    def find(self, case: Case) -> list[Finding]:
        ratio = self.ratio(case)
        if ratio is None or ratio <= EXPLODED:
            return []
        evidence = self.evidence(case, ratio)
        message = f"{self.message(ratio, evidence)}."
        return [Finding(self.code, "warning", 0, message, evidence, self.remedy)]


@dataclass(frozen=True, slots=True)
class InputScale:
    """Features of a size (root mean square) above 10, of a mean beyond 10 standard deviations, or a hundred times
    larger than others; or inputs of a size below 1/100 over all.

    A mean beyond 10 standard deviations is an info up to 30 of them, and where it is small itself; so are features that
    differ by less than 1000 times. Features that never change are left to unused_inputs.

    Source: LeCun et al. 1998, Efficient BackProp, section 4.3: inputs of mean 0 and standard deviation 1.
    """

    code: ClassVar[str] = "input_scale"
    title: ClassVar[str] = "Inputs far from unit scale"
    remedy: ClassVar[str] = (
        "Subtract each feature's mean and divide by its standard deviation (computed once, on the training data)."
    )

    def find(self, case: Case) -> list[Finding]:
        x = case.trace[0].inputs.astype(np.float64)
        told = [self.size(x)]
        if len(x) >= FEW_EXAMPLES:
            told += [self.offset(x), self.unevenness(x)]
        texts = [text for text, _, _ in told if text]
        if not texts:
            return []
        evidence = {name: value for _, _, numbers in told for name, value in numbers.items()}
        severity = "warning" if any(bad for _, bad, _ in told) else "info"
        return [Finding(self.code, severity, 0, " ".join(texts), evidence, self.remedy)]

    def size(self, x: Array) -> tuple[str, bool, dict[str, Any]]:
        """What is to be told of the sizes of the features ("" if nothing), whether as a warning, and the evidence."""
        sizes = np.array([root_mean_square(column) for column in x.T])
        whole = root_mean_square(x)
        large = np.flatnonzero(sizes > LARGE)
        text = ""
        if len(large):
            worst = int(sizes.argmax())
            text = (
                f"{len(large)} of {x.shape[1]} features {'is' if len(large) == 1 else 'are'} larger than "
                f"{LARGE:g} (feature {worst} has a root mean square of {sizes[worst]:.3g}), while initial "
                "weights and learning rates are made for inputs of size 1."
            )
        elif 0 < whole < SMALL:
            text = (
                f"The inputs have a root mean square of {whole:.2g}, far below the size of 1 that initial weights and "
                "learning rates are made for: the first layer hardly sees them, and its weights hardly learn."
            )
        numbers = {
            "root_mean_square": whole,
            "features": some(large),
            "count": len(large),
            "largest": float(np.abs(x).max()),
        }
        return text, text != "", numbers

    def offset(self, x: Array) -> tuple[str, bool, dict[str, Any]]:
        """Of their means beside their standard deviations."""
        means = np.abs([spread(column)[0] for column in x.T])
        deviation = deviations(x)
        ratios = np.where(deviation > 0, means / deviation, 0)
        far = np.flatnonzero(ratios > OFF_CENTER)
        worst = int(ratios.argmax())
        little = "varies little beside its mean" if len(far) == 1 else "vary little beside their mean"
        text = (
            f"{len(far)} of {x.shape[1]} features {little} (feature {worst} has a mean of "
            f"magnitude {means[worst]:.3g} and a standard deviation of {deviation[worst]:.3g}): the weights mostly see "
            "what all examples have in common."
        )
        bad = bool(((ratios > FAR_OFF_CENTER) & (means > FAR_MEAN)).any())
        numbers = {"off_center": some(far), "largest_mean_by_deviation": float(ratios.max())}
        return text if len(far) else "", bad, numbers

    def unevenness(self, x: Array) -> tuple[str, bool, dict[str, Any]]:
        """Of their magnitudes beside each other."""
        largest = np.abs(x[:, deviations(x) > 0]).max(axis=0)
        ratio = float(largest.max() / largest.min()) if len(largest) else 1.0
        text = f"The largest numbers of the features differ by a factor of {ratio:.3g}: the smallest are hardly seen."
        return text if ratio > UNEVEN else "", ratio > VERY_UNEVEN, {"largest_by_smallest_feature": ratio}
