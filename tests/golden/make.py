"""Writes the golden files: requests of this service with answers computed by PyTorch in float64.

    make golden

needs torch in the environment. Every file holds `source`, `endpoint`, `request`, `answer` (the part that is compared),
`tolerance` (relative) and, for optimizers, `steps`: how often the answer's network and state are posted back.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from app.cli import readable

HERE = Path(__file__).parent
torch.set_default_dtype(torch.float64)

ACTIVATIONS: dict[str, list[tuple[dict[str, Any], Callable[[Tensor], Tensor]]]] = {
    "identity": [({}, lambda z: z * 1)],
    "relu": [({}, F.relu)],
    "relu6": [({}, F.relu6)],
    "leaky_relu": [({}, F.leaky_relu), ({"negative_slope": 0.2}, lambda z: F.leaky_relu(z, 0.2))],
    "elu": [({}, F.elu), ({"alpha": 0.5}, lambda z: F.elu(z, 0.5))],
    "celu": [({}, F.celu), ({"alpha": 2.0}, lambda z: F.celu(z, 2.0))],
    "selu": [({}, F.selu)],
    "gelu": [({}, F.gelu), ({"approximate": "tanh"}, lambda z: F.gelu(z, approximate="tanh"))],
    "silu": [({}, F.silu)],
    "mish": [({}, F.mish)],
    "sigmoid": [({}, torch.sigmoid)],
    # F.hardsigmoid's own derivative holds 1/6 rounded to float32, also in float64.
    "hard_sigmoid": [({}, lambda z: F.relu6(z + 3) / 6)],
    "log_sigmoid": [({}, F.logsigmoid)],
    "tanh": [({}, torch.tanh)],
    "hard_tanh": [({}, F.hardtanh), ({"min_val": -0.5, "max_val": 0.25}, lambda z: F.hardtanh(z, -0.5, 0.25))],
    "softplus": [({}, F.softplus), ({"beta": 2.0, "threshold": 3.0}, lambda z: F.softplus(z, 2.0, 3.0))],
    "softsign": [({}, F.softsign)],
    "hard_swish": [({}, F.hardswish)],
    "hard_shrink": [({}, F.hardshrink), ({"lambd": 0.1}, lambda z: F.hardshrink(z, 0.1))],
    "soft_shrink": [({}, F.softshrink), ({"lambd": 0.1}, lambda z: F.softshrink(z, 0.1))],
    "tanh_shrink": [({}, F.tanhshrink)],
    "threshold": [({"threshold": 0.1, "value": -0.2}, lambda z: F.threshold(z, 0.1, -0.2))],
    "exponential": [({}, torch.exp)],
    "softmax": [({}, lambda z: F.softmax(z, 1))],
    "softmin": [({}, lambda z: F.softmin(z, 1))],
    "log_softmax": [({}, lambda z: F.log_softmax(z, 1))],
}


def net(last: str, activation: Any = "tanh", batch: int = 4) -> dict[str, Any]:
    """A 3-5-4 network with a batch of inputs, its numbers written with few digits."""
    torch.manual_seed(7)

    def numbers(*shape: int) -> Any:
        return torch.round(torch.randn(*shape), decimals=3).tolist()

    return {
        "network": {
            "layers": [
                {"weights": numbers(3, 5), "bias": numbers(5), "activation": activation},
                {"weights": numbers(5, 4), "bias": numbers(4), "activation": last},
            ]
        },
        "inputs": numbers(batch, 3),
    }


def forward(
    request: dict[str, Any], functions: list[Callable[[Tensor], Tensor]]
) -> tuple[Tensor, list[dict[str, Tensor]]]:
    """The pass of the request's network with every tensor kept for its gradient; the outputs and the layers."""
    x = torch.tensor(request["inputs"], requires_grad=True)
    layers = [{"inputs": x}]
    for layer, function in zip(request["network"]["layers"], functions, strict=True):
        weights = torch.tensor(layer["weights"], requires_grad=True)
        bias = torch.tensor(layer["bias"], requires_grad=True)
        z = x @ weights + bias
        z.retain_grad()
        x = function(z)
        x.retain_grad()
        layers.append({"weights": weights, "bias": bias, "preactivations": z, "activations": x})
    return x, layers


