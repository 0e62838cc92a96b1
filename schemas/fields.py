"""Which fields a request knows at a given place, for errors about unknown ones."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from pydantic import BaseModel


def known_fields(model: type[BaseModel], where: Sequence[str | int], body: Any) -> list[str]:
    """The names of the fields that the object at `where` of `body` may have; [] where that is not known."""
    root = _schema(model)
    node, value = root, body
    for part in where:
        node = _form(node, value, root)
        if isinstance(part, int):
            node = node.get("items", {})
            value = value[part] if isinstance(value, list) and part < len(value) else None
        else:
            node = node.get("properties", {}).get(part, {})
            value = value.get(part) if isinstance(value, dict) else None
    return list(_form(node, value, root).get("properties", {}))


@cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()


def _form(node: dict[str, Any], value: Any, root: dict[str, Any]) -> dict[str, Any]:
    """The one of a schema's alternatives that `value` takes: by its kind, or else an array or object."""
    if "$ref" in node:
        return _form(root["$defs"][node["$ref"].rsplit("/", 1)[1]], value, root)
    alternatives = [_form(option, value, root) for option in node.get("anyOf", node.get("oneOf", []))]
    if not alternatives:
        return node
    kind = value.get("kind") if isinstance(value, dict) else value
    for option in alternatives:
        if isinstance(kind, str) and option.get("properties", {}).get("kind", {}).get("const") == kind:
            return option
    wanted = "items" if isinstance(value, list) else "properties"
    return next((option for option in alternatives if wanted in option), {})
