"""The answers: their models (for the OpenAPI page and generated clients) and their writing.

An answer is written straight from the engine's arrays; the models state its shape and are never filled with numbers.
"""

from typing import Annotated, Any

import numpy as np
import orjson
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from engine.network import LayerTrace, Network
from engine.objective import Evaluation
from engine.rules import Array
from engine.step import Differentiation, example_gradients
from schemas.network import Layout, NetworkModel
from schemas.optimizer_state import OptimizerState
from schemas.tensors import encode_base64, tensor_schema

Weights = Annotated[Any, WithJsonSchema(tensor_schema((2,), "`[inputs, units], or as weights_layout says`"))]
Units = Annotated[Any, WithJsonSchema(tensor_schema((1,), "`[units]`"))]
BatchUnits = Annotated[Any, WithJsonSchema(tensor_schema((2,), "`[batch, units]`"))]
BatchWeights = Annotated[
    Any, WithJsonSchema(tensor_schema((3,), "`[batch, inputs, units], or as weights_layout says`"))
]
BatchOutputs = Annotated[Any, WithJsonSchema(tensor_schema((2,), "`[batch, outputs]`"))]
Batch = Annotated[Any, WithJsonSchema(tensor_schema((1,), "`[batch]`"))]
BatchFeatures = Annotated[Any, WithJsonSchema(tensor_schema((2,), "`[batch, features]`"))]


class ParameterGradients(BaseModel):
    """The derivatives of the loss by a layer's parameters, each in the shape of what it is taken by."""

    weights: Weights = Field(description="`[inputs, units]` (or as weights_layout says): by each weight.")
    bias: Units | None = Field(description="`[units]`: by each bias; null for a layer without.")


class LayerGradients(ParameterGradients):
    """A layer's gradients: by its parameters, and by its preactivations and activations."""

    preactivations: BatchUnits = Field(description="`[batch, units]`: by what goes into the activation (delta).")
    activations: BatchUnits = Field(
        description="`[batch, units]`: by what comes out of it. Where softmax, softmin or sigmoid combine with their "
        "loss and an output underflowed to 0, the derivative of its logarithm is taken at 1e-300, in float32 1e-30 "
        "(for binary_cross_entropy at p(1-p) = 1e-12, as PyTorch does), so that it stays finite."
    )


class PerExampleGradients(BaseModel):
    """Each example's own gradients, as posting it alone would give them, without the penalty."""

    weights: BatchWeights = Field(description="`[batch, inputs, units]` (or as weights_layout says).")
    bias: BatchUnits | None = Field(description="`[batch, units]`; null for a layer without bias.")


class Selectable(BaseModel):
    """What `include` chooses from: no field is sure to be there."""

    model_config = ConfigDict(json_schema_extra=lambda schema: schema.pop("required", None))


class ForwardLayer(Selectable):
    """What a layer computed."""

    name: str = Field(description="The layer's name, or layers.<index>.")
    preactivations: BatchUnits = Field(description="`[batch, units]`: inputs @ weights + bias.")
    activations: BatchUnits = Field(description="`[batch, units]`: the activation of them; the next layer's inputs.")


class BackwardLayer(ForwardLayer):
    """What a layer computed, and the derivatives of the loss by it."""

    gradients: LayerGradients = Field(description="The derivatives of the loss; gradients.X has X's shape.")
    per_example_gradients: PerExampleGradients | None = Field(
        None, description="Each example's own, where per_example asks for them."
    )


class ForwardAnswer(Selectable):
    """Every number of the forward pass. Fields that `include` leaves out are absent."""

    outputs: BatchOutputs = Field(description="`[batch, outputs]`: the last layer's activations.")
    loss: float | None = Field(description="The reduced loss, one number; null where no loss was given.")
    example_losses: Batch | None = Field(
        description="`[batch]`: each example's own loss before reduction, unweighted; null where no loss was given."
    )
    layers: list[ForwardLayer] = Field(description="What each layer computed, from the inputs to the outputs.")


class BackwardAnswer(ForwardAnswer):
    """The forward pass and all gradients."""

    layers: list[BackwardLayer] = Field(  # type: ignore[assignment]
        description="What each layer computed and its gradients, from the inputs to the outputs."
    )
    input_gradients: BatchFeatures = Field(description="`[batch, features]`: the derivative of the loss by the inputs.")
    gradient_norm: float = Field(description="The Euclidean norm of all gradients by parameters that are not frozen.")


