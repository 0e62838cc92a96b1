"""The whole derivation of a small network, in the order of a textbook."""

import numpy as np

from engine.derivation.backward import backward_section
from engine.derivation.counting import reuse_section
from engine.derivation.derivation import Derivation, Worked
from engine.derivation.forward import forward_section, network_section
from engine.derivation.judging import MOST_EXAMPLES
from engine.derivation.loss import derivatives_section, loss_section
from engine.derivation.notation import MOST_WIDTHS, shapes
from engine.derivation.slopes import works_by_rows
from engine.derivation.update import clipping_section
from engine.errors import TooLarge
from engine.network import Network
from engine.objective import LossObjective
from engine.step import example_gradients
from engine.wording import plural

MOST_NUMBERS = 10_000
"""The largest `size` of an example whose derivation is told whole."""


def size(network: Network, batch: int) -> int:
    """About how many numbers a derivation shows: each parameter ten times (itself, in products, its gradient, its
    update) and in the own gradients of up to four examples; each unit of each example fourteen times; the Jacobians of
    up to four examples."""
    parameters = sum(p.size for layer in network.parameters for p in layer.values())
    units = sum(layer.weights.shape[1] for layer in network.layers)
    jacobians = sum(layer.weights.shape[1] ** 2 for layer in network.layers if works_by_rows(layer.activation))
    shown = min(batch, MOST_EXAMPLES)
    return (10 + shown) * parameters + 14 * batch * units + shown * jacobians


def require_size(network: Network, batch: int) -> None:
    """Raises TooLarge where a whole derivation would be too long to read."""
    numbers = size(network, batch)
    if numbers > MOST_NUMBERS:
        raise TooLarge(
            ("focus",),
            f"The whole derivation would show about {numbers} numbers, and at most {MOST_NUMBERS} are shown.",
            expected=f"at most {MOST_NUMBERS} numbers, or a focus",
            received=numbers,
            hint='Add a focus, such as {"layer": 0, "parameter": "weights", "index": [0, 0]}: the chain of factors of '
            "one parameter is told for a network of any size. Or use fewer examples or units.",
        )


@np.errstate(all="ignore")
def derive(worked: Worked) -> Derivation:
    """The network, the forward pass, the loss, the derivatives, the backward pass with updates, what is reused."""
    layers = range(len(worked.network.layers))
    own = example_gradients(worked.network, worked.before) if worked.batch > 1 else None
    first = network_section(worked)
    sections = [first, *(forward_section(worked, i) for i in layers), loss_section(worked), derivatives_section(worked)]
    sections += [backward_section(worked, i, own) for i in reversed(layers)]
    if worked.clipping is not None:
        sections.append(clipping_section(worked))
    sections.append(reuse_section(worked))
    objective = worked.objective
    ending = f", {objective.loss.kind}" if isinstance(objective, LossObjective) else ""
    kinds = [layer.activation.kind for layer in worked.network.layers]
    told = ", ".join(kinds if len(kinds) < MOST_WIDTHS else [f"{len(kinds)} layers", *dict.fromkeys(kinds)])
    title = f"Backpropagation step by step: {shapes(worked)} ({told}{ending}), {plural(worked.batch, 'example')}"
    return Derivation(title, tuple(sections), worked)
