"""Writes docs/mathematics.md from the catalog: python -m tests.mathematics"""

import json
from typing import Any

from schemas.catalog import catalog
from tests.conftest import ROOT

TITLES = {
    "activations": (
        "Activations",
        "z are a layer's preactivations, a its activations, g = dL/da what arrives from behind.",
    ),
    "losses": ("Losses", "y are the outputs, t the targets; `derivative` is by y, before the reduction."),
    "optimizers": ("Optimizers", "w is a parameter, g its gradient; each parameter is updated on its own."),
    "initializers": ("Initializers", "The fans are the inputs and the units of the layer."),
    "layers": ("Layers", "What lies between the activations."),
    "schedules": ("Learning-rate schedules", "i counts epochs, or steps; the base is the optimizer's learning rate."),
    "metrics": ("Metrics", "Measured on the outputs y and the targets t; nothing is differentiated."),
    "gradient_clippings": ("Gradient clipping", "g are all gradients by parameters that are not frozen."),
    "mistakes": ("Mistakes", "What `POST /v1/verify` finds: what each makes of the computation, and why it is made."),
}
HEAD = """\
# The mathematics, rule by rule

What every rule computes, its derivative, its hyperparameters with their bounds, and where it comes from. How the rules
work together, and why the chain rule goes backwards: [backpropagation.md](backpropagation.md). Where frameworks
disagree: [conventions](decisions/0002-conventions.md).

This page is written from the catalog that the service answers at `GET /v1/catalog` (`make mathematics`), which reads it
off the classes that compute; a test fails where the two differ.
"""


def page(rules: dict[str, list[dict[str, Any]]]) -> str:
    """The page of a catalog."""
    parts = [HEAD]
    parts.append("\n".join(f"- [{title(noun)}](#{title(noun).lower().replace(' ', '-')})" for noun in rules))
    for noun, entries in rules.items():
        parts.append(f"## {title(noun)}")
        if noun in TITLES:
            parts.append(TITLES[noun][1])
        parts += [section(entry) for entry in entries]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def title(noun: str) -> str:
    return TITLES[noun][0] if noun in TITLES else noun.replace("_", " ").capitalize()


def section(entry: dict[str, Any]) -> str:
    """One rule: formulas as mathematics, and in plain text for those who do not see them drawn."""
    lines = [f"### {entry['title']}", f"`{entry['kind']}`: {entry['formula']['text']}", math(entry["formula"])]
    if "derivative" in entry:
        lines += [f"Derivative: {entry['derivative']['text']}", math(entry["derivative"])]
    if "notes" in entry:
        lines.append(entry["notes"])
    properties = {name: p for name, p in entry["parameters"].get("properties", {}).items() if name != "kind"}
    if properties and "weights" not in properties:
        lines.append(
            "\n".join(f"- `{name}` = {json.dumps(p.get('default'))}{bounds(p)}" for name, p in properties.items())
        )
    if "source" in entry:
        lines.append(f"Source: {entry['source']}")
    return "\n\n".join(lines)


def math(formula: dict[str, str]) -> str:
    return f"```math\n{formula['latex']}\n```"


def bounds(schema: dict[str, Any]) -> str:
    signs = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}
    limits = [f"{sign} {schema[key]:g}" for key, sign in signs.items() if key in schema]
    limits += [" or ".join(json.dumps(value) for value in schema["enum"])] if "enum" in schema else []
    described = f": {schema['description']}" if "description" in schema else ""
    return (f" ({', '.join(limits)})" if limits else "") + described


if __name__ == "__main__":
    (ROOT / "docs" / "mathematics.md").write_text(page(json.loads(json.dumps(catalog()))))
