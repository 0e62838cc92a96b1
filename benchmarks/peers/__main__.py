"""Chainrule against its peers, on the textbook step and on a large one: `python -m benchmarks.peers [--quick]`.

The peers run in an environment of their own, `.venv-peers` (`make bench` makes it from the pins in
benchmarks/peers/constraints.txt). One after the other they run beside Chainrule, and the two are asked in turn.
"""

import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import orjson
import pybase64

from benchmarks.http import FILE, JSON, UVICORN, Client, Server
from benchmarks.networks import LARGE, Step, as_base64, as_json, drawn, parameters, textbook
from benchmarks.plots import bars
from benchmarks.rounds import QUICK, Times, alternate, milliseconds, ratio, spread, table
from schemas import safetensors
from schemas.tensors import encode_base64

HERE = Path(__file__).parent
PYTHON = os.environ.get("PEERS_PYTHON", str(HERE.parent.parent / ".venv-peers" / "bin" / "python"))
ROUNDS, SECONDS = (2, 0.15) if QUICK else (5, 0.4)
WHOLE = "all"
SIZES = {"textbook": "The textbook step (3-3-3-3, batch 1)", "large": "The large step (784-512-512-10, batch 32)"}


INTRODUCTION = """\
Each is written as its own documentation says, and runs in one process on one thread, on the same machine.

- **plain**: FastAPI with `list[list[float]]` models, NumPy by hand, dictionaries returned; what most people would
  write.
- **FastAPI with PyTorch**, **LitServe with PyTorch**: the same answer by automatic differentiation.
- **UM-Bridge** (its Python server, `Gradient`): gradients of the loss by all parameters as one vector. It answers no
  loss, outputs, activations or updated network; the network and the data travel in its `config`. The gradient is
  hand-written NumPy.
- **Tesseract** (its runtime without the container, `vector_jacobian_product`): the same gradients as arrays in base64,
  which its own client sends too. It answers nothing else either, and its gradient is the same hand-written NumPy.

What a peer answers is compared with Chainrule's, and agrees to 1e-9, before anything is timed.
"""


@dataclass
class Peer:
    """How a peer is started, asked and read. `read` gives what is compared with Chainrule's answer."""

    name: str
    command: tuple[str, ...]
    path: str
    write: Callable[[Step], bytes]
    read: Callable[[Any, Step], list[Any]]
    answers: str = WHOLE
    accept: str = JSON
    python: str = PYTHON


def every_number(answer: Any, _: Step) -> list[Any]:
    layers = answer["layers"]
    traces = [layer[name] for layer in layers for name in ("preactivations", "activations")]
    gradients = [part for layer in layers for _, part in sorted(layer["gradients"].items())]
    whole = [answer[name] for name in ("outputs", "loss", "example_losses", "input_gradients")]
    return [np.asarray(part) for part in (*whole, *traces, *gradients)] + parameters(answer["network"]["layers"])


def parameter_gradients(answer: Any) -> list[Any]:
    return parameters([layer["gradients"] for layer in answer["layers"]])


def umbridge_request(step: Step) -> bytes:
    layers = step["network"]["layers"]
    vector = np.concatenate([part.ravel() for part in parameters(layers)])
    config = {
        "sizes": [len(layers[0]["weights"]), *(len(layer["bias"]) for layer in layers)],
        "activations": [layer["activation"] for layer in layers],
        "inputs": step["inputs"],
        "targets": step["targets"],
    }
    return as_json({"name": "loss", "outWrt": 0, "inWrt": 0, "input": [vector], "sens": [1.0], "config": config})


def umbridge_gradients(answer: Any, step: Step) -> list[Any]:
    shapes = [part.shape for part in parameters(step["network"]["layers"])]
    ends = np.cumsum([np.prod(shape) for shape in shapes])[:-1].astype(int)
    parts = np.split(np.array(answer["output"]), ends)
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


def tesseract_request(step: Step) -> bytes:
    layers = step["network"]["layers"]
    numbers = range(len(layers))
    inputs = {
        "weights": [tesseract_array(layer["weights"]) for layer in layers],
        "biases": [tesseract_array(layer["bias"]) for layer in layers],
        "activations": [layer["activation"] for layer in layers],
        "inputs": tesseract_array(step["inputs"]),
        "targets": tesseract_array(step["targets"]),
    }
    return orjson.dumps(
        {
            "inputs": inputs,
            "vjp_inputs": [f"{name}.[{i}]" for name in ("weights", "biases") for i in numbers],
            "vjp_outputs": ["loss"],
            "cotangent_vector": {"loss": tesseract_array(np.array(1.0))},
        }
    )


