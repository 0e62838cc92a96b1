"""What a derivation says in words and symbols is what this request computes, not only what its rules usually do."""

from typing import Any

import pytest

from tests.test_explain_documents import example


def steps_of(answer: Any) -> list[Any]:
    return [step for section in answer["sections"] for step in section["steps"]]


@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("focus", [None, {"layer": 2, "parameter": "bias", "index": [0]}])
def test_a_clipped_gradient_is_not_called_the_derivative(client: Any, post: Any, focus: Any, maximize: bool) -> None:
    request = example(client, "textbook") | {
        "optimizer": {"kind": "sgd", "learning_rate": 0.1, "maximize": maximize},
        "gradient_clipping": {"kind": "norm", "max_norm": 0.1},
        "focus": focus,
    }
    updates = [s for s in steps_of(post("/v1/explain", request)) if s["text"].startswith(("The update", "It ascends"))]
    assert updates and not any(r"\partial" in step["latex"] for step in updates)
    free = steps_of(post("/v1/explain", request | {"gradient_clipping": None}))
    assert any(r"\partial" in step["latex"] for step in free if step["text"].startswith(("The update", "It ascends")))
