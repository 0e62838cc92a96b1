"""Training on the digits data (64-64-10, adam, batches of 32, 30 epochs) against scikit-learn and PyTorch.

Same architecture, batches and optimizer, one thread each, in one process; the runs alternate, and each round gives one
ratio. PyTorch is left out where it is not installed.
"""

import time
import warnings
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

from engine.activations import Softmax
from engine.data import Data, order
from engine.initializers import GlorotUniform, generator
from engine.layers import Dense
from engine.network import Network
from engine.optimizers import Adam
from engine.piecewise_activations import Relu
from engine.probability_losses import CrossEntropy
from engine.step import init_state
from engine.training import Outcome, Plan, begin, evaluate, train

EPOCHS, BATCH, ROUNDS = 30, 32, 5


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


def main() -> None:
    print(f"## Training on digits: 64-64-10, adam, batches of {BATCH}, {EPOCHS} epochs, float64, one thread")
    data = load_digits()
    x, labels = data.data / 16, data.target
    peers: dict[str, Callable[[Any, Any], float]] = {
        "chainrule": ours,
        "scikit-learn": scikit_learn,
        "PyTorch": pytorch,
    }
    try:
        import torch  # noqa: F401
    except ImportError:
        del peers["PyTorch"]
        print("(PyTorch is not installed)")
    times: dict[str, list[float]] = {name: [] for name in peers}
    for name, run in peers.items():
        accuracy = run(x, labels)
        assert accuracy > 0.97, (name, accuracy)
    for _ in range(ROUNDS):
        for name, run in peers.items():
            start = time.perf_counter()
            run(x, labels)
            times[name].append(time.perf_counter() - start)
    for name, seconds in times.items():
        ratios = [theirs / own for theirs, own in zip(seconds, times["chainrule"], strict=True)]
        spread = f"{median(ratios):.2f} times chainrule's time (from {min(ratios):.2f} to {max(ratios):.2f})"
        print(f"{name:14} {median(seconds):6.3f} s median   {spread if name != 'chainrule' else ''}")
    print()
