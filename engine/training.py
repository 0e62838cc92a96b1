"""Training: epochs of steps over batches, as a generator that can be watched, cut off and resumed to the bit."""

import dataclasses
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from engine.clipping import Clipping, norm
from engine.data import Data, order
from engine.descent import WithBetas
from engine.errors import EngineError, InvalidWeights, NonFinite
from engine.losses import Loss
from engine.measures import Row, evaluate, measure, measure_outputs, monitor
from engine.metrics import Metric
from engine.network import Network, backward, forward
from engine.objective import LossObjective
from engine.optimizers import Optimizer
from engine.regularization import Regularization
from engine.running_loss import RunningLoss, counts_nothing, total
from engine.schedules import Schedule
from engine.step import NetworkState, differentiate
from engine.stopping import EarlyStopping
from engine.workspace import Workspace

Reason = Literal["epochs", "early_stopping", "target_loss", "diverged", "deadline"]


@dataclass(frozen=True, slots=True)
class Plan:
    """How to train. `epochs` is how many more; `batch_size` None is the whole batch."""

    loss: Loss
    optimizer: Optimizer
    epochs: int
    batch_size: int | None = 32
    shuffle: bool = True
    seed: int = 0
    regularization: Regularization | None = None
    clipping: Clipping | None = None
    schedule: Schedule | None = None
    metrics: tuple[Metric, ...] = ()
    early_stopping: EarlyStopping | None = None
    target_loss: float | None = None
    checkpoint_every: int = 0


class Checkpoint(NamedTuple):
    """All that a run needs to go on: what follows from it is the same to the bit as if it had never stopped.

    `schedule_state` is {} where there is no schedule; `stopping_state` holds best, bad_epochs and, to restore it, the
    `network` of the best epoch.
    """

    network: Network
    state: NetworkState
    completed_epochs: int
    schedule_state: dict[str, Any]
    stopping_state: dict[str, Any]


class Outcome(NamedTuple):
    """The end of a run: where it can go on from, and why it ended."""

    checkpoint: Checkpoint
    reason: Reason


Event = Row | Checkpoint | Outcome


def begin(network: Network, state: NetworkState, plan: Plan, completed_epochs: int = 0) -> Checkpoint:
    """The checkpoint before the first epoch."""
    schedule_state = {} if plan.schedule is None else plan.schedule.init(plan.optimizer.learning_rate)
    stopping_state = {} if plan.early_stopping is None else plan.early_stopping.init()
    return Checkpoint(network, state, completed_epochs, schedule_state, stopping_state)


def train(
    start: Checkpoint,
    data: Data,
    plan: Plan,
    validation: Data | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Event]:
    """Yields a row after each epoch, a checkpoint after every `checkpoint_every` of them, and at last the outcome.

    Targets are `[examples, outputs]`, labels as one-hot rows. `stop` is asked before each batch. Where it says so, or
    where numbers cease to be finite, the run ends with the last whole epoch; where they are not finite before the first
    update, it raises NonFinite.

    An epoch's loss is the mean of its batches' losses, each before its update and by the weight of its examples (with
    the reduction sum, their sum), plus the penalty, whose mean is taken over the batches. The gradient norm is the mean
    over the batches.
    """
    if counts_nothing(plan.loss, data):
        raise InvalidWeights(
            ("sample_weights",) if data.weights is not None and not data.weights.any() else ("loss", "class_weights"),
            "The weights of all examples are 0, so there is no mean.",
            expected="a sum above 0",
            received=0,
        )
    loss = RunningLoss(plan.loss, start.network, data)
    last = start
    workspace = Workspace(start.network, start.state, min(plan.batch_size or len(data), len(data)))
    for epoch in range(start.completed_epochs, start.completed_epochs + plan.epochs):
        if last is not start:
            workspace.move()
        run = _Epoch(workspace, loss, plan, epoch, last.schedule_state)
        with np.errstate(all="ignore"):
            reason = run.over(data, stop)
        if reason is None:
            try:
                row = _row(run, workspace.network, data, validation)
            except NonFinite:
                reason = "diverged"
        if reason == "diverged" and last is start:
            _require_start(start.network, data, validation, plan)
        if reason is not None:
            yield Outcome(last, reason)
            return
        last = _after(last, workspace, plan, row)
        yield row
        if plan.checkpoint_every and last.completed_epochs % plan.checkpoint_every == 0:
            yield last
        if (outcome := _outcome(last, plan, run.loss)) is not None:
            yield outcome
            return
    yield Outcome(last, "epochs")


