"""The textbook step by the generated Python client: textbook.py URL"""

import sys

from chainrule_client import Client
from chainrule_client.api.networks import step
from chainrule_client.api.reference import get_catalog, get_example
from chainrule_client.models import Catalog, Example, Network, OptimizerState, Problem, StepAnswer, StepRequest

client = Client(base_url=sys.argv[1])

example = get_example.sync("textbook", client=client)
assert isinstance(example, Example)
request = StepRequest.from_dict(example.request.to_dict())
first = step.sync(client=client, body=request)
assert isinstance(first, StepAnswer), first
assert isinstance(first.network, Network) and isinstance(first.optimizer_state, OptimizerState)
print(first.loss)

# What came back goes in, and plain names will do.
again = StepRequest(
    network=first.network,
    optimizer_state=first.optimizer_state,
    inputs=request.inputs,
    targets=request.targets,
    loss="cross_entropy",
    optimizer=request.optimizer,
)
second = step.sync(client=client, body=again)
assert isinstance(second, StepAnswer), second
print(second.loss)

refused = step.sync(client=client, body=StepRequest(network=first.network, inputs=[[1.0, 2.0]], optimizer="sgd"))
assert isinstance(refused, Problem)
print(refused.type_, refused.errors[0].pointer if refused.errors else "")

catalog = get_catalog.sync(client=client)
assert isinstance(catalog, Catalog)
print(next(entry.formula.text for entry in catalog.losses if entry.kind == "mse"))
