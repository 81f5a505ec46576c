"""`pdebench baseline save` and `pdebench regress SUITE --baseline FILE`: this revision against what was stored.

Days lie between the two, so nothing cancels by itself. Each round runs the two probes and then every cell once; a time
is judged less the probes' of its own day, once by either probe, and something is said only where both say it: of what
a slower day explains, no cell is accused. What a machine does to a process and to neither probe stays in, so a
comparison `--against` a revision finds smaller effects, and needs no file.
"""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pdebench.data.nouns import plural
from pdebench.errors import NotComparable
from pdebench.measure.timing_stability import PROBE_SECONDS, PROBES, TimingStability, probe
from pdebench.regress import baseline as store
from pdebench.regress import gates
from pdebench.regress.baseline import Baseline, StoredCell
from pdebench.regress.forecast import CONFIRMING, DISTURBANCE
from pdebench.regress.history import levels
from pdebench.regress.metrics import UNCALIBRATED, costs, measured, same_measure
from pdebench.regress.outcome import GateFinding, GateOutcome
from pdebench.regress.revision import Revision, here
from pdebench.regress.revision_gate import SEED, make_plan
from pdebench.regress.samples import ProcessSample
from pdebench.regress.sequential_test import Say
from pdebench.stats import ranks
from pdebench.stats.ranks import Shift
from pdebench.stats.regression import Evidence, Rule, judge

FEWEST = 3  # processes of a cell behind a baseline
MOST = 30  # rounds: more tell no more than the day does

Run = Callable[[str], ProcessSample]
"""Runs a cell once, in a process of its own."""


@dataclass
class Session:
    """What one day measured.

    Attributes:
        samples: by cell.
        failures: cell to reason.
        readings: of the probes, one a round.
    """

    samples: dict[str, list[ProcessSample]] = field(default_factory=lambda: defaultdict(list))
    failures: dict[str, str] = field(default_factory=dict)
    readings: list[TimingStability] = field(default_factory=list)

    @property
    def probes(self) -> dict[str, list[float]]:
        """Of each probe the logarithms of seconds, one a round."""
        return {name: [reading.levels[name] for reading in self.readings] for name in PROBES}

    def run(self, cell: str, run: Run) -> None:
        """One process, unless the cell has failed."""
        if cell in self.failures:
            return
        sample = run(cell)
        if sample.failure is None:
            self.samples[cell].append(sample)
        else:
            self.failures[cell] = sample.failure


def rounds(
    session: Session, cells: Sequence[str], run: Run, look: Callable[[], TimingStability], *, deadline: float,
    clock: Callable[[], float], say: Say, fewest: int = FEWEST,
) -> None:  # fmt: skip
    """Rounds of a probe and every cell, `fewest` in any case, then until no further one would be in time."""
    took, count = 0.0, 0
    while count < MOST and (count < fewest or clock() + DISTURBANCE * took <= deadline):
        began = clock()
        session.readings.append(look())
        for cell in cells:
            session.run(cell, run)
        took, count = clock() - began, count + 1
        say(f"round {count}: {plural(len(cells), 'cell')}, {took:.0f} s")


def take(
    timed: Sequence[str], once: Sequence[str], run: Run, look: Callable[[], TimingStability], *, seconds: float,
    clock: Callable[[], float] = time.monotonic, say: Say = lambda text: None,
) -> Session:  # fmt: skip
    """A day's session: cells of further seeds once, the others in rounds; what first processes took is not kept."""
    session, began = Session(), clock()
    for cell in (*timed, *once):
        session.run(cell, run)
        say(f"{cell}: once, to begin with")
    if any(costs(session.samples[cell][0].values) for cell in timed if cell not in session.failures):
        rounds(session, timed, run, look, deadline=began + seconds, clock=clock, say=say)
    return session


