"""Networks that each show one thing about backpropagation, the textbook's first."""

from typing import Any

from app.examples.form import BACKWARD, EVALUATE, FORWARD, INITIALIZE, STEP, TRAIN, layer

TEXTBOOK: dict[str, Any] = {
    "network": {
        "layers": [
            layer([[0.1, 0.2, 0.3], [0.3, 0.2, 0.7], [0.4, 0.3, 0.9]], [1.0, 1.0, 1.0], "relu", "hidden1"),
            layer([[0.2, 0.3, 0.5], [0.3, 0.5, 0.7], [0.6, 0.4, 0.8]], [1.0, 1.0, 1.0], "sigmoid", "hidden2"),
            layer([[0.1, 0.4, 0.8], [0.3, 0.7, 0.2], [0.5, 0.2, 0.9]], [1.0, 1.0, 1.0], "softmax", "output"),
        ]
    },
    "inputs": [[0.1, 0.2, 0.7]],
    "targets": [[1.0, 0.0, 0.0]],
    "loss": "cross_entropy",
    "optimizer": {"kind": "sgd", "learning_rate": 0.01},
}


def _textbook() -> dict[str, Any]:
    return {
        "title": "The textbook network: one step, every number",
        "endpoint": STEP,
        "request": TEXTBOOK,
        "notes": "Three inputs; relu, sigmoid and softmax layers of three units; cross-entropy; one step of gradient "
        "descent. The loss is 1.6172337500003393. Follow the chain rule from `gradients.preactivations` of the output "
        "layer (the outputs minus the target) backwards.",
    }


def _textbook_forward() -> dict[str, Any]:
    return {
        "title": "The textbook network: the forward pass alone",
        "endpoint": FORWARD,
        "request": {name: TEXTBOOK[name] for name in ("network", "inputs")},
        "notes": "Preactivations are inputs @ weights + bias; a layer's activations are what the next one takes.",
    }


def _random_network() -> dict[str, Any]:
    return {
        "title": "A new network: 3 inputs, 4 relu units, 2 classes",
        "endpoint": INITIALIZE,
        "request": {
            "input_size": 3,
            "layers": [
                {"units": 4, "activation": "relu", "weights_initializer": "he_normal", "bias_initializer": "zeros"},
                {
                    "units": 2,
                    "activation": "softmax",
                    "weights_initializer": "glorot_uniform",
                    "bias_initializer": "zeros",
                },
            ],
            "seed": 42,
        },
        "notes": "The answer's `network` can be posted elsewhere as it is. The same seed gives the same bytes.",
    }


def _xor() -> dict[str, Any]:
    return {
        "title": "XOR: what one layer cannot learn",
        "endpoint": STEP,
        "request": {
            "network": {
                "layers": [
                    layer([[0.9, -0.8], [-0.7, 0.6]], [0.1, -0.1], "tanh", "hidden"),
                    layer([[0.7], [0.8]], [0.0], "sigmoid", "output"),
                ]
            },
            "inputs": [[0, 0], [0, 1], [1, 0], [1, 1]],
            "targets": [[0], [1], [1], [0]],
            "loss": "binary_cross_entropy",
            "optimizer": {"kind": "adam", "learning_rate": 0.1},
        },
        "notes": "Post the answer's `network` and `optimizer_state` back a hundred times: the outputs go to 0, 1, 1, "
        "0. "
        "Without the hidden layer they would stay near 0.5, since no line separates the two classes.",
    }


def _train_xor() -> dict[str, Any]:
    xor = _xor()["request"]
    return {
        "title": "XOR, learned in one request",
        "endpoint": TRAIN,
        "request": {**xor, "epochs": 200, "batch_size": None, "metrics": ["accuracy"], "target_loss": 0.01},
        "notes": "`history` has a row for each epoch; the run stops where the loss falls below target_loss. With "
        "`Accept: text/event-stream` the rows come as they are made.",
    }


def _evaluate_xor() -> dict[str, Any]:
    xor = _xor()["request"]
    return {
        "title": "XOR before it is learned: loss and metrics",
        "endpoint": EVALUATE,
        "request": {
            **{name: xor[name] for name in ("network", "inputs", "targets", "loss")},
            "metrics": ["accuracy", "roc_auc"],
        },
        "notes": "An untrained network is right about as often as a coin.",
    }


