"""The POST routes: each one function, from a validated request to the answer."""

from typing import Annotated, Any

from fastapi import APIRouter, Body

from app.compute import ComputeRoute
from app.examples import openapi_examples
from app.openapi import route_name
from app.training import Run, TrainRoute
from engine import step as training_step
from engine.objective import LossObjective
from engine.training import measure_outputs
from schemas.answers import (
    BackwardAnswer,
    ForwardAnswer,
    InitializeAnswer,
    StepAnswer,
    backward_answer,
    forward_answer,
    only,
)
from schemas.network import TRAINING_STATE, network_to_wire, state_to_wire
from schemas.requests import BackwardRequest, ForwardRequest, InitializeRequest, StepRequest
from schemas.training import EvaluateAnswer, EvaluateRequest, TrainAnswer, TrainRequest, predictions

router = APIRouter(prefix="/v1", route_class=ComputeRoute, generate_unique_id_function=route_name)


@router.post("/initialize", response_model=InitializeAnswer, tags=["networks"], summary="Make a network")
def initialize(
    request: Annotated[InitializeRequest, Body(openapi_examples=openapi_examples("/v1/initialize"))],
) -> dict[str, Any]:
    """Weights and biases drawn by each layer's initializers; the same seed gives the same bytes."""
    return {"network": network_to_wire(request.engine_network(), request.layout)}


@router.post("/forward", response_model=ForwardAnswer, tags=["networks"], summary="The forward pass")
def forward(
    request: Annotated[ForwardRequest, Body(openapi_examples=openapi_examples("/v1/forward"))],
) -> dict[str, Any]:
    """Every layer's preactivations and activations, the outputs and, with targets and a loss, the loss."""
    network, inputs, objective = request.engine_network(), request.engine_inputs(), request.objective()
    if objective is None:
        trace, evaluation = training_step.checked_forward(network, inputs), None
    else:
        trace, evaluation = training_step.evaluate(network, inputs, objective)
    return only(forward_answer(network, trace, evaluation), request.include)


@router.post("/backward", response_model=BackwardAnswer, tags=["networks"], summary="All gradients")
def backward(
    request: Annotated[BackwardRequest, Body(openapi_examples=openapi_examples("/v1/backward"))],
) -> dict[str, Any]:
    """Backpropagation: the derivative of the loss by every layer's weights, bias, preactivations and activations.

    With `output_gradients` in place of targets and loss, the answers are vector-Jacobian products.
    """
    network = request.engine_network()
    result = training_step.differentiate(network, request.engine_inputs(), request.objective())
    return only(backward_answer(network, result, request.layout, request.per_example), request.include)


@router.post("/step", response_model=StepAnswer, tags=["networks"], summary="One step of training")
def step(request: Annotated[StepRequest, Body(openapi_examples=openapi_examples("/v1/step"))]) -> dict[str, Any]:
    """Forward pass, loss, all gradients, and the network after one update; losses and gradients are those before it.

    `network` and `optimizer_state` of the answer can be posted unchanged in the next step.
    """
    network = request.engine_network()
    result = training_step.step(
        network,
        request.engine_inputs(),
        request.objective(),
        request.optimizer,
        request.state(network),
        request.regularization,
        request.gradient_clipping,
    )
    answer = backward_answer(network, result.before, request.layout, request.per_example)
    answer["penalty"] = result.before.penalty
    answer["network"] = network_to_wire(result.network, request.layout)
    kept = {key: value for key, value in (request.optimizer_state or {}).items() if key in TRAINING_STATE}
    answer["optimizer_state"] = state_to_wire(result.state, request.optimizer, request.layout) | kept
    answer["update_norm"] = result.update_norm
    return only(answer, request.include)


@router.post("/evaluate", response_model=EvaluateAnswer, tags=["training"], summary="Loss and metrics")
def evaluate(
    request: Annotated[EvaluateRequest, Body(openapi_examples=openapi_examples("/v1/evaluate"))],
) -> dict[str, Any]:
    """The loss, each example's own loss, the metrics, the outputs and, for classes, the predictions."""
    network = request.engine_network()
    data = request.data(network)
    trace, evaluation = training_step.evaluate(
        network, data.inputs, LossObjective(request.loss, data.targets, data.weights)
    )
    outputs = trace[-1].activations
    answer = {
        "loss": evaluation.loss,
        "example_losses": evaluation.example_losses,
        "metrics": measure_outputs(outputs, data, tuple(request.metrics)),
        "outputs": outputs,
    }
    classes = predictions(outputs, request.loss.takes_labels, request.loss.kind)
    return only(answer if classes is None else answer | {"predictions": classes}, request.include)


training_router = APIRouter(prefix="/v1", route_class=TrainRoute, generate_unique_id_function=route_name)


@training_router.post("/train", response_model=TrainAnswer, tags=["training"], summary="A whole training run")
def train(request: Annotated[TrainRequest, Body(openapi_examples=openapi_examples("/v1/train"))]) -> dict[str, Any]:
    """Epochs of steps over batches, as one answer or, with `Accept: text/event-stream` or `application/jsonl`, watched
    as events: `progress`, `checkpoint`, `result`, `problem`.

    Post back `network`, `optimizer_state` and `completed_epochs` to go on: ten calls of one epoch end, to the bit,
    where one call of ten does.
    """
    return dict(Run(request).events())["result"]