def save(suite: Path, path: Path, *, seconds: float, say: Say = lambda text: None) -> tuple[str, Baseline]:
    """Measure HEAD and store it; gives the machine's fingerprint and what was stored.

    Raises:
        RevisionError: tracked files differ from HEAD.
        NotComparable: a cell failed: a baseline with a hole would make tomorrow's gate blind there.
    """
    store.check(path)  # what is wrong with it is said before an hour is spent
    head = here()
    keys = head.cells(suite)
    plan = make_plan(keys, keys)
    with tempfile.TemporaryDirectory(prefix="pdebench-cells-") as scratch:
        run = _runner(head, suite, keys, scratch)
        session = take(plan.timed, plan.once, run, _probe, seconds=seconds, say=lambda text: say(plan.named(text)))
    for cell, why in session.failures.items():
        raise NotComparable(f"nothing was saved, since {plan.labels[cell]} failed: {why}")
    cells = {
        cell: StoredCell(plan.labels[cell], keys[cell], [store.kept(sample.values) for sample in samples])
        for cell, samples in session.samples.items()
    }
    machine = _machine(session)
    made = Baseline(
        head.commit, store.now(), session.readings[-1].about if session.readings else machine, session.probes, cells
    )
    store.save(path, str(next(iter(keys.values()))["suite"]), machine, made)
    return machine, made


def compare(
    suite: Path, path: Path, rule: Rule, *, seconds: float, accept: Collection[str] = (), say: Say = lambda text: None
) -> GateOutcome:
    """Compare HEAD with this machine's stored baseline.

    Raises:
        RevisionError: tracked files differ from HEAD.
        ResultsError: the file is none of baselines.
        NotComparable: it has none of this machine, or no cell of the suite.
    """
    store.check(path)
    began, head = time.monotonic(), here()
    keys = head.cells(suite)
    name = str(next(iter(keys.values()))["suite"])
    machines = store.load(path, name)
    with tempfile.TemporaryDirectory(prefix="pdebench-cells-") as scratch:
        run = _runner(head, suite, keys, scratch)
        machine = _fingerprint(run, keys)
        stored = store.of_machine(machines, machine, path) if machine else next(iter(machines.values()))
        plan = make_plan({cell: one.keys for cell, one in stored.cells.items()}, keys)
        left = (1 - CONFIRMING) * seconds - (time.monotonic() - began)
        session = take(plan.timed, plan.once, run, _probe, seconds=left, say=lambda text: say(plan.named(text)))
        speeds = list(speeds_of(plan.timed, plan.labels, stored, session, rule, run, began + seconds, say=say))
    for label in plan.only_base:
        speeds.append(GateFinding("cell", label, "", "missing", "the baseline has this cell and HEAD does not"))
    found = [*_plain(plan.labels, plan.groups, stored, session, rule, accept), *speeds]
    return GateOutcome(
        suite=name,
        base={"file": str(path), "commit": stored.head, "saved_at": stored.saved_at},
        head=head.commit,
        machine=machine,
        findings=found,
        notes=[f"not compared, since the baseline has no {label}" for label in plan.only_head],
        seconds=time.monotonic() - began,
        processes=sum(map(len, session.samples.values())),
        levels=levels({plan.labels[c]: [u.values for u in session.samples[c]] for c in plan.timed}, session.readings),
    )


def _plain(
    labels: Mapping[str, str], groups: Mapping[str, Sequence[str]], stored: Baseline, session: Session, rule: Rule,
    accept: Collection[str],
) -> Iterator[GateFinding]:  # fmt: skip
    """What failed, what is missing, what must be equal, and quality."""
    for cell, label in labels.items():
        if (why := session.failures.get(cell)) is not None:
            yield GateFinding("cell", label, "", "failed", f"it failed in HEAD: {why}")
            continue
        before, after = stored.cells[cell].units, [sample.values for sample in session.samples[cell]]
        yield from gates.coverage(label, before[0], after[0])
        yield from gates.exact(label, before, after, accept)
    for group, cells in groups.items():
        whole = [cell for cell in cells if cell not in session.failures]
        base = {int(stored.cells[cell].units[0][SEED]): stored.cells[cell].units[0] for cell in whole}
        head = {int(session.samples[cell][0].values[SEED]): session.samples[cell][0].values for cell in whole}
        if len(cells) > 1:
            yield from gates.quality(group, base, head, rule)


