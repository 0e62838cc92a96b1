"""Arrays on the wire: nested lists of numbers, or little-endian base64 in C order; both ways."""

import binascii
import math
from collections import Counter
from functools import partial
from typing import Annotated, Any, NoReturn

import numpy as np
import pybase64
from pydantic import PlainValidator, WithJsonSchema

from engine.errors import Where
from engine.finite import is_finite
from engine.rules import Array
from engine.wording import plural
from schemas.errors import InvalidValue, json_type

NUMBERS = {int, float}
TENSOR = {"dtype", "shape", "base64"}
"""The names of an array as an object."""
DTYPES = {"float64": "<f8", "float32": "<f4", "int64": "<i8", "int32": "<i4"}
LITTLE_ENDIAN = {name: np.dtype(code) for name, code in DTYPES.items()}
NAME_OF = {dtype.newbyteorder("="): name for name, dtype in LITTLE_ENDIAN.items()}
"""A dtype's own `name` is made anew each time it is asked for, which takes longer than a small array does."""
DIMENSIONS = {0: "a number", 1: "[n]", 2: "[rows, columns]", 3: "[n, rows, columns]", 4: "[m, n, rows, columns]"}


def decode(value: Any, dimensions: tuple[int, ...]) -> Array:
    """The array of a wire value with one of `dimensions` axes; raises InvalidValue at the first bad item.

    Lists become float64 (int64 where all are integers on one axis: they may be class labels); base64, and an array that
    came as one, keep their dtype.
    """
    if type(value) is np.ndarray:
        return _checked(value, dimensions)
    if type(value) is dict:
        return _decode_base64(value, dimensions)
    if type(value) is not list:
        raise InvalidValue(
            "wrong_type", (), "An array was expected here.", expected="array of numbers", received=json_type(value)
        )
    if not value:
        raise InvalidValue("empty_array", (), "This array is empty.", expected="at least one item", received=[0])
    if type(value[0]) is list:
        width = len(value[0])
        items: list[Any] = []
        for row in value:
            if type(row) is not list or len(row) != width:
                break
            items += row
        else:
            if 2 in dimensions and items and NUMBERS.issuperset(map(type, items)):
                return np.array(items, np.float64).reshape(-1, width)
        _refuse_rows(value, dimensions)
    if 1 not in dimensions and type(value[0]) in NUMBERS:
        raise InvalidValue(
            "wrong_dimensions",
            (),
            "This array has one dimension and needs two.",
            expected=DIMENSIONS[2],
            received=[len(value)],
            hint="A matrix is a list of rows: [[1, 2, 3]] has one, as inputs with a single example do.",
        )
    kinds = set(map(type, value))
    if not kinds <= NUMBERS:
        if 2 in dimensions:
            refuse_mixture(value)
        _refuse_item(value, ())
    return np.array(value, np.int64 if kinds == {int} and max(value) < 2**63 else np.float64)


def _refuse_rows(rows: list[Any], dimensions: tuple[int, ...]) -> NoReturn:
    """Raises InvalidValue at what is wrong with rows that are no matrix, or where none is wanted."""
    if 2 not in dimensions:
        raise InvalidValue(
            "wrong_dimensions",
            (),
            "This array has two dimensions or more and needs one.",
            expected=DIMENSIONS[1],
            received=[len(rows), len(rows[0])],
        )
    # The row that is unlike most others is the mistake, even where it stands first.
    if 1 in dimensions:
        refuse_mixture(rows)
    lengths = Counter(len(row) for row in rows if type(row) is list)
    width = lengths.most_common(1)[0][0]
    if width == 0:
        raise InvalidValue(
            "empty_array", (0,), "The rows of this array are empty.", expected="at least one column", received=[0]
        )
    for i, row in enumerate(rows):
        if type(row) is not list:
            raise InvalidValue(
                "wrong_type", (i,), "A row of numbers was expected here.", expected="array", received=json_type(row)
            )
        if len(row) != width:
            raise InvalidValue(
                "ragged_array",
                (i,),
                f"The rows of an array must be equally long; most have {width} items, row {i} has {len(row)}.",
                expected=[width],
                received=[len(row)],
            )
        if not set(map(type, row)) <= NUMBERS:
            _refuse_item(row, (i,))
    raise AssertionError("an array that is refused has a mistake")


