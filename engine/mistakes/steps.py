"""Mistakes in the count of steps: what belongs to one update is taken after it, or there are several."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from engine.clipping import norm
from engine.mistakes.computation import LOSS, OUTPUTS, UPDATE_NORM, Answer, Case, Computation, layer_keys
from engine.network import Network, forward
from engine.objective import LossObjective, evaluated
from engine.rules import About
from engine.step import step

MOST_EXAMPLES = 32
"""More single updates than these are not tried: each costs as much as one of the whole batch."""


def _parameters(case: Case, network: Network) -> Answer:
    """The parameters after a step by their keys."""
    return {layer_keys(i).new[name]: p for i, layer in enumerate(network.parameters) for name, p in layer.items()}


@dataclass(frozen=True, slots=True)
class ComputedAfterUpdate:
    """The loss, or loss and outputs, of the network as it is after the step.

    The loop updates first and prints then; gradients and loss belong to the network before the step.

    Source: torch.optim.Optimizer.step, which comes after the loss is computed.
    """

    kind: Literal["computed_after_update"] = "computed_after_update"
    of: Literal["loss", "loss and outputs"] = "loss"
    about: ClassVar = About("Loss computed after the update", r"L(w - \eta g) \text{ for } L(w)")

    def applies(self, case: Case) -> bool:
        return case.optimizer is not None and isinstance(case.objective, LossObjective)

    def alter(self, c: Computation, case: Case) -> Computation:
        def rewrite(answer: Answer) -> Answer:
            new = [
                {name: answer[layer_keys(i).new[name]] for name in layer.parameters}
                for i, layer in enumerate(case.layers)
            ]
            network = case.network.with_parameters(new)
            trace = forward(network, case.inputs)
            rule = case.regularization
            penalty = 0.0 if rule is None else rule.penalty(*(layer.weights for layer in network.layers))
            answer[LOSS] = evaluated(case.objective, network, trace).loss + penalty
            if self.of != "loss":
                answer[OUTPUTS] = trace[-1].activations
            return answer

        return c.rewritten(rewrite)


@dataclass(frozen=True, slots=True)
class SeveralSteps:
    """Several updates in place of one: one after each example of the batch, or two of the whole batch.

    Updating inside the loop over the examples is stochastic, or online, descent: each example then sees the weights
    that the one before has left. Two steps are made where the first is one more than counted.

    Source: Bottou 1998, Online Learning and Stochastic Approximations.
    """

    kind: Literal["several_steps"] = "several_steps"
    form: Literal["each_example", "two"] = "each_example"
    about: ClassVar = About(
        "Several updates in place of one", r"w \leftarrow w - \eta \nabla L_n(w), \; n = 1 \ldots N"
    )

    def applies(self, case: Case) -> bool:
        if case.optimizer is None:
            return False
        return self.form == "two" or (isinstance(case.objective, LossObjective) and 1 < case.batch <= MOST_EXAMPLES)

    def alter(self, c: Computation, case: Case) -> Computation:
        def rewrite(answer: Answer) -> Answer:
            if self not in case.known:
                case.known[self] = self._after(case)
            return answer | case.known[self]

        return c.rewritten(rewrite)

    def _after(self, case: Case) -> Answer:
        """The parameters after all the steps, and how far they moved."""
        network, state = case.network, case.state
        assert case.optimizer is not None
        for inputs, objective in self._parts(case):
            made = step(network, inputs, objective, case.optimizer, state, case.regularization, case.clipping)
            network, state = made.network, made.state
        new, old = _parameters(case, network), _parameters(case, case.network)
        return {**new, UPDATE_NORM: norm([new[key] - before for key, before in old.items()])}

    def _parts(self, case: Case) -> list[tuple[Any, Any]]:
        """Inputs and objective of each step."""
        objective, x = case.objective, case.inputs
        if self.form == "two" or not isinstance(objective, LossObjective):
            return [(x, objective)] * 2
        t, weights = objective.targets, objective.sample_weights
        rows = [slice(n, n + 1) for n in range(case.batch)]
        return [
            (x[row], objective._replace(targets=t[row], sample_weights=None if weights is None else weights[row]))
            for row in rows
        ]