def tesseract_array(array: Any) -> dict[str, Any]:
    form = encode_base64(array)
    data = {"buffer": form["base64"], "encoding": "base64"}
    return {"object_type": "array", "shape": form["shape"], "dtype": form["dtype"], "data": data}


def tesseract_gradients(answer: Any, step: Step) -> list[Any]:
    layers = range(len(step["network"]["layers"]))
    found = [answer[f"{name}.[{i}]"] for i in layers for name in ("weights", "biases")]
    return [np.frombuffer(pybase64.b64decode(part["data"]["buffer"])).reshape(part["shape"]) for part in found]


PEERS = [
    Peer("plain", (*UVICORN, "benchmarks.peers.plain:app"), "/step", as_json, every_number, python=sys.executable),
    Peer("FastAPI with PyTorch", (*UVICORN, "benchmarks.peers.fastapi_torch:app"), "/step", as_json, every_number),
    Peer("LitServe with PyTorch", ("benchmarks.peers.litserve_torch", "{port}"), "/predict", as_json, every_number),
    Peer(
        "UM-Bridge",
        ("benchmarks.peers.umbridge_server", "{port}"),
        "/Gradient",
        umbridge_request,
        umbridge_gradients,
        "gradients by the parameters, as one list",
    ),
    Peer(
        "Tesseract",
        ("tesseract_core.runtime", "serve", "--port", "{port}"),
        "/vector_jacobian_product",
        tesseract_request,
        tesseract_gradients,
        "gradients by the parameters, in base64",
        "application/json+base64",
    ),
]
FORMS = ("JSON", "base64", "safetensors")
ALONE = {"JSON": "gradients in JSON", "safetensors": "gradients in safetensors"}
"""Chainrule asked for the gradients alone, as some peers answer them."""
AIM = 3
REASONS = {
    "plain": "on a small step most of the time is the framework's, and that is the same; its own part has fewer checks "
    "and no options",
    "FastAPI with PyTorch": "on a small step a good part of the time is the framework's, and that is the same",
    "LitServe with PyTorch": "its server decodes and writes with less ceremony than a FastAPI route with models does",
    "UM-Bridge": "its server, on aiohttp, does less for a request than FastAPI does, and it answers the gradients of "
    "the parameters alone, where Chainrule answers every number and checks every field",
    "Tesseract": "it moves the gradients alone, in base64: a third of the numbers that Chainrule answers",
}


def main() -> None:
    steps = {"textbook": textbook(), "large": drawn(LARGE)}
    times: dict[str, dict[str, Times]] = {name: {} for name in steps}
    missing = []
    for peer in PEERS:
        print(f"...... {peer.name}", file=sys.stderr)
        try:
            measured = measure(peer, steps)
        except FileNotFoundError:
            missing.append(
                f"{peer.name} was not measured, since its environment is not there; `make bench` makes it.\n"
            )
            continue
        except Exception as error:
            traceback.print_exc()
            missing.append(f"{peer.name} was not measured: {type(error).__name__}, {str(error).splitlines()[0]:.200}\n")
            continue
        for name, rounds in measured.items():
            times[name][peer.name] = rounds
    print("## The peers\n")
    print(INTRODUCTION)
    for name, found in times.items():
        if found:
            print(f"### {SIZES[name]}\n\n{comparison(name, found)}")
    print("\n".join(missing))


def measure(peer: Peer, steps: dict[str, Step]) -> dict[str, Times]:
    """The median time of an answer in each round, of the peer and of Chainrule, after a comparison of the answers."""
    with TemporaryDirectory() as folder:
        tesseract = {"TESSERACT_API_PATH": str(HERE / "tesseract_api.py"), "TESSERACT_OUTPUT_PATH": folder}
        with Server("app") as ours, Server(*peer.command, python=peer.python, **tesseract) as theirs:
            return {name: alternated(peer, step, ours.port, theirs.port) for name, step in steps.items()}