def refuse_mixture(items: list[Any]) -> None:
    """Raises InvalidValue where some items are arrays and some numbers: at the first of those that are fewer, or that
    did not come first."""
    kinds = Counter("array" if type(item) is list else "number" for item in items if type(item) in {list, *NUMBERS})
    if len(kinds) == 2:
        (expected, _), (received, _) = kinds.most_common()
        where = next(i for i, item in enumerate(items) if json_type(item) == received)
        raise InvalidValue(
            "ragged_array",
            (where,),
            "Some items of this array are arrays and some are numbers.",
            expected=expected,
            received=received,
        )


def _refuse_item(items: list[Any], where: tuple[int, ...]) -> NoReturn:
    """Raises InvalidValue at the first item that is not a number."""
    j = next(j for j, item in enumerate(items) if type(item) not in NUMBERS)
    item = items[j]
    if type(item) is list:
        raise InvalidValue(
            "wrong_dimensions",
            (*where, j),
            "This array is nested too deep.",
            expected="number",
            received="array",
        )
    raise InvalidValue(
        "not_a_number",
        (*where, j),
        "An array holds numbers only, and here is something else.",
        expected="number",
        received=json_type(item),
        hint=_hint(item),
    )


def _hint(value: Any) -> str | None:
    """What some languages mean by what they write in the place of a number or an array."""
    if value is None:
        return "null is what JSON.stringify and others make of NaN, infinity and numbers that are missing."
    if type(value) is bool:
        return "Write 1 for true and 0 for false."
    if type(value) is dict and "0" in value:
        return "JSON.stringify writes a typed array so: make an array of it with Array.from."
    return None


def _decode_base64(value: dict[str, Any], dimensions: tuple[int, ...]) -> Array:
    expected = '{"dtype": "float64", "shape": [...], "base64": "..."}'
    if set(value) != TENSOR:
        raise InvalidValue(
            "wrong_type",
            (),
            "An array as an object has dtype, shape and base64.",
            expected=expected,
            received="object",
            hint=_hint(value),
        )
    name, shape, text = value["dtype"], value["shape"], value["base64"]
    if type(name) is not str or name not in DTYPES:
        raise InvalidValue(
            "unknown_name", ("dtype",), "This dtype is not known.", expected=list(DTYPES), received=json_type(name)
        )
    if type(shape) is not list or not all(type(n) is int and 0 <= n < 2**40 for n in shape):
        raise InvalidValue(
            "wrong_type",
            ("shape",),
            "A shape is a list of sizes.",
            expected="array of integers",
            received=json_type(shape),
        )
    if len(shape) not in dimensions:
        raise InvalidValue(
            "wrong_dimensions",
            ("shape",),
            f"This array has {plural(len(shape), 'dimension')}.",
            expected=_in_words(dimensions),
            received=shape[:8],
        )
    if 0 in shape:
        raise InvalidValue(
            "empty_array", ("shape",), "This array is empty.", expected="sizes of at least 1", received=shape
        )
    if type(text) not in (str, memoryview):  # The latter from a large body.
        raise InvalidValue(
            "wrong_type", ("base64",), "The bytes are a string.", expected="string", received=json_type(text)
        )
    try:
        data = pybase64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidValue(
            "invalid_base64",
            ("base64",),
            "This is not base64 (RFC 4648, with padding and without line breaks).",
            expected="base64",
            received="string",
        ) from None
    dtype = LITTLE_ENDIAN[name]
    size = math.prod(shape) * dtype.itemsize
    if len(data) != size:
        raise InvalidValue(
            "shape_mismatch",
            ("base64",),
            f"A {name} array of this shape has {size} bytes, and here are {len(data)}.",
            expected=size,
            received=len(data),
        )
    array: Array = np.frombuffer(data, dtype).astype(dtype.newbyteorder("="), copy=False).reshape(shape)
    first = _first_not_finite(array)
    if first is not None:
        raise InvalidValue(
            "not_a_number",
            ("base64",),
            f"Item {first} (in C order) is not a finite number.",
            expected="finite numbers",
            received="NaN or Infinity",
        )
    return array


