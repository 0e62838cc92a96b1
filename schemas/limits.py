"""The limits of one request, which the server sets and the requests check themselves against."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import BeforeValidator, ValidationInfo

from engine.errors import TooLarge, Where

Body = bytes | bytearray | memoryview
"""A request as it came."""
PIECE = 2**18
"""So many bytes of a body are looked at together."""
COMMA, COLON, OPENING, CASE = 0x2C, 0x3A, 0x7B, 0x20
"""`[` and `{` differ in the bit of CASE."""


@dataclass(frozen=True, slots=True)
class Limits:
    """`layers`: of a network. `numbers`: that a request may make the server hold at once, answer included.
    `work`: multiplications, as estimated before they start."""

    layers: int = 1000
    numbers: int = 2**25
    work: int = 2 * 10**11

    def require_layers(self, count: int) -> None:
        if count > self.layers:
            raise TooLarge(
                (),
                f"This network has more layers than this server takes ({self.layers}).",
                expected=f"at most {self.layers} layers",
                received=count,
                hint="Use fewer layers, or a server with a higher CHAINRULE_MAX_LAYERS.",
            )

    def require_numbers(self, count: int) -> None:
        if count > self.numbers:
            raise TooLarge(
                (),
                "This request would make the server hold more numbers than it takes.",
                expected=f"at most {self.numbers} numbers",
                received=count,
                hint="Use a smaller batch or network, leave per_example out, or raise CHAINRULE_MAX_NUMBERS.",
            )

    def require_values(self, body: Body) -> None:
        """Refuses a body whose values would take more memory while they are read than `numbers` do."""
        count = values(body)
        if count > self.numbers:
            raise TooLarge(
                (),
                "Reading this body would take more memory than this server gives to a request.",
                expected=f"at most {self.numbers}, where a value counts 4, an array or object 10 and a name 50",
                received=count,
                hint="Send the arrays as base64 tensors, send less, or raise CHAINRULE_MAX_NUMBERS.",
            )

    def require_work(self, estimate: int, where: Where) -> None:
        if estimate > self.work:
            raise TooLarge(
                where,
                f"This request is estimated at {estimate} multiplications (passes x examples x parameters, in "
                "training x epochs; a search for mistakes counts another 10^9, a derivation 10^8, a diagnosis or a "
                f"certificate 10^7), and this server takes at most {self.work}.",
                expected=f"at most {self.work} multiplications",
                received=estimate,
                hint="Send fewer examples, or train fewer epochs a call and go on from the answer. Where a single "
                "example is too much already, take a server with a higher CHAINRULE_MAX_WORK.",
            )


def values(body: Body) -> int:
    """How many numbers' memory the values of a body take while they are read: a value of JSON about four times the
    eight bytes of a number, an array or an object ten times. A name counts fifty times: one that is not known is a
    mistake of its own, which takes up to a kilobyte, and ten microseconds in which no other thread runs."""
    count = 0
    codes = np.frombuffer(body, np.uint8)
    for start in range(0, len(codes), PIECE):
        piece = codes[start : start + PIECE]
        count += int(4 * np.count_nonzero(piece == COMMA) + 50 * np.count_nonzero(piece == COLON))
        count += int(10 * np.count_nonzero(piece | CASE == OPENING))
    return count


def occurrences(body: Body, character: bytes) -> int:
    """How often a character stands in a body; NumPy sees it in a large one five times as fast as bytes do."""
    if isinstance(body, bytes) and len(body) < PIECE:
        return body.count(character)
    codes, code = np.frombuffer(body, np.uint8), ord(character)
    return sum(int(np.count_nonzero(codes[start : start + PIECE] == code)) for start in range(0, len(codes), PIECE))


def _require_layers(layers: Any, info: ValidationInfo) -> Any:
    if type(layers) is list:
        limits: Limits = info.context or Limits()
        limits.require_layers(len(layers))
    return layers


WithinLimits = BeforeValidator(_require_layers)
"""On a list of layers: refuses too many of them before any is looked at; the limits are the validation's context."""
