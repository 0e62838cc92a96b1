"""Requests and answers as safetensors files: the same bits as JSON and base64, and clean refusals of what is none.

The library `safetensors` is the judge: it writes the requests and reads the answers.
"""

import copy
import json
import math
import struct
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from schemas import safetensors
from schemas.errors import InvalidValue
from tests.test_bad_input import changed, refused

FORM = "application/vnd.safetensors"
ARRAYS = {"inputs", "targets", "weights", "bias", "output_gradients", "sample_weights", "preactivations", "activations",
          "outputs", "input_gradients", "example_losses"}  # fmt: skip
TRAINING = {"epochs": 2, "batch_size": 2, "validation": {"fraction": 0.25}}


def taken_apart(value: Any, tensors: dict[str, Any], path: str = "") -> Any:
    """`value` without its arrays, which come into `tensors` by their paths."""
    if isinstance(value, dict):
        rest = {}
        for key, item in value.items():
            at = f"{path}.{key}" if path else key
            if key in ARRAYS and isinstance(item, list):
                tensors[at] = np.array(item)
            else:
                rest[key] = taken_apart(item, tensors, at)
        return rest
    if isinstance(value, list):
        return [taken_apart(item, tensors, f"{path}.{i}") for i, item in enumerate(value)]
    return value


def as_file(request: dict[str, Any]) -> bytes:
    tensors: dict[str, Any] = {}
    rest = taken_apart(request, tensors)
    return save(tensors, metadata={"json": json.dumps(rest)})


def put_together(content: bytes) -> Any:
    """A file as JSON has it, where a float32 is written in as few digits as tell it apart from others."""
    (length,) = struct.unpack("<Q", content[:8])
    result: Any = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["json"])
    for name, array in load(content).items():
        *parents, last = name.split(".")
        place = result
        for part in parents:
            place = place[int(part)] if isinstance(place, list) else place[part]
        assert last not in place
        place[last] = orjson.loads(orjson.dumps(array, option=orjson.OPT_SERIALIZE_NUMPY))
    return result


def send(client: httpx.Client, path: str, content: bytes, accept: str = FORM) -> httpx.Response:
    return client.post(path, content=content, headers={"Content-Type": FORM, "Accept": accept})


@pytest.fixture
def batch(client: httpx.Client) -> dict[str, Any]:
    """A batch of four, a network with a layer without bias, a frozen layer, and an optimizer with a state."""
    made = client.post(
        "/v1/initialize",
        json={"input_size": 3, "layers": [{"units": 4, "activation": "tanh", "bias_initializer": None, "name": "first"},
                                          {"units": 2, "activation": "softmax"}]},
    ).json()  # fmt: skip
    made["network"]["layers"][1]["frozen"] = ["bias"]
    inputs = np.random.default_rng(0).normal(size=(4, 3)).tolist()
    return {**made, "inputs": inputs, "targets": [0, 1, 1, 0], "loss": {"kind": "cross_entropy", "class_weights": [1, 2]},
            "optimizer": {"kind": "adam", "amsgrad": True}}  # fmt: skip


def only_known(request: dict[str, Any], *left_out: str, **more: Any) -> dict[str, Any]:
    return {key: value for key, value in request.items() if key not in left_out} | more


REQUESTS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "/v1/forward": lambda batch: only_known(batch, "optimizer"),
    "/v1/backward": lambda batch: only_known(batch, "optimizer", per_example=True, sample_weights=[1, 2, 0, 0.5]),
    "/v1/step": lambda batch: batch,
    "/v1/train": lambda batch: batch | TRAINING,
    "/v1/evaluate": lambda batch: only_known(batch, "optimizer", metrics=["accuracy", "confusion_matrix"]),
}


