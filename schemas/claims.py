"""Claims on the wire: what somebody else computed, in the shape of this service's answers or in a wrong one."""

from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np
from pydantic import Field, PlainValidator, StrictStr, TypeAdapter, WithJsonSchema

from engine.claims import Claim
from engine.errors import ShapeMismatch
from engine.mistakes.computation import (
    EXAMPLE_LOSSES,
    GRADIENT_NORM,
    INPUT_GRADIENTS,
    LOSS,
    OUTPUTS,
    PENALTY,
    UPDATE_NORM,
    Key,
    layer_keys,
)
from engine.rules import Array
from engine.wording import plural
from schemas.errors import InvalidValue, json_type
from schemas.limits import WithinLimits
from schemas.model import Model
from schemas.network import LAYOUTS, LayerModel, Layout, NetworkModel, WeightsLayout
from schemas.rules import Activation
from schemas.tensors import BASE64, NUMBERS, decode, refuse_mixture

DEEPEST = 4
NOT_COMPARED = "Taken as it came, and not compared."
AS_IT_CAME = "Taken as it came; not compared, and told so where it is not that of the request."
ACTIVATION: TypeAdapter[Any] = TypeAdapter(Activation, config=Model.model_config)


def decode_claim(value: Any, depth: int = 0) -> Array:
    """An array of any shape, or one number; raises InvalidValue where it is neither."""
    if type(value) in NUMBERS:
        return np.array(value, np.float64)
    if depth == 0 and type(value) not in (list, dict, np.ndarray):
        raise InvalidValue(
            "wrong_type", (), "A number or an array was expected here.", expected="number", received=json_type(value)
        )
    if type(value) is not list or not value or type(value[0]) is not list or not value[0]:
        return decode(value, tuple(range(DEEPEST + 1)))
    refuse_mixture(value)
    if type(value[0][0]) is not list:
        return decode(value, (1, 2))
    if depth == DEEPEST - 2:
        raise InvalidValue("wrong_dimensions", (), f"A claim has at most {DEEPEST} dimensions.", expected="numbers")
    parts: list[Array] = []
    for i, item in enumerate(value):
        try:
            parts.append(decode_claim(item, depth + 1) if type(item) is list else _refuse(item))
        except InvalidValue as error:
            error.where = (i, *error.where)
            raise
        if parts[i].shape != parts[0].shape:
            raise InvalidValue(
                "ragged_array",
                (i,),
                "The parts of an array must have the same shape.",
                expected=list(parts[0].shape),
                received=list(parts[i].shape),
            )
    return np.stack(parts)


def _refuse(item: Any) -> Array:
    raise InvalidValue("wrong_type", (), "An array was expected here.", expected="array", received=json_type(item))


_lists: dict[str, Any] = {"type": "number"}
_forms = [_lists]
for _ in range(DEEPEST):
    _lists = {"type": "array", "minItems": 1, "items": _lists}
    _forms.append(_lists)
Claimed = Annotated[
    np.ndarray,
    PlainValidator(decode_claim),
    WithJsonSchema(
        {
            "description": "Numbers. An array of the wrong shape is a mismatch, not an error.",
            "anyOf": [*_forms, BASE64],
            "x-name": "ClaimedNumbers",
        }
    ),
]


class ClaimedGradients(Model):
    """Derivatives of the loss by what a layer is made of and computes."""

    weights: Claimed | None = Field(None, description="`[inputs, units]`, or as weights_layout says.")
    bias: Claimed | None = Field(None, description="`[units]`: by each bias.")
    preactivations: Claimed | None = Field(None, description="`[batch, units]`: by what goes into the activation.")
    activations: Claimed | None = Field(None, description="`[batch, units]`: by what comes out of it.")


class ClaimedLayer(Model):
    """Numbers of one layer."""

    name: StrictStr | None = Field(None, description=AS_IT_CAME)
    preactivations: Claimed | None = Field(None, description="`[batch, units]`: inputs @ weights + bias.")
    activations: Claimed | None = Field(None, description="`[batch, units]`: what the layer hands on.")
    gradients: ClaimedGradients | None = Field(None, description="Any of the layer's gradients.")
    per_example_gradients: Any = Field(None, description=NOT_COMPARED)

    def arrays(self, i: int) -> Iterator[tuple[Key, Array | None]]:
        """What is claimed of layer i, by the keys of the engine."""
        keys = layer_keys(i)
        yield keys.preactivations, self.preactivations
        yield keys.activations, self.activations
        if self.gradients is not None:
            yield keys.by_activations, self.gradients.activations
            yield keys.by_preactivations, self.gradients.preactivations
            yield keys.by["weights"], self.gradients.weights
            yield keys.by["bias"], self.gradients.bias


class ClaimedParameters(Model):
    """Parameters of one layer after a step. The other fields of a layer may stand here too."""

    weights: Claimed | None = Field(None, description="`[inputs, units]`, or as weights_layout says.")
    bias: Claimed | None = Field(None, description="`[units]`: after the step.")
    kind: Any = Field(None, description=AS_IT_CAME)
    activation: Any = Field(None, description=AS_IT_CAME)
    name: Any = Field(None, description=AS_IT_CAME)
    frozen: Any = Field(None, description=AS_IT_CAME)

    def other_than(self, layer: LayerModel) -> list[str]:
        """The fields that are claimed and are not those of a layer."""
        fields = [field for field in ("kind", "activation", "name", "frozen") if getattr(self, field) is not None]
        return [field for field in fields if not _is_own(field, getattr(self, field), getattr(layer, field))]


