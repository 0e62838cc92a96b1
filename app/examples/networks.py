"""Networks that each show one thing about backpropagation."""

from typing import Any

from app.examples.form import BACKWARD, EVALUATE, INITIALIZE, STEP, TRAIN, deep, layer, to_differentiate
from app.examples.textbook import TEXTBOOK

XOR: dict[str, Any] = {
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
}

NETWORKS: dict[str, dict[str, Any]] = {
    "random_network": {
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
    },
    "autoencoder": {
        "title": "An autoencoder: 8 features through 3 units, in PyTorch's layout",
        "endpoint": INITIALIZE,
        "request": {
            "input_size": 8,
            "layers": [
                {"units": 3, "activation": "tanh", "weights_initializer": "orthogonal", "name": "code"},
                {"units": 8, "activation": "identity", "weights_initializer": "lecun_normal", "bias_initializer": None},
            ],
            "weights_layout": "units_by_inputs",
            "seed": 1,
        },
        "notes": "With units_by_inputs weights are [units, inputs], as torch.nn.Linear keeps them. A bias_initializer "
        "of null makes a layer without bias.",
    },
    "xor": {
        "title": "XOR: what one layer cannot learn",
        "endpoint": STEP,
        "request": XOR,
        "notes": "Post the answer's `network` and `optimizer_state` back a hundred times: the outputs go to 0, 1, 1, "
        "0. Without the hidden layer they would stay near 0.5, since no line separates the two classes.",
    },
    "train_xor": {
        "title": "XOR, learned in one request",
        "endpoint": TRAIN,
        "request": {**XOR, "epochs": 200, "batch_size": None, "metrics": ["accuracy"], "target_loss": 0.01},
        "notes": "`history` has a row for each epoch; the run stops where the loss falls below target_loss. With "
        "`Accept: text/event-stream` the rows come as they are made.",
    },
    "train_line": {
        "title": "A line through points: regression that stops in time",
        "endpoint": TRAIN,
        "request": {
            "network": {"layers": [layer([[0.0]], [0.0], "identity", "line")]},
            "inputs": [[-2], [-1.5], [-1], [-0.5], [0], [0.5], [1], [1.5], [2], [2.5]],
            "targets": [[-3.1], [-1.9], [-1.05], [0.1], [0.95], [1.9], [3.1], [3.9], [5.05], [6.1]],
            "loss": "mse",
            "optimizer": {"kind": "sgd", "learning_rate": 0.05},
            "epochs": 200,
            "batch_size": 4,
            "learning_rate_schedule": {"kind": "cosine", "t_max": 200},
            "validation": {"fraction": 0.2},
            "early_stopping": {"patience": 20, "restore_best": True},
            "metrics": ["r2"],
            "seed": 3,
        },
        "notes": "The points lie near y = 2x + 1: weight and bias end near 2 and 1. Two points are for validation; "
        "when their loss has not improved for 20 epochs, the run ends with the best network.",
    },
    "evaluate_xor": {
        "title": "XOR before it is learned: loss and metrics",
        "endpoint": EVALUATE,
        "request": {**to_differentiate(XOR), "metrics": ["accuracy", "roc_auc"]},
        "notes": "An untrained network is right about as often as a coin.",
    },
    "evaluate_classes": {
        "title": "Three classes: what is taken for what",
        "endpoint": EVALUATE,
        "request": {
            "network": {"layers": [layer([[2.0, 0.0, -2.0], [0.0, 1.0, 0.0]], [0.0, 0.0, 0.0], "softmax", "output")]},
            "inputs": [[1.0, 0.2], [0.8, -0.5], [-0.1, 0.9], [0.9, 1.2], [-1.2, 0.1], [-0.4, 0.3]],
            "targets": [0, 0, 1, 1, 2, 2],
            "loss": "cross_entropy",
            "metrics": ["accuracy", "confusion_matrix", {"kind": "f1", "average": "macro"}],
        },
        "notes": "Row i of the confusion matrix counts what examples of class i were taken for: the fourth example, "
        "of class 1, is taken for class 0.",
    },
    "batch": {
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
    },
    "vanishing_gradients": {
        "title": "Deep sigmoid layers: the gradient vanishes",
        "endpoint": BACKWARD,
        "request": {
            "network": {"layers": deep([3, 4, 4, 4, 4, 4, 4, 4, 4, 1], 0.5, "sigmoid", "sigmoid")},
            "inputs": [[0.2, -0.4, 0.9], [-0.7, 0.3, 0.5]],
            "targets": [[1], [0]],
            "loss": "binary_cross_entropy",
            "include": ["loss", "gradients", "gradient_norm"],
        },
        "notes": "Compare `gradients.weights` from layer to layer: each sigmoid multiplies by a derivative of at most "
        "1/4, so the first layer's gradients are thousands of times smaller than the last one's.",
    },
    "symmetric_weights": {
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
    },
    "delta_rule": {
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
    },
    "mazur": {
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
    },
}
