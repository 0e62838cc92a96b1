"""Plain: what most people would write. FastAPI, models of lists of floats, NumPy, dictionaries returned."""

import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()


class Layer(BaseModel):
    weights: list[list[float]]
    bias: list[float]
    activation: str


class Network(BaseModel):
    layers: list[Layer]


class Optimizer(BaseModel):
    kind: str
    learning_rate: float


class StepRequest(BaseModel):
    network: Network
    inputs: list[list[float]]
    targets: list[list[float]]
    optimizer: Optimizer


def forward(activation, z):
    if activation == "relu":
        return np.maximum(z, 0)
    if activation == "sigmoid":
        return 1 / (1 + np.exp(-z))
    exponentials = np.exp(z - z.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def backward(activation, gradient, z, a):
    if activation == "relu":
        return gradient * (z > 0)
    return gradient * a * (1 - a)


@app.post("/step")
def step(request: StepRequest):
    """Softmax and cross-entropy at the end; relu or sigmoid before."""
    x, targets = np.array(request.inputs), np.array(request.targets)
    weights = [np.array(layer.weights) for layer in request.network.layers]
    biases = [np.array(layer.bias) for layer in request.network.layers]
    activations, preactivations = [x], []
    for layer, w, b in zip(request.network.layers, weights, biases, strict=True):
        preactivations.append(activations[-1] @ w + b)
        activations.append(forward(layer.activation, preactivations[-1]))
    outputs = activations[-1]
    example_losses = -(targets * np.log(outputs)).sum(axis=1)

    layers, new_layers = [], []
    by_preactivations = (outputs - targets) / len(x)
    by_activations = -targets / outputs / len(x)
    for i in reversed(range(len(weights))):
        by_weights, by_bias = activations[i].T @ by_preactivations, by_preactivations.sum(axis=0)
        layers.append(
            {
                "preactivations": preactivations[i].tolist(),
                "activations": activations[i + 1].tolist(),
                "gradients": {
                    "weights": by_weights.tolist(),
                    "bias": by_bias.tolist(),
                    "preactivations": by_preactivations.tolist(),
                    "activations": by_activations.tolist(),
                },
            }
        )
        new_layers.append(
            {
                "weights": (weights[i] - request.optimizer.learning_rate * by_weights).tolist(),
                "bias": (biases[i] - request.optimizer.learning_rate * by_bias).tolist(),
                "activation": request.network.layers[i].activation,
            }
        )
        by_activations = by_preactivations @ weights[i].T
        if i > 0:
            by_preactivations = backward(
                request.network.layers[i - 1].activation, by_activations, preactivations[i - 1], activations[i]
            )
    return {
        "outputs": outputs.tolist(),
        "loss": example_losses.mean(),
        "example_losses": example_losses.tolist(),
        "layers": layers[::-1],
        "input_gradients": by_activations.tolist(),
        "network": {"layers": new_layers[::-1]},
    }
