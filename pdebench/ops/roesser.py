"""Roesser's state space in two dimensions: what its states answer to one token, in closed form.

    x[i, j + 1] = A1 x[i, j] + A2 z[i, j]        z[i + 1, j] = A3 x[i, j] + A4 z[i, j]

x is carried along rows, z along columns. Diagonal A make each pair of an x and a z a system of its own, in which they
are numbers; here all are between 0 and 1. So that no state grows, 2-D SSM (arXiv 2306.06635, by its authors' code)
halves a sum of two states, but not where one of the two is 0, which is so along the edges of what one token reaches.
From the corner [0, 0], where x = B1 and z = B2, two edges go out,

    x[0, j] = A1^(j - 1) p    p = (A1 B1 + A2 B2) / 2        z[i, 0] = A4^(i - 1) q    q = (A3 B1 + A4 B2) / 2

and feed an interior where both sums are halved; at last the edges are taken twice. As power series in
the shifts r (to the right) and s (down), with

    1 / ((1 - A1 r / 2) (1 - A4 s / 2) - A2 A3 r s / 4)
        = sum_k [sum_i C(i, k) (A4 / 2)^(i - k) (A3 / 2)^k s^i] [sum_j C(j, k) (A1 / 2)^(j - k) (A2 / 2)^k r^j]

each state is a sum of products of a function of i and one of j: three products of small matrices are all of the grid,
and no step waits for the one before. `C(j, k) / 2^j` are probabilities and all terms are positive: nothing cancels or
grows.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from pdebench.ops.constants import kept
from pdebench.ops.precision import as_given


def impulse_responses(log_a: Tensor, b: Tensor, h: int, w: int) -> tuple[Tensor, Tensor]:
    """What x and z are on a grid of h x w tokens after a 1 at [0, 0], (..., h, w) each.

    Args:
        log_a: logarithms of A1 to A4, none positive, (4, ...): a system for each index of the rest.
        b: B1 and B2, (2, ...).
        h: rows.
        w: columns.
    """
    a1, a2, a3, a4 = (a[..., None, None] for a in log_a.exp())
    b1, b2 = b[..., None, None]
    p, q = (a1 * b1 + a2 * b2) / 2, (a3 * b1 + a4 * b2) / 2
    rank = min(h, w) - 1
    along, along_edge = _factors(log_a[0], log_a[1], w - 1, rank)
    down, down_edge = _factors(log_a[3], log_a[2], h - 1, rank)
    with as_given(log_a):
        free = down @ along.mT
        fed_by_row = down @ along_edge.mT
        fed_by_column = down_edge @ along.mT
    x = a2 * (q * (free + a4 / 2 * fed_by_column) + a3 * p / 2 * fed_by_row)
    z = a3 * (p * (free + a1 / 2 * fed_by_row) + a2 * q / 2 * fed_by_column)
    row = torch.cat((b1, 2 * p * _powers(log_a[0], w - 1).unsqueeze(-2)), -1)
    column = torch.cat((b2, 2 * q * _powers(log_a[3], h - 1).unsqueeze(-1)), -2)
    return torch.cat((row, F.pad(x, (1, 0))), -2), torch.cat((column, F.pad(z, (0, 0, 1, 0))), -1)


def _powers(log_a: Tensor, count: int) -> Tensor:
    """`a^n` for n = 0 ... count - 1, (..., count)."""
    return torch.exp(log_a.unsqueeze(-1) * torch.arange(count, dtype=log_a.dtype, device=log_a.device))


def _factors(log_stay: Tensor, log_turn: Tensor, count: int, rank: int) -> tuple[Tensor, Tensor]:
    """The series above along one axis, (..., count, rank), alone and after an edge has fed it.

    Alone `C(n, k) (stay / 2)^(n - k) (turn / 2)^k`. An edge feeds it with `stay^n`, one token later; summed over where,
    the powers of `stay` are the same for all, and only the probabilities add up.
    """
    stays, turns, chance, so_far = _walks(count, rank, like=log_stay)
    steps = torch.exp(log_stay[..., None, None] * stays + log_turn[..., None, None] * turns)
    return steps * chance, F.pad((steps * so_far)[..., : max(count - 1, 0), :], (0, 0, min(count, 1), 0))


@kept
def _walks(count: int, rank: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of walks of n < count steps with k < rank turns, (count, rank): n - k, k, `C(n, k) / 2^n`, its sum up to n."""
    n = torch.arange(count, dtype=torch.float64, device=device)[:, None]
    k = torch.arange(rank, dtype=torch.float64, device=device)
    stays = (n - k).clamp(min=0)
    log_chance = torch.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(stays + 1) - n * math.log(2)
    chance = torch.where(k <= n, log_chance.exp(), 0.0)
    return stays.to(dtype), k.to(dtype), chance.to(dtype), chance.cumsum(0).to(dtype)
