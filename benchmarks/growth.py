"""How cost grows: time against batch, width, depth and epochs; backward against forward; all gradients at once against
one at a time; memory against what a run must hold."""

import math
import time
import tracemalloc
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from typing import Any

import numpy as np

from benchmarks.engine import Case, examples, network
from benchmarks.plots import lines
from benchmarks.rounds import QUICK, alternate, short, spread, table
from engine.activations import Softmax, Tanh
from engine.blocks import BLOCK
from engine.layers import Dense
from engine.network import Network, backward, forward
from engine.objective import LossObjective
from engine.optimizers import Adam, Optimizer, Sgd
from engine.probability_losses import CrossEntropy
from engine.rules import Array
from engine.step import all_parameters, differentiate, evaluate, init_state
from engine.training import Plan, begin, train

REPEATS = 3 if QUICK else 7
Points = list[tuple[float, float]]
MEGA = 1e6


def fastest(run: Callable[[], object]) -> float:
    """Seconds of the processor of the fastest of some runs, each repeated until it takes a while."""
    began = time.process_time()
    run()
    count = max(1, math.ceil(0.01 / max(time.process_time() - began, 1e-6)))
    times = []
    for _ in range(REPEATS):
        began = time.process_time()
        for _ in range(count):
            run()
        times.append((time.process_time() - began) / count)
    return min(times)


