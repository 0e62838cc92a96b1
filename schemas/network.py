"""Networks on the wire, and the crossing to the engine's, both ways."""

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, StrictStr

from engine.errors import EngineError, ShapeMismatch
from engine.layers import Dense, Layer
from engine.network import Network
from engine.rules import Array
from schemas.limits import WithinLimits
from schemas.model import Model
from schemas.rules import Activation
from schemas.shapes import shape
from schemas.tensors import Matrix, Vector, as_dtype

WeightsLayout = Annotated[Literal["inputs_by_units", "units_by_inputs"], shape("WeightsLayout")]
DType = Annotated[Literal["float64", "float32"], shape("DType")]
Name = Annotated[StrictStr, Field(min_length=1, max_length=64)]


class LayerModel(Model):
    """A dense layer: preactivations = inputs @ weights + bias, activations = activation(preactivations)."""

    kind: Literal["dense"] = Field("dense", description="The kind of layer.")
    weights: Matrix = Field(description="`[inputs, units]`, or `[units, inputs]` with weights_layout units_by_inputs.")
    bias: Vector | None = Field(description="`[units]`: one number for each unit, or null for a layer without bias.")
    activation: Activation = Field(
        description="The function of the preactivations: a name, or an object with hyperparameters. Answers always "
        "have the object."
    )
    name: Name | None = Field(None, description="Answers call the layer by it; layers.<index> without one.")
    frozen: tuple[Literal["weights", "bias"], ...] = Field(
        (),
        fail_fast=True,
        description="The names of parameters that an update leaves as they are; their gradients are still answered.",
    )


class NetworkModel(Model):
    """Layers in order. Every weight and weight gradient of an answer comes back in the layout of the request."""

    layers: Annotated[list[LayerModel], WithinLimits] = Field(
        min_length=1, description="The layers, from the inputs to the outputs."
    )
    weights_layout: WeightsLayout = Field(
        "inputs_by_units",
        description="inputs_by_units (row i holds what leaves input i; Keras) or units_by_inputs (PyTorch).",
    )

    def to_engine(self, dtype: DType, input_size: int | None = None) -> Network:
        """The engine's network; raises ShapeMismatch where layers, or the inputs, do not fit together."""
        layout = LAYOUTS[self.weights_layout]
        layers: list[Dense] = []
        for i, layer in enumerate(self.layers):
            where = ("network", "layers", i)
            weights = layout.engine_form(as_dtype(layer.weights, dtype, (*where, "weights")))
            inputs, units = weights.shape
            if input_size is not None and inputs != input_size:
                self._refuse_inputs(i, inputs, units, input_size)
            bias = None
            if layer.bias is not None:
                if len(layer.bias) != units:
                    raise ShapeMismatch(
                        (*where, "bias"),
                        f"Layer {i} has {units} units, and its bias has {len(layer.bias)} numbers.",
                        expected=[units],
                        received=[len(layer.bias)],
                    )
                bias = as_dtype(layer.bias, dtype, (*where, "bias"))
            layers.append(Dense(weights, bias, layer.activation, layer.name, frozenset(layer.frozen)))
            input_size = units
        return Network(tuple(layers))

    def _refuse_inputs(self, i: int, inputs: int, units: int, size: int) -> None:
        """Raises ShapeMismatch: the weights of layer i are `[inputs, units]`, and its inputs have the size `size`."""
        layout = LAYOUTS[self.weights_layout]
        hint = "Each layer's weights need as many inputs as the layer before has units."
        if i == 0:
            hint = "The weights of layer 0 need one input for each column of inputs."
        if units == size:
            hint = (
                f"These weights look transposed: as they stand they would fit with weights_layout {layout.other}. "
                "Set it, or transpose them."
            )
        before = f"inputs have {size} columns" if i == 0 else f"layer {i - 1} has {size} units"
        raise ShapeMismatch(
            ("network", "layers", i, "weights"),
            f"The weights of layer {i} take {inputs} inputs, but {before}.",
            expected=layout.swap((size, units)),
            received=layout.swap((inputs, units)),
            hint=hint,
        )


class Layout:
    """The crossing of weights between their layout on the wire and the engine's `[inputs, units]`."""

    def __init__(self, layout: WeightsLayout) -> None:
        self.name = layout
        self.transposed = layout == "units_by_inputs"
        self.other = "inputs_by_units" if self.transposed else "units_by_inputs"

    def swap(self, shape: tuple[int, ...]) -> list[int]:
        """The shape on the wire of weights with `shape` in the engine, and the reverse."""
        return list(reversed(shape)) if self.transposed else list(shape)

    def engine_form(self, array: Array) -> Array:
        """Weights (or any array of their shape) as the engine has them; vectors as they are."""
        return np.ascontiguousarray(array.T) if self.transposed and array.ndim == 2 else array

    def wire_form(self, array: Array) -> Array:
        """The reverse; a leading batch axis stays where it is."""
        if self.transposed and array.ndim >= 2:
            return np.ascontiguousarray(np.swapaxes(array, -1, -2))
        return array

    def turn(self, error: EngineError) -> None:
        """Where an error of the engine names a weight by its index, names it by that on the wire."""
        if not self.transposed or "weights" not in error.where:
            return
        after = error.where[error.where.index("weights") + 1 :]
        index = [part for part in after if isinstance(part, int)]
        if len(index) >= 2:
            turned = [*index[:-2], index[-1], index[-2]]
            error.where = (*error.where[: -len(index)], *turned)
            error.detail = error.detail.replace(str(index), str(turned))


LAYOUTS: dict[str, Layout] = {
    "inputs_by_units": Layout("inputs_by_units"),
    "units_by_inputs": Layout("units_by_inputs"),
}


def network_to_wire(network: Network, layout: Layout) -> dict[str, Any]:
    """The wire form of a network, its weights in `layout`."""
    layers = [layer_to_wire(layer, layer.weights, layer.bias, layout) for layer in network.layers]
    return {"layers": layers, "weights_layout": layout.name}


def layer_to_wire(like: Layer | LayerModel, weights: Array, bias: Array | None, layout: Layout) -> dict[str, Any]:
    """The wire form of a layer with these parameters that is else like that one."""
    form = {"kind": like.kind, "weights": layout.wire_form(weights), "bias": bias, "activation": like.activation}
    if like.name is not None:
        form["name"] = like.name
    if like.frozen:
        form["frozen"] = sorted(like.frozen)
    return form