def speeds_of(
    timed: Sequence[str], labels: Mapping[str, str], stored: Baseline, session: Session, rule: Rule, run: Run,
    deadline: float, *, look: Callable[[], TimingStability] | None = None, clock: Callable[[], float] = time.monotonic,
    say: Say = lambda text: None,
) -> Iterator[GateFinding]:  # fmt: skip
    """Every measured column, with a rerun of what is worse."""
    tests = [
        (cell, column)
        for cell in timed if cell not in session.failures
        for column in measured(session.samples[cell][0].values)
        if _series(stored, session, cell, column, "matmul") is not None
    ]  # fmt: skip
    evidence = [_seen(stored, session, *test, rule, len(tests)) for test in tests]
    judgements = judge(evidence, rule)
    worse = list(dict.fromkeys(t[0] for t, j in zip(tests, judgements, strict=True) if j.verdict == "regression"))
    again = Session()
    if worse:
        say(f"a rerun of {plural(len(worse), 'cell')}, to confirm")
        rounds(again, worse, run, look or _probe, deadline=deadline, clock=clock, say=say)
    tolerance = float(np.log1p(rule.tolerance))
    for (cell, column), seen, judgement in zip(tests, evidence, judgements, strict=True):
        confirmed = None
        if judgement.verdict == "regression" and cell not in again.failures:
            shifts = _shifts(stored, again, cell, column, first=0)
            confirmed = max(shift.p_above(tolerance) for shift in shifts) <= rule.alpha
        yield gates.speed(labels[cell], column, seen, judgement, rule, confirmed=confirmed)


def _seen(stored: Baseline, session: Session, cell: str, column: str, rule: Rule, tests: int) -> Evidence:
    """One look, at the end: all of the error is its."""
    return Evidence().look(_shifts(stored, session, cell, column), 1.0, rule, tests)


def _shifts(stored: Baseline, session: Session, cell: str, column: str, first: int = 1) -> list[Shift]:
    """How far today lies above the stored day, as either probe has it."""
    found = [_series(stored, session, cell, column, name, first) for name in _calibrators(column)]
    return [ranks.unpaired(before, after) for before, after in filter(None, found)]


def _series(
    stored: Baseline, session: Session, cell: str, column: str, name: str, first: int = 1
) -> tuple[np.ndarray, np.ndarray] | None:
    """Logarithms of cost less a probe's median of the same day, stored and today; None where there are none.

    `first` is the first process of today that counts; of the stored ones the first never does.
    """
    before = [found[column] for sample in stored.cells[cell].units[1:] if column in (found := costs(sample))]
    after = [found[column] for sample in session.samples[cell][first:] if column in (found := costs(sample.values))]
    if (
        not before
        or not after
        or not same_measure(column, stored.cells[cell].units[0], session.samples[cell][0].values)
    ):
        return None
    day = [float(np.median(side[name])) if name in side else 0.0 for side in (stored.probes, session.probes)]
    return np.array(before) - day[0], np.array(after) - day[1]


def _calibrators(column: str) -> Sequence[str]:
    """What a column is calibrated by: memory does not depend on how fast a machine is."""
    return ("",) if column in UNCALIBRATED else PROBES


def _runner(head: Revision, suite: Path, keys: Mapping[str, Mapping[str, Any]], scratch: str) -> Run:
    return lambda cell: head.run(suite, cell, keys[cell], Path(scratch))


def _probe() -> TimingStability:
    return probe(PROBE_SECONDS)


def _fingerprint(run: Run, cells: Mapping[str, Any]) -> str:
    """This machine's, by the first cell that gets so far; empty where none does, which is then said cell by cell."""
    for cell in cells:
        sample = run(cell)
        if "machine_fingerprint" in sample.values:
            return str(sample.values["machine_fingerprint"])
    return ""


def _machine(session: Session) -> str:
    return next(str(sample.values["machine_fingerprint"]) for samples in session.samples.values() for sample in samples)
