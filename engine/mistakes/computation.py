"""One step of training as a computation whose stages can be exchanged, to see what numbers a mistake would give.

`right` is the engine's own computation. A mistake exchanges one stage or several, mostly by wrapping what stands there,
so that two mistakes add up. `run`, in run.py, walks the stages in order and yields every number by its key, the path of
the answer that holds it: `("layers", 1, "gradients", "weights")`.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np

from engine.clipping import Clipping, norm
from engine.layers import Layer
from engine.losses import Loss
from engine.network import Network, forward
from engine.objective import LossObjective, Objective, combination
from engine.optimizers import Optimizer
from engine.probability_losses import LossOfProbabilities
from engine.reduction import example_losses, prepare_targets, row_scales
from engine.regularization import Regularization
from engine.rules import Array, column
from engine.step import NetworkState, init_state

Key = tuple[str | int, ...]
"""The path of a number or array in the answer."""
Answer = dict[Key, Any]
"""All numbers of a computation."""
LAYER = "The only layer where it is made; null for all of them."
"""What the field `layer` of a mistake is."""

OUTPUTS: Key = ("outputs",)
LOSS: Key = ("loss",)
EXAMPLE_LOSSES: Key = ("example_losses",)
PENALTY: Key = ("penalty",)
INPUT_GRADIENTS: Key = ("input_gradients",)
GRADIENT_NORM: Key = ("gradient_norm",)
UPDATE_NORM: Key = ("update_norm",)


class LayerKeys(NamedTuple):
    """The keys of what is computed of one layer."""

    preactivations: Key
    activations: Key
    by_activations: Key
    by_preactivations: Key
    by: dict[str, Key]
    new: dict[str, Key]


@lru_cache(maxsize=4096)
def layer_keys(i: int) -> LayerKeys:
    gradients: Key = ("layers", i, "gradients")
    return LayerKeys(
        ("layers", i, "preactivations"),
        ("layers", i, "activations"),
        (*gradients, "activations"),
        (*gradients, "preactivations"),
        {name: (*gradients, name) for name in ("weights", "bias")},
        {name: ("network", "layers", i, name) for name in ("weights", "bias")},
    )


@dataclass(frozen=True)
class Case:
    """What is computed, and from what. Without an optimizer there is no update."""

    network: Network
    inputs: Array
    objective: Objective
    regularization: Regularization | None = None
    clipping: Clipping | None = None
    optimizer: Optimizer | None = None
    optimizer_state: NetworkState | None = None

    @property
    def layers(self) -> tuple[Layer, ...]:
        return self.network.layers

    @property
    def depth(self) -> int:
        return len(self.network.layers)

    def layers_of(self, layer: int | None) -> tuple[Layer, ...]:
        """Those of a mistake that is made in one layer, or (None) in all."""
        return self.layers if layer is None else self.layers[layer : layer + 1]

    def indices(self, layer: int | None) -> range:
        """Their indices."""
        return range(self.depth) if layer is None else range(layer, layer + 1)

    def of_kinds(self, kinds: Collection[str], layer: int | None = None) -> list[int]:
        """The indices of those with an activation of these kinds."""
        return [i for i in self.indices(layer) if self.layers[i].activation.kind in kinds]

    def square(self, layer: int | None = None) -> list[int]:
        """The indices of those that have as many units as inputs."""
        return [i for i in self.indices(layer) if len(set(self.layers[i].weights.shape)) == 1]

    def has_bias(self, layer: int | None = None) -> bool:
        """Whether any of them has a bias."""
        return any(one.bias is not None for one in self.layers_of(layer))

    def before_step(self, key: Key) -> Array | None:
        """The parameter that is `key` after the step, as it was before; None for the key of something else."""
        return self.layers[int(key[2])].parameters.get(str(key[3])) if key[0] == "network" else None

    @property
    def batch(self) -> int:
        return len(self.inputs)

    @property
    def loss(self) -> Loss | None:
        return self.objective.loss if isinstance(self.objective, LossObjective) else None

    @property
    def is_combined(self) -> bool:
        """Whether the loss is taken together with the last activation."""
        return self.loss is not None and combination(self.loss, self.layers[-1].activation.kind)[0] is not None

    @cached_property
    def targets(self) -> Array:
        """Targets in the shape of the outputs; for a vector-Jacobian product, its vector."""
        if not isinstance(self.objective, LossObjective):
            return self.objective.output_gradients
        shape = (self.batch, self.layers[-1].weights.shape[1])
        return prepare_targets(self.objective.loss, self.objective.targets, shape, self.inputs.dtype)

    @cached_property
    def preactivations(self) -> list[Array]:
        """Those of each layer."""
        return [trace.preactivations for trace in forward(self.network, self.inputs)]

    @cached_property
    def outputs(self) -> Array:
        with np.errstate(all="ignore"):
            return self.layers[-1].activation.forward(self.preactivations[-1])

    @cached_property
    def elementwise(self) -> bool:
        """Whether the loss has a value for each output, not only for each row."""
        if self.loss is None:
            return False
        with np.errstate(all="ignore"):
            return self.loss.values(self.targets[:1], self.targets[:1]).ndim == 2

    @cached_property
    def everywhere(self) -> list[tuple[int, str]]:
        """Layer and name of each parameter."""
        return [(i, name) for i, layer in enumerate(self.layers) for name in layer.parameters]

    @cached_property
    def trained(self) -> list[tuple[int, str]]:
        return [(i, name) for i, name in self.everywhere if name not in self.layers[i].frozen]

    @cached_property
    def state(self) -> NetworkState:
        if self.optimizer_state is not None or self.optimizer is None:
            return self.optimizer_state or []
        return init_state(self.optimizer, self.network)

    @cached_property
    def known(self) -> dict[Any, Any]:
        """What mistakes have computed of this case alone, to be used again where they are made with others."""
        return {}

    @cached_property
    def work(self) -> int:
        """Multiplications of one pass forward and backward."""
        return 3 * self.batch * sum(layer.weights.size for layer in self.layers)


@dataclass(slots=True)
class Numbers:
    """What a run has computed so far, by layer; the stages read it. `given_outputs` says that the outputs do not come
    from the last layer's preactivations, so that nothing may be taken from those in their place.

    `answer` is what all of a computation came to, where its numbers are shared with others.
    """

    case: Case
    computation: "Computation"
    z: list[Array] = field(default_factory=list)
    a: list[Array] = field(default_factory=list)
    values: Any = None
    scales: Any = None
    by_a: list[Any] = field(default_factory=list)
    by_z: list[Any] = field(default_factory=list)
    by: list[dict[str, Array]] = field(default_factory=list)
    given_outputs: bool = False
    answer: Mapping[Key, Any] = field(default_factory=dict)

    def x(self, i: int) -> Array:
        """What layer i takes."""
        return self.case.inputs if i == 0 else self.a[i - 1]

    def layer(self, i: int) -> Layer:
        return self.case.network.layers[i]

    def sums(self, i: int, inputs: Array, weights: Array) -> Array:
        """The preactivations of layer i from other inputs or weights."""
        z: Array = inputs @ weights
        bias = self.layer(i).bias
        return z if bias is None else z + bias

    @property
    def last(self) -> int:
        return self.case.depth - 1

    @property
    def combined_loss(self) -> tuple[LossOfProbabilities | None, int]:
        loss = self.computation.loss
        return (None, 1) if loss is None else combination(loss, self.case.layers[-1].activation.kind)

    def outputs_for_loss(self) -> Array:
        """The outputs as the loss takes them: kl_divergence wants their logarithms."""
        loss, outputs = self.computation.loss, self.a[-1]
        takes_logarithms = loss is not None and loss.kind == "kl_divergence" and self.combined_loss[0] is not None
        return np.log(outputs) if takes_logarithms else outputs


Stage = Callable[[Numbers, int], Array]
"""What is computed in every layer."""


def preactivations(n: Numbers, i: int) -> Array:
    return n.layer(i).preactivations(n.x(i))


def activations(n: Numbers, i: int) -> Array:
    return n.layer(i).activation.forward(n.z[i])


def loss_values(n: Numbers) -> Array:
    """The loss before reduction, as `Loss.values`."""
    loss = n.computation.loss
    assert loss is not None
    on_logits, sign = n.combined_loss
    if on_logits is None or n.given_outputs:
        return loss.values(n.outputs_for_loss(), n.case.targets)
    return on_logits.values(n.z[-1] if sign == 1 else -n.z[-1], n.case.targets)


def own_losses(n: Numbers) -> Array:
    """Each example's own loss, without the weights of classes."""
    loss = n.computation.loss
    assert loss is not None
    plain = loss.unweighted()
    if plain is loss:
        return example_losses(loss, n.values)
    return example_losses(loss, n.computation.loss_values(replace(n, computation=n.computation._replace(loss=plain))))


