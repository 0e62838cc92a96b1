"""The walk along the computation on the claimed numbers: each is recomputed from those claimed before it.

So a number that follows from the numbers before it is told from one where an error came in, and every stage's own
mistake is found, even where an earlier one is different, or is none that is known.
"""

import math
from collections.abc import Iterator
from functools import cached_property
from itertools import combinations
from typing import Any, NamedTuple, get_args

import numpy as np

from engine.claims import FEWEST_DIGITS, SMALLEST, Claim
from engine.mistakes import Alteration, Seldom, Slip
from engine.mistakes.computation import LOSS, OUTPUTS, Key, Numbers, layer_keys
from engine.mistakes.factor import ConstantFactor
from engine.mistakes.fitted import fitting_factor
from engine.mistakes.run import run, shared_numbers
from engine.mistakes.search import (
    CHANCE,
    CHANCE_SHARE,
    FAILURES,
    PAIR_CHANCE,
    Diagnosis,
    Search,
    branch,
    differs,
    layer_of,
)
from engine.mistakes.signs import choices
from engine.mistakes.slips import DecimalPointMoved, EntryCopied
from engine.rules import Array

PERTURBATIONS = 8
LOCAL_PAIRS = 400
"""The most pairs of mistakes that are tried for one array."""
MOST_SLIPS = 32
"""An array with more wrong numbers than this is not one of slips."""
MOST_TYPOS = 2
"""More numbers of an array than these are not off by one digit each, but for another reason."""
MOST_NUMBERS = 4096
"""Arrays of more numbers than this are explained as a whole, not in part."""
BETWEEN, BETWEEN_DIGITS = 5e-4, 6
"""What the rounding of numbers that are not claimed, to four digits or so, may do to those that are; and with how many
digits those are printed at most where somebody rounds so."""
WHOLE = (
    "learning_rate_off",
    "several_steps",
    "targets_shifted",
    "labels_as_numbers",
    "targets_broadcast",
    "written_over",
)
"""Mistakes that are made in all numbers of a step or an array, or in all targets."""
Given = dict[Key, Array]
Prediction = tuple[tuple[Any, ...], Array]
"""Mistakes, and what they give of an array."""


class Overlay(NamedTuple):
    """Claims to go on from, what follows from them, and the same to share."""

    given: Given
    numbers: dict[Key, Any]
    shared: Numbers | None


