"""A step of training in the engine, without HTTP: against PyTorch, and against NumPy's own matrix multiplication.

Ours is what a training run does for a batch, its own set-up included, and beside it the pure function `step`, which
answers every number and changes nothing. PyTorch's loop is the one of its tutorials. One thread each.
"""

import math
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from itertools import pairwise
from statistics import geometric_mean, median
from typing import Any, NamedTuple

import numpy as np

from benchmarks.rounds import QUICK, alternate, ratio, short, spread, table
from engine.activations import Softmax
from engine.data import Data
from engine.layers import Dense
from engine.network import Network
from engine.objective import LossObjective
from engine.optimizers import Sgd
from engine.piecewise_activations import Relu
from engine.probability_losses import CrossEntropy
from engine.rules import Array
from engine.step import init_state, step
from engine.training import Outcome, Plan, begin, train

OURS, PURE, PYTORCH, PRODUCTS = "training", "pure step", "PyTorch", "the products alone"
TOLERANCE = {"float64": 1e-9, "float32": 1e-3}
"""How far the parameters may be apart after the first steps, of the largest change of all."""


class Case(NamedTuple):
    """A network, the rows of a batch, and how many steps and rounds make a figure."""

    sizes: tuple[int, ...]
    batch: int
    steps: int
    rounds: int

    @property
    def name(self) -> str:
        return f"{'-'.join(map(str, self.sizes))}, batch {self.batch}"


CASES = (
    Case((3, 3, 3, 3), 1, 1000, 15),
    Case((784, 128, 10), 32, 150, 15),
    Case((784, 512, 512, 10), 64, 40, 9),
    Case((784, 512, 512, 10), 256, 16, 7),
    Case((784, 1024, 1024, 1024, 10), 1024, 8, 5),
)
OPTIMIZER = Sgd(learning_rate=0.01)


def network(sizes: tuple[int, ...], dtype: str) -> Network:
    """relu and at last softmax, the weights drawn as He et al. do."""
    random = np.random.default_rng(0)
    layers = []
    for i, (inputs, units) in enumerate(pairwise(sizes)):
        weights = (random.normal(size=(inputs, units)) * math.sqrt(2 / inputs)).astype(dtype)
        layers.append(Dense(weights, np.zeros(units, dtype), Softmax() if i == len(sizes) - 2 else Relu()))
    return Network(tuple(layers))


def examples(case: Case, dtype: str) -> tuple[Data, Array]:
    """As many examples as the steps take, with one-hot targets; and their labels."""
    random = np.random.default_rng(1)
    count = case.batch * case.steps
    labels = random.integers(0, case.sizes[-1], count)
    inputs = random.normal(size=(count, case.sizes[0])).astype(dtype)
    return Data(inputs, np.eye(case.sizes[-1], dtype=dtype)[labels]), labels


def trained(start: Network, data: Data, batch: int) -> Network:
    plan = Plan(CrossEntropy(), OPTIMIZER, 1, batch, shuffle=False)
    *_, outcome = train(begin(start, init_state(OPTIMIZER, start), plan), data, plan)
    assert isinstance(outcome, Outcome)
    assert outcome.reason == "epochs"
    return outcome.checkpoint.network


def stepped(start: Network, data: Data, batch: int) -> Network:
    result, state = start, init_state(OPTIMIZER, start)
    for k in range(0, len(data), batch):
        part = data.take(slice(k, k + batch))
        made = step(result, part.inputs, LossObjective(CrossEntropy(), part.targets), OPTIMIZER, state)
        result, state = made.network, made.state
    return result


class PyTorch:
    """The same network and data as PyTorch's."""

    def __init__(self, start: Network, data: Data, labels: Array, batch: int) -> None:
        import torch

        torch.set_num_threads(1)
        self.torch = torch
        modules: list[Any] = []
        for layer in start.layers:
            inputs, units = layer.weights.shape
            linear = torch.nn.Linear(inputs, units, dtype=getattr(torch, layer.weights.dtype.name))
            with torch.no_grad():
                linear.weight.copy_(torch.tensor(layer.weights.T.copy()))
                linear.bias.copy_(torch.tensor(layer.bias))
            modules += [linear, torch.nn.ReLU()]
        self.model = torch.nn.Sequential(*modules[:-1])
        self.inputs, self.labels, self.batch = torch.tensor(data.inputs), torch.tensor(labels), batch
        self.optimizer = torch.optim.SGD(self.model.parameters(), OPTIMIZER.learning_rate)
        self.loss = torch.nn.CrossEntropyLoss()

    def run(self) -> None:
        for k in range(0, len(self.inputs), self.batch):
            rows = slice(k, k + self.batch)
            self.optimizer.zero_grad()
            self.loss(self.model(self.inputs[rows]), self.labels[rows]).backward()
            self.optimizer.step()

    def parameters(self) -> list[Array]:
        return [p.detach().numpy().T for p in self.model.parameters()]


