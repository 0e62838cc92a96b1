"""A network for each finding of POST /v1/diagnose, whose first finding it is."""

from typing import Any

from app.examples.form import DIAGNOSE, deep, layer
from app.examples.textbook import TEXTBOOK

POINTS = [[-1.2, 0.4], [0.3, -0.9], [0.8, 1.1], [-0.5, -1.3], [1.4, 0.2], [-0.1, 0.7], [0.6, -0.6], [-1.0, 1.0]]
"""Eight points about 0 of size 1."""
SIDES = [[-0.8], [1.2], [-0.3], [0.8], [1.2], [-0.8], [1.2], [-2.0]]
"""The first coordinate less the second, with noise: a target that a small network can learn."""
CLASSES = [0, 1, 1, 0, 1, 0, 1, 0]
HIDDEN = [[0.7, -0.4, 0.5, 0.2], [-0.6, 0.8, 0.3, -0.9]]
"""Weights from two inputs to four units."""
UP = [[0.6], [-0.5], [0.4], [0.7]]
"""Weights from four units to one output."""
APART = [[0.6, -0.2], [-0.5, 0.3], [0.4, 0.1], [0.7, -0.6]]
"""Weights from four units to two classes."""


def _example(title: str, notes: str, layers: list[Any], **request: Any) -> dict[str, Any]:
    data = {"inputs": POINTS, "targets": SIDES, "loss": "mse"} | request
    return {"title": title, "endpoint": DIAGNOSE, "request": {"network": {"layers": layers}, **data}, "notes": notes}


def _network(
    hidden: str, weights: list[list[float]] = UP, output: str = "identity", bias: float = 0.0
) -> list[dict[str, Any]]:
    """Two inputs, four hidden units, and an output for each column of `weights`."""
    return [
        layer(HIDDEN, [0.1, 0.0, -0.1, 0.2], hidden, "hidden"),
        layer(weights, [bias] * len(weights[0]), output, "output"),
    ]


def _deep(scale: float, activation: str) -> list[dict[str, Any]]:
    """Nine equal hidden layers, and an identity output."""
    hidden = deep([2, 4, 4, 4, 4, 4, 4, 4, 4, 4], scale, activation, "hidden")
    return [*hidden, layer([[0.4], [-0.7], [0.5], [0.9]], [0.0], "identity", "output")]


