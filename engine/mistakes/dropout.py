"""The scale of dropout, where the request has none."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar, Literal, get_args

from engine.mistakes.computation import LAYER, Case, Computation, Numbers
from engine.rules import About, Array, hyper

Scale = Literal["2", "1/2", "5/4", "4/5", "10/9", "9/10"]


@dataclass(frozen=True, slots=True)
class DropoutScale:
    """What hidden layers give, or the network's inputs, times 1 / (1 - p) or times 1 - p, as dropout scales them.

    Dropout divides what it keeps by 1 - p in training, or multiplies by 1 - p where the network is used; where nothing
    is dropped, nothing is to be scaled. `times` is the scale, for p = 0.5, 0.2 or 0.1. `at` says whether it is in the
    forward pass and in the derivative (both), or in one of them.

    Source: Srivastava et al. 2014, Dropout, section 10; torch.nn.Dropout, which divides by 1 - p.
    """

    kind: Literal["dropout_scale"] = "dropout_scale"
    times: Scale = "2"
    of: Literal["hidden layers", "inputs"] = "hidden layers"
    at: Literal["both", "forward", "gradients"] = "both"
    layer: int | None = hyper(None, description=LAYER)
    about: ClassVar = About("Scale of dropout", r"\frac{f(z)}{1 - p} \text{ or } (1 - p) f(z) \text{ for } f(z)")

    def alter(self, c: Computation, case: Case) -> Computation:
        return self._of_inputs(c) if self.of == "inputs" else self._of_layers(c, case)

    def _of_inputs(self, c: Computation) -> Computation:
        times = float(Fraction(self.times))
        preactivations, by_weights, passed_back = c.preactivations, c.by_weights, c.passed_back

        def first(n: Numbers, i: int) -> Array:
            z, bias = preactivations(n, i), n.layer(i).bias
            return times * z if bias is None else times * (z - bias) + bias

        return c.in_layers(
            [0],
            preactivations=first,
            by_weights=lambda n, i: by_weights(n, i) * times,
            passed_back=lambda n, i: passed_back(n, i) * times,
        )

    def _of_layers(self, c: Computation, case: Case) -> Computation:
        times, layers = float(Fraction(self.times)), set(case.indices(self.layer)) - {case.depth - 1}
        activations = c.activations

        def derivative(n: Numbers, i: int) -> Array:
            rule = n.layer(i).activation
            grad: Array = rule.backward(n.by_a[i], n.z[i], rule.forward(n.z[i]))
            return grad if self.at == "forward" else times * grad

        c = c.in_layers(layers, by_preactivations=derivative)
        return c if self.at == "gradients" else c.in_layers(layers, activations=lambda n, i: activations(n, i) * times)


def scales(case: Case, layers: Iterable[int]) -> Iterator[DropoutScale]:
    """The scales to try: in all hidden layers, of the inputs, and in one of `layers` alone."""
    for times in get_args(Scale):
        if case.depth > 1:
            yield from (DropoutScale(times=times, at=at) for at in ("both", "forward", "gradients"))
        yield DropoutScale(times=times, of="inputs")
        if case.depth > 2:
            yield from (DropoutScale(times=times, layer=i) for i in layers if i < case.depth - 1)