class StepAnswer(BackwardAnswer):
    """Losses and gradients before the update, and the network after it."""

    penalty: float = Field(description="The part of the loss that regularization adds; 0 without it.")
    network: NetworkModel = Field(description="The network after the update; post it back with the next step.")
    optimizer_state: OptimizerState = Field(description="Post it back with the next step.")
    update_norm: float = Field(description="The Euclidean norm of the change of all parameters.")


class InitializeAnswer(BaseModel):
    """A network that was made."""

    network: NetworkModel = Field(description="Ready to be posted to the other paths.")


def forward_answer(network: Network, trace: list[LayerTrace], evaluation: Evaluation | None) -> dict[str, Any]:
    """The numbers of a forward pass by the names of ForwardAnswer."""
    return {
        "outputs": trace[-1].activations,
        "loss": None if evaluation is None else evaluation.loss,
        "example_losses": None if evaluation is None else evaluation.example_losses,
        "layers": [
            {"name": layer.name or f"layers.{i}", "preactivations": z, "activations": a}
            for i, (layer, (_, z, a)) in enumerate(zip(network.layers, trace, strict=True))
        ],
    }


def backward_answer(network: Network, result: Differentiation, layout: Layout, with_examples: bool) -> dict[str, Any]:
    """The numbers of a backward pass by the names of BackwardAnswer."""
    answer = forward_answer(network, result.trace, result.evaluation)
    answer["loss"] = result.loss
    for layer, gradients in zip(answer["layers"], result.gradients.layers, strict=True):
        layer["gradients"] = {
            **_parameter_gradients(gradients.parameters, layout),
            "preactivations": gradients.preactivations,
            "activations": gradients.activations,
        }
    if with_examples:
        for layer, own in zip(answer["layers"], example_gradients(network, result), strict=True):
            layer["per_example_gradients"] = _parameter_gradients(own, layout)
    answer["input_gradients"] = result.gradients.inputs
    answer["gradient_norm"] = result.gradient_norm
    return answer


def _parameter_gradients(gradients: dict[str, Array], layout: Layout) -> dict[str, Any]:
    """A bias gradient is a vector, or with a leading batch axis a matrix; neither has a layout."""
    return {"weights": layout.wire_form(gradients["weights"]), "bias": gradients.get("bias")}


def write(answer: dict[str, Any], encoding: str = "json") -> bytes:
    """The bytes of an answer; floats read back bit for bit."""
    if encoding == "base64":
        return orjson.dumps(answer, _in_base64)
    return orjson.dumps(answer, _in_c_order, orjson.OPT_SERIALIZE_NUMPY)


class _Last:
    """An array that is needed once more."""

    __slots__ = ("array",)

    def __init__(self, array: Array) -> None:
        self.array: Array | None = array


def hand_over(answer: Any) -> None:
    """Leaves the arrays of a large answer to `write` alone, which lets go of each when it has been written."""
    for key, value in answer.items() if isinstance(answer, dict) else enumerate(answer):
        if isinstance(value, np.ndarray):
            answer[key] = _Last(value)
        elif isinstance(value, dict | list):
            hand_over(value)


def _array(value: Any) -> Any:
    """The array that was handed over, or the value as it is."""
    if isinstance(value, _Last):
        value.array, value = None, value.array
    return value


def _in_c_order(value: Any) -> Any:
    """What orjson cannot write by itself: arrays that are not in C order, or that were handed over."""
    value = _array(value)
    if isinstance(value, np.ndarray):
        return np.ascontiguousarray(value)
    raise TypeError(type(value).__name__)


def _in_base64(value: Any) -> Any:
    """An array is encoded when its turn comes, and let go of: all texts at once would be as large as the answer."""
    value = _array(value)
    if isinstance(value, np.ndarray):
        return encode_base64(value)
    return orjson.Fragment(write(value))


def include_names(model: type[BaseModel]) -> list[str]:
    """The names that `include` may list for an answer: its fields and those of its layers."""
    names = list(model.model_fields)
    if "layers" in names:
        layer: Any = model.model_fields["layers"].annotation
        names += layer.__args__[0].model_fields
    return names


def only(answer: dict[str, Any], include: list[str] | None) -> dict[str, Any]:
    """The answer with the fields that `include` lists; a layer's fields come with the layer's name."""
    if include is None:
        return answer
    kept = {key: value for key, value in answer.items() if key in include}
    if "layers" in answer and "layers" not in include:
        layers = [{key: v for key, v in layer.items() if key in include} for layer in answer["layers"]]
        if any(layers):
            kept["layers"] = [
                {"name": whole["name"], **part} for whole, part in zip(answer["layers"], layers, strict=True)
            ]
    return kept
