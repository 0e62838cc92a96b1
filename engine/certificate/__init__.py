"""The certificate: a gradient judged by three means that share no code with how it was computed.

All three take the objective f of inputs and parameters together, written a second time in this package, around the
point asked about:

- central differences along random directions d, (f(x + h d) - f(x - h d)) / 2h, extrapolated to h = 0 (Richardson);
- the complex step, Im f(x + i h d) / h with h = 2^-300, which has neither truncation error nor cancellation;
- the order of the Taylor remainder |f(x + h d) - f(x) - h g.d|, which is 2 as h goes to 0 where g is the gradient, and
  1 where it is not.

At a kink (relu at 0, the absolute value at 0) there is no derivative: what lies on one is listed, and the coordinates
that move it are left out. Elsewhere each function of several pieces is held to the piece that its argument lies on, so
that no step straddles a kink and the complex step is exact on every piece.

Sources: Richardson 1911; Squire and Trapp 1998, doi:10.1137/S003614459631241X (complex step); Farrell et al. 2013,
doi:10.1137/120873558 (Taylor remainder).
"""

from typing import NamedTuple

import numpy as np

from engine.certificate.means import (
    JOINT,
    ComplexStep,
    Differences,
    Taylor,
    beside,
    central_differences,
    complex_step,
    directions,
    taylor,
    term_sizes,
)
from engine.certificate.surroundings import Kink, Unknown, surroundings
from engine.network import Gradients, Network
from engine.objective import Objective
from engine.regularization import Regularization
from engine.rules import Array

__all__ = ["Certificate", "certify"]

LARGEST_JUDGED = 1e60
"""Squares and fourth powers of numbers up to here are finite."""


class Certificate(NamedTuple):
    """`verdict` is "match" where all three means agree with the gradient, "mismatch" where one does not, and
    "undetermined" where nothing could be checked: `reason` says why."""

    verdict: str
    reason: str | None
    coordinates: int
    left_out: int
    kinks: list[Kink]
    central_differences: Differences | None
    complex_step: ComplexStep | None
    taylor: Taylor | None


@np.errstate(all="ignore")
def certify(
    network: Network,
    inputs: Array,
    objective: Objective,
    gradients: Gradients,
    regularization: Regularization | None = None,
) -> Certificate:
    """Judges `gradients` by parameters and inputs, in float64; the same arguments give the same answer."""
    count = inputs.size + sum(array.size for layer in network.parameters for array in layer.values())
    try:
        f = surroundings(network, inputs, objective, regularization)
    except Unknown as unknown:
        reason = f"{unknown.args[0]} has no second form in engine/certificate yet."
        return Certificate("undetermined", reason, count, count, [], None, None, None)
    kinks, left_out = f.kinks()
    kept = np.flatnonzero(~left_out)
    if len(kept) == 0:
        reason = "Every coordinate moves a number that lies on a kink."
        return Certificate("undetermined", reason, count, count, kinks, None, None, None)
    claimed = np.concatenate(
        [gradients.inputs.ravel(), *(g.ravel() for layer in gradients.layers for g in layer.parameters.values())]
    ).astype(np.float64)
    largest = max(float(np.abs(numbers).max()) for numbers in (claimed, *(z for _, z, _ in f.trace)))
    if not largest < LARGEST_JUDGED:
        reason = f"Numbers above {LARGEST_JUDGED:g} leave no room for steps."
        return Certificate("undetermined", reason, count, count, kinks, None, None, None)
    sizes = term_sizes(f, gradients)
    nearby = beside(f)
    along = directions(f, left_out)
    differences = central_differences(f, claimed, nearby, sizes, along)
    stepped = complex_step(f, claimed, nearby, sizes, along, kept)
    # Where differences show nothing of the derivative, neither do remainders.
    judged = along[:JOINT][differences.resolved[:JOINT]]
    remainder = taylor(f, claimed, nearby, sizes, judged)
    verdict = "match" if differences.agrees and stepped.agrees and remainder.agrees else "mismatch"
    return Certificate(verdict, None, count, int(left_out.sum()), kinks, differences, stepped, remainder)
