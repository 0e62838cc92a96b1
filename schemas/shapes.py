"""Shapes with a name: what stands in many places of the JSON schemas, and is one component of the OpenAPI page."""

from typing import Any

from pydantic import Field


def shape(name: str) -> Any:
    """An annotation that names a type; the OpenAPI page refers to it by this name wherever it stands."""
    return Field(json_schema_extra={"x-name": name})
