"""A penalty on weights, or weight decay, that the request does not ask for."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from engine.mistakes.computation import Case, Computation, Numbers
from engine.mistakes.factor import nearest
from engine.regularization import Regularization
from engine.rules import About, Array, hyper

Decay = Literal["both", "gradients", "loss", "step", "decoupled"]
Decaying = Literal["weights", "parameters"]
DECAYING: tuple[Decaying, ...] = get_args(Decaying)
USUAL = (1e-2, 1e-4, 5e-4, 1e-3, 5e-3, 1e-5, 5e-2, 0.1)
"""What people take; tried where a step is no straight function of the strength."""
STRONGEST = 1.0
"""A larger strength is that of something else."""


@dataclass(frozen=True, slots=True)
class WeightDecayNotAskedFor:
    """Weight decay, or an L2 penalty, where the request has none: lambda w added to the gradient, or eta lambda w taken
    from the weight.

    It stands in the training script, or is an optimizer's default, such as AdamW's 0.01 in PyTorch. `strength` is the
    lambda that gives the claimed numbers: that of lambda / 2 sum w^2, and twice that of lambda sum w^2. `at` says
    whether it is in loss and gradients (both), in one of them, in the gradient as the update takes it (step), or beside
    it (decoupled); `of`, whether biases decay too.

    Source: torch.optim.AdamW, its weight_decay; Loshchilov and Hutter 2017, arXiv:1711.05101.
    """

    kind: Literal["weight_decay_not_asked_for"] = "weight_decay_not_asked_for"
    at: Decay = "both"
    of: Decaying = "weights"
    strength: float = hyper(1e-4, description="The lambda.")
    about: ClassVar = About("Weight decay not asked for", r"g + \lambda w \text{ for } g, \text{ or } "
                            r"w (1 - \eta \lambda) \text{ for } w")  # fmt: skip

    def alter(self, c: Computation, case: Case) -> Computation:
        strength, names = self.strength, ("weights",) if self.of == "weights" else ("weights", "bias")
        before, penalty, by_penalty = c.updated, c.penalty, c.by_penalty

        def derivative(n: Numbers, i: int, name: str) -> Any:
            return strength * n.layer(i).parameters[name] if name in names else 0.0

        def squares(n: Numbers) -> float:
            arrays = [p for layer in n.case.layers for name, p in layer.parameters.items() if name in names]
            return penalty(n) + Regularization(l2=strength).penalty(*arrays)

        match self.at:
            case "step":
                return c._replace(updated=lambda n, i, name, g: before(n, i, name, g + derivative(n, i, name)))
            case "decoupled":
                rate = getattr(case.optimizer, "learning_rate", 1.0)
                return c._replace(updated=lambda n, i, name, g: before(n, i, name, g) - rate * derivative(n, i, name))
        if self.at != "loss":
            c = c._replace(by_penalty=lambda n, i, name: by_penalty(n, i, name) + derivative(n, i, name))
        return c if self.at == "gradients" else c._replace(penalty=squares)


def strength(
    claimed: Array, right: Array, made: Callable[[float], Array | None], agrees: Callable[[Array], bool]
) -> tuple[float, int] | None:
    """The strength with which `made` gives the claimed numbers in place of the right ones, and in how many digits it is
    written; None where there is none."""
    unit = made(1.0)
    fitting = None if unit is None else nearest(claimed - right, unit - right)
    fitted = [] if fitting is None else [(float(f"{fitting:.{digits}g}"), digits) for digits in (1, 2, 3)]
    for value, digits in fitted + [(usual, 1) for usual in USUAL]:
        numbers = made(value) if 0 < abs(value) <= STRONGEST else None
        if numbers is not None and agrees(numbers):
            return value, digits
    return None
