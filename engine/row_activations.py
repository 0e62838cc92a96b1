"""The activations of whole rows: softmax and its kin, whose every output depends on the whole row of preactivations."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from engine.rules import About, Array, row_maxima, row_sums


def softmax(z: Array) -> Array:
    """exp(z_j) / sum_k exp(z_k) over each row, without overflow."""
    powers = np.exp(z - row_maxima(z))
    return powers / row_sums(powers)


def log_softmax(z: Array) -> Array:
    """The logarithm of softmax, which keeps its digits where softmax is near 0."""
    shifted = z - row_maxima(z)
    return shifted - np.log(row_sums(np.exp(shifted)))


@dataclass(frozen=True, slots=True)
class Softmax:
    """exp(z_j) / sum_k exp(z_k) over each row.

    Source: Bridle 1990; torch.nn.Softmax.
    """

    kind: Literal["softmax"] = "softmax"
    about: ClassVar = About(
        "Softmax", r"\frac{e^{z_j}}{\sum_k e^{z_k}}", "the Jacobian a_j * ([j = k] - a_k)", r"a_j ([j = k] - a_k)"
    )

    def forward(self, z: Array) -> Array:
        return softmax(z)

    def backward(self, grad: Array, z: Array, a: Array) -> Array:
        return a * (grad - row_sums(grad * a))


@dataclass(frozen=True, slots=True)
class Softmin:
    """exp(-z_j) / sum_k exp(-z_k) over each row.

    Source: torch.nn.Softmin.
    """

    kind: Literal["softmin"] = "softmin"
    about: ClassVar = About(
        "Softmin", r"\frac{e^{-z_j}}{\sum_k e^{-z_k}}", "the Jacobian -a_j * ([j = k] - a_k)", r"-a_j ([j = k] - a_k)"
    )

    def forward(self, z: Array) -> Array:
        return softmax(-z)

    def backward(self, grad: Array, z: Array, a: Array) -> Array:
        return a * (row_sums(grad * a) - grad)


@dataclass(frozen=True, slots=True)
class LogSoftmax:
    """z_j - log(sum_k exp(z_k)) over each row.

    Source: torch.nn.LogSoftmax.
    """

    kind: Literal["log_softmax"] = "log_softmax"
    about: ClassVar = About(
        "Logarithm of softmax", r"z_j - \log \sum_k e^{z_k}", "the Jacobian [j = k] - exp(a_k)", r"[j = k] - e^{a_k}"
    )

    def forward(self, z: Array) -> Array:
        return log_softmax(z)

    def backward(self, grad: Array, z: Array, a: Array) -> Array:
        return grad - np.exp(a) * row_sums(grad)


RowActivation = Softmax | Softmin | LogSoftmax
