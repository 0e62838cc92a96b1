"""The limits of one request, which the server sets and the requests check themselves against."""

from dataclasses import dataclass
from typing import Any

from pydantic import BeforeValidator, ValidationInfo

from engine.errors import TooLarge


@dataclass(frozen=True, slots=True)
class Limits:
    """`layers`: of a network. `numbers`: that a request may make the server hold at once, answer included.
    `work`: multiplications of a training run, as estimated before it starts."""

    layers: int = 1000
    numbers: int = 2**25
    work: int = 2 * 10**11

    def require_layers(self, count: int, where: tuple[str | int, ...]) -> None:
        if count > self.layers:
            raise TooLarge(
                where,
                f"This network has more layers than this server takes ({self.layers}).",
                expected=f"at most {self.layers} layers",
                received=count,
                hint="Use fewer layers, or a server with a higher CHAINRULE_MAX_LAYERS.",
            )

    def require_numbers(self, count: int, where: tuple[str | int, ...]) -> None:
        if count > self.numbers:
            raise TooLarge(
                where,
                "This request would make the server hold more numbers than it takes.",
                expected=f"at most {self.numbers} numbers",
                received=count,
                hint="Use a smaller batch or network, leave per_example out, or raise CHAINRULE_MAX_NUMBERS.",
            )

    def require_work(self, estimate: int) -> None:
        if estimate > self.work:
            raise TooLarge(
                ("epochs",),
                f"This run is estimated at {estimate} multiplications (examples x parameters x epochs, and "
                f"the passes over them), and this server takes at most {self.work}.",
                expected=f"at most {self.work} multiplications",
                received=estimate,
                hint="Train fewer epochs a call and continue from the answer, or raise CHAINRULE_MAX_WORK.",
            )


def _require_layers(layers: Any, info: ValidationInfo) -> Any:
    if type(layers) is list:
        limits: Limits = info.context or Limits()
        limits.require_layers(len(layers), ())
    return layers


WithinLimits = BeforeValidator(_require_layers)
"""On a list of layers: refuses too many of them before any is looked at; the limits are the validation's context."""
