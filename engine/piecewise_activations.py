"""The activations that are made of straight (or parabolic) pieces. At a kink the derivative is PyTorch's."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from engine.errors import require
from engine.rules import About, Array, hyper


@dataclass(frozen=True, slots=True)
class Relu:
    """max(0, z), with derivative 0 at z = 0.

    Source: Nair and Hinton 2010; torch.nn.ReLU.
    """

    kind: Literal["relu"] = "relu"
    about: ClassVar = About("Rectified linear unit", r"\max(0, z)", "1 where z > 0, else 0", r"[z > 0]")

    def forward(self, z: Array) -> Array:
        # NumPy takes the larger of two arrays four times as fast as that of an array and a number.
        return np.maximum(z, np.zeros(z.shape, z.dtype))

    def backward(self, grad: Array, z: Array, a: Array) -> Array:
        return grad * np.sign(a)


@dataclass(frozen=True, slots=True)
class Relu6:
    """min(6, max(0, z)), with derivative 0 at both kinks.

    Source: Krizhevsky 2010; torch.nn.ReLU6.
    """

    kind: Literal["relu6"] = "relu6"
    about: ClassVar = About("ReLU6", r"\min(6, \max(0, z))", "1 where 0 < z < 6, else 0", r"[0 < z < 6]")

    def forward(self, z: Array) -> Array:
        return np.clip(z, 0, 6)

    def backward(self, grad: Array, z: Array, a: Array) -> Array:
        return grad * ((z > 0) & (z < 6))


@dataclass(frozen=True, slots=True)
class LeakyRelu:
    """z where z > 0, else negative_slope * z, with the slope as derivative at z = 0.

    Source: Maas et al. 2013; torch.nn.LeakyReLU (Keras has a slope of 0.2, JAX derivative 1 at 0).
    """

    kind: Literal["leaky_relu"] = "leaky_relu"
    negative_slope: float = hyper(0.01, description="The slope below 0.")
    about: ClassVar = About(
        "Leaky ReLU",
        r"\begin{cases} z & z > 0 \\ \alpha z & z \le 0 \end{cases}",
        "1 where z > 0, else negative_slope",
        r"\begin{cases} 1 & z > 0 \\ \alpha & z \le 0 \end{cases}",
    )

    def forward(self, z: Array) -> Array:
        return np.where(z > 0, z, self.negative_slope * z)

    def backward(self, grad: Array, z: Array, a: Array) -> Array:
        return np.where(z > 0, grad, self.negative_slope * grad)


@dataclass(frozen=True, slots=True)
class HardSigmoid:
    """z / 6 + 1/2, held between 0 and 1, with derivative 0 at both kinks.

    Source: Courbariaux et al. 2015, arXiv:1511.00363; torch.nn.Hardsigmoid.
    """

    kind: Literal["hard_sigmoid"] = "hard_sigmoid"
    about: ClassVar = About(
        "Hard sigmoid", r"\max(0, \min(1, z / 6 + 1/2))", "1/6 where -3 < z < 3, else 0", r"\tfrac16 [-3 < z < 3]"
    )

    def forward(self, z: Array) -> Array:
        return np.clip(z + 3, 0, 6) / 6

    def backward(self, grad: Array, z: Array, a: Array) -> Array:
        return grad * ((z > -3) & (z < 3)) / 6


@dataclass(frozen=True, slots=True)
class HardTanh:
    """z, held between min_val and max_val, with derivative 0 at both kinks.

    Source: Collobert 2004; torch.nn.Hardtanh.
    """

    kind: Literal["hard_tanh"] = "hard_tanh"
    min_val: float = hyper(-1.0, description="The least value.")
    max_val: float = hyper(1.0, description="The largest value.")
    about: ClassVar = About(
        "Hard tanh", r"\max(l, \min(u, z))", "1 where min_val < z < max_val, else 0", r"[l < z < u]"
    )

    def __post_init__(self) -> None:
        require(self.min_val < self.max_val, ("max_val",), f"> {self.min_val}", self.max_val)

    def forward(self, z: Array) -> Array:
        return np.clip(z, self.min_val, self.max_val)

    def backward(self, grad: Array, z: Array, a: Array) -> Array:
        return grad * ((z > self.min_val) & (z < self.max_val))


@dataclass(frozen=True, slots=True)
class HardSwish:
    """z * min(6, max(0, z + 3)) / 6.

    Source: Howard et al. 2019, arXiv:1905.02244; torch.nn.Hardswish.
    """

    kind: Literal["hard_swish"] = "hard_swish"
    about: ClassVar = About(
        "Hard swish",
        r"z \, \frac{\min(6, \max(0, z + 3))}{6}",
        "0 where z <= -3, z / 3 + 1/2 up to z = 3, 1 where z >= 3",
        r"\begin{cases} 0 & z \le -3 \\ z / 3 + 1/2 & -3 < z < 3 \\ 1 & z \ge 3 \end{cases}",
    )

    def forward(self, z: Array) -> Array:
        return z * (np.clip(z + 3, 0, 6) / 6)

    def backward(self, grad: Array, z: Array, a: Array) -> Array:
        return grad * np.where(z <= -3, 0, np.where(z < 3, z / 3 + 0.5, 1))


@dataclass(frozen=True, slots=True)
class HardShrink:
    """z where |z| > lambd, else 0, with derivative 0 at both jumps.

    Source: torch.nn.Hardshrink.
    """

    kind: Literal["hard_shrink"] = "hard_shrink"
    lambd: float = hyper(0.5, ge=0.0, description="What is not larger becomes 0.")
    about: ClassVar = About(
        "Hard shrink",
        r"\begin{cases} z & |z| > \lambda \\ 0 & |z| \le \lambda \end{cases}",
        "1 where |z| > lambd, else 0",
        r"[|z| > \lambda]",
    )

    def forward(self, z: Array) -> Array:
        return z * (np.abs(z) > self.lambd)

    def backward(self, grad: Array, z: Array, a: Array) -> Array:
        return grad * (np.abs(z) > self.lambd)


@dataclass(frozen=True, slots=True)
class SoftShrink:
    """z - lambd where z > lambd, z + lambd where z < -lambd, else 0, with derivative 0 at both kinks.

    Source: torch.nn.Softshrink.
    """

    kind: Literal["soft_shrink"] = "soft_shrink"
    lambd: float = hyper(0.5, ge=0.0, description="What all values are moved towards 0 by.")
    about: ClassVar = About(
        "Soft shrink",
        r"\operatorname{sign}(z) \max(0, |z| - \lambda)",
        "1 where |z| > lambd, else 0",
        r"[|z| > \lambda]",
    )

    def forward(self, z: Array) -> Array:
        return z - np.clip(z, -self.lambd, self.lambd)

    def backward(self, grad: Array, z: Array, a: Array) -> Array:
        return grad * (np.abs(z) > self.lambd)


@dataclass(frozen=True, slots=True)
class Threshold:
    """z where z > threshold, else value, with derivative 0 at the jump.

    Source: torch.nn.Threshold (which has no defaults); the default threshold of 1 is Keras's ThresholdedReLU.
    """

    kind: Literal["threshold"] = "threshold"
    threshold: float = hyper(1.0, description="What is not above it is replaced.")
    value: float = hyper(0.0, description="What it is replaced by.")
    about: ClassVar = About(
        "Threshold",
        r"\begin{cases} z & z > \theta \\ v & z \le \theta \end{cases}",
        "1 where z > threshold, else 0",
        r"[z > \theta]",
    )

    def forward(self, z: Array) -> Array:
        return np.where(z > self.threshold, z, self.value)

    def backward(self, grad: Array, z: Array, a: Array) -> Array:
        return grad * (z > self.threshold)
