"""UM-Bridge's Python server: `python -m benchmarks.peers.umbridge_server PORT`.

The model is the loss of all parameters as one vector; the data and the architecture lie in the config. `Gradient`
answers the gradient of the loss by that vector and nothing else: no outputs, no activations, no loss, no update.
"""

import sys
from itertools import pairwise

import numpy as np
import umbridge

from benchmarks.peers.gradients import gradients, loss


class Loss(umbridge.Model):
    def __init__(self):
        super().__init__("loss")

    def get_input_sizes(self, config):
        sizes = config["sizes"]
        return [sum((inputs + 1) * units for inputs, units in pairwise(sizes))]

    def get_output_sizes(self, config):
        return [1]

    def __call__(self, parameters, config):
        return [[loss(*unpacked(parameters[0], config))]]

    def gradient(self, out_wrt, in_wrt, parameters, sens, config):
        by_weights, by_biases = gradients(*unpacked(parameters[0], config))
        parts = [part.ravel() for pair in zip(by_weights, by_biases, strict=True) for part in pair]
        return (sens[0] * np.concatenate(parts)).tolist()

    def supports_evaluate(self):
        return True

    def supports_gradient(self):
        return True


def unpacked(parameters, config):
    """Weights, biases, activations, inputs and targets."""
    vector, sizes, weights, biases, start = np.array(parameters), config["sizes"], [], [], 0
    for inputs, units in pairwise(sizes):
        middle, end = start + inputs * units, start + (inputs + 1) * units
        weights.append(vector[start:middle].reshape(inputs, units))
        biases.append(vector[middle:end])
        start = end
    return weights, biases, config["activations"], np.array(config["inputs"]), np.array(config["targets"])


if __name__ == "__main__":
    umbridge.serve_models([Loss()], int(sys.argv[1]))
