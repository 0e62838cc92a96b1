"""Train a network over HTTP with arrays that never become text.

    .venv/bin/python examples/safetensors_client.py

Each request and each answer is one safetensors file: tensors by name, and JSON for all the rest. With PyTorch or JAX,
import `load` and `save` from safetensors.torch or safetensors.flax: everything else stays as it is.
"""

import argparse
import json
import sys
import time
from typing import Any

import httpx
import numpy as np
from safetensors.numpy import load, save

FORM = "application/vnd.safetensors"


def pack(request: dict[str, Any]) -> bytes:
    """A request as a file. An array's name is its path: `network.layers.0.weights`."""
    tensors: dict[str, Any] = {}

    def without_arrays(value: Any, path: str) -> Any:
        if isinstance(value, dict):
            kept = {}
            for key, item in value.items():
                name = f"{path}.{key}" if path else key
                if isinstance(item, np.ndarray):
                    tensors[name] = item
                else:
                    kept[key] = without_arrays(item, name)
            return kept
        if isinstance(value, list):
            return [without_arrays(item, f"{path}.{i}") for i, item in enumerate(value)]
        return value

    rest = without_arrays(request, "")
    return save(tensors, metadata={"json": json.dumps(rest)})


def unpack(content: bytes) -> Any:
    """An answer with its arrays in their places."""
    length = int.from_bytes(content[:8], "little")
    answer = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["json"])
    for name, array in load(content).items():
        *path, last = name.split(".")
        place = answer
        for part in path:
            place = place[int(part)] if isinstance(place, list) else place[part]
        place[last] = array
    return answer


def post(client: httpx.Client, path: str, request: dict[str, Any]) -> Any:
    response = client.post(path, content=pack(request), headers={"Content-Type": FORM, "Accept": FORM})
    if response.is_error:  # problems are JSON whatever was asked for
        sys.exit(f"{path} answered {response.status_code}: {response.json()['detail']}")
    return unpack(response.content)


def train(client: httpx.Client, steps: int) -> None:
    random = np.random.default_rng(0)
    inputs = random.normal(size=(64, 784))
    labels = (inputs @ random.normal(size=(784, 10))).argmax(axis=1)
    layers = [{"units": 256, "activation": "relu"}, {"units": 10, "activation": "softmax"}]
    request = {
        **post(client, "/v1/initialize", {"input_size": 784, "layers": layers, "seed": 1}),
        "inputs": inputs,
        "targets": labels,
        "loss": "cross_entropy",
        "optimizer": "adam",
    }
    answer: dict[str, Any] = {}
    began = time.perf_counter()
    for step in range(1, steps + 1):
        answer = post(client, "/v1/step", request)
        request |= {"network": answer["network"], "optimizer_state": answer["optimizer_state"]}
        if step in (1, steps):
            print(f"step {step}: loss {answer['loss']:.4f}")
    milliseconds = 1000 * (time.perf_counter() - began) / steps
    weights = answer["layers"][0]["gradients"]["weights"]
    print(f"{milliseconds:.1f} ms a step; the gradients of the first layer are {weights.dtype} {weights.shape}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a network over HTTP with arrays that never become text.")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="where the service listens")
    parser.add_argument("--steps", type=int, default=20, help="how many steps to train")
    options = parser.parse_args()
    try:
        with httpx.Client(base_url=options.url, timeout=60) as client:
            train(client, options.steps)
    except httpx.ConnectError as error:
        sys.exit(f"No server at {options.url} ({error}). Start one with: make run")
    except httpx.TransportError as error:
        sys.exit(f"The connection to {options.url} broke: {error}")


if __name__ == "__main__":
    main()
