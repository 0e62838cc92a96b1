"""The network as it is set up, and the forward pass."""

from engine.derivation.derivation import Section, Statement, Worked
from engine.derivation.formulas import (
    Applied,
    Formula,
    Numbers,
    Sum,
    Transposed,
    abbreviated,
    equation,
    matrix_product,
    number,
)
from engine.derivation.notation import (
    LEGEND,
    about,
    function,
    hyperparameters,
    layer_name,
    plain_formula,
    shapes,
    symbol,
)
from engine.objective import LossObjective
from engine.rules import column
from engine.wording import capitalized, plural


def network_section(worked: Worked) -> Section:
    """All weights, biases, inputs and targets."""
    steps = [Statement(_overview(worked)), Statement(LEGEND), Statement(_layout(worked))]
    for i, layer in enumerate(worked.network.layers):
        inputs, units = layer.weights.shape
        weights = worked.weights_form(layer.weights)
        text = (
            f"{capitalized(layer_name(worked, i))} takes {plural(inputs, 'number')} and has {plural(units, 'unit')} "
            f"with the activation {layer.activation.kind}."
        )
        if layer.frozen:
            text += f" Frozen, so that an update leaves it as it is: {' and '.join(sorted(layer.frozen))}."
        steps.append(Statement(f"{text} Its weights:", equation(symbol("W", i), Numbers(weights)), weights))
        if layer.bias is None:
            steps.append(Statement("It has no bias."))
        else:
            bias = layer.bias
            steps.append(Statement("Its bias:", equation(symbol("b", i), Numbers(bias[None])), bias))
    batch = worked.batch
    noun = "The inputs of the example:" if batch == 1 else f"The inputs of the {batch} examples, one in each row:"
    steps.append(Statement(noun, equation("x", Numbers(worked.inputs)), worked.inputs))
    objective = worked.objective
    if isinstance(objective, LossObjective):
        targets = objective.targets
        if targets.ndim == 1:
            text = "The targets are class labels, counted from 0. Label c stands for a row with a 1 at place c."
            steps.append(Statement(text, equation("t", Numbers(column(targets))), targets))
        else:
            steps.append(Statement("What the outputs should be:", equation("t", Numbers(targets)), targets))
        if objective.sample_weights is not None:
            weights = objective.sample_weights
            text = "How much each example counts:"
            steps.append(Statement(text, equation("w", Numbers(column(weights))), weights))
    return Section("The network", tuple(steps))


def _overview(worked: Worked) -> str:
    layers = worked.network.layers
    goes = "One example goes" if worked.batch == 1 else f"A batch of {worked.batch} examples goes"
    rows = "" if worked.batch == 1 else ", each in its own row"
    end, carried = "outputs", "the derivative by them, which is given,"
    if isinstance(worked.objective, LossObjective):
        end, carried = "loss", "the derivative of the loss"
    return (
        f"{plural(len(layers), 'layer')}, {shapes(worked)} numbers wide from the inputs to the outputs. "
        f"{goes} forward through the layers to the {end}{rows}. "
        f"Then the chain rule carries {carried} back, from the last layer to the first."
    )


def _layout(worked: Worked) -> str:
    if worked.transposed:
        return (
            "Row j of a weight matrix holds the weights that enter unit j. For one example as a column that is "
            "z = W x + b; with an example in each row, as here, it is z = x Wᵀ + b."
        )
    return "Row i of a weight matrix holds the weights that leave input i, so a layer computes z = x W + b, a = f(z)."


def forward_section(worked: Worked, i: int) -> Section:
    """One layer: the matrix operation, the activation."""
    layer = worked.network.layers[i]
    x, z, a = worked.before.trace[i]
    weights: Formula = Numbers(worked.weights_form(layer.weights))
    letter = symbol("W", i)
    if worked.transposed:
        weights, letter = Transposed(weights), rf"{{{letter}}}^{{\top}}"
    product = matrix_product(Numbers(x), weights)
    rule = f"{symbol('a', i - 1)} \\, {letter}"
    if layer.bias is None:
        formula = equation(symbol("z", i), rule, product, Numbers(z))
    else:
        total = Sum((product, Numbers(layer.bias[None])))
        formula = equation(symbol("z", i), f"{rule} + {symbol('b', i)}", total, Numbers(z))
    source = "the inputs" if i == 0 else f"what layer {i} gave"
    text = (
        f"Each unit multiplies {source} with its weights, and adds up"
        + (" the products." if layer.bias is None else " the products and its bias.")
        + " The result is what goes into the activation."
    )
    if worked.batch > 1 and layer.bias is not None:
        text += " The bias is added to every row."
    activation = layer.activation
    applied = Applied(function(activation.kind), activation.forward, (Numbers(z),))
    told = f"The activation is {activation.kind}: {plain_formula(activation)}{hyperparameters(activation)}"
    return Section(
        f"Forward through {layer_name(worked, i)}",
        (
            Statement(text, formula, z),
            _first_unit(worked, i),
            Statement(told, equation("f(z)", about(activation).latex)),
            Statement("With numbers:", equation(symbol("a", i), applied, Numbers(a)), a),
        ),
    )


def _first_unit(worked: Worked, i: int) -> Statement:
    """The matrix operation for one unit of one example, product by product."""
    layer, (x, z, _) = worked.network.layers[i], worked.before.trace[i]
    terms = [[value, weight] for value, weight in zip(x[0], layer.weights[:, 0], strict=True)]
    if layer.bias is not None:
        terms.append([layer.bias[0]])
    example = "" if worked.batch == 1 else " and the first example"
    formula = equation(
        symbol("z", i, "1" if worked.batch == 1 else "1,1"), abbreviated(terms, z[0, 0]), number(z[0, 0])
    )
    return Statement(f"For the first unit{example}, number by number:", formula, z[0, 0], terms)
