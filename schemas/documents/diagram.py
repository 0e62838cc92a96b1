"""The network as a drawing: values and gradients of its units and weights, or, for a larger one, of its layers."""

import math
from bisect import bisect
from itertools import accumulate
from typing import Any
from unicodedata import east_asian_width
from xml.etree.ElementTree import Element, SubElement

import numpy as np

from engine.clipping import root_mean_square
from engine.derivation.derivation import Focus, Worked
from engine.derivation.slopes import works_by_rows
from engine.rules import Array
from schemas.documents.markdown import printable
from schemas.documents.writing import exact_number

MOST_UNITS = 6
MOST_COLUMNS = 6
"""A network with more units in a layer, or more layers with its inputs, is drawn layer by layer."""
RADIUS = 34
MARGIN = 74
TOP = 64
ROOM = 140
"""How wide the name of a layer may be."""
MOST_EMS = 15
"""A longer name is cut."""


def diagram(worked: Worked, focus: Focus | None) -> Element:
    """A figure with a caption. Of a batch, the units show its first example, the weights the gradients of the batch."""
    widths = [worked.inputs.shape[1], *(layer.weights.shape[1] for layer in worked.network.layers)]
    figure = Element("figure")
    box = SubElement(figure, "div", {"class": "scroll", "tabindex": "0", "role": "group"})
    box.set("aria-label", "Diagram of the network")
    small = max(widths) <= MOST_UNITS and len(widths) <= MOST_COLUMNS
    drawing, caption = _Units(worked, widths, focus).draw() if small else _layers(worked, widths)
    box.append(drawing)
    text = SubElement(figure, "figcaption")
    text.text = caption
    return figure


def _number(value: Any) -> str:
    return f"{float(value) + 0.0:.3g}".replace("-", "\N{MINUS SIGN}")


def _text(parent: Element, x: float, y: float, text: str, style: str, size: float = 12, value: Any = None) -> Element:
    element = SubElement(parent, "text", {"x": _place(x), "y": _place(y), "class": style, "font-size": _place(size)})
    element.set("text-anchor", "middle")
    element.text = printable(text)
    if value is not None:
        element.set("data-value", exact_number(value))
    return element


def _em(character: str) -> float:
    """About how wide a character is in sizes of its font, rather more than less."""
    if character in "mwMW@%#<>=+~" or east_asian_width(character) in "FW":
        return 1.0
    if character in " !'(),-./:;I[]_fijlrt|":
        return 0.48
    return 0.65 if character.isascii() and not character.isupper() else 0.77


def _name(parent: Element, x: float, y: float, name: str, size: float) -> None:
    """The name of a layer, smaller where it is long, and cut where it is very long."""
    widths = list(accumulate(map(_em, name)))
    if widths[-1] > MOST_EMS:
        name = name[: bisect(widths, MOST_EMS - 1)] + "…"
    _text(parent, x, y, name, "", min(size, ROOM / min(widths[-1], MOST_EMS)))


def _place(x: float) -> str:
    return f"{x:.1f}".removesuffix(".0")


def _svg(width: float, height: float, title: str, description: str) -> Element:
    svg = Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "role": "img", "class": "fits"})
    svg.set("viewBox", f"0 0 {_place(width)} {_place(height)}")
    svg.set("style", f"min-width: {_place(min(width, 0.72 * width + 40))}px; max-width: {_place(width)}px")
    svg.set("aria-labelledby", "diagram-title diagram-description")
    name = SubElement(svg, "title", {"id": "diagram-title"})
    name.text = title
    told = SubElement(svg, "desc", {"id": "diagram-description"})
    told.text = description
    return svg


def _heading(worked: Worked, column: int) -> tuple[str, str]:
    """Two lines above a column: what it is, and its activation."""
    if column == 0:
        return "inputs", ""
    layer = worked.network.layers[column - 1]
    return layer.name or f"layer {column}", layer.activation.kind.replace("_", " ")


