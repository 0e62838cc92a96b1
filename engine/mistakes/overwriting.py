"""Numbers that are given as what was written over them."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from engine.mistakes.computation import OUTPUTS, Answer, Case, Computation, layer_keys
from engine.rules import About, Array


@dataclass(frozen=True, slots=True)
class WrittenOver:
    """Numbers that are given as what was later written over them, in the same array; the rest of the computation had
    them while they were right.

    `b = a` makes no copy in Python, JavaScript and Java, and an operation in place changes both. `of` says which: the
    preactivations of all layers, or of the hidden ones, are the activations; the gradients by activations of all
    layers, or of the hidden ones, are those by preactivations; or the outputs are what the backward pass begins with,
    the outputs less the targets (outputs), or the gradient by the last preactivations (outputs_as_error).

    Source: the Python FAQ, why changing list y also changes list x.
    """

    kind: Literal["written_over"] = "written_over"
    of: Literal["preactivations", "hidden_preactivations", "errors", "hidden_errors", "outputs", "outputs_as_error"] = (
        "preactivations"
    )
    about: ClassVar = About("Written over in place", r"f(z) \text{ for } z")

    def applies(self, case: Case) -> bool:
        if self.of.startswith("outputs"):
            # Where all targets are 0 the outputs less the targets are the outputs.
            return case.loss is not None and case.targets.shape == case.outputs.shape and bool(case.targets.any())
        return case.depth > 1 or not self.of.startswith("hidden")

    def alter(self, c: Computation, case: Case) -> Computation:
        activations = c.activations
        last = layer_keys(case.depth - 1)
        layers = range(case.depth - self.of.startswith("hidden"))

        def over(answer: Answer) -> Answer:
            if self.of == "outputs_as_error":
                return answer | dict.fromkeys((OUTPUTS, last.activations), answer[last.by_preactivations])
            if self.of == "outputs":
                outputs = case.layers[-1].activation.forward(answer[last.preactivations])
                return answer | dict.fromkeys((OUTPUTS, last.activations), outputs - case.targets)
            if self.of.endswith("preactivations"):
                return answer | {layer_keys(i).preactivations: self._activations(case, i, answer) for i in layers}
            return answer | {layer_keys(i).by_activations: self._error(case, i, answer) for i in layers}

        # Another function that gives the same: what is shared with the right computation is not given again.
        return c._replace(activations=lambda n, i: activations(n, i)).rewritten(over)

    # Of the numbers as they are computed: those that follow from claimed ones would give any claim itself, where relu
    # is passed through.

    def _activations(self, case: Case, i: int, answer: Answer) -> Array:
        return case.layers[i].activation.forward(answer[layer_keys(i).preactivations])

    def _error(self, case: Case, i: int, answer: Answer) -> Array:
        keys = layer_keys(i)
        if i == case.depth - 1:  # Loss and activation may be combined.
            error: Array = answer[keys.by_preactivations]
            return error
        z, a = answer[keys.preactivations], answer[keys.activations]
        return case.layers[i].activation.backward(answer[keys.by_activations], z, a)
