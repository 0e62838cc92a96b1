"""A Tesseract: `TESSERACT_API_PATH=benchmarks/peers/tesseract_api.py tesseract-runtime serve --port PORT`.

`apply` answers the loss; `vector_jacobian_product` its gradients by the inputs that a request lists, and nothing else:
no outputs, no activations, no loss, no update.
"""

from typing import Any

import numpy as np
from pydantic import BaseModel
from tesseract_core.runtime import Array, Differentiable, Float64

from benchmarks.peers.gradients import gradients, loss


class InputSchema(BaseModel):
    weights: list[Differentiable[Array[(None, None), Float64]]]
    biases: list[Differentiable[Array[(None,), Float64]]]
    activations: list[str]
    inputs: Array[(None, None), Float64]
    targets: Array[(None, None), Float64]


class OutputSchema(BaseModel):
    loss: Differentiable[Float64]


def parts(inputs: InputSchema) -> tuple[Any, ...]:
    return inputs.weights, inputs.biases, inputs.activations, inputs.inputs, inputs.targets


def apply(inputs: InputSchema) -> OutputSchema:
    return OutputSchema(loss=np.float64(loss(*parts(inputs))))


def vector_jacobian_product(
    inputs: InputSchema, vjp_inputs: set[str], vjp_outputs: set[str], cotangent_vector: dict[str, Any]
) -> dict[str, Any]:
    by_weights, by_biases = gradients(*parts(inputs))
    found = {f"weights.[{i}]": part for i, part in enumerate(by_weights)}
    found |= {f"biases.[{i}]": part for i, part in enumerate(by_biases)}
    return {name: cotangent_vector["loss"] * found[name] for name in vjp_inputs}


def abstract_eval(abstract_inputs):
    return {"loss": {"shape": (), "dtype": "float64"}}
