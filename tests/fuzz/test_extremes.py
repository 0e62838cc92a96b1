"""Every hyperparameter of every rule in the catalog, at numbers where arithmetic ends: never a 500."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.conftest import searching
from tests.fuzz.mutations import NUMBERS, SLOW, Mutation, replaced
from tests.fuzz.test_mutations import post

REQUEST = {
    "network": {
        "layers": [
            {"weights": [[0.5, -0.3], [0.2, 0.8], [-0.6, 0.1]], "bias": [0.1, -0.2], "activation": "tanh"},
            {"weights": [[0.4, -0.7], [0.3, 0.9]], "bias": [0.0, 0.1], "activation": "softmax"},
        ]
    },
    "inputs": [[0.5, -1.0, 2.0], [1.5, 0.3, -0.7], [-0.2, 0.9, 0.4], [0.6, 0.6, -1.1]],
    "targets": [[1, 0], [0, 1], [1, 0], [0, 1]],
    "loss": {"kind": "cross_entropy"},
    "optimizer": {"kind": "sgd", "learning_rate": 0.1},
    "regularization": {"l1": 0.01, "l2": 0.01},
    "gradient_clipping": {"kind": "norm", "max_norm": 1.0},
    "sample_weights": [1.0, 0.5, 2.0, 1.0],
    "epochs": 3,
    "batch_size": 3,
    "metrics": [{"kind": "accuracy"}],
    "learning_rate_schedule": {"kind": "step"},
    "claimed": {"loss": 0.5, "layers": [{"gradients": {"bias": [0.1, 0.2]}}, None]},
    "input_size": 3,
    "layers": [{"units": 2, "activation": "tanh", "weights_initializer": {"kind": "zeros"}}],
    "seed": 1,
}
"""Of these an endpoint is sent the fields that it knows."""
PLACES: dict[str, tuple[str | int, ...]] = {
    "activations": ("network", "layers", 0, "activation"),
    "losses": ("loss",),
    "optimizers": ("optimizer",),
    "gradient_clippings": ("gradient_clipping",),
    "schedules": ("learning_rate_schedule",),
    "metrics": ("metrics", 0),
    "initializers": ("layers", 0, "weights_initializer"),
}


def fields(operations: dict[str, Any], schemas: dict[str, Any]) -> set[str]:
    """The fields of an endpoint's request."""
    if "post" not in operations:
        return set()
    schema = operations["post"]["requestBody"]["content"]["application/json"]["schema"]
    return set(schemas[schema["$ref"].rpartition("/")[2]]["properties"])


def spoilt(request: Any, path: tuple[str | int, ...], rule: dict[str, Any]) -> Iterator[Mutation]:
    """The rule in the request, each of its hyperparameters once at each extreme."""
    request = replaced(request, path, {"kind": rule["kind"]})
    for name, schema in rule["parameters"].get("properties", {}).items():
        default = schema.get("default")
        values: list[Any] = [] if isinstance(default, bool | str) else list(NUMBERS)
        values += schema.get("enum", [True, False] if isinstance(default, bool) else [])
        if isinstance(default, list) or default is None:
            values += [[low, high] for low in NUMBERS for high in (NUMBERS[0], 0.999)]
        for value in values:
            yield Mutation("another number", (*path, name), replaced(request, (*path, name), value))


@pytest.mark.parametrize("family", PLACES)
def test_every_hyperparameter(client: httpx.Client, family: str) -> None:
    path = PLACES[family]
    rules = client.get("/v1/catalog").json()[family]
    specification = client.get("/openapi.json").json()
    asked = 0
    for endpoint, operations in specification["paths"].items():
        known = fields(operations, specification["components"]["schemas"])
        if path[0] not in known or (endpoint != "/v1/initialize" and "network" not in known):
            continue
        asked += 1
        request = {name: value for name, value in REQUEST.items() if name in known}
        response = client.post(endpoint, json=request)
        assert response.status_code == 200, (endpoint, response.text)
        mutations = [mutation for rule in rules for mutation in spoilt(request, path, rule)]
        for mutation in mutations[:: searching(180 if endpoint == SLOW else 60, 1)]:
            post(client, endpoint, mutation)
    assert asked