def _checked(array: Array, dimensions: tuple[int, ...]) -> Array:
    """An array of numbers that came as one; raises InvalidValue where it has not the dimensions or is not finite."""
    if array.ndim not in dimensions:
        raise InvalidValue(
            "wrong_dimensions",
            (),
            f"This array has {plural(array.ndim, 'dimension')}.",
            expected=_in_words(dimensions),
            received=list(array.shape),
        )
    first = _first_not_finite(array)
    if first is not None:
        raise InvalidValue(
            "not_a_number",
            tuple(int(i) for i in np.unravel_index(first, array.shape)),
            "This is not a finite number.",
            expected="finite number",
            received="NaN or Infinity",
        )
    return array


def _in_words(dimensions: tuple[int, ...]) -> str:
    return " or ".join(DIMENSIONS[n] for n in dimensions)


def _first_not_finite(array: Array) -> int | None:
    """Where in C order the first NaN or infinity stands."""
    if array.dtype.kind != "f" or is_finite(array):
        return None
    return int(np.argmin(np.isfinite(array)))


def as_dtype(array: Array, dtype: str, where: Where) -> Array:
    """`array` in C order and in the dtype that the engine computes in; raises where float32 cannot hold a number."""
    if array.dtype == dtype and array.flags.c_contiguous:
        return array
    with np.errstate(over="ignore"):
        cast = np.ascontiguousarray(array, dtype)
    first = _first_not_finite(cast) if dtype == "float32" else None
    if first is not None:
        raise InvalidValue(
            "out_of_range",
            (*where, *(int(i) for i in np.unravel_index(first, cast.shape))),
            "This number is too large for float32.",
            expected="at most 3.4028235e38 in magnitude",
            hint="Compute in float64.",
        )
    return cast


def encode_base64(array: Array) -> dict[str, Any]:
    """The base64 form of an array; an integer or float array keeps its dtype."""
    name = NAME_OF[array.dtype]
    data = np.ascontiguousarray(array, LITTLE_ENDIAN[name])
    return {"dtype": name, "shape": array.shape, "base64": pybase64.b64encode_as_string(data.data)}


NAMES = {(1,): "Vector", (2,): "Matrix", (3,): "Tensor3", (1, 2): "Targets"}


def tensor_schema(dimensions: tuple[int, ...], description: str) -> dict[str, Any]:
    """The JSON schema of a tensor: nested lists of numbers, or the base64 object.

    `x-name` is the name by which the OpenAPI page knows a shape that stands in many places.
    """
    lists: dict[str, Any] = {"type": "number"}
    forms = []
    for n in range(1, max(dimensions) + 1):
        lists = {"type": "array", "minItems": 1, "items": lists}
        if n in dimensions:
            forms.append(lists)
    return {"description": description, "anyOf": [*forms, BASE64], "x-name": NAMES[dimensions]}


BASE64 = {
    "type": "object",
    "x-name": "Base64Tensor",
    "properties": {
        "dtype": {"type": "string", "enum": list(DTYPES), "description": "What each number is."},
        "shape": {
            "type": "array",
            "items": {"type": "integer", "minimum": 1},
            "minItems": 1,
            "maxItems": 3,
            "description": "The length of each axis: `[batch, features]`, for instance.",
        },
        "base64": {
            "type": "string",
            "contentEncoding": "base64",
            "description": "The bytes of the numbers, little-endian, in C order: 8 a number for float64 and int64, "
            "else 4.",
        },
    },
    "required": ["dtype", "shape", "base64"],
    "additionalProperties": False,
}


def tensor(dimensions: tuple[int, ...], description: str) -> Any:
    """The annotation of a tensor field."""
    return Annotated[
        np.ndarray,
        PlainValidator(partial(decode, dimensions=dimensions)),
        WithJsonSchema(tensor_schema(dimensions, description)),
    ]


Matrix = tensor((2,), "Rows of numbers, all equally long.")
Vector = tensor((1,), "Numbers.")
Targets = tensor((1, 2), "`[batch, outputs]` numbers, or `[batch]` class labels.")
