"""Ready requests: each can be posted as it is, and shows one thing about backpropagation."""

from typing import Any

from app.examples.explanations import EXPLANATIONS
from app.examples.findings import FINDINGS
from app.examples.mistakes import MISTAKES
from app.examples.networks import NETWORKS
from app.examples.textbook import TEXTBOOKS

EXAMPLES: dict[str, dict[str, Any]] = {
    name: {"name": name, **example}
    for examples in (TEXTBOOKS, NETWORKS, EXPLANATIONS, FINDINGS, MISTAKES)
    for name, example in examples.items()
}


def openapi_examples(endpoint: str) -> dict[str, Any]:
    """The examples of an endpoint for the OpenAPI page, the textbook one first."""
    return {
        name: {"summary": example["title"], "description": example["notes"], "value": example["request"]}
        for name, example in EXAMPLES.items()
        if example["endpoint"] == endpoint
    }
