"""Rows that look like checkpoints of one run, in a table that does not say which run a row is of.

A law takes each row for a run that was trained for its own length. A curve has one row a checkpoint: at one size images
rise from row to row, losses only fall, and the noise of runs is not in them, so that intervals would be far too narrow.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pdebench.stats.power_sum import Array

_FEWEST = 8  # rows of a trajectory: as many budgets of one size in a row, each with less loss, are seldom
_EVEN = 0.02  # of the usual step, that one between checkpoints differs by
_SHARED = 0.06  # in log-compute, that the runs of one budget are apart
_SAME = 1e-3  # in log-images, that checkpoints at one step are apart
_MOST_BUDGETS = 20  # more are no design


def checkpoints(n: Array, d: Array, flops: Array, loss: Array, seeds: Sequence[str]) -> str:
    """A sentence on the rows that look so; empty where none do.

    Args:
        n: parameters of one group's rows.
        d: images.
        flops: of the training.
        loss: positive.
        seeds: of each row; empty where the table has none.
    """
    keys = np.stack([n, np.unique(np.array(seeds or [""] * len(n)), return_inverse=True)[1].reshape(-1)])
    of, counts = np.unique(keys, axis=1, return_inverse=True, return_counts=True)[1:]
    found, rows = 0, 0
    for own in np.split(np.argsort(of.reshape(-1), kind="stable"), np.cumsum(counts)[:-1]):
        if _one_run(d[own], loss[own]) and (_even(d[own]) or not _budgets(own, n, d, flops)):
            found, rows = found + 1, rows + len(own)
    if not found or 2 * rows < len(n):
        return ""
    many = "one size" if found == 1 else f"{found} sizes or seeds"
    return (
        f"{rows} of {len(n)} rows look like checkpoints of single runs: at {many} images rise and the loss only "
        f"falls, {rows // found} rows long; each counts as a run of its own, and intervals are far too narrow; name "
        "the column of the runs with --run, or keep the last row of each"
    )


def _one_run(d: Array, loss: Array) -> bool:
    order = np.argsort(d)
    return len(d) >= _FEWEST and bool((np.diff(d[order]) > 0).all() and (np.diff(loss[order]) < 0).all())


def _even(d: Array) -> bool:
    """Whether images go up by the same number each time, as checkpoints do and budgets do not."""
    steps = np.diff(np.sort(d))
    return bool(np.mean(np.abs(steps / np.median(steps) - 1) < _EVEN) > 0.8)


def _budgets(own: NDArray[np.int64], n: Array, d: Array, flops: Array) -> bool:
    """Whether the rows may be runs at equal budgets: with the compute of rows of other sizes, from the least on.

    Where sizes and images both go up by one factor, compute is shared by chance, and so are images.
    """
    others = n != n[own[0]]
    if not others.any() or len(own) > _MOST_BUDGETS:
        return False
    at_budgets = _shared(flops[own], flops[others], _SHARED)
    alike = np.abs(np.log([flops[own].min() / flops[others].min(), flops[own].max() / flops[others].max()])) < _SHARED
    return at_budgets and (bool(alike.all()) or not _shared(d[own], d[others], _SAME))


def _shared(own: Array, others: Array, within: float) -> bool:
    """Whether nearly all of some numbers are near one of others."""
    nearest = np.abs(np.log(own)[:, None] - np.log(others)).min(axis=1)
    return bool(np.mean(nearest < within) > 0.8)
