"""Names that stand twice in one object: JSON leaves open which of the values counts (RFC 8259, 4), so neither does."""

import json
from typing import Any

import numpy as np

from engine.errors import Where
from schemas.errors import InvalidValue
from schemas.limits import PIECE, Body

COLON = 0x3A


def require_distinct_names(body: Body, value: Any) -> None:
    """Raises InvalidValue where a name stands twice in an object of `body`, which was decoded to `value`.

    There is a colon after each name, so that a body with as many colons as `value` has names repeats none of them: a
    look that costs little. Otherwise colons may stand in texts, and only where those do not account for all of them
    is the body read again. (A repetition can hide behind a colon that is written as an escape.)
    """
    colons = _colons(body)
    if colons > _names(value) and colons > _names(value, texts=True):
        where = _repetition(body)
        if where is not None:
            raise InvalidValue(
                "duplicate_name",
                where,
                "This name stands twice in its object, and it is open which of the two values counts.",
                hint="Leave one of them out.",
            )


def _colons(body: Body) -> int:
    if isinstance(body, bytes) and len(body) < PIECE:
        return body.count(b":")
    codes = np.frombuffer(body, np.uint8)
    return sum(int(np.count_nonzero(codes[start : start + PIECE] == COLON)) for start in range(0, len(codes), PIECE))


def _names(value: Any, texts: bool = False) -> int:
    """How many names the objects in a value have; with `texts` the colons in them and in other texts count too, and
    objects are also looked for in arrays that begin with something else."""
    count, values = 0, [value]
    for item in values:  # They grow as they are gone through: what is nested deep needs no deep recursion.
        kind = type(item)
        if kind is dict:
            count += len(item)
            values += item.values()
            if texts:
                values += item
        elif kind is list and item and (texts or type(item[0]) is dict):
            values += item
        elif texts and kind is str:
            count += item.count(":")
    return count


class _Pairs(dict[str, Any]):
    """An object, and the first name that stands in it twice."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__()
        self.repeated: str | None = None
        for name, value in pairs:
            if name in self and self.repeated is None:
                self.repeated = name
            self[name] = value


def _repetition(body: Body) -> Where | None:
    """Where a name stands for the second time; None where none does."""
    try:
        return _found(json.loads(bytes(body), object_pairs_hook=_Pairs), ())
    except RecursionError:
        return ()


def _found(value: Any, where: Where) -> Where | None:
    if isinstance(value, _Pairs) and value.repeated is not None:
        return (*where, value.repeated)
    for key, item in value.items() if isinstance(value, _Pairs) else enumerate(value):
        if isinstance(item, _Pairs | list):
            found = _found(item, (*where, key))
            if found is not None:
                return found
    return None
