"""Mistakes in the penalty on weights."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from engine.mistakes.computation import Case, Computation, Numbers
from engine.mistakes.loss import At
from engine.rules import About


def _times(c: Computation, factor: float, at: At) -> Computation:
    """The computation with a multiple of the penalty, of its derivative, or of both."""
    penalty, by_penalty = c.penalty, c.by_penalty
    if at != "loss":
        c = c._replace(by_penalty=lambda n, i, name: factor * by_penalty(n, i, name))
    return c if at == "gradients" else c._replace(penalty=lambda n: factor * penalty(n))


@dataclass(frozen=True, slots=True)
class RegularizationLeftOut:
    """The penalty left out of the loss, of the gradients, or of both.

    It is added to the loss that is printed and not to its derivative; or the report leaves it out.

    Source: Goodfellow, Bengio and Courville 2016, Deep Learning, 7.1.
    """

    kind: Literal["regularization_left_out"] = "regularization_left_out"
    at: At = "both"
    about: ClassVar = About("Regularization left out", r"L \text{ for } L + \lambda_1 |w| + \tfrac12 \lambda_2 w^2")

    def applies(self, case: Case) -> bool:
        return case.regularization is not None

    def alter(self, c: Computation, case: Case) -> Computation:
        return _times(c, 0.0, self.at)


@dataclass(frozen=True, slots=True)
class RegularizationDoubled:
    """The penalty counted twice: l2 * sum(w^2) without its 1/2, or its derivative 2 * l2 * w.

    Half of the textbooks write the penalty without the 1/2.

    Source: Goodfellow, Bengio and Courville 2016, Deep Learning, 7.1.
    """

    kind: Literal["regularization_doubled"] = "regularization_doubled"
    at: At = "both"
    about: ClassVar = About("Regularization doubled", r"\lambda w^2 \text{ for } \tfrac12 \lambda w^2")

    def applies(self, case: Case) -> bool:
        return case.regularization is not None

    def alter(self, c: Computation, case: Case) -> Computation:
        return _times(c, 2.0, self.at)


@dataclass(frozen=True, slots=True)
class RegularizationOnBiases:
    """The penalty applied to the biases too.

    "All parameters" is easier to write than "all weights".

    Source: Goodfellow, Bengio and Courville 2016, Deep Learning, 7.1: biases are left unregularized.
    """

    kind: Literal["regularization_on_biases"] = "regularization_on_biases"
    at: At = "both"
    about: ClassVar = About(
        "Regularization of biases", r"\tfrac12 \lambda (w^2 + b^2) \text{ for } \tfrac12 \lambda w^2"
    )

    def applies(self, case: Case) -> bool:
        return case.regularization is not None and case.has_bias()

    def alter(self, c: Computation, case: Case) -> Computation:
        rule, penalty, by_penalty = case.regularization, c.penalty, c.by_penalty
        assert rule is not None
        biases = [layer.bias for layer in case.layers if layer.bias is not None]

        def of_parameter(n: Numbers, i: int, name: str) -> Any:
            return rule.gradient(n.layer(i).parameters[name]) if name == "bias" else by_penalty(n, i, name)

        if self.at != "loss":
            c = c._replace(by_penalty=of_parameter)
        if self.at != "gradients":
            c = c._replace(penalty=lambda n: penalty(n) + rule.penalty(*biases))
        return c


@dataclass(frozen=True, slots=True)
class RegularizationMixedUp:
    """The penalty divided by the batch, with the wrong sign, or with an L1 derivative of |w| in place of sign(w).

    `form` says which. The penalty stands inside the mean over the examples, as in scikit-learn; it is subtracted with
    the gradient; or the derivative of |w| is taken for |w|, as that of w^2 / 2 is w.

    Source: Goodfellow, Bengio and Courville 2016, Deep Learning, 7.1; sklearn.neural_network.MLPClassifier, its alpha.
    """

    kind: Literal["regularization_mixed_up"] = "regularization_mixed_up"
    form: Literal["divided_by_batch", "wrong_sign", "without_sign"] = "divided_by_batch"
    at: At = "both"
    about: ClassVar = About("Regularization mixed up", r"\tfrac{\lambda}{N} w, \; -\lambda w \text{ for } \lambda w")

    def applies(self, case: Case) -> bool:
        rule = case.regularization
        if rule is None:
            return False
        if self.form == "without_sign":
            return rule.l1 > 0 and self.at == "gradients"
        return self.form == "wrong_sign" or case.batch > 1

    def alter(self, c: Computation, case: Case) -> Computation:
        by_penalty, rule = c.by_penalty, case.regularization
        assert rule is not None
        if self.form == "without_sign":
            l1, l2 = rule.l1, rule.l2

            def magnitude(n: Numbers, i: int, name: str) -> Any:
                weights = n.layer(i).weights
                return l1 * np.abs(weights) + l2 * weights if name == "weights" else by_penalty(n, i, name)

            return c._replace(by_penalty=magnitude)
        return _times(c, -1.0 if self.form == "wrong_sign" else 1 / case.batch, self.at)
