"""Split one large batch over several replicas: the gradients of the shards add up to the gradient of the whole.

    .venv/bin/python examples/shard_batch.py
    .venv/bin/python examples/shard_batch.py http://replica1:8000 http://replica2:8000

Without addresses it starts three replicas on this machine. A mean over N examples is the sum of the shards' means, each
times its share n/N; the gradient is linear, so the same holds for it. The shards are of unequal size here, as a batch
that does not divide evenly leaves them.
"""

import json
import random
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from os import environ
from typing import Any
from urllib.request import Request, urlopen

EXAMPLES, FEATURES, CLASSES = 1000, 8, 4
REPLICAS = 3
LEARNING_RATE = 0.5


@contextmanager
def replica() -> Iterator[str]:
    """The address of a server on a free port, for the time of a `with`."""
    command = [sys.executable, "-m", "app"]
    process = subprocess.Popen(command, env={**environ, "PORT": "0"}, stderr=subprocess.PIPE, text=True)
    try:
        for line in process.stderr or ():
            if found := re.search(r"running on (http://\S+)", line):
                yield found[1]
                break
        else:
            raise SystemExit("A replica did not start. Is Chainrule installed here? (make setup)")
    finally:
        process.terminate()
        process.communicate()


def post(url: str, body: dict[str, Any]) -> Any:
    with urlopen(Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"}), timeout=60) as answer:
        return json.load(answer)


def weighted_sum(parts: Sequence[Any], shares: Sequence[float]) -> Any:
    """The sum of share * part, for numbers in lists and objects of the same form."""
    first = parts[0]
    if isinstance(first, dict):
        return {name: weighted_sum([part[name] for part in parts], shares) for name in first}
    if isinstance(first, list):
        return [weighted_sum(rows, shares) for rows in zip(*parts, strict=True)]
    return sum(share * part for share, part in zip(shares, parts, strict=True))


def numbers(tree: Any) -> Iterator[float]:
    if isinstance(tree, dict | list):
        for part in tree.values() if isinstance(tree, dict) else tree:
            yield from numbers(part)
    else:
        yield tree


def gradients(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """The gradients by weights and biases; those by activations belong to single examples."""
    return [{name: layer["gradients"][name] for name in ("weights", "bias")} for layer in answer["layers"]]


def backward(url: str, network: Any, inputs: list[list[float]], labels: list[int]) -> Any:
    body = {"network": network, "inputs": inputs, "targets": labels, "loss": "cross_entropy"}
    return post(f"{url}/v1/backward", {**body, "include": ["loss", "gradients"]})


def main(urls: list[str]) -> None:
    draw = random.Random(0)
    inputs = [[draw.gauss(0, 1) for _ in range(FEATURES)] for _ in range(EXAMPLES)]
    labels = [max(range(CLASSES), key=lambda k, row=row: row[k] + row[k + CLASSES]) for row in inputs]
    layers = [{"units": 16, "activation": "tanh"}, {"units": CLASSES, "activation": "softmax"}]
    network = post(f"{urls[0]}/v1/initialize", {"input_size": FEATURES, "layers": layers, "seed": 1})["network"]

    count = len(urls)
    cuts = [EXAMPLES * k * (k + 1) // (count * (count + 1)) for k in range(count + 1)]
    parts = [slice(start, end) for start, end in pairwise(cuts)]
    with ThreadPoolExecutor(count) as together:
        answers = list(together.map(lambda url, part: backward(url, network, inputs[part], labels[part]), urls, parts))
    whole = backward(urls[0], network, inputs, labels)

    shares = [(part.stop - part.start) / EXAMPLES for part in parts]
    for part, answer in zip(parts, answers, strict=True):
        print(f"{part.stop - part.start:5} examples  loss {answer['loss']:.6f}")
    loss = weighted_sum([answer["loss"] for answer in answers], shares)
    print(f"together        loss {loss:.6f}\nall at once     loss {whole['loss']:.6f}")

    total, expected = weighted_sum([gradients(answer) for answer in answers], shares), gradients(whole)
    largest = max(abs(number) for number in numbers(expected))
    difference = max(abs(a - b) for a, b in zip(numbers(total), numbers(expected), strict=True))
    print(f"{len(list(numbers(total)))} gradients; they differ by at most {difference / largest:.1e} of the largest")
    if difference > 1e-13 * largest or abs(loss - whole["loss"]) > 1e-13:
        raise SystemExit("The shards do not add up to the whole.")

    for layer, gradient in zip(network["layers"], total, strict=True):
        for name in ("weights", "bias"):
            layer[name] = weighted_sum([layer[name], gradient[name]], [1, -LEARNING_RATE])
    print(f"after one step  loss {backward(urls[0], network, inputs, labels)['loss']:.6f}")


if __name__ == "__main__":
    with ExitStack() as running:
        main(sys.argv[1:] or [running.enter_context(replica()) for _ in range(REPLICAS)])