def products(start: Network, case: Case) -> Callable[[], None]:
    """The matrix products of the steps, by NumPy's matmul into memory that is there already."""
    dtype = start.layers[0].weights.dtype
    rows = [np.ones((case.batch, size), dtype) for size in case.sizes]
    sums = [np.empty((case.batch, size), dtype) for size in case.sizes]
    weights = [layer.weights for layer in start.layers]
    gradients = [np.empty_like(w) for w in weights]

    def run() -> None:
        for _ in range(case.steps):
            for i, w in enumerate(weights):
                np.matmul(rows[i], w, out=sums[i + 1])
            for i in range(len(weights) - 1, -1, -1):
                np.matmul(rows[i].T, rows[i + 1], out=gradients[i])
                if i:
                    np.matmul(rows[i + 1], weights[i].T, out=sums[i])

    return run


def require_agreement(case: Case, dtype: str) -> None:
    """Raises unless training and pure steps make the same bits, and PyTorch the same numbers."""
    few = case._replace(steps=3)
    start = network(case.sizes, dtype)
    data, labels = examples(few, dtype)
    runs = [flat(net) for net in (start, trained(start, data, case.batch), stepped(start, data, case.batch))]
    assert all(np.array_equal(one, other) for one, other in zip(runs[1], runs[2], strict=True))
    if find_spec("torch"):
        peer = PyTorch(start, data, labels, case.batch)
        peer.run()
        largest = max(float(np.abs(after - before).max()) for before, after in zip(runs[0], runs[1], strict=True))
        for one, other in zip(runs[1], peer.parameters(), strict=True):
            assert np.abs(one - other).max() <= TOLERANCE[dtype] * largest, (case.name, dtype)


def flat(net: Network) -> list[Array]:
    return [parameter for layer in net.parameters for parameter in layer.values()]


def timed(run: Callable[[], object], steps: int) -> float:
    began = time.process_time()
    run()
    return (time.process_time() - began) / steps


def measure(case: Case, dtype: str) -> dict[str, list[float]]:
    """Seconds of the processor for a step, each run and round."""
    start = network(case.sizes, dtype)
    data, labels = examples(case, dtype)
    runs: dict[str, Callable[[], object]] = {
        OURS: lambda: trained(start, data, case.batch),
        PURE: lambda: stepped(start, data, case.batch),
        PRODUCTS: products(start, case),
    }
    if find_spec("torch"):
        runs[PYTORCH] = PyTorch(start, data, labels, case.batch).run
    for run in runs.values():
        run()
    return alternate({name: partial(timed, run, case.steps) for name, run in runs.items()}, case.rounds)


def main() -> None:
    print(
        """\
## The engine

A step of training without HTTP: relu, softmax with cross-entropy, plain gradient descent, one thread. Times are
microseconds of the processor, which other work on the machine disturbs least; ratios are those of alternated runs, and
above 1 ours is the faster one. Before, training and pure steps made the same bits, and PyTorch the same parameters (to
1e-9 of the largest change in float64, to 1e-3 in float32).
"""
    )
    against: dict[str, list[float]] = {"float32": [], "float64": []}
    rows, shares = [], []
    for dtype, ratios in against.items():
        for case in CASES:
            chosen = case._replace(rounds=2, steps=max(2, case.steps // 6)) if QUICK else case
            require_agreement(chosen, dtype)
            times = measure(chosen, dtype)
            compared = ["", ""]
            if PYTORCH in times:
                ratios.append(ratio(times[PYTORCH], times[OURS]))
                compared = [spread(times[PYTORCH], times[name]) for name in (OURS, PURE)]
            share = ratio(times[PRODUCTS], times[OURS])
            if case == CASES[-1]:
                shares.append(share)
            micros = [short(1e6 * median(times[n])) if n in times else "" for n in (OURS, PURE, PYTORCH)]
            rows.append([f"{case.name}, {dtype}", *micros, *compared, f"{share:.2f}"])
    head = ["", "training", "pure step", "PyTorch", "PyTorch / training", "PyTorch / pure step", "products / training"]
    print(table(head, rows))
    for dtype, ratios in against.items():
        if ratios:
            print(
                f"- {dtype}: {geometric_mean(ratios):.2f} times as fast as PyTorch in the geometric mean (aim: 1.5), "
                f"{ratios[0]:.2f} times at the smallest (aim: 4), never below {min(ratios):.2f} (aim: 1)."
            )
    if not against["float32"]:
        print("- PyTorch is not installed here.")
    largest = " and ".join(f"{share:.0%}" for share in shares)
    print(f"- The largest runs at {largest} of the rate of NumPy's matmul on the same shapes (aim: 90 %).\n")


if __name__ == "__main__":
    main()