def alternated(peer: Peer, step: Step, our_port: int, their_port: int) -> Times:
    clients = {
        peer.name: Client(their_port, peer.path, peer.write(step), accept=peer.accept),
        "JSON": Client(our_port, "/v1/step", as_json(step)),
        "base64": Client(our_port, "/v1/step", as_base64(step)),
        "safetensors": Client(our_port, "/v1/step", safetensors.write(step), FILE, FILE),
    }
    ours = orjson.loads(clients["JSON"].post())
    expected = every_number(ours, step)
    if peer.answers != WHOLE:
        expected = parameter_gradients(ours)
        asked = {key: value for key, value in step.items() if key != "optimizer"} | {"include": ["gradients"]}
        clients |= {
            ALONE["JSON"]: Client(our_port, "/v1/backward", as_json(asked)),
            ALONE["safetensors"]: Client(our_port, "/v1/backward", safetensors.write(asked), FILE, FILE),
        }
        require_agreement(parameter_gradients(orjson.loads(clients[ALONE["JSON"]].post())), expected)
        require_agreement(parameter_gradients(safetensors.read(clients[ALONE["safetensors"]].post())), expected)
    require_agreement(peer.read(orjson.loads(clients[peer.name].post()), step), expected)
    for client in clients.values():
        client.time(SECONDS)
    return alternate({name: partial(client.median, SECONDS) for name, client in clients.items()}, ROUNDS)


def require_agreement(found: list[Any], expected: list[Any]) -> None:
    """Raises unless all numbers agree to 1e-9 of the largest of their array."""
    assert len(found) == len(expected)
    for theirs, ours in zip(found, expected, strict=True):
        assert theirs.shape == ours.shape
        error = np.abs(theirs - ours).max() / max(np.abs(ours).max(), 1e-300)
        assert error <= 1e-9, f"the answers differ by {error:.1e}"


def comparison(name: str, times: dict[str, Times]) -> str:
    """A table and a plot of the rates; Chainrule's are the medians beside all peers."""
    answers = {peer.name: peer.answers for peer in PEERS}
    rows = [
        [peer, answers[peer], milliseconds(found[peer]), *(spread(found[peer], found[form]) for form in FORMS)]
        for peer, found in times.items()
    ]
    own = {form: [time for found in times.values() for time in found[form]] for form in FORMS}
    rows += [[f"Chainrule, {form}", WHOLE, milliseconds(seconds), "", "", ""] for form, seconds in own.items()]
    rates = {f"Chainrule, {form}": 1 / median(seconds) for form, seconds in own.items()}
    rates |= {peer: 1 / median(found[peer]) for peer, found in times.items()}
    least = {form: min(ratio(found[peer], found[form]) for peer, found in times.items()) for form in FORMS}
    said = ", ".join(f"{value:.1f} in {form}" for form, value in least.items())
    forms = {peer: [form for form in (*FORMS, *ALONE.values()) if form in found] for peer, found in times.items()}
    fastest = {peer: max(ratio(found[peer], found[form]) for form in forms[peer]) for peer, found in times.items()}
    short_of = [
        f"- Against {peer} the fastest form of Chainrule has {times_as_fast:.2f} times the rate, less than {AIM}: "
        f"{REASONS[peer]}.\n"
        for peer, times_as_fast in fastest.items()
        if times_as_fast < AIM
    ]
    plot = bars(f"peers_{name}", f"{SIZES[name]}: answers a second", rates)
    head = ["", "answers", "ms", *(f"Chainrule in {form}: times its rate" for form in FORMS)]
    lost = "".join(short_of)
    return (
        f"{table(head, rows)}\nTimes the rate of the fastest of them (aim: at least {AIM}): {said}.\n\n"
        f"{same_answer(times)}{lost}\n{plot}\n"
    )


def same_answer(times: dict[str, Times]) -> str:
    """The peers that answer gradients alone against Chainrule asked for as much; nothing where none was measured."""
    rows = [
        [peer, *(spread(found[peer], found[form]) for form in ALONE.values())]
        for peer, found in times.items()
        if found.keys() >= set(ALONE.values())
    ]
    if not rows:
        return ""
    return (
        "Chainrule asked for the gradients alone, the same numbers as these peers answer (`POST /v1/backward` with\n"
        f'`"include": ["gradients"]`):\n\n{table(["", *(f"in {form}: times its rate" for form in ALONE)], rows)}\n'
    )


if __name__ == "__main__":
    main()
