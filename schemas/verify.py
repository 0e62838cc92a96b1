"""Verification on the wire: claimed numbers in, comparisons, diagnoses and the certificate out."""

import dataclasses
import re
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import BaseModel, Field, StrictBool, model_validator

from engine.claims import Claim, Comparison
from engine.mistakes.computation import Case, Key
from engine.mistakes.numerics import Float32InPlaceOfFloat64, WrongFromHere
from engine.mistakes.search import EXACT, Diagnosis
from engine.rules import paragraphs
from engine.step import differentiate, step
from engine.verification import RELATIVE, Verification, verify
from schemas.answers import Selectable
from schemas.certificate import CertificateModel, certificate_of
from schemas.claims import Claims
from schemas.errors import InvalidValue
from schemas.mistake_words import CHOICES, WHERE, WHERE_ELSE
from schemas.optimizer_state import state_to_engine
from schemas.remedies import REMEDIES
from schemas.requests import OptionalStepRequest

SEARCH_WORK, SEARCH_LAYERS = 10**9, 100
"""What a search for mistakes in a network of up to so many layers counts as, in multiplications."""
CERTIFICATE_PASSES = 200
"""How many passes over the network a certificate takes, about."""
CERTIFICATE_WORK, CERTIFICATE_LAYERS = 10**7, 20
"""What a certificate counts as beside its passes: it takes milliseconds of a network of so many layers. A search
includes it."""
MOST_NUMBERS = 6
"""So many single numbers are told in an explanation."""


class Worst(BaseModel):
    """The number that is furthest off, as measured by the tolerance."""

    index: list[int] = Field(description="`[axes]`: its place in the array; empty for a single number.")
    expected: float = Field(description="The right number, as this service computes it.")
    claimed: float = Field(description="The number that was claimed.")


class ComparisonModel(BaseModel):
    """One claimed array, or number, against the right one."""

    pointer: str = Field(description="JSON pointer into an answer of this service, and so into `claimed`.")
    verdict: Literal["match", "mismatch"] = Field(
        description="Whether each number is within absolute_tolerance + relative_tolerance * |expected|, or within the "
        "digits that it was printed with."
    )
    max_absolute_error: float | None = Field(
        description="The largest |claimed - expected|; null for a claim of another shape."
    )
    max_relative_error: float | None = Field(
        description="Relative to the larger of both magnitudes, so from 0 to 2; null for a claim of another shape."
    )
    mismatched: int = Field(description="How many numbers do not match.")
    total: int = Field(description="How many numbers there should be.")
    worst: Worst | None = Field(description="The number furthest off; null for a claim of another shape.")
    rounding: str | None = Field(
        description="How the claim was rounded ('rounded to 4 digits', 'float32'), where it matches because of that."
    )
    message: str | None = Field(
        description="What else there is to say: that this is the transpose, that a batch axis is missing, that the "
        "numbers follow from wrong ones claimed before them."
    )
    expected_shape: list[int] | None = Field(description="`[axes]`: the right shape, where the claim has another.")
    claimed_shape: list[int] | None = Field(description="`[axes]`: the claim's, where it is another.")


class DiagnosisModel(BaseModel):
    """A well-known mistake that gives the claimed numbers."""

    mistake: str = Field(description="Its kind in the catalog's list of mistakes.")
    title: str = Field(description="The mistake in a few words.")
    explanation: str = Field(
        description="What it changes, why people make it, where it was made here, how it was recognized, and what to "
        "do instead."
    )
    explains: list[str] = Field(
        description="JSON pointers to the wrong arrays that it reproduces, or to single numbers of one."
    )
    residual: float = Field(
        description="The largest difference left between what it gives and what is claimed, relative to the largest "
        "number of the array: about 1e-16 where it is exact, more where claims are rounded."
    )
    layer: int | None = Field(description="The only layer where it was made; null where in all that have it.")
    parameters: dict[str, Any] = Field(description="The mistake's choices, as the catalog lists them.")
    together_with: list[str] = Field(
        description="Other mistakes made at once: only together they give these numbers. Each has its own entry too."
    )
    from_claimed: bool = Field(
        description="Whether the numbers follow, by this mistake, from those claimed before them, not from right ones."
    )


