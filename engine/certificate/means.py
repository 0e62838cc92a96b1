"""The three means of the certificate: central differences, the complex step, the order of the Taylor remainder.

Each judges `claimed`, the gradient of f as one vector `[coordinates]`.
"""

from typing import Any, NamedTuple

import numpy as np

from engine.certificate.surroundings import IMAGINARY, LARGEST, Surroundings
from engine.errors import Where
from engine.network import Gradients
from engine.objective import VectorObjective
from engine.rules import Array

DIFFERENCE_TOLERANCE = 1e-6
COMPLEX_TOLERANCE = 1e-9
LEAST_ORDER = 1.5
"""Midway between the order of a true gradient and that of a wrong one; measured orders come within 0.01 of 2 or 1 but
where rounding ends the halving before terms of third order are gone."""
WORK = 1 << 26
"""Multiplications that each of the means may take; beyond it coordinates and directions are drawn by a fixed seed."""
LEAST = 8
"""How many coordinates are checked one by one at least, whatever they cost."""
JOINT = 3
"""Directions along all coordinates at once."""
GROUPS = 16
"""Directions that move some arrays alone, so that a wrong one is not lost among larger gradients."""
HELD = 1 << 22
"""How many numbers all directions may have together; a network of millions of parameters gets the joint ones alone."""
SEED = 2011
FIRST_STEP = 2.0**-3
"""The largest step of a difference, relatively to the numbers of each array."""
LEVELS = 12
"""Central differences are taken with this many steps, each a quarter of the one before."""
RESOLVED = 0.01
"""A derivative that its differences do not show to two digits is not compared."""
HALVINGS = 26
WINDOW = 6
"""The order is fitted to the remainders of this many halved steps, the smallest that stand clear of rounding."""
FEWEST = 4
"""Fewer remainders have no order."""
NO_ORDER = 0.5
"""A remainder of order 0 is a jump within the steps that rounding leaves, not a wrong gradient, whose order is 1."""
SETTLED = 0.1
"""The orders that the last two halvings show differ by less where terms of other orders are gone; where they do not,
rounding has ended the halving too early. Where the whole window shows another order than they do, they are believed."""
CLEAR = 1e2
"""How far above rounding a remainder stands clear of it: its order is then off by 0.01 or so."""
TINY = 1e-250
"""Where numbers lose their digits to underflow."""
CLIFF = 64.0
"""More than a remainder of order 5 falls when the step is halved, let alone one of order 2."""
SAFETY = 100.0
"""How many roundings add up on the way, in the worst case, to what a single one does."""
NEARBY = 2.0**-40
"""How far, relatively, all coordinates are moved to see how much the rounding of all numbers may matter."""
ROUNDING_SHARE = 1e-3
"""An error is relative to the gradient or, where that is the difference of larger terms, to this share of those."""
ROUNDING = COMPLEX_TOLERANCE * ROUNDING_SHARE
"""What the rounding of those terms may leave of a gradient."""
SATURATED = 1e-3
"""Slopes and activations below this, such as 1 - tanh(z)^2, carry the rounding of a number of size 1."""
EPSILON = float(np.finfo(np.float64).eps)


class Differences(NamedTuple):
    """`unresolved` directions, along which rounding or sharp bends hide the derivative, are not among `directions`.

    `resolved` tells of each direction whether it is one of them.
    """

    agrees: bool
    directions: int
    unresolved: int
    max_relative_error: float
    resolved: list[bool]


class ComplexStep(NamedTuple):
    """`coordinates` were checked one by one, and all of them along `directions`; `worst` is a coordinate.

    `piecewise` are the functions that were held to the pieces that their arguments lie on.
    """

    agrees: bool
    coordinates: int
    directions: int
    max_relative_error: float
    worst: Where | None
    piecewise: list[str]


class Taylor(NamedTuple):
    """`order` is None where the objective is linear along the directions, up to rounding, or where its differences
    show nothing of the derivative."""

    agrees: bool
    order: float | None
    steps: list[float]
    remainders: list[float]


