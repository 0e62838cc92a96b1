"""A large step in every form, beside the plain handler and an endpoint that only moves as many bytes."""

from functools import partial
from statistics import median
from typing import Any

import numpy as np
import orjson
import pybase64

from benchmarks.http import FILE, UVICORN, Client, Server
from benchmarks.networks import LARGE, as_base64, as_json, drawn
from benchmarks.plots import bars
from benchmarks.rounds import QUICK, alternate, milliseconds, short, spread, table
from schemas import safetensors

ROUNDS, SECONDS = (3, 0.3) if QUICK else (9, 0.6)
PLAIN, BYTES = "plain handler, JSON", "only the bytes of safetensors"


def main() -> None:
    step = drawn(LARGE)
    packed = safetensors.write(step)
    with Server("app") as ours, Server(*UVICORN, "benchmarks.peers.plain:app") as plain:
        clients = {
            "JSON": Client(ours.port, "/v1/step", as_json(step)),
            "base64": Client(ours.port, "/v1/step", as_base64(step)),
            "safetensors": Client(ours.port, "/v1/step", packed, FILE, FILE),
            PLAIN: Client(plain.port, "/step", as_json(step)),
        }
        answers = {name: client.post() for name, client in clients.items()}
        require_agreement(answers)
        with Server(*UVICORN, "benchmarks.empty:app", ANSWER_BYTES=str(len(answers["safetensors"]))) as bare:
            clients[BYTES] = Client(bare.port, "/bytes", packed, FILE, FILE)
            answers[BYTES] = clients[BYTES].post()
            assert len(answers[BYTES]) == len(answers["safetensors"])
            times = alternate({name: partial(client.median, SECONDS) for name, client in clients.items()}, ROUNDS)
    rows = [
        [name, *(f"{len(part) / 1e6:.1f}" for part in (client.request, answers[name])), milliseconds(times[name])]
        for name, client in clients.items()
    ]
    sizes = "-".join(map(str, LARGE))
    print(f"## Wire forms\n\nOne step of {sizes}, batch 32, float64; all gradients and the new network are answered.\n")
    print(table(["", "MB sent", "MB answered", "ms"], rows))
    print(f"- JSON has {spread(times[PLAIN], times['JSON'])} times the rate of the plain handler (aim: at least 12).")
    print(f"- Base64 has {spread(times['JSON'], times['base64'])} times the rate of JSON (aim: at least 2.5).")
    print(f"- Safetensors has {spread(times['JSON'], times['safetensors'])} times the rate of JSON (aim: at least 5),")
    print(f"  and {spread(times[BYTES], times['safetensors'])} times that of an endpoint of the same framework that")
    print("  reads and answers as many bytes and computes nothing (aim: at least 0.5).\n")
    rates = {name: 1 / median(seconds) for name, seconds in times.items()}
    print(bars("wire", f"A step of {sizes}, batch 32: answers a second", rates))
    print(f"\nThe plain handler is that of the peers below; it needs {short(1e3 * median(times[PLAIN]))} ms for it.\n")


def require_agreement(answers: dict[str, bytes]) -> None:
    """Raises unless our forms answer the same bits, and the plain handler the same gradients to 1e-9."""
    ours = orjson.loads(answers["JSON"])["layers"]
    encoded, plain = (orjson.loads(answers[name])["layers"] for name in ("base64", PLAIN))
    packed = safetensors.read(answers["safetensors"])["layers"]
    for layer, in_base64, in_file, theirs in zip(ours, encoded, packed, plain, strict=True):
        for name, gradient in layer["gradients"].items():
            expected = np.array(gradient)
            assert np.array_equal(from_base64(in_base64["gradients"][name]), expected)
            assert np.array_equal(in_file["gradients"][name], expected)
            assert np.abs(theirs["gradients"][name] - expected).max() <= 1e-9 * np.abs(expected).max()


def from_base64(tensor: dict[str, Any]) -> Any:
    return np.frombuffer(pybase64.b64decode(tensor["base64"]), tensor["dtype"]).reshape(tensor["shape"])


if __name__ == "__main__":
    main()
