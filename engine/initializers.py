"""The initializers: each a frozen dataclass that draws a parameter's first numbers.

`sample(shape, fan_in, fan_out, generator)` gives float64 numbers: weights have the shape (inputs, units), a bias
(units,). fan_in is the number of inputs of the layer, fan_out the number of its units, for weights and bias alike.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import ClassVar, Literal

import numpy as np

from engine.errors import require
from engine.rules import About, Array, hyper

Shape = tuple[int, ...]
Mode = Literal["fan_in", "fan_out"]
GAIN = "Scales all numbers; PyTorch's gains for the activations fit here."
MODE = "Keeps the variance forward (fan_in) or backward (fan_out)."


def generator(seed: int, *place: int) -> np.random.Generator:
    """The stream of random numbers of one place (layer, parameter), which no other place shares."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=place)))


def uniform(shape: Shape, bound: float, random: np.random.Generator) -> Array:
    """Uniform within +-bound; infinite where that range has no length in floats."""
    if not math.isfinite(2 * bound):
        return np.full(shape, math.inf)
    return random.uniform(-bound, bound + 0.0, shape)  # NumPy refuses a range of -0.0.


def normal(shape: Shape, mean: float, std: float, random: np.random.Generator) -> Array:
    """Normal with mean and standard deviation."""
    return random.normal(mean, std + 0.0, shape)  # NumPy refuses a deviation of -0.0.


@dataclass(frozen=True, slots=True)
class Zeros:
    """0.

    Source: torch.nn.init.zeros_.
    """

    kind: Literal["zeros"] = "zeros"
    about: ClassVar = About("Zeros", r"0")

    def sample(self, shape: Shape, fan_in: int, fan_out: int, random: np.random.Generator) -> Array:
        return np.zeros(shape)


@dataclass(frozen=True, slots=True)
class Ones:
    """1.

    Source: torch.nn.init.ones_.
    """

    kind: Literal["ones"] = "ones"
    about: ClassVar = About("Ones", r"1")

    def sample(self, shape: Shape, fan_in: int, fan_out: int, random: np.random.Generator) -> Array:
        return np.ones(shape)


@dataclass(frozen=True, slots=True)
class Constant:
    """value.

    Source: torch.nn.init.constant_.
    """

    kind: Literal["constant"] = "constant"
    value: float = hyper(0.0, description="Every number.")
    about: ClassVar = About("Constant", r"c")

    def sample(self, shape: Shape, fan_in: int, fan_out: int, random: np.random.Generator) -> Array:
        return np.full(shape, float(self.value))


@dataclass(frozen=True, slots=True)
class Uniform:
    """Uniform between a and b.

    Source: torch.nn.init.uniform_.
    """

    kind: Literal["uniform"] = "uniform"
    a: float = hyper(0.0, description="The least number.")
    b: float = hyper(1.0, description="The largest number.")
    about: ClassVar = About("Uniform", r"U(a, b)")

    def __post_init__(self) -> None:
        fits = self.a <= self.b and math.isfinite(self.b - self.a)
        require(fits, ("b",), f">= {self.a}, by a finite difference", self.b)

    def sample(self, shape: Shape, fan_in: int, fan_out: int, random: np.random.Generator) -> Array:
        return random.uniform(self.a, self.b + 0.0, shape)  # NumPy refuses a range of -0.0.


@dataclass(frozen=True, slots=True)
class Normal:
    """Normal with mean and standard deviation std.

    Source: torch.nn.init.normal_.
    """

    kind: Literal["normal"] = "normal"
    mean: float = hyper(0.0, description="The mean.")
    std: float = hyper(1.0, ge=0.0, description="The standard deviation.")
    about: ClassVar = About("Normal", r"N(\mu, \sigma^2)")

    def sample(self, shape: Shape, fan_in: int, fan_out: int, random: np.random.Generator) -> Array:
        return normal(shape, self.mean, self.std, random)


