"""The derivatives of activations as numbers of their own, read off each rule's `backward`."""

import numpy as np

from engine.activations import Activation
from engine.row_activations import RowActivation
from engine.rules import Array

ROWS = 256
"""How many rows of a Jacobian are computed at once."""


def works_by_rows(activation: Activation) -> bool:
    """Whether each output depends on a whole row of preactivations, as those of softmax do."""
    return isinstance(activation, RowActivation)


def slopes(activation: Activation, z: Array, a: Array) -> Array:
    """The derivative of an activation that works number by number, in the shape of z."""
    return activation.backward(np.ones_like(z), z, a)


def jacobian(activation: Activation, z: Array, a: Array) -> Array:
    """The Jacobian of one example's row `[units]`: `[k, j]` holds the derivative of a_k by z_j."""
    units = len(z)
    return activation.backward(np.eye(units, dtype=z.dtype), np.tile(z, (units, 1)), np.tile(a, (units, 1)))


def jacobian_column(activation: Activation, z: Array, a: Array, j: int) -> Array:
    """Column j of the Jacobian: the derivative of every a_k by z_j `[units]`."""
    units = len(z)
    column = np.empty_like(z)
    for start in range(0, units, ROWS):
        rows = np.eye(min(ROWS, units - start), units, start, dtype=z.dtype)
        shape = (len(rows), 1)
        column[start : start + ROWS] = activation.backward(rows, np.tile(z, shape), np.tile(a, shape))[:, j]
    return column
