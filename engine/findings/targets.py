"""Findings about targets: what no network can learn from them, or need not."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from engine.clipping import root_mean_square
from engine.findings.answers import REGRESSION, best_answers, constant_answer, ideal
from engine.findings.case import LARGE, LISTED, SMALL, Case, Finding, deviations, some
from engine.findings.outputs import ChanceLevel, differ
from engine.rules import Array
from engine.wording import plural

APART = 0.01
"""Targets of equal inputs that differ by less than this share of their standard deviation are one measurement twice."""
HALF = 0.5
"""From this share of what there is to learn on, contradictions are a warning. Below it they may be the noise of
repeated measurements, or of few features with few values, from which a network learns what is most likely."""
ROWS = 128
"""How many rows are hashed at a time."""
ENOUGH = 8
"""Fewer examples of one class are seen by chance: n of two equally frequent ones once in 2^(n-1)."""


@dataclass(frozen=True, slots=True)
class ContradictoryTargets:
    """Examples whose inputs are equal, number by number, and whose targets are not: equal inputs get equal outputs.

    `lowest_loss` is what the best answer to each such group leaves, the mean of its targets or the frequencies of its
    classes, with every other example right; `out_of_reach` is its share of what separates the best constant answer's
    loss (1) from the ideal one (0). A warning from one half on.

    Source: the Bayes error; for squared errors the pure error of a test of lack of fit.
    """

    code: ClassVar[str] = "contradictory_targets"
    title: ClassVar[str] = "Equal inputs with different targets"
    remedy: ClassVar[str] = (
        "Check that inputs and targets are in the same order, and how these examples were labeled; add the feature "
        "that tells them apart. What is left is noise, and the loss stays above lowest_loss."
    )

    def find(self, case: Case) -> list[Finding]:
        if case.objective is None or case.targets is None or not differ(case.targets):
            return []
        rows, starts = contradictions(case.trace[0].inputs, case.targets.astype(np.float64))
        if not len(rows):
            return []
        t, numbers = case.targets, case.rows[rows]
        groups = np.split(numbers, starts[1 : LISTED + 1])[:LISTED]
        first = rows[: len(groups[0])]
        other = numbers[(t[first] != t[first[0]]).any(axis=1).argmax()]
        message = (
            f"{len(rows)} of {len(t)} examples share their inputs with others, and not their targets, such as "
            f"{numbers[0]} and {other}: equal inputs get equal outputs, whatever the weights"
        )
        evidence: dict[str, Any] = {
            "groups": [some(group) for group in groups],
            "group_count": len(starts),
            "count": len(rows),
            "of": len(t),
        }
        constant, lowest = constant_answer(case), lowest_loss(case, rows, starts)
        share = 0.0
        if constant is not None and lowest < math.inf and constant.ideal < constant.loss < math.inf:
            share = (lowest - constant.ideal) / (constant.loss - constant.ideal)
            message += f", and the loss stays above {lowest:.4g} where {constant.ideal:.4g} would be its minimum"
            evidence |= {"lowest_loss": lowest, "ideal_loss": constant.ideal, "out_of_reach": share}
        severity = "warning" if share >= HALF else "info"
        return [Finding(self.code, severity, None, f"{message}.", evidence, self.remedy)]


def contradictions(x: Array, t: Array) -> tuple[Array, Array]:
    """The rows whose inputs are equal and whose targets are apart, group by group, and where in them a group starts."""
    _, first, inverse = np.unique(hashes(x), return_index=True, return_inverse=True)
    groups = first[inverse]  # a group's number is that of its first row
    rows = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[rows], prepend=-1))
    sizes = np.diff(starts, append=len(rows))
    ranges = np.maximum.reduceat(t[rows], starts) - np.minimum.reduceat(t[rows], starts)
    apart = (ranges > APART * deviations(t)).any(axis=1)
    kept = sizes[apart]
    return rows[np.repeat(apart, sizes)], np.cumsum(kept) - kept


def hashes(x: Array) -> Array:
    """64 bits for each row, which stand for it: the rows themselves may be most of the memory."""
    found = np.empty(len(x), np.int64)
    for k in range(0, len(x), ROWS):
        block = x[k : k + ROWS] + 0.0  # which makes -0 a 0
        written, width = block.tobytes(), block[0].nbytes
        found[k : k + ROWS] = [hash(written[at : at + width]) for at in range(0, len(written), width)]
    return found


def lowest_loss(case: Case, rows: Array, starts: Array) -> float:
    """The loss of the batch where each group gets its best answer and every other example its own; infinite where no
    formula is known for it."""
    assert case.objective is not None and case.targets is not None
    loss, t = case.objective.loss, case.targets
    answers = best_answers(case, loss, t[rows], case.scales[rows], starts)
    if answers is None:
        return math.inf
    y = ideal(loss, t).astype(np.float64)
    y[rows] = np.repeat(answers, np.diff(starts, append=len(rows)), axis=0)
    lowest = case.reduced(loss.values(y, t))
    return lowest if math.isfinite(lowest) else math.inf


@dataclass(frozen=True, slots=True)
class ConstantTargets:
    """Targets that are the same for every one of eight examples or more: one class only, or one number.

    The bias of the last layer alone can answer them, so that nothing is learned of the inputs.

    Source: the entropy of the classes, or the variance of the targets, is 0.
    """

    code: ClassVar[str] = "constant_targets"
    title: ClassVar[str] = "The same target for every example"
    remedy: ClassVar[str] = (
        "Check how the targets were made. Where the examples are sorted by class, take some of each class (training "
        "shuffles them); where a class is rare, take more examples or give it a larger weight."
    )

    def find(self, case: Case) -> list[Finding]:
        t = case.targets
        if case.objective is None or t is None or len(t) < ENOUGH or differ(t):
            return []
        evidence: dict[str, Any] = {"examples": len(t), "target": t[0][:LISTED].tolist()}
        message = f"All {len(t)} examples have the same targets"
        if case.objective.loss.takes_labels and t.shape[1] > 1 and np.count_nonzero(t[0]) == 1:
            evidence["class"] = int(t[0].argmax())
            message = f"All {len(t)} examples are of class {evidence['class']}"
        elif t.size == len(t):
            message += f", {float(t[0, 0]):.4g}"
        message += ": one answer is right for all of them, whatever the inputs."
        return [Finding(self.code, "warning", len(case.network.layers) - 1, message, evidence, self.remedy)]


@dataclass(frozen=True, slots=True)
class TargetScale:
    """Targets of a regression of a size (root mean square) above 10, or below 1/100 over all, while the loss is at
    chance level. Activations that end on both sides are left to targets_out_of_range.

    The gradients of a squared error are as large as its targets, and with them a step by sgd; those of adam and its kin
    are not, and it takes thousands of them to where the targets are.

    Source: LeCun et al. 1998, Efficient BackProp, section 4.5, on the choice of target values.
    """

    code: ClassVar[str] = "target_scale"
    title: ClassVar[str] = "Targets far from unit scale"
    remedy: ClassVar[str] = (
        "Subtract the targets' mean and divide by their standard deviation (computed once, on the training data); "
        "multiply the outputs by it and add the mean when the network is used."
    )

    def find(self, case: Case) -> list[Finding]:
        t, ends = case.targets, case.shapes[-1][:2]
        if case.objective is None or t is None or case.objective.loss.kind not in REGRESSION:
            return []
        sizes = np.array([root_mean_square(output) for output in t.T])
        large, whole, worst = np.flatnonzero(sizes > LARGE), root_mean_square(t), int(sizes.argmax())
        if np.isfinite(ends).all() or not (len(large) or whole < SMALL) or not ChanceLevel().find(case):
            return []
        outputs = root_mean_square(case.outputs)
        what = f"The targets have a root mean square of {whole:.2g}, far below the size of 1"
        if len(large):
            what = (
                f"The targets of {plural(len(large), 'output')} of {t.shape[1]} are larger than {LARGE:g} "
                f"(those of output {worst} have a root mean square of {sizes[worst]:.4g}), far above the size of 1"
            )
        message = (
            f"{what} that initial weights and learning rates are made for; the outputs have one of {outputs:.3g}, and "
            "the loss is at chance level."
        )
        evidence = {
            "root_mean_square": whole,
            "outputs": some(large),
            "count": len(large),
            "mean": [float(mean) for mean in t[:, :LISTED].mean(axis=0, dtype=np.float64)],
            "standard_deviation": [float(d) for d in deviations(t[:, :LISTED])],
            "outputs_root_mean_square": outputs,
        }
        return [Finding(self.code, "warning", len(case.network.layers) - 1, message, evidence, self.remedy)]
