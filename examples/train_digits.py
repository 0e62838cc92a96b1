"""Teach a network to read handwritten digits over HTTP, and watch it learn.

    .venv/bin/python examples/train_digits.py --plot loss.svg

The client needs no machine-learning library. Scikit-learn only lends its 1797 digits, images of 8 by 8 pixels.
"""

import argparse
import json
import math
import random
import sys
from collections.abc import Iterator
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from sklearn.datasets import load_digits


def post(url: str, body: dict[str, Any], accept: str = "application/json") -> HTTPResponse:
    headers = {"Content-Type": "application/json", "Accept": accept}
    return urlopen(Request(url, json.dumps(body).encode(), headers), timeout=60)


def server_sent_events(response: HTTPResponse) -> Iterator[tuple[str, Any]]:
    """Each event's name and data. An empty line ends an event; lines that start with a colon keep the line open."""
    name, data = "message", []
    for raw in response:
        field, _, value = raw.decode().rstrip("\r\n").partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "data":
            data.append(value)
        elif not field and not value and data:
            yield name, json.loads("\n".join(data))
            name, data = "message", []


def show(row: dict[str, Any]) -> None:
    """One line for a row of the history, which on a terminal takes the place of the last one."""
    done = round(30 * row["epoch"] / row["epochs"])
    bar = "#" * done + "." * (30 - done)
    accuracy = row["validation"]["metrics"]["accuracy"]
    line = f"[{bar}] epoch {row['epoch']}/{row['epochs']}  loss {row['loss']:.4f}  validation accuracy {accuracy:.3f}"
    print(f"\r{line}" if sys.stdout.isatty() else line, end="" if sys.stdout.isatty() else "\n", flush=True)


def train(url: str, epochs: int) -> list[dict[str, Any]]:
    digits = load_digits()
    order = list(range(len(digits.target)))
    random.Random(0).shuffle(order)
    # Pixels are 0 to 16; inputs of about 1 suit the initial weights.
    inputs, labels = (digits.data[order] / 16).tolist(), digits.target[order].tolist()
    fifth = len(order) // 5

    layers = [
        {"units": 64, "activation": "relu", "weights_initializer": "he_normal", "bias_initializer": "zeros"},
        {"units": 10, "activation": "softmax", "weights_initializer": "glorot_uniform", "bias_initializer": "zeros"},
    ]
    network = json.load(post(f"{url}/v1/initialize", {"input_size": 64, "layers": layers, "seed": 0}))["network"]

    request = {
        "network": network,
        "inputs": inputs[fifth:],
        "targets": labels[fifth:],
        "loss": "cross_entropy",
        "optimizer": {"kind": "adam", "learning_rate": 0.01},
        "epochs": epochs,
        "batch_size": 32,
        "validation": {"inputs": inputs[:fifth], "targets": labels[:fifth]},
        "metrics": ["accuracy"],
    }
    shown = 0
    with post(f"{url}/v1/train", request, accept="text/event-stream") as response:
        for name, data in server_sent_events(response):
            if name == "progress":
                show(data)
                shown = data["epoch"]
            elif name == "problem":
                sys.exit(f"\nThe training failed: {data['title']}. {data['detail']}")
            elif name == "result" and data["stopped_because"] != "epochs":
                sys.exit(f"\nThe training stopped after {data['completed_epochs']} epochs: {data['stopped_because']}")
            elif name == "result":
                # Fast epochs share a progress event, so the last one may have had none.
                if shown < epochs:
                    show({**data["history"][-1], "epochs": epochs})
                print("\n" if sys.stdout.isatty() else "", end="")
                return data["history"]
    sys.exit("\nThe stream ended before the result came.")


def plot(history: list[dict[str, Any]]) -> str:
    """The losses over the epochs as SVG. Its y axis points down, so a loss is subtracted from the bottom."""
    training = [row["loss"] for row in history]
    validation = [row["validation"]["loss"] for row in history]
    left, right, top, bottom = 60, 620, 30, 350
    highest = max(training + validation)
    power = 10 ** math.floor(math.log10(highest))
    step = next(factor * power for factor in (0.2, 0.5, 1, 2) if 6 * factor * power >= highest)
    steps = math.ceil(highest / step)

    def x(epoch: int) -> float:
        return round(left + (right - left) * epoch / len(history), 1)

    def y(loss: float) -> float:
        return round(bottom - (bottom - top) * loss / (steps * step), 1)

    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 400" font-family="sans-serif" font-size="13">',
        '<rect width="640" height="400" fill="white"/>',
        f'<text x="{(left + right) / 2}" y="390" text-anchor="middle">epoch</text>',
    ]
    for loss in (k * step for k in range(steps + 1)):
        parts.append(f'<line x1="{left}" x2="{right}" y1="{y(loss)}" y2="{y(loss)}" stroke="#d8dee4"/>')
        parts.append(f'<text x="{left - 8}" y="{y(loss) + 4}" text-anchor="end">{loss:.4g}</text>')
    for epoch in range(0, len(history) + 1, math.ceil(len(history) / 10)):
        parts.append(f'<text x="{x(epoch)}" y="{bottom + 20}" text-anchor="middle">{epoch}</text>')
    for name, losses, color, legend in (
        ("training", training, "#0969da", 50),
        ("validation", validation, "#bc4c00", 70),
    ):
        points = [(x(epoch), y(loss)) for epoch, loss in enumerate(losses, 1)]
        parts.append(f'<polyline points="{" ".join(f"{a},{b}" for a, b in points)}" fill="none" stroke="{color}"/>')
        parts += [f'<circle cx="{a}" cy="{b}" r="2.5" fill="{color}"/>' for a, b in points]
        parts.append(f'<text x="{right - 10}" y="{legend}" text-anchor="end" fill="{color}">{name} loss</text>')
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description="Teach a network to read handwritten digits over HTTP.")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="where the service listens")
    parser.add_argument("--epochs", type=int, default=30, help="how often it sees every digit")
    parser.add_argument("--plot", type=Path, help="a file for the loss curves, as SVG")
    options = parser.parse_args()
    try:
        history = train(options.url.rstrip("/"), options.epochs)
    except HTTPError as error:
        sys.exit(f"The service answered {error.code}: {error.read().decode(errors='replace')}")
    except URLError as error:
        sys.exit(f"No server at {options.url} ({error.reason}). Start one with: make run")
    except (OSError, HTTPException) as error:
        sys.exit(f"\nThe connection to {options.url} broke: {error}")
    print(f"Validation accuracy after {len(history)} epochs: {history[-1]['validation']['metrics']['accuracy']:.4f}")
    if options.plot:
        options.plot.write_text(plot(history))
        print(f"The loss curves are in {options.plot}.")


if __name__ == "__main__":
    main()