def _after(last: Checkpoint, workspace: Workspace, plan: Plan, row: Row) -> Checkpoint:
    """The checkpoint after an epoch, of which the history says `row`."""
    network, schedule_state, stopping_state = workspace.network, last.schedule_state, last.stopping_state
    if plan.schedule is not None:
        monitored = monitor(row, plan.schedule.monitor, ("learning_rate_schedule", "monitor"))
        schedule_state = plan.schedule.observe(last.completed_epochs, monitored, schedule_state)
    if plan.early_stopping is not None:
        stopping_state = _observed(plan.early_stopping, row, network, stopping_state)
    return Checkpoint(network, workspace.state(), last.completed_epochs + 1, schedule_state, stopping_state)


def _outcome(last: Checkpoint, plan: Plan, loss: float) -> Outcome | None:
    """The end of a run that need not go on after an epoch of this loss."""
    if plan.early_stopping is not None and plan.early_stopping.is_over(last.stopping_state):
        best = last.stopping_state.get("network", last.network)
        return Outcome(last._replace(network=best), "early_stopping")
    if plan.target_loss is not None and loss <= plan.target_loss:
        return Outcome(last, "target_loss")
    return None


def _row(run: "_Epoch", network: Network, data: Data, validation: Data | None) -> Row:
    """What the history says of an epoch; raises NonFinite where the network it ended with has such outputs."""
    plan = run.plan
    try:
        row: Row = {"epoch": run.epoch + 1, "loss": run.loss, "metrics": measure(network, data, plan.metrics)}
    except EngineError as error:
        if error.where[0] in ("outputs", "targets") and len(error.where) > 1:
            error.where = (error.where[0], data.row(int(error.where[1])), *error.where[2:])
        raise
    if validation is not None:
        try:
            loss, outputs = evaluate(network, validation, plan.loss)
            row["validation"] = {"loss": loss, "metrics": measure_outputs(outputs, validation, plan.metrics)}
        except NonFinite:
            raise
        except EngineError as error:
            # Where it was split off, its rows have other numbers than the request's.
            error.where, error.detail = ("validation",), f"Of the validation data: {error.detail}"
            raise
    return {**row, "learning_rate": run.optimizer.learning_rate, "gradient_norm": run.gradient_norm}


def _require_start(network: Network, data: Data, validation: Data | None, plan: Plan) -> None:
    """Raises NonFinite where numbers are not finite before any update: that is no training that diverged."""
    differentiate(network, data.inputs, LossObjective(plan.loss, data.targets, data.weights), plan.regularization)
    if validation is not None:
        try:
            evaluate(network, validation, plan.loss)
        except NonFinite as error:
            error.where = ("validation", *error.where)
            error.detail = f"Of the validation data: {error.detail}"
            raise


class _Step(NamedTuple):
    penalty: float
    gradient_norm: float


