"""The optimizers: each a frozen dataclass whose `update` is the rule for one array of parameters.

`init(parameters)` gives the state before the first step; `update(gradients, state, parameters)` gives new parameters
and the new state. Nothing is changed in place, and every rule works element by element, so an array may be a weight
matrix, a bias, or all parameters of a network in one vector. A state is a dictionary of arrays of the parameters' shape
and of numbers; `step` counts the updates. Which keys it has depends on the hyperparameters alone.

Adam and its descendants are in adam_optimizers.py.

In the formulas g is the gradient (its negative with `maximize`), w a parameter, t the step, counted from 1.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from engine.adam_optimizers import Adam, Adamax, AdamW, NAdam, RAdam
from engine.descent import DECAY, DECOUPLED, EPS, FRACTIONS, MAXIMIZE, State, WithBetas, descended, rate, zeros
from engine.errors import require
from engine.rules import About, Array, filled, hyper


@dataclass(frozen=True, slots=True)
class Sgd:
    """b = momentum * b + (1 - dampening) * g, then w - learning_rate * b; without momentum, w - learning_rate * g.

    The first b is g itself. With nesterov, g + momentum * b takes the place of b. Weight decay adds weight_decay * w.

    Source: torch.optim.SGD; Sutskever et al. 2013.
    """

    kind: Literal["sgd"] = "sgd"
    learning_rate: float = rate(1e-3)
    momentum: float = hyper(0.0, ge=0.0, description="How much of the last step is kept.")
    dampening: float = hyper(0.0, ge=0.0, description="How much less of the gradient enters the momentum.")
    weight_decay: float = hyper(0.0, ge=0.0, description=DECAY)
    nesterov: bool = hyper(False, description="Look ahead along the momentum.")
    maximize: bool = hyper(False, description=MAXIMIZE)
    about: ClassVar = About(
        "Stochastic gradient descent", r"b \leftarrow \mu b + (1 - \tau) g, \quad w \leftarrow w - \eta b"
    )

    def __post_init__(self) -> None:
        require(self.momentum > 0 or not self.nesterov, ("momentum",), "> 0 with nesterov", self.momentum)
        require(self.dampening == 0 or not self.nesterov, ("dampening",), "0 with nesterov", self.dampening)

    def init(self, parameters: Array) -> State:
        return zeros(parameters, "momentum_buffer") if self.momentum else {"step": 0}

    def update(self, gradients: Array, state: State, parameters: Array) -> tuple[Array, State]:
        g = descended(gradients, parameters, self.weight_decay, self.maximize)
        new = {"step": state["step"] + 1}
        if self.momentum:
            b = g if state["step"] == 0 else self.momentum * state["momentum_buffer"] + (1 - self.dampening) * g
            new["momentum_buffer"] = b
            g = g + self.momentum * b if self.nesterov else b
        return parameters - self.learning_rate * g, new


@dataclass(frozen=True, slots=True)
class RmsProp:
    """v = alpha v + (1 - alpha) g^2, then w - learning_rate * g / (sqrt(v) + eps).

    With centered, the square of the gradient's own average is taken from v; with momentum, the step enters a buffer
    b = momentum * b + g / (sqrt(v) + eps), and w moves by learning_rate * b.

    Source: Tieleman and Hinton 2012; Graves 2013, arXiv:1308.0850; torch.optim.RMSprop.
    """

    kind: Literal["rmsprop"] = "rmsprop"
    learning_rate: float = rate(1e-2)
    alpha: float = hyper(0.99, ge=0.0, lt=1.0, description="How much of the average of squares is kept.")
    eps: float = hyper(1e-8, ge=0.0, description=EPS)
    weight_decay: float = hyper(0.0, ge=0.0, description=DECAY)
    momentum: float = hyper(0.0, ge=0.0, description="How much of the last step is kept.")
    centered: bool = hyper(False, description="Divide by the variance in place of the mean square.")
    maximize: bool = hyper(False, description=MAXIMIZE)
    about: ClassVar = About(
        "RMSprop", r"v \leftarrow \alpha v + (1 - \alpha) g^2, \quad w \leftarrow w - \eta \frac{g}{\sqrt v + \epsilon}"
    )

    def init(self, parameters: Array) -> State:
        names = ["square_avg"]
        names += ["grad_avg"] if self.centered else []
        names += ["momentum_buffer"] if self.momentum else []
        return zeros(parameters, *names)

    def update(self, gradients: Array, state: State, parameters: Array) -> tuple[Array, State]:
        g = descended(gradients, parameters, self.weight_decay, self.maximize)
        v = self.alpha * state["square_avg"] + (1 - self.alpha) * (g * g)
        new = {"step": state["step"] + 1, "square_avg": v}
        if self.centered:
            mean = new["grad_avg"] = self.alpha * state["grad_avg"] + (1 - self.alpha) * g
            # Rounding may carry the variance of a constant gradient a little below 0.
            v = np.maximum(v - mean * mean, 0)
        step = g / (np.sqrt(v) + self.eps)
        if self.momentum:
            step = new["momentum_buffer"] = self.momentum * state["momentum_buffer"] + step
        return parameters - self.learning_rate * step, new


@dataclass(frozen=True, slots=True)
class Adagrad:
    """s = s + g^2, then w - learning_rate / (1 + (t - 1) lr_decay) * g / (sqrt(s) + eps).

    Source: Duchi, Hazan and Singer 2011, JMLR 12; torch.optim.Adagrad.
    """

    kind: Literal["adagrad"] = "adagrad"
    learning_rate: float = rate(1e-2)
    lr_decay: float = hyper(0.0, ge=0.0, description="How fast the learning rate falls.")
    weight_decay: float = hyper(0.0, ge=0.0, description=DECAY)
    initial_accumulator_value: float = hyper(0.0, ge=0.0, description="What the sum of squares starts from.")
    eps: float = hyper(1e-10, ge=0.0, description=EPS)
    maximize: bool = hyper(False, description=MAXIMIZE)
    about: ClassVar = About(
        "Adagrad",
        r"s \leftarrow s + g^2, \quad w \leftarrow w - \frac{\eta}{1 + (t - 1) \gamma} \frac{g}{\sqrt s + \epsilon}",
    )

    def init(self, parameters: Array) -> State:
        return {"step": 0, "sum": filled(parameters, self.initial_accumulator_value)}

    def update(self, gradients: Array, state: State, parameters: Array) -> tuple[Array, State]:
        g = descended(gradients, parameters, self.weight_decay, self.maximize)
        s = state["sum"] + g * g
        eta = self.learning_rate / (1 + state["step"] * self.lr_decay)
        return parameters - eta * (g / (np.sqrt(s) + self.eps)), {"step": state["step"] + 1, "sum": s}


@dataclass(frozen=True, slots=True)
class Adadelta:
    """v = rho v + (1 - rho) g^2, d = sqrt(u + eps) / sqrt(v + eps) * g, u = rho u + (1 - rho) d^2; w - learning_rate d.

    Source: Zeiler 2012, arXiv:1212.5701; torch.optim.Adadelta.
    """

    kind: Literal["adadelta"] = "adadelta"
    learning_rate: float = rate(1.0)
    rho: float = hyper(0.9, ge=0.0, le=1.0, description="How much of the averages of squares is kept.")
    eps: float = hyper(1e-6, ge=0.0, description=EPS)
    weight_decay: float = hyper(0.0, ge=0.0, description=DECAY)
    maximize: bool = hyper(False, description=MAXIMIZE)
    about: ClassVar = About("Adadelta", r"w \leftarrow w - \eta \frac{\sqrt{u + \epsilon}}{\sqrt{v + \epsilon}} g")

    def init(self, parameters: Array) -> State:
        return zeros(parameters, "square_avg", "acc_delta")

    def update(self, gradients: Array, state: State, parameters: Array) -> tuple[Array, State]:
        g = descended(gradients, parameters, self.weight_decay, self.maximize)
        v = self.rho * state["square_avg"] + (1 - self.rho) * (g * g)
        d = np.sqrt(state["acc_delta"] + self.eps) / np.sqrt(v + self.eps) * g
        u = self.rho * state["acc_delta"] + (1 - self.rho) * (d * d)
        new = {"step": state["step"] + 1, "square_avg": v, "acc_delta": u}
        return parameters - self.learning_rate * d, new


@dataclass(frozen=True, slots=True)
class Rprop:
    """w - sign(g) * size, where size grows by etas[1] while g keeps its sign and shrinks by etas[0] when it turns.

    A step whose gradient turned is left out. The size starts at learning_rate and stays within step_sizes.

    Source: Riedmiller and Braun 1993; torch.optim.Rprop.
    """

    kind: Literal["rprop"] = "rprop"
    learning_rate: float = rate(1e-2)
    etas: tuple[float, float] = hyper(
        (0.5, 1.2),
        ({"exclusiveMinimum": 0, "exclusiveMaximum": 1}, {"exclusiveMinimum": 1}),
        description="`[2]`: factors of a size, below and above 1.",
    )
    step_sizes: tuple[float, float] = hyper(
        (1e-6, 50.0), ({"minimum": 0}, {"minimum": 0}), description="`[2]`: the least and the largest size."
    )
    maximize: bool = hyper(False, description=MAXIMIZE)
    about: ClassVar = About("Rprop", r"w \leftarrow w - \operatorname{sign}(g) \, \Delta")

    def __post_init__(self) -> None:
        (shrink, grow), (least, most) = self.etas, self.step_sizes
        require(0 < shrink < 1, ("etas", 0), "> 0, < 1", shrink)
        require(1 < grow < math.inf, ("etas", 1), "> 1", grow)
        require(0 <= least < math.inf, ("step_sizes", 0), ">= 0", least)
        require(least <= most < math.inf, ("step_sizes", 1), f">= {least}", most)

    def init(self, parameters: Array) -> State:
        return {"step_size": filled(parameters, self.learning_rate), **zeros(parameters, "prev")}

    def update(self, gradients: Array, state: State, parameters: Array) -> tuple[Array, State]:
        g = -gradients if self.maximize else gradients
        # The product of the numbers themselves may underflow to 0, as if one of them were.
        agreement = np.sign(g) * np.sign(state["prev"])
        factor = np.where(agreement > 0, self.etas[1], np.where(agreement < 0, self.etas[0], 1)).astype(g.dtype)
        # A schedule may have changed the learning rate since `init`: the first step's counts, as in PyTorch.
        size = state["step_size"] if state["step"] else filled(parameters, self.learning_rate)
        size = np.clip(size * factor, *self.step_sizes)
        g = np.where(agreement < 0, 0, g)
        return parameters - np.sign(g) * size, {"step": state["step"] + 1, "prev": g, "step_size": size}


@dataclass(frozen=True, slots=True)
class Asgd:
    """w * (1 - lambd * eta_t) - eta_t * g with eta_t = learning_rate / (1 + lambd * learning_rate * (t - 1))^alpha.

    The state's `ax` is the average of the parameters after step t0 + 1, which is what averaged SGD is for; the answer's
    network holds the last parameters, as in PyTorch.

    Source: Polyak and Juditsky 1992, doi:10.1137/0330046; torch.optim.ASGD.
    """

    kind: Literal["asgd"] = "asgd"
    learning_rate: float = rate(1e-2)
    lambd: float = hyper(1e-4, ge=0.0, description="Decays the parameters.")
    alpha: float = hyper(0.75, ge=0.0, description="The power by which the step falls.")
    t0: float = hyper(1e6, ge=0.0, description="Parameters of later steps than t0 + 1 are averaged.")
    weight_decay: float = hyper(0.0, ge=0.0, description=DECAY)
    maximize: bool = hyper(False, description=MAXIMIZE)
    about: ClassVar = About(
        "Averaged stochastic gradient descent",
        r"w \leftarrow (1 - \lambda \eta_t) w - \eta_t g, "
        r"\quad \eta_t = \frac{\eta}{(1 + \lambda \eta (t - 1))^\alpha}",
    )

    def init(self, parameters: Array) -> State:
        return {"eta": self.learning_rate, "mu": 1.0, **zeros(parameters, "ax")}

    def update(self, gradients: Array, state: State, parameters: Array) -> tuple[Array, State]:
        g = descended(gradients, parameters, self.weight_decay, self.maximize)
        t = state["step"] + 1
        eta, mu = state["eta"] if state["step"] else self.learning_rate, state["mu"]
        parameters = parameters * (1 - self.lambd * eta) - eta * g
        ax = parameters if mu == 1 else state["ax"] + (parameters - state["ax"]) * mu
        # A negative power falls to 0 where a positive one would raise OverflowError.
        eta = self.learning_rate * (1 + self.lambd * self.learning_rate * t) ** -self.alpha
        return parameters, {"step": t, "eta": eta, "mu": 1 / max(1.0, t - self.t0), "ax": ax}


@dataclass(frozen=True, slots=True)
class Lion(WithBetas):
    """w - learning_rate * (sign(beta1 m + (1 - beta1) g) + weight_decay * w), then m = beta2 m + (1 - beta2) g.

    Source: Chen et al. 2023, arXiv:2302.06675, algorithm 2.
    """

    kind: Literal["lion"] = "lion"
    learning_rate: float = rate(1e-4)
    betas: tuple[float, float] = hyper(
        (0.9, 0.99), FRACTIONS, description="`[2]`: the average's part in a step, and kept."
    )
    weight_decay: float = hyper(0.0, ge=0.0, description=DECOUPLED)
    maximize: bool = hyper(False, description=MAXIMIZE)
    about: ClassVar = About(
        "Lion", r"w \leftarrow w - \eta \left( \operatorname{sign}(\beta_1 m + (1 - \beta_1) g) + \lambda w \right)"
    )

    def init(self, parameters: Array) -> State:
        return zeros(parameters, "exp_avg")

    def update(self, gradients: Array, state: State, parameters: Array) -> tuple[Array, State]:
        g = -gradients if self.maximize else gradients
        beta1, beta2 = self.betas
        direction = np.sign(beta1 * state["exp_avg"] + (1 - beta1) * g)
        if self.weight_decay:
            direction = direction + self.weight_decay * parameters
        new = {"step": state["step"] + 1, "exp_avg": beta2 * state["exp_avg"] + (1 - beta2) * g}
        return parameters - self.learning_rate * direction, new


Optimizer = Sgd | Adam | AdamW | Adamax | NAdam | RAdam | RmsProp | Adagrad | Adadelta | Rprop | Asgd | Lion


def decays_apart(rule: Optimizer) -> bool:
    """Whether weight decay shrinks the parameter itself, and does not enter the gradient."""
    return isinstance(rule, AdamW | Lion) or getattr(rule, "decoupled_weight_decay", False)
