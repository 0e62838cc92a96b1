"""Claimed numbers: how many digits they were printed with, and how they compare with the right ones."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from engine.mistakes.computation import Key
from engine.rules import Array

MOST_DIGITS = 13
"""An array with a number of more significant digits than this is taken as not rounded."""
FEW_DECIMALS = 9
"""Unless it has no more decimals than this, as a large number rounded to decimals."""
FEWEST_DIGITS = 3
"""Rounding to fewer digits than this is not assumed: 0.5 is read as 0.500."""
SMALLEST = float(np.finfo(np.float64).smallest_normal)
LARGEST = float(np.finfo(np.float64).max)
NOISE = 1e-9
"""What a number may be off by, as a share of its array's largest: rounding errors where large terms cancel."""
CANCELED = 1e-6
"""Numbers smaller than this share of the right ones are what is left where terms cancel."""
SINGLE_NOISE = 2e-6
"""The same where numbers were computed in float32."""
FEWEST_OTHERS = 3
"""So many numbers that are right tell one that was mistyped from the noise of float32."""
SINGLE_CHANCE = 4.0
"""How unlikely it must be, as a power of ten, that printed numbers are float32's by chance."""


@dataclass(frozen=True)
class Claim:
    """What somebody else computed: `values` of any shape, in the engine's layout, under the key of the answer.

    `single` says that it was computed in float32; `zeros_to`, to how many decimals the claims around it are printed,
    which an array of nothing but zeros does not tell; `scale`, how large the right numbers are, of which rounding
    errors are a share even where terms cancel to nothing; `transposed`, that it was written as `[units, inputs]`: a
    matrix was turned, and what has other dimensions was left as it came.
    """

    key: Key
    values: Array
    single: bool = False
    zeros_to: int | None = None
    scale: float = 0.0
    transposed: bool = False

    @cached_property
    def magnitude(self) -> float:
        return float(np.abs(self.values).max(initial=0))

    @cached_property
    def printed(self) -> list[tuple[int, int]] | None:
        """Significant digits and decimals of each number as printed, trailing zeros not counted, in C order; None
        where they are too many for the array to have been rounded."""
        printed = []
        for number in self.values.ravel().tolist():
            places = _printed(number)
            if places[0] > MOST_DIGITS and places[1] > FEW_DECIMALS:
                return None
            printed.append(places)
        return printed

    @cached_property
    def most_digits(self) -> int:
        """The most digits of any number, and at least three."""
        return max([FEWEST_DIGITS, *(digits for digits, _ in self.printed or [])])

    @cached_property
    def decimals(self) -> int:
        """The most decimals of any number, and at least three."""
        return max([FEWEST_DIGITS, *(decimals for _, decimals in self.printed or [])])

    @cached_property
    def unit(self) -> Array | None:
        """One unit in the last printed place of each number, or None where the array was not rounded.

        Trailing zeros are lost in JSON. A number that shows few digits is therefore read with as many decimals as the
        array's longest, or with three digits, whichever is coarser; one with two digits also as rounded to them.
        """
        if self.printed is None:
            return None
        if self.magnitude == 0:
            return None if self.zeros_to is None else np.full(self.values.shape, float(f"1e{-self.zeros_to}"))
        units = []
        mixed = any(digits >= FEWEST_DIGITS for digits, _ in self.printed)
        for digits, decimals in self.printed:
            if digits == 0:
                decimals = self.decimals
            short = 0.0
            if 0 < digits < FEWEST_DIGITS:
                # Two digits among numbers of more may be all that was printed: then half a unit is what was rounded.
                short = float(f"5e{-decimals - 1}") if digits == 2 and mixed else 0.0
                decimals = min(self.decimals, decimals - digits + FEWEST_DIGITS)
            units.append(max(short, float(f"1e{-decimals}")))
        return np.array(units).reshape(self.values.shape)

    @cached_property
    def is_single(self) -> bool:
        """Whether the numbers are float32's: known to be, or each is one, and no short decimals account for it."""
        if self.single:
            return True
        if not 0 < self.magnitude < 3e38:
            return False
        off, size = np.abs(self.values - self.values.astype(np.float32)), np.abs(self.values)
        if self.unit is None:  # Fifteen digits are a little less than a double has.
            return bool((off <= 1e-14 * size).all())
        # Other numbers come so near to one of float32's by chance.
        chances = np.spacing(size.astype(np.float32)) / np.maximum(self.unit, SMALLEST)
        evidence = np.log10(np.maximum(chances, 1))[size > 0].sum()
        return bool((off <= 0.5000001 * self.unit).all()) and self.most_digits > 9 and evidence > SINGLE_CHANCE

    @cached_property
    def may_be_single(self) -> bool:
        """Whether the numbers are float32's, or are printed with as many digits as it has, or as "%g" prints."""
        return self.is_single or (self.printed is not None and 5 <= self.most_digits <= 9)

    @cached_property
    def noise(self) -> float:
        """What rounding errors may be off by in any of the numbers."""
        single = self.is_single or (self.may_be_single and self.most_digits > 6)
        return (SINGLE_NOISE if single else NOISE) * max(self.magnitude, CANCELED * self.scale)

    @cached_property
    def tolerance(self) -> Array:
        """How far a mistake's numbers may be from these and still be them."""
        tolerance: Array = 1e-7 * np.abs(self.values) + self.noise
        return tolerance if self.unit is None else tolerance + self.unit

    def agrees(self, numbers: Any) -> bool:
        """Whether these are the numbers, as far as they were printed."""
        numbers = np.asarray(numbers)
        return numbers.shape == self.values.shape and bool((np.abs(numbers - self.values) <= self.tolerance).all())

    def is_made(self, numbers: Any, instead_of: Any) -> bool:
        """Whether these are the numbers, and those `instead_of` which a mistake gives them are further off.

        A vector of one and the same number may be claimed as that number, which broadcasting makes a vector of.
        """
        numbers, others = np.asarray(numbers), np.asarray(instead_of)
        if not self.values.ndim and numbers.ndim == 1 and len(numbers) > 1 and (numbers == numbers[0]).all():
            numbers = numbers[0]
        if not self.agrees(numbers):
            return False
        if others.shape != self.values.shape:
            return True
        off, other = (np.abs(array - self.values).max(initial=0) for array in (numbers, others))
        return bool(2 * off <= other)

    def rounds(self, right: Array) -> bool:
        """Whether each is the right number, rounded to its own last digit; a 0, to as many decimals as the others."""
        if self.printed is None or self.values.shape != np.shape(right):
            return False
        most = max((decimals for digits, decimals in self.printed if digits), default=self.decimals)
        units = np.array([float(f"1e{-(decimals if digits else most)}") for digits, decimals in self.printed])
        return bool((np.abs(self.values - right).ravel() <= 0.5000001 * units).all())

    def residual(self, numbers: Any) -> float:
        """The largest difference, relative to the largest number."""
        difference = float(np.abs(np.asarray(numbers) - self.values).max(initial=0))
        return difference / self.magnitude if self.magnitude else difference


