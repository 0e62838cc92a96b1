"""Finding the mistakes that have a number of their own, such as a factor, which is fitted to what is claimed."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from engine.claims import Claim
from engine.mistakes.clipping import clippings
from engine.mistakes.computation import LOSS, PENALTY, Key, layer_keys
from engine.mistakes.data import preprocessings
from engine.mistakes.decay import DECAYING, Decay, Decaying, WeightDecayNotAskedFor, strength
from engine.mistakes.dropout import scales
from engine.mistakes.factor import ConstantFactor, digits_of, forms, nearest, readings
from engine.mistakes.numerics import FiniteDifferences, differences, estimated_step
from engine.mistakes.run import exchanged
from engine.mistakes.search import CHANCE, FAILURES, Diagnosis, Parameter, Search, best, branch, layer_of
from engine.mistakes.update import LearningRateOff, NotUpdated
from engine.rules import Array

SAMPLES = 8
"""Into how many parts an array is cut, of each of which one entry is looked at first."""

FACTOR_DIGITS = 2
"""How many digits a factor of the loss may have, as a fraction or as a decimal."""

HARDLY = 1e-5
"""By how much a factor is off from 1 at least."""


def singles(search: Search) -> list[Diagnosis]:
    """The mistakes that are made alone; those with a number of their own where no other explains everything."""
    tried = [search.attempt((m,)) for m in search.candidates]
    found = [d for d in tried if d is not None and search.is_no_chance(d.explains)]
    if not any(len(d.explains) == len(search.wrong) for d in found):
        found += of_one_line(search)
    for fitted in (clipping, preprocessing, factor, loss_factor, decay, dropout, finite_differences):
        if not any(len(d.explains) == len(search.wrong) for d in found) and (d := fitted(search)) is not None:
            found.append(d)
    return best(search, found)


def of_one_line(search: Search) -> list[Diagnosis]:
    """The mistakes of an update that are made in the line of the weights alone, in that of the biases, or in those of
    one layer, where other parameters are claimed and right. A factor is fitted, see `factor`; `not_updated` says itself
    of which parameters."""
    claimed, only = parameters(search.claims), parameters(search.wrong)
    of_kind = tuple(p for p in claimed if only and p[1] == only[0][1])
    if only == claimed or (only != of_kind and len({layer for layer, _ in only}) != 1):
        return []
    rules = [m for m in search.candidates if not isinstance(m, LearningRateOff | NotUpdated)]
    rules = [m for m in rules if exchanged(search.computation((m,)), search.base) <= {"optimizer", "updated"}]
    tried = [search.attempt((m,), only) for m in rules]
    return [d for d in tried if d is not None and search.is_no_chance(d.explains)]


def parameters(keys: Iterable[Key]) -> tuple[Parameter, ...]:
    """Those after a step among some numbers."""
    return tuple(sorted((int(key[2]), str(key[3])) for key in keys if key[0] == "network"))


def factor(search: Search) -> Diagnosis | None:
    """One factor, where there is one that gives the first wrong gradient, or the first wrong parameter's step."""
    key = search.first.get(2, search.first.get(3))
    layer = None if key is None else layer_of(key)
    if key is None or layer is None or search.claims[key].values.shape != np.shape(search.truth[key]):
        return None
    claim, origin = search.claims[key], origin_of(search, key, layer)
    true = search.truth[key] - origin
    fitting = fitting_factor(search, claim, true, origin)
    if fitting is None or claim.agrees(origin + 0 * true):
        return None
    value, meaning = fitting
    entry, digits = int(np.abs(true).argmax()), digits_of(value)
    tried = [search.attempt((m,)) for m in forms(value, meaning, layer, update=branch(key) == 3)]
    found = [d for d in tried if d is not None and _outweighs(search, d, key, entry, digits)]
    return max(found, key=lambda d: len(d.explains), default=None)


def loss_factor(search: Search) -> Diagnosis | None:
    """A simple factor of the loss; one of many digits would be any one number's."""
    if search.first.get(1) != LOSS:
        return None
    rest = search.truth[PENALTY]
    fitting = fitting_factor(search, search.claims[LOSS], np.asarray(search.truth[LOSS] - rest), rest)
    if fitting is None or (fitting[1] is None and digits_of(fitting[0]) > FACTOR_DIGITS):
        return None
    found = search.attempt((ConstantFactor(times=fitting[0], at="loss", meaning=fitting[1]),))
    return found if found and _outweighs(search, found, LOSS, 0, digits_of(fitting[0])) else None


def fitting_factor(search: Search, claim: Claim, true: Array, origin: Any) -> tuple[float, str | None] | None:
    """The factor that makes the claimed numbers of what is true beside `origin`, and what it is; None where none
    does. One that is hardly not 1 is what rounding errors come to where large terms cancel."""
    times = nearest(claim.values - origin, true)
    found = [] if times is None or abs(times - 1) < HARDLY else readings(times, search.case)
    return next((r for r in found if claim.agrees(origin + r[0] * true)), None)


def origin_of(search: Search, key: Key, layer: int) -> Any:
    """What stays as it is where a gradient, or a step, is multiplied: the penalty's part, or what is updated."""
    before = search.case.before_step(key)
    if before is None:
        return search.base.by_penalty(search.shared, layer, str(key[-1]))
    return before


