"""Names that stand twice in one object: JSON leaves open which of the values counts (RFC 8259, 4), so neither does."""

import json
import re
from typing import Any

from engine.errors import Where
from schemas.errors import InvalidValue
from schemas.limits import Body, occurrences

ESCAPE = re.compile(rb"\\u003[aA]")


def require_distinct_names(body: Body, value: Any) -> None:
    """Raises InvalidValue where a name occurs twice in an object of `body`, which was decoded to `value`.

    There is a colon after each name, so that a body with as many colons as `value` has names repeats none of them: a
    look that costs little. Otherwise colons may stand in texts, as they are or as an escape, and only where those do
    not account for all of them is the body read again.
    """
    colons = occurrences(body, b":")
    if colons > _names(value) and colons + _escaped(body) > _names(value, texts=True):
        where = _repetition(body)
        if where is not None:
            raise InvalidValue(
                "duplicate_name",
                where,
                "This name occurs twice in its object, and it is open which of the two values counts.",
                hint="Leave one of them out.",
            )


def _escaped(body: Body) -> int:
    """How many colons of texts are written as an escape, or more."""
    return sum(1 for _ in ESCAPE.finditer(body))


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


class _Repeated(tuple[str | int, ...]):
    """Where, within the object that it stands for, a name stands for the second time."""

    __slots__ = ()


def _repetition(body: Body) -> Where | None:
    """Where a name stands for the second time; None where none does."""
    try:
        found = _within([json.loads(bytes(body), object_pairs_hook=_looked_through)])
    except RecursionError:
        return ()
    return None if found is None else found[1:]


def _looked_through(pairs: list[tuple[str, Any]]) -> _Repeated | None:
    """What is repeated in an object; all else of it is not needed, and would take more memory than the request."""
    names = set()
    for name, _ in pairs:
        if name in names:
            return _Repeated((name,))
        names.add(name)
    found = _within([item for _, item in pairs])
    return None if found is None else _Repeated((pairs[int(found[0])][0], *found[1:]))


def _within(items: list[Any]) -> Where | None:
    """The same of an array, whose objects have been looked through."""
    for i, item in enumerate(items):
        found = item if isinstance(item, _Repeated) else _within(item) if isinstance(item, list) else None
        if found is not None:
            return (i, *found)
    return None
