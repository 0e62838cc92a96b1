"""Claimed numbers of a step checked against the engine's own, and the mistakes that explain those that are wrong."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from engine.claims import Claim, Comparison, compare
from engine.mistakes.computation import EXAMPLE_LOSSES, Case, Key, right
from engine.mistakes.fitted import singles
from engine.mistakes.numerics import Float32InPlaceOfFloat64, WrongFromHere, in_dtype
from engine.mistakes.run import run
from engine.mistakes.search import UPDATE, Diagnosis, Search, branch, differs, layer_of
from engine.mistakes.walk import Walk

RELATIVE = 1e-6
MOST_ARRAYS = 3
"""More arrays than these have no typing error each."""
FOLLOWS = "These numbers follow from the claimed numbers before them: the error came in earlier."


@dataclass(frozen=True)
class Verification:
    """`comparisons` stand in the order of the computation, `diagnoses` best first. `unexplained` are the wrong arrays
    that neither a known mistake nor the claimed numbers before them account for. `left_out` counts the mistakes and
    pairs of them that were not tried, for want of work."""

    truth: dict[Key, Any]
    comparisons: list[Comparison]
    diagnoses: list[Diagnosis]
    unexplained: list[Key]
    left_out: int

    @property
    def matches(self) -> bool:
        return all(c.matches for c in self.comparisons)


@np.errstate(all="ignore")
def verify(case: Case, claims: Iterable[Claim], relative: float = RELATIVE, absolute: float = 1e-9) -> Verification:
    """Compares all claims, and looks for the mistakes behind those that are wrong.

    The case is one that `engine.step.step` (or `differentiate`) computes without an error. In float32 it is compared
    in float64, with float32's own errors allowed. Where `relative` is below its default, somebody means it: then no
    claim is taken as rounded.
    """
    float32 = single = case.inputs.dtype == np.float32
    if single:
        case = in_dtype(case, np.float64)
    claims = list(claims)
    nonzero = [claim for claim in claims if claim.magnitude]
    rounded = bool(nonzero) and all(claim.unit is not None for claim in nonzero)
    zeros_to = max(claim.decimals for claim in nonzero) if rounded else None
    # One number alone, such as a norm, may have been a float64 among arrays that were not.
    single = single or any(claim.is_single for claim in claims)
    truth = dict(run(right(case), case))
    scales = {key: float(np.abs(numbers).max(initial=0)) for key, numbers in truth.items()}
    by_key = {c.key: replace(c, single=single, zeros_to=zeros_to, scale=scales.get(c.key, 0.0)) for c in claims}
    comparisons = _compare(case, by_key, truth, relative, absolute, float32)
    wrong = [c.key for c in comparisons if not c.matches and c.key in truth]
    if not wrong:
        return Verification(truth, comparisons, _precision(comparisons), [], 0)
    search = Search(case, by_key, truth, wrong)
    walk = Walk(search)
    diagnoses, unexplained = _explain(search, walk)
    follows = walk.follows
    if not diagnoses and not unexplained:  # Nothing wrong is before them that they could follow from.
        follows, unexplained = set(), wrong
    told = [c._replace(message=c.message or FOLLOWS) if c.key in follows else c for c in comparisons]
    return Verification(truth, told, diagnoses, unexplained, search.left_out)


def _compare(
    case: Case, claims: dict[Key, Claim], truth: dict[Key, Any], relative: float, absolute: float, float32: bool
) -> list[Comparison]:
    """Each claim against the truth; of rounded ones, against what follows from the claims that match too. `float32`
    says that the request computes in float32."""
    lenient = relative >= RELATIVE
    single: dict[Key, Any] = {}
    if float32 or (lenient and any(claim.may_be_single for claim in claims.values())):
        narrow = in_dtype(case, np.float32)
        single = dict(run(right(narrow), narrow))
    given: dict[Key, Any] = {}
    rounded = lenient and any(claim.unit is not None for claim in claims.values())
    comparisons = []
    for key, numbers in run(right(case), case, given) if rounded else truth.items():
        if key not in claims:
            continue
        recomputed = numbers if rounded and given else None
        found = compare(
            claims[key],
            truth[key],
            relative,
            absolute,
            recomputed,
            single.get(key),
            lenient and not _stands_still(case, claims[key], claims, truth[key]),
        )
        comparisons.append(found)
        if found.matches:
            given[key] = claims[key].values
    for key in [key for key in claims if key not in truth]:
        what = "are no example losses" if key == EXAMPLE_LOSSES else f"is no {key[-1]}"
        comparisons.append(Comparison(key, False, 0.0, 0.0, None, None, None, f"There {what} here."))
    return comparisons


def _stands_still(case: Case, claim: Claim, claims: dict[Key, Claim], right: Any) -> bool:
    """Whether these are the parameters from before the step, and those after it would be others with as many decimals,
    and as many digits, as the other claims have: then they are not rounded, but were not updated."""
    before = case.before_step(claim.key)
    if before is None or not np.array_equal(claim.values, before):
        return False
    others = [other for other in claims.values() if other.magnitude and other.key[0] != "network"]
    if any(other.unit is None for other in others):
        return True
    decimals = max([claim.decimals, *(other.decimals for other in others)])
    digits = max([claim.most_digits, *(other.most_digits for other in others)])
    sizes = np.floor(np.log10(np.maximum(np.abs(right), np.finfo(np.float64).tiny)))
    unit = np.maximum(10.0**-decimals, 10.0 ** (sizes + 1 - digits))
    return bool((np.abs(claim.values - right) > 0.5000001 * unit).any())


def _precision(comparisons: list[Comparison]) -> list[Diagnosis]:
    """That the numbers come from float32, where they match as such."""
    keys = tuple(c.key for c in comparisons if c.rounding == "float32")
    if not keys:
        return []
    residual = max(c.largest_relative_error for c in comparisons if c.key in keys)
    return [Diagnosis((Float32InPlaceOfFloat64(),), keys, residual)]


def _explain(search: Search, walk: Walk) -> tuple[list[Diagnosis], list[Key]]:
    alone = singles(search)
    complete = [d for d in alone if len(d.explains) == len(search.wrong)]
    if complete:
        return complete, []
    rest = set(search.wrong)
    chosen = []
    for d in alone:
        if set(d.explains) & rest and not set(d.explains) <= walk.follows:
            chosen.append(d)
            rest -= set(d.explains)
    if not rest:
        return chosen, []
    local = walk.singles()
    rest -= walk.follows | {key for d in local for key in d.explains}
    parts, whole = walk.parts(rest)
    if rest - whole:
        if pairs := search.pairs():
            return pairs, []
        local += [d for d in parts if d.explains[0] in whole] + walk.pairs(rest - whole)
        rest -= {key for d in local if not d.entries for key in d.explains}
    else:
        local += parts
    multiples = walk.multiples(rest)
    whole = {key for d in multiples for key in d.explains}
    rest -= whole
    local = [d for d in local if not (d.entries and d.explains[0] in whole)] + multiples
    local = walk.in_order(_without_typos(local, [key for key in rest if not _accounted(key, walk, local)]))
    in_part = {key for d in local if d.entries for key in d.explains}
    elsewhere = {key for d in chosen for key in d.explains}
    local = [d for d in local if not set(d.explains) <= elsewhere]
    open_keys = [key for key in search.wrong if key in rest]
    begins = _begins(search, walk, [key for key in open_keys if key not in in_part])
    return chosen + local + begins, [key for key in open_keys if not _accounted(key, walk, local)]


def _without_typos(found: list[Diagnosis], unexplained: Iterable[Key]) -> list[Diagnosis]:
    """Without single digits that would be wrong in several arrays, or in several after a step, or beside arrays
    of the same part of the computation that nothing explains: then numbers are off for another reason."""
    typos = [d for d in found if any(m.kind == "digit_wrong" for m in d.mistakes)]
    if len(typos) > MOST_ARRAYS:
        return [d for d in found if d not in typos]
    parts = {branch(key) for key in unexplained}
    if [branch(d.explains[0]) for d in typos].count(UPDATE) > 1:
        parts.add(UPDATE)
    return [d for d in found if d not in typos or branch(d.explains[0]) not in parts]


def _accounted(key: Key, walk: Walk, local: list[Diagnosis]) -> bool:
    """Whether all of an array's numbers follow, or are explained one by one."""
    if key not in walk.recomputed or key not in walk.given:
        return False
    claim = walk.search.claims[key]
    fine = np.array(np.abs(claim.values - walk.recomputed[key]) <= claim.tolerance)
    for d in local:
        if key in d.explains:
            for index in d.entries:
                fine[index] = True
    return bool(fine.all())


def _begins(search: Search, walk: Walk, open_keys: list[Key]) -> list[Diagnosis]:
    """That everything claimed after an array that nothing explains follows from it, and everything before is right."""
    places = {(layer_of(key), branch(key)) for key in open_keys}
    layer = layer_of(open_keys[0]) if len(places) == 1 else None
    if layer is None:
        return []
    for key in open_keys:
        numbers = walk.from_here(key)
        after = [
            k
            for k in search.wrong[search.wrong.index(key) + 1 :]
            if search.claims[k].agrees(numbers[k]) and differs(numbers[k], search.truth[k])
        ]
        if after:
            residual = max(search.claims[k].residual(numbers[k]) for k in after)
            return [Diagnosis((WrongFromHere(layer=layer),), (*open_keys, *after), residual, from_claims=True)]
    return []