@dataclass(frozen=True, slots=True)
class TruncatedNormal:
    """Normal with mean and std, given that it lies between a and b.

    Source: torch.nn.init.trunc_normal_ (a and b are numbers, not multiples of std).
    """

    kind: Literal["truncated_normal"] = "truncated_normal"
    mean: float = hyper(0.0, description="The mean before truncation.")
    std: float = hyper(1.0, gt=0.0, description="The standard deviation before truncation.")
    a: float = hyper(-2.0, description="The least number.")
    b: float = hyper(2.0, description="The largest number.")
    about: ClassVar = About("Truncated normal", r"N(\mu, \sigma^2) \text{ given } a \le x \le b")

    def __post_init__(self) -> None:
        # Farther out in a tail, the cumulative distribution has too few digits to draw from.
        require(self.a < self.b, ("b",), f"> {self.a}", self.b)
        require(self._share() >= 1e-3, ("b",), "at least a thousandth of the normal distribution from a to b", self.b)

    def _share(self) -> float:
        distribution = NormalDist(self.mean, self.std)
        return distribution.cdf(self.b) - distribution.cdf(self.a)

    def _by_inverse(self, count: int, random: np.random.Generator) -> Array:
        """Numbers by the inverse of the cumulative distribution: no draw is lost, however far out a and b are."""
        distribution = NormalDist(self.mean, self.std)
        levels = random.uniform(distribution.cdf(self.a), distribution.cdf(self.b), count).clip(1e-300, 1 - 2**-53)
        return np.fromiter(map(distribution.inv_cdf, levels.tolist()), np.float64, count).clip(self.a, self.b)

    def sample(self, shape: Shape, fan_in: int, fan_out: int, random: np.random.Generator) -> Array:
        if self._share() < 0.1:
            return self._by_inverse(math.prod(shape), random).reshape(shape)
        numbers = random.normal(self.mean, self.std, math.prod(shape))
        while (outside := np.flatnonzero((numbers < self.a) | (numbers > self.b))).size:
            numbers[outside] = random.normal(self.mean, self.std, outside.size)
        return numbers.reshape(shape)


@dataclass(frozen=True, slots=True)
class GlorotUniform:
    """Uniform within +-gain * sqrt(6 / (fan_in + fan_out)).

    Source: Glorot and Bengio 2010, PMLR 9; torch.nn.init.xavier_uniform_.
    """

    kind: Literal["glorot_uniform"] = "glorot_uniform"
    gain: float = hyper(1.0, ge=0.0, description=GAIN)
    about: ClassVar = About("Glorot (Xavier) uniform", r"U\left(\pm g \sqrt{6 / (n_{in} + n_{out})}\right)")

    def sample(self, shape: Shape, fan_in: int, fan_out: int, random: np.random.Generator) -> Array:
        return uniform(shape, self.gain * math.sqrt(6 / (fan_in + fan_out)), random)


@dataclass(frozen=True, slots=True)
class GlorotNormal:
    """Normal with mean 0 and standard deviation gain * sqrt(2 / (fan_in + fan_out)).

    Source: Glorot and Bengio 2010, PMLR 9; torch.nn.init.xavier_normal_.
    """

    kind: Literal["glorot_normal"] = "glorot_normal"
    gain: float = hyper(1.0, ge=0.0, description=GAIN)
    about: ClassVar = About("Glorot (Xavier) normal", r"N\left(0, g^2 \cdot 2 / (n_{in} + n_{out})\right)")

    def sample(self, shape: Shape, fan_in: int, fan_out: int, random: np.random.Generator) -> Array:
        return normal(shape, 0, self.gain * math.sqrt(2 / (fan_in + fan_out)), random)


@dataclass(frozen=True, slots=True)
class HeUniform:
    """Uniform within +-gain * sqrt(3 / fan), with gain sqrt(2) for relu.

    Source: He et al. 2015, arXiv:1502.01852; torch.nn.init.kaiming_uniform_.
    """

    kind: Literal["he_uniform"] = "he_uniform"
    gain: float = hyper(math.sqrt(2), ge=0.0, description=GAIN)
    mode: Mode = hyper("fan_in", description=MODE)
    about: ClassVar = About("He (Kaiming) uniform", r"U\left(\pm g \sqrt{3 / n}\right)")

    def sample(self, shape: Shape, fan_in: int, fan_out: int, random: np.random.Generator) -> Array:
        return uniform(shape, self.gain * math.sqrt(3 / (fan_in if self.mode == "fan_in" else fan_out)), random)


