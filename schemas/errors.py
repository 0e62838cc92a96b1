"""The one error of the wire that the engine does not know."""

from typing import Any

from engine.errors import EngineError, Where


class InvalidValue(EngineError):
    """A value of the wrong type, or an array that is none: `code` says which."""

    def __init__(self, code: str, where: Where, detail: str, **facts: Any) -> None:
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
