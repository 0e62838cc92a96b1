"""Slips of the pen: single numbers of an array that is otherwise right, or follows.

`made(right, claimed, unit)` is the number that the slip makes of the right one where it is the claimed one, or None;
`unit` is one unit in the claimed number's last place.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from engine.rules import About, Array


@dataclass(frozen=True, slots=True)
class EntrySign:
    """One number with the wrong sign.

    A minus is overlooked when a number is copied.

    Source: none needed; it is what proofreaders look for.
    """

    kind: Literal["entry_sign"] = "entry_sign"
    about: ClassVar = About("Sign of one number", r"-g_{ij} \text{ for } g_{ij}")

    def made(self, right: float, claimed: float, unit: float) -> float | None:
        return -right if abs(claimed + right) <= unit < 0.1 * abs(right) else None


@dataclass(frozen=True, slots=True)
class DecimalPointMoved:
    """The decimal point of one number moved: off by a power of ten. In a parameter after a step, that of its change.

    A zero too many or too few is typed.

    Source: none needed; it is what proofreaders look for.
    """

    kind: Literal["decimal_point_moved"] = "decimal_point_moved"
    about: ClassVar = About("Decimal point moved", r"10^k \, g_{ij} \text{ for } g_{ij}")

    def made(self, right: float, claimed: float, unit: float) -> float | None:
        moved = [right * 10.0**k for k in (-3, -2, -1, 1, 2, 3)]
        return next((m for m in moved if abs(claimed - m) <= unit < 0.1 * abs(claimed)), None)


@dataclass(frozen=True, slots=True)
class DigitsTransposed:
    """Two neighboring digits of one number exchanged.

    It happens in typing, more often than one digit mistyped.

    Source: none needed; it is what proofreaders look for.
    """

    kind: Literal["digits_transposed"] = "digits_transposed"
    about: ClassVar = About("Digits transposed", r"0.569 \text{ for } 0.596")

    def made(self, right: float, claimed: float, unit: float) -> float | None:
        a, b = digits(right, unit), digits(claimed, unit)
        wrong = wrong_digits(a, b)
        neighbors = len(wrong) == 2 and wrong[1] == wrong[0] + 1
        return claimed if neighbors and a[wrong[0]] == b[wrong[1]] and a[wrong[1]] == b[wrong[0]] else None


@dataclass(frozen=True, slots=True)
class DigitWrong:
    """One digit of one number wrong.

    A 4 is read as a 1, a 6 as an 8.

    Source: none needed; it is what proofreaders look for.
    """

    kind: Literal["digit_wrong"] = "digit_wrong"
    about: ClassVar = About("One digit wrong", r"4.001 \text{ for } 4.004")

    def made(self, right: float, claimed: float, unit: float) -> float | None:
        a, b = digits(right, unit), digits(claimed, unit)
        # The sign and three digits: of fewer, one is too often wrong by accident.
        return claimed if len(a) == len(b) >= 4 and a[0] == b[0] and len(wrong_digits(a, b)) == 1 else None


@dataclass(frozen=True, slots=True)
class EntryCopied:
    """One number is that of another place of the same array.

    The eye slips into the next row or column.

    Source: none needed; it is what proofreaders look for.
    """

    kind: Literal["entry_copied"] = "entry_copied"
    about: ClassVar = About("Number copied from elsewhere", r"g_{kl} \text{ for } g_{ij}")

    def made(self, others: Array, claimed: float, unit: float) -> float | None:
        """The one of the array's other right numbers that the claimed one is."""
        if unit >= 0.01 * abs(claimed):
            return None
        same = others[np.abs(others - claimed) <= unit]
        return float(same[0]) if same.size else None


def digits(number: float, unit: float) -> str:
    """The number's sign and digits down to the unit: 4.04 to 0.01 is "+404"; "" where it has more than a double has."""
    return f"{round(number / unit):+d}" if abs(number) < 1e15 * unit else ""


def wrong_digits(right: str, claimed: str) -> list[int]:
    """The places of the digits that differ; none where one has more digits, or where a digit is wrong that
    may not have been printed: the last 0 of 0.390, which is 0.39 in JSON."""
    wrong = [k for k, digit in enumerate(right) if digit != claimed[k]] if len(right) == len(claimed) else []
    return wrong if wrong and wrong[-1] < len(claimed.rstrip("0")) else []
