"""Finding the mistakes that give the claimed numbers: each one's numbers are computed and compared with all claims."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from engine.claims import SMALLEST, Claim
from engine.errors import EngineError
from engine.mistakes import Alteration, Mistake, Seldom, variants
from engine.mistakes.activation import SOFTMAXES
from engine.mistakes.computation import GRADIENT_NORM, Case, Computation, Key, Numbers, right
from engine.mistakes.run import exchanged, run, shared_numbers
from engine.mistakes.signs import Signs
from engine.rules import Array

WORK = 4 * 10**9
"""The multiplications, some seconds of them, that one search may take; a pass costs those of the network and as
much as 50,000 for the handling of each layer. What is left out for want of it is counted in the answer."""
PAIRS = 4000
"""The most pairs of mistakes that are tried."""
LAYER_WORK = 50_000
CHANCE, PAIR_CHANCE = 2.0, 5.0
"""The evidence, see `Search.evidence`, that chance would have to bring: where a step was chosen to fit, and where some
thousands of pairs are tried."""
CHANCE_SHARE = 0.3
"""In how many of the cases that no mistake accounts for chance may name one nevertheless."""
FAILURES = (EngineError, ArithmeticError)
"""What a computation with a mistake may end in: where numbers are extreme, its own may overflow."""
EXACT = 1e-11
"""Residuals below this are those of rounding errors: two mistakes that both have one explain equally well."""
Parameter = tuple[int, str]
"""Layer and name."""
UPDATE = 3
"""The part of the computation, see `branch`, that parameters after a step belong to."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Mistakes, mostly one, that reproduce the claims `explains`; `residual` is the largest difference between what
    they give and what is claimed, relative to the largest number of the array.

    With `from_claims` they do so from the claimed numbers before, not from the right ones. `entries` are the indices
    of the numbers that are explained where it is not the whole array; for slips, `right` are the numbers that follow.
    `only` are the parameters in whose steps alone it was made, by layer and name; empty where in all.
    """

    mistakes: tuple[Mistake, ...]
    explains: tuple[Key, ...]
    residual: float
    from_claims: bool = False
    entries: tuple[tuple[int, ...], ...] = ()
    right: tuple[float, ...] = ()
    only: tuple[Parameter, ...] = ()


class Effect(NamedTuple):
    """Which of the first wrong numbers a mistake changes and explains, in which branches it changes any, and which
    stages it exchanges."""

    changes: set[Key]
    explains: set[Key]
    branches: set[int]
    stages: set[str]

    def may_make(self, key: Key, other: "Effect") -> bool:
        """Whether a first wrong number can come from this mistake and another one: from both, or from this one alone;
        or it is written where another number belongs, or is made of the updated parameters, which the other one has
        changed."""
        if key in self.explains or (key in self.changes and key in other.changes):
            return True
        return "written" in self.stages and key in self.changes and not other.branches.isdisjoint({branch(key), UPDATE})


class Search:
    """What is claimed of a case, which of it is wrong, and how much work may still be spent on finding out why."""

    def __init__(self, case: Case, claims: Mapping[Key, Claim], truth: dict[Key, Any], wrong: list[Key]) -> None:
        self.case, self.claims, self.truth, self.wrong = case, claims, truth, wrong
        self.base = right(case)
        self.shared = shared_numbers(case, truth)
        self.signs = Signs(self.shared, claims)
        self.work = WORK
        self.cost = case.work + LAYER_WORK * case.depth
        self.left_out = 0
        self.wrong_keys = set(wrong)
        self.altered: dict[Any, Computation] = {}
        self.variants: dict[tuple[int, ...], list[Alteration]] = {}
        self.rivals: dict[Key, int] = {}
        self.first = {branch(key): key for key in reversed(wrong)}

    def evidence(self, keys: Iterable[Key], follows: Mapping[Key, Any] | None = None) -> Array:
        """How unlikely it is that the wrong numbers of these arrays are explained by chance: of each, the logarithm to
        base 10 of how many times its tolerance it is off by, from the right ones or from what `follows` in their
        place."""
        digits = []
        for key in keys:
            claim, true = self.claims[key], (self.truth if follows is None else follows)[key]
            if claim.values.shape == np.shape(true):
                off = np.abs(claim.values - true)
            else:  # All numbers are to be explained; a 0 could have been as large as the right ones.
                off = np.maximum(np.abs(claim.values), claim.scale)
            each = np.log10(np.maximum(off / np.maximum(claim.tolerance, SMALLEST), 1.0))
            digits.append(self.signs.evidence(key, each, together=True).ravel())
        return np.concatenate(digits)

    def is_no_chance(self, keys: Sequence[Key], follows: Mapping[Key, Any] | None = None) -> bool:
        """Whether these arrays show more digits than one of the mistakes that can alter the first would meet by chance:
        were they wrong in some other way, it would be named in fewer than CHANCE_SHARE of such cases. Parameters that
        are exactly those from before the step are no chance.
        """
        before = [self.case.before_step(key) for key in keys]
        if all(
            b is not None and np.array_equal(self.claims[key].values, b) for key, b in zip(keys, before, strict=True)
        ):
            return True
        if self.signs.are_turned(keys):
            return True
        return bool(self.evidence(keys, follows).sum() >= np.log10(max(self.tried(keys[0]), 1) / CHANCE_SHARE))

    def tried(self, key: Key) -> int:
        """How many of the candidates can alter a number."""
        if key not in self.rivals:
            self.rivals[key] = sum(
                any(reaches(stage, key) for stage in exchanged(self.computation((m,)), self.base))
                for m in self.candidates
            )
        return self.rivals[key]

    def independent(self, key: Key, digits: Array) -> Array:
        """Of the evidence of an array that of the numbers which do not follow from the others: softmax's errors add up
        to 0 in each row, whatever they come from."""
        layer = layer_of(key)
        if branch(key) != 2 or layer is None or key[-1] == "activations":
            return digits
        softmax = self.case.layers[layer].activation.kind in SOFTMAXES
        units = self.claims[key].values.shape[-1]
        least: Array = np.sort(digits.reshape(-1, units))[:, 1:] if softmax and units > 1 else digits
        return least

    def afford(self, passes: float = 1) -> bool:
        """Takes the work of some passes; where there is too little left, counts what is left out."""
        cost = int(passes * self.cost)
        if cost > self.work:
            self.left_out += 1
            return False
        self.work -= cost
        return True

    def computation(self, mistakes: Sequence[Any]) -> Computation:
        if len(mistakes) == 1 and mistakes[0] in self.altered:
            return self.altered[mistakes[0]]
        c = self.base
        for mistake in mistakes:
            c = mistake.alter(c, self.case)
        if len(mistakes) == 1:
            self.altered[mistakes[0]] = c
        return c

    def run(self, computation: Computation) -> Iterator[tuple[Key, Any]]:
        """Its numbers for this case, but for a forward pass that is the right one."""
        return run(computation, self.case, shared=self.shared)

    def attempt(self, mistakes: Sequence[Any], only: tuple[Parameter, ...] = ()) -> Diagnosis | None:
        """The diagnosis of these mistakes together, where they explain the first wrong numbers of a branch of the
        computation and contradict no right one. `only`: made in the steps of these parameters alone."""
        computation = self.computation(mistakes)
        if only:
            computation = in_steps_of(only, computation, self.base)
        try:
            failed = self._failed(computation)
            found = None if len(failed) == len(self.first) else self._diagnosis(mistakes, computation, failed)
        except FAILURES:
            return None
        return found and replace(found, only=only)

    def _failed(self, computation: Computation) -> set[int]:
        """The branches whose first wrong numbers a computation does not give; all where it is seen to give others in
        place of right ones.

        One that does not give those of the forward pass gives no others, and one that does not give those of the
        gradients no update, since each follows from the ones before.
        """
        stages = exchanged(computation, self.base)
        left = {key for key in self.first.values() if any(reaches(stage, key) for stage in stages)}
        given: set[int] = set()
        if left and self.afford():
            for key, numbers in self.run(computation):
                if key in left:
                    left.remove(key)
                    if self.claims[key].is_made(numbers, self.truth[key]):
                        given.add(branch(key))
                    elif branch(key) == 0:
                        break
                    elif branch(key) == 2:
                        left.discard(self.first.get(3, key))
                    if not left:
                        break
                elif self._contradicts(key, numbers):
                    return set(self.first)
        return self.first.keys() - given

    def _contradicts(self, key: Key, numbers: Any) -> bool:
        """Whether these are neither what is claimed, and right, nor the right numbers themselves."""
        true = self.truth[key]
        if numbers is true or key in self.wrong_keys or key not in self.claims:
            return False
        return not self.claims[key].agrees(numbers) and differs(numbers, true)

    def _diagnosis(self, mistakes: Sequence[Any], computation: Computation, failed: set[int]) -> Diagnosis | None:
        explained: list[Key] = []
        residual = 0.0
        for key, numbers in self.run(computation):
            if self._contradicts(key, numbers):
                return None
            if key in self.wrong_keys and branch(key) not in failed:
                claim = self.claims[key]
                if claim.is_made(numbers, self.truth[key]):
                    explained.append(key)
                    residual = max(residual, claim.residual(numbers))
        return Diagnosis(tuple(mistakes), tuple(explained), residual) if explained else None

    @cached_property
    def candidates(self) -> list[Alteration]:
        """The mistakes to try: those in all layers, and those in one layer where the first wrong numbers can come
        from it."""
        return self.near(self.first.values())

    def near(self, keys: Iterable[Key]) -> list[Alteration]:
        layers = tuple(sorted({i for key in keys for i in self.window(key)}))
        if layers not in self.variants:
            self.variants[layers] = list(variants(self.case, layers))
        return self.variants[layers]

    def window(self, key: Key) -> range:
        """The layers in which a mistake can have made these numbers: back along the way of the computation to the
        nearest layer that has other claims of the same branch."""
        i = layer_of(key)
        if i is None:
            return range(self.case.depth)
        claimed = self.claimed_layers[branch(key)]
        if branch(key) == 0:
            before = claimed[: bisect_left(claimed, i)]
            return range(before[-1] if before else 0, i + 1)
        after = claimed[bisect_right(claimed, i) :]
        return range(i, (after[0] if after else self.case.depth - 1) + 1)

    @cached_property
    def claimed_layers(self) -> dict[int, list[int]]:
        """The layers that have claims of each branch, in order."""
        layers: dict[int, set[int]] = {}
        for key in self.claims:
            if (i := layer_of(key)) is not None:
                layers.setdefault(branch(key), set()).add(i)
        return {part: sorted(found) for part, found in layers.items()}

    def pairs(self) -> list[Diagnosis]:
        """Pairs that explain everything, of mistakes that change the wrong numbers and contradict no right one.

        The first wrong numbers of each branch must come from one of the two alone, or from both together. Few numbers
        of few digits would be explained by some pair whatever they are.
        """
        if self.evidence(self.wrong).sum() < PAIR_CHANCE:
            return []
        frequent = [m for m in self.near(self.wrong) if not isinstance(m, Seldom)]
        effects = [(m, effect) for m in frequent if self.afford() and (effect := self._effect(m)) is not None]
        found, count, keys = [], 0, set(self.first.values())
        zeros = {key for key in keys if not self.claims[key].magnitude}
        for (one, first), (other, second) in combinations(effects, 2):
            if not keys <= first.changes | second.changes or one.kind == other.kind:
                continue
            if not all(first.may_make(key, second) or second.may_make(key, first) for key in keys):
                continue
            # Zeros are what is left of two in many ways: one of them must make them alone.
            if not all(key in first.explains | second.explains for key in zeros):
                continue
            together = (first.changes & second.changes) or (first.stages & second.stages)
            for pair in [(one, other), (other, one)] if together else [(one, other)]:
                count += 1
                if count > PAIRS:
                    self.left_out += 1
                else:
                    found.append(self.attempt(pair))
        return best(self, [d for d in found if d is not None and len(d.explains) == len(self.wrong)])

    def _effect(self, mistake: Alteration) -> "Effect | None":
        """What a mistake does to the first wrong numbers; None where it contradicts right ones, or changes nothing."""
        computation = self.computation((mistake,))
        changes, explains, branches = set(), set(), set()
        try:
            for key, numbers in self.run(computation):
                if key in self.wrong_keys:
                    if differs(numbers, self.truth[key]):
                        branches.add(branch(key))
                        if key in self.first.values():
                            changes.add(key)
                            if self.claims[key].is_made(numbers, self.truth[key]):
                                explains.add(key)
                elif self._contradicts(key, numbers):
                    return None
        except FAILURES:
            return None
        return Effect(changes, explains, branches, exchanged(computation, self.base)) if branches else None


def in_steps_of(only: tuple[Parameter, ...], altered: Computation, base: Computation) -> Computation:
    """`altered` in the steps of some parameters, and `base` in those of the others."""

    def updated(n: Numbers, i: int, name: str, gradient: Array) -> Array:
        c = altered if (i, name) in only else base
        return c.updated(replace(n, computation=c), i, name, gradient)

    return base._replace(updated=updated)


def branch(key: Key) -> int:
    """The part of the computation that a number belongs to: 0 forward pass, 1 loss, 2 gradients, 3 update."""
    if key[0] in ("network", "update_norm"):
        return 3
    if key[0] in ("loss", "example_losses", "penalty"):
        return 1
    return 2 if "gradients" in key or key[0] in ("input_gradients", "gradient_norm") else 0


def layer_of(key: Key) -> int | None:
    return int(key[key.index("layers") + 1]) if "layers" in key else None


def best(search: Search, found: list[Diagnosis]) -> list[Diagnosis]:
    """Best first: what explains most, then the smaller residual, then the simpler; of one kind of mistake the first
    that explains as much. Those that come near are none where another gives the very numbers."""
    order: dict[Any, int] = {m: k for k, m in enumerate(search.near(search.wrong))} if len(found) > 1 else {}

    def rank(d: Diagnosis) -> tuple[Any, ...]:
        rounded = 0 if d.residual < EXACT else float(f"{d.residual:.0e}")
        return (-len(d.explains), rounded, len(d.mistakes), [order.get(m, len(order)) for m in d.mistakes])

    ranked = sorted(found, key=rank)
    kept: list[Diagnosis] = []
    for d in ranked:
        kinds, place = {m.kind for m in d.mistakes}, set(d.explains)
        nearer = (k for k in kept if place <= set(k.explains))
        if not any({m.kind for m in k.mistakes} == kinds or k.residual < EXACT <= d.residual for k in nearer):
            kept.append(d)
    return kept


def differs(numbers: Any, others: Any) -> bool:
    numbers, others = np.asarray(numbers), np.asarray(others)
    if numbers.shape != others.shape:
        return True
    if (numbers == others).all():
        return False
    scale = float(np.abs(others).max(initial=0))
    return not bool((np.abs(numbers - others) <= 1e-9 * scale).all())


def reaches(stage: str, key: Key) -> bool:
    """Whether a stage is on the way to a number."""
    place = branch(key)
    if stage in ("optimizer", "updated", "clipped"):
        return place == 3
    if stage in ("loss_values", "loss_scales", "penalty"):
        return place == 1
    if stage in ("by_weights", "by_bias", "by_penalty"):
        own = {"by_weights": ("weights",), "by_bias": ("bias",)}.get(stage, ("weights", "bias"))
        return place == 3 or key == GRADIENT_NORM or (place == 2 and key[-1] in own)
    return place >= 2 or stage in ("loss", "preactivations", "activations", "written")