def scales(n: Numbers) -> Array:
    """Each row's factor, as `row_scales`."""
    objective, loss = n.case.objective, n.computation.loss
    if loss is None or not isinstance(objective, LossObjective):
        return np.ones(n.case.batch, n.case.inputs.dtype)
    return row_scales(loss, n.case.targets, objective.sample_weights, n.values.shape, n.values.dtype)


def output_gradients(n: Numbers) -> Array:
    """The derivative of the rows' own losses by the outputs."""
    loss, t = n.computation.loss, n.case.targets
    if loss is None:
        return t
    on_logits, _ = n.combined_loss
    return loss.gradient(n.a[-1], t) if on_logits is None else on_logits.probability_gradient(n.a[-1], t)


def combined(n: Numbers) -> Array | None:
    """The derivative of the rows' own losses by the last preactivations where loss and activation combine."""
    on_logits, sign = n.combined_loss
    if on_logits is None:
        return None
    return sign * on_logits.logit_gradient(n.z[-1] if sign == 1 else -n.z[-1], n.a[-1], n.case.targets)


def by_outputs(n: Numbers) -> Array:
    return n.computation.output_gradients(n) * column(n.scales)


def by_preactivations(n: Numbers, i: int) -> Array:
    if i == n.last:
        together = n.computation.combined(n)
        if together is not None:
            return together * column(n.scales)
    return n.layer(i).activation.backward(n.by_a[i], n.z[i], n.a[i])


