"""One process is one sample; a sequential test makes pairs, blocks and tests of many."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pdebench.regress.metrics import costs
from pdebench.stats.regression import Evidence

Side = Literal["base", "head"]
ABBA: tuple[Side, ...] = ("base", "head", "head", "base")
BAAB: tuple[Side, ...] = ("head", "base", "base", "head")


@dataclass(frozen=True)
class ProcessSample:
    """One fresh process of one cell on one side.

    Attributes:
        values: the columns of its record; medians within the process, where it timed something.
        seconds: wall-clock, all of it.
        failure: why there are no values; None where it was done.
    """

    values: Mapping[str, Any]
    seconds: float
    failure: str | None = None


Measure = Callable[[Side, str], ProcessSample]
"""Runs a cell once, on a side, in a process of its own."""


@dataclass
class CellSamples:
    """What is known of one cell of a sequential test.

    Attributes:
        name: as `Measure` takes it.
        samples: every process of either side, in the order of running.
        differences: for each measured column, head over base in logarithms of cost, two a block.
        failure: side and reason of a process that did not end well; the cell is measured no more.
    """

    name: str
    samples: dict[Side, list[ProcessSample]] = field(default_factory=lambda: {"base": [], "head": []})
    differences: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    failure: tuple[Side, str] | None = None

    def run(self, measure: Measure, side: Side) -> ProcessSample | None:
        """One process more; None where it failed."""
        sample = measure(side, self.name)
        if sample.failure is not None:
            self.failure = side, sample.failure
            return None
        self.samples[side].append(sample)
        return sample

    def block(self, measure: Measure, order: Sequence[Side]) -> dict[str, list[float]]:
        """A B B A or B A A B: four processes, two pairs; the differences of each column, none where one failed."""
        found: list[ProcessSample] = []
        for side in order:
            if (sample := self.run(measure, side)) is None:
                return {}
            found.append(sample)
        sign = 1 if order[0] == "base" else -1
        cost = [costs(sample.values) for sample in found]
        shared = set.intersection(*map(set, cost))
        pairs = ((0, 1), (3, 2))
        return {column: [sign * (cost[b][column] - cost[a][column]) for a, b in pairs] for column in sorted(shared)}

    @property
    def seconds(self) -> float:
        """Of a block, by its last processes."""
        return 2 * sum(samples[-1].seconds for samples in self.samples.values() if samples)


@dataclass
class Test:
    """One measured column of one cell.

    Attributes:
        evidence: after the looks so far.
        confirmation: p-value of "worse by no more than the tolerance" on fresh pairs; None where none were taken.
    """

    cell: str
    column: str
    evidence: Evidence = field(default_factory=Evidence)
    confirmation: float | None = None
