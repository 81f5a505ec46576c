"""A sequential test: processes of two revisions in turns until the answer is clear or time is up, then reruns.

A fifth of the time is kept for the rerun. Where nothing failed by then it goes to the tests that are not clear yet, but
for the shortest rerun of what a last look may find: of the study's nights of ten minutes, in which nothing changed, two
thirds pass so, and one quarter did without.

A block is A B B A or B A A B, as a coin decides, of one cell: what drifts over a block cancels in its two pairs, what
it costs to go first falls on either side alike, and the coin makes a pair of two revisions that do not differ as likely
to favour one as the other, whatever the noise. Cells take turns block by block, so that an hour of noise falls on all
of them. What a cell's first processes measure of time is not used: they compile bytecode, decode data, fill caches.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from pdebench.data.nouns import plural
from pdebench.regress.forecast import CONFIRM_BLOCKS, CONFIRMING, DISTURBANCE, Forecast
from pdebench.regress.metrics import costs, same_measure, words
from pdebench.regress.outcome import percent, share
from pdebench.regress.samples import ABBA, BAAB, CellSamples, Measure, Side, Test
from pdebench.stats import ranks
from pdebench.stats.regression import LAST, LATE, Judgement, Rule, judge, looks

Say = Callable[[str], None]


@dataclass
class SequentialTest:
    """What was measured, and what it means.

    Attributes:
        cells: by name, in the order of measuring.
        tests: measured columns of cells, with their evidence.
        judgements: of the tests, in their order.
        stopped: `clear`: every test had its answer; `time`: it was up.
        seconds: how long it took.
    """

    cells: dict[str, CellSamples]
    tests: list[Test] = field(default_factory=list)
    judgements: list[Judgement] = field(default_factory=list)
    stopped: str = "clear"
    seconds: float = 0.0


def run_sequential_test(
    timed: Sequence[str],
    once: Sequence[str],
    measure: Measure,
    rule: Rule,
    *,
    seconds: float,
    seed: int = 0,
    clock: Callable[[], float] = time.monotonic,
    say: Say = lambda text: None,
) -> SequentialTest:
    """Compare head with base.

    Args:
        timed: cells to measure until the answer is clear.
        once: cells that each side runs once, for what is deterministic and for quality.
        measure: runs a cell.
        rule: what is looked for.
        seconds: to spend; a process that runs is not cut short, and something that failed is rerun in any case.
        seed: of the order within blocks.
        clock: seconds that pass; a replay has its own.
        say: told how it goes; first what the time can show.

    Raises:
        PdebenchError: not one pair fits into the time.
    """
    began = clock()
    measured = SequentialTest({name: CellSamples(name) for name in (*timed, *once)})
    random = np.random.default_rng(seed)
    told = False
    for place, cell in enumerate(measured.cells.values(), 1):
        say(f"{cell.name}: once on either side, {place} of {len(measured.cells)}")
        for side in ("base", "head"):
            cell.run(measure, side)
        last = place == len(measured.cells)
        seen = _forecast(measured, timed, seconds, clock() - began)
        if seen is None:
            continue
        # first processes are slow, and others may be quicker: half of it decides until all are known
        if not (seen if last else _forecast(measured, timed, seconds, clock() - began, 0.5) or seen).fits:
            raise seen.too_short(rule)
        if last or not told:
            say(seen.sentence(rule))
        told = True
    ran = [measured.cells[name] for name in timed if measured.cells[name].failure is None]
    measured.tests = [Test(cell.name, column) for cell in ran for column in _columns(cell)]
    if measured.tests:
        end = began + seconds
        rerun = CONFIRM_BLOCKS[0] * max(cell.seconds for cell in ran)  # the shortest
        race = _Race(measured, ran, measure, rule, random, clock, say, end - rerun)
        race.run(end - CONFIRMING * seconds)
        race.look(LATE)
        if not race.found():  # nothing to confirm: its time is the race's, but for a rerun of what the last look finds
            race.run(end - rerun)
            race.look(LAST)
        measured.stopped = "time" if race.open else "clear"
        measured.tests = [test for test in measured.tests if measured.cells[test.cell].failure is None]
        measured.judgements = judge([test.evidence for test in measured.tests], rule)
        _confirm(measured, measure, rule, random, end, clock, say)
    measured.seconds = clock() - began
    return measured


def _forecast(
    measured: SequentialTest, timed: Sequence[str], seconds: float, spent: float, factor: float = 1.0
) -> Forecast | None:
    """How far the time goes, by the cells that ran; those to come take `factor` of what these took on average.

    None where nothing is timed, so far.
    """
    whole = [cell for cell in measured.cells.values() if cell.failure is None and all(cell.samples.values())]
    to_come = [cell for cell in measured.cells.values() if cell.failure is None and not all(cell.samples.values())]
    known = {cell.name: _columns(cell) for cell in whole if cell.name in timed}
    if not any(known.values()):
        return None
    mean = factor * float(np.mean([measured.cells[name].seconds for name in known]))
    coming = [cell.name for cell in to_come if cell.name in timed]
    blocks = [factor * measured.cells[name].seconds for name, columns in known.items() if columns]
    tests = sum(map(len, known.values())) * (len(known) + len(coming)) // len(known)
    return Forecast(seconds, spent + len(to_come) * mean / 2, [*blocks, *(mean for _ in coming)], tests)


def _columns(cell: CellSamples) -> list[str]:
    """The measured columns that both sides have, measured alike."""
    base, head = (samples[0].values for samples in cell.samples.values())
    other = costs(head)
    return [column for column in costs(base) if column in other and same_measure(column, base, head)]


class _Race:
    """Blocks of all cells in turn, each until its tests are clear."""

    def __init__(
        self, measured: SequentialTest, cells: Sequence[CellSamples], measure: Measure, rule: Rule,
        random: np.random.Generator, clock: Callable[[], float], say: Say, end: float,
    ) -> None:  # fmt: skip
        self.measured, self.measure, self.rule, self.random, self.clock, self.say = (
            measured, measure, rule, random, clock, say,
        )  # fmt: skip
        self.open, self.end = list(cells), end
        self.cells, self.count = len(cells), len(measured.tests)
        round_seconds = sum(cell.seconds for cell in cells)
        self.shares = looks(2 * int((end - clock()) / round_seconds))

    def run(self, deadline: float) -> None:
        """Until every test is clear, or no further block would be in time."""
        while self.open:
            for cell in list(self.open):
                if self.clock() + DISTURBANCE * cell.seconds > deadline:
                    return
                for column, pairs in cell.block(self.measure, _order(self.random)).items():
                    cell.differences[column] += pairs
                if cell.failure is not None:
                    self.open.remove(cell)
                    continue
                blocks = _pairs(cell)
                if blocks in self.shares:
                    self._look(cell, self.shares[blocks])
                left = max(0.0, self.end - self.clock())
                self.say(
                    f"{cell.name}: {plural(blocks, 'pair')}, {_so_far(cell, self.rule)}; {len(self.open)} of "
                    f"{plural(self.cells, 'cell')} not clear yet; {left / 60:.1f} minutes left"
                )

    def look(self, share: float) -> None:
        """A look at all that is not clear yet."""
        for cell in list(self.open):
            self._look(cell, share)

    def found(self) -> bool:
        """Whether there is a regression as things stand."""
        verdicts = judge([test.evidence for test in self.measured.tests], self.rule)
        return any(one.verdict == "regression" for one in verdicts)

    def _look(self, cell: CellSamples, share: float) -> None:
        tests = [test for test in self.measured.tests if test.cell == cell.name and cell.differences[test.column]]
        for test in tests:
            shift = ranks.paired(cell.differences[test.column])
            test.evidence = test.evidence.look([shift], share, self.rule, self.count)
        if tests and all(test.evidence.clear(self.rule, self.count) for test in tests):
            self.open.remove(cell)


def _confirm(
    measured: SequentialTest, measure: Measure, rule: Rule, random: np.random.Generator, deadline: float,
    clock: Callable[[], float], say: Say,
) -> None:  # fmt: skip
    """Measure again, afresh, the cells with a regression, the clearest first, as far as time goes."""
    worse = [
        t for t, verdict in zip(measured.tests, measured.judgements, strict=True) if verdict.verdict == "regression"
    ]
    worse.sort(key=lambda test: test.evidence.p_worse)
    names = list(dict.fromkeys(test.cell for test in worse))
    for place, name in enumerate(names):
        cell = measured.cells[name]
        fewest, most = CONFIRM_BLOCKS
        share = (deadline - clock()) / (len(names) - place)
        blocks = min(most, int(share / cell.seconds))
        if blocks < fewest and place > 0:
            continue
        say(f"{name}: a rerun, to confirm")
        fresh: dict[str, list[float]] = {}
        for _ in range(max(fewest, blocks)):
            for column, pairs in cell.block(measure, _order(random)).items():
                fresh.setdefault(column, []).extend(pairs)
        for test in worse:
            if test.cell == name and fresh.get(test.column) and cell.failure is None:
                test.confirmation = ranks.paired(fresh[test.column]).p_above(float(np.log1p(rule.tolerance)))


def _so_far(cell: CellSamples, rule: Rule) -> str:
    """The column that costs most more, with bounds that hold of this look alone."""
    shifts = {column: ranks.paired(found) for column, found in cell.differences.items() if found}
    column, shift = max(shifts.items(), key=lambda one: one[1].estimate)
    low, high = (percent(share(bound)) for bound in (shift.lower(rule.alpha), shift.upper(rule.alpha)))
    bounds = "no bounds yet" if "—" in (low, high) else f"{low} to {high}"
    return f"{words(column)} {percent(share(shift.estimate))} ({bounds})"


def _pairs(cell: CellSamples) -> int:
    return max(map(len, cell.differences.values()), default=0)


def _order(random: np.random.Generator) -> Sequence[Side]:
    return ABBA if random.random() < 0.5 else BAAB


def confirmed(test: Test, rule: Rule) -> bool:
    """Whether the rerun says the same."""
    return test.confirmation is not None and test.confirmation <= rule.alpha


def samples_of(cells: Iterable[CellSamples]) -> int:
    """How many processes ran."""
    return sum(len(samples) for cell in cells for samples in cell.samples.values())