def _printed(number: float) -> tuple[int, int]:
    """Significant digits and decimals of a number; (0, 0) for 0. The sixteenth and seventeenth, which may come from
    arithmetic with rounded numbers, do not count."""
    # Below the smallest normal number doubles have fewer digits than fifteen.
    text = f"{number:.15g}" if abs(number) > SMALLEST else repr(number)
    mantissa, _, exponent = text.lstrip("-").partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    short = digits.rstrip("0")
    return len(short), len(fraction) - int(exponent or 0) - (len(digits) - len(short)) if short else 0


class Comparison(NamedTuple):
    """Claimed against right numbers. `wrong` marks those that do not match; None for a claim of another shape.

    `rounding` says how the claim was rounded where it needed to be known; `message` what there is to say beside.
    """

    key: Key
    matches: bool
    largest_error: float
    largest_relative_error: float
    wrong: Array | None
    worst: tuple[int, ...] | None
    rounding: str | None
    message: str | None


def relative_errors(claimed: Array, right: Array) -> Array:
    """|claimed - right| over the larger of both magnitudes: from 0 to 2, and 0 where both are 0."""
    scale = np.maximum(np.abs(claimed), np.abs(right))
    # Halves, so that a difference of the largest numbers does not overflow.
    scaled = np.divide(np.abs(claimed / 2 - right / 2), scale, out=np.zeros_like(scale), where=scale > 0)
    return np.minimum(2 * scaled, 2)