class Walk:
    """What follows from the claimed numbers before it (`follows`), and what does not (`open`)."""

    def __init__(self, search: Search) -> None:
        self.search = search
        self.given = {
            key: claim.values
            for key, claim in search.claims.items()
            if key in search.truth and claim.values.shape == np.shape(search.truth[key])
        }
        self.implied: dict[int, Array] = {}
        self.recomputed = self._recomputed()
        self.follows: set[Key] = set()
        self.open = [key for key in search.wrong if not self._follows(key)]
        self._imply()
        self.predictions: dict[Key, list[Prediction]] = {}
        self.known: set[str] = set()

    def _run(
        self, computation: Any, given: Given, shared: Numbers | None = None, until: Key | None = None
    ) -> dict[Key, Any]:
        """The numbers by key, as far as they can be computed, or are wanted."""
        numbers = {}
        try:
            for key, value in run(computation, self.search.case, given, self.implied, shared):
                numbers[key] = value
                if key == until:
                    break
        except FAILURES:
            return {}
        return numbers

    @cached_property
    def spread(self) -> dict[Key, Any]:
        """How far the claims' rounding may carry what is recomputed from them."""
        random = np.random.default_rng(0)
        units: dict[Key, Any] = {}
        for key, values in self.given.items():
            unit, true = self.search.claims[key].unit, self.search.truth[key]
            if unit is not None:  # what is right to the last bit was not rounded
                units[key] = np.where(np.abs(values - true) > 1e-12 * np.abs(true), unit, 0.0)
        if not units:
            return {}
        spread: dict[Key, Any] = {}
        for _ in range(PERTURBATIONS):
            moved = {
                k: v + units[k] * random.choice([-0.5, 0.5], v.shape) if k in units else v
                for k, v in self.given.items()
            }
            for key, numbers in self._run(self.search.base, moved).items():
                if key in self.search.claims and np.shape(numbers) == np.shape(self.recomputed[key]):
                    off = 3 * np.abs(numbers - self.recomputed[key])
                    spread[key] = np.maximum(spread.get(key, 0.0), off)
        return spread

    def _recomputed(self) -> dict[Key, Any]:
        """Everything from the claims before it.

        Where loss and last activation are combined, the error behind them may also come from the claimed gradient by
        the outputs.
        """
        search, keys = self.search, layer_keys(self.search.case.depth - 1)
        numbers, key = self._run(search.base, self.given), keys.by_preactivations
        if key in search.wrong_keys and keys.by_activations in self.given:
            apart = self._run(search.base._replace(combined=lambda n: None), self.given, until=key)
            if key in apart and search.claims[key].agrees(apart[key]):
                numbers[key] = apart[key]
        return numbers

    def _follows(self, key: Key) -> bool:
        claim = self.search.claims[key]
        if key not in self.recomputed or key not in self.given:
            return False
        if not claim.agrees(self.recomputed[key]):
            allowed = np.minimum(self.spread.get(key, 0.0), 0.1 * claim.magnitude) + claim.tolerance
            if not (np.abs(claim.values - self.recomputed[key]) <= allowed).all():
                return False
        self.follows.add(key)
        return True

    def _imply(self) -> None:
        """Errors that no claim gives, read off the claimed gradients of the parameters that they made."""
        for i in range(self.search.case.depth - 1, -1, -1):
            keys = layer_keys(i)
            made = [key for key in keys.by.values() if key in self.open and key in self.given]
            if not made or keys.by_preactivations in self.given:
                continue
            error = self._implied_error(i)
            if error is None:
                continue
            self.implied[i] = error
            self.recomputed = self._recomputed()
            self.open = [key for key in self.open if not self._follows(key)]

    def _implied_error(self, i: int) -> Array | None:
        """dL/dz of a layer from its claimed x^T @ dL/dz and its column sums, where they determine it."""
        case, keys = self.search.case, layer_keys(i)
        x = case.inputs if i == 0 else self.given.get(layer_keys(i - 1).activations)
        if x is None:
            x = self.search.truth[layer_keys(i - 1).activations]
        rows, right = [], []
        for name, row in (("weights", x.T), ("bias", np.ones((1, len(x))))):
            if keys.by[name] in self.given:
                penalty = self.search.base.by_penalty(self.search.shared, i, name)
                rows.append(row)
                right.append(np.atleast_2d(self.given[keys.by[name]] - penalty))
        system, claimed = np.concatenate(rows), np.concatenate(right)
        try:
            if np.linalg.matrix_rank(system) < case.batch:
                return None
            error: Array = np.linalg.lstsq(system, claimed, rcond=None)[0]
        except np.linalg.LinAlgError:  # claims near the largest number
            return None
        unit = max((self.search.claims[k].tolerance.max() for k in keys.by.values() if k in self.given), default=0.0)
        return error if (np.abs(system @ error - claimed) <= 3 * unit).all() else None

    def from_here(self, key: Key) -> dict[Key, Any]:
        """All numbers as they follow from the right ones, and from the claimed one of `key` (or the error that it
        implies) in place of the right one."""
        i = layer_of(key)
        implied = {k: error for k, error in self.implied.items() if k == i}
        given = {key: self.given[key]} if key in self.given else {}
        return dict(run(self.search.base, self.search.case, given, implied))

    def overlays(self) -> list[Overlay]:
        """What to take as given: all claims; and where claimed activations do not follow from their preactivations,
        all but those, since a derivative may have been taken by the preactivations."""
        loose = {key for key in self.open if branch(key) == 0 and key[-1] in ("activations", "outputs")}
        if not loose:
            return [self._overlay(self.given)]
        last = layer_keys(self.search.case.depth - 1).activations
        loose |= {last} if ("outputs",) in loose else set()
        rest = {key: values for key, values in self.given.items() if key not in loose}
        return [self._overlay(self.given), self._overlay(rest)]

    def _overlay(self, given: Given) -> Overlay:
        numbers = self._run(self.search.base, given)
        return Overlay(given, numbers, shared_numbers(self.search.case, numbers, given) if numbers else None)

    def singles(self) -> list[Diagnosis]:
        """The mistakes that make the open numbers of the claimed ones before them.

        Of those that make an array, the ones that change the fewest other arrays to what they are not claimed to be.
        """
        search = self.search
        scored: list[tuple[int, Diagnosis]] = []
        self.predictions = {key: [] for key in self.open}
        overlays = self.overlays()
        # What follows on some grounds needs no mistake on others.
        for again in [overlay.numbers for overlay in overlays]:
            self.follows.update(k for k in self.open if k in again and search.claims[k].agrees(again[k]))
        self.open = [k for k in self.open if k not in self.follows]
        for overlay in overlays:
            for mistake in search.near(self.open):
                scored += self._local(mistake, overlay)
        least = {key: min(misses for misses, d in scored if key in d.explains) for _, e in scored for key in e.explains}
        found = _simplest([d for misses, d in scored if any(misses == least[key] for key in d.explains)])
        self.known = {mistake.kind for d in found for mistake in d.mistakes}
        return self.in_order(found)

    def in_order(self, found: list[Diagnosis]) -> list[Diagnosis]:
        """Those that explain most first, then in the order of the computation."""
        return sorted(found, key=lambda d: (-len(d.explains), self.search.wrong.index(d.explains[0])))

    def parts(self, keys: set[Key]) -> tuple[list[Diagnosis], set[Key]]:
        """Slips, and mistakes in some columns, that explain open arrays in part; and which they explain wholly."""
        found, whole = [], set()
        for key in self._of(keys):
            made, rest = self._parts(key, self.predictions[key])
            found += made
            whole |= set() if rest else {key}
        return found, whole

    def pairs(self, keys: set[Key]) -> list[Diagnosis]:
        """Two mistakes that explain open arrays, wholly or, where they were printed, in some columns."""
        found, overlays = [], self.overlays()
        for key in self._of(keys):
            made = self._pairs(key, self.predictions[key], overlays)
            claim = self.search.claims[key]
            whole = [
                Diagnosis(mistakes, (key,), claim.residual(numbers), from_claims=True)
                for mistakes, numbers in made
                if claim.agrees(numbers)
            ]
            # A program makes what it makes in all of an array; by hand a column may be another mistake's.
            found += _simplest(whole) or self._parts(key, self.predictions[key] + (made if claim.printed else []))[0]
        return found

    def multiples(self, keys: set[Key]) -> list[Diagnosis]:
        """Open gradients, and changes by a step, that are a number times what follows."""
        found = []
        for key in self._of(keys):
            at: Any = "step" if branch(key) == 3 else str(key[-1])
            if branch(key) < 2 or at not in ("step", "weights", "bias", "preactivations"):
                continue
            claim, right = self.search.claims[key], np.asarray(self.recomputed[key])
            origin = self._origin(key, right)
            fitting = fitting_factor(self.search, claim, right - origin, origin)
            digits = self.search.independent(key, self.search.evidence([key], self.recomputed))
            # The factor was chosen to fit one entry.
            if fitting is None or digits.sum() - digits.max() < CHANCE:
                continue
            numbers = origin + fitting[0] * (right - origin)
            if claim.is_made(numbers, right):
                mistake = ConstantFactor(times=fitting[0], at=at, layer=layer_of(key), meaning=fitting[1])
                again = differs(right, self.search.truth[key])
                found.append(Diagnosis((mistake,), (key,), claim.residual(numbers), again))
        return found

    def _of(self, keys: set[Key]) -> list[Key]:
        return [key for key in self.open if key in keys and key in self.given]

    def _local(self, mistake: Alteration, overlay: Overlay) -> Iterator[tuple[int, Diagnosis]]:
        """The diagnosis of a mistake that makes open numbers and changes none that follow, and how many open arrays it
        changes to something else."""
        search = self.search
        if not search.afford():
            return
        again = overlay.numbers
        numbers = self._run(search.computation((mistake,)), overlay.given, overlay.shared)
        others = [k for k in search.claims if k in numbers and numbers[k] is not again[k] and k not in self.open]
        if any(search.claims[k].agrees(again[k]) and not search.claims[k].agrees(numbers[k]) for k in others):
            return
        fits, misses = [], 0
        for key in self.open:
            if key in numbers and numbers[key] is not again[key] and differs(numbers[key], again[key]):
                if np.size(numbers[key]) <= MOST_NUMBERS:
                    self.predictions[key].append(((mistake,), numbers[key]))
                if search.claims[key].is_made(numbers[key], again[key]):
                    fits.append(key)
                else:
                    misses += 1
        if fits and search.is_no_chance(fits, again):
            residual = max(search.claims[k].residual(numbers[k]) for k in fits)
            yield misses, Diagnosis((mistake,), tuple(fits), residual, from_claims=True)

    def _pairs(self, key: Key, predictions: list[Prediction], overlays: list[Overlay]) -> list[Prediction]:
        """What two mistakes that both act on this array give of it. Few numbers of few digits would be those of some
        pair whatever they are, so that one of the two must then have been found elsewhere; zeros are those of many."""
        search = self.search
        if not search.claims[key].magnitude:
            return []
        alone = {id(mistakes[0]): mistakes[0] for mistakes, _ in predictions}.values()
        singles = [mistake for mistake in alone if not isinstance(mistake, Seldom)]
        pairs = [pair for pair in combinations(singles, 2) if pair[0].kind != pair[1].kind]
        if search.evidence([key]).sum() < PAIR_CHANCE:
            pairs = [pair for pair in pairs if not self.known.isdisjoint(mistake.kind for mistake in pair)]
        search.left_out += max(len(pairs) - LOCAL_PAIRS, 0)
        found = []
        for overlay in overlays:
            for pair in pairs[:LOCAL_PAIRS]:
                if search.afford():
                    numbers = self._run(search.computation(pair), overlay.given, overlay.shared, until=key)
                    if key in numbers:
                        found.append((pair, numbers[key]))
        return found

    def _parts(self, key: Key, predictions: list[Prediction]) -> tuple[list[Diagnosis], bool]:
        """Mistakes that explain whole columns of an array, or all but some slips; and whether any number is left."""
        claim, right = self.search.claims[key], np.asarray(self.recomputed[key])
        # Numbers in between that are not claimed may have been rounded too.
        loose = claim.tolerance + self._between(key, claim)
        # What is right needs no explanation, though something before it is wrong.
        off = np.minimum(np.abs(claim.values - right), np.abs(claim.values - self.search.truth[key]))
        fine = off <= claim.tolerance
        digits = np.log10(np.maximum(np.abs(claim.values - right) / np.maximum(loose, SMALLEST), 1.0))
        digits = self.search.signs.evidence(key, digits)
        if branch(key) >= 2 and key[-1] == "weights" and not claim.printed:
            # x^T @ dz: a program's column tells as many numbers as there are examples.
            digits = np.where(np.argsort(np.argsort(-digits, axis=0), axis=0) < self.search.case.batch, digits, 0.0)
        needed = np.log10(max(len(predictions), 1) / CHANCE_SHARE)
        found: list[Diagnosis] = []
        base = right
        while not fine.all():
            scored = []
            for mistakes, numbers in predictions:
                # Whole columns may have a mistake of their own; a step is as long, and targets are the same, for all.
                if np.shape(numbers) == fine.shape and not any(m.kind in WHOLE for m in mistakes):
                    known = len(mistakes) == 1 or any(m in d.mistakes for m in mistakes for d in found)
                    allowed = loose if known else claim.tolerance
                    made = np.abs(numbers - claim.values) <= allowed
                    if made.ndim == 2 and not claim.printed:  # a program's mistake is made in all of a column
                        made = made & made.all(axis=0)
                    new = made & ~fine & (claim.values != 0)
                    scored.append((int(new.sum()), -len(mistakes), mistakes, numbers, new))
            # Nor is it made in a few columns: elementwise, those are others' too where all of a column has one sign.
            least = 2 if claim.printed else max(2, np.count_nonzero(~fine) / 2)
            enough = [s for s in scored if s[0] >= least and digits[s[4]].sum() >= needed + choice(s[4], fine)]
            if not enough:
                break
            _, _, mistakes, numbers, new = max(enough, key=lambda s: s[:2])
            residual = float(np.abs(numbers - claim.values)[new].max()) / claim.magnitude
            found.append(Diagnosis(mistakes, (key,), residual, True, _indices(new)))
            fine = fine | new
            base = np.where(new, numbers, base)
        slips = self._slips(key, fine, base, ())
        if not slips and key == LOSS and self._outputs_are_given():
            # What a program prints in full was not typed, and a mistake with a power of ten gives many a factor.
            typed = claim.printed is not None and claim.printed[0][0] >= FEWEST_DIGITS
            by_mistake = (self._slips(key, fine, np.asarray(n), mistakes) for mistakes, n in predictions if typed)
            slips = next((made for made in by_mistake if made and made[0].mistakes[-1] != DecimalPointMoved()), [])
        return found + slips, int(fine.sum()) + sum(len(d.entries) for d in slips) < fine.size

    def _between(self, key: Key, claim: Claim) -> Any:
        """What the rounding of numbers in between may do to these; to parameters after a step, by their change."""
        if claim.unit is None or claim.most_digits > BETWEEN_DIGITS:
            return 0.0
        return BETWEEN * np.abs(claim.values - self._origin(key, claim.values))

    def _origin(self, key: Key, array: Array) -> Array:
        """What a step starts from: the parameters as they were, and 0 of everything else."""
        before = self.search.case.before_step(key)
        return np.zeros_like(array) if before is None else before

    def _outputs_are_given(self) -> bool:
        """Whether what the loss is computed from is claimed too. Otherwise a mistake anywhere before it, together with
        a slip, explains any loss."""
        return OUTPUTS in self.given or layer_keys(self.search.case.depth - 1).activations in self.given

    def _slips(self, key: Key, fine: Array, right: Array, mistakes: tuple[Any, ...]) -> list[Diagnosis]:
        """Slips that make the remaining numbers of `right`; none unless at least half of the array is right already,
        zeros not counted, none where all are right but for having few digits, and none where a step goes by the sign of
        a gradient, which is what is wrong."""
        claim, others = self.search.claims[key], fine.size - int(fine.sum())
        if others > MOST_SLIPS or (fine.size > 1 and others > int((fine & (claim.values != 0)).sum())):
            return []
        off = self.search.signs.off_ways(key)
        if claim.rounds(self.search.truth[key]) or (
            off is not None and (100 * off < np.abs(claim.values - right))[~fine].any()
        ):
            return []
        origin = self._origin(key, right)
        slips: dict[str, list[tuple[tuple[int, ...], Any, float]]] = {}
        for index in _indices(~fine):
            if found := _slip(claim, index, right, float(origin[index])):
                rule, residual = found
                slips.setdefault(rule.kind, []).append((index, rule, residual))
        # What follows from an implied error is as good as the digits that this was read off.
        implied = branch(key) == 2 and any(i > (layer_of(key) or 0) for i in self.implied)
        if implied or len(slips.get("digit_wrong", ())) > MOST_TYPOS:
            slips.pop("digit_wrong", None)
        # Nor does anybody move the points of many numbers that a program printed in full.
        if claim.printed is None and len(slips.get("decimal_point_moved", ())) > MOST_TYPOS:
            del slips["decimal_point_moved"]
        return [
            Diagnosis(
                (*mistakes, made[0][1]),
                (key,),
                max(residual for _, _, residual in made),
                True,
                tuple(index for index, _, _ in made),
                tuple(float(right[index]) for index, _, _ in made),
            )
            for made in slips.values()
        ]


