"""`pdebench regress SUITE --against REV`: two revisions on this machine, now."""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pdebench.errors import NotComparable
from pdebench.measure.timing_stability import PROBE_SECONDS, probe
from pdebench.regress import gates
from pdebench.regress.history import levels
from pdebench.regress.outcome import GateFinding, GateOutcome
from pdebench.regress.revision import Revision, side_by_side
from pdebench.regress.samples import CellSamples, ProcessSample, Side
from pdebench.regress.sequential_test import Say, SequentialTest, confirmed, run_sequential_test, samples_of
from pdebench.stats.regression import Rule

SEED = "train.seed"


@dataclass(frozen=True)
class RevisionPlan:
    """What is compared.

    Attributes:
        labels: of the cells that both sides have, by identity: what tells them apart.
        groups: cells that differ only in their seed, by the label of the group; the first of each is timed.
        only_base: labels of cells that the head no longer has.
        only_head: of cells that the base did not have yet.
    """

    labels: Mapping[str, str]
    groups: Mapping[str, Sequence[str]]
    only_base: Sequence[str]
    only_head: Sequence[str]

    @property
    def timed(self) -> list[str]:
        """The cells to time: seeds do not change how long a thing takes."""
        return [cells[0] for cells in self.groups.values()]

    @property
    def once(self) -> list[str]:
        """The others."""
        return [cell for cells in self.groups.values() for cell in cells[1:]]

    def named(self, text: str) -> str:
        """A line of progress, with the label of the cell in place of its identity."""
        cell, colon, rest = text.partition(":")
        return f"{self.labels.get(cell, cell)}{colon}{rest}"


def compare(
    suite: Path, against: str, rule: Rule, *, seconds: float, accept: Collection[str] = (), for_history: bool = False,
    say: Say = lambda text: None,
) -> GateOutcome:  # fmt: skip
    """Compare HEAD with a revision.

    Args:
        suite: a suite's file; each revision makes its own cells of it.
        against: the revision, as git names it.
        rule: what is looked for.
        seconds: to spend.
        accept: columns of deterministic quantities that may change.
        for_history: run the probes too, so that the outcome has levels.
        say: told how it goes.

    Raises:
        RevisionError: a revision cannot be had, or the working tree is dirty.
        NotComparable: the two have no cell in common, or run on what counts as two machines.
    """
    began = time.monotonic()
    say(f"checking out {against} and HEAD")
    with side_by_side(against) as (base, head), tempfile.TemporaryDirectory(prefix="pdebench-cells-") as scratch:
        sides: dict[Side, Revision] = {"base": base, "head": head}
        keys = {side: revision.cells(suite) for side, revision in sides.items()}
        plan = make_plan(keys["base"], keys["head"])

        def measure(side: Side, cell: str) -> ProcessSample:
            return sides[side].run(suite, cell, keys[side][cell], Path(scratch) / side)

        readings = [probe(PROBE_SECONDS)] if for_history else []
        left = seconds - (time.monotonic() - began)
        measured = run_sequential_test(
            plan.timed, plan.once, measure, rule, seconds=left, seed=time.time_ns(),
            say=lambda text: say(plan.named(text)),
        )  # fmt: skip
        readings += [probe(PROBE_SECONDS)] if for_history else []
        name = next(iter(keys["head"].values()))["suite"]
    findings = list(findings_of(plan, measured, rule, accept))
    return GateOutcome(
        suite=str(name),
        base={"revision": against, "commit": base.commit},
        head=head.commit,
        machine=machine_of(measured),
        findings=findings,
        notes=list(_notes(measured, plan)),
        seconds=time.monotonic() - began,
        processes=samples_of(measured.cells.values()),
        levels=levels({plan.labels[cell]: _values(measured.cells[cell], "head") for cell in plan.timed}, readings),
    )