def decay(search: Search) -> Diagnosis | None:
    """Weight decay that the request does not ask for, where some gives the first wrong gradient of weights, or the
    first wrong weights after a step, or the loss."""
    if search.case.regularization is not None or getattr(search.case.optimizer, "weight_decay", False):
        return None
    key = search.first.get(2, search.first.get(3, search.first.get(1)))
    if key is None or key[-1] not in ("weights", "loss"):
        return None
    if search.claims[key].values.shape != np.shape(search.truth[key]):
        return None
    places: dict[int, list[Decay]] = {1: ["loss"], 2: ["gradients"], 3: ["step", "decoupled"]}
    tried = [_decay(search, key, at, of) for at in places[branch(key)] for of in DECAYING]
    return max((d for d in tried if d is not None), key=lambda d: len(d.explains), default=None)


def _decay(search: Search, key: Key, at: Decay, of: Decaying) -> Diagnosis | None:
    rule = WeightDecayNotAskedFor(at=at, of=of)
    claim, right = search.claims[key], np.asarray(search.truth[key])
    fitting = strength(
        claim.values, right, lambda value: _made(search, replace(rule, strength=value), key), claim.agrees
    )
    if fitting is None:
        return None
    rule = replace(rule, strength=fitting[0])
    entry = int(np.abs(claim.values - right).argmax())
    wholes = [replace(rule, at="both"), rule] if at == "gradients" else [rule]
    found = [d for m in wholes if (d := search.attempt((m,))) is not None]
    return next((d for d in found if _outweighs(search, d, key, entry, fitting[1])), None)


def _made(search: Search, mistake: Any, key: Key) -> Array | None:
    """What a mistake gives of a number; None where it cannot be computed."""
    if not search.afford():
        return None
    try:
        pairs = search.run(mistake.alter(search.base, search.case))
        return next((np.asarray(numbers) for k, numbers in pairs if k == key), None)
    except FAILURES:
        return None


def clipping(search: Search) -> Diagnosis | None:
    """A clipping that the request does not ask for; by the norm it is a factor too, of many digits."""
    return _most(search, clippings(search.case))


def preprocessing(search: Search) -> Diagnosis | None:
    """Inputs or targets that were changed before they were used."""
    return _most(search, preprocessings(search.case))


def dropout(search: Search) -> Diagnosis | None:
    """A scale of dropout."""
    layers = sorted({i for key in search.first.values() for i in search.window(key)})
    return _most(search, scales(search.case, layers))


def _most(search: Search, mistakes: Iterable[Any]) -> Diagnosis | None:
    """The one of these mistakes that explains most."""
    tried = [search.attempt((m,)) for m in mistakes]
    found = [d for d in tried if d is not None and search.is_no_chance(d.explains)]
    return max(found, key=lambda d: len(d.explains), default=None)


def finite_differences(search: Search) -> Diagnosis | None:
    """Finite differences, where a step can be found that gives the first wrong gradient of a parameter."""
    key = search.first.get(2)
    name = None if key is None else str(key[-1])
    if key is None or name not in ("weights", "bias") or search.claims[key].values.shape != search.truth[key].shape:
        return None
    i = int(key[1])
    claimed, true = search.claims[key].values, search.truth[key]
    entry = int(abs(claimed - true).argmax())
    parameters = sum(p.size for layer in search.case.network.parameters for p in layer.values())
    for scheme in ("central", "forward"):
        if not search.afford(20):
            return None
        right_entry, claimed_entry = float(true.flat[entry]), float(claimed.flat[entry])
        step = estimated_step(search.shared, i, name, entry, right_entry, claimed_entry, scheme)
        if step is None or not search.afford(2 * parameters):
            continue
        for digits in (1, 2, 3, 12):
            rounded = float(f"{step:.{digits - 1}e}")
            if abs(rounded / step - 1) < 1e-2 and _samples_agree(search, key, rounded, scheme):
                whole = FiniteDifferences(scheme=scheme, of="inputs_too", step=rounded)
                tried = [search.attempt((m,)) for m in (replace(whole, of="parameters"), whole)]
                found = [d for d in tried if d is not None and _outweighs(search, d, key, entry, digits)]
                if found:
                    return max(found, key=lambda d: len(d.explains))
    return None


def _samples_agree(search: Search, key: Key, step: float, scheme: str) -> bool:
    """Whether differences give some entries of a parameter's gradient, before all of them are computed."""
    claim, name = search.claims[key], str(key[-1])
    entries = list(range(0, claim.values.size, max(claim.values.size // SAMPLES, 1)))
    try:
        made = differences(search.shared, int(key[1]), name, step, scheme, entries)
    except FAILURES:
        return False
    return bool((np.abs(made - claim.values.ravel()[entries]) <= claim.tolerance.ravel()[entries]).all())


def _outweighs(search: Search, d: Diagnosis, key: Key, entry: int, digits: int) -> bool:
    """Whether a number of so many digits, chosen to fit one entry, explains more than that. A parameter after the step
    follows from its gradient, where that is explained as well."""
    chosen = float(search.evidence([key])[entry])
    follow = {layer_keys(i).new[name] for i, name in search.case.everywhere if layer_keys(i).by[name] in d.explains}
    own = [k for k in d.explains if k not in follow]
    others = sum(float(search.independent(k, search.evidence([k])).sum()) for k in own) - chosen
    return others + max(chosen - digits, 0.0) >= CHANCE