def compare(
    claim: Claim,
    right: Any,
    relative: float,
    absolute: float,
    recomputed: Any = None,
    single: Any = None,
    lenient: bool = True,
) -> Comparison:
    """A number matches within `absolute + relative * |right|`, or within the place that it was printed to, or where it
    follows within that place from claimed numbers that match themselves (`recomputed`): the latter two where `lenient`.

    `single` is what float32 gives; numbers that are float32 may be as far off as a few times its own errors.
    """
    right = np.asarray(right, np.float64)
    claimed = claim.values
    if claimed.shape != right.shape:
        return Comparison(claim.key, False, 0.0, 0.0, None, None, None, shape_message(claim, right))
    errors = np.abs(claimed - right)
    wrong = errors > absolute + relative * np.abs(right)
    rounding = None
    if lenient and claim.unit is not None:
        wrong, rounding = _rounded(claim, claim.unit, right, errors, wrong, recomputed)
    if single is not None and (wrong.any() or rounding is None):
        single = np.asarray(single, np.float64)
        # Where the numbers agree anyway, float32 is only named where float64 would have come closer.
        near = _near_float32(claim, right, single) & ~_mistyped(claim, right, single)
        if (claim.is_single or near.all()) and (near & (wrong | (errors > 1e-13 * np.abs(right)))).any():
            wrong, rounding = wrong & ~near, "float32"
    relative_error = relative_errors(claimed, right)
    worst = None
    if errors.size:
        place = errors / (absolute + relative * np.abs(right) + np.finfo(np.float64).tiny)
        place = np.where(wrong, place, place if not wrong.any() else -1)
        worst = tuple(int(k) for k in np.unravel_index(int(np.argmax(place)), errors.shape))
    message = None
    if wrong.any() and claimed.ndim == 2 and claimed.shape[0] == claimed.shape[1] and claim.agrees(right.T):
        message = "This is the transpose of the right array."
    elif lenient and wrong.any() and claim.rounds(right):
        message = "These are the right numbers with fewer than three digits, which are too few to tell."
    elif wrong.any() and (claimed.any() or not claimed.ndim) and np.array_equal(claimed, np.trunc(right)):
        message = "These are the right numbers without their decimals, as integers are."
    elif (wrong & _unset(claimed)).any() and not _unset(right).any():
        message = "A number so large, or so close to 0, is mostly what memory held that was never set."
    elif not wrong.any() and 0 < float(np.abs(right).max(initial=0)) < absolute and relative_error.max() > relative:
        message = (
            "These numbers are smaller than absolute_tolerance, so that any would match; lower it to compare them."
        )
    return Comparison(
        claim.key,
        not wrong.any(),
        min(float(errors.max(initial=0)), LARGEST),
        float(relative_error.max(initial=0)),
        wrong,
        worst,
        rounding,
        message,
    )


def _unset(numbers: Array) -> Array:
    """Which numbers are as far from 1 as those that other bytes make when they are read as float64."""
    sizes = np.abs(numbers)
    return np.array((sizes > 1e30) | ((sizes < 1e-300) & (sizes > 0)))


def _near_float32(claim: Claim, right: Array, single: Array) -> Array:
    """Which claimed numbers are what float32 gives: no further from the right ones than a few times float32's own
    errors, as long as those are small, or as good as equal to `single`."""
    if not claim.may_be_single:
        return np.zeros(right.shape, bool)
    size = float(np.abs(right).max(initial=0))
    # Of few digits a wrong one is told from noise only where little noise is allowed.
    times, share = (8, 2.0**-21) if claim.is_single or claim.most_digits > 6 else (4, 2.0**-23)
    printed = 0.0 if claim.is_single or claim.unit is None else claim.unit
    allowed = times * float(np.abs(single - right).max(initial=0)) + share * size
    near: Array = np.abs(claim.values - single) <= 2.0**-21 * np.abs(single).max(initial=0)
    return near | (np.abs(claim.values - right) <= allowed + printed) if allowed < 1e-3 * size else near


