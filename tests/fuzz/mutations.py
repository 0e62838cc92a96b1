"""Ways to spoil a valid request, each at one place that a test can point at."""

import copy
from collections.abc import Iterator
from typing import Any, NamedTuple

from hypothesis import strategies as st

Path = tuple[str | int, ...]


class Mutation(NamedTuple):
    """A spoilt request: what was done to it, and where."""

    name: str
    path: Path
    request: Any


def places(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every value of a request with its path; the request itself comes first."""
    yield path, value
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def replaced(request: Any, path: Path, value: Any) -> Any:
    """A copy of the request with another value at `path`; `...` takes it away."""
    if not path:
        return value
    result = copy.deepcopy(request)
    place = result
    for part in path[:-1]:
        place = place[part]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return result


def json_type(value: Any) -> type:
    return float if type(value) is int else type(value)


SLOW = "/v1/verify"
"""A search for mistakes takes a hundred times as long as any other answer."""
ONE = "AAAAAAAA8D8="
"""The number 1 as float64."""
STRANGE: list[Any] = [
    None,
    True,
    "",
    "relu",
    "x" * 5000,
    "\ud800",
    0,
    -1,
    2.5,
    [],
    {},
    [[]],
    [None],
    [[[1]]],
    {"kind": 3},
    {"kind": "x"},
    *({"dtype": "float64", "shape": [1] * n, "base64": ONE} for n in range(7)),
    {"dtype": "float64", "shape": [0], "base64": ""},
    {"dtype": "float64", "shape": [2**70, 2], "base64": ONE},
    {"dtype": "int64", "shape": [1], "base64": "\ud83d\udca9"},
    {"dtype": "int32", "shape": [1, 1], "base64": "AAAAgA=="},
    {"dtype": "float32", "shape": [1, 1], "base64": "AADAfw=="},
    {"dtype": ["float64"], "shape": {}, "base64": 3},
]
NUMBERS = [1e308, -1e308, 5e-324, 0, 1, -0.0, 1e10, -1e10, 2**53, 2**63 - 1, 2**63, 2**64, -(2**63), 1e-30]
FIELDS = st.sampled_from(["", "wieghts", "learning_rate", "a/b", "~", "kind", "__proto__", "n\u00fcll", "k" * 3000])


def others(value: Any) -> list[Any]:
    """Strange values of another JSON type."""
    return [other for other in STRANGE if json_type(other) is not json_type(value)]


def everywhere(request: Any, most: int) -> Iterator[Mutation]:
    """Every strange value and number at every place, of the items of an array only at the first and the last.

    Of these at most so many, spread evenly; the others are not made, since a copy of a request takes a while.
    """
    last = {path: len(value) - 1 for path, value in places(request) if isinstance(value, list)}
    ways: list[tuple[str, Path, Any]] = []
    for path, value in places(request):
        if all(part in (0, last[path[:i]]) for i, part in enumerate(path) if isinstance(part, int)):
            ways += [("taken away" if other is None else "another type", path, other) for other in others(value)]
            ways += [("another number", path, number) for number in NUMBERS if type(value) in (int, float)]
    for name, path, value in ways[:: -(-len(ways) // most)]:
        yield Mutation(name, path, replaced(request, path, value))


@st.composite
def mutations(draw: st.DrawFn, request: Any) -> Mutation:
    """One of the ways, at a random place of the request."""
    path, value = draw(st.sampled_from(list(places(request))))
    ways = ["another type"]
    if path:
        ways.append("taken away")
    if type(value) in (int, float):
        ways.append("another number")
    if isinstance(value, dict):
        ways.append("a field more")
    if isinstance(value, list) and value:
        ways += ["an item twice", "very long", "nested deeper"]
    if isinstance(value, str):
        ways.append("misspelt")
    name = draw(st.sampled_from(ways))
    match name:
        case "another type":
            new = draw(st.sampled_from(others(value)))
            # null says that nothing is there.
            return Mutation("taken away" if new is None else name, path, replaced(request, path, new))
        case "taken away":
            return Mutation(name, path, replaced(request, path, ...))
        case "another number":
            return Mutation(name, path, replaced(request, path, draw(st.sampled_from(NUMBERS))))
        case "a field more":
            field = draw(FIELDS.filter(lambda f: f not in value))
            return Mutation(name, (*path, field), replaced(request, path, {**value, field: 1}))
        case "an item twice":
            return Mutation(name, path, replaced(request, path, [*value, copy.deepcopy(value[-1])]))
        case "very long":
            return Mutation(name, path, replaced(request, path, value * draw(st.integers(2, 2000))))
        case "nested deeper":
            return Mutation(name, path, replaced(request, path, [value]))
        case _:
            return Mutation(name, path, replaced(request, path, value[:-1] + "q" if value else "q"))