class _Epoch:
    """One epoch's work."""

    def __init__(
        self, workspace: Workspace, running_loss: RunningLoss, plan: Plan, epoch: int, schedule_state: dict[str, Any]
    ) -> None:
        self.workspace = workspace
        self.running_loss = running_loss
        self.plan = plan
        self.epoch = epoch
        self.optimizer = plan.optimizer
        self.schedule_state = schedule_state
        self.loss = 0.0
        self.gradient_norm = 0.0

    def over(self, data: Data, stop: Callable[[], bool]) -> Reason | None:
        """Steps over all batches; None where the epoch was completed with finite numbers."""
        plan, examples = self.plan, len(data)
        size = plan.batch_size or examples
        rows = order(plan.seed, self.epoch, examples) if plan.shuffle and size < examples else None
        batches = math.ceil(examples / size)
        steps = []
        self.running_loss.reset()
        for k in range(batches):
            if stop():
                return "deadline"
            part = slice(k * size, (k + 1) * size)
            self.schedule(self.epoch * batches + k)
            try:
                made = self.step(data.take(part if rows is None else rows[part]))
            except EngineError as error:
                if error.where[0] == "outputs":  # It names a row of the batch, where a request counts examples.
                    row = k * size + int(error.where[1])
                    error.where = ("outputs", data.row(row if rows is None else int(rows[row])), *error.where[2:])
                raise
            if made is None:
                continue
            if not math.isfinite(made.gradient_norm):
                return "diverged"
            steps.append(made)
        if not self.workspace.is_finite():
            return "diverged"
        if steps:
            self.loss = self.running_loss.value() + total([made.penalty for made in steps]) / len(steps)
            self.gradient_norm = total([made.gradient_norm for made in steps]) / len(steps)
        return None if math.isfinite(self.loss) and math.isfinite(self.gradient_norm) else "diverged"

    def schedule(self, step: int) -> None:
        """Sets the learning rate (and momentum) of this step's epoch or index."""
        schedule = self.plan.schedule
        if schedule is None:
            return
        index = self.epoch if schedule.unit == "epoch" else step
        rate = schedule.rate(index, self.plan.optimizer.learning_rate, self.schedule_state)
        momentum = schedule.momentum(index)
        changes: dict[str, Any] = {} if rate == self.optimizer.learning_rate else {"learning_rate": rate}
        if momentum is not None:
            changes |= with_momentum(self.optimizer, momentum)
        if changes:
            self.optimizer = dataclasses.replace(self.optimizer, **changes)

    def step(self, batch: Data) -> _Step | None:
        """One update; None for a batch that counts nothing in a mean, which is passed over."""
        plan, workspace = self.plan, self.workspace
        if counts_nothing(plan.loss, batch):
            return None
        network, room = workspace.network, workspace.room(len(batch))
        trace = forward(network, batch.inputs, room.trace)
        grad = self.running_loss.gradient(trace[-1], batch)
        delta = None if self.running_loss.combined is None else grad
        layers = backward(network, trace, grad, delta, by_inputs=False, out=room.gradients).layers
        penalty = 0.0
        if plan.regularization is not None:
            for layer, gradients in zip(network.layers, layers, strict=True):
                penalty += plan.regularization.penalty(layer.weights)
                gradients.parameters["weights"] += plan.regularization.gradient(layer.weights)
        vectors, gradient_norm = workspace.gradients, norm(workspace.measured)
        if plan.clipping is not None:
            vectors = plan.clipping.clip(vectors, gradient_norm)
        workspace.update(self.optimizer, vectors)
        return _Step(penalty, gradient_norm)


def with_momentum(optimizer: Optimizer, momentum: float) -> dict[str, Any]:
    """The hyperparameter by which a schedule cycles the momentum: momentum itself, or the first of the betas.

    Raises EngineError for an optimizer that has neither.
    """
    if isinstance(optimizer, WithBetas):
        return {"betas": (momentum, optimizer.betas[1])}
    if getattr(optimizer, "momentum", 0) > 0:
        # Without any, an optimizer keeps no buffer; with the least there is, its update is the same.
        return {"momentum": max(momentum, sys.float_info.min)}
    raise EngineError(
        ("learning_rate_schedule", "cycle_momentum"),
        f"The optimizer {optimizer.kind} has no momentum that could be cycled.",
        hint="Set cycle_momentum to false, or give the optimizer a momentum.",
    )


def _observed(rule: EarlyStopping, row: Row, network: Network, state: dict[str, Any]) -> dict[str, Any]:
    value = monitor(row, rule.monitor, ("early_stopping", "monitor"))
    best = network if rule.improves(value, state["best"]) else state.get("network", network)
    new = rule.observe(value, state)
    return {**new, "network": best} if rule.restore_best else new
