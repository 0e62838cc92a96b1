"""Training on the digits data (64-64-10, adam, batches of 32) against scikit-learn and PyTorch.

Same architecture, batches and optimizer, one thread each. PyTorch is left out where it is not installed.
"""

import time
import warnings
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

from benchmarks.rounds import QUICK, alternate, milliseconds, spread, table
from engine.activations import Softmax
from engine.data import Data, order
from engine.initializers import GlorotUniform, generator
from engine.layers import Dense
from engine.measures import evaluate
from engine.network import Network
from engine.optimizers import Adam
from engine.piecewise_activations import Relu
from engine.probability_losses import CrossEntropy
from engine.step import init_state
from engine.training import Outcome, Plan, begin, train

EPOCHS, BATCH, ROUNDS = 30, 32, 2 if QUICK else 7


def ours(x: Any, labels: Any) -> float:
    """The accuracy on the training data, as of the others."""
    layers, inputs = [], 64
    for i, (units, activation) in enumerate([(64, Relu()), (10, Softmax())]):
        weights = GlorotUniform().sample((inputs, units), inputs, units, generator(0, i, 0))
        layers.append(Dense(weights, np.zeros(units), activation))
        inputs = units
    network = Network(tuple(layers))
    plan = Plan(CrossEntropy(), Adam(), EPOCHS, BATCH)
    data = Data(x, np.eye(10)[labels])
    *_, outcome = train(begin(network, init_state(plan.optimizer, network), plan), data, plan)
    assert isinstance(outcome, Outcome)
    return float((evaluate(outcome.checkpoint.network, data, plan.loss)[1].argmax(axis=1) == labels).mean())


def scikit_learn(x: Any, labels: Any) -> float:
    model = MLPClassifier((64,), batch_size=BATCH, max_iter=EPOCHS, alpha=0.0, tol=0.0, n_iter_no_change=EPOCHS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(x, labels)
    return float(model.score(x, labels))


def pytorch(x: Any, labels: Any) -> float:
    import torch

    torch.set_num_threads(1)
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10)).double()
    optimizer = torch.optim.Adam(model.parameters())
    loss = torch.nn.CrossEntropyLoss()
    inputs, targets = torch.tensor(x), torch.tensor(labels)
    for epoch in range(EPOCHS):
        for rows in torch.tensor(order(0, epoch, len(x))).split(BATCH):
            optimizer.zero_grad()
            loss(model(inputs[rows]), targets[rows]).backward()
            optimizer.step()
    return float((model(inputs).argmax(1) == targets).double().mean())


def timed(run: Callable[[Any, Any], float], x: Any, labels: Any) -> float:
    start = time.process_time()
    run(x, labels)
    return time.process_time() - start


def main() -> None:
    data = load_digits()
    x, labels = data.data / 16, data.target
    peers: dict[str, Callable[[Any, Any], float]] = {"Chainrule": ours, "scikit-learn": scikit_learn}
    if find_spec("torch"):
        peers["PyTorch"] = pytorch
    accuracies = {name: run(x, labels) for name, run in peers.items()}
    assert min(accuracies.values()) > 0.97, accuracies
    times = alternate({name: partial(timed, run, x, labels) for name, run in peers.items()}, ROUNDS)
    rows = [
        [name, milliseconds(times[name]), spread(times[name], times["Chainrule"]), f"{accuracies[name]:.3f}"]
        for name in peers
    ]
    print("## Training\n")
    print(
        f"Handwritten digits (1797 of 8 x 8), 64-64-10, adam, batches of {BATCH}, {EPOCHS} epochs, float64, one thread,"
    )
    print("without HTTP. Times are those of the processor, which other work on the machine disturbs least.\n")
    print(table(["", "ms", "times Chainrule's", "accuracy on the training data"], rows))
    if "PyTorch" not in peers:
        print("PyTorch is not installed here.\n")


if __name__ == "__main__":
    main()