class _Units:
    """Every unit and every weight."""

    def __init__(self, worked: Worked, widths: list[int], focus: Focus | None) -> None:
        self.worked = worked
        self.widths = widths
        self.focus = focus
        # The labels of weights stand where edges that cross keep the same distance: one over the units they go to, + 1.
        apart = max(36 * (n + 1) for n in widths[1:])
        self.apart = max(118, apart)
        self.height = TOP + self.apart * (max(widths) - 1) + 2 * MARGIN
        # And room for the circle that the line leaves.
        self.across = max(265, 64 * (max(widths[1:]) + 1))
        self.width = 2 * MARGIN + self.across * (len(widths) - 1)

    def at(self, column: int, unit: int) -> tuple[float, float]:
        middle = TOP + (self.height - TOP) / 2
        return MARGIN + self.across * column, middle + self.apart * (unit - (self.widths[column] - 1) / 2)

    def draw(self) -> tuple[Element, str]:
        worked, widths = self.worked, self.widths
        example = "" if worked.batch == 1 else " for the first example"
        description = (
            f"From left to right: {widths[0]} inputs, then layers of {', '.join(str(n) for n in widths[1:])} units. "
            f"Each circle holds what the unit gives{example} and the derivative of the loss by it; each line a weight "
            "and the derivative of the loss by it."
        )
        svg = _svg(self.width, self.height, "The network with its values and gradients", description)
        for i in range(len(widths) - 1):
            self._edges(svg, i)
        for i in range(len(widths) - 1):
            self._labels(svg, i)
        for column in range(len(widths)):
            self._column(svg, column)
        caption = (
            f"In the circles: what each unit gives{example} (blue), and below it the derivative of the loss by that "
            "(orange). On the lines and below the circles: each weight and bias, and the derivative of the loss by it. "
            "Wider lines are larger weights, dashed ones negative. Here numbers are shown to 3 digits."
        )
        if worked.batch > 1:
            caption += " Derivatives by weights are those of the whole batch."
        if self.focus is not None:
            caption += " Violet: the parameter in question, and all that lies on its way to the loss."
        return svg, caption

    def _marked(self, i: int, k: int, j: int) -> bool:
        """Whether the weight from k to j of layer i lies between the parameter and the loss."""
        focus = self.focus
        if focus is None:
            return False
        if i == focus.layer:
            return focus.parameter == "weights" and (k, j) == focus.index
        return (i == focus.layer + 1 and self._depends(focus, k)) or i > focus.layer + 1

    def _depends(self, focus: Focus, unit: int) -> bool:
        """Whether the parameter changes what a unit of its layer gives: its own, or any that looks at the whole row."""
        return unit == focus.index[-1] or works_by_rows(self.worked.network.layers[focus.layer].activation)

    def _edges(self, svg: Element, i: int) -> None:
        weights = self.worked.network.layers[i].weights
        largest = float(np.abs(weights).max()) or 1.0
        for k in range(weights.shape[0]):
            for j in range(weights.shape[1]):
                (x1, y1), (x2, y2) = self.at(i, k), self.at(i + 1, j)
                style = "edge minus" if weights[k, j] < 0 else "edge"
                if self.focus is not None:
                    style += " marked" if self._marked(i, k, j) else " far"
                line = SubElement(svg, "line", {"class": style})
                for name, value in (("x1", x1), ("y1", y1), ("x2", x2), ("y2", y2)):
                    line.set(name, _place(value))
                line.set("stroke-width", f"{0.8 + 3.2 * abs(float(weights[k, j])) / largest:.2f}")

    def _labels(self, svg: Element, i: int) -> None:
        weights = self.worked.network.layers[i].weights
        gradients = self.worked.before.gradients.layers[i].parameters["weights"]
        share = 1 / (weights.shape[1] + 1)
        for k in range(weights.shape[0]):
            for j in range(weights.shape[1]):
                if self.focus is not None and not self._marked(i, k, j):
                    continue
                (x1, y1), (x2, y2) = self.at(i, k), self.at(i + 1, j)
                x, y = x1 + share * (x2 - x1) + 18, y1 + share * (y2 - y1)
                _text(svg, x, y - 1, _number(weights[k, j]), "value halo", 10.5, weights[k, j])
                _text(svg, x, y + 10.5, _number(gradients[k, j]), "gradient halo", 10.5, gradients[k, j])

    def _column(self, svg: Element, column: int) -> None:
        worked = self.worked
        values, gradients = _column_numbers(worked, column)
        name, kind = _heading(worked, column)
        x = self.at(column, 0)[0]
        _name(svg, x, 22, name, 14)
        _text(svg, x, 40, kind, "soft", 12)
        for unit, (value, gradient) in enumerate(zip(values[0], gradients[0], strict=True)):
            x, y = self.at(column, unit)
            style = "unit"
            if self.focus is not None:
                after = column > self.focus.layer + 1
                own = column == self.focus.layer + 1 and self._depends(self.focus, unit)
                source = column == self.focus.layer and self.focus.parameter == "weights"
                if after or own or (source and unit == self.focus.index[0]):
                    style += " marked"
            circle = {"class": style, "cx": _place(x), "cy": _place(y), "r": str(RADIUS)}
            SubElement(svg, "circle", circle)
            for number, down, style, size in ((value, -3, "value", 13), (gradient, 14, "gradient", 11.5)):
                text = _number(number)
                _text(svg, x, y + down, text, style, min(size, 100 / len(text)), number)
            if column and worked.network.layers[column - 1].bias is not None:
                self._bias(svg, column - 1, unit, x, y)

    def _bias(self, svg: Element, i: int, unit: int, x: float, y: float) -> None:
        bias = self.worked.network.layers[i].parameters["bias"][unit]
        gradient = self.worked.before.gradients.layers[i].parameters["bias"][unit]
        text = _text(svg, x, y + RADIUS + 14, "bias ", "soft halo", 10.5)
        number = SubElement(text, "tspan", {"class": "value", "data-value": exact_number(bias)})
        number.text = _number(bias)
        _text(svg, x, y + RADIUS + 25.5, _number(gradient), "gradient halo", 10.5, gradient)


