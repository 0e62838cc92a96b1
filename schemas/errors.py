"""The one error of the wire that the engine does not know."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from engine.errors import EngineError


class InvalidValue(EngineError):
    """A value of the wrong type, or an array that is none: `code` says which."""

    def __init__(self, code: str, where: tuple[str | int, ...], detail: str, **facts: Any) -> None:
        super().__init__(where, detail, **facts)
        self.code = code


def json_type(value: Any) -> str:
    """What JSON calls the type of a decoded value."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list() | tuple():
            return "array"
        case dict():
            return "object"
        case _:
            return "tensor"


def nearest(name: str, names: Iterable[str]) -> str | None:
    """A hint with the known name that looks most like `name`, where one does."""
    close = get_close_matches(name[:64].lower(), names, n=1, cutoff=0.5)
    return f"Did you mean '{close[0]}'?" if close else None
