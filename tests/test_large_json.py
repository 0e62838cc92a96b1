"""A large JSON body is read by another parser than a small one, to the same end; a large answer is let go of as it is
written."""

import json
import re
import weakref
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import forms
from app.errors import ProblemError
from app.forms import has_common_numbers, read_json
from schemas.answers import hand_over, write
from tests.test_bad_input import refused

UNCOMMON = re.compile(rb"(?<![.\d])\d{19}|[eE]\+?\d{3}")
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


def read(text: bytes) -> tuple[str, Any]:
    """What a text is read to, with the types of its numbers, or what is said against it."""
    try:
        return "value", repr(read_json(text))
    except ProblemError as error:
        return "problem", error.detail


@given(text=texts)
def test_the_same_text_has_the_same_fate_at_every_size(text: str) -> None:
    content = f"[{text}]".encode()
    small = read(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forms, "LARGE_JSON", 0)
        assert read(content) == small


@given(parts=st.lists(numbers), piece=st.integers(40, 100))
def test_no_number_that_may_be_too_large_is_missed(parts: list[str], piece: int) -> None:
    content = f"[{','.join(parts)}]".encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forms, "PIECE", piece)
        assert not (has_common_numbers(content) and UNCOMMON.search(content))
    assert has_common_numbers(content) == (UNCOMMON.search(content) is None)


@pytest.mark.parametrize("number", ["1e400", "1.7976931348623159e308", "1" * 400, "18446744073709551616", "NaN"])
def test_a_large_body_with_an_uncommon_number_is_judged_as_a_small_one(
    client: httpx.Client, textbook: dict[str, Any], number: str
) -> None:
    text = json.dumps(textbook).replace("0.1", number, 1)
    answers = []
    for content in (text, text + " " * forms.LARGE_JSON):
        answers.append(client.post("/v1/step", content=content, headers={"Content-Type": "application/json"}))
    if number == "18446744073709551616":
        assert {answer.status_code for answer in answers} == {200} and answers[0].content == answers[1].content
    else:
        small, large = (refused(answer, 400, "malformed-json")["detail"] for answer in answers)
        assert small == large


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
