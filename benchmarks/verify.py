"""What a verification costs: the textbook network, and one of 64-32-10 units with a batch of 32."""

import json
from statistics import median
from typing import Any

from app.examples import EXAMPLES
from benchmarks.http import Client, Server
from benchmarks.networks import Step, as_json, drawn
from benchmarks.rounds import QUICK, table

ROUNDS, SECONDS = (3, 0.4) if QUICK else (7, 1.0)


def requests(step: Step, client: Client) -> dict[str, dict[str, Any]]:
    """Verify requests for a step whose answer a client of /v1/step gives."""
    right = json.loads(client.post())
    wrong = json.loads(json.dumps({"loss": right["loss"], "layers": right["layers"]}))
    bias = wrong["layers"][0]["gradients"]["bias"]
    wrong["layers"][0]["gradients"]["bias"] = [0.0] * len(bias)
    return {
        "the certificate alone": step,
        "all of a right answer": {**step, "claimed": right},
        "the same with one bias gradient missing": {**step, "claimed": wrong},
    }


def main() -> None:
    print("## Verifying somebody else's numbers\n")
    rows = []
    with Server("app") as server:
        textbook = EXAMPLES["textbook"]["request"]
        for name, step in (("textbook", textbook), ("64-32-10, batch of 32", drawn((64, 32, 10)))):
            cases = requests(step, Client(server.port, "/v1/step", as_json(step)))
            if name == "textbook":
                cases["what the textbook prints: nine mistakes and slips"] = EXAMPLES["textbook_claims"]["request"]
            for what, request in cases.items():
                client = Client(server.port, "/v1/verify", as_json(request))
                answer = json.loads(client.post())
                assert (answer["verdict"] == "mismatch") == bool(answer["diagnoses"]), "a verdict without its reason"
                client.time(SECONDS)
                times = [client.median(SECONDS) for _ in range(ROUNDS)]
                spread = f"{1e3 * min(times):.1f} to {1e3 * max(times):.1f}"
                rows.append([name, what, f"{1e3 * median(times):.1f}", spread])
    print(table(["network", "claimed", "median, ms", "over the rounds"], rows))
    print("The aim is a verification of the textbook network in less than 20 ms. Every answer holds the certificate.\n")


if __name__ == "__main__":
    main()
