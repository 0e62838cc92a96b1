"""A large JSON body is read by another parser than a small one, to the same end; a large answer is let go of as it is
written."""

import copy
import json
import weakref
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import ProblemError
from app.forms import read_json, read_json_plainly
from schemas import large_json
from schemas.answers import hand_over, write
from schemas.errors import InvalidValue
from tests.test_bad_input import changed, refused

digits = st.text("0123456789", min_size=1, max_size=24)
numbers = st.tuples(
    st.sampled_from(["", "-"]),
    digits,
    st.sampled_from(["", "."]) | digits.map(".{}".format),
    st.sampled_from(["", "e", "1e400"]) | st.tuples(st.sampled_from(["e", "E", "e+", "e-"]), digits).map("".join),
).map("".join)
texts = st.recursive(
    numbers | st.text(max_size=5).map(json.dumps) | st.sampled_from(["true", "null", "NaN", "1e308", "[", '"\\ud800"']),
    lambda items: (
        st.lists(items, max_size=5).map(lambda parts: f"[{','.join(parts)}]")
        | st.dictionaries(st.sampled_from("ab"), items).map(
            lambda parts: "{" + ",".join(f'"{key}": {value}' for key, value in parts.items()) + "}"
        )
    ),
)


def fate(read: Any, text: bytes) -> tuple[str, Any]:
    """What a text is read to, or what is said against it."""
    try:
        return "value", read(text)
    except ProblemError as error:
        return "problem", error.detail
    except InvalidValue as error:
        return "invalid", (error.code, error.where)


def in_lists(value: Any, like: Any) -> Any:
    """The value with lists in the place of arrays; there `like` has the same numbers, which need not be floats."""
    if isinstance(value, np.ndarray):
        assert value.dtype == np.float64 and np.array(like, np.float64).tobytes() == value.tobytes()
        return like
    if isinstance(value, dict):
        assert list(value) == list(like)
        return {key: in_lists(item, like[key]) for key, item in value.items()}
    if isinstance(value, list):
        return [in_lists(item, twin) for item, twin in zip(value, like, strict=True)]
    return value


@pytest.fixture(scope="class")
def every_size() -> Any:
    """All bodies are read as large ones, and all matrices as large ones."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"LARGE": 1, "MATRIX": 1, "SPACING": large_json.SAMPLE + 1}.items():
            patch.setattr(large_json, name, value)
        yield


def require_the_same_fate(text: bytes) -> Any:
    expected = fate(read_json_plainly, text)
    name, value = fate(read_json, text)
    assert (name, repr(in_lists(value, expected[1]))) == (expected[0], repr(expected[1]))
    return value


@given(text=texts)
def test_the_same_text_has_the_same_fate_at_every_size(every_size: None, text: str) -> None:
    require_the_same_fate(f"[{text}]".encode())
    require_the_same_fate(f'{{"a": {text}}}'.encode())


@given(rows=st.lists(st.lists(numbers, min_size=1, max_size=3).map(",".join), min_size=1, max_size=4))
def test_matrices_of_all_numbers_are_the_same(every_size: None, rows: list[str]) -> None:
    matrix = "],[".join(rows)
    require_the_same_fate(f'{{"a": [[{matrix}]]}}'.encode())


@pytest.mark.parametrize("matrix", ["[[1, 2], [3, 4]]", "[[1.5], [2], [-0.0], [-0], [18446744073709551615]]"])
def test_a_matrix_becomes_an_array(every_size: None, matrix: str) -> None:
    assert isinstance(require_the_same_fate(f'{{"a": {matrix}, "b": [{{"c": 1}}]}}'.encode())["a"], np.ndarray)


@pytest.mark.parametrize(
    "text",
    [
        "[[1, [2]], [3, 4]]",
        "[[[1], 2], [3, 4]]",
        "[[1, 2], [3]]",
        "[[1, 2], [[3], []]]",
        "[[1, 2], 3, [4]]",
        "[[1, 2], [true, 4]]",
        "[[1, 2], [null, 4]]",
        '[[1, 2], ["3", 4]]',
        "[[1, 2], {}]",
        "[[1, 2], [{}, 1]]",
        "[[], []]",
        "[[1, 2], [1e400, 4]]",
        "[[[1, 2], [3, 4]], [[5, 6], [7, 8]]]",
        '[[1, 2], [3, 4]], "a": [[5, 6]]',
        '{"b": [[1, 2], [3, 4]], "b": 5}, "c": ":"',
        '[[1, 2]], "b": "[", "c": [[1, [2]]]',
        '[[1, 2]], "\\u0000": 1, "": 2',
        '[[1, 2]], "x\\u0000y": 1, "x": 2',
        '"\\ud800"',
    ],
)
def test_what_only_looks_like_a_matrix_stays_what_it_is(every_size: None, text: str) -> None:
    require_the_same_fate(f'{{"a": {text}}}'.encode())


def test_a_byte_order_mark_is_refused_at_every_size(every_size: None) -> None:
    assert fate(read_json, b"\xef\xbb\xbf[[1, 2]]")[0] == "problem"


tensors = st.recursive(
    st.sampled_from(
        [
            "1",
            '""',
            '"AAAAAAAA"',
            '"ééééééé"',
            '"aaaaaaa\\"b"',
            '"AAAAAAAA\\u00000"',
            '"\taaaaaaaa"',
            '"',
            "NaN",
            '"A" "B"',
            "[]",
        ]
    ),
    lambda items: (
        st.lists(items, max_size=3).map(lambda parts: f"[{','.join(parts)}]")
        | st.lists(st.tuples(st.sampled_from(["base64", "base64", "a"]), items), max_size=3).map(
            lambda parts: "{" + ",".join(f'"{key}": {value}' for key, value in parts) + "}"
        )
    ),
)


@pytest.fixture(scope="class")
def every_text() -> Any:
    """All bodies are read as large ones that hold base64, and all texts as long ones."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"LARGE": 1, "LONG": len('"base64'), "SPACING": 1}.items():
            patch.setattr(large_json, name, value)
        yield