def by_weights(n: Numbers, i: int) -> Array:
    gradient: Array = n.x(i).T @ n.by_z[i]
    return gradient


def by_bias(n: Numbers, i: int) -> Array:
    return np.add.reduce(n.by_z[i], axis=0)


def passed_back(n: Numbers, i: int) -> Array:
    """The derivative by what layer i takes."""
    return n.layer(i).input_gradients(n.by_z[i])


def penalty(n: Numbers) -> float:
    rule = n.case.regularization
    return 0.0 if rule is None else rule.penalty(*(layer.weights for layer in n.case.layers))


def by_penalty(n: Numbers, i: int, name: str) -> Any:
    """What the penalty adds to the gradient of a parameter."""
    rule = n.case.regularization
    return 0.0 if rule is None or name != "weights" else rule.gradient(n.layer(i).weights)


def trained(case: Case) -> list[tuple[int, str]]:
    """Layer and name of each parameter that an update changes."""
    return case.trained


def clipped(n: Numbers, gradients: list[Array]) -> list[Array]:
    """The gradients of all parameters that are not frozen, layer by layer, as the update takes them."""
    return gradients if n.case.clipping is None else n.case.clipping.clip(gradients, norm(gradients))


def updated(n: Numbers, i: int, name: str, gradient: Array) -> Array:
    optimizer = n.computation.optimizer
    assert optimizer is not None
    return optimizer.update(gradient, n.case.state[i][name], n.layer(i).parameters[name])[0]


class Computation(NamedTuple):
    """The stages, each a function of what was computed before; `written` is what becomes of the finished answer."""

    loss: Loss | None = None
    optimizer: Optimizer | None = None
    preactivations: Stage = preactivations
    activations: Stage = activations
    loss_values: Callable[[Numbers], Array] = loss_values
    loss_scales: Callable[[Numbers], Array] = scales
    scales: Callable[[Numbers], Array] = scales
    output_gradients: Callable[[Numbers], Array] = output_gradients
    combined: Callable[[Numbers], Array | None] = combined
    by_outputs: Callable[[Numbers], Array] = by_outputs
    by_preactivations: Stage = by_preactivations
    by_weights: Stage = by_weights
    by_bias: Stage = by_bias
    passed_back: Stage = passed_back
    penalty: Callable[[Numbers], float] = penalty
    by_penalty: Callable[[Numbers, int, str], Any] = by_penalty
    trained: Callable[[Case], list[tuple[int, str]]] = trained
    clipped: Callable[[Numbers, list[Array]], list[Array]] = clipped
    updated: Callable[[Numbers, int, str, Array], Array] = updated
    written: Callable[[Answer], Answer] | None = None

    def in_layers(self, layers: Collection[int], **stages: Stage) -> "Computation":
        """The computation with these stages in some layers, and with its own in the others."""
        altered: dict[str, Any] = {name: _in_layers(layers, s, getattr(self, name)) for name, s in stages.items()}
        return self._replace(**altered)

    def rewritten(self, rewrite: Callable[[Answer], Answer]) -> "Computation":
        """The computation whose finished answer is written anew; what is given to `rewrite` may be changed."""
        written = self.written
        return self._replace(written=lambda answer: rewrite(dict(answer) if written is None else written(answer)))


def _in_layers(layers: Collection[int], stage: Stage, other: Stage) -> Stage:
    return lambda n, i: stage(n, i) if i in layers else other(n, i)


def right(case: Case) -> Computation:
    """The computation without a mistake."""
    return Computation(case.loss, case.optimizer)
