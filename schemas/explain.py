"""Explanations on the wire: which derivation is asked for, and its three forms."""

from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, Field, StrictBool, StrictInt

from engine.derivation import derivation
from engine.derivation.derivation import Derivation, Worked
from engine.derivation.focus import focus
from engine.derivation.slopes import works_by_rows
from engine.derivation.whole import derive, require_size
from engine.rules import Array
from engine.step import differentiate, step
from engine.wording import plural
from schemas.answers import Selectable
from schemas.documents.latex import latex
from schemas.errors import InvalidValue
from schemas.model import Model
from schemas.optimizer_state import state_to_engine
from schemas.requests import OptionalStepRequest

WRITING, WRITING_LAYERS = 10**8, 10
"""How many multiplications take as long as writing the longest document of a network of so many layers."""
Place = Annotated[StrictInt, Field(ge=0)]


class ExplainedStep(BaseModel):
    """One step: what is done, the formula with its numbers, and the numbers themselves."""

    text: str = Field(description="What is done here and why, in words.")
    latex: str | None = Field(description="The formula, numbers to 6 digits; null for a step in words.")
    value: Any = Field(description="What the formula ends in, every digit: a number or an array; null where nothing.")
    terms: list[list[float]] | None = Field(
        None,
        description="`[terms, factors]`, where the formula is a sum of products of numbers: the products of the rows "
        "add up to value.",
    )


class ExplainedSection(BaseModel):
    """A part of the derivation: the network, one layer forward or backward, the loss."""

    title: str = Field(description="What this part is about.")
    steps: list[ExplainedStep] = Field(description="In the order in which they are done.")


class ExplainAnswer(Selectable):
    """A derivation. Markdown and HTML give the same as a document."""

    title: str = Field(description="What is derived, in a line.")
    sections: list[ExplainedSection] = Field(description="In the order of a textbook.")


class FocusModel(Model):
    """One parameter, whose chain of factors is told in place of the whole derivation."""

    layer: Place = Field(description="The index of the layer, counted from 0.")
    parameter: Literal["weights", "bias"] = Field("weights", description="Which of the layer's parameters.")
    index: list[Place] = Field(
        min_length=1,
        max_length=2,
        description="`[2]`: row and column of the weights as the request writes them; `[1]`: the place in the bias.",
    )


class ExplainRequest(OptionalStepRequest):
    """A backward request, and how an update is made where that is to be told too."""

    answer: ClassVar[type[BaseModel]] = ExplainAnswer

    per_example: StrictBool = Field(
        False, description="Makes no difference: a batch is always told example by example."
    )
    focus: FocusModel | None = Field(None, description="Tell one parameter's chain, in a network of any size.")

    def explained(self) -> Derivation:
        """The derivation that is asked for; raises TooLarge where it would be too long to read."""
        network, inputs = self.engine_network(), self.engine_inputs()
        on = self._focus()
        if on is None:
            require_size(network, len(inputs))
        objective = self.objective()
        if self.optimizer is None:
            made, state, before = None, None, differentiate(network, inputs, objective, self.regularization)
        else:
            state = state_to_engine(self.optimizer_state, self.optimizer, network, self.layout)
            made = step(network, inputs, objective, self.optimizer, state, self.regularization, self.gradient_clipping)
            before = made.before
        worked = Worked(
            network,
            inputs,
            objective,
            before,
            made,
            self.optimizer,
            self.regularization,
            self.gradient_clipping,
            self.layout.transposed,
            state,
        )
        return derive(worked) if on is None else focus(worked, on)

    def work(self) -> int:
        """Beside the passes, what writing the longest document takes, and whole Jacobians for a focus."""
        by_rows = [max(layer.weights.shape) for layer in self.network.layers if works_by_rows(layer.activation)]
        writing = self.for_depth(WRITING, WRITING_LAYERS) if self.focus is None else WRITING
        return super().work() + writing + 16 * sum(units**2 for units in by_rows)

    def _focus(self) -> derivation.Focus | None:
        asked = self.focus
        if asked is None:
            return None
        layers = self.network.layers
        if asked.layer >= len(layers):
            raise InvalidValue(
                "out_of_range",
                ("focus", "layer"),
                f"The network has {plural(len(layers), 'layer')}, counted from 0.",
                expected=f"0 to {len(layers) - 1}",
                received=asked.layer,
            )
        array: Array | None = getattr(layers[asked.layer], asked.parameter)
        if array is None:
            raise InvalidValue("invalid_value", ("focus", "parameter"), f"Layer {asked.layer} has no bias.")
        if len(asked.index) != array.ndim:
            raise InvalidValue(
                "wrong_dimensions",
                ("focus", "index"),
                f"An index into {asked.parameter} has {plural(array.ndim, 'place')}.",
                expected=array.ndim,
                received=len(asked.index),
            )
        for axis, (place, size) in enumerate(zip(asked.index, array.shape, strict=True)):
            if place >= size:
                raise InvalidValue(
                    "out_of_range",
                    ("focus", "index", axis),
                    f"Layer {asked.layer} has {asked.parameter} of the shape {list(array.shape)}.",
                    expected=f"0 to {size - 1}",
                    received=place,
                )
        index = asked.index[::-1] if self.layout.transposed else asked.index
        return derivation.Focus(asked.layer, asked.parameter, tuple(index))


def explain_answer(told: Derivation) -> dict[str, Any]:
    """The JSON form of a derivation."""
    return {
        "title": told.title,
        "sections": [
            {"title": section.title, "steps": [_step(step) for step in section.steps]} for section in told.sections
        ],
    }


def _step(told: derivation.Statement) -> dict[str, Any]:
    value = told.value.item() if isinstance(told.value, np.generic) and told.value.dtype.kind == "i" else told.value
    answer = {"text": told.text, "latex": None if told.formula is None else latex(told.formula), "value": value}
    return answer if told.terms is None else {**answer, "terms": told.terms}
