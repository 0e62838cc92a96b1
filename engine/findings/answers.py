"""What a loss asks for: the best outputs for each example, and the best answer if all examples get the same."""

from typing import Any, NamedTuple

import numpy as np

from engine.findings.case import Case
from engine.rules import Array

REGRESSION = {"mse", "mae", "half_squared_error", "huber", "smooth_l1", "log_cosh"}
SOFTMAX = {"softmax", "softmin"}
FAR = 700.0
"""A logit in place of infinity: beyond it exp overflows."""
ROUNDS = 30
"""Of the search for the best logits within a range, which the ends of the range mostly decide in one."""
ROUNDING = 1e-6
"""How far from 1 probabilities of float32 may add up, and logits may still move."""


def of_class_logits(loss: Any) -> bool:
    """Whether the loss takes the softmax of the outputs itself, and so ignores a shift of all of a row."""
    return getattr(loss, "from_logits", False) and loss.kind in ("cross_entropy", "focal", "kl_divergence")


def asked(loss: Any, t: Array) -> Array:
    """The probabilities that make a row's loss least, up to a factor: label smoothing and class weights count."""
    t = t.astype(np.float64)
    if loss.kind == "kl_divergence":
        return np.exp(t) if loss.log_target else t
    alone = loss.kind == "binary_cross_entropy"  # each output has a distribution of its own
    smoothing = getattr(loss, "label_smoothing", 0.0)
    t = t * (1 - smoothing) + smoothing / (2 if alone else t.shape[1])
    weights = getattr(loss, "class_weights", None)
    return t if weights is None or alone else t * np.array(weights)


def wished(loss: Any, t: Array, low: float = -np.inf, high: float = np.inf) -> Array | None:
    """The outputs from `low` to `high` that make the loss of each row least, where they are logits or margins."""
    if of_class_logits(loss):
        p = asked(loss, t)
        # The least focal loss is at its targets only where they are certain.
        return None if loss.kind == "focal" and (np.count_nonzero(p, axis=1) > 1).any() else logits(p, low, high)
    if loss.kind == "binary_cross_entropy" and loss.from_logits:
        return np.clip(log_odds(asked(loss, t)), low, high)
    if loss.kind in ("hinge", "squared_hinge"):
        return np.clip(np.where(t == 1, 1.0, -1.0), low, high)
    if loss.kind in ("multi_margin", "categorical_hinge"):
        return np.clip(np.where(t > 0, FAR, -FAR), low, high)
    return None


def logits(p: Array, low: float = -np.inf, high: float = np.inf) -> Array:
    """The logits from `low` to `high` whose softmax comes closest to the rows of `p`, which need not add up to 1.

    -sum_c p_c log softmax(z)_c is convex, and least where every z_c is log p_c + log sum_k exp z_k, or the end of the
    range that this lies beyond. The largest of unbounded logits is `high`, or 700.
    """
    p = np.where(p.max(axis=1, keepdims=True) > 0, p, 1.0)
    log_p = np.maximum(np.log(p) - np.log(p.sum(axis=1, keepdims=True)), -FAR)
    z = np.clip(log_p - log_p.max(axis=1, keepdims=True) + min(high, FAR), low, high)
    for _ in range(ROUNDS):
        largest = z.max(axis=1, keepdims=True)
        before, z = z, log_p + largest + np.log(np.exp(z - largest).sum(axis=1, keepdims=True))
        np.clip(z, low, high, out=z)
        if np.abs(z - before).max() < ROUNDING:
            break
    return z


def log_odds(p: Array) -> Array:
    """log(p / (1 - p)), held within what exp can take back."""
    odds: Array = np.clip(np.log(p) - np.log1p(-p), -FAR, FAR)
    return odds


class Constant(NamedTuple):
    """One answer `[outputs]` for all examples, what it is made of, the loss of the batch that it gives, and the loss of
    an ideal answer for each example, which label smoothing keeps above 0."""

    answer: Array
    of: str
    loss: float
    ideal: float


@np.errstate(all="ignore")
def constant_answer(case: Case) -> Constant | None:
    """The best constant answer that the last activation can give, or nearly (the mean for huber and its kin, the
    frequencies for focal); None where no formula is known for it."""
    if case.objective is None or case.targets is None or not case.scales.sum() > 0:
        return None
    loss, t, kind = case.objective.loss, case.targets, case.network.layers[-1].activation.kind
    answer = _unbounded(loss, t, case.scales, kind)
    if answer is None:
        return None
    low, high = case.shapes[-1][:2]
    if kind == "log_softmax" or kind in SOFTMAX:
        p = np.exp(answer) if kind == "log_softmax" else answer
        if abs(p.sum() - 1) > ROUNDING or p.min() < 0:
            return None
    elif of_class_logits(loss):
        answer = logits(np.exp(answer)[np.newaxis], low, high)[0]
    else:
        answer = np.clip(answer, low, high)  # the best in a range, since these losses are convex in each output
    of = "frequencies of the classes"
    if loss.kind in REGRESSION:
        of = "median of the targets" if loss.kind == "mae" else "mean of the targets"
    level, ideal = (case.reduced(loss.values(y, t)) for y in (np.broadcast_to(answer, t.shape), _ideal(loss, t)))
    return Constant(answer, of, level, ideal)


def _ideal(loss: Any, t: Array) -> Array:
    """The best outputs for each example, for the losses that have a constant answer."""
    p = asked(loss, t)
    if loss.kind in REGRESSION:
        return p
    if loss.kind == "binary_cross_entropy":
        return log_odds(p) if loss.from_logits else p
    if loss.kind == "negative_log_likelihood" or loss.from_logits:
        return logits(p, high=0.0)
    return p / p.sum(axis=1, keepdims=True)


def _unbounded(loss: Any, t: Array, scales: Array, kind: str) -> Array | None:
    """The best constant answer of an activation without bounds, as probabilities where softmax gives them."""
    mean = np.average(asked(loss, t), axis=0, weights=scales)
    if loss.kind == "mae":
        return np.array([median(column, scales) for column in t.T])
    if loss.kind in REGRESSION:
        return mean
    if loss.kind == "binary_cross_entropy":
        return log_odds(mean) if loss.from_logits else mean
    frequencies = mean / mean.sum()
    if loss.kind in ("cross_entropy", "focal") and not loss.from_logits:
        return frequencies if kind in SOFTMAX else None  # elsewhere the best answer is 1 for every class
    if loss.kind == "negative_log_likelihood" and kind != "log_softmax":
        return None
    if loss.kind not in ("cross_entropy", "focal", "negative_log_likelihood"):
        return None
    z = np.maximum(np.log(frequencies), -FAR)
    # A softmax that is taken for logits adds up to 1, to which the loss lets it be shifted.
    return z + (1 - z.sum()) / len(z) if kind in SOFTMAX else z


def median(numbers: Array, weights: Array) -> float:
    """The least number that half of the weight is up to; midway where that is exactly half."""
    order = np.argsort(numbers)
    total = np.cumsum(weights[order]) / weights.sum()
    ends = [min(int(np.searchsorted(total, half)), len(order) - 1) for half in (0.5 - 1e-9, 0.5 + 1e-9)]
    return float(numbers[order[ends]].mean())