def _column_numbers(worked: Worked, column: int) -> tuple[Array, Array]:
    """`[batch, units]`: what a column's units give, and the derivatives of the loss by that."""
    if column == 0:
        return worked.inputs, worked.before.gradients.inputs
    return worked.before.trace[column - 1].activations, worked.before.gradients.layers[column - 1].activations


BOX, GAP, BETWEEN, EDGE, IN_ROW = (168, 92), 74, 60, 24, 4
"""A box's width and height, the room between two of a row and between two rows, and that around all."""


def _layers(worked: Worked, widths: list[int]) -> tuple[Element, str]:
    """Each layer as a box with the root mean square of its values and gradients, in rows."""
    shown = list(range(len(widths)))
    if len(shown) > 24:
        shown = [*shown[:12], *shown[-12:]]
    rows, columns = math.ceil(len(shown) / IN_ROW), min(len(shown), IN_ROW)
    width = 2 * EDGE + columns * (BOX[0] + GAP) - GAP
    height = 2 * EDGE + rows * (BOX[1] + BETWEEN) - BETWEEN
    description = (
        f"{len(widths) - 1} layers, {' → '.join(str(widths[column]) for column in shown)} wide, each with the root "
        "mean square of what it gives and of the derivatives of the loss by that."
    )
    svg = _svg(width, height, "The network, layer by layer", description)
    for place, column in enumerate(shown):
        row, x = divmod(place, IN_ROW)
        left, top = EDGE + x * (BOX[0] + GAP), EDGE + row * (BOX[1] + BETWEEN)
        _box(svg, worked, column, widths[column], left, top)
        if place + 1 < len(shown) and shown[place + 1] == column + 1:
            _between(svg, worked, column, left, top, x == IN_ROW - 1)
    left_out = len(widths) - len(shown)
    caption = (
        "Each box is a layer: its activation and number of units, the root mean square of what it gives (blue), and of "
        "the derivatives of the loss by that (orange). Between the boxes: the same of the weights and of the "
        "derivatives by them. Here numbers are shown to 3 digits."
    )
    return svg, caption + (f" The {left_out} layers in the middle are left out." if left_out else "")


def _box(svg: Element, worked: Worked, column: int, units: int, left: float, top: float) -> None:
    name, kind = _heading(worked, column)
    box = {"class": "unit", "x": _place(left), "y": _place(top), "width": str(BOX[0]), "height": str(BOX[1])}
    SubElement(svg, "rect", {**box, "rx": "10"})
    x = left + BOX[0] / 2
    _name(svg, x, top + 22, name, 13)
    _text(svg, x, top + 40, f"{units} · {kind}" if kind else f"{units} wide", "soft", 11.5)
    value, gradient = map(root_mean_square, _column_numbers(worked, column))
    _text(svg, x, top + 61, _number(value), "value", 13, value)
    _text(svg, x, top + 79, _number(gradient), "gradient", 12, gradient)


def _between(svg: Element, worked: Worked, column: int, left: float, top: float, wraps: bool) -> None:
    weight = root_mean_square(worked.network.layers[column].weights)
    gradient = root_mean_square(worked.before.gradients.layers[column].parameters["weights"])
    if wraps:
        x, y = left + BOX[0] / 2, top + BOX[1] + 22
        _text(svg, x, y, f"{_number(weight)}  ↓", "value", 11, weight)
        _text(svg, x, y + 15, f"{_number(gradient)}  ↑", "gradient", 11, gradient)
        return
    x, y = left + BOX[0] + GAP / 2, top + BOX[1] / 2
    start, end = left + BOX[0] + 6, left + BOX[0] + GAP - 6
    for offset, style, way in ((-6, "arrow", 1), (6, "arrow back", -1)):
        a, b = (start, end) if way > 0 else (end, start)
        level = _place(y + offset)
        tip = f"M{_place(a)} {level}H{_place(b)}M{_place(b - 6 * way)} {_place(y + offset - 4)}L{_place(b)} {level}"
        SubElement(svg, "path", {"class": style, "d": f"{tip}L{_place(b - 6 * way)} {_place(y + offset + 4)}"})
    _text(svg, x, y - 15, _number(weight), "value halo", 11, weight)
    _text(svg, x, y + 24, _number(gradient), "gradient halo", 11, gradient)
