"""The well-known mistakes of backpropagation: what each is, why people make it, and how it changes the computation."""

import dataclasses
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import product
from typing import Any, Literal, get_args, get_origin, get_type_hints

from engine.mistakes.activation import (
    ActivationFormulaWrong,
    ActivationLeftOut,
    DerivativeAtActivation,
    DerivativeFormulaTakesPreactivation,
    DerivativeLeftOut,
    DerivativeOfNeighbor,
    SigmoidDerivativeInCombinedForm,
    SoftmaxDerivativeTwice,
    SoftmaxDiagonalOnly,
    SoftmaxOverBatch,
    SoftmaxWithoutExponential,
)
from engine.mistakes.adaptive import (
    AdaptiveStepMixedUp,
    BiasCorrectionLeftOut,
    EpsilonPlacement,
    StepsCountedPerParameter,
)
from engine.mistakes.averages import AveragesMixedUp, MomentumBufferOfOtherForm
from engine.mistakes.backward import (
    DiagonalWeightsOnly,
    LayerOrderReversed,
    MagnitudesPassedBackThrough,
    PassedBackThroughUpdatedWeights,
    PassedBackWithoutWeights,
    SignFlipped,
    WeightsTransposed,
)
from engine.mistakes.class_weights import ClassWeightsMixedUp
from engine.mistakes.clipping import (
    ClippingLeftOut,
    ClippingMixedUp,
    ClippingNotAskedFor,
    ClippingPerLayer,
    GradientsAfterClipping,
)
from engine.mistakes.computation import Case
from engine.mistakes.data import InputsPreprocessed, TargetsPreprocessed
from engine.mistakes.decay import WeightDecayNotAskedFor
from engine.mistakes.derivative import (
    ActivationTwice,
    DerivativeAtKink,
    DerivativeFormulaWrong,
    DerivativeTwice,
    HyperparametersForgotten,
    OtherActivation,
    SoftmaxJacobianSign,
)
from engine.mistakes.dropout import DropoutScale
from engine.mistakes.factor import ConstantFactor
from engine.mistakes.loops import (
    AccumulatorNotReset,
    FlattenedInOtherOrder,
    IntegersInPlaceOfDecimals,
    KeptOfLastExample,
    LoopOneShort,
    OneTermOnly,
    RowsShared,
)
from engine.mistakes.loss import (
    BinaryInPlaceOfCategorical,
    BinaryTermSign,
    CategoricalInPlaceOfBinary,
    CombinedFormAssumed,
    DividedByBatchInEveryLayer,
    DividedByBatchTwice,
    ElementsInPlaceOfRows,
    LogarithmBase,
    MeanInPlaceOfSum,
    RowsInPlaceOfElements,
    SampleWeightsLeftOut,
    SquaredErrorFactor,
    SumInPlaceOfMean,
)
from engine.mistakes.masks import ReluDerivativeWrong, ReluMaskOfGradient, ReluMaskOfOtherLayer
from engine.mistakes.mixed import BiasGradientOfWeights, InputsLeftOut
from engine.mistakes.neighbors import (
    DerivativeOfOtherLayer,
    ErrorOfOtherLayer,
    InputsOfOtherLayer,
    WeightsOfOtherLayer,
)
from engine.mistakes.numerics import FiniteDifferences, Float32InPlaceOfFloat64, WrongFromHere
from engine.mistakes.other_loss import (
    AbsoluteInPlaceOfSquaredError,
    EpsilonInLogarithm,
    LogarithmLeftOut,
    ProbabilitiesAsLogits,
    RootOfSquaredError,
    SquaredInPlaceOfCrossEntropy,
)
from engine.mistakes.output_error import ErrorAveraged, ErrorWithoutSign, OutputErrorMixedUp, OutputsRounded
from engine.mistakes.overwriting import WrittenOver
from engine.mistakes.parameters import (
    BiasAddedWrongly,
    BiasGradientAveraged,
    BiasGradientMissing,
    BiasGradientNotSummed,
    BiasGradientOncePerWeight,
    BiasGradientOneForAll,
    BiasGradientOverUnits,
    BiasLeftOut,
    GradientMissing,
    GradientsCountedTwice,
    GradientTransposed,
    InputsBeforeActivation,
    OneExampleOnly,
    OutputsInPlaceOfInputs,
    WeightGradientAveraged,
    WeightGradientOfMeans,
)
from engine.mistakes.penalty import (
    RegularizationDoubled,
    RegularizationLeftOut,
    RegularizationMixedUp,
    RegularizationOnBiases,
)
from engine.mistakes.slips import DecimalPointMoved, DigitsTransposed, DigitWrong, EntryCopied, EntrySign
from engine.mistakes.steps import ComputedAfterUpdate, SeveralSteps
from engine.mistakes.targets import (
    DividedByBatchLessOne,
    ExampleLeftOut,
    LabelsAsNumbers,
    LabelSmoothingMixedUp,
    TargetsBroadcast,
    TargetsShifted,
)
from engine.mistakes.update import (
    FrozenUpdated,
    LearningRateMissing,
    LearningRateOff,
    LearningRateTwice,
    MomentumMixedUp,
    NotUpdated,
    OptimizerStateNotKept,
    PlusInPlaceOfMinus,
    StepInPlaceOfParameters,
    WeightDecayMixedUp,
)

Seldom = (
    ReluDerivativeWrong
    | BiasGradientOfWeights
    | InputsLeftOut
    | PassedBackWithoutWeights
    | ErrorOfOtherLayer
    | ErrorWithoutSign
    | OutputsRounded
    | ErrorAveraged
    | ActivationTwice
    | SoftmaxJacobianSign
    | StepInPlaceOfParameters
    | AveragesMixedUp
    | MomentumBufferOfOtherForm
    | WrittenOver
    | OutputErrorMixedUp
)
"""Those of the mistakes below that are not tried together with others, which would take the place of more likely
pairs."""

