"""Findings: what is wrong with a network, its data or its training, told from one batch.

Each kind of finding is one frozen dataclass whose docstring says what it is and by which measure, whose `remedy` says
what to do, and whose `find(case)` looks for it; thresholds are constants of its module, each with its reason. The union
at the foot is the whole catalogue, in the order in which findings of one severity are told: what is wrong with the data
and the loss before what it makes of the units, and that before what it makes of gradients and steps.
"""

from typing import get_args

import numpy as np

from engine.findings.case import Case, Finding, Slice, examine
from engine.findings.decay import StrongDecay
from engine.findings.outputs import (
    ChanceLevel,
    CollapsedOutputs,
    TargetsOutOfRange,
    UnnormalizedOutputs,
    UnreachableLoss,
)
from engine.findings.signals import ExplodingGradients, InputScale, VanishingGradients
from engine.findings.targets import ConstantTargets, ContradictoryTargets, TargetScale
from engine.findings.units import DeadRelu, SaturatedUnits, SymmetricUnits, UnusedInputs
from engine.findings.updates import LargeLearningRate, LargeUpdates, SmallUpdates

__all__ = ["RULES", "Case", "Finding", "Slice", "diagnose", "examine"]

Rule = (
    InputScale
    | TargetScale
    | UnreachableLoss
    | UnnormalizedOutputs
    | TargetsOutOfRange
    | ConstantTargets
    | ContradictoryTargets
    | StrongDecay
    | DeadRelu
    | SaturatedUnits
    | SymmetricUnits
    | VanishingGradients
    | ExplodingGradients
    | CollapsedOutputs
    | LargeLearningRate
    | LargeUpdates
    | ChanceLevel
    | UnusedInputs
    | SmallUpdates
)
RULES: tuple[type[Rule], ...] = get_args(Rule)


@np.errstate(all="ignore")
def diagnose(case: Case) -> list[Finding]:
    """All findings, warnings first."""
    found = [finding for rule in RULES for finding in rule().find(case)]
    return sorted(found, key=lambda finding: finding.severity != "warning")