@pytest.mark.parametrize("layout", ["inputs_by_units", "units_by_inputs"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("path", REQUESTS)
def test_all_forms_give_the_same_bits(
    client: httpx.Client, post: Any, batch: dict[str, Any], path: str, dtype: str, layout: str
) -> None:
    request = REQUESTS[path](batch) | {"dtype": dtype}
    if layout == "units_by_inputs":
        request["network"]["weights_layout"] = layout
        for layer in request["network"]["layers"]:
            layer["weights"] = np.transpose(layer["weights"]).tolist()
    expected = post(path, request)
    from_json = client.post(path, json=request, headers={"Accept": FORM})
    from_file = send(client, path, as_file(request))
    to_json = send(client, path, as_file(request), "application/json")
    assert [answer.status_code for answer in (from_json, from_file, to_json)] == [200, 200, 200], to_json.text
    assert from_json.headers["content-type"] == from_file.headers["content-type"] == FORM
    assert from_json.content == from_file.content
    assert put_together(from_file.content) == to_json.json() == expected
    assert {array.dtype.name for array in load(from_file.content).values()} - {"int64"} == {dtype}
    in_base64 = post(path, request | {"encoding": "base64"})
    again = post(path, {**request, "network": in_base64.get("network", request["network"])})
    assert again == post(path, {**request, "network": expected.get("network", request["network"])})


def test_every_example_may_be_a_file(client: httpx.Client) -> None:
    for example in client.get("/v1/examples").json():
        path, request = example["endpoint"], only_known(example["request"], "encoding")
        expected = client.post(path, json=request)
        assert send(client, path, as_file(request), "application/json").content == expected.content, example["name"]
        if path != "/v1/explain":  # whose answers are text
            assert put_together(send(client, path, as_file(request)).content) == expected.json(), example["name"]


def test_initialize_answers_a_file_and_streams_take_one(client: httpx.Client, batch: dict[str, Any]) -> None:
    request = {"input_size": 3, "layers": [{"units": 2, "activation": "relu"}], "seed": 7}
    expected = client.post("/v1/initialize", json=request)
    for content in (client.post("/v1/initialize", json=request, headers={"Accept": FORM}).content,
                    send(client, "/v1/initialize", as_file(request)).content):  # fmt: skip
        assert put_together(content) == expected.json()
    stream = send(client, "/v1/train", as_file(batch | TRAINING), "application/jsonl")
    last = json.loads(stream.text.splitlines()[-1])
    assert last["event"] == "result"
    assert last["network"] == client.post("/v1/train", json=batch | TRAINING).json()["network"]


def test_what_comes_back_goes_in(client: httpx.Client, post: Any, batch: dict[str, Any]) -> None:
    first = send(client, "/v1/step", as_file(batch)).content
    tensors = {name: array for name, array in load(first).items() if name.startswith(("network.", "optimizer_state."))}
    tensors |= {"inputs": np.array(batch["inputs"]), "targets": np.array(batch["targets"])}
    (length,) = struct.unpack("<Q", first[:8])
    answer = json.loads(json.loads(first[8 : 8 + length])["__metadata__"]["json"])
    kept = {name: answer[name] for name in ("network", "optimizer_state")}
    rest = {**kept, "loss": batch["loss"], "optimizer": batch["optimizer"]}
    second = send(client, "/v1/step", save(tensors, metadata={"json": json.dumps(rest), "format": "np"}))
    assert second.status_code == 200, second.text
    expected = post("/v1/step", batch)
    again = {name: expected[name] for name in ("network", "optimizer_state")}
    assert put_together(second.content) == post("/v1/step", batch | again)
    assert "layers.0.gradients.weights" in load(second.content)
    assert "optimizer_state.layers.0.weights.max_exp_avg_sq" in load(second.content)


def test_arrays_lie_at_multiples_of_their_size_and_the_file_has_no_slack(client: httpx.Client, batch: Any) -> None:
    content = send(client, "/v1/evaluate", as_file(REQUESTS["/v1/evaluate"](batch) | {"dtype": "float32"})).content
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    assert length % 8 == 0 and {"predictions", "outputs"} <= set(header)
    for name, entry in header.items():
        if name != "__metadata__":
            assert entry["data_offsets"][0] % {"I64": 8, "F32": 4}[entry["dtype"]] == 0


@pytest.mark.parametrize(
    ("dtype", "code", "numbers"),
    [
        ("F16", "<f2", [0.5, -2.25, 65504]),
        ("BF16", "<u2", [1.0, -2.0, 0.15625]),
        ("I8", "i1", [1, -2, 127]),
        ("U8", "u1", [1, 2, 255]),
        ("I16", "<i2", [1, -2, 300]),
        ("I32", "<i4", [1, -2, 70000]),
    ],
)
def test_narrow_dtypes_keep_their_values(client: httpx.Client, post: Any, dtype: str, code: str, numbers: Any) -> None:
    data = np.array(numbers, "<f4").view("<u4") >> 16 if dtype == "BF16" else np.array(numbers)
    request = {"network": {"layers": [{"weights": [[1.0], [10.0], [100.0]], "bias": None, "activation": "identity"}]}}
    content = file({"inputs": (dtype, [1, 3], data.astype(code).tobytes())}, request)
    assert send(client, "/v1/forward", content, "application/json").json() == post(
        "/v1/forward", request | {"inputs": [numbers]}
    )


def test_an_eleventh_layer_comes_after_the_others() -> None:
    read = safetensors.read(safetensors.write({f"layers.{i}.bias": np.array([1.0 * i]) for i in range(11)}))
    assert [layer["bias"].tolist() for layer in read["layers"]] == [[i] for i in range(11)]


def test_numbers_may_be_tensors_without_axes(client: httpx.Client, post: Any, textbook: dict[str, Any]) -> None:
    rest = changed(textbook, "/optimizer", {"kind": "sgd"})
    content = file({"optimizer.learning_rate": ("F64", [], struct.pack("<d", 0.5))}, rest)
    expected = post("/v1/step", changed(textbook, "/optimizer", {"kind": "sgd", "learning_rate": 0.5}))
    assert send(client, "/v1/step", content, "application/json").json() == expected


def file(tensors: dict[str, tuple[str, list[int], bytes]], rest: Any, **places: list[int]) -> bytes:
    """A file written by hand: dtype, shape and bytes of each tensor, and offsets other than the right ones."""
    header, data = {"__metadata__": {"json": json.dumps(rest)}}, b""
    for name, (dtype, shape, content) in tensors.items():
        offsets = places.get(name, [len(data), len(data) + len(content)])
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}  # type: ignore[dict-item]
        data += content
    return framed(json.dumps(header).encode(), data)


def framed(header: bytes, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + data


ROW = np.array([[0.1, 0.2, 0.7]]).tobytes()
INPUTS = ("F64", [1, 3], ROW)
ENTRY = '{"dtype": "F64", "shape": [1, 3], "data_offsets": [0, 24]}'
MALFORMED = {
    "nothing": b"",
    "no length": b"\x01\x00\x00",
    "JSON": b'{"inputs": [[1, 2, 3]]}',
    "no header": struct.pack("<Q", 0),
    "header longer than the body": struct.pack("<Q", 100) + b"{}",
    "header of 2^64 - 1 bytes": b"\xff" * 8 + b"{}",
    "header that is cut": framed(b'{"inputs": {"dtype"'),
    "header that is an array": framed(b"[]"),
    "header that is an array of a number": framed(b"[1]"),
    "header that is a number": framed(b"1"),
    "header in UTF-16": framed('{"a": 1}'.encode("utf-16")),
    "header that is not UTF-8": framed(b'{"\xff": {}}'),
    "half a surrogate pair": framed(b'{"\\ud800": ' + ENTRY.encode() + b"}", ROW),
    "NaN in the header": framed(b'{"inputs": {"dtype": "F64", "shape": [NaN], "data_offsets": [0, 8]}}', ROW[:8]),
    "deep header": framed(b'{"a":' * 50_000 + b"1" + b"}" * 50_000),
    "a number of a million digits": framed(b'{"a": ' + b"9" * 1_000_000 + b"}"),
    "name twice": framed(f'{{"inputs": {ENTRY}, "inputs": {ENTRY}}}'.encode(), ROW),
    "field twice": framed(f'{{"inputs": {ENTRY[:-1]}, "dtype": "F64"}}}}'.encode(), ROW),
    "metadata no object": framed(b'{"__metadata__": "json"}'),
    "metadata of numbers": framed(b'{"__metadata__": {"json": 3}}'),
    "metadata no JSON": framed(json.dumps({"__metadata__": {"json": "{"}}).encode()),
    "metadata with NaN": framed(json.dumps({"__metadata__": {"json": '{"seed": NaN}'}}).encode()),
    "tensor no object": framed(b'{"inputs": 3}'),
    "dtype missing": framed(b'{"inputs": {"shape": [1], "data_offsets": [0, 8]}}', ROW[:8]),
    "unknown field": framed(f'{{"inputs": {ENTRY[:-1]}, "order": "F"}}}}'.encode(), ROW),
    "dtype a number": framed(ENTRY.replace('"F64"', "64").join(['{"inputs": ', "}"]).encode(), ROW),
    "shape a number": framed(ENTRY.replace("[1, 3]", "3").join(['{"inputs": ', "}"]).encode(), ROW),
    "shape of fractions": framed(ENTRY.replace("[1, 3]", "[1, 3.0]").join(['{"inputs": ', "}"]).encode(), ROW),
    "negative size": framed(ENTRY.replace("[1, 3]", "[-1, -3]").join(['{"inputs": ', "}"]).encode(), ROW),
    "a size of true": framed(ENTRY.replace("[1, 3]", "[true, 3]").join(['{"inputs": ', "}"]).encode(), ROW),
    "sizes whose product overflows": file({"inputs": ("F64", [2**40, 2**40, 2**40], b"")}, {}),
    "a thousand dimensions": file({"inputs": ("F64", [1] * 1000, ROW[:8])}, {}),
    "three offsets": file({"inputs": INPUTS}, {}, inputs=[0, 24, 24]),
    "negative offset": file({"inputs": INPUTS}, {}, inputs=[-24, 0]),
    "end before begin": file({"inputs": INPUTS}, {}, inputs=[24, 0]),
    "offsets beyond the data": file({"inputs": INPUTS}, {}, inputs=[24, 48]),
    "offsets that lie": file({"inputs": INPUTS}, {}, inputs=[0, 16]),
    "shape that lies": file({"inputs": ("F64", [1, 4], ROW)}, {}),
    "dtype that lies": file({"inputs": ("F32", [1, 3], ROW)}, {}),
    "data cut": file({"inputs": INPUTS}, {})[:-1],
    "data too long": file({"inputs": INPUTS}, {}) + b"\0",
    "overlap": file({"inputs": INPUTS, "targets": INPUTS}, {}, targets=[0, 24]),
    "the same data twice": file({"inputs": INPUTS, "targets": INPUTS}, {}, targets=[0, 24])[:-24],
    "partial overlap": file({"inputs": INPUTS, "targets": INPUTS}, {}, targets=[16, 40]),
    "hole": file({"inputs": INPUTS, "hole": ("F64", [1], ROW[:8]), "targets": INPUTS}, {}, hole=[24, 32], targets=[40, 64]),
    "unknown dtype and a hole": file({"inputs": ("C64", [1], ROW)}, {}, inputs=[8, 24]),
}  # fmt: skip


@pytest.mark.parametrize("case", MALFORMED)
def test_what_is_no_file_is_malformed(client: httpx.Client, case: str) -> None:
    problem = refused(send(client, "/v1/step", MALFORMED[case]), 400, "malformed-safetensors")
    assert problem["detail"].startswith("The body is not a safetensors file: ")


@pytest.mark.parametrize("shape", [(1, 2), (12, 7)])
def test_a_file_that_is_sent_as_json_is_known_by_its_look(client: httpx.Client, shape: tuple[int, int]) -> None:
    body = save({"inputs": np.full(shape, 0.1)})
    response = client.post("/v1/step", content=body, headers={"Content-Type": "application/json"})
    assert FORM in refused(response, 400, "malformed-json")["detail"]


def number(value: float) -> tuple[str, list[int], bytes]:
    return "F64", [], struct.pack("<d", value)


def matrix(*rows: list[float]) -> tuple[str, list[int], bytes]:
    return "F64", list(np.shape(rows)), np.array(rows).tobytes()


WRONG: dict[str, tuple[dict[str, tuple[str, list[int], bytes]], str, str]] = {
    "NaN": ({"inputs": matrix([1, math.nan, 3])}, "not-a-number", "/inputs/0/1"),
    "infinity": ({"targets": matrix([1, 0, -math.inf])}, "not-a-number", "/targets/0/2"),
    "NaN as a number": ({"optimizer.learning_rate": number(math.nan)}, "not-a-number", "/optimizer/learning_rate"),
    "empty": ({"inputs": ("F64", [0, 3], b"")}, "empty-array", "/inputs"),
    "empty and immense": ({"inputs": ("F64", [0] + [2**47] * 7, b"")}, "empty-array", "/inputs"),
    "one dimension": ({"inputs": ("F64", [3], ROW)}, "wrong-dimensions", "/inputs"),
    "three dimensions": ({"inputs": ("F64", [1, 1, 3], ROW)}, "wrong-dimensions", "/inputs"),
    "no dimension": ({"inputs": number(3)}, "wrong-type", "/inputs"),
    "too wide": ({"inputs": matrix([1, 2])}, "shape-mismatch", "/network/layers/0/weights"),
    "dtype not taken": ({"inputs": ("F8_E4M3", [24], ROW)}, "unknown-name", "/inputs"),
    "dtype that nobody knows": ({"inputs": ("x" * 100_000, [24], ROW)}, "unknown-name", "/inputs"),
    "unknown field": ({"input": matrix([1, 2, 3])}, "unknown-field", "/input"),
    "empty name": ({"": matrix([1, 2, 3])}, "unknown-field", "/"),
    "long name": ({"i" * 1_000_000: matrix([1, 2, 3])}, "invalid-value", ""),
    "deep name": ({".".join(["0"] * 100_000): matrix([1, 2, 3])}, "invalid-value", ""),
    "also in the JSON": ({"loss": matrix([1, 2, 3])}, "conflict", "/loss"),
    "through a string": ({"loss.kind": matrix([1, 2, 3])}, "conflict", "/loss"),
    "through a tensor": ({"inputs": matrix([1, 2, 3]), "inputs.0": matrix([1, 2, 3])}, "conflict", "/inputs"),
    "a gap": ({"network.layers.5.weights": matrix([1])}, "conflict", "/network/layers/5"),
    "a gap far away": ({f"network.layers.{'9' * 99}.bias": matrix([1])}, "conflict", "/network/layers/" + "9" * 64 + "…"),
    "an index of zeros": ({"network.layers.00.weights": matrix([1])}, "conflict", "/network/layers/00"),
    "an index that is none": ({"network.layers.first.weights": matrix([1])}, "conflict", "/network/layers/first"),
    "a tensor where JSON belongs": ({"network.layers.3.name": matrix([1])}, "validation-error", "/network/layers/3/weights"),
    "an object where a tensor belongs": ({"inputs.x": matrix([1])}, "wrong-type", "/inputs"),
    "an array where a tensor belongs": ({"inputs.0": matrix([1, 2, 3])}, "not-a-number", "/inputs/0"),
    "an array where a kind belongs": ({"network.layers.3.kind": matrix([1, 2])}, "validation-error", "/network/layers/3/kind"),
    "an array for a state's kind": ({"optimizer_state.kind": matrix([1, 2])}, "invalid-state", "/optimizer_state/kind"),
    "a matrix where a rule has a list": ({"optimizer.betas": matrix([0.9], [0.99])}, "wrong-dimensions", "/optimizer/betas"),
    "a state that is none": ({"optimizer_state": matrix([1])}, "wrong-type", "/optimizer_state"),
    "a loss's kind, and more": ({"loss.kind": matrix([1, 2]), "los": number(1)}, "validation-error", "/loss/kind"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_file_that_is_no_request_is_refused_with_pointer(
    client: httpx.Client, textbook: dict[str, Any], case: str
) -> None:
    tensors, name, pointer = WRONG[case]
    rest = copy.deepcopy(textbook)
    for field in ("inputs", "targets"):
        if any(tensor.partition(".")[0] == field for tensor in tensors):
            del rest[field]
    rest["optimizer"] = {"kind": "sgd"}
    if case.endswith("more"):
        rest["loss"] = {}
    problem = refused(send(client, "/v1/step", file(tensors, rest)), 422, name)
    assert problem["errors"][0]["pointer"] == pointer


def test_an_array_where_a_claim_has_a_name(client: httpx.Client, textbook: dict[str, Any]) -> None:
    fields = ("kind", "activation", "name", "frozen")
    rest = {**textbook, "optimizer": "sgd", "claimed": {"network": {"layers": [{}, {}, {}]}}}
    tensors = {f"claimed.network.layers.1.{field}": matrix([1, 2]) for field in fields}
    answer = send(client, "/v1/verify", file(tensors, rest), "application/json").json()
    assert answer["not_compared"] == [f"/network/layers/1/{field}" for field in fields]


def test_claims_of_a_later_layer_alone(client: httpx.Client, textbook: dict[str, Any], post: Any) -> None:
    """The layers before it stand in the JSON as null, which the refusal says where they do not."""
    claim = {"claimed.layers.2.gradients.bias": np.array(post("/v1/step", textbook)["layers"][2]["gradients"]["bias"])}
    told, alone = ({"json": json.dumps(textbook | more)} for more in ({"claimed": {"layers": [None, None]}}, {}))
    problem = refused(send(client, "/v1/verify", save(claim, alone)), 422, "conflict")
    assert problem["errors"][0]["pointer"] == "/claimed/layers/2" and "as null" in problem["detail"]
    answer = send(client, "/v1/verify", save(claim, told), "application/json").json()
    assert answer["verdict"] == "match" and answer["comparisons"][0]["pointer"] == "/layers/2/gradients/bias"


@pytest.mark.parametrize("rest", [[], 3, None, "text"])
def test_metadata_that_is_no_object(client: httpx.Client, rest: Any) -> None:
    problem = refused(send(client, "/v1/step", file({"inputs": INPUTS}, rest)), 422, "wrong-type")
    assert problem["errors"][0]["pointer"] == ""


def test_a_name_that_stands_twice_in_the_metadata(client: httpx.Client) -> None:
    text = '{"optimizer": {"kind": "sgd", "learning_rate": 0.1, "learning_rate": 0.2}}'
    body = save({"inputs": np.ones((1, 3))}, {"json": text})
    problem = refused(send(client, "/v1/step", body), 422, "duplicate-name")
    assert problem["errors"][0]["pointer"] == "/optimizer/learning_rate"


def test_without_metadata_fields_are_missing(client: httpx.Client) -> None:
    problem = refused(send(client, "/v1/forward", save({"inputs": np.ones((1, 3))})), 422, "missing")
    assert problem["errors"][0]["pointer"] == "/network"


def test_a_hundred_thousand_layers_and_names(client: httpx.Client, textbook: dict[str, Any]) -> None:
    rest = only_known(textbook, "network")
    tensors = {f"network.layers.{i}.weights": ("I8", [1, 1], b"\1") for i in range(20_000)}
    problem = refused(send(client, "/v1/step", file(tensors, rest)), 422, "too-large")
    assert problem["errors"][0]["received"] == 20_000


def test_weights_that_are_shared_by_two_readers_stay_as_they_are(batch: dict[str, Any]) -> None:
    """Arrays are views of the body, which nobody may write to."""
    tree = safetensors.read(as_file(batch))
    with pytest.raises(ValueError, match="read-only"):
        tree["network"]["layers"][0]["weights"][0, 0] = 1


VALID = as_file(
    {
        "network": {"layers": [{"weights": [[0.5, 1.5]], "bias": [0.25, 1], "activation": "relu"}]},
        "inputs": [[2.0], [3.0]],
        "targets": [[1.0, 2.0], [0.0, 0.5]],
        "loss": "mse",
        "optimizer": {"kind": "adam"},
    }
)
positions = st.integers(0, len(VALID))
pieces = st.one_of(
    st.binary(max_size=8), st.sampled_from([b"\xff" * 8, b"{", b'"', b"0", b"}", b",", b"-1", b"NaN", b"."])
)


@st.composite
def mutated(draw: Callable[..., Any]) -> bytes:
    """A valid file after some cuts and pastes, with its header's length made to fit again or not."""
    content = VALID
    for _ in range(draw(st.integers(1, 3))):
        begin, end = sorted((draw(positions), draw(positions)))
        end = min(end, begin + draw(st.integers(0, 12)))
        content = content[:begin] + draw(pieces) + content[end:]
    if draw(st.booleans()):
        found = content.rfind(b"}}") + 2
        content = struct.pack("<Q", max(found - 8, 0)) + content[8:]
    return content


@st.composite
def retold(draw: Callable[..., Any]) -> bytes:
    """A valid file whose header says something else of one tensor."""
    (length,) = struct.unpack("<Q", VALID[:8])
    header = json.loads(VALID[8 : 8 + length])
    entry = header[draw(st.sampled_from(sorted(set(header) - {"__metadata__"})))]
    sizes = st.integers(-1, 50) | st.sampled_from([2**31, 2**48, 2**63, 2**64])
    values = {
        "dtype": st.sampled_from(["F64", "F32", "I64", "I32", "F16", "BF16", "U8", "BOOL", "f64"]),
        "shape": st.lists(sizes, max_size=4),
        "data_offsets": st.lists(sizes, min_size=2, max_size=2),
    }
    field = draw(st.sampled_from(sorted(values)))
    entry[field] = draw(values[field])
    return framed(json.dumps(header).encode(), VALID[8 + length :])


@settings(max_examples=200, deadline=None)
@given(content=mutated() | retold())
def test_no_mutation_breaks_the_server(client: httpx.Client, content: bytes) -> None:
    response = send(client, "/v1/step", content)
    if response.status_code != 200:
        refused(response, response.status_code, response.json()["type"].removeprefix("/problems/"))
        assert response.status_code in (400, 422)


@settings(max_examples=300, deadline=None)
@given(content=mutated() | retold())
def test_what_is_read_the_library_reads_too(content: bytes) -> None:
    try:
        tree = safetensors.read(content)
    except (safetensors.MalformedTensors, InvalidValue):
        return
    if b"BF16" in content:
        return  # NumPy has no such dtype, and so the library's load has none
    for name, array in load(content).items():
        place = tree
        for part in name.split("."):
            place = place[int(part)] if isinstance(place, list) else place[part]
        np.testing.assert_array_equal(place, array)
