"""Every loss a second time, for real and complex outputs, written apart from the engine's rules.

Like the activations, losses of several pieces are held to the pieces that the base point lies on, so that they are
analytic around it. Only the hyperparameters of a rule are read, never its methods.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from engine.certificate.activations import log1p, log_softmax, softplus
from engine.rules import Array

NEAR = 1e-12
"""An argument this close to a kink, relative to the numbers it is computed from, counts as being on it."""
CERTAIN = 1e-6
"""Closer to 1 than this a probability has lost too many digits of its complement, where a loss divides by that."""
VANISHED = 1e-100
"""A probability whose complex step underflows."""
PIECEWISE = {
    "mae", "huber", "smooth_l1", "hinge", "squared_hinge", "categorical_hinge", "multi_margin",
    "cosine_similarity", "binary_cross_entropy",
}  # fmt: skip
"""What is made of several analytic pieces (binary cross-entropy where it takes probabilities as they are)."""
COMBINED = {"cross_entropy", "focal", "kl_divergence"}


class Last(NamedTuple):
    """The last layer at a point: preactivations, activations and what its activation is called.

    The leading axes are free; the last two are batch and outputs.
    """

    z: Array
    y: Array
    activation: str


def values(loss: Any, at: Last, base: Last, t: Array) -> Array:
    """The loss before reduction: `[..., batch, outputs]` of an elementwise loss, `[..., batch]` of a row-wise one.

    `base` is the real point around which it is taken. Raises KeyError for a loss that has no second form here.
    """
    y, y0 = at.y, base.y
    match loss.kind:
        case "cross_entropy":
            weighted = _smooth(loss, t, 1 / t.shape[-1]) * _weights(loss)
            return -_products(weighted, _log_probabilities(loss, at)).sum(axis=-1)
        case "focal":
            log_p = _log_probabilities(loss, at)
            missing = -np.expm1(log_p)
            weighted = loss.alpha * _smooth(loss, t, 1 / t.shape[-1]) * _weights(loss)
            discount = missing**loss.gamma if loss.gamma else 1
            return -_products(weighted * discount, log_p).sum(axis=-1)
        case "binary_cross_entropy":
            return _weights(loss) * _binary(loss, at, base, _smooth(loss, t, 0.5))
        case "kl_divergence":
            log_p = _log_probabilities(loss, at)
            if loss.log_target:
                return np.exp(t) * (t - log_p)
            entropy = np.where(t > 0, t * np.log(np.where(t > 0, t, 1)), 0)
            return entropy - _products(t, log_p)
        case "negative_log_likelihood":
            return -(_weights(loss) * t * y).sum(axis=-1)
        case "mse":
            return (y - t) * (y - t)
        case "half_squared_error":
            return 0.5 * ((y - t) * (y - t)).sum(axis=-1)
        case "mae":
            return np.sign(y0 - t) * (y - t)
        case "huber":
            d, size = y - t, np.abs(y0 - t)
            line = loss.delta * (np.sign(y0 - t) * d - loss.delta / 2)
            return np.where(size <= loss.delta, d * d / 2, line)
        case "smooth_l1":
            d, size = y - t, np.abs(y0 - t)
            line = np.sign(y0 - t) * d - loss.beta / 2
            return np.where(size < loss.beta, d * d / (2 * loss.beta), line) if loss.beta else line
        case "log_cosh":
            outward = np.where(y0 < t, t - y, y - t)
            near = np.where(outward.real < 1, outward, 0)
            return np.where(
                outward.real < 1,
                log1p(2 * np.sinh(near / 2) * np.sinh(near / 2)),
                outward + log1p(np.exp(-2 * outward)) - math.log(2),
            )
        case "poisson":
            by_rate = np.exp(y) - t * y if loss.log_input else y - t * np.log(y + loss.eps)
            above = np.where(t > 1, t, 1)
            stirling = above * np.log(above) - above + 0.5 * np.log(2 * math.pi * above)
            return by_rate + np.where(t > 1, stirling, 0) if loss.full else by_rate
        case "hinge" | "squared_hinge":
            signs = np.where(t == 1, 1, -1)
            margin = np.where(signs * y0 < 1, 1 - signs * y, 0)
            return margin if loss.kind == "hinge" else margin * margin
        case "categorical_hinge":
            rival = ((1 - t) * y0).argmax(axis=-1)[..., np.newaxis]
            margins = [1 + _picked((1 - t) * out, rival) - (t * out).sum(axis=-1) for out in (y, y0)]
            return np.where(margins[1].real > 0, margins[0], 0)
        case "multi_margin":
            terms, terms0 = (loss.margin - (t * out).sum(axis=-1, keepdims=True) + out for out in (y, y0))
            scale = (t * _weights(loss)).sum(axis=-1, keepdims=True) / t.shape[-1]
            return (np.where((t == 0) & (terms0.real > 0), terms**loss.p, 0) * scale).sum(axis=-1)
        case "cosine_similarity":
            squares = (y * y).sum(axis=-1)
            long = (y0 * y0).sum(axis=-1).real > loss.eps
            length = np.sqrt(np.where(long, squares, loss.eps))
            target = t / np.sqrt(np.maximum((t * t).sum(axis=-1, keepdims=True), loss.eps))
            return -(y * target).sum(axis=-1) / length
    raise KeyError(loss.kind)


def kinks(loss: Any, base: Last, t: Array) -> Array:
    """Where `[batch, outputs]` the derivative by an output jumps, or is set by convention."""
    y = base.y
    nowhere = np.zeros(y.shape, bool)
    close = NEAR * (1 + np.abs(y) + np.abs(t))
    match loss.kind:
        case "mae":
            return np.abs(y - t) <= close
        case "smooth_l1":
            return np.abs(y - t) <= close if loss.beta == 0 else nowhere
        case "hinge":
            return np.abs(1 - np.where(t == 1, y, -y)) <= close
        case "multi_margin" if loss.p == 1:
            terms = loss.margin - (t * y).sum(axis=-1, keepdims=True) + y
            return (t == 0) & (np.abs(terms) <= close + close.max(axis=-1, keepdims=True))
        case "categorical_hinge":
            others = (1 - t) * y
            largest = others.max(axis=-1, keepdims=True)
            margin = 1 + largest - (t * y).sum(axis=-1, keepdims=True)
            reach = close.max(axis=-1, keepdims=True)
            tied = (np.abs(others - largest) <= reach) & (margin > -reach)
            return (tied & (tied.sum(axis=-1, keepdims=True) > 1)) | (nowhere | (np.abs(margin) <= reach))
        case "cosine_similarity":
            squares = (y * y).sum(axis=-1, keepdims=True)
            return nowhere | (np.abs(squares - loss.eps) <= NEAR * loss.eps)
        case "binary_cross_entropy" if not (loss.from_logits or base.activation == "sigmoid"):
            # A logarithm is held at -100 at either end, and the derivative divides by at least 1e-12.
            return (y * (1 - y) <= 1e-12) | (1 - y < CERTAIN)
        case "cross_entropy" if not (loss.from_logits or base.activation in ("softmax", "softmin", "sigmoid")):
            return (y < VANISHED) & (t > 0)
        case "focal" if loss.gamma < 1 or not (loss.from_logits or base.activation in ("softmax", "softmin")):
            return -np.expm1(_log_probabilities(loss, base)) < CERTAIN if loss.gamma else nowhere
    return nowhere


def is_piecewise(loss: Any, activation: str) -> bool:
    """Whether a loss is held to pieces after this activation."""
    if loss.kind == "binary_cross_entropy":
        return not (loss.from_logits or activation == "sigmoid")
    return loss.kind in PIECEWISE


def _smooth(loss: Any, t: Array, uniform: float) -> Array:
    return (1 - loss.label_smoothing) * t + loss.label_smoothing * uniform


def _weights(loss: Any) -> Any:
    return 1.0 if loss.class_weights is None else np.asarray(loss.class_weights, float)


def _products(t: Array, log_p: Array) -> Array:
    """t log p, where 0 log 0 is 0."""
    nothing = t == 0
    return np.where(nothing, 0, t * np.where(nothing, 0, log_p))


def _picked(rows: Array, index: Array) -> Array:
    return np.take_along_axis(rows, np.broadcast_to(index, (*rows.shape[:-1], 1)), axis=-1)[..., 0]


def _log_probabilities(loss: Any, at: Last) -> Array:
    """From logits, or from the preactivations of the last layer, so that no small probability is rounded."""
    if loss.from_logits:
        return log_softmax(at.y)
    if loss.kind in COMBINED and at.activation in ("softmax", "softmin"):
        return log_softmax(at.z if at.activation == "softmax" else -at.z)
    if loss.kind == "kl_divergence":
        return at.y
    return -softplus(-at.z) if at.activation == "sigmoid" else np.log(at.y)


def _binary(loss: Any, at: Last, base: Last, t: Array) -> Array:
    if loss.from_logits or at.activation == "sigmoid":
        z = at.y if loss.from_logits else at.z
        return t * softplus(-z) + (1 - t) * softplus(z)
    held = base.y * (1 - base.y) <= 1e-12
    y = np.where(held, 0.5, at.y)
    ends = np.where(base.y < 0.5, 100 * t, 100 * (1 - t))
    return np.where(held, ends, -(t * np.log(y) + (1 - t) * log1p(-y)))
