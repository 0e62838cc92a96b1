"""Which forms requests and answers have: Accept, Content-Type, Content-Encoding."""

import json
from typing import Any

import httpx
import pytest

from tests.test_bad_input import refused

JSON, SSE, LINES = "application/json", "text/event-stream", "application/jsonl"
FILE = "application/vnd.safetensors"
RUN = {
    "network": {"layers": [{"weights": [[0.5]], "bias": [0.0], "activation": "tanh"}]},
    "inputs": [[1.0]],
    "targets": [[1.0]],
    "loss": "mse",
    "optimizer": "sgd",
    "epochs": 1,
}


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", JSON),
        (",", JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        ("text/*", SSE),
        ("text/event-stream", SSE),
        ("TEXT/Event-Stream", SSE),
        ("text/event-stream, */*", SSE),
        ("text/event-stream, application/json", JSON),
        ("application/json;q=0.5, text/event-stream;q=0.6", SSE),
        ("application/json;q=0.5, application/jsonl;q=0.501, text/event-stream;q=0.1", LINES),
        ("application/json;q=0, text/*", SSE),
        ("application/*;q=0.2, text/*;q=0.1", JSON),
        ("application/*;q=0.9, application/json;q=0.1, text/*;q=0.5", FILE),
        ("text/html, application/xhtml+xml, application/xml;q=0.9, */*;q=0.8", JSON),
        ("application/jsonl; profile=x ; q = 0.3", LINES),
        ("application/json; q=nonsense", JSON),
    ],
)
def test_the_client_gets_the_form_that_it_likes_best(client: httpx.Client, accept: str, form: str) -> None:
    response = client.post("/v1/train", json=RUN, headers={"Accept": accept})
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == form


def test_several_accept_lines_are_one_list(client: httpx.Client) -> None:
    lines = [("Accept", "application/jsonl"), ("Accept", "*/*;q=0.1")]
    for headers in (lines, lines[::-1]):
        assert client.post("/v1/train", json=RUN, headers=headers).headers["content-type"] == LINES


@pytest.mark.parametrize(
    "accept",
    ["text/csv", "application/json;q=0", "application/json;q=0.0, text/*", "*/*;q=0", "application/problem+json"],
)
def test_no_form_that_is_accepted(client: httpx.Client, textbook: dict[str, Any], accept: str) -> None:
    problem = refused(client.post("/v1/step", json=textbook, headers={"Accept": accept}), 406, "not-acceptable")
    assert "application/json" in problem["detail"]


@pytest.mark.parametrize(
    "media_type", [None, "application/json", "Application/JSON ; charset=UTF-8", "application/vnd.example+json"]
)
def test_content_types_that_are_json(client: httpx.Client, textbook: dict[str, Any], media_type: str | None) -> None:
    headers = {} if media_type is None else {"Content-Type": media_type}
    response = client.post("/v1/step", content=json.dumps(textbook), headers=headers)
    assert response.status_code == 200, response.text


@pytest.mark.parametrize(
    "media_type", ["text/plain", "application/x-www-form-urlencoded", "text/json", "json", "", "*/*"]
)
def test_other_content_types_are_told_what_is_taken(client: httpx.Client, media_type: str) -> None:
    response = client.post("/v1/step", content=b"{}", headers={"Content-Type": media_type})
    problem = refused(response, 415, "unsupported-media-type")
    assert "application/json" in problem["detail"] and "application/json" in response.headers["accept"]


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip", "identity, gzip"])
def test_no_content_encoding_is_taken(client: httpx.Client, textbook: dict[str, Any], encoding: str) -> None:
    response = client.post("/v1/step", json=textbook, headers={"Content-Encoding": encoding})
    refused(response, 415, "unsupported-media-type")
    assert response.headers["accept-encoding"] == "identity"
    assert client.post("/v1/step", json=textbook, headers={"Content-Encoding": "Identity"}).status_code == 200