class FirstMismatch(BaseModel):
    """The first wrong number along the way of the computation: forward pass, loss, last layer to first, update."""

    pointer: str = Field(description="JSON pointer to the number, or to an array of another shape.")
    expected: float | None = Field(description="The right number; null for an array of another shape.")
    claimed: float | None = Field(description="The claimed one; null for an array of another shape.")
    absolute_error: float | None = Field(description="How far off it is.")
    relative_error: float | None = Field(description="The same, relative to the larger of both magnitudes.")


class VerifyAnswer(Selectable):
    """What is wrong with claimed numbers, which mistakes make them, and why the service's own can be trusted."""

    verdict: Literal["match", "mismatch"] = Field(description="match where every claim does, and where none is made.")
    comparisons: list[ComparisonModel] = Field(description="Each claim, in the order of the computation.")
    diagnoses: list[DiagnosisModel] = Field(
        description="The mistakes that reproduce wrong claims, best first: those that explain most, then the most "
        "exact, then the simplest. All that explain the numbers equally are listed."
    )
    first_mismatch: FirstMismatch | None = Field(description="Where it begins to be wrong; null where nothing is.")
    unexplained: list[str] = Field(
        description="JSON pointers to wrong arrays that neither a known mistake nor the claims before account for."
    )
    not_compared: list[str] = Field(
        description="JSON pointers to what was claimed and not looked at: an optimizer's state, examples' own "
        "gradients; and a layer's kind, activation, name or frozen where it is not that of the request's network."
    )
    not_tried: int = Field(
        description="How many mistakes, and pairs of them, were not tried, since a search ends at 4000 pairs and at a "
        "work that large networks reach sooner."
    )
    certificate: CertificateModel = Field(
        description="That the service's own gradient is right, by means that share no code with it."
    )


class VerifyRequest(OptionalStepRequest):
    """A backward request, and what somebody else computed for it."""

    answer: ClassVar[type[BaseModel]] = VerifyAnswer

    per_example: StrictBool = Field(False, description="Makes no difference: examples' own gradients are not compared.")
    claimed: Claims | None = Field(None, description="Any part of what somebody else computed.")
    relative_tolerance: float = Field(
        RELATIVE,
        ge=0,
        le=1,
        strict=True,
        description="How far off a claim may be, as a share of the right number. Below the default, no claim is taken "
        "as rounded.",
    )
    absolute_tolerance: float = Field(
        1e-9, ge=0, le=1e300, strict=True, description="How far off it may be beside that, as a number."
    )

    @model_validator(mode="after")
    def _updates_have_an_optimizer(self) -> Self:
        claimed = self.claimed
        if self.optimizer is None and claimed and (claimed.network is not None or claimed.update_norm is not None):
            raise InvalidValue("missing", ("optimizer",), "Parameters after a step are compared with its optimizer's.")
        return self

    def numbers(self) -> int:
        return 4 * super().numbers()

    def work(self) -> int:
        if self.claimed is None:
            more = self.for_depth(CERTIFICATE_WORK, CERTIFICATE_LAYERS)
        else:
            more = self.for_depth(SEARCH_WORK, SEARCH_LAYERS)
        return super().work() * CERTIFICATE_PASSES + more

    def verified(self) -> dict[str, Any]:
        """The fields of VerifyAnswer."""
        case, claimed = self._case(), self.claimed or Claims()
        claims = claimed.to_engine(self.layout, case.depth)
        found = verify(case, claims, self.relative_tolerance, self.absolute_tolerance)
        return {
            **verification_to_wire(found, {claim.key: claim for claim in claims}),
            "not_compared": claimed.not_compared(self.network),
            "certificate": certificate_of(self),
        }

    def _case(self) -> Case:
        """What is computed; raises what a step, or its gradients, would."""
        network, inputs, objective = self.engine_network(), self.engine_inputs(), self.objective()
        rules = (self.regularization, self.gradient_clipping, self.optimizer)
        if self.optimizer is None:
            differentiate(network, inputs, objective, self.regularization)
            return Case(network, inputs, objective, *rules)
        state = state_to_engine(self.optimizer_state, self.optimizer, network, self.layout)
        step(network, inputs, objective, self.optimizer, state, self.regularization, self.gradient_clipping)
        return Case(network, inputs, objective, *rules, None if self.optimizer_state is None else state)


