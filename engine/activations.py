"""The activations: each a frozen dataclass with its formula, and its derivative right beside it.

`forward(z)` takes preactivations `[batch, units]`; `backward(grad, z, a)` gives the product of `grad` = dL/da with the
derivative. Those here work element by element. Those made of straight pieces are in piecewise_activations.py, softmax
and its kin in row_activations.py. Callers silence NumPy's floating-point warnings: where a rule overflows inside, it
ends in the right limit.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from engine.erf import erfc
from engine.piecewise_activations import (
    HardShrink,
    HardSigmoid,
    HardSwish,
    HardTanh,
    LeakyRelu,
    Relu,
    Relu6,
    SoftShrink,
    Threshold,
)
from engine.row_activations import LogSoftmax, Softmax, Softmin
from engine.rules import About, Array, hyper


def sigmoid(z: Array) -> Array:
    """1 / (1 + exp(-z))."""
    powers = np.exp(-z)
    powers += 1.0
    return np.reciprocal(powers, out=powers)


def normal_cdf(z: Array) -> Array:
    """The cumulative distribution of the standard normal; erfc keeps its digits in the lower tail."""
    # The tail magnifies the rounding of z / sqrt(2), so that float32 goes through float64.
    wide = z.astype(np.float64, copy=False)
    return (0.5 * erfc(wide / -math.sqrt(2))).astype(z.dtype, copy=False)


@dataclass(frozen=True, slots=True)
class Identity:
    """z.

    Source: torch.nn.Identity.
    """

    kind: Literal["identity"] = "identity"
    about: ClassVar = About("Identity", r"z", "1", r"1")

    def forward(self, z: Array) -> Array:
        return z.copy()

    def backward(self, grad: Array, z: Array, a: Array) -> Array:
        return grad.copy()


@dataclass(frozen=True, slots=True)
class Elu:
    """z where z > 0, else alpha * (exp(z) - 1), with derivative alpha at z = 0.

    Source: Clevert et al. 2015, arXiv:1511.07289; torch.nn.ELU.
    """

    kind: Literal["elu"] = "elu"
    alpha: float = hyper(1.0, gt=0.0, description="The value approached at minus infinity is -alpha.")
    about: ClassVar = About(
        "Exponential linear unit",
        r"\begin{cases} z & z > 0 \\ \alpha (e^z - 1) & z \le 0 \end{cases}",
        "1 where z > 0, else alpha * exp(z)",
        r"\begin{cases} 1 & z > 0 \\ \alpha e^z & z \le 0 \end{cases}",
    )

    def forward(self, z: Array) -> Array:
        return np.where(z > 0, z, self.alpha * np.expm1(np.minimum(z, 0)))

    def backward(self, grad: Array, z: Array, a: Array) -> Array:
        return grad * np.where(z > 0, 1, self.alpha * np.exp(np.minimum(z, 0)))


@dataclass(frozen=True, slots=True)
class Celu:
    """z where z > 0, else alpha * (exp(z / alpha) - 1).

    Source: Barron 2017, arXiv:1704.07483; torch.nn.CELU.
    """

    kind: Literal["celu"] = "celu"
    alpha: float = hyper(1.0, gt=0.0, description="The value approached at minus infinity is -alpha.")
    about: ClassVar = About(
        "Continuously differentiable ELU",
        r"\begin{cases} z & z > 0 \\ \alpha (e^{z / \alpha} - 1) & z \le 0 \end{cases}",
        "1 where z > 0, else exp(z / alpha)",
        r"\begin{cases} 1 & z > 0 \\ e^{z / \alpha} & z \le 0 \end{cases}",
    )

    def forward(self, z: Array) -> Array:
        return np.where(z > 0, z, self.alpha * np.expm1(np.minimum(z, 0) / self.alpha))

    def backward(self, grad: Array, z: Array, a: Array) -> Array:
        return grad * np.exp(np.minimum(z, 0) / self.alpha)


@dataclass(frozen=True, slots=True)
class Selu:
    """scale * z where z > 0, else scale * alpha * (exp(z) - 1), with alpha 1.67326... and scale 1.05070...

    At z = 0 the derivative is scale * alpha.

    Source: Klambauer et al. 2017, arXiv:1706.02515; torch.nn.SELU.
    """

    kind: Literal["selu"] = "selu"
    alpha: ClassVar[float] = 1.6732632423543772848170429916717
    scale: ClassVar[float] = 1.0507009873554804934193349852946
    about: ClassVar = About(
        "Scaled ELU",
        r"\begin{cases} \lambda z & z > 0 \\ \lambda \alpha (e^z - 1) & z \le 0 \end{cases}",
        "scale where z > 0, else scale * alpha * exp(z)",
        r"\begin{cases} \lambda & z > 0 \\ \lambda \alpha e^z & z \le 0 \end{cases}",
    )

    def forward(self, z: Array) -> Array:
        return self.scale * np.where(z > 0, z, self.alpha * np.expm1(np.minimum(z, 0)))

    def backward(self, grad: Array, z: Array, a: Array) -> Array:
        return grad * self.scale * np.where(z > 0, 1, self.alpha * np.exp(np.minimum(z, 0)))


@dataclass(frozen=True, slots=True)
class Gelu:
    """z * Phi(z), with Phi the cumulative distribution of the standard normal; with approximate tanh, z / 2 * (1 +
    tanh(sqrt(2 / pi) * (z + 0.044715 * z^3))).

    Source: Hendrycks and Gimpel 2016, arXiv:1606.08415; torch.nn.GELU.
    """

    kind: Literal["gelu"] = "gelu"
    approximate: Literal["none", "tanh"] = hyper("none", description="none: exact; tanh: by tanh.")
    about: ClassVar = About(
        "Gaussian error linear unit",
        r"z \, \Phi(z)",
        "Phi(z) + z * phi(z), with phi the density",
        r"\Phi(z) + z \, \varphi(z)",
    )
    by_tanh: ClassVar = About(
        about.title,
        r"\frac{z}{2} (1 + \tanh u), \quad u = \sqrt{2 / \pi} \, (z + 0.044715 z^3)",
        "(1 + tanh(u)) / 2 + z / 2 * (1 - tanh(u)^2) * sqrt(2 / pi) * (1 + 0.134145 * z^2)",
        r"\frac{1 + \tanh u}{2} + \frac{z}{2} (1 - \tanh^2 u) \sqrt{2 / \pi} \, (1 + 0.134145 z^2)",
    )

    @property
    def chosen(self) -> About:
        return self.about if self.approximate == "none" else self.by_tanh

    def forward(self, z: Array) -> Array:
        if self.approximate == "none":
            return z * normal_cdf(z)
        return z * self._gate(z)

    def backward(self, grad: Array, z: Array, a: Array) -> Array:
        if self.approximate == "none":
            return grad * (normal_cdf(z) + z * (np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)))
        gate = self._gate(z)
        # Beyond 50 the gate is 0 or 1 in every digit, and 0 times an overflow would be NaN.
        near = np.minimum(np.maximum(z, -50), 50)
        return grad * gate * (1 + near * (1 - gate) * (math.sqrt(8 / math.pi) * (1 + 0.134145 * near * near)))

    def _gate(self, z: Array) -> Array:
        # (1 + tanh(u)) / 2 = sigmoid(2 * u), which keeps its digits in the lower tail.
        return sigmoid(z * (math.sqrt(8 / math.pi) * (1 + 0.044715 * z * z)))


@dataclass(frozen=True, slots=True)
class Silu:
    """z * sigmoid(z).

    Source: Ramachandran et al. 2017, arXiv:1710.05941; torch.nn.SiLU.
    """

    kind: Literal["silu"] = "silu"
    about: ClassVar = About(
        "Sigmoid linear unit (swish)",
        r"z \, \sigma(z)",
        "sigmoid(z) * (1 + z * (1 - sigmoid(z)))",
        r"\sigma(z) (1 + z (1 - \sigma(z)))",
    )

    def forward(self, z: Array) -> Array:
        return z / (1 + np.exp(-z))

    def backward(self, grad: Array, z: Array, a: Array) -> Array:
        s = sigmoid(z)
        return grad * s * (1 + z * (1 - s))


@dataclass(frozen=True, slots=True)
class Mish:
    """z * tanh(softplus(z)).

    Source: Misra 2019, arXiv:1908.08681; torch.nn.Mish.
    """

    kind: Literal["mish"] = "mish"
    about: ClassVar = About(
        "Mish",
        r"z \tanh(\log(1 + e^z))",
        "t + z * sigmoid(z) * (1 - t^2) with t = tanh(softplus(z))",
        r"t + z \, \sigma(z) (1 - t^2), \quad t = \tanh(\log(1 + e^z))",
    )

    # With e = exp(z), tanh(softplus(z)) = e * (e + 2) / (e * (e + 2) + 2), which is 1 in every digit from z = 20 on.
    def forward(self, z: Array) -> Array:
        e = np.exp(np.minimum(z, 30))
        n = e * (e + 2)
        return z * (n / (n + 2))

    def backward(self, grad: Array, z: Array, a: Array) -> Array:
        near = np.minimum(z, 30)
        e = np.exp(near)
        n = e * (e + 2)
        return grad * ((n + near * (4 * (e * (e + 1) / (n + 2)))) / (n + 2))


@dataclass(frozen=True, slots=True)
class Sigmoid:
    """1 / (1 + exp(-z)).

    Source: Rumelhart, Hinton and Williams 1986; torch.nn.Sigmoid.
    """

    kind: Literal["sigmoid"] = "sigmoid"
    about: ClassVar = About("Logistic sigmoid", r"\frac{1}{1 + e^{-z}}", "a * (1 - a)", r"a (1 - a)")

    def forward(self, z: Array) -> Array:
        return sigmoid(z)

    def backward(self, grad: Array, z: Array, a: Array) -> Array:
        return grad * a * (1.0 - a)


@dataclass(frozen=True, slots=True)
class LogSigmoid:
    """log(1 / (1 + exp(-z))).

    Source: torch.nn.LogSigmoid.
    """

    kind: Literal["log_sigmoid"] = "log_sigmoid"
    about: ClassVar = About("Logarithm of the sigmoid", r"-\log(1 + e^{-z})", "sigmoid(-z)", r"\sigma(-z)")

    def forward(self, z: Array) -> Array:
        return np.minimum(z, 0) - np.log1p(np.exp(-np.abs(z)))

    def backward(self, grad: Array, z: Array, a: Array) -> Array:
        return grad * sigmoid(-z)


@dataclass(frozen=True, slots=True)
class Tanh:
    """tanh(z).

    Source: LeCun et al. 1998, Efficient BackProp; torch.nn.Tanh.
    """

    kind: Literal["tanh"] = "tanh"
    about: ClassVar = About("Hyperbolic tangent", r"\tanh z", "1 - a^2", r"1 - a^2")

    def forward(self, z: Array) -> Array:
        return np.tanh(z)

    def backward(self, grad: Array, z: Array, a: Array) -> Array:
        return grad * (1 - a * a)


@dataclass(frozen=True, slots=True)
class Softplus:
    """log(1 + exp(beta * z)) / beta, and z itself where beta * z > threshold.

    Source: Dugas et al. 2000; torch.nn.Softplus.
    """

    kind: Literal["softplus"] = "softplus"
    beta: float = hyper(1.0, gt=0.0, description="How sharp the bend is.")
    threshold: float = hyper(20.0, description="Above this it is linear.")
    about: ClassVar = About(
        "Softplus",
        r"\frac1\beta \log(1 + e^{\beta z})",
        "sigmoid(beta * z), and 1 where beta * z > threshold",
        r"\sigma(\beta z)",
    )

    def forward(self, z: Array) -> Array:
        scaled = z * self.beta
        # Above 80 it is linear in every digit, and a high threshold would let exp overflow.
        return np.where(scaled > min(self.threshold, 80), z, np.log1p(np.exp(scaled)) / self.beta)

    def backward(self, grad: Array, z: Array, a: Array) -> Array:
        scaled = z * self.beta
        return np.where(scaled > self.threshold, grad, grad * sigmoid(scaled))


@dataclass(frozen=True, slots=True)
class Softsign:
    """z / (1 + |z|).

    Source: Bergstra et al. 2009; torch.nn.Softsign.
    """

    kind: Literal["softsign"] = "softsign"
    about: ClassVar = About("Softsign", r"\frac{z}{1 + |z|}", "1 / (1 + |z|)^2", r"\frac{1}{(1 + |z|)^2}")

    def forward(self, z: Array) -> Array:
        return z / (1 + np.abs(z))

    def backward(self, grad: Array, z: Array, a: Array) -> Array:
        return grad / (1 + np.abs(z)) ** 2


@dataclass(frozen=True, slots=True)
class TanhShrink:
    """z - tanh(z).

    Source: torch.nn.Tanhshrink.
    """

    kind: Literal["tanh_shrink"] = "tanh_shrink"
    about: ClassVar = About("Tanh shrink", r"z - \tanh z", "tanh(z)^2", r"\tanh^2 z")

    def forward(self, z: Array) -> Array:
        return z - np.tanh(z)

    def backward(self, grad: Array, z: Array, a: Array) -> Array:
        return grad * np.tanh(z) ** 2


@dataclass(frozen=True, slots=True)
class Exponential:
    """exp(z).

    Source: keras.activations.exponential.
    """

    kind: Literal["exponential"] = "exponential"
    about: ClassVar = About("Exponential", r"e^z", "a", r"a")

    def forward(self, z: Array) -> Array:
        return np.exp(z)

    def backward(self, grad: Array, z: Array, a: Array) -> Array:
        return grad * a


Activation = (
    Identity
    | Relu
    | Relu6
    | LeakyRelu
    | Elu
    | Celu
    | Selu
    | Gelu
    | Silu
    | Mish
    | Sigmoid
    | HardSigmoid
    | LogSigmoid
    | Tanh
    | HardTanh
    | Softplus
    | Softsign
    | HardSwish
    | HardShrink
    | SoftShrink
    | TanhShrink
    | Threshold
    | Exponential
    | Softmax
    | Softmin
    | LogSoftmax
)