def answer(loss: Tensor, layers: list[dict[str, Tensor]]) -> dict[str, Any]:
    """What the service should answer. Where PyTorch takes the loss on the logits, no output has a gradient."""
    loss.backward()
    result = [
        {
            "preactivations": layer["preactivations"].tolist(),
            "activations": layer["activations"].tolist(),
            "gradients": {name: tensor.grad.tolist() for name, tensor in layer.items() if tensor.grad is not None},
        }
        for layer in layers[1:]
    ]
    by_inputs = layers[0]["inputs"].grad
    assert by_inputs is not None
    return {"loss": loss.item(), "layers": result, "input_gradients": by_inputs.tolist()}


def write(name: str, endpoint: str, request: dict[str, Any], expected: dict[str, Any], **more: Any) -> None:
    golden = {
        "source": f"PyTorch {torch.__version__.partition('+')[0]}, float64",
        "endpoint": endpoint,
        "request": request,
        "answer": expected,
        "tolerance": 1e-12,
        **more,
    }
    (HERE / f"{name}.json").write_text(readable(golden) + "\n")


def write_activations() -> None:
    targets = [[0.3, -0.2, 0.5, 1.0]] * 4
    for kind, variants in ACTIVATIONS.items():
        for i, (parameters, function) in enumerate(variants):
            request = net("tanh", {"kind": kind, **parameters})
            outputs, layers = forward(request, [function, torch.tanh])
            loss = F.mse_loss(outputs, torch.tensor(targets))
            request |= {"targets": targets, "loss": "mse"}
            write(f"activation_{kind}{i or ''}", "/v1/backward", request, answer(loss, layers))


LABELS = [0, 3, 1, 1]
ONE_HOT = F.one_hot(torch.tensor(LABELS), 4).double().tolist()
SOFT = [[0.1, 0.2, 0.3, 0.4], [0.25, 0.25, 0.25, 0.25], [1.0, 0.0, 0.0, 0.0], [0.0, 0.5, 0.5, 0.0]]
REAL = [[0.3, -0.2, 0.5, 1.0], [1.4, 0.0, -0.6, 0.2], [0.0, 0.1, 0.2, 3.0], [-1.0, 1.0, -0.3, 0.4]]
SIGNS = [[1.0, -1.0, 1.0, -1.0], [-1.0, -1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0], [-1.0, 1.0, -1.0, 1.0]]
CLASS_WEIGHTS = [0.5, 2.0, 1.0, 3.0]
IDENTITY: Callable[[Tensor], Tensor] = lambda z: z * 1  # noqa: E731
SOFTMAX: Callable[[Tensor], Tensor] = lambda z: F.softmax(z, 1)  # noqa: E731
LOG_SOFTMAX: Callable[[Tensor], Tensor] = lambda z: F.log_softmax(z, 1)  # noqa: E731
FUNCTIONS = {
    "identity": IDENTITY,
    "softmax": SOFTMAX,
    "log_softmax": LOG_SOFTMAX,
    "sigmoid": torch.sigmoid,
    "softplus": F.softplus,
}


def focal(logits: Tensor, targets: Tensor) -> Tensor:
    log_p = F.log_softmax(logits, 1)
    return (-0.25 * (1 - log_p.exp()) ** 2 * targets * log_p).sum(1).mean()


