"""The loss of each example before the reduction, number by number where its formula is a sum."""

import numpy as np

from engine.derivation.derivation import Statement, Worked
from engine.derivation.formulas import Applied, Difference, Formula, Numbers, Product, Squared, Sum, equation, number
from engine.derivation.judging import (
    Judged,
    agree,
    counted_targets,
    effective_targets,
    probabilities,
    without_smoothing,
)
from engine.losses import HalfSquaredError, Mse
from engine.probability_losses import BinaryCrossEntropy
from engine.rules import Array, column
from engine.wording import capitalized

MOST_LINES = 8
"""So many losses are worked out one by one; more are told together."""
SQUARES = "The square of the distance from the target"
HALF_SQUARES = "Half the sum of the squared distances from the targets"
CLASSES = "Only classes with a target above 0 count"
BINARY = "The logarithm of y counts where the target is 1, that of 1 - y where it is 0"


def example_loss_steps(worked: Worked, seen: Judged) -> list[Statement]:
    """Each loss on its own where they are few and its formula is a sum, else all in one step."""
    if max(seen.values.size, seen.targets.shape[1]) <= MOST_LINES:
        lines = [_line(worked, seen, place) for place in np.ndindex(seen.values.shape)]
        steps = [line for line in lines if line is not None]
        if len(steps) == len(lines):
            return steps
    return [_all_together(worked, without_smoothing(seen))]


def _line(worked: Worked, seen: Judged, place: tuple[int, ...]) -> Statement | None:
    """The loss of an example, or of one output of it; None where it is not told number by number."""
    n, outputs = place[0], list(place[1:]) or slice(None)
    a = worked.before.trace[-1].activations
    p = probabilities(seen.loss, a)
    y, t = (a if p is None else p)[n, outputs], seen.targets[n, outputs]
    value = seen.values[place]
    written = _squares(seen, y, t) or _logarithms(seen, y, n, outputs, value)
    if written is None:
        return None
    formula, text = written
    names = [f"example {n + 1}"] if worked.batch > 1 else []
    if len(place) > 1 and seen.values.shape[1] > 1:
        names.append(f"output {place[1] + 1}")
    index = ",".join(str(k + 1) for k, size in zip(place, seen.values.shape, strict=True) if size > 1)
    told = capitalized(", ".join(names))
    if not any(place):
        told = f"{told}. {text}" if told else text
    left = rf"\ell_{{{index}}}" if index else r"\ell"
    return Statement(f"{told}:", equation(left, formula, number(value)), value)


def _squares(seen: Judged, y: Array, t: Array) -> tuple[Formula, str] | None:
    if not isinstance(seen.loss, Mse | HalfSquaredError):
        return None
    squares = [Squared(Difference(number(p), number(q))) for p, q in zip(y, t, strict=True)]
    inner: Formula = squares[0] if len(squares) == 1 else Sum(tuple(squares))
    if isinstance(seen.loss, HalfSquaredError):
        return Product((number(np.asarray(0.5, y.dtype)), inner)), HALF_SQUARES
    return inner, SQUARES


def _logarithms(seen: Judged, y: Array, n: int, outputs: list[int] | slice, value: Array) -> tuple[Formula, str] | None:
    """A cross-entropy as factors times logarithms; None where it is none, or where that way loses digits."""
    targets, loss = effective_targets(seen), seen.loss
    if targets is not None:
        pairs, text = list(zip(-targets[n], y, strict=True)), CLASSES
    elif isinstance(loss, BinaryCrossEntropy) and loss.class_weights is None:
        t = counted_targets(loss, y, seen.targets[n, outputs])
        pairs, text = [(-t[0], y[0]), (t[0] - 1, 1 - y[0])], BINARY
    else:
        return None
    pairs = [(factor, p) for factor, p in pairs if factor != 0]
    if not pairs or not all(p > 0 for _, p in pairs):
        return None
    if not agree(sum(factor * np.log(p) for factor, p in pairs), value, 1 + np.abs(value)):
        return None
    terms = [Product((number(factor), Applied(r"\log", np.log, (number(p),)))) for factor, p in pairs]
    return (terms[0] if len(terms) == 1 else Sum(tuple(terms))), text


def _all_together(worked: Worked, seen: Judged) -> Statement:
    _, z, a = worked.before.trace[-1]
    values = seen.values
    what = "of each example" if values.ndim == 1 else "of each output"
    if worked.batch > 1 and values.ndim == 2:
        what += " of each example"
    if agree(seen.loss.values(a, seen.targets), values, 1 + np.abs(values)):
        rule, arguments = seen.loss.values, (Numbers(a), Numbers(seen.targets))
    else:
        assert seen.combined is not None
        what += ", from what goes into the last activation"
        rule, arguments = seen.combined.values, (Numbers(seen.sign * z), Numbers(seen.targets))

    def in_rows(y: Array, t: Array) -> Array:
        result = rule(y, t)
        return column(result) if result.ndim == 1 else result

    shown = column(values) if values.ndim == 1 else values
    formula = equation(r"\ell", Applied(r"\ell", in_rows, arguments), Numbers(shown))
    return Statement(f"The loss {what}:", formula, values)
