"""Which runs of several groups stand in one cell of the design: of one size, budget and seed.

A size is known by the name that a results table has for it, or else by its rank in its group, since two families seldom
have the same parameters. Runs of one cell are drawn together by the bootstrap, so that what a seed or a budget does to
all families alike drops out of their differences; where groups share no cell they are drawn apart. Cells are numbered
by what they are, so that what compares groups has the same intervals in whatever order a table has its runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pdebench.stats.power_sum import Array
from pdebench.stats.runs import Runs, budgets

Key = tuple[str | int, int, str, int]  # its size, budget and seed, and which of several with the same ones it is


def paired(groups: Sequence[Runs]) -> list[Runs]:
    """The groups, each run with its cell among those of all."""
    if not groups:
        return []
    last = [_last_rows(one.run, one.d) for one in groups]
    flops = [one.flops[rows] for one, rows in zip(groups, last, strict=True)]
    every = budgets(np.concatenate(flops))
    ends = np.cumsum([len(one) for one in flops])[:-1]
    named = all(one.labels.size for one in groups if one.count)
    keys = [_keys(one, rows, own, named) for one, rows, own in zip(groups, last, np.split(every, ends), strict=True)]
    place = {key: number for number, key in enumerate(sorted({key for own in keys for key in own}))}
    return [
        replace(one, cell=np.array([place[key] for key in own], dtype=np.int64), cells=len(place))
        for one, own in zip(groups, keys, strict=True)
    ]


def _keys(one: Runs, rows: NDArray[np.int64], budget: NDArray[np.int64], named: bool) -> list[Key]:
    """Of each run."""
    sizes = one.labels.size if named else np.unique(one.n, return_inverse=True)[1].reshape(-1).tolist()
    seeds = one.labels.seed or [""] * len(one.n)
    before: Counter[tuple[str | int, int, str]] = Counter()
    found: list[Key] = []
    for row, at in zip(rows.tolist(), budget.tolist(), strict=True):
        key = (sizes[row], at, seeds[row])
        found.append((*key, before[key]))
        before[key] += 1
    return found


def _last_rows(run: NDArray[np.int64], d: Array) -> NDArray[np.int64]:
    """The row of each run in which it has seen the most, (runs,)."""
    order = np.lexsort((d, run))
    return np.asarray(order[np.flatnonzero(np.diff(run[order], append=-1))], dtype=np.int64)
