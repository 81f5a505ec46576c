"""Precision and recall of samples by manifolds of nearest neighbours (arXiv 1904.06991), a block at a time."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

NEIGHBOURS = 3
ROWS, COLUMNS = 1024, 4096  # of distances that stand in memory at once


def precision_and_recall(generated: Tensor, reference: Tensor, device: torch.device) -> tuple[float, float]:
    """Shares of samples that lie among reference images, and of those that lie among samples.

    A set's manifold is every ball around one of its images that reaches to its third neighbour. Features are (N, D)
    and (M, D), at least 4 of each. Distances are squared, in float64: a float32 product rounds them by as much as near
    neighbours differ.
    """
    reach_of_generated, reach_of_reference = (_reach(side, device) for side in (generated, reference))
    inside_reference = torch.zeros(len(generated), dtype=torch.bool, device=device)
    inside_generated = torch.zeros(len(reference), dtype=torch.bool, device=device)
    for rows, columns, distances in _distances(generated, reference, device):
        inside_reference[rows] |= (distances <= reach_of_reference[columns]).any(dim=1)
        inside_generated[columns] |= (distances <= reach_of_generated[rows, None]).any(dim=0)
    return inside_reference.double().mean().item(), inside_generated.double().mean().item()


def _reach(features: Tensor, device: torch.device) -> Tensor:
    """The squared distance of each row of features (N, D) from its third neighbour, (N,)."""
    nearest = torch.full((len(features), NEIGHBOURS + 1), torch.inf, dtype=torch.float64, device=device)
    for rows, _, distances in _distances(features, features, device):
        both = torch.cat([nearest[rows], distances], dim=1)
        nearest[rows] = both.topk(NEIGHBOURS + 1, largest=False).values
    return nearest[:, -1]  # the first is its distance from itself


def _distances(first: Tensor, second: Tensor, device: torch.device) -> Iterator[tuple[slice, slice, Tensor]]:
    """Blocks of the squared distances of rows of (N, D) from rows of (M, D): which rows, which columns, the block."""
    for top in range(0, len(first), ROWS):
        rows = first[top : top + ROWS].to(device, torch.float64)
        lengths = rows.square().sum(dim=1, keepdim=True)
        for left in range(0, len(second), COLUMNS):
            columns = second[left : left + COLUMNS].to(device, torch.float64)
            squared = torch.addmm(lengths + columns.square().sum(dim=1), rows, columns.T, alpha=-2)
            yield slice(top, top + len(rows)), slice(left, left + len(columns)), squared.clamp_(min=0)
