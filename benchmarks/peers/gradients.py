"""The loss and its gradients by hand in NumPy, for peers that leave the mathematics to their user."""

import numpy as np


def loss(weights, biases, activations, inputs, targets):
    """Mean cross-entropy of a network whose last layer is softmax and whose others are relu or sigmoid."""
    outputs = forward(weights, biases, activations, inputs)[-1]
    return -(targets * np.log(outputs)).sum() / len(inputs)


def gradients(weights, biases, activations, inputs, targets):
    """The gradients by each layer's weights and by each layer's bias."""
    trace = forward(weights, biases, activations, inputs)
    by_weights, by_biases = [], []
    by_preactivations = (trace[-1] - targets) / len(inputs)
    for i in reversed(range(len(weights))):
        by_weights.insert(0, trace[i].T @ by_preactivations)
        by_biases.insert(0, by_preactivations.sum(axis=0))
        if i > 0:
            a = trace[i]
            derivative = (a > 0) if activations[i - 1] == "relu" else a * (1 - a)
            by_preactivations = by_preactivations @ weights[i].T * derivative
    return by_weights, by_biases


def forward(weights, biases, activations, inputs):
    """The inputs and each layer's activations."""
    trace = [inputs]
    for w, b, activation in zip(weights, biases, activations, strict=True):
        z = trace[-1] @ w + b
        if activation == "relu":
            trace.append(np.maximum(z, 0))
        elif activation == "sigmoid":
            trace.append(1 / (1 + np.exp(-z)))
        else:
            exponentials = np.exp(z - z.max(axis=1, keepdims=True))
            trace.append(exponentials / exponentials.sum(axis=1, keepdims=True))
    return trace
