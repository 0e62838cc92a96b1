"""A computation run: every number in order, and what an altered one takes over from the right one."""

from collections.abc import Iterator, Mapping, Set
from typing import Any

from engine.clipping import norm
from engine.mistakes.computation import (
    EXAMPLE_LOSSES,
    GRADIENT_NORM,
    INPUT_GRADIENTS,
    LOSS,
    OUTPUTS,
    PENALTY,
    UPDATE_NORM,
    Case,
    Computation,
    Key,
    Numbers,
    activations,
    layer_keys,
    loss_values,
    own_losses,
    right,
    scales,
)
from engine.reduction import reduce
from engine.rules import Array

NOTHING: Mapping[Any, Any] = {}


def run(
    computation: Computation,
    case: Case,
    given: Mapping[Key, Any] = NOTHING,
    implied: Mapping[int, Array] = NOTHING,
    shared: Numbers | None = None,
) -> Iterator[tuple[Key, Any]]:
    """Every number in the order of the computation.

    Where `given` holds a key, its value goes on in place of the one computed (which is still yielded); what it holds
    is looked up when the walk arrives there. `implied` are gradients by a layer's preactivations that go on from
    there to the layer before, after the layer's own parameters. `shared` are the numbers of the right computation with
    the same given and implied: what an altered one has in common with it is not computed again, and a forward pass that
    is not altered is not yielded again.
    """
    pairs = _walk(computation, case, given, implied, shared)
    return pairs if computation.written is None else iter(computation.written(dict(pairs)).items())


def shared_numbers(case: Case, answer: Mapping[Key, Any], given: Mapping[Key, Any] = NOTHING) -> Numbers:
    """The numbers of the right computation from its answer, with what was given in place of it, to share with runs."""
    n = Numbers(case, right(case), answer=answer)
    taken = {**answer, **given}
    for i in range(case.depth):
        keys = layer_keys(i)
        n.z.append(taken[keys.preactivations])
        n.a.append(taken[keys.activations])
        n.by_a.append(taken[keys.by_activations])
        n.by_z.append(taken[keys.by_preactivations])
        n.by.append({name: taken[keys.by[name]] for name in case.layers[i].parameters})
    n.a[-1] = given.get(OUTPUTS, n.a[-1])
    n.given_outputs = keys.activations in given or OUTPUTS in given
    n.values = None if case.loss is None else loss_values(n)
    n.scales = scales(n)
    return n


STAGES = frozenset(Computation._fields)
FORWARD = {"preactivations", "activations"}
VALUES = {"loss", "loss_values"}
LOSSES = {*VALUES, "loss_scales", "penalty"}
OUTPUT_GRADIENTS = {*VALUES, "scales", "output_gradients", "by_outputs"}
ERRORS = {*VALUES, "scales", "combined", "by_preactivations"}
UPDATE = {"trained", "clipped", "optimizer", "updated"}
"""The stages that a part of the computation depends on: what comes of them is the same where all of these are."""


def exchanged(computation: Computation, base: Computation) -> set[str]:
    """The stages that are not those of another computation."""
    stages = zip(Computation._fields, computation, base, strict=True)
    return {name for name, own, other in stages if own is not other}


def _walk(
    c: Computation, case: Case, given: Mapping[Key, Any], implied: Mapping[int, Array], shared: Numbers | None
) -> Iterator[tuple[Key, Any]]:
    n = Numbers(case, c)
    altered = STAGES if shared is None else exchanged(c, shared.computation)
    if shared is not None and altered.isdisjoint(FORWARD):
        n.z, n.a, n.given_outputs = shared.z, shared.a, shared.given_outputs
    else:
        shared, altered = n, STAGES  # Nothing is shared.
        # What altered activations give is no function of the logits that a combined loss could be taken on.
        other_activations = c.activations is not activations
        for i in range(case.depth):
            keys = layer_keys(i)
            z = c.preactivations(n, i)
            yield keys.preactivations, z
            n.z.append(given.get(keys.preactivations, z))
            a = c.activations(n, i)
            yield keys.activations, a
            n.a.append(given.get(keys.activations, a))
            n.given_outputs = other_activations or keys.activations in given
        yield OUTPUTS, n.a[-1]
        if OUTPUTS in given:
            n.a[-1], n.given_outputs = given[OUTPUTS], True
    if altered.isdisjoint(LOSSES):
        n.values = shared.values
        yield from ((key, shared.answer[key]) for key in (EXAMPLE_LOSSES, LOSS, PENALTY) if key in shared.answer)
    else:
        rest = c.penalty(n)
        if c.loss is not None:
            n.values = shared.values if altered.isdisjoint(VALUES) else c.loss_values(n)
            yield EXAMPLE_LOSSES, own_losses(n)
            yield LOSS, reduce(n.values, c.loss_scales(n)) + rest
        yield PENALTY, rest
    n.scales = shared.scales if altered.isdisjoint({*VALUES, "scales"}) else c.scales(n)
    yield from _backward(c, n, given, implied, shared, altered)
    if case.optimizer is not None:
        yield from _update(c, n, given, shared, altered)


