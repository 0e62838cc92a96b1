"""Large JSON bodies: the same as orjson makes of them, with arrays in the place of large matrices, and with the texts
of base64 where they lie in the body.

orjson makes an object of each number (40 bytes) and a list of each row (100), beside a copy and a tree of the text.
simdjson has a copy and a tree too, but its numbers go into an array at once: less than half the time, and half the
memory where rows are short. A text of base64 needs no parser at all: where its quotation marks stand is enough.

Both are done where the outcome is certainly that of orjson; all else, above all whatever is refused, is orjson's to
judge, so that the same text has the same fate at every size.
"""

from typing import Any

import numpy as np
import orjson
from simdjson import Array as JsonArray
from simdjson import Object as JsonObject
from simdjson import Parser

from engine.rules import Array
from schemas.limits import Body, occurrences
from schemas.tensors import NUMBERS

LARGE = 2**16
"""Bytes from which a body is read in this way."""
MATRIX = 2**10
"""Numbers that an array must have to be worth it; smaller ones are lists, as everything else is."""
SAMPLE = 2**12
MOST_NAMES = 100
"""An object with more of them is orjson's."""
MOST_PARTS = 2**14
"""A body with more objects, and arrays that are no matrices, is orjson's, which makes them ten times as fast."""
SPACING = 32
"""Numbers stand closer than this many bytes; what holds fewer is text, base64 above all."""
LONG = 2**12
"""Bytes of a text from which it is left where it is."""


def read(body: Body) -> Any:
    """The decoded body, or None where orjson is to read it."""
    if len(body) < LARGE or body[0] not in b"{[":  # A byte order mark would pass there.
        return None
    try:
        return _Reading(body).value if holds_numbers(body) else _texts_apart(body)
    except (ValueError, TypeError, RuntimeError):
        return None


def holds_numbers(body: Body) -> bool:
    """Whether a large body consists of numbers rather than of base64, by a look at its middle."""
    middle = len(body) // 2
    return bytes(body[middle : middle + SAMPLE]).count(b",") >= SAMPLE // SPACING


class _Reading:
    """One body in Python's objects; raises where simdjson refuses it, or where a matrix turns out to be none."""

    def __init__(self, body: Body) -> None:
        self.lists = self.parts = 0
        self.value = self.plain(Parser().parse(body), matrices=True)
        # simdjson flattens what is nested inside a row without a word.
        if self.lists != occurrences(body, b"["):
            raise ValueError("there are more arrays than were seen, or brackets in strings")

    def plain(self, value: Any, matrices: bool) -> Any:
        """The value in Python's objects; arrays stand only where no other array is around them."""
        if isinstance(value, JsonObject):
            self.count_part()
            # simdjson looks for each name from the beginning: a hundred thousand of them would take a minute.
            if len(value) > MOST_NAMES:
                raise ValueError("these names are too many to be looked up")
            keys = list(value)
            # simdjson finds the first of equal names, orjson the last, and a name only as far as its first NUL.
            if len(set(keys)) < len(keys) or any("\0" in key for key in keys):
                raise ValueError("these names are not to be looked up")
            return {key: self.plain(value[key], matrices=True) for key in keys}
        if not isinstance(value, JsonArray):
            return value
        self.lists += 1
        matrix = self.matrix(value) if matrices else None
        if matrix is not None:
            return matrix
        self.count_part()
        return [self.plain(item, matrices=False) for item in value]

    def count_part(self) -> None:
        self.parts += 1
        if self.parts > MOST_PARTS:
            raise ValueError("there are too many objects and arrays to make each of them here")

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


def _texts_apart(body: Body) -> Any:
    """The decoded body, whose base64 is views of it; raises where that is not all that is long in it.

    Without a backslash, every second quotation mark ends a string. Long ones are cut out and the rest decoded, with a
    name in the place of each that begins with NUL, which cannot be written without a backslash.
    """
    whole: Any = body.obj if isinstance(body, memoryview) else body
    if whole.find(b"\\") >= 0:
        raise ValueError("a quotation mark may belong to a string")
    view = memoryview(body)
    rest: list[Body] = []
    texts: list[memoryview] = []
    strings, done, end = 0, 0, -1
    while (begin := whole.find(b'"', end + 1)) >= 0:
        end = whole.find(b'"', begin + 1)
        strings += 1
        if end < 0 or strings * SPACING > end + LARGE:
            raise ValueError("a string does not end, or there are too many of them to look at each")
        if end - begin > LONG:
            codes = np.frombuffer(view[begin + 1 : end], np.uint8)
            if codes.min() < 0x20 or codes.max() > 0x7F:
                raise ValueError("this is no base64, and may be no JSON")
            rest += view[done : begin + 1], b"\\u0000%d" % len(texts)
            texts.append(view[begin + 1 : end])
            done = end
    if not texts:
        raise ValueError("there is no base64")
    value = orjson.loads(b"".join([*rest, view[done:]]))
    if _put_back(value, texts) < len(texts):
        raise ValueError("there are other long strings")
    return value


def _put_back(value: Any, texts: list[memoryview]) -> int:
    """Puts the texts that were cut out to their places as base64, and says how many have found one."""
    if isinstance(value, dict):
        found = sum([_put_back(item, texts) for item in value.values()])
        name = value.get("base64")
        if isinstance(name, str) and name.startswith("\0"):
            value["base64"] = texts[int(name[1:])]
            found += 1
        return found
    if isinstance(value, list) and value and isinstance(value[0], dict | list):
        return sum([_put_back(item, texts) for item in value])
    return 0