def _batch() -> dict[str, Any]:
    return {
        "title": "A batch: the gradient of a mean is the mean of the gradients",
        "endpoint": BACKWARD,
        "request": {
            "network": TEXTBOOK["network"],
            "inputs": [[0.1, 0.2, 0.7], [0.9, 0.1, 0.3], [0.4, 0.8, 0.2], [0.6, 0.5, 0.1]],
            "targets": [0, 2, 1, 1],
            "loss": "cross_entropy",
            "per_example": True,
        },
        "notes": "Targets are class labels here. `per_example_gradients` holds each example's own gradient; their mean "
        "over the batch is `gradients`, and the mean of `example_losses` is `loss`.",
    }


def _vanishing() -> dict[str, Any]:
    units = [4, 4, 4, 4, 4, 4, 4, 4, 1]
    layers: list[dict[str, Any]] = []
    inputs = 3
    for k, n in enumerate(units):
        weights = [[round(0.5 * ((7 * i + 3 * j + 5 * k) % 11 - 5) / 5, 2) for j in range(n)] for i in range(inputs)]
        layers.append(layer(weights, [0.0] * n, "sigmoid", f"sigmoid{k + 1}"))
        inputs = n
    return {
        "title": "Deep sigmoid layers: the gradient vanishes",
        "endpoint": BACKWARD,
        "request": {
            "network": {"layers": layers},
            "inputs": [[0.2, -0.4, 0.9], [-0.7, 0.3, 0.5]],
            "targets": [[1], [0]],
            "loss": "binary_cross_entropy",
            "include": ["loss", "gradients", "gradient_norm"],
        },
        "notes": "Compare `gradients.weights` from layer to layer: each sigmoid multiplies by a derivative of at most "
        "1/4, so the first layer's gradients are thousands of times smaller than the last one's.",
    }


def _symmetric() -> dict[str, Any]:
    return {
        "title": "All weights equal: the units stay copies of each other",
        "endpoint": STEP,
        "request": {
            "network": {
                "layers": [
                    layer([[0.5, 0.5, 0.5], [0.5, 0.5, 0.5]], [0.0, 0.0, 0.0], "tanh", "hidden"),
                    layer([[0.5], [0.5], [0.5]], [0.0], "identity", "output"),
                ]
            },
            "inputs": [[0.3, -0.8], [0.9, 0.4]],
            "targets": [[1.0], [-1.0]],
            "loss": "mse",
            "optimizer": {"kind": "sgd", "learning_rate": 0.1},
        },
        "notes": "All columns of the hidden layer's gradient are equal, so the three units receive the same update and "
        "remain one unit in three copies. Random initial weights break the symmetry: see POST /v1/initialize.",
    }


def _delta_rule() -> dict[str, Any]:
    return {
        "title": "The delta rule: backpropagation with one layer",
        "endpoint": STEP,
        "request": {
            "network": {"layers": [layer([[0.2], [-0.4], [0.1]], None, "identity", "output")]},
            "inputs": [[1.0, 0.5, -1.0]],
            "targets": [[1.0]],
            "loss": "half_squared_error",
            "optimizer": {"kind": "sgd", "learning_rate": 0.1},
        },
        "notes": "With one linear layer and half the squared error the update of a weight is "
        "learning_rate * (target - output) * input, the rule of Widrow and Hoff (1960).",
    }


def _mazur() -> dict[str, Any]:
    return {
        "title": "Matt Mazur's 2-2-2 network",
        "endpoint": STEP,
        "request": {
            "network": {
                "layers": [
                    layer([[0.15, 0.25], [0.2, 0.3]], [0.35, 0.35], "sigmoid", "hidden"),
                    layer([[0.4, 0.5], [0.45, 0.55]], [0.6, 0.6], "sigmoid", "output"),
                ]
            },
            "inputs": [[0.05, 0.1]],
            "targets": [[0.01, 0.99]],
            "loss": "half_squared_error",
            "optimizer": {"kind": "sgd", "learning_rate": 0.5},
        },
        "notes": "The network of 'A Step by Step Backpropagation Example' (2015), loss 0.298371109. The article leaves "
        "its biases as they are; here they are updated too, and each unit has its own. To follow the article to the "
        'digit, add "frozen": ["bias"] to both layers.',
    }


NETWORKS = {
    "textbook": _textbook,
    "textbook_forward": _textbook_forward,
    "random_network": _random_network,
    "xor": _xor,
    "train_xor": _train_xor,
    "evaluate_xor": _evaluate_xor,
    "batch": _batch,
    "vanishing_gradients": _vanishing,
    "symmetric_weights": _symmetric,
    "delta_rule": _delta_rule,
    "mazur": _mazur,
}
