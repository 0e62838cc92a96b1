"""From an example's loss to the batch's: targets, weights, reductions."""

import math
from typing import Any

import numpy as np

from engine.errors import InvalidTarget, InvalidWeights, ShapeMismatch
from engine.losses import Loss
from engine.rules import Array


def prepare_targets(loss: Loss, targets: Array, shape: tuple[int, ...], dtype: Any) -> Array:
    """Targets in the shape and dtype of the outputs; class labels become one-hot rows.

    Raises ShapeMismatch, and InvalidTarget where a label is none of 0 to outputs - 1.
    """
    batch, outputs = shape
    if targets.ndim == 1 and loss.takes_labels:
        if len(targets) != batch:
            raise ShapeMismatch(
                ("targets",), "There is one label for each example.", expected=[batch], received=[len(targets)]
            )
        wrong = (targets < 0) | (targets >= outputs) | (targets != np.floor(targets))
        if wrong.any():
            i = int(np.argmax(wrong))
            raise InvalidTarget(
                ("targets", i),
                f"This label is not one of the {outputs} classes.",
                expected=f"an integer from 0 to {outputs - 1}",
                received=targets[i].item(),
                hint="A single output tells two classes apart with binary_cross_entropy." if outputs == 1 else None,
            )
        one_hot = np.zeros(shape, dtype)
        one_hot[np.arange(batch), targets.astype(np.int64)] = 1
        return one_hot
    if targets.shape != shape:
        hint = None
        if targets.ndim == 1:
            example = "[[0], [1]] in place of [0, 1]" if outputs == 1 else "a class as a row of 0 with a 1 in its place"
            hint = f"{loss.kind} takes one number for each output: {example}."
        elif targets.shape == (batch, 1) and loss.takes_labels:
            hint = "Class labels are one list, not rows: [0, 2] in place of [[0], [2]]."
        raise ShapeMismatch(
            ("targets",),
            "The targets do not have the shape of the outputs.",
            expected=list(shape),
            received=list(targets.shape),
            hint=hint,
        )
    return targets.astype(dtype, copy=False)


def row_scales(loss: Loss, targets: Array, sample_weights: Array | None, shape: tuple[int, ...], dtype: Any) -> Array:
    """The factor of each row, so that the reduced loss is the sum of all values times their row's factor `[batch]`.

    `shape` and `dtype` are those of the loss's values: `[batch, outputs]`, or `[batch]`. Raises InvalidWeights where
    the weights of a mean add up to 0, or to more than the largest number.
    """
    divisors = None if loss.reduction == "sum" else loss.row_weights(targets)
    if sample_weights is None and divisors is None:
        divisor = 1 if loss.reduction == "sum" else math.prod(shape) if loss.reduction == "mean" else shape[0]
        scales = np.empty(shape[0], dtype)
        scales.fill(1 / divisor)
        return scales
    weights = np.ones(shape[0], dtype) if sample_weights is None else sample_weights
    if loss.reduction == "sum":
        return weights
    total = weights.sum() if divisors is None else np.vdot(weights, divisors)
    if len(shape) == 2 and loss.reduction == "mean":
        total = total * shape[1]
    if not 0 < total < np.inf:
        where = ("sample_weights",) if divisors is None or not weights.any() else ("loss", "class_weights")
        detail = "These weights add up to 0, so there is no mean."
        if total > 0:
            detail = "These weights add up to more than the largest number, so there is no mean."
        raise InvalidWeights(where, detail, expected="a finite sum above 0", received=None if total > 0 else 0)
    return weights / total


def reduce(values: Array, scales: Array) -> Any:
    """The reduced loss."""
    return scales.dot(values if values.ndim == 1 else values.sum(axis=1))


def example_losses(loss: Loss, values: Array) -> Array:
    """Each example's own loss `[batch]`: the mean over its outputs for the reduction mean, their sum otherwise."""
    if values.ndim == 1:
        return values
    return values.mean(axis=1) if loss.reduction == "mean" else values.sum(axis=1)
