"""Numbers that are right in principle and inexact: another precision, finite differences, an error taken over."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from engine.errors import EngineError
from engine.mistakes.computation import Case, Computation, Numbers
from engine.network import Network, forward
from engine.objective import LossObjective, evaluated
from engine.rules import About, Array, hyper


@dataclass(frozen=True, slots=True)
class Float32InPlaceOfFloat64:
    """Everything computed in float32, and compared with float64.

    It is no mistake: the numbers match as far as float32 goes, about seven digits, fewer where large terms cancel.

    Source: IEEE 754; torch.get_default_dtype.
    """

    kind: Literal["float32_in_place_of_float64"] = "float32_in_place_of_float64"
    about: ClassVar = About("Computed in float32", r"\epsilon = 2^{-24} \text{ for } 2^{-53}")


@dataclass(frozen=True, slots=True)
class FiniteDifferences:
    """The parameters' gradients as finite differences of the loss, with too large a step h; perhaps the inputs' too.

    Central differences (L(w + h) - L(w - h)) / (2 h) are off by h^2 times a third derivative, forward differences
    (L(w + h) - L(w)) / h by h times half a second one. `step` is the h that gives the claimed numbers.

    Source: Goodfellow, Bengio and Courville 2016, Deep Learning, 11.5.
    """

    kind: Literal["finite_differences"] = "finite_differences"
    scheme: Literal["central", "forward"] = "central"
    of: Literal["parameters", "inputs_too"] = "parameters"
    step: float = hyper(1e-2, gt=0.0, description="The step h.")
    about: ClassVar = About("Finite differences with too large a step", r"\frac{L(w + h) - L(w - h)}{2 h}")

    def alter(self, c: Computation, case: Case) -> Computation:
        if self.of == "inputs_too":
            c = c.in_layers([0], passed_back=lambda n, i: differences(n, i, "inputs", self.step, self.scheme))
        return c._replace(
            by_weights=lambda n, i: differences(n, i, "weights", self.step, self.scheme),
            by_bias=lambda n, i: differences(n, i, "bias", self.step, self.scheme),
            by_penalty=lambda n, i, name: 0.0,
        )


def differences(n: Numbers, i: int, name: str, step: float, scheme: str, entries: list[int] | None = None) -> Array:
    """Finite differences of the loss (with its penalty) by a parameter of layer i, or by what it takes; or by some of
    the entries."""
    rest, x = Network(n.case.layers[i:]), n.x(i)
    parameters = [layer.parameters for layer in rest.layers]
    original = x if name == "inputs" else parameters[0][name]

    def loss(k: int, change: float) -> float:
        changed = original.copy()
        changed.flat[k] += change
        if name == "inputs":
            return _loss(n, changed, rest)
        parameters[0] = {**parameters[0], name: changed}
        return _loss(n, x, rest.with_parameters(parameters))

    places = range(original.size) if entries is None else entries
    if scheme == "central":
        slopes = [(loss(k, step) - loss(k, -step)) / (2 * step) for k in places]
    else:
        here = _loss(n, x, rest)
        slopes = [(loss(k, step) - here) / step for k in places]
    return np.array(slopes).reshape(original.shape if entries is None else -1)


def _loss(n: Numbers, x: Array, rest: Network) -> float:
    trace = forward(rest, x)
    objective, rule = n.case.objective, n.case.regularization
    if isinstance(objective, LossObjective):
        value = float(evaluated(objective, rest, trace).loss)
    else:
        value = float(np.vdot(trace[-1].activations, objective.output_gradients))
    return value + (0.0 if rule is None else rule.penalty(rest.layers[0].weights))


@dataclass(frozen=True, slots=True)
class WrongFromHere:
    """Everything before is right, one array is wrong, and everything claimed after it follows from it.

    What is wrong with the array itself is not among the mistakes of this catalog; its layer, and the stage before it,
    is the place to look at.

    Source: the chain rule: a layer's gradients depend on the layers after it only through the error passed back.
    """

    kind: Literal["wrong_from_here"] = "wrong_from_here"
    layer: int | None = hyper(None, description="The layer where it begins.")
    about: ClassVar = About(
        "Wrong from this layer on", r"\frac{\partial L}{\partial z_l} \text{ wrong, and so all before}"
    )


def estimated_step(
    n: Numbers, i: int, name: str, entry: int, right: float, claimed: float, scheme: str
) -> float | None:
    """The step h with which differences give the claimed number at one entry of a parameter, or None."""
    order = 2 if scheme == "central" else 1

    def error(h: float) -> float:
        return float(differences(n, i, name, h, scheme, [entry])[0]) - right

    wanted, h = claimed - right, 1e-2
    for _ in range(12):
        try:
            found = error(h)
        except EngineError:  # a step so large that the loss cannot take the outputs
            return None
        if not np.isfinite(found) or found == 0 or wanted / found <= 0:
            return None
        ratio = (wanted / found) ** (1 / order)
        h *= float(np.clip(ratio, 0.05, 20))
        if not 1e-7 < h < 1e3:
            return None
        if abs(ratio - 1) < 1e-9:
            break
    return h


def in_dtype(case: Case, dtype: Any) -> Case:
    """The same case computed in another precision."""

    def cast(value: Any) -> Any:
        return value.astype(dtype) if isinstance(value, np.ndarray) and value.dtype.kind == "f" else value

    network = case.network.with_parameters(
        [{k: cast(p) for k, p in layer.items()} for layer in case.network.parameters]
    )
    objective: Any = case.objective
    if isinstance(objective, LossObjective):
        objective = objective._replace(targets=cast(objective.targets), sample_weights=cast(objective.sample_weights))
    else:
        objective = objective._replace(output_gradients=cast(objective.output_gradients))
    state = case.optimizer_state
    if state is not None:
        state = [{name: {k: cast(v) for k, v in s.items()} for name, s in layer.items()} for layer in state]
    return replace(case, network=network, inputs=cast(case.inputs), objective=objective, optimizer_state=state)
