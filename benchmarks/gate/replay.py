"""Virtual nights: the gate as it is, on blocks of the record in place of processes, and on a clock that they move."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.gate.record import FAMILIES, Block
from benchmarks.gate.slowdown import FAMILY
from pdebench.regress.metrics import costs
from pdebench.regress.samples import ProcessSample, Side
from pdebench.regress.sequential_test import SequentialTest, confirmed, run_sequential_test
from pdebench.stats.regression import Rule

RUN = 6  # blocks of a cell that are drawn as neighbours, before another place in the record is


@dataclass
class _Supply:
    """Blocks of one cell of one kind, whole, in runs of neighbours."""

    blocks: Sequence[Block]
    chance: random.Random
    at: int = 0
    left: int = 0
    open: list[ProcessSample] = field(default_factory=list)

    def next(self, first: Side) -> ProcessSample:
        """The next process of a block that begins with that side, or of the one that has begun."""
        if not self.open:
            if not self.left:
                self.at, self.left = self.chance.randrange(len(self.blocks)), RUN
            fitting = [i for i in range(len(self.blocks)) if self._nth(i).order[0] == first]
            step = fitting[0] if fitting else 0
            self.open = list(self._nth(step).units)
            self.at, self.left = self.at + step + 1, self.left - 1
        return self.open.pop(0)

    def _nth(self, offset: int) -> Block:
        return self.blocks[(self.at + offset) % len(self.blocks)]


class _Record:
    """A `Measure` that draws from a record."""

    def __init__(self, blocks: Sequence[Block], kind: str, seed: int) -> None:
        chance = random.Random(seed)
        self.now = 0.0
        self.supplies = {
            family: _Supply([b for b in blocks if b.family == family and b.kind == kind_of], chance)
            for family in FAMILIES
            if (kind_of := kind if family == FAMILY else "same")
        }
        self.begun: set[tuple[Side, str]] = set()

    def clock(self) -> float:
        """Seconds that the processes so far took."""
        return self.now

    def measure(self, side: Side, family: str) -> ProcessSample:
        """One process; the first of a side, which is not timed, is any."""
        supply = self.supplies[family]
        if (side, family) not in self.begun:
            self.begun.add((side, family))
            unit = supply.blocks[0].units[0]
        else:
            unit = supply.next(side)
        self.now += unit.seconds
        return unit


def replay(blocks: Sequence[Block], kind: str, seed: int, minutes: float, rule: Rule) -> SequentialTest:
    """One night."""
    drawn = _Record(blocks, kind, seed)
    return run_sequential_test(FAMILIES, (), drawn.measure, rule, seconds=60 * minutes, seed=seed, clock=drawn.clock)


@dataclass(frozen=True)
class Result:
    """What nights of one kind came to; of a slowed family its cell counts, of `same` all three."""

    kind: str
    nights: int
    alarms: int
    unconfirmed: int
    passed: int
    elsewhere: int
    minutes: float
    smallest: float
    true: float

    @property
    def inconclusive(self) -> int:
        """Neither."""
        return self.nights - self.alarms - self.passed


def summarise(kind: str, nights: Sequence[SequentialTest], blocks: Sequence[Block], rule: Rule) -> Result:
    """Count what nights said.

    `true` is the slowdown in the whole record: the median of its paired differences.
    """
    alarms = unconfirmed = passed = elsewhere = 0
    smallest = []
    for night in nights:
        verdicts = {test.cell: judgement.verdict for test, judgement in zip(night.tests, night.judgements, strict=True)}
        bad = {test.cell for test in night.tests if verdicts[test.cell] == "regression" and confirmed(test, rule)}
        first = {test.cell for test in night.tests if verdicts[test.cell] == "regression"}
        about = set(FAMILIES) if kind == "same" else {FAMILY}
        alarms += bool(bad & about)
        unconfirmed += bool((first - bad) & about)
        elsewhere += bool(bad - about)
        passed += not bad & about and all(verdicts.get(cell) == "pass" for cell in about)
        smallest += [test.evidence.smallest for test in night.tests if test.cell == FAMILY]
    pairs = [
        sign * (costs(block.units[b].values)["block_ms_median"] - costs(block.units[a].values)["block_ms_median"])
        for block in blocks if block.kind == kind and block.family == FAMILY
        for a, b in ((0, 1), (3, 2)) for sign in (1 if block.order[0] == "base" else -1,)
    ]  # fmt: skip
    minutes = float(np.median([night.seconds for night in nights])) / 60
    true = float(np.expm1(np.median(pairs))) if pairs else float("nan")
    return Result(kind, len(nights), alarms, unconfirmed, passed, elsewhere, minutes, _share(smallest), true)


def _share(smallest: Sequence[float]) -> float:
    return float(np.expm1(np.median(smallest))) if smallest else float("inf")
