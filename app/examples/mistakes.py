"""Somebody else's numbers: the textbook's printed ones, and results with one mistake each."""

from typing import Any

from app.examples.form import VERIFY, layer
from app.examples.textbook import EXAMPLE, TEXTBOOK

MISTAKES: dict[str, dict[str, Any]] = {
    "textbook_claims": {
        "title": "What the textbook prints: which numbers are wrong, and why",
        "endpoint": VERIFY,
        "request": {
            **TEXTBOOK,
            "loss": {"kind": "binary_cross_entropy", "reduction": "batch_mean"},
            "claimed": {
                "outputs": [[0.2698, 0.3223, 0.4078]],
                "loss": 0.985,
                "layers": [
                    {"activations": [[1.35, 1.27, 1.8]], "gradients": {"activations": [[-0.01035, -0.0209, -0.0169]]}},
                    {
                        "preactivations": [[2.73, 2.76, 4.001]],
                        "activations": [[0.938, 0.94, 0.98]],
                        "gradients": {"activations": [[-0.8903, -0.74218, -1.0810]]},
                    },
                    {
                        "preactivations": [[1.8658, 2.2292, 2.8204]],
                        "gradients": {
                            "activations": [[-3.70644, -1.4755, -1.6886]],
                            "weights": [
                                [-0.5531, -0.0576, -0.5836],
                                [-0.554347, -0.0577, -0.5849],
                                [-0.577937, -0.06017, -0.6098],
                            ],
                        },
                    },
                ],
                "network": {
                    "layers": [
                        {
                            "weights": [
                                [0.10001035, 0.2000209, 0.3000169],
                                [0.3000207, 0.2000418, 0.7000338],
                                [0.40007245, 0.3001463, 0.9001183],
                            ]
                        },
                        {
                            "weights": [
                                [0.2006989, 0.300565, 0.500286],
                                [0.3006575, 0.5005316, 0.700269],
                                [0.600932, 0.400753, 0.803813],
                            ]
                        },
                        {
                            "weights": [
                                [0.105531, 0.400576, 0.805836],
                                [0.30055, 0.700577, 0.2005849],
                                [0.5005779, 0.2006017, 0.9006098],
                            ]
                        },
                    ]
                },
            },
        },
        "notes": "The numbers are the text's own, rounded as printed; its loss is minus the sum of t log(y) + "
        "(1 - t) log(1 - y). The answer names what is wrong with them: a softmax without its exponential, the decimal "
        "logarithm, the sign of the (1 - t) term, the diagonal of softmax's Jacobian, an error passed back through the "
        "diagonal weights, and the slips of the pen.",
    },
    "rounded_claims": {
        "title": "The textbook network, computed correctly and rounded",
        "endpoint": VERIFY,
        "request": {
            **EXAMPLE,
            "claimed": {
                "loss": 1.617,
                "outputs": [[0.1984, 0.2854, 0.5162]],
                "layers": [None, None, {"gradients": {"bias": [-0.8016, 0.2854, 0.5162]}}],
            },
        },
        "notes": "All of it matches in the digits that were printed, and `rounding` says how many those are. With the "
        "claims left out the answer is the certificate alone.",
    },
    "transposed_claims": {
        "title": "An error passed back through transposed weights",
        "endpoint": VERIFY,
        "request": {
            "network": {
                "layers": [
                    layer([[0.5, -0.3], [0.2, 0.8]], [0.1, -0.1], "tanh", "hidden"),
                    layer([[0.7, -0.4], [0.9, 0.6]], [0.0, 0.2], "identity", "output"),
                ]
            },
            "inputs": [[1.0, 2.0]],
            "targets": [[0.5, -0.5]],
            "loss": "half_squared_error",
            "claimed": {
                "layers": [
                    {"gradients": {"weights": [[0.5688, 0.0683], [1.1376, 0.1366]], "bias": [0.5688, 0.0683]}},
                    None,
                ]
            },
        },
        "notes": "Square weights go through transposed, and nothing complains. `diagnoses` names the mistake: passed "
        "back through the transposed weights, the error gives exactly these gradients.",
    },
}
