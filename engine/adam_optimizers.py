"""Adam and its descendants, which keep running averages of the gradient and of its size.

They have what all optimizers have (see optimizers.py).
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from engine.descent import (
    BETAS,
    DECAY,
    DECOUPLED,
    EPS,
    FRACTIONS,
    MAXIMIZE,
    State,
    WithBetas,
    descended,
    rate,
    zeros,
)
from engine.errors import InvalidState
from engine.rules import About, Array, hyper


@dataclass(frozen=True, slots=True)
class Adam(WithBetas):
    """m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2, then w - learning_rate * m' / (sqrt(v') + eps).

    m' = m / (1 - beta1^t) and v' = v / (1 - beta2^t) correct the bias of the first steps. With amsgrad, v becomes its
    largest value so far. Weight decay is added to the gradient (adamw keeps it apart).

    Source: Kingma and Ba 2014, arXiv:1412.6980; torch.optim.Adam.
    """

    kind: Literal["adam"] = "adam"
    learning_rate: float = rate(1e-3)
    betas: tuple[float, float] = hyper((0.9, 0.999), FRACTIONS, description=BETAS)
    eps: float = hyper(1e-8, ge=0.0, description=EPS)
    weight_decay: float = hyper(0.0, ge=0.0, description=DECAY)
    amsgrad: bool = hyper(False, description="Never let the step size grow again.")
    maximize: bool = hyper(False, description=MAXIMIZE)
    about: ClassVar = About(
        "Adam", r"w \leftarrow w - \eta \frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} + \epsilon}"
    )

    def init(self, parameters: Array) -> State:
        return zeros(parameters, *adam_slots(self.amsgrad))

    def update(self, gradients: Array, state: State, parameters: Array) -> tuple[Array, State]:
        g = descended(gradients, parameters, self.weight_decay, self.maximize)
        return adam_step(self, g, state, parameters)


def adam_slots(amsgrad: bool) -> tuple[str, ...]:
    """The names of the arrays in the state of Adam and AdamW."""
    return ("exp_avg", "exp_avg_sq", "max_exp_avg_sq") if amsgrad else ("exp_avg", "exp_avg_sq")


def adam_step(rule: "Adam | AdamW", g: Array, state: State, parameters: Array) -> tuple[Array, State]:
    """What Adam and AdamW share: averages, their bias correction, the step."""
    beta1, beta2 = rule.betas
    t = state["step"] + 1
    m = beta1 * state["exp_avg"] + (1 - beta1) * g
    v = beta2 * state["exp_avg_sq"] + (1 - beta2) * (g * g)
    new = {"step": t, "exp_avg": m, "exp_avg_sq": v}
    if rule.amsgrad:
        v = new["max_exp_avg_sq"] = np.maximum(state["max_exp_avg_sq"], v)
    root = math.sqrt(1 - beta2**t)  # sqrt(v / c) + eps is (sqrt(v) + eps sqrt(c)) / sqrt(c): two numbers hold it all
    return parameters - rule.learning_rate * root / (1 - beta1**t) * (m / (np.sqrt(v) + rule.eps * root)), new


@dataclass(frozen=True, slots=True)
class AdamW(WithBetas):
    """Adam's step from w - learning_rate * weight_decay * w: the decay does not enter the averages.

    These are Adam's, m = beta1 m + (1 - beta1) g and v = beta2 v + (1 - beta2) g^2.

    Source: Loshchilov and Hutter 2017, arXiv:1711.05101; torch.optim.AdamW.
    """

    kind: Literal["adamw"] = "adamw"
    learning_rate: float = rate(1e-3)
    betas: tuple[float, float] = hyper((0.9, 0.999), FRACTIONS, description=BETAS)
    eps: float = hyper(1e-8, ge=0.0, description=EPS)
    weight_decay: float = hyper(1e-2, ge=0.0, description=DECOUPLED)
    amsgrad: bool = hyper(False, description="Never let the step size grow again.")
    maximize: bool = hyper(False, description=MAXIMIZE)
    about: ClassVar = About(
        "AdamW",
        r"w \leftarrow w - \eta \lambda w - \eta \frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} + \epsilon}",
    )

    def init(self, parameters: Array) -> State:
        return zeros(parameters, *adam_slots(self.amsgrad))

    def update(self, gradients: Array, state: State, parameters: Array) -> tuple[Array, State]:
        g = -gradients if self.maximize else gradients
        return adam_step(self, g, state, parameters * (1 - self.learning_rate * self.weight_decay))


@dataclass(frozen=True, slots=True)
class Adamax(WithBetas):
    """m = beta1 m + (1 - beta1) g, u = max(beta2 u, |g| + eps), then w - learning_rate / (1 - beta1^t) * m / u.

    Source: Kingma and Ba 2014, arXiv:1412.6980; torch.optim.Adamax.
    """

    kind: Literal["adamax"] = "adamax"
    learning_rate: float = rate(2e-3)
    betas: tuple[float, float] = hyper((0.9, 0.999), FRACTIONS, description=BETAS)
    eps: float = hyper(1e-8, ge=0.0, description=EPS)
    weight_decay: float = hyper(0.0, ge=0.0, description=DECAY)
    maximize: bool = hyper(False, description=MAXIMIZE)
    about: ClassVar = About("Adamax", r"w \leftarrow w - \frac{\eta}{1 - \beta_1^t} \frac{m}{u}")

    def init(self, parameters: Array) -> State:
        return zeros(parameters, "exp_avg", "exp_inf")

    def update(self, gradients: Array, state: State, parameters: Array) -> tuple[Array, State]:
        g = descended(gradients, parameters, self.weight_decay, self.maximize)
        beta1, beta2 = self.betas
        t = state["step"] + 1
        m = beta1 * state["exp_avg"] + (1 - beta1) * g
        u = np.maximum(beta2 * state["exp_inf"], np.abs(g) + self.eps)
        return parameters - self.learning_rate / (1 - beta1**t) * (m / u), {"step": t, "exp_avg": m, "exp_inf": u}


def decayed(rule: "NAdam | RAdam", gradients: Array, parameters: Array) -> tuple[Array, Array]:
    """The g of the formulas and the w that it moves: weights decay through g or, decoupled, before the step."""
    if not rule.decoupled_weight_decay:
        return descended(gradients, parameters, rule.weight_decay, rule.maximize), parameters
    shrunk = parameters * (1 - rule.learning_rate * rule.weight_decay)
    return descended(gradients, parameters, 0.0, rule.maximize), shrunk


@dataclass(frozen=True, slots=True)
class NAdam(WithBetas):
    """Adam with Nesterov's momentum: mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2) weighs gradient and average.

    The step is learning_rate * ((1 - mu_t) / (1 - M_t) * g + mu_(t+1) / (1 - M_t mu_(t+1)) * m) / (sqrt(v') + eps).
    M_t = mu_1 * ... * mu_t is the state's mu_product; m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2 and
    v' = v / (1 - beta2^t) are Adam's.

    Source: Dozat 2016; torch.optim.NAdam.
    """

    kind: Literal["nadam"] = "nadam"
    learning_rate: float = rate(2e-3)
    betas: tuple[float, float] = hyper((0.9, 0.999), FRACTIONS, description=BETAS)
    eps: float = hyper(1e-8, ge=0.0, description=EPS)
    weight_decay: float = hyper(0.0, ge=0.0, description=DECAY)
    momentum_decay: float = hyper(4e-3, ge=0.0, description="How fast the momentum approaches beta1.")
    decoupled_weight_decay: bool = hyper(False, description="Decay weights as AdamW does.")
    maximize: bool = hyper(False, description=MAXIMIZE)
    about: ClassVar = About(
        "NAdam",
        r"w \leftarrow w - \eta \left( \frac{1 - \mu_t}{1 - M_t} g + \frac{\mu_{t+1}}{1 - M_t \mu_{t+1}} m \right)"
        r" \Big/ \left( \sqrt{v / (1 - \beta_2^t)} + \epsilon \right)",
    )

    def init(self, parameters: Array) -> State:
        return {"mu_product": 1.0, **zeros(parameters, "exp_avg", "exp_avg_sq")}

    def update(self, gradients: Array, state: State, parameters: Array) -> tuple[Array, State]:
        g, parameters = decayed(self, gradients, parameters)
        if not 0 <= state["mu_product"] <= 1:
            raise InvalidState(("optimizer_state",), "Every mu_product is from 0 to 1.", received=state["mu_product"])
        beta1, beta2 = self.betas
        t = state["step"] + 1
        mu = beta1 * (1 - 0.5 * 0.96 ** (t * self.momentum_decay))
        mu_next = beta1 * (1 - 0.5 * 0.96 ** ((t + 1) * self.momentum_decay))
        product = state["mu_product"] * mu
        m = beta1 * state["exp_avg"] + (1 - beta1) * g
        v = beta2 * state["exp_avg_sq"] + (1 - beta2) * (g * g)
        denominator = np.sqrt(v / (1 - beta2**t)) + self.eps
        step = (1 - mu) / (1 - product) * g + mu_next / (1 - product * mu_next) * m
        new = {"step": t, "mu_product": product, "exp_avg": m, "exp_avg_sq": v}
        return parameters - self.learning_rate * (step / denominator), new


@dataclass(frozen=True, slots=True)
class RAdam(WithBetas):
    """Adam's step times a rectification of its variance; while that is unknown (rho_t <= 5), w - learning_rate * m'.

    rho_t = rho - 2 t beta2^t / (1 - beta2^t) with rho = 2 / (1 - beta2) - 1; the rectification is the root of
    (rho_t - 4)(rho_t - 2) rho / ((rho - 4)(rho - 2) rho_t). m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2
    and m' = m / (1 - beta1^t) are Adam's.

    Source: Liu et al. 2019, arXiv:1908.03265; torch.optim.RAdam.
    """

    kind: Literal["radam"] = "radam"
    learning_rate: float = rate(1e-3)
    betas: tuple[float, float] = hyper((0.9, 0.999), FRACTIONS, description=BETAS)
    eps: float = hyper(1e-8, ge=0.0, description=EPS)
    weight_decay: float = hyper(0.0, ge=0.0, description=DECAY)
    decoupled_weight_decay: bool = hyper(False, description="Decay weights as AdamW does.")
    maximize: bool = hyper(False, description=MAXIMIZE)
    about: ClassVar = About(
        "RAdam", r"w \leftarrow w - \eta \, r_t \frac{m / (1 - \beta_1^t)}{(\sqrt v + \epsilon) / \sqrt{1 - \beta_2^t}}"
    )

    def init(self, parameters: Array) -> State:
        return zeros(parameters, "exp_avg", "exp_avg_sq")

    def update(self, gradients: Array, state: State, parameters: Array) -> tuple[Array, State]:
        g, parameters = decayed(self, gradients, parameters)
        beta1, beta2 = self.betas
        t = state["step"] + 1
        m = beta1 * state["exp_avg"] + (1 - beta1) * g
        v = beta2 * state["exp_avg_sq"] + (1 - beta2) * (g * g)
        step = m / (1 - beta1**t)
        longest = 2 / (1 - beta2) - 1
        length = longest - 2 * t * beta2**t / (1 - beta2**t)
        if length > 5:
            rectification = math.sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length))
            step = step * (rectification * math.sqrt(1 - beta2**t) / (np.sqrt(v) + self.eps))
        return parameters - self.learning_rate * step, {"step": t, "exp_avg": m, "exp_avg_sq": v}
