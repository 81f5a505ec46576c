"""The least loss that compute buys, as a curve that can be asked how much compute a loss takes.

By `L(N, D)` it is the least over the sizes between the smallest and the largest that ran, with the FLOPs that a
parameter and an image cost at each size; by the envelope it is the power law of the best of each budget. With one size
in place of all of them it is the loss against images. The curve reaches over what was measured, and beyond only for
resamples, whose losses there differ a little.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pdebench.stats.parametric import Refits
from pdebench.stats.power_law import Envelope, fitted
from pdebench.stats.power_sum import Array
from pdebench.stats.runs import Runs

_SIZES = 33  # sizes that the best one is sought among: of a parabola in log N, the error is far below any noise
_POINTS = 49  # of a curve
_BEYOND = 10.0  # times what was measured


@dataclass(frozen=True)
class Frontier:
    """Log-losses of the whole table and of its resamples, falling with log-compute (or with log-images).

    Attributes:
        x: ascending, (G,).
        y: (1 + R, G), the whole table first.
        span: the least and the greatest x that was measured.
    """

    x: Array
    y: Array
    span: tuple[float, float]

    @property
    def reached(self) -> tuple[float, float]:
        """The log-losses at the ends of what was measured, the least first."""
        high, low = np.interp(self.span, self.x, self.y[0])
        return float(low), float(high)

    def needed(self, losses: Array) -> Array:
        """The x at which each of some log-losses (P,) is reached, (1 + R, P); NaN where a curve nowhere has it."""
        found = np.full((len(self.y), len(losses)), np.nan)
        for row, curve in enumerate(self.y):
            if np.isfinite(curve).all():
                found[row] = np.interp(losses, curve[::-1], self.x[::-1], left=np.nan, right=np.nan)
        return found


def by_law(runs: Runs, found: Refits) -> Frontier:
    """The least loss at each budget, by `L(N, D)`."""
    sizes, where = np.unique(runs.n, return_inverse=True)
    factors = np.log(runs.flops / (runs.n * runs.d))
    each = [float(np.median(factors[where.reshape(-1) == place])) for place in range(len(sizes))]
    x, span = _axis(np.log(runs.flops))
    log_n = np.linspace(np.log(sizes[0]), np.log(sizes[-1]), _SIZES)
    factor = np.interp(log_n, np.log(sizes), each)
    log_d = x[:, None] - log_n - factor  # (G, sizes)
    logs = np.stack([np.broadcast_to(log_n, log_d.shape).ravel(), log_d.ravel()])
    theta = np.vstack([found.theta, found.refits])
    # some resamples at a time: all of them would take as much memory as the fit itself
    least = [
        found.law.predict(part, logs).reshape(len(part), len(x), _SIZES).min(axis=2)
        for part in np.array_split(theta, max(1, len(theta) // 200))
    ]
    return Frontier(x, np.vstack(least), span)


def by_envelope(front: Envelope, floor: bool) -> Frontier:
    """The least loss at each budget, by the power law of the best of each."""
    x, span = _axis(np.log(front.flops))
    law, theta = fitted(front, floor)
    return Frontier(x, law.predict(theta, x[None]), span)


def of_size(runs: Runs, found: Refits, n: float) -> Frontier:
    """The loss of one size against images, by `L(N, D)`, over the images that the budgets buy at it."""
    factor = float(np.median(runs.flops / (runs.n * runs.d)))
    x, span = _axis(np.log(runs.flops / (factor * n)))
    logs = np.stack([np.full(len(x), np.log(n)), x])
    return Frontier(x, found.law.predict(np.vstack([found.theta, found.refits]), logs), span)


def _axis(measured: Array) -> tuple[Array, tuple[float, float]]:
    low, high = float(measured.min()), float(measured.max())
    return np.linspace(low - np.log(_BEYOND), high + np.log(_BEYOND), _POINTS), (low, high)
