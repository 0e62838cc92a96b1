"""The textbook network at every path: three inputs; relu, sigmoid and softmax layers of three units; cross-entropy."""

import base64
import struct
from typing import Any

from app.examples.form import BACKWARD, EVALUATE, FORWARD, INITIALIZE, STEP, TRAIN, layer, to_differentiate

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
EXAMPLE = to_differentiate(TEXTBOOK)
INPUTS = struct.pack("<3d", *TEXTBOOK["inputs"][0])

TEXTBOOKS: dict[str, dict[str, Any]] = {
    "textbook": {
        "title": "The textbook network: one step, every number",
        "endpoint": STEP,
        "request": TEXTBOOK,
        "notes": "Three inputs; relu, sigmoid and softmax layers of three units; cross-entropy; one step of gradient "
        "descent. The loss is 1.6172337500003393. Follow the chain rule from `gradients.preactivations` of the output "
        "layer (the outputs minus the target) backwards.",
    },
    "textbook_initialize": {
        "title": "The textbook's architecture with weights of its own",
        "endpoint": INITIALIZE,
        "request": {
            "input_size": 3,
            "layers": [
                {"units": 3, "activation": "relu", "weights_initializer": "he_normal", "name": "hidden1"},
                {"units": 3, "activation": "sigmoid", "weights_initializer": "glorot_uniform", "name": "hidden2"},
                {"units": 3, "activation": "softmax", "weights_initializer": "glorot_uniform", "name": "output"},
            ],
            "seed": 7,
        },
        "notes": "Three inputs; relu, sigmoid and softmax layers of three units. Change the seed to draw others; the "
        "same seed gives the same bytes, today and tomorrow.",
    },
    "textbook_forward": {
        "title": "The textbook network: the forward pass alone",
        "endpoint": FORWARD,
        "request": {name: TEXTBOOK[name] for name in ("network", "inputs")},
        "notes": "Preactivations are inputs @ weights + bias; a layer's activations are what the next one takes.",
    },
    "textbook_loss": {
        "title": "The same with a target: the loss too",
        "endpoint": FORWARD,
        "request": EXAMPLE,
        "notes": "Cross-entropy is minus the logarithm of the probability of the right class: `loss` is "
        "-log(outputs[0][0]).",
    },
    "textbook_base64": {
        "title": "The same in base64: arrays as bytes, in and out",
        "endpoint": FORWARD,
        "request": {
            "network": TEXTBOOK["network"],
            "inputs": {"dtype": "float64", "shape": [1, 3], "base64": base64.b64encode(INPUTS).decode()},
            "encoding": "base64",
        },
        "notes": "Any array may stand as little-endian bytes in base64, quicker to read and write than decimal "
        "digits. `encoding` asks for the answer in that form.",
    },
    "textbook_backward": {
        "title": "The textbook network: all gradients",
        "endpoint": BACKWARD,
        "request": EXAMPLE,
        "notes": "Start at the output layer: its `gradients.preactivations` are the outputs minus the target. Each "
        "step back multiplies by the weights, transposed, and by the derivative of the activation.",
    },
    "textbook_jacobian": {
        "title": "One row of the Jacobian: output_gradients in place of a loss",
        "endpoint": BACKWARD,
        "request": {
            "network": TEXTBOOK["network"],
            "inputs": TEXTBOOK["inputs"],
            "output_gradients": [[0.0, 0.0, 1.0]],
            "include": ["outputs", "input_gradients"],
        },
        "notes": "Backpropagation multiplies a vector by the Jacobian. With [0, 0, 1] as the vector, `input_gradients` "
        "is the derivative of the third output by each input.",
    },
    "textbook_train": {
        "title": "The textbook network: ten steps in one request",
        "endpoint": TRAIN,
        "request": {**TEXTBOOK, "epochs": 10, "batch_size": None},
        "notes": "The first row of `history` is the loss of the single step, 1.6172337500003393; each epoch lowers it. "
        "Post back `network`, `optimizer_state` and `completed_epochs` for ten more.",
    },
    "textbook_evaluate": {
        "title": "The textbook network: is its class right?",
        "endpoint": EVALUATE,
        "request": {**EXAMPLE, "metrics": ["accuracy"]},
        "notes": "The largest output is the third, so the class predicted is 2, and the right one is 0.",
    },
}