def _mistyped(claim: Claim, right: Array, single: Array) -> Array:
    """Which numbers are much further off than float32 carries them, among others, not larger, that are right as printed
    and that float32 would have spoiled too."""
    if claim.is_single or claim.unit is None:
        return np.zeros(right.shape, bool)
    errors, sizes, noise = np.abs(claim.values - right), np.abs(right), np.abs(single - right)
    fine = np.sort(sizes[errors <= claim.unit])
    others = np.searchsorted(fine, sizes, side="right") >= FEWEST_OTHERS
    # Where float32 comes near by chance it says nothing; the median of its errors does.
    return others & (errors > np.maximum(30 * noise, 3 * np.median(noise)) + claim.unit)


def _rounded(
    claim: Claim, unit: Array, right: Array, errors: Array, wrong: Array, recomputed: Any
) -> tuple[Array, str | None]:
    """What is still wrong in view of the digits printed, and how the claim was rounded, where it was."""
    unit = unit * (1 + 1e-6)
    needed = errors > 1e-12 * np.abs(right)
    if not (needed & (errors <= unit)).any() and not wrong.any():
        return wrong, None
    off = wrong & (errors > unit)
    follows = False
    if off.any() and recomputed is not None:
        again = np.abs(claim.values - np.asarray(recomputed)) > unit
        follows, off = bool((off & ~again).any()), off & again
    fine = ~off
    if not (needed & fine).any():
        return off, None
    if follows:
        return off, f"computed from rounded numbers, and rounded to {claim.most_digits} digits"
    if bool((errors[fine] <= 0.5000001 * float(f"1e{-claim.decimals}")).all()):
        return off, f"rounded to {claim.decimals} decimals"
    if bool((errors[fine] <= 0.5000001 * unit[fine]).all()):
        return off, f"rounded to {claim.most_digits} digits"
    if bool((np.abs(claim.values[fine]) <= np.abs(right[fine]) + 0.5000001 * unit[fine]).all()):
        return off, f"rounded or cut off at {claim.most_digits} digits"
    return off, f"within one in the last of {claim.most_digits} digits"


def shape_message(claim: Claim, right: Array) -> str:
    """What a claim of another shape may be, and whether its numbers would be right, in the layout it was written in."""
    claimed, name = claim.values, str(claim.key[-1])
    if claim.transposed:
        claimed, right = claimed.T if claimed.ndim == 2 else claimed, right.T
    got, want = list(claimed.shape), list(right.shape)

    def told(form: str, numbers: Array, fits: Array) -> str:
        agree = "The numbers themselves agree." if _close(numbers, fits) else "The numbers differ too."
        return f"{form} {agree}"

    def of_examples(form: str) -> str:
        whole = "mean" if _close(claimed.mean(axis=0), right) else "sum"
        numbers = claimed.mean(axis=0) if whole == "mean" else claimed.sum(axis=0)
        return told(f"These are {len(claimed)} {form} their {whole} over the batch.", numbers, right)

    if claimed.ndim == 2 and claimed.T.shape == right.shape:
        return told("This is the transpose: rows and columns are exchanged.", claimed.T, right)
    if right.ndim == 0:
        if claimed.size == 1:
            return told("This is one number, in an array; leave out the brackets.", claimed.reshape(()), right)
        return "This is one number for the whole batch, and here are several: reduce them, or claim example_losses."
    if name == "bias" and claimed.ndim == 2:
        if claimed.shape[1:] == right.shape:
            if len(claimed) == 1:
                return told("A bias is a vector, [b1, b2, ...], and this is a matrix of one row.", claimed[0], right)
            return of_examples("rows, and the gradient of a bias is")
        if claimed.shape == (*right.shape, 1):
            return told("A bias is a vector, [b1, b2, ...], and this is a matrix of one column.", claimed[:, 0], right)
    if claimed.ndim == right.ndim + 1 and claimed.shape[1:] == right.shape:
        if len(claimed) == 1:
            return told("This array has one dimension too many: a pair of brackets around it.", claimed[0], right)
        return of_examples("examples' own arrays, and this one is")
    if claimed.ndim + 1 == right.ndim and (1, *claimed.shape) == right.shape:
        return told("The batch axis is missing: a single example is [[...]], a batch of one.", claimed[None], right)
    if claimed.size == right.size:
        form = f"This array has the right count of numbers in another shape: {want} was expected, not {got}."
        return told(form, claimed.reshape(right.shape), right)
    return f"An array of shape {want} was expected here, and this one has shape {got}."


def _close(claimed: Array, right: Array) -> bool:
    return Claim(("numbers",), np.asarray(claimed, order="C")).agrees(right)
