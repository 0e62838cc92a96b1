"""What an example is made of: the paths that it may be posted to, layers and weights."""

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


def pattern(inputs: int, units: int, k: int, scale: float) -> list[list[float]]:
    """The weights of the k-th of many layers: up to `scale` in size, and no column twice."""
    return [[round(scale * ((7 * i + 3 * j + 5 * k) % 11 - 5) / 5, 3) for j in range(units)] for i in range(inputs)]