def beside(f: Surroundings) -> Array:
    """A point `[coordinates]` near the base, which tells how much rounding may matter."""
    moved: Array = f.base * (1 + NEARBY * np.random.default_rng(SEED).choice((-1, 1), f.base.size))
    return moved


def term_sizes(f: Surroundings, gradients: Gradients) -> Array:
    """About how large the terms are whose sum is each gradient: its rounding is relative to them, not to the sum.

    The root of the sum of their squares, since rounding errors add up like random numbers. Source: Higham and Mary
    2019, doi:10.1137/18M1226312.
    """
    if isinstance(f.objective, VectorObjective):
        largest = np.abs(f.objective.output_gradients)
    else:
        loss: Any = f.objective.loss
        class_weights = getattr(loss, "class_weights", None) or (1.0,)
        largest = np.maximum(1, np.maximum(np.abs(f.last.y), np.abs(f.targets))) * max(*class_weights, 1.0)
        if loss.kind == "cosine_similarity":  # whose terms are divided by the length of the outputs
            squares = np.square(f.last.y).sum(axis=1, keepdims=True)
            largest = np.maximum(largest, 1 / np.sqrt(np.maximum(squares, loss.eps)))
        largest = largest * f.scales[:, np.newaxis]
    at_outputs = np.maximum(largest, np.abs(gradients.layers[-1].preactivations))
    marks = [np.zeros(z.shape) for _, z, _ in f.trace[:-2]] + [np.minimum(at_outputs.astype(np.float64) ** 2, LARGEST)]
    sizes: Array = np.sqrt(f.carried_back(marks, np.square, SATURATED))
    if f.regularization is not None:
        for part in f.parts:
            if part.where[-1] == "weights":
                sizes[part.place] += f.regularization.l1 + f.regularization.l2 * np.abs(f.base[part.place])
    return sizes


