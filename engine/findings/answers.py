"""What a loss asks for: the best outputs for each example, and the best answer if all examples get the same."""

from typing import Any, NamedTuple

import numpy as np

from engine.findings.case import Case
from engine.probability_losses import SOFTMAX
from engine.rules import Array, column

REGRESSION = {"mse", "mae", "half_squared_error", "huber", "smooth_l1", "log_cosh"}
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
    if case.objective is None or case.targets is None:
        return None
    loss, t = case.objective.loss, case.targets
    answers = best_answers(case, loss, t, case.scales, np.array([0]))
    if answers is None:
        return None
    of = "frequencies of the classes"
    if loss.kind in REGRESSION:
        of = "median of the targets" if loss.kind == "mae" else "mean of the targets"
    level, best = (case.reduced(loss.values(y, t)) for y in (np.broadcast_to(answers, t.shape), ideal(loss, t)))
    return Constant(answers[0], of, level, best)


def best_answers(case: Case, loss: Any, t: Array, scales: Array, starts: Array) -> Array | None:
    """For each group of examples, from one of `starts` to the next, the best answer if all of it get the same
    `[groups, outputs]`; None where no formula is known for it, and where a group counts nothing."""
    if not (np.add.reduceat(scales, starts) > 0).all():
        return None
    kind, (low, high) = case.network.layers[-1].activation.kind, case.shapes[-1][:2]
    answers = _unbounded(loss, t, scales, starts, kind)
    if answers is None:
        return None
    if kind == "log_softmax" or kind in SOFTMAX:
        p = np.exp(answers) if kind == "log_softmax" else answers
        return None if (np.abs(p.sum(axis=1) - 1) > ROUNDING).any() or p.min() < 0 else answers
    if of_class_logits(loss):
        return logits(np.exp(answers), low, high)
    within: Array = np.clip(answers, low, high)  # the best in a range, since these losses are convex in each output
    return within


def ideal(loss: Any, t: Array) -> Array:
    """The best outputs for each example, for the losses that have a constant answer."""
    p = asked(loss, t)
    if loss.kind in REGRESSION:
        return p
    if loss.kind == "binary_cross_entropy":
        return log_odds(p) if loss.from_logits else p
    if loss.kind == "negative_log_likelihood" or loss.from_logits:
        return logits(p, high=0.0)
    return p / p.sum(axis=1, keepdims=True)


def _unbounded(loss: Any, t: Array, scales: Array, starts: Array, kind: str) -> Array | None:
    """The best answers of an activation without bounds, as probabilities where softmax gives them."""
    if loss.kind == "mae":
        return np.stack([medians(numbers, scales, starts) for numbers in t.T], axis=1)
    total = np.add.reduceat(scales.astype(np.float64), starts)
    mean = np.add.reduceat(asked(loss, t) * column(scales), starts) / column(total)
    if loss.kind in REGRESSION:
        return mean
    if loss.kind == "binary_cross_entropy":
        return log_odds(mean) if loss.from_logits else mean
    frequencies: Array = mean / mean.sum(axis=1, keepdims=True)
    if loss.kind in ("cross_entropy", "focal") and not loss.from_logits:
        return frequencies if kind in SOFTMAX else None  # elsewhere the best answer is 1 for every class
    if loss.kind == "negative_log_likelihood" and kind != "log_softmax":
        return None
    if loss.kind not in ("cross_entropy", "focal", "negative_log_likelihood"):
        return None
    z = np.maximum(np.log(frequencies), -FAR)
    # A softmax that is taken for logits adds up to 1, to which the loss lets it be shifted.
    return z + (1 - z.sum(axis=1, keepdims=True)) / z.shape[1] if kind in SOFTMAX else z


def medians(numbers: Array, weights: Array, starts: Array) -> Array:
    """Of each group the least number that half of its weight is up to; midway where that is exactly half."""
    sizes = np.diff(starts, append=len(numbers))
    order = np.lexsort((numbers, np.repeat(np.arange(len(starts)), sizes)))
    total = np.cumsum(weights[order], dtype=np.float64)
    before = np.concatenate([[0.0], total])[starts]
    own = total[starts + sizes - 1] - before
    ends = [np.searchsorted(total, before + half * own) for half in (0.5 - 1e-9, 0.5 + 1e-9)]
    return np.mean([numbers[order[np.clip(end, starts, starts + sizes - 1)]] for end in ends], axis=0)
