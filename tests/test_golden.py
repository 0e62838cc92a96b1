"""Requests with answers from independent sources; `tests/golden/make.py` says how they were made."""

import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

FILES = sorted((Path(__file__).parent / "golden").glob("*.json"))
assert len(FILES) > 90, "golden files are missing"


def compare(actual: Any, expected: Any, tolerance: float, at: str = "") -> None:
    """Every number of `expected`, within `tolerance` of the largest of its array."""
    if isinstance(expected, dict):
        for key, value in expected.items():
            compare(actual[key], value, tolerance, f"{at}/{key}")
    elif isinstance(expected, list) and isinstance(expected[0], dict):
        assert len(actual) == len(expected)
        for i, value in enumerate(expected):
            compare(actual[i], value, tolerance, f"{at}/{i}")
    else:
        largest = float(np.abs(expected).max())
        np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance * largest, err_msg=at)


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_golden(client: httpx.Client, file: Path) -> None:
    golden = json.loads(file.read_text())
    request = golden["request"]
    for _ in range(golden.get("steps", 1)):
        response = client.post(golden["endpoint"], json=request)
        assert response.status_code == 200, response.text
        answer = response.json()
        if "network" in answer:
            request = {**request, "network": answer["network"], "optimizer_state": answer["optimizer_state"]}
    compare(answer, golden["answer"], golden["tolerance"])


def test_every_rule_has_a_golden_file(client: httpx.Client) -> None:
    catalog = client.get("/v1/catalog").json()
    names = {file.stem for file in FILES}
    for noun, prefix in (("activations", "activation"), ("losses", "loss"), ("optimizers", "optimizer")):
        for entry in catalog[noun]:
            assert entry["kind"] == "lion" or f"{prefix}_{entry['kind']}" in names