def directions(f: Surroundings, left_out: Array) -> Array:
    """Random directions `[directions, coordinates]`: along all coordinates that are kept, then along groups of arrays.

    Each array's part is as large as its own numbers are.
    """
    random = np.random.default_rng(SEED)
    whole = np.where(left_out, 0, random.normal(size=(JOINT, f.base.size)))
    for part in f.parts:
        size = float(np.sqrt(np.mean(np.square(f.base[part.place]))))
        whole[:, part.place] *= size if size > 0 else 1
    affordable = min(WORK // (2 * LEVELS * max(f.work, 1)), HELD // f.base.size - JOINT)
    groups = []
    split = min(len(f.parts), GROUPS, affordable)
    for group in np.array_split(np.arange(len(f.parts)), split) if split > 1 else []:
        places = slice(f.parts[group[0]].place.start, f.parts[group[-1]].place.stop)
        direction = np.zeros(f.base.size)
        direction[places] = whole[0, places]
        if direction.any():
            groups.append(direction)
    return np.vstack([whole, *groups])


def _scales(claimed: Array, directions: Array) -> Array:
    """What an error along a direction is relative to: the size of the directional derivative but for luck in signs."""
    return np.maximum(np.abs(directions @ claimed), _root_sums(directions, claimed))


def _root_sums(directions: Array, amounts: Array) -> Array:
    """The root of the sum of the squares of a direction's parts, each times its amount."""
    largest = np.abs(amounts).max() or 1.0  # whose square might overflow
    sums: Array = np.sqrt(np.square(directions) @ np.square(amounts / largest)) * largest
    return sums


def central_differences(f: Surroundings, claimed: Array, nearby: Array, sizes: Array, directions: Array) -> Differences:
    """Derivatives along `directions` by differences of twelve steps, each extrapolated at the step where truncation and
    rounding are least together.
    """
    steps = FIRST_STEP * 0.25 ** np.arange(LEVELS)
    signed = np.concatenate([steps, -steps])

    def points(chunk: slice) -> Array:
        which = np.arange(chunk.start, chunk.stop)
        return f.base + signed[which % len(signed), np.newaxis] * directions[which // len(signed)]

    values = f.values(len(directions) * len(signed), points).reshape(len(directions), 2, LEVELS)
    slopes = (values[:, 0] - values[:, 1]) / (2 * steps)
    extrapolated = (16 * slopes[:, 1:] - slopes[:, :-1]) / 15
    noise = _value_and_rounding(f, nearby)[1] / steps[3:]
    # The level at which truncation, seen in the changes from the two levels before, and rounding are least together.
    changes = np.abs(np.diff(extrapolated, axis=1))
    doubt = np.maximum(changes[:, 1:], changes[:, :-1]) + noise
    doubt = np.where(np.isfinite(doubt), doubt, np.inf)
    best = doubt.argmin(axis=1)
    rows = np.arange(len(directions))
    found, doubt = extrapolated[rows, best + 2], 10 * doubt[rows, best]
    scales = np.maximum(_scales(claimed, directions), ROUNDING / DIFFERENCE_TOLERANCE * _root_sums(directions, sizes))
    resolved = doubt <= RESOLVED * np.maximum(scales, np.abs(found))
    # What rounding and truncation hide is no error of the gradient.
    errors = _relative(np.abs(found - directions @ claimed), np.maximum(scales, doubt / DIFFERENCE_TOLERANCE))[resolved]
    worst = float(errors.max(initial=0.0))
    counts = int(resolved.sum()), int((~resolved).sum())
    return Differences(worst <= DIFFERENCE_TOLERANCE, *counts, worst, resolved.tolist())


def complex_step(
    f: Surroundings, claimed: Array, nearby: Array, sizes: Array, directions: Array, kept: Array
) -> ComplexStep:
    """Derivatives by each of the coordinates `kept`, or by a sample of many, and along `directions`."""
    affordable = max(LEAST, WORK // (8 * max(f.work, 1)))  # at two points, and a complex product is four real ones
    if affordable < len(kept):
        kept = np.sort(np.random.default_rng(SEED).choice(kept, affordable, replace=False))

    terms = (sizes[kept], _root_sums(directions, sizes))
    # Through steep functions a step grows; it must stay lost beside 1.
    steps = [IMAGINARY / np.maximum(1, size) for size in terms]

    def slopes(base: Array) -> tuple[Array, Array]:
        """The derivatives by each of the coordinates, and along the directions."""

        def single(chunk: slice) -> Array:
            chosen = kept[chunk]
            points = np.tile(base.astype(np.complex128), (len(chosen), 1))
            points[np.arange(len(chosen)), chosen] += 1j * steps[0][chunk]
            return points

        def along(chunk: slice) -> Array:
            points: Array = base + 1j * steps[1][chunk, np.newaxis] * directions[chunk]
            return points

        return f.values(len(kept), single).imag / steps[0], f.values(len(directions), along).imag / steps[1]

    found, near = slopes(f.base), slopes(nearby)
    rounding = [np.abs(near[k] - found[k]) * (SAFETY * EPSILON / NEARBY) for k in range(2)]
    expected = (claimed[kept], directions @ claimed)
    own = (np.maximum(np.abs(claimed[kept]), np.abs(found[0])), _scales(claimed, directions))
    by_coordinate, by_direction = (
        _relative(
            np.abs(found[k] - expected[k]),
            np.maximum(np.maximum(own[k], ROUNDING_SHARE * terms[k]), rounding[k] / COMPLEX_TOLERANCE),
        )
        for k in range(2)
    )
    worst = int(by_coordinate.argmax())
    largest = max(float(by_coordinate[worst]), float(by_direction.max()))
    where = _where(f, int(kept[worst])) if by_coordinate[worst] > 0 else None
    return ComplexStep(largest <= COMPLEX_TOLERANCE, len(kept), len(directions), largest, where, f.piecewise)


def _value_and_rounding(f: Surroundings, nearby: Array) -> tuple[float, float]:
    """The objective at the base, and about how far rounding carries it: of its terms, and of what they are made of."""
    terms = [f.terms(point[np.newaxis])[0] for point in (f.base, nearby)]
    here, near = (float(t.sum() + f.penalty(f.base[np.newaxis])[0]) for t in terms)
    own = EPSILON * (float(np.abs(terms[0]).sum()) + abs(here) + abs(near - here) * (SAFETY / NEARBY))
    return here, own + f.output_rounding + TINY


def taylor(f: Surroundings, claimed: Array, nearby: Array, sizes: Array, directions: Array) -> Taylor:
    """The remainders are the root of the mean square along the directions: along a single one, terms of second and
    third order may cancel at some step."""
    steps = 2 * FIRST_STEP * 0.5 ** np.arange(HALVINGS)
    if not len(directions):
        return Taylor(True, None, [], [])

    def points(chunk: slice) -> Array:
        which = np.arange(chunk.start, chunk.stop)
        return f.base + steps[which % HALVINGS, np.newaxis] * directions[which // HALVINGS]

    values = f.values(HALVINGS * len(directions), points).reshape(len(directions), HALVINGS)
    start, rounding_of_values = _value_and_rounding(f, nearby)
    slopes = (directions @ claimed)[:, np.newaxis]
    remainders = _root_mean_square(values - start - steps * slopes)
    of_slopes = EPSILON * np.abs(slopes).max() + ROUNDING / CLEAR * _root_sums(directions, sizes).max()
    rounding = rounding_of_values + steps * of_slopes
    chosen = _asymptotic(remainders, np.isfinite(remainders) & (remainders > CLEAR * rounding))
    if len(chosen) < FEWEST:
        small = slice(HALVINGS // 2, None)
        linear = bool((remainders[small] <= CLEAR * rounding[small]).all())
        chosen = np.flatnonzero(np.isfinite(remainders))[:WINDOW].tolist()
        return Taylor(linear, None, steps[chosen].tolist(), remainders[chosen].tolist())
    shown = steps[chosen].tolist(), remainders[chosen].tolist()
    smallest = np.log2(remainders[chosen[-3:-1]] / remainders[chosen[-2:]])
    if abs(smallest[1] - smallest[0]) > SETTLED or smallest[1] < NO_ORDER:
        return Taylor(True, None, *shown)
    order = float(np.polyfit(np.log2(steps[chosen]), np.log2(remainders[chosen]), 1)[0])
    if abs(order - smallest[1]) > SETTLED:
        order = float(smallest[1])
    # The rounding of the slopes falls as the steps do: of a wrong slope's remainder it would hide all or nothing.
    hidden = remainders[chosen[-1] + 1 :][:1] > CLEAR * rounding_of_values
    if order < LEAST_ORDER and hidden.any():
        return Taylor(True, None, *shown)
    return Taylor(order >= LEAST_ORDER, order, *shown)


def _asymptotic(remainders: Array, clear: Array) -> list[int]:
    """The last steps whose remainders stand clear of rounding, unless they fall off a cliff there: that is a jump of
    the function far away, and nearer to the base nothing is left of it."""
    last = int(np.flatnonzero(clear)[-1]) if clear.any() else -1
    if last + 1 < len(clear) and last >= 0 and remainders[last + 1] < remainders[last] / CLIFF:
        return []
    first = last
    while first > 0 and clear[first - 1] and last - first + 1 < WINDOW:
        first -= 1
    return list(range(first, last + 1)) if last >= 0 else []


def _root_mean_square(rows: Array) -> Array:
    largest = np.abs(rows).max(axis=0)
    return np.sqrt(np.square(rows / np.where(largest > 0, largest, 1)).mean(axis=0)) * largest


def _relative(errors: Array, scales: Array) -> Array:
    """errors / scales, and the largest number where an error is none."""
    found = errors / np.maximum(scales, TINY)
    return np.where(np.isfinite(found), found, LARGEST)


def _where(f: Surroundings, coordinate: int) -> Where:
    for part in f.parts:
        if coordinate < part.place.stop:
            index = np.unravel_index(coordinate - part.place.start, part.shape)
            return (*part.where, *(int(i) for i in index))
    raise IndexError(coordinate)
