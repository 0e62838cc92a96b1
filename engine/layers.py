"""The layer kinds."""

from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import numpy as np

from engine.activations import Activation
from engine.rules import About, Array


# Not frozen, which would quadruple the time to make one: a step makes each layer twice.
@dataclass(slots=True)
class Dense:
    """z = x @ W + b, a = activation(z), with x `[batch, inputs]`, W `[inputs, units]`, b `[units]`, a `[batch, units]`.

    Row i of W holds the weights that leave input i. Without a bias (null in JSON) z = x @ W.

    Source: Rumelhart, Hinton and Williams 1986, doi:10.1038/323533a0.
    """

    weights: Array
    bias: Array | None
    activation: Activation
    name: str | None = None
    frozen: frozenset[str] = frozenset()
    kind: ClassVar[Literal["dense"]] = "dense"
    about: ClassVar = About(
        "Dense layer",
        r"z = x W + b, \quad a = f(z)",
        "dL/dW = x^T @ dL/dz, dL/db = sum over the batch of dL/dz, dL/dx = dL/dz @ W^T",
        r"\frac{\partial L}{\partial W} = x^\top \frac{\partial L}{\partial z}, \quad "
        r"\frac{\partial L}{\partial b} = \sum_n \frac{\partial L}{\partial z_n}, \quad "
        r"\frac{\partial L}{\partial x} = \frac{\partial L}{\partial z} W^\top",
    )

    # `out`, where given, is C-contiguous memory of the result's shape and dtype that the result is written into. The
    # method `dot` is the same product as the operator @, and gets to BLAS in a third of the time.
    def preactivations(self, x: Array, out: Array | None = None) -> Array:
        z: Array = x.dot(self.weights, out)
        if self.bias is not None:
            z += self.bias
        return z

    def parameter_gradients(self, grad: Array, x: Array, out: dict[str, Array] | None = None) -> dict[str, Array]:
        """The gradients by weights and bias, from `grad` = dL/dz `[batch, units]` and the layer's input x."""
        if out is None:
            out = {}
        gradients: dict[str, Array] = {"weights": x.T.dot(grad, out.get("weights"))}
        if self.bias is not None:
            gradients["bias"] = np.add.reduce(grad, axis=0, out=out.get("bias"))
        return gradients

    def per_example_gradients(self, grad: Array, x: Array) -> dict[str, Array]:
        """The same for each example on its own: `[batch, inputs, units]` and `[batch, units]`."""
        weights: Array = x[:, :, np.newaxis] * grad[:, np.newaxis, :]
        return {"weights": weights} if self.bias is None else {"weights": weights, "bias": grad}

    def input_gradients(self, grad: Array, out: Array | None = None) -> Array:
        gradients: Array = grad.dot(self.weights.T, out)
        return gradients

    @property
    def parameters(self) -> dict[str, Array]:
        return {"weights": self.weights} if self.bias is None else {"weights": self.weights, "bias": self.bias}

    def with_parameters(self, parameters: dict[str, Array]) -> Self:
        return type(self)(parameters["weights"], parameters.get("bias"), self.activation, self.name, self.frozen)


Layer = Dense
"""Every layer kind; a union as soon as there is a second one."""