@given(text=tensors)
def test_base64_is_read_as_any_other_text(every_text: None, text: str) -> None:
    body = f'{{"tensor": {text}, "b": 1}}'.encode()
    for whole in (body, memoryview(body), bytearray(body)):
        name, value = fate(read_json, whole)  # type: ignore[arg-type]
        assert (name, in_strings(value)) == fate(read_json_plainly, body)


def in_strings(value: Any) -> Any:
    """The value with strings in the place of views."""
    if isinstance(value, memoryview):
        return bytes(value).decode("ascii")
    if isinstance(value, dict):
        return {key: in_strings(item) for key, item in value.items()}
    return [in_strings(item) for item in value] if isinstance(value, list) else value


def test_base64_stays_where_it_is_in_the_body(every_text: None) -> None:
    body = b'{"a": [{"base64": "AAAAAAAA"}, {"base64": "BBBBBB=="}], "base64": 1}'
    first, second = (item["base64"] for item in read_json(body)["a"])
    assert (bytes(first), bytes(second)) == (b"AAAAAAAA", b"BBBBBB==")
    assert first.obj is body


@pytest.mark.parametrize(
    "wrong", ['{"base64": "AAAAAAA\\u0041"}', '{"name": "AAAAAAAA"}', '{"base64": "AAAAAAAA", "base64": "AAAAAAAA"}']
)
def test_other_texts_are_no_views(every_text: None, wrong: str) -> None:
    body = f'{{"a": {{"base64": "AAAAAAAA"}}, "b": {wrong}}}'.encode()
    assert repr(fate(read_json, body)) == repr(fate(read_json_plainly, body))


def test_many_names_are_not_looked_up_one_by_one() -> None:
    many = {f"name{i}": 0 for i in range(large_json.MOST_NAMES + 1)}
    assert large_json.read(json.dumps({**many, "matrix": [[0.5] * 100] * 500}).encode()) is None
    del many["name0"], many["name1"]
    assert large_json.read(json.dumps({**many, "matrix": [[0.5] * 100] * 500}).encode()) is not None