def _is_own(field: str, claimed: Any, own: Any) -> bool:
    """Whether a layer's field is claimed as it is, in any form that a request may have it in."""
    try:
        if field == "activation":
            return bool(ACTIVATION.validate_python(claimed) == own)
        return bool(set(claimed) == set(own) if field == "frozen" else claimed == own)
    except (TypeError, ValueError):  # also of an array, of which each number may equal a name or not
        return False


class ClaimedNetwork(Model):
    """The parameters after a step."""

    layers: Annotated[list[ClaimedParameters | None], WithinLimits] = Field(
        description="One for each layer; null for one not claimed."
    )
    weights_layout: WeightsLayout | None = Field(None, description="Default: that of the request's network.")


class Claims(Model):
    """Any part of what somebody else computed, in the shape of an answer of `POST /v1/step`."""

    loss: Claimed | None = Field(None, description="The reduced loss, one number, with the penalty where there is one.")
    example_losses: Claimed | None = Field(None, description="`[batch]`: each example's own loss.")
    outputs: Claimed | None = Field(None, description="`[batch, outputs]`: the last layer's activations.")
    layers: Annotated[list[ClaimedLayer | None] | None, WithinLimits] = Field(
        None, description="One for each layer; null for one of which nothing is claimed."
    )
    input_gradients: Claimed | None = Field(
        None, description="`[batch, features]`: the derivative of the loss by the inputs."
    )
    gradient_norm: Claimed | None = Field(None, description="One number: the Euclidean norm of all gradients.")
    penalty: Claimed | None = Field(None, description="One number: what regularization adds to the loss.")
    network: ClaimedNetwork | None = Field(None, description="The parameters after a step; needs an optimizer.")
    update_norm: Claimed | None = Field(None, description="One number: the norm of the step; needs an optimizer.")
    optimizer_state: Any = Field(None, description=NOT_COMPARED)

    def not_compared(self, network: NetworkModel) -> list[str]:
        """JSON pointers to what is taken as it came: where it holds numbers, or is not what the request's network is
        made of."""
        found = [] if self.optimizer_state is None else ["/optimizer_state"]
        for i, (layer, own) in enumerate(zip(self.layers or (), network.layers, strict=False)):
            if layer is None:
                continue
            if layer.name not in (None, own.name, f"layers.{i}"):
                found.append(f"/layers/{i}/name")
            if layer.per_example_gradients is not None:
                found.append(f"/layers/{i}/per_example_gradients")
        claimed = [] if self.network is None else self.network.layers
        for i, (parameters, own) in enumerate(zip(claimed, network.layers, strict=False)):
            if parameters is not None:
                found += [f"/network/layers/{i}/{field}" for field in parameters.other_than(own)]
        return found

    def to_engine(self, layout: Layout, depth: int) -> list[Claim]:
        """The claims by the keys of the engine, weights in its layout; raises ShapeMismatch where the count of layers
        is not `depth`."""
        stepped = layout
        if self.network is not None and self.network.weights_layout is not None:
            stepped = LAYOUTS[self.network.weights_layout]
        claims = []
        for key, array in self._arrays(depth):
            if array is not None:
                single, turned = array.dtype == np.float32, False
                if key[-1] == "weights":
                    written = stepped if key[0] == "network" else layout
                    array, turned = written.engine_form(array), written.transposed
                claims.append(Claim(key, array.astype(np.float64, copy=False), single, transposed=turned))
        return claims

    def _arrays(self, depth: int) -> Iterator[tuple[Key, Array | None]]:
        yield OUTPUTS, self.outputs
        yield LOSS, self.loss
        yield EXAMPLE_LOSSES, self.example_losses
        yield PENALTY, self.penalty
        yield INPUT_GRADIENTS, self.input_gradients
        yield GRADIENT_NORM, self.gradient_norm
        yield UPDATE_NORM, self.update_norm
        if self.layers is not None:
            _require_depth(self.layers, depth, ("claimed", "layers"))
            for i, layer in enumerate(self.layers):
                if layer is not None:
                    yield from layer.arrays(i)
        if self.network is not None:
            _require_depth(self.network.layers, depth, ("claimed", "network", "layers"))
            for i, parameters in enumerate(self.network.layers):
                if parameters is not None:
                    yield layer_keys(i).new["weights"], parameters.weights
                    yield layer_keys(i).new["bias"], parameters.bias


def _require_depth(layers: list[Any], depth: int, where: tuple[str, ...]) -> None:
    """Raises ShapeMismatch unless there is one claimed layer for each layer of the network."""
    if len(layers) != depth:
        raise ShapeMismatch(
            where,
            f"The network has {plural(depth, 'layer')}, and here are {len(layers)}.",
            expected=[depth],
            received=[len(layers)],
            hint="Write null for a layer of which nothing is claimed.",
        )
