"""Mistakes in what the network is given: inputs and targets that were changed before they were used."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from engine.activations import sigmoid
from engine.mistakes.computation import Case, Computation
from engine.mistakes.loops import with_inputs
from engine.mistakes.targets import with_targets_of
from engine.objective import LossObjective
from engine.rules import About, Array

Preprocessing = Literal[
    "standardized",
    "standardized_unbiased",
    "standardized_together",
    "centered",
    "min_max",
    "min_max_together",
    "divided_by_largest",
    "divided_by_255",
    "unit_rows",
    "activation",
    "sigmoid",
]
Recoding = Literal["standardized", "centered", "min_max", "divided_by_largest", "minus_one_to_one", "complement"]


def _ratio(array: Array, scale: Any) -> Array:
    """array / scale, and array where the scale is 0, as for a feature that is always the same."""
    return np.array(array / np.where(scale == 0, 1.0, scale))


def _min_max(x: Array, axis: int | None) -> Array:
    least = x.min(axis=axis, keepdims=True)
    return _ratio(x - least, x.max(axis=axis, keepdims=True) - least)


RULES: dict[str, Callable[[Array], Array]] = {
    "standardized": lambda x: _ratio(x - x.mean(axis=0), x.std(axis=0)),
    "standardized_unbiased": lambda x: _ratio(x - x.mean(axis=0), x.std(axis=0, ddof=1)),
    "standardized_together": lambda x: _ratio(x - x.mean(), x.std()),
    "centered": lambda x: x - x.mean(axis=0),
    "min_max": lambda x: _min_max(x, 0),
    "min_max_together": lambda x: _min_max(x, None),
    "divided_by_largest": lambda x: _ratio(x, x.max(axis=0)),
    "divided_by_255": lambda x: x / 255,
    "unit_rows": lambda x: _ratio(x, np.linalg.norm(x, axis=1, keepdims=True)),
    "sigmoid": sigmoid,
    "minus_one_to_one": lambda t: 2 * t - 1,
    "complement": lambda t: 1 - t,
}
"""What is made of an array [batch, numbers]."""


@dataclass(frozen=True, slots=True)
class InputsPreprocessed:
    """The inputs changed before they reach the first layer: scaled, or given to an activation.

    A pipeline standardizes what it loads, and the numbers that it is compared with are those of raw inputs; or the
    inputs are taken for a layer of their own, with an activation. `form` says what was done, by the mean, deviation,
    least and largest value of this batch.

    Source: sklearn.preprocessing.StandardScaler, MinMaxScaler and Normalizer.
    """

    kind: Literal["inputs_preprocessed"] = "inputs_preprocessed"
    form: Preprocessing = "standardized"
    about: ClassVar = About("Inputs preprocessed", r"\frac{x - \bar x}{s} \text{ for } x")

    def _inputs(self, case: Case) -> Array:
        if self.form == "activation":
            return case.layers[0].activation.forward(case.inputs)
        return RULES[self.form](case.inputs)

    def alter(self, c: Computation, case: Case) -> Computation:
        return with_inputs(c, self._inputs(case))


@dataclass(frozen=True, slots=True)
class TargetsPreprocessed:
    """The targets changed before the outputs are compared with them.

    Regression targets are standardized together with the inputs; classes are coded as -1 and 1 for a tanh, or as 0 and
    1 the other way round. `form` says what was done, by the mean, deviation, least and largest value of this batch.

    Source: sklearn.compose.TransformedTargetRegressor.
    """

    kind: Literal["targets_preprocessed"] = "targets_preprocessed"
    form: Recoding = "standardized"
    about: ClassVar = About("Targets preprocessed", r"\frac{t - \bar t}{s} \text{ for } t")

    def alter(self, c: Computation, case: Case) -> Computation:
        return with_targets_of(c, case, RULES[self.form](case.targets))


def preprocessings(case: Case) -> Iterator[InputsPreprocessed | TargetsPreprocessed]:
    """The ones to try; those of the batch as a whole where there is one."""
    whole = ("divided_by_255", "unit_rows", "activation", "sigmoid")
    yield from (InputsPreprocessed(form=form) for form in get_args(Preprocessing) if case.batch > 1 or form in whole)
    if isinstance(case.objective, LossObjective):
        coded = ("minus_one_to_one", "complement")
        yield from (TargetsPreprocessed(form=form) for form in get_args(Recoding) if case.batch > 1 or form in coded)