Alteration = (
    SumInPlaceOfMean
    | MeanInPlaceOfSum
    | SquaredErrorFactor
    | SignFlipped
    | NotUpdated
    | BiasGradientMissing
    | GradientMissing
    | DividedByBatchTwice
    | ElementsInPlaceOfRows
    | RowsInPlaceOfElements
    | SoftmaxDiagonalOnly
    | SoftmaxDerivativeTwice
    | SigmoidDerivativeInCombinedForm
    | DerivativeAtKink
    | DerivativeLeftOut
    | DerivativeAtActivation
    | DerivativeFormulaTakesPreactivation
    | LabelSmoothingMixedUp
    | CombinedFormAssumed
    | BinaryTermSign
    | BinaryInPlaceOfCategorical
    | CategoricalInPlaceOfBinary
    | LogarithmBase
    | GradientTransposed
    | WeightsTransposed
    | DiagonalWeightsOnly
    | PassedBackThroughUpdatedWeights
    | BiasGradientNotSummed
    | BiasGradientAveraged
    | WeightGradientAveraged
    | BiasGradientOncePerWeight
    | InputsBeforeActivation
    | OutputsInPlaceOfInputs
    | OneExampleOnly
    | ReluMaskOfGradient
    | ReluMaskOfOtherLayer
    | DerivativeOfOtherLayer
    | LayerOrderReversed
    | DerivativeOfNeighbor
    | BiasLeftOut
    | ActivationLeftOut
    | SoftmaxWithoutExponential
    | SoftmaxOverBatch
    | SampleWeightsLeftOut
    | RegularizationLeftOut
    | RegularizationDoubled
    | RegularizationOnBiases
    | ClippingLeftOut
    | ClippingPerLayer
    | GradientsAfterClipping
    | PlusInPlaceOfMinus
    | LearningRateMissing
    | MomentumMixedUp
    | BiasCorrectionLeftOut
    | EpsilonPlacement
    | WeightDecayMixedUp
    | AdaptiveStepMixedUp
    | FrozenUpdated
    | OptimizerStateNotKept
    | HyperparametersForgotten
    | DerivativeFormulaWrong
    | DerivativeTwice
    | LearningRateTwice
    | LearningRateOff
    | GradientsCountedTwice
    | TargetsShifted
    | ExampleLeftOut
    | DividedByBatchLessOne
    | RegularizationMixedUp
    | ClippingMixedUp
    | BiasAddedWrongly
    | BiasGradientOneForAll
    | ProbabilitiesAsLogits
    | LogarithmLeftOut
    | EpsilonInLogarithm
    | SquaredInPlaceOfCrossEntropy
    | AbsoluteInPlaceOfSquaredError
    | RootOfSquaredError
    | TargetsBroadcast
    | OtherActivation
    | DividedByBatchInEveryLayer
    | BiasGradientOverUnits
    | WeightsOfOtherLayer
    | InputsOfOtherLayer
    | ComputedAfterUpdate
    | SeveralSteps
    | LabelsAsNumbers
    | MagnitudesPassedBackThrough
    | WeightGradientOfMeans
    | ActivationFormulaWrong
    | FlattenedInOtherOrder
    | OneTermOnly
    | LoopOneShort
    | RowsShared
    | AccumulatorNotReset
    | IntegersInPlaceOfDecimals
    | KeptOfLastExample
    | StepsCountedPerParameter
    | ClassWeightsMixedUp
    | Seldom
)
"""The mistakes that change the computation, those more often made first."""

Slip = EntrySign | DecimalPointMoved | DigitsTransposed | DigitWrong | EntryCopied
"""The mistakes of single numbers."""

Fitted = (
    ConstantFactor
    | WeightDecayNotAskedFor
    | DropoutScale
    | ClippingNotAskedFor
    | InputsPreprocessed
    | TargetsPreprocessed
    | FiniteDifferences
)
"""The mistakes that are only tried where no other one explains everything."""

Mistake = Alteration | Fitted | Float32InPlaceOfFloat64 | WrongFromHere | Slip


@cache
def _options(rule: type) -> tuple[bool, list[dict[str, Any]]]:
    """Whether a mistake may be made in one layer alone, and the combinations of its other choices."""
    hints = get_type_hints(rule)
    choices = {
        field.name: get_args(hints[field.name])
        for field in dataclasses.fields(rule)
        if field.name != "kind" and get_origin(hints[field.name]) is Literal
    }
    combinations = [dict(zip(choices, values, strict=True)) for values in product(*choices.values())]
    return "layer" in hints, combinations


def variants(case: Case, layers: Iterable[int]) -> Iterator[Alteration]:
    """Every mistake that can be made in this case: those in all layers, then those in one of `layers` alone; and the
    same of those that are seldom made."""
    seldom, places = get_args(Seldom), (None, *layers)
    frequent = [rule for rule in get_args(Alteration) if rule not in seldom]
    for rules, layer in product((frequent, seldom), places):
        for rule in rules:
            yield from variants_of(rule, case, layer)


def variants_of(rule: Any, case: Case, layer: int | None) -> Iterator[Alteration]:
    """The ways in which one of the mistakes can be made in this case: in all layers, or in one alone."""
    layered, combinations = _options(rule)
    if layer is not None and not (layered and case.depth > 1):
        return
    for options in combinations:
        mistake = rule(**options) if layer is None else rule(layer=layer, **options)
        if mistake.applies(case):
            yield mistake
