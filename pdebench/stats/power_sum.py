"""Sums of power laws fitted to log-losses: `L = [E +] A x^-alpha [+ B z^-beta]`, many data sets at once.

Every law of this package has this form: `L(N, D) = E + A N^-alpha + B D^-beta`, a loss against compute with a floor
or without. Residuals are those of `log L` under a Huber loss, as Hoffmann et al. fit it (arXiv 2203.15556, D.3). A
bootstrap refits it a thousand times, so that the fit is vectorised over resamples, which are weights of the rows.

A parameter vector `theta` holds, in logs: the floor if there is one, the coefficients of the terms, their exponents.
Regressors and losses are centred in their logs, so that a change of units changes no fit.

Where a law has few points, as one of the best run of each budget has, that Huber loss says too little: it is a sum of
absolute deviations there, whose least value many lines share. Such a law is fitted by least squares (`LEAST_SQUARES`).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

DELTA = 1e-3
"""Of the Huber loss, in units of the log-loss: Hoffmann et al.'s. A residual beyond it counts by its size."""

LEAST_SQUARES = 1.0
"""The same where every residual counts by its square: none is of a factor of e."""

EXPONENTS = (0.01, 3.0)
"""The least and the greatest exponent that a fit may take; published ones lie between .05 and 1."""

_GRID = (0.05, 0.1, 0.2, 0.3, 0.4, 0.55, 0.75, 1.0, 1.5)  # exponents to start from
_FAINT = 8.0  # a coefficient is at least exp(-8) of the losses: below, it is no longer to be seen
_ITERATIONS = 80
_NOTHING = 1e-7  # a residual, where there is no noise
_TOLERANCE = 1e-7  # of the loss, relative: far below what one resample differs from the next by


@dataclass(frozen=True)
class Fits:
    """The best parameters of each data set, and its Huber loss: (R, p) and (R,)."""

    theta: Array
    loss: Array


