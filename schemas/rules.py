"""The engine's rules on the wire: a name, or an object with a kind and its hyperparameters."""

import dataclasses
from typing import Annotated, Any, get_args

import numpy as np
from pydantic import Field, GetJsonSchemaHandler, ValidatorFunctionWrapHandler, WrapValidator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import core_schema

from engine import activations, clipping, initializers, losses, metrics, optimizers, schedules
from schemas.errors import InvalidValue, json_type
from schemas.tensors import TENSOR, decode


def kind_of(rule: Any) -> str:
    """The name that a rule's class goes by."""
    kind: str = rule.__dataclass_fields__["kind"].default
    return kind


def _as_object(value: Any) -> Any:
    if type(value) is str:
        return {"kind": value}
    if type(value) is not dict:
        raise InvalidValue(
            "wrong_type",
            (),
            "This is neither a name nor an object with a kind.",
            expected='a name, or {"kind": name, ...}',
            received=json_type(value),
        )
    if "kind" not in value:
        raise InvalidValue("missing", ("kind",), "This object needs a kind.", expected="a name")
    value = dict(value)
    if type(value["kind"]) is not str:
        value["kind"] = ""  # Pydantic would write it out in its error, however deep it is nested.
    for key, items in value.items():
        if type(items) is np.ndarray or (type(items) is dict and not TENSOR.isdisjoint(items)):
            try:
                value[key] = decode(items, (1,)).tolist()
            except InvalidValue as error:
                error.where = (key, *error.where)
                raise
        elif type(items) is list:
            for i, item in enumerate(items):
                if type(item) not in (int, float):
                    raise InvalidValue(
                        "not_a_number",
                        (key, i),
                        "A number was expected here.",
                        expected="number",
                        received=json_type(item),
                    )
    return value


class _NameOrObject:
    def __init__(self, union: Any, name: str) -> None:
        self.names = [kind_of(member) for member in get_args(union)]
        self.name = name

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {
            "anyOf": [{"type": "string", "enum": self.names, "x-name": f"{self.name}Name"}, handler(schema)],
            "x-name": self.name,
        }


def named(union: Any, name: str) -> Any:
    """The annotation of a field that takes one of a union of rules, by name or as an object.

    `name` is what the OpenAPI page calls the union.
    """
    defaults = {kind_of(rule): rule() for rule in get_args(union) if not _required(rule)}

    def rule_of(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
        """A bare name is the rule with its defaults; those never change, so that one of each is enough."""
        known = defaults.get(value) if type(value) is str else None
        return validate(_as_object(value)) if known is None else known

    return Annotated[union, Field(discriminator="kind"), WrapValidator(rule_of), _NameOrObject(union, name)]


def _required(rule: Any) -> bool:
    """Whether a rule has hyperparameters without a default."""
    fields = dataclasses.fields(rule)
    return any(f.default is f.default_factory is dataclasses.MISSING for f in fields)


Activation = named(activations.Activation, "Activation")
Loss = named(losses.Loss, "Loss")
Optimizer = named(optimizers.Optimizer, "Optimizer")
Initializer = named(initializers.Initializer, "Initializer")
Clipping = named(clipping.Clipping, "Clipping")
Schedule = named(schedules.Schedule, "Schedule")
Metric = named(metrics.Metric, "Metric")
