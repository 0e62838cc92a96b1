"""The oracle's routes: what is told about a computation, beyond its numbers."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Body
from starlette.types import Message, Receive, Scope, Send

from app.compute import ComputeRoute
from app.examples import openapi_examples
from app.forms import JSON, Writer
from app.openapi import route_name
from schemas.answers import only, write
from schemas.diagnose import DiagnoseAnswer, DiagnoseRequest, diagnose_answer
from schemas.documents.markdown import markdown
from schemas.documents.page import page
from schemas.explain import ExplainAnswer, ExplainRequest, explain_answer
from schemas.verify import VerifyAnswer, VerifyRequest

POLICY = (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'")
"""A document holds what a client sent: a browser that shows it runs and loads nothing."""


class ExplainRoute(ComputeRoute):
    """The route of explanations, which are written as data or as documents."""

    answer_forms: Mapping[bytes, Writer] = {
        JSON: write,
        b"text/markdown; charset=utf-8": lambda derivation, encoding: markdown(derivation).encode(),
        b"text/html; charset=utf-8": lambda derivation, encoding: page(derivation).encode(),
    }

    async def handle_post(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], POLICY]
            await send(message)

        # What an annex answers passes through here in the server too.
        await super().handle_post(scope, receive, send if "annex" in scope else send_guarded)

    def computed(self, asked: ExplainRequest, write: Writer) -> Any:
        return self.endpoint(asked) if write is self.answer_forms[JSON] else asked.explained()


router = APIRouter(prefix="/v1", route_class=ComputeRoute, generate_unique_id_function=route_name)
explain_router = APIRouter(prefix="/v1", route_class=ExplainRoute, generate_unique_id_function=route_name)


@explain_router.post("/explain", response_model=ExplainAnswer, tags=["oracle"], summary="Every number, explained")
def explain(
    request: Annotated[ExplainRequest, Body(openapi_examples=openapi_examples("/v1/explain"))],
) -> dict[str, Any]:
    """Tells how every number comes about, step by step, with the numbers of this very example.

    In the order of a textbook: the network, the forward pass, the loss, the derivatives that matter, then each layer
    from the last to the first (by what it gives, by what goes into its activation, by its weights and bias, and the
    update), and at last how many multiplications are saved by using each layer's error again in the layer before.

    - `value` is the engine's own number or array, every digit; `latex` prints six.
    - With `focus`, one parameter's chain of factors from the loss to it; `terms` multiply out to `value`.
    - `Accept: text/markdown` and `text/html` give the same as a document. The page stands alone, with a diagram of the
      network.

    A whole derivation shows about 10,000 numbers at most; with `focus` the network may have any size.
    """
    return only(explain_answer(request.explained()), request.include)


@router.post("/diagnose", response_model=DiagnoseAnswer, tags=["oracle"], summary="What is wrong with this network")
def diagnose(
    request: Annotated[DiagnoseRequest, Body(openapi_examples=openapi_examples("/v1/diagnose"))],
) -> dict[str, Any]:
    """Looks for what keeps a network from learning, in one batch of its data.

    Dead relu units, saturated units, copies of one unit, gradients that vanish or explode, inputs far from unit scale,
    a loss or targets that the last activation cannot reach, outputs that are all the same or at chance level, inputs
    that make no difference; with an `optimizer`, updates too large or too small, and a learning rate that sends the
    loss up.

    - Each finding has `evidence`, the numbers it is drawn from, and a `remedy`. An empty list is good news.
    - `layers` holds statistics of every layer: what a plot of a training run would show.
    - `loss_slices` is the loss along the gradient, and along the optimizer's step, to be plotted.
    """
    return only(diagnose_answer(request.examined()), request.include)


@router.post("/verify", response_model=VerifyAnswer, tags=["oracle"], summary="Is it right, and if not, why not")
def verify(
    request: Annotated[VerifyRequest, Body(openapi_examples=openapi_examples("/v1/verify"))],
) -> dict[str, Any]:
    """Checks numbers that somebody else computed, and names the mistakes that give exactly these numbers.

    `claimed` is any part of an answer of `POST /v1/step`: what your own code gives, an exercise sheet, a paper. An
    array is claimed as a whole, and `layers` has an entry for each layer, null where nothing is claimed.

    - `comparisons` tells of each array whether it is right. Numbers that were rounded match in the digits that were
      printed, and `rounding` says so; an array of another shape is told what it looks like (the transpose, a batch
      axis that is missing).
    - `diagnoses` are the mistakes of the catalog that reproduce wrong numbers: each is tried on this very request, and
      what it gives is compared with all that is claimed. They may be made in one layer alone, two at once, or be slips
      of single numbers.
    - `first_mismatch` is where it begins to be wrong; what follows from numbers claimed before is told apart.
    - `certificate` shows that the service's own gradient is right, by central differences, complex steps and the order
      of the Taylor remainder. Without `claimed` it is the whole answer.
    """
    return only(request.verified(), request.include)