FINDINGS: dict[str, dict[str, Any]] = {
    "textbook_diagnose": {
        "title": "The textbook network: a healthy start",
        "endpoint": DIAGNOSE,
        "request": TEXTBOOK,
        "notes": "No findings. `layers` shows how the slopes of the sigmoids, 0.04 on average, make the error signal "
        "of the first layer smaller than the last one's; `loss_slices` how far a step could go.",
    },
    "diagnose_input_scale": _example(
        "Inputs in hundreds: height in centimeters, weight in kilograms",
        "Initial weights and learning rates are made for inputs of size 1. Divide by the standard deviation after "
        "subtracting the mean.",
        _network("relu"),
        inputs=[[172.0, 65.0], [181.0, 80.0], [165.0, 52.0], [190.0, 95.0]],
        targets=[[0.2], [0.5], [0.1], [0.9]],
    ),
    "diagnose_target_scale": _example(
        "Targets in thousands: prices",
        "The outputs start near 0, and each step of Adam moves a weight by 0.001 at most: 100 epochs hardly lower the "
        "loss. With targets of mean 0 and standard deviation 1 it falls from the start.",
        _network("tanh"),
        targets=[[184000.0 + 52000.0 * side] for [side] in SIDES],
        optimizer="adam",
    ),
    "diagnose_strong_decay": _example(
        "A weight decay of 3",
        "The weights shrink to 0 faster than they learn, and the outputs to the mean of the targets. With 0.001 the "
        "same steps learn.",
        _network("tanh", [[-w] for [w] in UP]),
        optimizer={"kind": "sgd", "learning_rate": 0.1, "weight_decay": 3.0},
    ),
    "diagnose_dead_relu": _example(
        "Two relu units that are off for every input",
        "Their biases are so low that no input in the ranges of the batch wakes them: `evidence.largest_possible` is "
        "below 0. Their gradients are 0, so that no step brings them back.",
        [layer(HIDDEN, [0.1, -5.0, -0.1, -4.0], "relu", "hidden"), layer(UP, [0.0], "identity", "output")],
    ),
    "diagnose_saturated_units": _example(
        "Tanh units far out, where they are flat",
        "The weights are twelve times too large: most preactivations are beyond 3, where tanh has less than 1/100 of "
        "its steepest slope, and hardly any gradient passes.",
        [
            layer([[12 * w for w in row] for row in HIDDEN], [0.0] * 4, "tanh", "hidden"),
            layer(UP, [0.0], "identity", "output"),
        ],
    ),
    "diagnose_symmetric_units": _example(
        "All weights equal: four units in the place of one",
        "Equal units receive equal gradients, so that every step leaves them equal. Random initial weights break the "
        "symmetry.",
        [layer([[0.5] * 4] * 2, [0.0] * 4, "tanh", "hidden"), layer([[0.5]] * 4, [0.0], "identity", "output")],
    ),
    "diagnose_vanishing_gradients": _example(
        "Nine sigmoid layers: what reaches the first is nothing",
        "Each sigmoid multiplies the error signal by a slope of at most 1/4; see `evidence.mean_slopes` and "
        "`preactivation_gradients`.",
        _deep(0.9, "sigmoid"),
    ),
    "diagnose_exploding_gradients": _example(
        "Weights that stretch the signal: the gradient explodes",
        "Nine leaky_relu layers, each of which multiplies the error signal by more than 2.",
        _deep(6.0, "leaky_relu"),
    ),
    "diagnose_unreachable_loss": _example(
        "Softmax twice: a layer of it, and a loss that takes logits",
        "The loss takes the probabilities for logits. Between 0 and 1 they never make a certain probability, so the "
        "loss stays above 0.31 even if every answer is right. A frequent mistake with PyTorch's CrossEntropyLoss.",
        _network("tanh", APART, "softmax"),
        targets=CLASSES,
        loss={"kind": "cross_entropy", "from_logits": True},
    ),
    "diagnose_unnormalized_outputs": _example(
        "Sigmoid outputs with the cross-entropy of classes",
        "The outputs need not add up to 1, and the loss only looks at the output of the right class: it falls as all "
        "outputs rise to 1.",
        _network("tanh", APART, "sigmoid"),
        targets=CLASSES,
        loss="cross_entropy",
    ),
    "diagnose_targets_out_of_range": _example(
        "Targets that a sigmoid never reaches",
        "The targets run from -2 to 1.2, and a sigmoid gives numbers between 0 and 1.",
        _network("tanh", UP, "sigmoid"),
    ),
    "diagnose_constant_targets": _example(
        "Eight examples, all of one class",
        "As the first rows of a table that is sorted by class. The least loss is that of always answering class 1, and "
        "nothing is learned of the inputs.",
        _network("tanh", APART, "softmax"),
        targets=[1] * 8,
        loss="cross_entropy",
    ),
    "diagnose_contradictory_targets": _example(
        "Equal inputs, and labels that contradict each other",
        "Three points occur twice, once as class 0 and once as class 1. The best answer to each is one half, which "
        "`evidence.lowest_loss` counts.",
        _network("tanh", APART, "softmax"),
        inputs=[*POINTS[:5], *POINTS[:3]],
        targets=[0, 1, 1, 0, 1, 1, 0, 0],
        loss="cross_entropy",
    ),
    "diagnose_collapsed_outputs": _example(
        "The same answer for every input",
        "The output layer's weights are all 0, so that only its bias is left. `evidence.spread_by_layer` shows where "
        "the activations stop varying.",
        _network("tanh", [[0.0]] * 4, bias=0.3),
    ),
    "diagnose_large_learning_rate": _example(
        "A step across the valley and up the other side",
        "With this learning rate the loss rises; `loss_slices` shows it along the step, whose multiple 1 is the step "
        "itself.",
        _network("tanh"),
        optimizer={"kind": "sgd", "learning_rate": 10.0},
    ),
    "diagnose_large_updates": _example(
        "Updates larger than the weights themselves",
        "Adam's first step moves every weight by the learning rate, 0.05, whatever its size; these weights are about "
        "0.005.",
        [
            layer([[0.01 * w for w in row] for row in HIDDEN], [0.0] * 4, "tanh", "hidden"),
            layer([[0.01 * w for w in row] for row in UP], [0.0], "identity", "output"),
        ],
        optimizer={"kind": "adam", "learning_rate": 0.05},
    ),
    "diagnose_chance_level": _example(
        "A classifier that knows nothing yet",
        "Its loss is no better than log(2), which always answering one half would give. Before training that is "
        "expected; after it, something is wrong.",
        _network("tanh", [[0.3, -0.2], [-0.3, 0.3], [0.1, -0.1], [0.2, -0.3]], "softmax"),
        targets=CLASSES,
        loss="cross_entropy",
    ),
    "diagnose_unused_inputs": _example(
        "A feature that never changes, and one that nothing listens to",
        "The second input is 1 in every example, as a bias is; the third has only weights of 0.",
        [
            layer([[0.7, -0.4], [0.2, 0.3], [0.0, 0.0]], [0.1, 0.0], "tanh", "hidden"),
            layer([[0.6], [-0.5]], [0.0], "identity", "output"),
        ],
        inputs=[[-1.2, 1.0, 0.4], [0.3, 1.0, -0.9], [0.8, 1.0, 1.1], [-0.5, 1.0, -1.3]],
        targets=[[-0.8], [1.2], [-0.3], [0.8]],
    ),
    "diagnose_small_updates": _example(
        "A learning rate of one in a hundred million",
        "The weights move by less than a millionth of their size: thousands of steps change nothing.",
        _network("tanh"),
        inputs=POINTS[:4],
        targets=SIDES[:4],
        optimizer={"kind": "sgd", "learning_rate": 1e-8},
    ),
}