class PowerSum:
    """A law on the rows of a table.

    Args:
        logs: logs of the regressors, (k, n): one term each.
        floor: whether a constant is added to the terms.
        delta: of the Huber loss.
    """

    def __init__(self, logs: Array, *, floor: bool, delta: float = DELTA) -> None:
        self.logs = np.atleast_2d(np.asarray(logs, dtype=float))
        self.centre = self.logs.mean(axis=1)
        self.terms = len(self.logs)
        self.floor = floor
        self.delta = delta
        self.size = floor + 2 * self.terms
        # Runs of several seeds share a point, and what a law says there is computed once.
        points, where = np.unique(self.logs, axis=1, return_inverse=True)
        self._points, self._where = points, where.reshape(-1)
        self._share = np.eye(points.shape[1])[self._where]  # (n, m): sums rows into their points

    def predict(self, theta: Array, logs: Array | None = None) -> Array:
        """Log-losses (R, n) of parameters (R, p), on the law's own rows or on others' `logs` (k, n)."""
        if logs is not None:
            return _log_sum(self._parts(theta, np.atleast_2d(logs)))
        return _log_sum(self._parts(theta, self._points))[:, self._where]

    def exponents(self, theta: Array) -> Array:
        """(R, k)."""
        return np.asarray(np.exp(theta[..., self.floor + self.terms :]))

    def coefficients(self, theta: Array) -> Array:
        """Of regressors in their own units, not centred: (R, k)."""
        logs = theta[..., self.floor : self.floor + self.terms] + self.exponents(theta) * self.centre
        return np.asarray(np.exp(logs))

    def fit(self, y: Array, weights: Array | None = None, near: Array | None = None, starts: int = 6) -> Fits:
        """Fit log-losses, of each data set from several starts.

        The starts are the best of a grid of exponents whose coefficients are solved for (variable projection), each
        data set choosing among them by its own loss.

        Args:
            y: log-losses, (n,) for all data sets or (R, n).
            weights: of the rows of each data set, (R, n); none: one data set with all rows alike.
            near: a start for all data sets, (p,), such as the fit of the whole table.
            starts: of the grid, for each data set.
        """
        y = np.atleast_2d(y)
        weights = np.ones_like(y) if weights is None else np.atleast_2d(weights)
        y = np.broadcast_to(y, np.broadcast_shapes(y.shape, weights.shape))
        weights = np.broadcast_to(weights, y.shape)
        level = float((weights * y).sum() / weights.sum())  # one for all data sets: they are of one table
        drawn = weights.sum(axis=0)
        typical = np.where(drawn > 0, (weights * y).sum(axis=0) / np.maximum(drawn, 1e-300), level)
        grid = self._grid(typical - level)
        # (R, G): what each start would leave of each data set
        residual = typical[None] - level - self.predict(grid)
        losses = weights @ _huber(residual, self.delta).T
        order = np.argsort(losses, axis=1)[:, :starts]
        begins = [grid[order[:, rank]] for rank in range(order.shape[1])]
        if near is not None:
            shifted = near.copy()
            shifted[: self.floor + self.terms] -= level
            begins.append(np.broadcast_to(shifted, (len(y), self.size)))
        best: Fits | None = None
        for begin in begins:
            found = self._descend(begin, y - level, weights)
            if best is None:
                best = found
            else:
                better = found.loss < best.loss
                best = Fits(np.where(better[:, None], found.theta, best.theta), np.minimum(found.loss, best.loss))
        assert best is not None
        best.theta[:, : self.floor + self.terms] += level
        return best

    def _parts(self, theta: Array, logs: Array) -> Array:
        """Logs of the summands, (R, floor + k, n)."""
        theta = np.atleast_2d(theta)
        coefficients = theta[:, self.floor : self.floor + self.terms, None]
        parts = coefficients - self.exponents(theta)[:, :, None] * (logs - self.centre[:, None])[None]
        if not self.floor:
            return np.asarray(parts)
        floor = np.broadcast_to(theta[:, :1, None], (len(theta), 1, parts.shape[2]))
        return np.concatenate([floor, parts], axis=1)

    def _grid(self, y: Array) -> Array:
        """Starts (G, p): at each pair of exponents the coefficients, none negative, that leave least of `L / L - 1`."""
        from scipy.optimize import nnls  # takes as long to import as pandas

        least = float(y.min()) - _FAINT
        starts = []
        for exponents in itertools.product(_GRID, repeat=self.terms):
            columns = np.exp(-np.array(exponents)[:, None] * (self.logs - self.centre[:, None]))
            if self.floor:
                columns = np.vstack([np.ones(len(y)), columns])
            found, _ = nnls((columns * np.exp(-y)).T, np.ones(len(y)))
            starts.append([*np.maximum(np.log(np.maximum(found, 1e-300)), least), *np.log(exponents)])
        return np.array(starts)

    def _descend(self, theta: Array, y: Array, weights: Array) -> Fits:
        """Levenberg and Marquardt's descent on reweighted least squares, every data set by itself."""
        theta, damping = theta.copy(), np.full(len(theta), 1e-3)
        least = float(np.where(weights > 0, y, np.inf).min()) - _FAINT
        low = np.array([least] * (self.floor + self.terms) + [np.log(EXPONENTS[0])] * self.terms)
        high = np.array([np.inf] * (self.floor + self.terms) + [np.log(EXPONENTS[1])] * self.terms)
        residual = y - self.predict(theta)
        loss = (weights * _huber(residual, self.delta)).sum(axis=1)
        active = np.arange(len(theta))
        for _ in range(_ITERATIONS):
            now, r = theta[active], residual[active]
            pull = weights[active] / np.maximum(np.abs(r), self.delta)
            jacobian = self._jacobian(now)  # (R, m, p)
            gradient = (((pull * r) @ self._share)[:, None] @ jacobian)[:, 0]
            hessian = jacobian.transpose(0, 2, 1) @ (jacobian * (pull @ self._share)[..., None])
            diagonal = np.einsum("rpp->rp", hessian)
            scale = damping[active, None] * diagonal + 1e-12 * diagonal.max(axis=1, keepdims=True) + 1e-300
            step = np.linalg.solve(hessian + scale[:, None, :] * np.eye(self.size), gradient[..., None])[..., 0]
            trial = np.clip(now + np.clip(step, -1.0, 1.0), low, high)
            left = y[active] - self.predict(trial)
            after = (weights[active] * _huber(left, self.delta)).sum(axis=1)
            better = after <= loss[active]
            settled = better & (loss[active] - after <= _TOLERANCE * loss[active] + _NOTHING**2 / self.delta)
            chosen = active[better]
            theta[chosen], residual[chosen], loss[chosen] = trial[better], left[better], after[better]
            damping[active] = np.where(better, damping[active] / 5, damping[active] * 4)
            active = active[~settled & (damping[active] < 1e8)]
            if not len(active):
                break
        return Fits(theta, loss)

    def _jacobian(self, theta: Array) -> Array:
        """Of the log-losses at the points by the parameters, (R, m, p)."""
        parts = self._parts(theta, self._points)
        shares = np.exp(parts - _log_sum(parts)[:, None])
        slopes = -self.exponents(theta)[:, :, None] * (self._points - self.centre[:, None])[None]
        return np.concatenate([shares, shares[:, self.floor :] * slopes], axis=1).transpose(0, 2, 1)


def _log_sum(parts: Array) -> Array:
    """log of the sum of exp over axis 1, without overflow."""
    top = parts.max(axis=1)
    return np.asarray(top + np.log(np.exp(parts - top[:, None]).sum(axis=1)))


def _huber(residual: Array, delta: float) -> Array:
    """Huber's loss over delta: r^2 / (2 delta) within delta, |r| - delta / 2 beyond."""
    size = np.abs(residual)
    return np.where(size <= delta, size * size / (2 * delta), size - delta / 2)
