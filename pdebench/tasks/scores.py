"""The columns that judge a model beside its losses: how a reader calls a score, and which way is better.

Metrics fill them, and tasks. Whoever tables, ranks, draws or gates scores asks here, and no name of a column says
anything by what it begins with. A column of another package begins with the name of its metric or task, so no package
is imported for any other column. In a table that is read where the package is not installed such a column is one of
numbers, and no score. Importing this imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from pdebench.metrics.metric import Score
from pdebench.metrics.registry import METRICS
from pdebench.registry import Registry
from pdebench.tasks.registry import TASKS

_TOLD_FIRST = (
    "fd_efficientnet_lite0", "fid", "sfid", "fd_dinov2", "kid_efficientnet_lite0", "kid", "is", "is_adm",
    "precision_recall",
)  # fmt: skip
_FILLERS: tuple[Registry[Any], ...] = (TASKS, METRICS)  # whose things have `scores`
_BUILT_IN: dict[str, Score] = {score.column: score for task in TASKS.built_in.values() for score in task.scores}
_BUILT_IN |= {
    score.column: score for name in (*_TOLD_FIRST, *METRICS.built_in) for score in METRICS.built_in[name].scores
}
_SPREADS = frozenset(score.spread for score in _BUILT_IN.values() if score.spread)


class _Scores(Mapping[str, Score]):
    """Scores by column, in the order in which they are told; those of other packages come last.

    To ask for a column imports no package but the one whose thing's name it begins with; to iterate imports all.
    """

    def __getitem__(self, column: str) -> Score:
        found = _BUILT_IN.get(column) or next((s for s in _added(column) if s.column == column), None)
        if found is None:
            raise KeyError(column)
        return found

    def __iter__(self) -> Iterator[str]:
        added = (filler for fillers in _FILLERS for filler in fillers.added().values())
        return iter((*_BUILT_IN, *(score.column for filler in added for score in filler.scores)))

    def __len__(self) -> int:
        return sum(1 for _ in self)


SCORES: Mapping[str, Score] = _Scores()


def scores_among(columns: Iterable[str]) -> list[Score]:
    """The scores that have one of these columns, in the order in which they are told."""
    present = dict.fromkeys(columns)
    added = [SCORES[column] for column in present if column not in _BUILT_IN and column in SCORES]
    return [score for column, score in _BUILT_IN.items() if column in present] + added


def is_metric(column: str) -> bool:
    """Whether a column is a score of samples, such as `fd_efficientnet_lite0`, or the spread of one."""
    if column in _BUILT_IN or column in _SPREADS:
        return True
    return any(column in score.columns for score in _added(column))


@lru_cache(maxsize=1000)  # asked of every column of thousands of records
def _added(column: str) -> tuple[Score, ...]:
    """The scores of other packages' tasks and metrics whose name the column begins with."""
    named = [
        fillers.get(name)
        for fillers in _FILLERS
        for name in fillers
        if name not in fillers.built_in and column.startswith(name)
    ]
    return tuple(score for filler in named if filler is not None for score in filler.scores)
