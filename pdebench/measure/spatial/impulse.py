"""The impulse response as one signed picture, of a mixer with many channels.

A row of blocks `J(m)` (D x D for each token m) has D^2 responses. The picture shown is the one that explains most of
them: with A the matrix of all measured responses, one row a token and one column for each pair of a direction and an
input channel, it is the left singular vector of A's largest singular value s1, and its share is `s1^2 / |A|_F^2`. For
a mixer whose channels all answer alike it is their Green's function, `G(n0 - m)` over m, up to a factor.
"""

from __future__ import annotations

import torch
from torch import Tensor


def leading_response(row: Tensor) -> tuple[Tensor, float]:
    """The leading response (*grid), of unit norm and positive where it is largest, and its share of the energy.

    `row` is (B, *grid, D), as in `jacobian.py`.
    """
    grid = row.shape[1:-1]
    responses = row.detach().double().cpu().movedim(0, -2).reshape(grid.numel(), -1)
    total = responses.square().sum()
    if not total > 0:
        return torch.zeros(grid, dtype=torch.float64), 0.0
    with torch.random.fork_rng(devices=[]):  # a randomised decomposition: the same one each time
        torch.manual_seed(0)
        left, values, _ = torch.svd_lowrank(responses, q=min(6, *responses.shape), niter=6)
    leading = left[:, 0]
    leading = leading * leading[leading.abs().argmax()].sign()
    return leading.view(grid), float(values[0] ** 2 / total)
