"""Differences with their intervals as small drawings in a table, all on one scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class WithInterval(Protocol):
    """A difference from a reference; without an interval both ends are None."""

    @property
    def mean(self) -> float: ...

    @property
    def low(self) -> float | None: ...

    @property
    def high(self) -> float | None: ...


@dataclass(frozen=True)
class Bar:
    """Where a difference, its interval and 0 lie in a drawing 100 wide."""

    zero: float
    mean: float
    low: float | None
    high: float | None


def bars(differences: Sequence[WithInterval | None]) -> list[Bar | None]:
    """One for each difference, None where there is none."""
    known = [one for one in differences if one is not None]
    ends = [0.0] + [end for one in known for end in (one.mean, one.low, one.high) if end is not None]
    low, width = min(ends), (max(ends) - min(ends)) or 1.0

    def place(value: float) -> float:
        return round(4 + 92 * (value - low) / width, 2)

    def bar(one: WithInterval) -> Bar:
        low, high = (None if end is None else place(end) for end in (one.low, one.high))
        return Bar(place(0.0), place(one.mean), low, high)

    return [None if one is None else bar(one) for one in differences]