def losses() -> list[tuple[str, dict[str, Any], str, Any, Callable[[Tensor, Tensor, Tensor], Tensor]]]:
    """Name, loss, last activation, targets, and the loss from (outputs, logits, targets)."""
    cases: list[tuple[str, dict[str, Any], str, Any, Callable[[Tensor, Tensor, Tensor], Tensor]]] = []

    def add(kind: str, last: str, targets: Any, function: Any, suffix: str = "", **parameters: Any) -> None:
        cases.append((f"loss_{kind}{suffix}", {"kind": kind, **parameters}, last, targets, function))

    weight = torch.tensor(CLASS_WEIGHTS)
    for reduction in ("mean", "sum"):
        r: Any = {"reduction": reduction}
        end = "" if reduction == "mean" else "_sum"
        add("cross_entropy", "softmax", LABELS, lambda y, z, t, r=r: F.cross_entropy(z, t, **r), end, **r)
        add("binary_cross_entropy", "sigmoid", ONE_HOT,
            lambda y, z, t, r=r: F.binary_cross_entropy_with_logits(z, t, **r), end, **r)  # fmt: skip
        add("negative_log_likelihood", "log_softmax", LABELS, lambda y, z, t, r=r: F.nll_loss(y, t, **r), end, **r)
        add("mse", "identity", REAL, lambda y, z, t, r=r: F.mse_loss(y, t, **r), end, **r)
        add("mae", "identity", REAL, lambda y, z, t, r=r: F.l1_loss(y, t, **r), end, **r)
        add("huber", "identity", REAL, lambda y, z, t, r=r: F.huber_loss(y, t, delta=0.7, **r), end, delta=0.7, **r)
        add(
            "smooth_l1",
            "identity",
            REAL,
            lambda y, z, t, r=r: F.smooth_l1_loss(y, t, beta=0.6, **r),
            end,
            beta=0.6,
            **r,
        )
        add("kl_divergence", "log_softmax", SOFT, lambda y, z, t, r=r: F.kl_div(y, t, **r), end, **r)
        add("poisson", "identity", ONE_HOT, lambda y, z, t, r=r: F.poisson_nll_loss(y, t, **r), end, **r)
        add("multi_margin", "identity", LABELS, lambda y, z, t, r=r: F.multi_margin_loss(y, t, **r), end, **r)
    add("cross_entropy", "softmax", SOFT, lambda y, z, t: F.cross_entropy(z, t), "_soft")
    add("cross_entropy", "softmax", LABELS,
        lambda y, z, t: F.cross_entropy(z, t, weight, label_smoothing=0.1), "_weighted",
        class_weights=CLASS_WEIGHTS, label_smoothing=0.1)  # fmt: skip
    add("cross_entropy", "softmax", SOFT, lambda y, z, t: F.cross_entropy(z, t, weight), "_soft_weighted",
        class_weights=CLASS_WEIGHTS)  # fmt: skip
    add("cross_entropy", "identity", LABELS, lambda y, z, t: F.cross_entropy(y, t), "_logits", from_logits=True)
    add("binary_cross_entropy", "identity", ONE_HOT,
        lambda y, z, t: F.binary_cross_entropy_with_logits(y, t), "_logits", from_logits=True)  # fmt: skip
    add("binary_cross_entropy", "softmax", ONE_HOT, lambda y, z, t: F.binary_cross_entropy(y, t), "_of_softmax")
    add("negative_log_likelihood", "log_softmax", LABELS, lambda y, z, t: F.nll_loss(y, t, weight), "_weighted",
        class_weights=CLASS_WEIGHTS)  # fmt: skip
    add("kl_divergence", "softmax", SOFT, lambda y, z, t: F.kl_div(F.log_softmax(z, 1), t), "_of_softmax")
    add("poisson", "softplus", REAL[:1] * 4,
        lambda y, z, t: F.poisson_nll_loss(y, t, log_input=False), "_rates", log_input=False)  # fmt: skip
    add(
        "multi_margin",
        "identity",
        LABELS,
        lambda y, z, t: F.multi_margin_loss(y, t, 2, 0.5),
        "_squared",
        p=2,
        margin=0.5,
    )
    add("half_squared_error", "identity", REAL, lambda y, z, t: 0.5 * ((y - t) ** 2).sum(1).mean())
    add("log_cosh", "identity", REAL, lambda y, z, t: torch.log(torch.cosh(y - t)).mean())
    add("hinge", "identity", SIGNS, lambda y, z, t: F.relu(1 - t * y).mean())
    add("squared_hinge", "identity", SIGNS, lambda y, z, t: (F.relu(1 - t * y) ** 2).mean())
    add("categorical_hinge", "identity", ONE_HOT,
        lambda y, z, t: F.relu(1 + ((1 - t) * y).max(1).values - (t * y).sum(1)).mean())  # fmt: skip
    add("cosine_similarity", "identity", REAL, lambda y, z, t: -F.cosine_similarity(y, t).mean())
    add("focal", "softmax", ONE_HOT, lambda y, z, t: focal(z, t))
    return cases


