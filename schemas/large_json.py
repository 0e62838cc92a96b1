"""Large JSON bodies: the same as orjson makes of them, with arrays in the place of large matrices.

orjson makes an object of each number (40 bytes) and a list of each row (100), beside a copy and a tree of the text.
simdjson has a copy and a tree too, but its numbers go into an array at once: less than half the time, and half the
memory where rows are short. It is used for what it certainly reads as orjson does; all else, above
all whatever it refuses, is orjson's to judge, so that the same text has the same fate at every size.
"""

from typing import Any

import numpy as np
from simdjson import Array as JsonArray
from simdjson import Object as JsonObject
from simdjson import Parser

from engine.rules import Array
from schemas.limits import Body
from schemas.tensors import NUMBERS

LARGE = 2**16
"""Bytes from which a body is read in this way."""
MATRIX = 2**10
"""Numbers that an array must have to be worth it; smaller ones are lists, as everything else is."""
PIECE, SAMPLE = 2**18, 2**12
SPACING = 32
"""Numbers stand closer than this many bytes; what holds fewer is text, base64 above all, and orjson's."""


def read(body: Body) -> Any:
    """The decoded body, or None where orjson is to read it."""
    if len(body) < LARGE or body[0] not in b"{[":  # A byte order mark would pass there.
        return None
    middle = len(body) // 2
    if bytes(body[middle : middle + SAMPLE]).count(b",") < SAMPLE // SPACING:
        return None
    try:
        return _Reading(body).value
    except (ValueError, TypeError, RuntimeError):
        return None


class _Reading:
    """One body in Python's objects; raises where simdjson refuses it, or where a matrix turns out to be none."""

    def __init__(self, body: Body) -> None:
        self.lists = 0
        self.value = self.plain(Parser().parse(body), matrices=True)
        # simdjson flattens what is nested inside a row without a word.
        if self.lists != sum(bytes(body[start : start + PIECE]).count(b"[") for start in range(0, len(body), PIECE)):
            raise ValueError("there are more arrays than were seen, or brackets in strings")

    def plain(self, value: Any, matrices: bool) -> Any:
        """The value in Python's objects; arrays stand only where no other array is around them."""
        if isinstance(value, JsonObject):
            keys = list(value)
            # simdjson finds the first of equal names, orjson the last, and a name only as far as its first NUL.
            if len(set(keys)) < len(keys) or any("\0" in key for key in keys):
                raise ValueError("these names are not to be looked up")
            return {key: self.plain(value[key], matrices=True) for key in keys}
        if not isinstance(value, JsonArray):
            return value
        self.lists += 1
        matrix = self.matrix(value) if matrices else None
        return [self.plain(item, matrices=False) for item in value] if matrix is None else matrix

    def matrix(self, rows: Any) -> Array | None:
        """Rows of numbers as one array, where there are many of them; None where they are something else."""
        first: Any = rows[0] if len(rows) else None
        width = len(first) if isinstance(first, JsonArray) else 0
        if len(rows) * width < MATRIX or type(first[0]) not in NUMBERS:
            return None
        if not all(len(row) == width for row in rows):
            raise ValueError("these rows are not equally long")
        self.lists += len(rows)
        return np.frombuffer(rows.as_buffer(of_type="d")).reshape(-1, width)
