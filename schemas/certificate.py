"""The certificate on the wire."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from engine.certificate import Certificate, certify
from engine.errors import Where
from engine.step import differentiate
from schemas.network import Layout
from schemas.requests import OptionalStepRequest

MOST_KINKS = 20


class KinkModel(BaseModel):
    """A number at which a function has no derivative; the engine's is the convention of the catalog."""

    pointer: str = Field(description="Of the number, in the answer of POST /v1/backward, or in the request.")
    function: str = Field(description="The activation or loss that has no derivative there.")
    value: float = Field(description="The preactivation, weight or other number that lies on it.")


class CoordinatesModel(BaseModel):
    """The numbers that gradients are taken by: all weights, biases and inputs."""

    total: int = Field(description="How many numbers the gradient is taken by.")
    left_out: int = Field(description="Those that move a number that lies on a kink.")


class DifferencesModel(BaseModel):
    """(f(x + h d) - f(x - h d)) / 2h along random directions d, extrapolated to h = 0."""

    agrees: bool = Field(description="Whether the largest error is at most 1e-6.")
    directions: int = Field(description="Some move all coordinates, others those of a few arrays.")
    unresolved: int = Field(description="Further directions, where rounding or sharp bends hide the derivative.")
    max_relative_error: float = Field(
        description="Relative to the derivative along d or, where rounding hides that, to what a difference can see."
    )


class ComplexStepModel(BaseModel):
    """Im f(x + i h d) / h, which has neither truncation error nor cancellation."""

    applicable: Literal[True] = Field(description="All functions of the network have a complex form.")
    agrees: bool = Field(description="Whether the largest error is at most 1e-9.")
    coordinates: int = Field(description="Checked one by one; in large networks a sample, drawn by a fixed seed.")
    directions: int = Field(description="Checked together along random directions, which hold all coordinates.")
    max_relative_error: float = Field(
        description="Relative to the gradient or, where it is the difference of larger terms, to 1/1000 of those."
    )
    worst: str | None = Field(description="The pointer of the coordinate with the largest error, where there is one.")
    piecewise: list[str] = Field(
        description="Functions that are analytic in pieces: the step is taken on the piece that the number lies on."
    )


class NotApplicable(BaseModel):
    """The complex step could not be taken."""

    applicable: Literal[False] = Field(description="false: the complex step was not taken.")
    because: str = Field(description="Which function of the network does not allow it.")


class TaylorModel(BaseModel):
    """|f(x + h d) - f(x) - h g.d|: of order 2 in h where g is the gradient, of order 1 where it is not."""

    agrees: bool = Field(description="Whether the order is above 1.5, or f is linear.")
    order: float | None = Field(
        description="null where f is linear along d, or shows nothing of its derivative, up to rounding."
    )
    steps: list[float] = Field(description="`[steps]`, each half the one before.")
    remainders: list[float] = Field(description="`[steps]`, root mean square over random directions.")


class CertificateModel(BaseModel):
    """The service's own gradient, judged by three means that share no code with it."""

    verdict: Literal["match", "mismatch", "undetermined"] = Field(
        description="match where all three means agree, undetermined where nothing could be checked."
    )
    reason: str | None = Field(description="Why nothing could be checked, where the verdict is undetermined.")
    coordinates: CoordinatesModel = Field(
        description="What the gradient was taken by: how many numbers, and which of them were looked at."
    )
    central_differences: DifferencesModel | None = Field(
        description="The gradient against (L(w + h) - L(w - h)) / 2h; null where nothing could be checked."
    )
    complex_step: ComplexStepModel | NotApplicable = Field(
        description="The gradient against Im L(w + ih) / h, the most exact of the three."
    )
    taylor: TaylorModel | None = Field(
        description="How fast the tangent's remainder falls with the step; null where nothing could be checked."
    )
    kinks: list[KinkModel] = Field(description=f"The first {MOST_KINKS} kinks that numbers lie on.")
    kink_count: int = Field(description="How many there are in all.")


def certificate_of(request: OptionalStepRequest) -> dict[str, Any]:
    """The certificate of the engine's gradient of a request, in float64 whatever the request's dtype: in float32,
    rounding would hide what a certificate looks for."""
    request = request.model_copy(update={"dtype": "float64"})
    network, inputs, objective = request.engine_network(), request.engine_inputs(), request.objective()
    result = differentiate(network, inputs, objective, request.regularization)
    certificate = certify(network, inputs, objective, result.gradients, request.regularization)
    return certificate_to_wire(certificate, request.layout)


def certificate_to_wire(certificate: Certificate, layout: Layout) -> dict[str, Any]:
    """The fields of CertificateModel; pointers to weights are in the layout of the request."""
    step = certificate.complex_step
    complex_step: dict[str, Any] = {"applicable": False, "because": certificate.reason}
    if step is not None:
        worst = None if step.worst is None else _pointer(step.worst, layout)
        complex_step = {"applicable": True, **step._asdict(), "worst": worst}
    differences, taylor = certificate.central_differences, certificate.taylor
    shown = ("agrees", "directions", "unresolved", "max_relative_error")
    return {
        "verdict": certificate.verdict,
        "reason": certificate.reason,
        "coordinates": {"total": certificate.coordinates, "left_out": certificate.left_out},
        "central_differences": None if differences is None else {name: getattr(differences, name) for name in shown},
        "complex_step": complex_step,
        "taylor": None if taylor is None else taylor._asdict(),
        "kinks": [
            {"pointer": _pointer(kink.where, layout), "function": kink.function, "value": kink.value}
            for kink in certificate.kinks[:MOST_KINKS]
        ],
        "kink_count": len(certificate.kinks),
    }


def _pointer(where: Where, layout: Layout) -> str:
    if layout.transposed and where[-3] == "weights":
        where = (*where[:-2], where[-1], where[-2])
    return "".join(f"/{part}" for part in where)
