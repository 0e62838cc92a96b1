"""Requests and answers as one safetensors file: arrays as they lie in memory, all else as JSON in the file's metadata.

A file is the length of its header (8 bytes, little-endian), the header (JSON: each tensor's dtype, shape and place in
the data) and the data, without holes. A tensor's name is its path in the JSON form (`network.layers.0.weights`); what
is no tensor is one JSON text, the entry `json` of the header's `__metadata__`. Of the same format as the library
`safetensors` reads and writes; that one gives no metadata of a file in memory, and copies the data twice.
"""

import json
import math
import re
from typing import Any, NamedTuple, NoReturn

import numpy as np
import orjson

from engine.rules import Array
from schemas.duplicates import require_distinct_names
from schemas.errors import InvalidValue, json_type
from schemas.limits import Body

METADATA, TEXT = "__metadata__", "json"
LONGEST_HEADER = 2 * 2**20
LONGEST_NAME, DEEPEST_NAME, MOST_DIMENSIONS = 256, 16, 8
INDEX = re.compile(r"0|[1-9][0-9]*", re.ASCII)
INTEGERS = {"I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "<i1", "U8": "<u1"}
FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
DTYPES = {name: np.dtype(code) for name, code in (FLOATS | INTEGERS).items()}
WRITTEN = {np.dtype(code): name for name, code in {"F64": "f8", "F32": "f4", "I64": "i8", "I32": "i4"}.items()}
Path = tuple[str, ...]


class MalformedTensors(ValueError):
    """A body that is no safetensors file; the text says why."""


class Entry(NamedTuple):
    """A tensor as the header tells of it; its data lie from `begin` to `end`."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def read(body: Body) -> Any:
    """What the JSON form of the request would be, with arrays in the place of lists, most of them views of `body`.

    Raises MalformedTensors where the body is no safetensors file, InvalidValue where it is one and cannot be a request:
    its dtypes, or the places that its tensors' names lead to.
    """
    header, start = _header(body)
    tree = _rest(header.pop(METADATA, {}))
    entries = [_entry(name, facts) for name, facts in header.items()]
    _require_no_holes(entries, len(body) - start)
    paths = {entry.name: _path(entry.name) for entry in entries}
    for entry in sorted(entries, key=lambda entry: _in_order(paths[entry.name])):
        _put(tree, paths[entry.name], _array(body, start, entry, paths[entry.name]))
    return tree


def header_text(body: Body) -> Body:
    """The text of the header, and the eight bytes before it; no more of them than are read."""
    return body[: 8 + min(int.from_bytes(body[:8], "little"), LONGEST_HEADER)]


def _header(body: Body) -> tuple[dict[str, Any], int]:
    """The header, and where the data begin."""
    length = int.from_bytes(body[:8], "little")
    if len(body) < 8:
        raise MalformedTensors("it ends within the 8 bytes that tell the header's length")
    if length > LONGEST_HEADER:
        raise MalformedTensors(f"its header is said to have {length} bytes, and at most {LONGEST_HEADER} are read")
    if 8 + length > len(body):
        raise MalformedTensors(f"its header is said to have {length} bytes, and {len(body) - 8} follow")
    header = _decoded(bytes(body[8 : 8 + length]))
    if type(header) is not dict:
        raise MalformedTensors("its header is not a JSON object")
    return header, 8 + length


def _decoded(text: bytes) -> Any:
    """A header's JSON. The standard library's reader is slower than orjson, and sees a name that occurs twice."""
    try:
        header = json.loads(text.decode(), object_pairs_hook=_distinct, parse_constant=_refuse_constant)
        if type(header) is dict:
            "".join(header).encode()  # half a surrogate pair can be escaped in JSON, and is no text
        return header
    except MalformedTensors:
        raise
    except (ValueError, RecursionError):
        raise MalformedTensors("its header is not JSON in UTF-8") from None


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedTensors("a name occurs twice in its header")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise MalformedTensors(f"its header holds {name}, which is not JSON")


def _rest(metadata: Any) -> dict[str, Any]:
    """All that is no tensor."""
    if type(metadata) is not dict or not all(type(value) is str for value in metadata.values()):
        raise MalformedTensors(f"{METADATA} is not an object of strings")
    text = metadata.get(TEXT, "{}")
    try:
        rest = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise MalformedTensors(
            f"the entry {TEXT} of {METADATA} is not JSON: {error.msg} (line {error.lineno}, column {error.colno})"
        ) from None
    if type(rest) is not dict:
        raise InvalidValue(
            "wrong_type",
            (),
            f"The entry {TEXT} of {METADATA} holds all of the request that is no tensor.",
            expected="object",
            received=json_type(rest),
        )
    require_distinct_names(text.encode(), rest)
    return rest


def _entry(name: str, facts: Any) -> Entry:
    if type(facts) is not dict or set(facts) != {"dtype", "shape", "data_offsets"}:
        raise MalformedTensors(f"{_quoted(name)} does not have exactly dtype, shape and data_offsets")
    dtype, shape, offsets = facts["dtype"], facts["shape"], facts["data_offsets"]
    if type(dtype) is not str or not _are_sizes(shape) or not _are_sizes(offsets) or len(offsets) != 2:
        raise MalformedTensors(f"dtype, shape or data_offsets of {_quoted(name)} are not a name, sizes and two offsets")
    begin, end = offsets
    if begin > end:
        raise MalformedTensors(f"the data of {_quoted(name)} end before they begin")
    if dtype in DTYPES and math.prod(shape) * DTYPES[dtype].itemsize != end - begin:
        size = math.prod(shape) * DTYPES[dtype].itemsize
        raise MalformedTensors(f"{_quoted(name)} has {size} bytes by dtype and shape, and {end - begin} by its offsets")
    return Entry(name, dtype, tuple(shape), begin, end)


def _are_sizes(value: Any) -> bool:
    return (
        type(value) is list and len(value) <= MOST_DIMENSIONS and all(type(n) is int and 0 <= n < 2**48 for n in value)
    )


def _quoted(name: str) -> str:
    return f"'{name[:64]}{'…' if len(name) > 64 else ''}'"


def _require_no_holes(entries: list[Entry], size: int) -> None:
    """Raises unless the tensors cover `size` bytes, each beginning where another one ends."""
    reached = 0
    for entry in sorted(entries, key=lambda entry: (entry.begin, entry.end)):
        if entry.begin != reached:
            how = "overlap those of another tensor" if entry.begin < reached else "leave a hole before them"
            raise MalformedTensors(f"the data of {_quoted(entry.name)} {how}")
        reached = entry.end
    if reached != size:
        raise MalformedTensors(f"its tensors have {reached} bytes, and {size} follow the header")


def _path(name: str) -> Path:
    path = tuple(name.split("."))
    if len(name) > LONGEST_NAME or len(path) > DEEPEST_NAME:
        raise InvalidValue(
            "invalid_value",
            (),
            f"A tensor's name is longer than {LONGEST_NAME} characters or {DEEPEST_NAME} parts.",
            expected="the path of a field of the request, such as network.layers.0.weights",
        )
    return path


def _in_order(path: Path) -> list[tuple[int, str]]:
    """The key that sorts paths as their places follow one another: item 10 of an array after item 9."""
    return [(len(part) if part.isdecimal() else 0, part) for part in path]


def _array(body: Body, start: int, entry: Entry, path: Path) -> Any:
    """The tensor as a view where its bytes can be used as they lie; a tensor without axes as a number.

    Half precision becomes float32 and small integers become int64, which hold all their values.
    """
    if entry.dtype not in DTYPES:
        raise InvalidValue("unknown_name", path, "This dtype is not taken.", expected=list(DTYPES))
    if 0 in entry.shape:
        received = list(entry.shape)
        raise InvalidValue("empty_array", path, "This array is empty.", expected="sizes above 0", received=received)
    dtype = DTYPES[entry.dtype]
    array: Array = np.frombuffer(body, dtype, math.prod(entry.shape), start + entry.begin).reshape(entry.shape)
    if entry.dtype == "BF16":
        array = (array.astype(np.uint32) << 16).view(np.float32)
    elif entry.dtype == "F16":
        array = array.astype(np.float32)
    elif dtype.itemsize < 4:
        array = array.astype(np.int64)
    elif not array.flags.aligned or not dtype.isnative:
        array = array.astype(dtype.newbyteorder("="))
    if array.ndim:
        return array
    number = array.item()
    if not math.isfinite(number):
        raise InvalidValue("not_a_number", path, "This is not a finite number.", expected="finite number")
    return number


def _put(tree: dict[str, Any], path: Path, value: Any) -> None:
    """Puts a value where its path leads, and makes objects and arrays on the way where there are none yet."""
    place: Any = tree
    for depth, part in enumerate(path):
        here = path[: depth + 1]
        key: Any = part
        if type(place) is list:
            if not INDEX.fullmatch(part):
                _refuse(here, f"A tensor's name has '{part}' where an array has a number.")
            key = int(part)
            if key > len(place):
                gap = (
                    "leads to one beyond. Those before it without tensors go into the JSON (a layer of claims as null)."
                )
                _refuse(here, f"This array has {len(place)} items, and a tensor's name {gap}")
            missing = key == len(place)
        elif type(place) is dict:
            missing = part not in place
        else:
            _refuse(path[:depth], "A tensor's name leads through this, and it is no object and no array.")
        if depth + 1 < len(path) and not missing:
            place = place[key]
            continue
        if not missing:
            _refuse(here, "A tensor and the JSON of the metadata, or another tensor, both give this.")
        new: Any = value
        if depth + 1 < len(path):
            new = [] if INDEX.fullmatch(path[depth + 1]) else {}
        if type(place) is list:
            place.append(new)
        else:
            place[key] = new
        place = new


def _refuse(where: Path, detail: str) -> NoReturn:
    raise InvalidValue("conflict", where, detail, hint="Name each tensor by its path in the JSON form of the request.")


def write(answer: Any, encoding: str = "") -> bytes:
    """An answer as a safetensors file, which is put together in one go; `encoding` has no meaning here.

    Wider dtypes come first, so that each tensor lies at a multiple of its item's size.
    """
    tensors: dict[str, Array] = {}
    rest = orjson.dumps(_without_tensors(answer, "", tensors), option=orjson.OPT_SERIALIZE_NUMPY)
    header: dict[str, Any] = {METADATA: {TEXT: rest.decode()}}
    ordered = sorted(tensors.items(), key=lambda item: -item[1].itemsize)
    end = 0
    for name, array in ordered:
        begin, end = end, end + array.nbytes
        header[name] = {"dtype": WRITTEN[array.dtype], "shape": array.shape, "data_offsets": (begin, end)}
    text = orjson.dumps(header)
    text += b" " * (-len(text) % 8)
    data = [np.ascontiguousarray(array, DTYPES[WRITTEN[array.dtype]]).data for _, array in ordered]
    return b"".join([len(text).to_bytes(8, "little"), text, *data])


def _without_tensors(value: Any, name: str, tensors: dict[str, Array]) -> Any:
    """`value` without its arrays, which come into `tensors` by their paths."""
    if type(value) is dict:
        kept = {}
        for key, item in value.items():
            path = f"{name}.{key}" if name else key
            if type(item) is np.ndarray and item.dtype in WRITTEN:
                tensors[path] = item
            else:
                kept[key] = _without_tensors(item, path, tensors)
        return kept
    if type(value) is list:
        return [_without_tensors(item, f"{name}.{i}", tensors) for i, item in enumerate(value)]
    return value
