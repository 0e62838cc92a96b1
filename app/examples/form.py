"""What an example is made of: the paths that it may be posted to, and layers."""

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
