"""The steps that are measured, as arrays: the textbook's and drawn ones; and the forms in which they travel."""

from itertools import pairwise
from typing import Any

import numpy as np
import orjson

from app.examples import EXAMPLES
from schemas.tensors import encode_base64

Step = dict[str, Any]
LARGE = (784, 512, 512, 10)


def textbook() -> Step:
    example = EXAMPLES["textbook"]["request"]
    layers = [
        {"weights": np.array(layer["weights"]), "bias": np.array(layer["bias"]), "activation": layer["activation"]}
        for layer in example["network"]["layers"]
    ]
    return step(layers, np.array(example["inputs"]), np.array(example["targets"]))


def drawn(sizes: tuple[int, ...]) -> Step:
    """A network of these sizes with relu and at last softmax, drawn as He et al. do, and a batch of 32 with one-hot
    targets."""
    random = np.random.default_rng(0)
    layers = [
        {
            "weights": random.normal(0, (2 / inputs) ** 0.5, (inputs, units)),
            "bias": np.zeros(units),
            "activation": "relu",
        }
        for inputs, units in pairwise(sizes)
    ]
    layers[-1]["activation"] = "softmax"
    return step(layers, random.random((32, sizes[0])), np.eye(sizes[-1])[random.integers(0, sizes[-1], 32)])


def step(layers: list[dict[str, Any]], inputs: Any, targets: Any) -> Step:
    return {
        "network": {"layers": layers},
        "inputs": inputs,
        "targets": targets,
        "loss": "cross_entropy",
        "optimizer": {"kind": "sgd", "learning_rate": 0.01},
    }


def as_json(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


def as_base64(value: Step) -> bytes:
    """With base64 tensors in the request, and asked for in the answer."""
    return as_json({**_encoded(value), "encoding": "base64"})


def _encoded(value: Any) -> Any:
    match value:
        case np.ndarray():
            return encode_base64(value)
        case dict():
            return {key: _encoded(item) for key, item in value.items()}
        case list():
            return [_encoded(item) for item in value]
        case _:
            return value


def parameters(layers: list[Any]) -> list[Any]:
    """Weights and bias of each layer, one after the other."""
    return [np.asarray(layer[name]) for layer in layers for name in ("weights", "bias")]