def exponent(points: Points) -> float:
    """The slope of the straight line through the upper half of the points, both axes logarithmic."""
    x, y = np.log(points[len(points) // 2 :]).T
    return float(np.polyfit(x, y, 1)[0])


def run_of(sizes: tuple[int, ...], batch: int, epochs: int, steps: int, optimizer: Optimizer) -> Callable[[], object]:
    """A whole training run in float64."""
    start = network(sizes, "float64")
    data, _ = examples(Case(sizes, batch, steps, 1), "float64")
    checkpoint = begin(start, init_state(optimizer, start), plan := Plan(CrossEntropy(), optimizer, epochs, batch))
    return lambda: [None for _ in train(checkpoint, data, plan)]


def grown(sizes: Callable[[int], tuple[int, ...]], batch: Callable[[int], int], values: Sequence[int]) -> Points:
    """Milliseconds for a step of training at each value."""
    steps = 4
    return [(value, 1e3 * fastest(run_of(sizes(value), batch(value), 1, steps, Sgd())) / steps) for value in values]


def growth() -> None:
    few = 4 if QUICK else 7
    series: dict[str, Points] = {
        "batch (64-128-128-10)": grown(lambda n: (64, 128, 128, 10), lambda n: n, powers(3, few + 3)),
        "width (64-n-n-10, batch 64)": grown(lambda n: (64, n, n, 10), lambda n: 64, powers(5, few)),
        "depth (n layers of 64, batch 64)": grown(lambda n: (64,) * n + (10,), lambda n: 64, powers(0, few)),
        "epochs (64-64-10, 1024 examples)": [
            (n, 1e3 * fastest(run_of((64, 64, 10), 64, n, 16, Sgd()))) for n in powers(0, few)
        ],
    }
    rows = [
        [name, f"{exponent(points):.2f}", theory, f"{short(points[0][1])} to {short(points[-1][1])}"]
        for (name, points), theory in zip(series.items(), "1211", strict=True)
    ]
    print(
        """\
### Growth

Time of a step of training (against epochs: of the run) in float64 with plain gradient descent. The exponents are those
of the upper half of the sizes; below them calls cost more than numbers, and time hardly grows.
"""
    )
    print(table(["time against", "exponent", "in theory", "ms"], rows))
    print(lines("growth", "Time of training against size", "n", series) + "\n")


def powers(least: int, count: int) -> list[int]:
    return [2**k for k in range(least, least + count)]


def passes() -> None:
    """The backward pass in units of forward passes."""
    rows = []
    for sizes, batch in (((784, 512, 512, 10), 256), ((784, 1024, 1024, 1024, 10), 256 if QUICK else 1024)):
        for dtype in ("float32", "float64"):
            net = network(sizes, dtype)
            data, _ = examples(Case(sizes, batch, 1, 1), dtype)
            trace = forward(net, data.inputs)
            gradient = trace[-1].activations - data.targets
            runs: dict[str, Callable[[], float]] = {
                "forward": partial(fastest, partial(forward, net, data.inputs)),
                "backward": partial(fastest, partial(backward, net, trace, gradient, gradient)),
            }
            times = alternate(runs, REPEATS)
            name = f"{'-'.join(map(str, sizes))}, batch {batch}, {dtype}"
            rows.append(
                [name, *(short(1e3 * median(times[n])) for n in runs), spread(times["backward"], times["forward"])]
            )
    print(
        """\
### Backward against forward

All gradients, those by the inputs too, cost about two forward passes, since each product of the forward pass becomes
two (aim: at most 2.5).
"""
    )
    print(table(["", "forward, ms", "backward, ms", "backward / forward"], rows))


def one_at_a_time(net: Network, inputs: Array, objective: LossObjective) -> list[Array]:
    """Every derivative by its own pair of forward passes: central differences."""
    gradients = []
    for i, layer in enumerate(net.layers):
        for name, parameter in layer.parameters.items():
            gradient = np.empty_like(parameter)
            for index in np.ndindex(*parameter.shape):
                losses = []
                for change in (1e-6, -1e-6):
                    moved = parameter.copy()
                    moved[index] += change
                    parameters = net.parameters
                    parameters[i][name] = moved
                    losses.append(evaluate(net.with_parameters(parameters), inputs, objective)[1].loss)
                gradient[index] = (losses[0] - losses[1]) / 2e-6
            gradients.append(gradient)
    return gradients


def gradients() -> None:
    """All derivatives by one backward pass against one after the other."""
    random = np.random.default_rng(3)
    once: Points = []
    each: Points = []
    for width in powers(0, 4 if QUICK else 7):
        layers = [
            Dense(random.normal(size=(inputs, units)) / math.sqrt(inputs), random.normal(size=units), rule)
            for inputs, units, rule in ((8, width, Tanh()), (width, width, Tanh()), (width, 2, Softmax()))
        ]
        net, inputs = Network(tuple(layers)), random.normal(size=(4, 8))
        objective = LossObjective(CrossEntropy(), np.array([0, 1, 1, 0]))
        result = differentiate(net, inputs, objective)
        began = time.process_time()
        approximate = one_at_a_time(net, inputs, objective)
        seconds = time.process_time() - began
        for exact, differences in zip(all_parameters(result.gradients), approximate, strict=True):
            assert np.allclose(exact, differences, rtol=1e-5, atol=1e-8), width
        count = sum(gradient.size for gradient in approximate)
        once.append((count, 1e3 * fastest(partial(differentiate, net, inputs, objective))))
        each.append((count, 1e3 * seconds))
    print(
        """\
### All gradients at once

The reason for the method's existence: backpropagation gives all derivatives for the price of about two forward passes,
whereas one at a time each costs two of its own. Both give the same numbers here (to 1e-5).
"""
    )
    rows = [
        [f"{count:.0f}", short(fast), short(slow), short(slow / fast)]
        for (count, fast), (_, slow) in zip(once, each, strict=True)
    ]
    print(table(["parameters", "backpropagation, ms", "one at a time, ms", "times as long"], rows))
    series = {"central differences, one at a time": each, "backpropagation": once}
    print(lines("gradients", "All gradients of a network", "parameters", series) + "\n")


def memory() -> None:
    """Peak of a run against what it must hold."""
    rows = [
        peak_row((784, 512, 512, 10), batch, epochs, optimizer, name)
        for name, optimizer in (("sgd", Sgd()), ("sgd with momentum", Sgd(momentum=0.9)), ("adam", Adam()))
        for batch in (64, 1024)
        for epochs in (1, 3)
    ]
    print(
        f"""\
### Memory

What NumPy and Python allocate at most during a run of 784-512-512-10 in float64, beside the network and the data that
it is given. Activations are the inputs of the batch, z and a of every layer, and the gradients by the activations of
one layer at a time. From the second epoch on the optimizer's state is there twice, as the parameters are: what the last
whole epoch ended with is kept, so that a run that diverges or meets its deadline loses nothing. The aim, one state,
cannot be had with that. A rule's own intermediate results are at most about {short(12 * BLOCK / MEGA)} MB, since
large arrays are worked on in blocks.
"""
    )
    head = ["", "activations", "3 x parameters", "state", "sum, MB", "peak, MB", "peak / sum"]
    print(table(head, rows))


def peak_row(sizes: tuple[int, ...], batch: int, epochs: int, optimizer: Optimizer, name: str) -> list[str]:
    net = network(sizes, "float64")
    activations = 8 * batch * (sizes[0] + 2 * sum(sizes[1:]) + max(sizes[1:]))
    parameters, state = 3 * bytes_of(net.parameters), bytes_of(init_state(optimizer, net))
    run = run_of(sizes, batch, epochs, 2, optimizer)
    tracemalloc.start()
    run()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    whole = activations + parameters + state
    parts = [f"{part / MEGA:.1f}" for part in (activations, parameters, state, whole, peak)]
    return [f"{name}, batch {batch}, {epochs} epoch{'s' if epochs > 1 else ''}", *parts, f"{peak / whole:.2f}"]


def bytes_of(value: Any) -> int:
    if isinstance(value, dict | list):
        return sum(bytes_of(item) for item in (value.values() if isinstance(value, dict) else value))
    return value.nbytes if isinstance(value, np.ndarray) else 0


def main() -> None:
    print("## Growth and memory\n")
    growth()
    passes()
    gradients()
    memory()


if __name__ == "__main__":
    main()
