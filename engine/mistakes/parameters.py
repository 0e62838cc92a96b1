"""Mistakes in the gradients of weights and biases."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from engine.mistakes.computation import LAYER, Answer, Case, Computation, Numbers, layer_keys
from engine.mistakes.factor import multiplied
from engine.rules import About, Array, hyper


@dataclass(frozen=True, slots=True)
class BiasLeftOut:
    """The bias left out of the forward pass: z = x @ W.

    Worked examples often drop it, and networks have it.

    Source: Rumelhart, Hinton and Williams 1986, doi:10.1038/323533a0, equation 1.
    """

    kind: Literal["bias_left_out"] = "bias_left_out"
    layer: int | None = hyper(None, description=LAYER)
    about: ClassVar = About("Bias left out", r"z = x W \text{ for } z = x W + b")

    def applies(self, case: Case) -> bool:
        return case.has_bias(self.layer)

    def alter(self, c: Computation, case: Case) -> Computation:
        return c.in_layers(case.indices(self.layer), preactivations=lambda n, i: n.x(i) @ n.layer(i).weights)


@dataclass(frozen=True, slots=True)
class BiasAddedWrongly:
    """The bias subtracted, or added twice, in the forward pass: z = x @ W - b, or x @ W + 2 b; or once for each input,
    or along the batch.

    A formula with a threshold subtracts it, and its gradient may be that of a threshold too; a layer that adds its bias
    is also given a column of ones; inside the loop over the inputs it is added each time (per_input). Along the batch,
    the k-th example gets the k-th unit's bias (along_batch): a column is added where there are as many rows as units.

    Source: Rumelhart, Hinton and Williams 1986, doi:10.1038/323533a0, equation 1.
    """

    kind: Literal["bias_added_wrongly"] = "bias_added_wrongly"
    form: Literal["subtracted", "threshold", "twice", "per_input", "along_batch"] = "subtracted"
    layer: int | None = hyper(None, description=LAYER)
    about: ClassVar = About("Bias subtracted, or added more than once", r"z = x W - b \text{ for } z = x W + b")

    def applies(self, case: Case) -> bool:
        biases = [one.bias for one in case.layers_of(self.layer) if one.bias is not None]
        if self.form == "along_batch":
            return case.batch > 1 and any(len(bias) == case.batch for bias in biases)
        if self.form == "per_input" and all(len(one.weights) < 3 for one in case.layers_of(self.layer)):
            return False
        return any(bias.any() for bias in biases)

    def alter(self, c: Computation, case: Case) -> Computation:
        before = c.preactivations

        def stage(n: Numbers, i: int) -> Array:
            bias, z = n.layer(i).bias, before(n, i)
            if bias is None:
                return z
            if self.form == "along_batch":
                return z - bias + bias[:, np.newaxis] if len(bias) == case.batch else z
            times = {"twice": 2, "per_input": len(n.layer(i).weights)}.get(self.form, -1)
            return z + (times - 1) * bias

        if self.form == "threshold":
            c = multiplied(c, -1.0, "bias", case.indices(self.layer))
        return c.in_layers(case.indices(self.layer), preactivations=stage)


@dataclass(frozen=True, slots=True)
class BiasGradientMissing:
    """The gradient of the bias is 0: biases are not trained.

    Worked examples leave it out; its input is 1, so that its gradient is the error itself.

    Source: Nielsen 2015, Neural Networks and Deep Learning, chapter 2, BP3.
    """

    kind: Literal["bias_gradient_missing"] = "bias_gradient_missing"
    layer: int | None = hyper(None, description=LAYER)
    about: ClassVar = About("Bias gradient missing", r"0 \text{ for } \sum_n \frac{\partial L}{\partial z_n}")

    def applies(self, case: Case) -> bool:
        return case.has_bias(self.layer)

    def alter(self, c: Computation, case: Case) -> Computation:
        return c.in_layers(case.indices(self.layer), by_bias=lambda n, i: np.zeros_like(n.by_z[i][0]))


@dataclass(frozen=True, slots=True)
class BiasGradientNotSummed:
    """The gradient of the bias not summed over the batch: each example's own error, that of one example, or for each
    unit the largest.

    The bias is added to every row by broadcasting, so that its gradient is a sum over the rows.

    Source: Nielsen 2015, Neural Networks and Deep Learning, chapter 2, BP3.
    """

    kind: Literal["bias_gradient_not_summed"] = "bias_gradient_not_summed"
    layer: int | None = hyper(None, description=LAYER)
    rows: Literal["all", "first", "last", "largest"] = "all"
    about: ClassVar = About("Bias gradient not summed", r"\frac{\partial L}{\partial z_n} \text{ for } "
                            r"\sum_n \frac{\partial L}{\partial z_n}")  # fmt: skip

    def applies(self, case: Case) -> bool:
        return case.has_bias(self.layer) and (case.batch > 1 or self.rows == "all")

    def alter(self, c: Computation, case: Case) -> Computation:
        if self.rows == "largest":
            return c.in_layers(case.indices(self.layer), by_bias=lambda n, i: n.by_z[i].max(axis=0))
        rows: Any = {"all": slice(None), "first": 0, "last": -1}[self.rows]
        return c.in_layers(case.indices(self.layer), by_bias=lambda n, i: n.by_z[i][rows])


@dataclass(frozen=True, slots=True)
class BiasGradientAveraged:
    """The gradient of the bias averaged over the batch, where the loss's mean has its 1/N already.

    `mean(axis=0)` is written for `sum(axis=0)`.

    Source: Nielsen 2015, Neural Networks and Deep Learning, chapter 2, BP3.
    """

    kind: Literal["bias_gradient_averaged"] = "bias_gradient_averaged"
    layer: int | None = hyper(None, description=LAYER)
    about: ClassVar = About("Bias gradient averaged", r"\frac1N \sum_n \frac{\partial L}{\partial z_n}")

    def applies(self, case: Case) -> bool:
        return case.has_bias(self.layer) and case.batch > 1

    def alter(self, c: Computation, case: Case) -> Computation:
        before = c.by_bias
        return c.in_layers(case.indices(self.layer), by_bias=lambda n, i: before(n, i) / n.case.batch)


@dataclass(frozen=True, slots=True)
class BiasGradientOneForAll:
    """The gradient of the bias summed, or averaged, over the units too: one number for all of them.

    A sum without its axis adds up everything, and broadcasting hides that one number came out.

    Source: numpy.sum, its axis; Nielsen 2015, Neural Networks and Deep Learning, chapter 2, BP3.
    """

    kind: Literal["bias_gradient_one_for_all"] = "bias_gradient_one_for_all"
    form: Literal["sum", "mean"] = "sum"
    layer: int | None = hyper(None, description=LAYER)
    about: ClassVar = About("One bias gradient for all units", r"\sum_{n, j} \frac{\partial L}{\partial z_{n j}}")

    def applies(self, case: Case) -> bool:
        return any(one.bias is not None and len(one.bias) > 1 for one in case.layers_of(self.layer))

    def alter(self, c: Computation, case: Case) -> Computation:
        before = c.by_bias

        def stage(n: Numbers, i: int) -> Array:
            gradient = before(n, i)
            return np.full_like(gradient, gradient.sum() if self.form == "sum" else gradient.mean())

        return c.in_layers(case.indices(self.layer), by_bias=stage)


@dataclass(frozen=True, slots=True)
class BiasGradientOverUnits:
    """The gradient of the bias summed over the units in place of the batch: one number for each example.

    It is the wrong axis of a sum; it goes unnoticed where there are as many examples as units.

    Source: numpy.sum, its axis; Nielsen 2015, Neural Networks and Deep Learning, chapter 2, BP3.
    """

    kind: Literal["bias_gradient_over_units"] = "bias_gradient_over_units"
    layer: int | None = hyper(None, description=LAYER)
    about: ClassVar = About("Bias gradient summed over the units", r"\sum_j \frac{\partial L}{\partial z_{nj}} "
                            r"\text{ for } \sum_n \frac{\partial L}{\partial z_{nj}}")  # fmt: skip

    def applies(self, case: Case) -> bool:
        return case.has_bias(self.layer)

    def alter(self, c: Computation, case: Case) -> Computation:
        layers = case.indices(self.layer)
        # Of another shape it cannot be used in an update.
        others = [i for i in layers if case.layers[i].bias is not None and len(case.layers[i].weights.T) != case.batch]

        def summed(answer: Answer) -> Answer:
            for i in others:
                keys = layer_keys(i)
                answer[keys.by["bias"]] = answer[keys.by_preactivations].sum(axis=1)
            return answer

        c = c.in_layers([i for i in layers if i not in others], by_bias=lambda n, i: n.by_z[i].sum(axis=1))
        return c.rewritten(summed) if others else c


@dataclass(frozen=True, slots=True)
class GradientMissing:
    """The gradients of a layer's weights and bias, or of the weights alone, are 0: it is not trained; or everything is,
    from the loss's derivative on.

    In C, C++ and Java `1 / n` of integers is 0; in a framework the layer is frozen, or the graph is cut before it.

    Source: ISO C 6.5.5, integer division; torch.Tensor.detach.
    """

    kind: Literal["gradient_missing"] = "gradient_missing"
    of: Literal["weights and bias", "weights", "everything"] = "weights and bias"
    layer: int | None = hyper(None, description=LAYER)
    about: ClassVar = About("Gradient missing", r"0 \text{ for } \frac{\partial L}{\partial W}")

    def applies(self, case: Case) -> bool:
        if self.of == "everything":
            return self.layer is None
        return self.of == "weights" or case.has_bias(self.layer)

    def alter(self, c: Computation, case: Case) -> Computation:
        if self.of == "everything":
            scales = c.scales
            return c._replace(scales=lambda n: 0 * scales(n))
        layers = case.indices(self.layer)
        c = c.in_layers(layers, by_weights=lambda n, i: np.zeros_like(n.layer(i).weights))
        return c if self.of == "weights" else c.in_layers(layers, by_bias=lambda n, i: np.zeros_like(n.by_z[i][0]))


@dataclass(frozen=True, slots=True)
class WeightGradientAveraged:
    """The gradient of the weights divided by the batch, where the loss's mean has its 1/N already; the bias's is not.

    The division is written beside the matrix product, `x.T @ delta / n`, and the sum of the bias has none.

    Source: Nielsen 2015, Neural Networks and Deep Learning, chapter 2, BP4.
    """

    kind: Literal["weight_gradient_averaged"] = "weight_gradient_averaged"
    layer: int | None = hyper(None, description=LAYER)
    about: ClassVar = About("Weight gradient averaged", r"\frac1N x^\top \frac{\partial L}{\partial z}")

    def applies(self, case: Case) -> bool:
        return case.batch > 1

    def alter(self, c: Computation, case: Case) -> Computation:
        before = c.by_weights
        return c.in_layers(case.indices(self.layer), by_weights=lambda n, i: before(n, i) / n.case.batch)


@dataclass(frozen=True, slots=True)
class WeightGradientOfMeans:
    """The weights' gradient from the inputs' mean over the batch, or their sum, times the summed errors: not the sum of
    products.

    The batch is averaged, or added up, before the matrix product, inputs and errors each on their own; a product of
    means is no mean of products.

    Source: Nielsen 2015, Neural Networks and Deep Learning, chapter 2, the algorithm for a mini-batch.
    """

    kind: Literal["weight_gradient_of_means"] = "weight_gradient_of_means"
    form: Literal["mean", "sum"] = "mean"
    layer: int | None = hyper(None, description=LAYER)
    about: ClassVar = About("Weight gradient of the means", r"\bar x^\top \sum_n \frac{\partial L}{\partial z_n}")

    def applies(self, case: Case) -> bool:
        return case.batch > 1

    def alter(self, c: Computation, case: Case) -> Computation:
        def stage(n: Numbers, i: int) -> Array:
            x = n.x(i).mean(axis=0) if self.form == "mean" else n.x(i).sum(axis=0)
            return np.outer(x, n.by_z[i].sum(axis=0))

        return c.in_layers(case.indices(self.layer), by_weights=stage)


@dataclass(frozen=True, slots=True)
class GradientsCountedTwice:
    """The gradients of all parameters doubled: those of two passes added up.

    Frameworks add a new gradient to the old one, which is to be set to zero between two passes.

    Source: torch.optim.Optimizer.zero_grad.
    """

    kind: Literal["gradients_counted_twice"] = "gradients_counted_twice"
    about: ClassVar = About("Gradients counted twice", r"2 g \text{ for } g")

    def applies(self, case: Case) -> bool:
        return True

    def alter(self, c: Computation, case: Case) -> Computation:
        by_penalty = c.by_penalty
        c = multiplied(c, 2.0, "parameters", case.indices(None))
        return c._replace(by_penalty=lambda n, i, name: 2 * by_penalty(n, i, name))


@dataclass(frozen=True, slots=True)
class BiasGradientOncePerWeight:
    """The gradient of the bias counted once for each weight of its unit: times the number of inputs, or as a matrix
    of the weights' shape.

    The bias is updated inside the loop over a unit's weights.

    Source: Nielsen 2015, Neural Networks and Deep Learning, chapter 2, BP3.
    """

    kind: Literal["bias_gradient_once_per_weight"] = "bias_gradient_once_per_weight"
    layer: int | None = hyper(None, description=LAYER)
    form: Literal["sum", "matrix"] = "sum"
    about: ClassVar = About("Bias gradient once per weight", r"d \sum_n \frac{\partial L}{\partial z_n}")

    def applies(self, case: Case) -> bool:
        return case.has_bias(self.layer)

    def alter(self, c: Computation, case: Case) -> Computation:
        before = c.by_bias

        def stage(n: Numbers, i: int) -> Array:
            inputs = len(n.layer(i).weights)
            gradient = before(n, i)
            return gradient * inputs if self.form == "sum" else np.broadcast_to(gradient, (inputs, *gradient.shape))

        return c.in_layers(case.indices(self.layer), by_bias=stage)


@dataclass(frozen=True, slots=True)
class GradientTransposed:
    """The gradient of the weights transposed: dL/dz^T @ x for x^T @ dL/dz.

    PyTorch and Keras store weights in opposite layouts; see `weights_layout`.

    Source: torch.nn.Linear and keras.layers.Dense.
    """

    kind: Literal["gradient_transposed"] = "gradient_transposed"
    layer: int | None = hyper(None, description=LAYER)
    about: ClassVar = About("Gradient transposed", r"\left( \frac{\partial L}{\partial W} \right)^\top")

    def applies(self, case: Case) -> bool:
        return any(min(layer.weights.shape) > 1 for layer in case.layers_of(self.layer))

    def alter(self, c: Computation, case: Case) -> Computation:
        def turned(answer: Answer) -> Answer:
            for i in case.indices(self.layer):
                key = layer_keys(i).by["weights"]
                answer[key] = answer[key].T
            return answer

        return c.rewritten(turned)


@dataclass(frozen=True, slots=True)
class InputsBeforeActivation:
    """The weights' gradient with the layer's inputs taken before the activation: z of the layer before for its a.

    Code keeps both, and the wrong one is multiplied.

    Source: Nielsen 2015, Neural Networks and Deep Learning, chapter 2, BP4.
    """

    kind: Literal["inputs_before_activation"] = "inputs_before_activation"
    layer: int | None = hyper(None, description=LAYER)
    about: ClassVar = About("Inputs taken before the activation", r"z_{l - 1}^\top \frac{\partial L}{\partial z_l}")

    def applies(self, case: Case) -> bool:
        if self.layer is None:
            return case.depth > 1
        return self.layer > 0 and case.layers[self.layer - 1].activation.kind != "identity"

    def alter(self, c: Computation, case: Case) -> Computation:
        layers = [i for i in case.indices(self.layer) if i > 0]
        return c.in_layers(layers, by_weights=lambda n, i: n.z[i - 1].T @ n.by_z[i])


@dataclass(frozen=True, slots=True)
class OutputsInPlaceOfInputs:
    """The weights' gradient with the layer's own activations in place of its inputs.

    The index into the list of activations is off by one; it fits where layers are equally wide.

    Source: Nielsen 2015, Neural Networks and Deep Learning, chapter 2, BP4.
    """

    kind: Literal["outputs_in_place_of_inputs"] = "outputs_in_place_of_inputs"
    layer: int | None = hyper(None, description=LAYER)
    about: ClassVar = About("Own activations in place of inputs", r"a_l^\top \frac{\partial L}{\partial z_l}")

    def applies(self, case: Case) -> bool:
        return bool(case.square(self.layer))

    def alter(self, c: Computation, case: Case) -> Computation:
        return c.in_layers(case.square(self.layer), by_weights=lambda n, i: n.a[i].T @ n.by_z[i])


@dataclass(frozen=True, slots=True)
class OneExampleOnly:
    """The gradients of weights and bias, or of the weights alone, from one example of the batch, in place of all.

    Inside the loop over the examples the gradient is set, where it should be added to.

    Source: Nielsen 2015, Neural Networks and Deep Learning, chapter 2, the algorithm for a mini-batch.
    """

    kind: Literal["one_example_only"] = "one_example_only"
    layer: int | None = hyper(None, description=LAYER)
    of: Literal["weights and bias", "weights"] = "weights and bias"
    row: Literal["last", "first"] = "last"
    about: ClassVar = About("One example in place of the batch", r"x_N^\top \frac{\partial L}{\partial z_N}")

    def applies(self, case: Case) -> bool:
        return case.batch > 1

    def alter(self, c: Computation, case: Case) -> Computation:
        rows, layers = slice(-1, None) if self.row == "last" else slice(1), case.indices(self.layer)
        c = c.in_layers(layers, by_weights=lambda n, i: n.x(i)[rows].T @ n.by_z[i][rows])
        return c if self.of == "weights" else c.in_layers(layers, by_bias=lambda n, i: n.by_z[i][rows].sum(axis=0))
