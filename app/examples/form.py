"""What an example is made of: the paths that it may be posted to, layers and weights."""

from itertools import pairwise
from typing import Any

INITIALIZE = "/v1/initialize"
FORWARD = "/v1/forward"
BACKWARD = "/v1/backward"
STEP = "/v1/step"
TRAIN = "/v1/train"
EVALUATE = "/v1/evaluate"
EXPLAIN = "/v1/explain"
DIAGNOSE = "/v1/diagnose"
VERIFY = "/v1/verify"


def layer(weights: list[list[float]], bias: list[float] | None, activation: str, name: str) -> dict[str, Any]:
    return {"weights": weights, "bias": bias, "activation": activation, "name": name}


def deep(sizes: list[int], scale: float, activation: str, name: str) -> list[dict[str, Any]]:
    """Layers between these sizes, the inputs first: weights up to `scale`, no column twice, and biases of 0."""
    return [
        layer(
            [[round(scale * ((7 * i + 3 * j + 5 * k) % 11 - 5) / 5, 3) for j in range(units)] for i in range(inputs)],
            [0.0] * units,
            activation,
            f"{name}{k + 1}",
        )
        for k, (inputs, units) in enumerate(pairwise(sizes))
    ]


def to_differentiate(request: dict[str, Any]) -> dict[str, Any]:
    """The part of a request that says what to differentiate."""
    return {name: request[name] for name in ("network", "inputs", "targets", "loss")}
