"""Numbers that are given as what was written over them."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from engine.mistakes.computation import OUTPUTS, Case, Computation, Key, layer_keys
from engine.rules import About


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
            return case.loss is not None and case.targets.shape == case.outputs.shape
        return case.depth > 1 or not self.of.startswith("hidden")

    def alter(self, c: Computation, case: Case) -> Computation:
        written, activations = c.written, c.activations
        last = layer_keys(case.depth - 1)
        layers = [layer_keys(i) for i in range(case.depth - self.of.startswith("hidden"))]

        def over(answer: dict[Key, Any]) -> dict[Key, Any]:
            answer = dict(answer) if written is None else written(answer)
            if self.of.startswith("outputs"):
                error = answer[OUTPUTS] - case.targets if self.of == "outputs" else answer[last.by_preactivations]
                return answer | {OUTPUTS: error, last.activations: error}
            if self.of.endswith("preactivations"):
                return answer | {keys.preactivations: answer[keys.activations] for keys in layers}
            return answer | {keys.by_activations: answer[keys.by_preactivations] for keys in layers}

        # Another function that gives the same: what is shared with the right computation is not given again.
        return c._replace(activations=lambda n, i: activations(n, i), written=over)