def verification_to_wire(found: Verification, claims: dict[Key, Claim]) -> dict[str, Any]:
    """The fields of VerifyAnswer that say what was found."""
    wire = _Wire(found, claims)
    return {
        "verdict": "match" if found.matches else "mismatch",
        "comparisons": [wire.comparison(c) for c in found.comparisons],
        "diagnoses": [entry for d in found.diagnoses for entry in wire.diagnosis(d)],
        "first_mismatch": wire.first_mismatch(),
        "unexplained": [wire.pointer(key) for key in found.unexplained],
        "not_tried": found.left_out,
    }


class _Wire:
    """Pointers, indices and shapes in the layouts of the claims, and sentences."""

    def __init__(self, found: Verification, claims: dict[Key, Claim]) -> None:
        self.found, self.claims = found, claims

    def turned(self, key: Key, places: tuple[int, ...]) -> list[int]:
        """An index into an array, or its shape, as the claim writes it."""
        turned = len(places) == 2 and self.claims[key].transposed
        return list(reversed(places) if turned else places)

    def pointer(self, key: Key, index: tuple[int, ...] = ()) -> str:
        return "".join(f"/{part}" for part in (*key, *self.turned(key, index)))

    def comparison(self, c: Comparison) -> dict[str, Any]:
        right = self.found.truth.get(c.key)
        other_shape = c.wrong is None
        total = 0 if right is None else int(np.size(right))
        return {
            "pointer": self.pointer(c.key),
            "verdict": "match" if c.matches else "mismatch",
            "max_absolute_error": None if other_shape else c.largest_error,
            "max_relative_error": None if other_shape else c.largest_relative_error,
            "mismatched": total if c.wrong is None else int(c.wrong.sum()),
            "total": total,
            "worst": None if c.worst is None else self._numbers(c.key, c.worst),
            "rounding": c.rounding,
            "message": c.message,
            "expected_shape": self.turned(c.key, np.shape(right)) if other_shape and right is not None else None,
            "claimed_shape": self.turned(c.key, self.claims[c.key].values.shape) if other_shape else None,
        }

    def _numbers(self, key: Key, index: tuple[int, ...]) -> dict[str, Any]:
        right, claimed = np.asarray(self.found.truth[key])[index], self.claims[key].values[index]
        return {"index": self.turned(key, index), "expected": float(right), "claimed": float(claimed)}

    def first_mismatch(self) -> dict[str, Any] | None:
        c = next((c for c in self.found.comparisons if not c.matches), None)
        if c is None:
            return None
        if c.wrong is None:
            fields = ("expected", "claimed", "absolute_error", "relative_error")
            return {"pointer": self.pointer(c.key), **dict.fromkeys(fields)}
        index = tuple(int(k) for k in np.unravel_index(int(np.argmax(c.wrong)), c.wrong.shape))
        numbers = self._numbers(c.key, index)
        right, claimed = numbers["expected"], numbers["claimed"]
        scale = max(abs(right), abs(claimed))
        with np.errstate(over="ignore"):
            error = abs(np.float64(claimed) - right)
        return {
            "pointer": self.pointer(c.key, index),
            "expected": right,
            "claimed": claimed,
            "absolute_error": min(float(error), np.finfo(np.float64).max),
            "relative_error": float(2 * abs(claimed / 2 / scale - right / 2 / scale)) if scale else 0.0,
        }

    def diagnosis(self, d: Diagnosis) -> list[dict[str, Any]]:
        """One entry for each of the mistakes made together."""
        explains = [self.pointer(key) for key in d.explains]
        if d.entries:
            explains = [self.pointer(d.explains[0], index) for index in d.entries]
        entries = []
        for mistake in d.mistakes:
            choices = {f.name: getattr(mistake, f.name) for f in dataclasses.fields(mistake) if f.name != "kind"}
            layer = choices.pop("layer", None)
            if len({i for i, _ in d.only}) == 1:
                layer = d.only[0][0]
            entries.append(
                {
                    "mistake": mistake.kind,
                    "title": mistake.about.title,
                    "explanation": self._explanation(d, mistake, choices, layer),
                    "explains": explains,
                    "residual": d.residual,
                    "layer": layer,
                    "parameters": choices,
                    "together_with": [m.kind for m in d.mistakes if m is not mistake],
                    "from_claimed": d.from_claims,
                }
            )
        return entries

    def _explanation(self, d: Diagnosis, mistake: Any, choices: dict[str, Any], layer: int | None) -> str:
        formula, *notes, _ = paragraphs(type(mistake))
        sentences = [formula, *_without_choices(notes, choices)]
        clauses = [clause for name, value in choices.items() if (clause := _clause(mistake.kind, name, value))]
        if clauses:
            sentences.append(f"Here {', and '.join(clauses)}.")
        at = choices.get("at")
        where = [WHERE_ELSE.get((mistake.kind, at), WHERE.get(at, ""))] if isinstance(at, str) else []
        where += [WHERE[f"{name}_step"] + " only" for _, name in d.only[:1] if all(n == name for _, n in d.only)]
        where += [] if layer is None else [f"in layer {layer} only"]
        if any(where):
            sentences.append(f"It was made {', '.join(filter(None, where))}.")
        for index, right in list(zip(d.entries, d.right, strict=False))[:MOST_NUMBERS]:
            claimed = float(self.claims[d.explains[0]].values[index])
            sentences.append(f"{self.pointer(d.explains[0], index)} is {claimed:g}; {right:.6g} follows.")
        if not (d.right or isinstance(mistake, WrongFromHere | Float32InPlaceOfFloat64)):
            sentences.append(self._evidence(d))
        return " ".join([*sentences, REMEDIES[mistake.kind]])

    def _evidence(self, d: Diagnosis) -> str:
        """How a mistake was recognized."""
        made = "together they give" if len(d.mistakes) > 1 else "it gives"
        places = len(d.entries) or len(d.explains)
        what = self.pointer(d.explains[0], *d.entries[:1]) + (f" and {places - 1} more" if places > 1 else "")
        exact = "exactly" if d.residual < EXACT else f"but for {d.residual:.1g} of the largest number"
        grounds = ", computed from the claimed numbers before them" if d.from_claims else ""
        return f"Made on purpose, {made} the claimed numbers of {what} {exact}{grounds}."


def _without_choices(notes: list[str], choices: dict[str, Any]) -> list[str]:
    """The sentences that do not list what a mistake's choices may be."""
    sentences = [sentence for note in notes for sentence in re.split(r"(?<=[.:]) (?=[A-Z`])", note)]
    return [sentence for sentence in sentences if not any(f"`{name}`" in sentence for name in choices)]


def _clause(kind: str, name: str, value: Any) -> str:
    """A choice in words; "" for one that says no more than the mistake."""
    words = CHOICES.get(f"{kind}.{name}", "")
    if isinstance(words, dict):
        return words[value]
    return "" if value is None else words.format(f"{value:.10g}" if isinstance(value, float) else value)
