"""The POST routes: each one function, from a validated request to the answer."""

from typing import Annotated, Any

from fastapi import APIRouter, Body

from app.compute import ComputeRoute
from app.examples import openapi_examples
from app.openapi import route_name
from app.training import Run, TrainRoute
from engine import step as training_step
from engine.measures import measure_outputs
from engine.objective import LossObjective
from schemas.answers import (
    BackwardAnswer,
    ForwardAnswer,
    InitializeAnswer,
    StepAnswer,
    backward_answer,
    forward_answer,
    only,
)
from schemas.network import network_to_wire
from schemas.optimizer_state import state_to_wire
from schemas.requests import BackwardRequest, ForwardRequest, InitializeRequest, StepRequest
from schemas.small import small_answer
from schemas.training import EvaluateAnswer, EvaluateRequest, TrainAnswer, TrainRequest, predictions

router = APIRouter(prefix="/v1", route_class=ComputeRoute, generate_unique_id_function=route_name)


@router.post("/initialize", response_model=InitializeAnswer, tags=["networks"], summary="Make a network")
def initialize(
    request: Annotated[InitializeRequest, Body(openapi_examples=openapi_examples("/v1/initialize"))],
) -> dict[str, Any]:
    """Draws the weights and biases of a network, each layer's by its own initializers.

    Why at random: units that start equal receive equal gradients and stay copies of each other (the example
    `symmetric_weights` of `POST /v1/step` shows it). How large: He's initializers keep the size of the signals
    through relu layers, Glorot's through tanh and sigmoid. Everything follows from `seed`: the same request gives
    the same bytes.

    The answer's `network` can be posted to every other path as it is.
    """
    return {"network": network_to_wire(request.engine_network(), request.layout)}


@router.post("/forward", response_model=ForwardAnswer, tags=["networks"], summary="The forward pass")
def forward(
    request: Annotated[ForwardRequest, Body(openapi_examples=openapi_examples("/v1/forward"))],
) -> dict[str, Any]:
    """Runs the inputs through the layers and shows what each one computes.

    A dense layer computes `preactivations = inputs @ weights + bias`, and its activation of them, which it hands to the
    next layer; the activations of the last layer are the `outputs`. With `targets` and a `loss` the answer has the loss
    too: each example's own in `example_losses`, and their mean (or what `reduction` says) in `loss`.
    """
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
    """Backpropagation: the derivative of the loss by everything that it depends on.

    Read the answer from the last layer to the first, as the chain rule goes. In each layer

    - `gradients.activations` comes from the layer after it, or from the loss;
    - `gradients.preactivations` is that times the derivative of the activation (textbooks call it delta);
    - `gradients.weights` is the layer's inputs, transposed, times delta; `gradients.bias` is delta summed over the
      batch;
    - delta times the weights, transposed, is `gradients.activations` of the layer before, and at last
      `input_gradients`.

    `gradients.X` always has the shape of X. `per_example` adds each example's own gradients. With
    `output_gradients` in place of targets and loss the answers are vector-Jacobian products.
    """
    short = small_answer(request)
    if short is not None:
        return only(short, request.include)
    network = request.engine_network()
    result = training_step.differentiate(network, request.engine_inputs(), request.objective())
    return only(backward_answer(network, result, request.layout, request.per_example), request.include)


@router.post("/step", response_model=StepAnswer, tags=["networks"], summary="One step of training")
def step(request: Annotated[StepRequest, Body(openapi_examples=openapi_examples("/v1/step"))]) -> dict[str, Any]:
    """One step of gradient descent with every number of it: the forward pass, the loss, all gradients, and the network
    after the update.

    Plain gradient descent moves each parameter against its gradient, `weights - learning_rate * gradients.weights`;
    the other optimizers also use what they remember of earlier steps. Loss and gradients are those before the
    update, `network` is the one after it.

    To go on training, post back `network` and `optimizer_state` of the answer: the server remembers nothing.
    """
    short = small_answer(request)
    if short is not None:
        return only(short, request.include)
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
    state = state_to_wire(result.state, request.optimizer, request.layout)
    answer["optimizer_state"] = state | request.training_state(network)
    answer["update_norm"] = result.update_norm
    return only(answer, request.include)


@router.post("/evaluate", response_model=EvaluateAnswer, tags=["training"], summary="Loss and metrics")
def evaluate(
    request: Annotated[EvaluateRequest, Body(openapi_examples=openapi_examples("/v1/evaluate"))],
) -> dict[str, Any]:
    """Measures a network on data that it is not trained on here: loss, metrics, outputs and, for classes, predictions.

    A loss is what training makes small, a metric is what you want to know: `accuracy`, `confusion_matrix`, `r2` and
    others, which `GET /v1/catalog` lists. `example_losses` shows which examples the network finds hard.
    """
    network = request.engine_network()
    data = request.data(network)
    trace, evaluation = training_step.evaluate(
        network, data.inputs, LossObjective(request.loss, data.targets, data.weights)
    )
    outputs = trace[-1].activations
    answer = {
        "loss": evaluation.loss,
        "example_losses": evaluation.example_losses,
        "metrics": measure_outputs(outputs, data, request.suited_metrics),
        "outputs": outputs,
    }
    classes = predictions(outputs, request.loss)
    return only(answer if classes is None else answer | {"predictions": classes}, request.include)


training_router = APIRouter(prefix="/v1", route_class=TrainRoute, generate_unique_id_function=route_name)


@training_router.post("/train", response_model=TrainAnswer, tags=["training"], summary="A whole training run")
def train(request: Annotated[TrainRequest, Body(openapi_examples=openapi_examples("/v1/train"))]) -> dict[str, Any]:
    """Trains a network: `epochs` passes over the examples, one step for each batch of `batch_size`.

    `history` has a row for each epoch. Schedules change the learning rate, validation data show what the network
    has not merely learned by heart, early stopping ends the run when that no longer improves.

    To go on, post back `network`, `optimizer_state` and `completed_epochs`: ten calls of one epoch end, to the bit,
    where one call of ten does. With `Accept: text/event-stream` or `application/jsonl` the run is watched as it
    goes: events `progress`, `checkpoint`, `result`, or `problem`.
    """
    return dict(Run(request).events())["result"]
