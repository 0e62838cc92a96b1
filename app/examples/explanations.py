"""Requests whose answers explain: a whole derivation, a batch, one weight, one bias of a deep network."""

from typing import Any

from app.examples.form import EXPLAIN, to_differentiate
from app.examples.networks import NETWORKS
from app.examples.textbook import TEXTBOOK

EXPLANATIONS: dict[str, dict[str, Any]] = {
    "textbook_explain": {
        "title": "The textbook network: every number of one step, explained",
        "endpoint": EXPLAIN,
        "request": TEXTBOOK,
        "notes": "The network, the forward pass, the loss, then each layer from the last to the first: by output, by "
        "what goes into the activation, by weights and bias, the update. With `Accept: text/html` it is a page with a "
        "diagram.",
    },
    "explain_batch": {
        "title": "A batch, explained: how the average arises",
        "endpoint": EXPLAIN,
        "request": to_differentiate(NETWORKS["batch"]["request"]),
        "notes": "Each layer's gradient is shown twice: as one matrix product, and as the mean of the four examples' "
        "own.",
    },
    "explain_weight": {
        "title": "One weight: the chain of factors from the loss to it",
        "endpoint": EXPLAIN,
        "request": {**TEXTBOOK, "focus": {"layer": 0, "parameter": "weights", "index": [0, 1]}},
        "notes": "The weight is two layers away from the loss. Its gradient is shown as sums within sums, and as the "
        "sum over all nine paths; the `terms` of each step multiply out to its `value`.",
    },
    "explain_deep_bias": {
        "title": "One bias, nine sigmoid layers before the loss",
        "endpoint": EXPLAIN,
        "request": {
            **to_differentiate(NETWORKS["vanishing_gradients"]["request"]),
            "focus": {"layer": 0, "parameter": "bias", "index": [2]},
        },
        "notes": "Each layer multiplies the error by derivatives of at most 1/4: watch it vanish on its way back.",
    },
}