def write_losses() -> None:
    for name, loss, last, targets, function in losses():
        request = net(last)
        outputs, layers = forward(request, [torch.tanh, FUNCTIONS[last]])
        value = function(outputs, layers[-1]["preactivations"], torch.tensor(targets))
        request |= {"targets": targets, "loss": loss}
        write(name, "/v1/backward", request, answer(value, layers))


OPTIMIZERS: dict[str, tuple[Any, list[dict[str, Any]]]] = {
    "sgd": (torch.optim.SGD, [
        {}, {"momentum": 0.9}, {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1},
        {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}, {"maximize": True}]),
    "adam": (torch.optim.Adam, [{}, {"amsgrad": True, "weight_decay": 0.1}, {"betas": [0.8, 0.99], "eps": 1e-6}]),
    "adamw": (torch.optim.AdamW, [{}, {"amsgrad": True, "weight_decay": 0.1}]),
    "adamax": (torch.optim.Adamax, [{}, {"weight_decay": 0.1}]),
    "nadam": (torch.optim.NAdam, [{}, {"weight_decay": 0.1, "decoupled_weight_decay": True}]),
    "radam": (torch.optim.RAdam, [{}, {"weight_decay": 0.1}]),
    "rmsprop": (torch.optim.RMSprop, [{}, {"momentum": 0.9}, {"centered": True, "momentum": 0.5, "weight_decay": 0.1}]),
    "adagrad": (torch.optim.Adagrad, [{}, {"lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.1}]),
    "adadelta": (torch.optim.Adadelta, [{}, {"rho": 0.8, "weight_decay": 0.1}]),
    "rprop": (torch.optim.Rprop, [{}, {"etas": [0.4, 1.3], "step_sizes": [1e-5, 1.0]}]),
    "asgd": (torch.optim.ASGD, [{}, {"t0": 3.0, "weight_decay": 0.1}]),
}  # fmt: skip
STEPS = 10


def write_optimizers() -> None:
    for kind, (optimizer_class, variants) in OPTIMIZERS.items():
        for i, parameters in enumerate(variants):
            rate = 0.05 if kind not in ("adadelta",) else 1.0
            request = net("softmax")
            _, layers = forward(request, [torch.tanh, SOFTMAX])
            tensors = [layer[name] for layer in layers[1:] for name in ("weights", "bias")]
            tuples = {k: tuple(v) if isinstance(v, list) else v for k, v in parameters.items()}
            optimizer = optimizer_class(tensors, lr=rate, **tuples)
            x, t = torch.tensor(request["inputs"]), torch.tensor(LABELS)
            for _ in range(STEPS):
                optimizer.zero_grad()
                z = torch.tanh(x @ tensors[0] + tensors[1]) @ tensors[2] + tensors[3]
                loss = F.cross_entropy(z, t)
                loss.backward()
                optimizer.step()
            request |= {
                "targets": LABELS,
                "loss": "cross_entropy",
                "optimizer": {"kind": kind, "learning_rate": rate, **parameters},
            }
            weights = [tensor.tolist() for tensor in tensors]
            expected = {
                "loss": loss.item(),
                "network": {
                    "layers": [dict(zip(("weights", "bias"), weights[j : j + 2], strict=True)) for j in (0, 2)]
                },
            }
            write(f"optimizer_{kind}{i or ''}", "/v1/step", request, expected, steps=STEPS)


if __name__ == "__main__":
    write_activations()
    write_losses()
    write_optimizers()
    print(f"{len(list(HERE.glob('*.json')))} golden files written")
