"""The catalog: every rule there is, read off the unions of the engine."""

from functools import cache
from typing import Any, get_args

from pydantic import BaseModel, Field, TypeAdapter

from engine import activations, clipping, initializers, layers, losses, metrics, mistakes, optimizers, schedules
from engine.rules import paragraphs
from schemas.network import LayerModel
from schemas.rules import kind_of

UNIONS: dict[str, Any] = {
    "activations": activations.Activation,
    "losses": losses.Loss,
    "optimizers": optimizers.Optimizer,
    "initializers": initializers.Initializer,
    "layers": layers.Layer,
    "schedules": schedules.Schedule,
    "metrics": metrics.Metric,
    "gradient_clippings": clipping.Clipping,
    "mistakes": mistakes.Mistake,
}


class Formula(BaseModel):
    """A formula twice: in plain text, and in LaTeX."""

    text: str = Field(description="In plain text.")
    latex: str = Field(description="In LaTeX, without the dollar signs.")


class Entry(BaseModel):
    """One rule: what it computes, its hyperparameters with defaults and bounds, and where it comes from."""

    kind: str = Field(description="The name that requests use.")
    title: str = Field(description="The name that people use.")
    formula: Formula = Field(description="What the rule computes.")
    derivative: Formula | None = Field(None, description="The rule's derivative, where it has one.")
    parameters: dict[str, Any] = Field(description="JSON schema of the object form.")
    source: str = Field(description="The paper or program that the rule follows.")
    notes: str | None = Field(None, description="What surprises.")


class Catalog(BaseModel):
    """Every rule there is, by noun."""

    activations: list[Entry] = Field(description="The functions of layers, `[batch, units]` to the same shape.")
    losses: list[Entry] = Field(description="What training minimizes.")
    optimizers: list[Entry] = Field(description="How parameters are updated.")
    initializers: list[Entry] = Field(description="How parameters are drawn.")
    layers: list[Entry] = Field(description="The kinds of layers.")
    schedules: list[Entry] = Field(description="How the learning rate changes.")
    metrics: list[Entry] = Field(description="What is measured beside the loss.")
    gradient_clippings: list[Entry] = Field(description="How gradients are limited before an update.")
    mistakes: list[Entry] = Field(description="What `POST /v1/verify` finds: what each changes, and why it is made.")


def describe(rule: Any) -> dict[str, Any]:
    """The entry of a rule's class, from its docstring and `about`."""
    formula, *notes, source = paragraphs(rule)
    about = rule.about
    entry: dict[str, Any] = {
        "kind": kind_of(rule),
        "title": about.title,
        "formula": {"text": formula, "latex": about.latex},
    }
    if about.derivative is not None:
        entry["derivative"] = {"text": about.derivative, "latex": about.derivative_latex}
    entry["parameters"] = _parameters(rule)
    entry["source"] = source.removeprefix("Source: ")
    if notes:
        entry["notes"] = " ".join(notes)
    return entry


def _parameters(rule: Any) -> dict[str, Any]:
    if rule in members(layers.Layer):
        return LayerModel.model_json_schema()
    schema = TypeAdapter(rule).json_schema()
    schema.pop("description", None)
    return {**schema, "additionalProperties": False}


def members(union: Any) -> tuple[Any, ...]:
    """The classes of a union; one class alone is its only member."""
    return get_args(union) or (union,)


@cache
def catalog() -> dict[str, list[dict[str, Any]]]:
    return {noun: [describe(rule) for rule in members(union)] for noun, union in UNIONS.items()}