def make_plan(base: Mapping[str, Mapping[str, Any]], head: Mapping[str, Mapping[str, Any]]) -> RevisionPlan:
    """Match the cells of two sides by identity.

    Raises:
        NotComparable: they have none in common.
    """
    named = _labels({**base, **head})
    shared = [cell for cell in head if cell in base]
    if not shared:
        raise NotComparable(
            f"the two revisions have no cell in common: {len(base)} in the base, {len(head)} in the head; "
            "there is nothing to compare"
        )
    groups: dict[str, list[str]] = defaultdict(list)
    for cell in shared:
        groups[repr(sorted((key, repr(value)) for key, value in head[cell].items() if key != SEED))].append(cell)
    return RevisionPlan(
        labels={cell: named[cell] for cell in shared},
        groups={_group_label(named[cells[0]], len(cells)): cells for cells in groups.values()},
        only_base=[named[cell] for cell in base if cell not in head],
        only_head=[named[cell] for cell in head if cell not in base],
    )


def _labels(cells: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The family and size, then what else differs among the cells that have it."""
    shown = ("model.family", "model.size", "model.patch")
    found: dict[str, set[str]] = defaultdict(set)
    for values in cells.values():
        for key, value in values.items():
            if key not in shown and value is not None:
                found[key].add(repr(value))
    differing = [key for key, distinct in found.items() if len(distinct) > 1]
    names = {}
    for cell, values in cells.items():
        name = f"{values.get('model.family')}-{values.get('model.size')}/{values.get('model.patch')}"
        more = [f"{key.partition('.')[2]} {values[key]}" for key in differing if values.get(key) is not None]
        names[cell] = ", ".join([name, *more])
    return names


def _group_label(label: str, cells: int) -> str:
    """Without the seed, where there are several."""
    return label if cells == 1 else ", ".join(part for part in label.split(", ") if not part.startswith("seed "))


def findings_of(
    plan: RevisionPlan, measured: SequentialTest, rule: Rule, accept: Collection[str]
) -> Iterator[GateFinding]:
    """What all gates say of what was measured, cell by cell."""
    for label in plan.only_base:
        yield GateFinding(
            "cell", label, "", "missing", "the base has this cell and the head does not: it cannot be compared"
        )
    for name, label in plan.labels.items():
        cell = measured.cells[name]
        if cell.failure is not None:
            side, why = cell.failure
            yield GateFinding("cell", label, "", "failed", f"it failed in the {side}: {why}")
            continue
        first = {side: samples[0].values for side, samples in cell.samples.items()}
        yield from gates.coverage(label, first["base"], first["head"])
        yield from gates.exact(label, _values(cell, "base"), _values(cell, "head"), accept)
    for test, judgement in zip(measured.tests, measured.judgements, strict=True):
        if measured.cells[test.cell].failure is None:
            said = None if test.confirmation is None else confirmed(test, rule)
            label = plan.labels[test.cell]
            yield gates.speed(label, test.column, test.evidence, judgement, rule, confirmed=said)
    for group, cells in plan.groups.items():
        whole = [measured.cells[name] for name in cells if measured.cells[name].failure is None]
        base, head = ({_seed(c, side): _values(c, side)[0] for c in whole} for side in ("base", "head"))
        if len(cells) > 1:
            yield from gates.quality(group, base, head, rule)


def _values(cell: CellSamples, side: Side) -> list[Mapping[str, Any]]:
    return [sample.values for sample in cell.samples[side]]


def _seed(cell: CellSamples, side: Side) -> int:
    return int(cell.samples[side][0].values[SEED])


def machine_of(measured: SequentialTest) -> str:
    """The fingerprint that all processes had.

    Raises:
        NotComparable: they had several.
    """
    found = {
        str(sample.values["machine_fingerprint"])
        for cell in measured.cells.values() for samples in cell.samples.values() for sample in samples
    }  # fmt: skip
    if len(found) > 1:
        raise NotComparable(
            f"the two revisions ran on what counts as two machines (fingerprints {', '.join(sorted(found))}): their "
            "versions of torch differ, or a device came or went"
        )
    return next(iter(found), "")


def _notes(measured: SequentialTest, plan: RevisionPlan) -> Iterator[str]:
    if plan.only_head:
        yield f"not compared, since the base does not have them: {'; '.join(plan.only_head)}"
    if not measured.tests and not any(cell.failure for cell in measured.cells.values()):
        yield "nothing is timed by this suite: only what is deterministic was compared"
    elif measured.stopped == "time":
        yield "time was up before every answer was clear; --max-minutes gives it more"