def _backward(
    c: Computation,
    n: Numbers,
    given: Mapping[Key, Any],
    implied: Mapping[int, Array],
    shared: Numbers,
    altered: Set[str],
) -> Iterator[tuple[Key, Any]]:
    """A stage that is not altered makes of the same arrays what it made in the numbers that are shared."""
    depth = n.case.depth
    n.by_a, n.by_z, n.by = [None] * depth, [None] * depth, [{} for _ in range(depth)]
    key = layer_keys(n.last).by_activations
    grad = shared.answer[key] if altered.isdisjoint(OUTPUT_GRADIENTS) else c.by_outputs(n)
    same_errors, same_passed = altered.isdisjoint(ERRORS), "passed_back" not in altered
    same = {name: altered.isdisjoint({f"by_{name}", "by_penalty"}) for name in ("weights", "bias")}
    for i in range(depth - 1, -1, -1):
        keys = layer_keys(i)
        yield keys.by_activations, grad
        n.by_a[i] = given.get(keys.by_activations, grad)
        kept = same_errors and n.by_a[i] is shared.by_a[i]
        delta = shared.answer[keys.by_preactivations] if kept else c.by_preactivations(n, i)
        yield keys.by_preactivations, delta
        n.by_z[i] = given.get(keys.by_preactivations, delta)
        kept = n.by_z[i] is shared.by_z[i]
        for name in n.layer(i).parameters:
            if kept and same[name]:
                gradient = shared.answer[keys.by[name]]
            else:
                gradient = (c.by_weights if name == "weights" else c.by_bias)(n, i) + c.by_penalty(n, i, name)
            yield keys.by[name], gradient
            n.by[i][name] = given.get(keys.by[name], gradient)
        key = layer_keys(i - 1).by_activations if i else INPUT_GRADIENTS
        n.by_z[i] = implied.get(i, n.by_z[i])
        grad = shared.answer[key] if kept and same_passed else c.passed_back(n, i)
    yield INPUT_GRADIENTS, grad
    same_gradients = "trained" not in altered and all(map(_is_same, n.by, shared.by))
    yield GRADIENT_NORM, shared.answer[GRADIENT_NORM] if same_gradients else norm(_trainable(n))


def _is_same(one: dict[str, Array], other: dict[str, Array]) -> bool:
    return all(one[name] is other[name] for name in one)


def _trainable(n: Numbers) -> list[Array]:
    return [n.by[i][name] for i, name in n.computation.trained(n.case)]


def _update(
    c: Computation, n: Numbers, given: Mapping[Key, Any], shared: Numbers, altered: Set[str]
) -> Iterator[tuple[Key, Any]]:
    gradients = dict(zip(c.trained(n.case), c.clipped(n, _trainable(n)), strict=True))
    same = altered.isdisjoint(UPDATE) and n.case.clipping is None
    changes = []
    for i, layer in enumerate(n.case.layers):
        for name, old in layer.parameters.items():
            key, new = layer_keys(i).new[name], old
            if same and n.by[i][name] is shared.by[i][name]:
                new = shared.answer[key]
            elif (i, name) in gradients:
                new = c.updated(n, i, name, gradients[i, name])
            yield key, new
            changes.append(given.get(key, new) - old)
    yield UPDATE_NORM, norm(changes)
