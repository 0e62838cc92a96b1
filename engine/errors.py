"""The engine's errors: facts (where, expected, received), no words about HTTP."""

from typing import Any

Where = tuple[str | int, ...]
"""A path into the request or the answer, such as `("network", "layers", 1, "weights")`."""


class EngineError(ValueError):
    """A request that is well-formed and cannot be computed.

    `where` is the path to the offending value, `expected` and `received` are JSON-ready facts or None, `hint` is what
    to do about it.
    """

    code = "invalid_value"

    def __init__(
        self, where: Where, detail: str, *, expected: Any = None, received: Any = None, hint: str | None = None
    ) -> None:
        super().__init__(detail)
        self.where = where
        self.detail = detail
        self.expected = expected
        self.received = received
        self.hint = hint


class OutOfRange(EngineError):
    """A hyperparameter that is too small or too large, by itself or beside another one."""

    code = "out_of_range"


def require(fits: bool, where: Where, expected: str, received: float) -> None:
    """Raises OutOfRange unless a hyperparameter fits."""
    if not fits:
        raise OutOfRange(where, "This number is outside its range.", expected=expected, received=received)


class ShapeMismatch(EngineError):
    """Two arrays do not fit together."""

    code = "shape_mismatch"


class InvalidTarget(EngineError):
    """A target that the loss cannot use: a label out of range, a probability outside [0, 1]."""

    code = "invalid_target"


class NotProbabilities(EngineError):
    """Outputs outside [0, 1] given to a loss of probabilities."""

    code = "not_probabilities"


class NonFinite(EngineError):
    """A result that overflowed or is undefined; `where` names layer, quantity and index of the first one."""

    code = "non_finite"


class InvalidState(EngineError):
    """An optimizer state that does not belong to this optimizer or network."""

    code = "invalid_state"


class InvalidWeights(EngineError):
    """Sample or class weights that leave nothing to average over."""

    code = "invalid_weights"


class TooLarge(EngineError):
    """More numbers or more work than the configured limit."""

    code = "too_large"