@dataclass(frozen=True, slots=True)
class HeNormal:
    """Normal with mean 0 and standard deviation gain / sqrt(fan), with gain sqrt(2) for relu.

    Source: He et al. 2015, arXiv:1502.01852; torch.nn.init.kaiming_normal_.
    """

    kind: Literal["he_normal"] = "he_normal"
    gain: float = hyper(math.sqrt(2), ge=0.0, description=GAIN)
    mode: Mode = hyper("fan_in", description=MODE)
    about: ClassVar = About("He (Kaiming) normal", r"N(0, g^2 / n)")

    def sample(self, shape: Shape, fan_in: int, fan_out: int, random: np.random.Generator) -> Array:
        return normal(shape, 0, self.gain / math.sqrt(fan_in if self.mode == "fan_in" else fan_out), random)


@dataclass(frozen=True, slots=True)
class LecunUniform:
    """Uniform within +-sqrt(3 / fan_in).

    Source: LeCun et al. 1998, Efficient BackProp; keras.initializers.LecunUniform.
    """

    kind: Literal["lecun_uniform"] = "lecun_uniform"
    about: ClassVar = About("LeCun uniform", r"U\left(\pm \sqrt{3 / n_{in}}\right)")

    def sample(self, shape: Shape, fan_in: int, fan_out: int, random: np.random.Generator) -> Array:
        return uniform(shape, math.sqrt(3 / fan_in), random)


@dataclass(frozen=True, slots=True)
class LecunNormal:
    """Normal with mean 0 and standard deviation 1 / sqrt(fan_in), not truncated.

    Source: LeCun et al. 1998, Efficient BackProp; Keras draws the same variance from a truncated normal.
    """

    kind: Literal["lecun_normal"] = "lecun_normal"
    about: ClassVar = About("LeCun normal", r"N(0, 1 / n_{in})")

    def sample(self, shape: Shape, fan_in: int, fan_out: int, random: np.random.Generator) -> Array:
        return normal(shape, 0, 1 / math.sqrt(fan_in), random)


@dataclass(frozen=True, slots=True)
class Orthogonal:
    """gain times a random matrix with orthonormal rows or columns, whichever are fewer.

    Source: Saxe, McClelland and Ganguli 2013, arXiv:1312.6120; torch.nn.init.orthogonal_.
    """

    kind: Literal["orthogonal"] = "orthogonal"
    gain: float = hyper(1.0, ge=0.0, description=GAIN)
    about: ClassVar = About("Orthogonal", r"g Q, \quad Q^\top Q = I")

    def sample(self, shape: Shape, fan_in: int, fan_out: int, random: np.random.Generator) -> Array:
        rows, columns = shape
        q, r = np.linalg.qr(random.normal(size=(max(shape), min(shape))))
        # The signs of r's diagonal make the distribution uniform over all such matrices.
        q = self.gain * q * np.where(np.diagonal(r) < 0, -1.0, 1.0)
        return np.ascontiguousarray(q if rows >= columns else q.T)


@dataclass(frozen=True, slots=True)
class Identity:
    """gain on the diagonal, 0 elsewhere.

    Source: torch.nn.init.eye_; Le, Jaitly and Hinton 2015, arXiv:1504.00941.
    """

    kind: Literal["identity"] = "identity"
    gain: float = hyper(1.0, description="The numbers of the diagonal.")
    about: ClassVar = About("Identity", r"g I")

    def sample(self, shape: Shape, fan_in: int, fan_out: int, random: np.random.Generator) -> Array:
        return self.gain * np.eye(shape[0], shape[1])


@dataclass(frozen=True, slots=True)
class PytorchLinear:
    """Uniform within +-1 / sqrt(fan_in), weights and bias alike.

    Source: torch.nn.Linear.reset_parameters.
    """

    kind: Literal["pytorch_linear"] = "pytorch_linear"
    about: ClassVar = About("PyTorch's default for linear layers", r"U\left(\pm 1 / \sqrt{n_{in}}\right)")

    def sample(self, shape: Shape, fan_in: int, fan_out: int, random: np.random.Generator) -> Array:
        return uniform(shape, 1 / math.sqrt(fan_in), random)


Initializer = (
    Zeros
    | Ones
    | Constant
    | Uniform
    | Normal
    | TruncatedNormal
    | GlorotUniform
    | GlorotNormal
    | HeUniform
    | HeNormal
    | LecunUniform
    | LecunNormal
    | Orthogonal
    | Identity
    | PytorchLinear
)

OfMatrices = Orthogonal | Identity
"""Those that make no bias."""