@pytest.mark.parametrize("part", ["{}", '["a"]', '{"a": 1}'])
def test_many_parts_are_not_made_one_by_one(part: str) -> None:
    """They took six seconds of the first reading of a body of 15 MB."""
    few, many = (
        f'{{"a": [{", ".join([part] * count)}], "b": {[0] * large_json.LARGE}}}'.encode()
        for count in (large_json.MOST_PARTS // 2, large_json.MOST_PARTS)
    )
    assert large_json.read(few) is not None
    assert large_json.read(many) is None


def test_short_strings_are_not_looked_at_one_by_one() -> None:
    body = b'{"a": [' + b'"", ' * 10**5 + b'{"base64": "' + b"A" * 10**6 + b'"}]}'
    assert large_json.read(body) is None


@pytest.mark.parametrize("number", ["1e400", "1.7976931348623159e308", "1" * 400, "18446744073709551616", "NaN"])
def test_a_large_body_with_an_uncommon_number_is_judged_as_a_small_one(client: httpx.Client, number: str) -> None:
    answers = []
    for rows in (1, 5000):
        text = json.dumps(wide(rows)).replace("0.75", number)
        assert (len(text) > 2**16) == (rows > 1)
        answers.append(client.post("/v1/forward", content=text, headers={"Content-Type": "application/json"}))
    if number == "18446744073709551616":
        assert {answer.status_code for answer in answers} == {200}
        small, large = (answer.json()["outputs"][-1] for answer in answers)
    else:
        small, large = (refused(answer, 400, "malformed-json")["detail"].partition(" (")[0] for answer in answers)
    assert small == large


def wide(rows: int) -> dict[str, Any]:
    """A request whose inputs have this many rows, the last with 0.75."""
    layer = {"weights": [[0.5, 1], [0.25, 2], [0.125, 3]], "bias": None, "activation": "tanh"}
    return {"network": {"layers": [layer]}, "inputs": [[1, 0.5, -0.25]] * (rows - 1) + [[1, 0.75, -0.25]]}


@pytest.mark.parametrize(
    ("change", "name", "where"),
    [
        ({"inputs": [[[1.0, 2.0, 3.0]]]}, "wrong-dimensions", "/inputs/0/0"),
        ({"inputs": [[1.0, 2.0], [1.0]]}, "ragged-array", "/inputs/1"),
        ({"inputs": [[1.0, 2.0, 3.0], [1.0, "2", 3.0]]}, "not-a-number", "/inputs/1/1"),
        ({"inputs": [[1.0, 2.0, 3.0], [1.0, [2], 3.0]]}, "wrong-dimensions", "/inputs/1/1"),
        ({"sample_weights": [[1.0, 2.0, 3.0]]}, "wrong-dimensions", "/sample_weights"),
        ({"loss": [[1.0, 2.0, 3.0]]}, "wrong-type", "/loss"),
        ({"dtype": [[1.0, 2.0, 3.0]]}, "wrong-type", "/dtype"),
        ({"unknown": [[1.0, 2.0, 3.0]]}, "unknown-field", "/unknown"),
    ],
)
def test_mistakes_are_told_as_of_a_small_body(
    client: httpx.Client, change: dict[str, Any], name: str, where: str
) -> None:
    """The array with the mistake is repeated until it is large, but for what makes the mistake."""
    problems = []
    for times in (1, 5000):
        asked = copy.deepcopy(wide(1)) | {"targets": [[1.0, 0.0]]}
        for field, rows in change.items():
            asked[field] = rows + rows[:1] * times
        response = client.post("/v1/forward", json=asked)
        problem = refused(response, 422, name)
        assert problem["errors"][0]["pointer"] == where
        problems.append([(e["code"], e["detail"], e.get("expected")) for e in problem["errors"]])
    assert problems[0] == problems[1]


@pytest.mark.parametrize("encoding", ["json", "base64"])
def test_an_answer_that_was_handed_over_is_the_same_and_lets_go_of_its_arrays(encoding: str) -> None:
    def answer() -> dict[str, Any]:
        rows = np.arange(6.0).reshape(2, 3)
        return {"a": rows, "b": [{"c": rows.T, "d": None}], "loss": np.float64(0.5), "name": "x", "e": np.arange(2)}

    kept, handed = answer(), answer()
    array = weakref.ref(handed["a"])
    hand_over(handed)
    assert write(handed, encoding) == write(kept, encoding)
    assert array() is None
    assert orjson.loads(write(kept))["b"][0]["c"] == [[0, 3], [1, 4], [2, 5]]


@pytest.mark.parametrize(
    ("path", "where", "code"),
    [
        ("/v1/step", "/include", "wrong-type"),
        ("/v1/step", "/network/layers/0/frozen", "wrong-type"),
        ("/v1/verify", "/claimed/layers", "too-large"),
        ("/v1/verify", "/claimed/network/layers", "too-large"),
    ],
)
def test_a_hundred_thousand_wrong_items_are_one_mistake(
    client: httpx.Client, textbook: dict[str, Any], path: str, where: str, code: str
) -> None:
    """Each on its own takes a kilobyte and ten microseconds, in which no other thread runs."""
    request = {**textbook, "optimizer": "sgd"} | ({"claimed": {"network": {"layers": []}}} if "verify" in path else {})
    problem = refused(client.post(path, json=changed(request, where, [1] * 100_000)), 422, code)
    assert len([error for error in problem["errors"] if error["pointer"].startswith(where)]) == 1


def test_milestones_that_are_no_integers_are_one_mistake(client: httpx.Client) -> None:
    schedule = {"kind": "multi_step", "milestones": [0.5] * 100_000}
    request = {**client.get("/v1/examples/train_xor").json()["request"], "learning_rate_schedule": schedule}
    assert len(refused(client.post("/v1/train", json=request), 422, "wrong-type")["errors"]) == 1
