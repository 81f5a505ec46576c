"""Data whose flow is known in closed form, as networks: what solvers, scores and predictions are held against.

Of data N(m, s^2) in each value, x_t = t x_1 + (1 - t) eps is N(t m, v) with v = t^2 s^2 + (1 - t)^2, and

    E[x_1 - eps | x_t] = m + (t s^2 - (1 - t)) / v (x_t - t m),    the flow carries z at t = 0 to t m + sqrt(v) z.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from torch import Tensor, nn

SCALE = 1000.0  # what times are multiplied by before a network sees them


class Network(nn.Module):
    """A velocity in float64, answered in the type of `x`, which remembers what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.inputs: list[Tensor] = []
        self.times: list[float] = []

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        self.inputs.append(x)
        self.times += (t / SCALE).tolist()
        return self.velocity(x.double(), (t.double() / SCALE).view(-1, *[1] * (x.dim() - 1)), y).to(x.dtype)

    def velocity(self, x: Tensor, t: Tensor, y: Tensor | None) -> Tensor:
        raise NotImplementedError


class Mixture(Network):
    """A mixture of Gaussians of one deviation, the samples of a component being constant images but for that."""

    def __init__(self, means: Sequence[float], std: float, weights: Sequence[float] | None = None) -> None:
        super().__init__()
        self.means, self.std = means, std
        self.weights = weights or [1 / len(means)] * len(means)

    def moments(self) -> tuple[float, float]:
        """Mean and variance of a value of the data."""
        mean = sum(w * m for w, m in zip(self.weights, self.means, strict=True))
        second = sum(w * (m * m + self.std**2) for w, m in zip(self.weights, self.means, strict=True))
        return mean, second - mean**2

    def velocity(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        variance = t**2 * self.std**2 + (1 - t) ** 2
        offsets = [x - t * m for m in self.means]
        exponents = [-(o.square() / (2 * variance)).flatten(1).sum(1) for o in offsets]
        logits = torch.stack([math.log(w) + e for w, e in zip(self.weights, exponents, strict=True)])
        shares = torch.softmax(logits, 0).view(len(self.means), -1, *[1] * (x.dim() - 1))
        slope = (t * self.std**2 - (1 - t)) / variance
        return sum(p * (m + slope * o) for p, m, o in zip(shares, self.means, offsets, strict=True))  # type: ignore[no-any-return]


class Gaussian(Mixture):
    """N(mean, std^2) in every value."""

    def __init__(self, mean: float = 0.5, std: float = 0.4) -> None:
        super().__init__([mean], std)

    def ends(self, noise: Tensor) -> Tensor:
        """Where the flow carries noise."""
        return self.means[0] + self.std * noise


class PredictingX(nn.Module):
    """What a network that predicts the image answers, whose velocity is another's: x_t + (1 - t) v."""

    def __init__(self, of: Network) -> None:
        super().__init__()
        self.of = of

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        remaining = (1 - t / SCALE).view(-1, *[1] * (x.dim() - 1))
        return x + remaining * self.of(x, t, y)


class HardAndEasy(Network):
    """Of label 1 two far and narrow Gaussians, between which the velocity turns fast; of others one wide Gaussian."""

    def __init__(self) -> None:
        super().__init__()
        self.hard, self.easy = Mixture([-2.0, 2.0], 0.05), Mixture([0.0], 1.0)

    def velocity(self, x: Tensor, t: Tensor, y: Tensor | None) -> Tensor:
        assert y is not None
        hard = (y == 1).view(-1, *[1] * (x.dim() - 1))
        return torch.where(hard, self.hard.velocity(x, t), self.easy.velocity(x, t))

    def ends_of_hard(self, noise: Tensor) -> Tensor:
        """Where the flow carries one hard sample (C, H, W), by SciPy's method of order 8."""

        def slope(t: float, flat: NDArray[np.float64]) -> NDArray[np.float64]:
            x = torch.from_numpy(flat).view(1, *noise.shape)
            return self.hard.velocity(x, torch.full((1, 1, 1, 1), t, dtype=torch.float64)).flatten().numpy()

        start = noise.double().flatten().numpy()
        found = solve_ivp(slope, (0.0, 1.0), start, method="DOP853", rtol=1e-10, atol=1e-12)
        return torch.from_numpy(found.y[:, -1]).view(noise.shape)