def _slip(claim: Claim, index: tuple[int, ...], right: Array, origin: float) -> tuple[Any, float] | None:
    """The slip that makes a number of the right one, or of its change from `origin`, and what it is still off by."""
    claimed, unit = float(claim.values[index]), _unit(claim, index)
    for rule in (slip() for slip in get_args(Slip)):
        if isinstance(rule, EntryCopied):
            others = np.delete(right.ravel(), np.ravel_multi_index(index, right.shape)) if index else np.empty(0)
            made = rule.made(others, claimed, unit)
        else:
            made = rule.made(float(right[index]), claimed, unit)
            if made is None and (moved := rule.made(float(right[index]) - origin, claimed - origin, unit)) is not None:
                made = moved + origin
        if made is not None:
            return rule, abs(made - claimed) / claim.magnitude
    return None


def _unit(claim: Claim, index: tuple[int, ...]) -> float:
    """One unit in the last place of a number; of one that was not rounded, in its twelfth."""
    if claim.unit is not None:
        return float(claim.unit[index])
    value = abs(float(claim.values[index]))
    return float(10.0 ** (np.floor(np.log10(value)) - 11)) if value else 1e-12


def choice(new: Array, fine: Array) -> float:
    """How much evidence it takes that just these numbers are explained, and others of the array are not: the logarithm
    to base 10 of how many columns, or sets of as many numbers, there are. Of fewer than half it takes a column."""
    size, count = new.size, int(new.sum())
    if _whole_column(new, fine):
        return math.log10(new.shape[1])
    if 2 * count < size:
        return math.inf
    return choices(size, count)


def _whole_column(new: Array, fine: Array) -> bool:
    """Whether the numbers that are new complete a column."""
    return new.ndim == 2 and bool(((new | fine).all(axis=0) & new.any(axis=0)).any())


def _indices(mask: Array) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(int(k) for k in index) for index in np.argwhere(mask))


def _simplest(found: list[Diagnosis]) -> list[Diagnosis]:
    """Of one kind of mistake those that explain most; the same mistake on other grounds once."""
    kept: list[Diagnosis] = []
    for d in sorted(found, key=lambda d: (-len(d.explains), len(d.mistakes))):
        kinds = {m.kind for m in d.mistakes}
        if not any({m.kind for m in k.mistakes} <= kinds and set(d.explains) <= set(k.explains) for k in kept):
            kept.append(d)
    return kept
