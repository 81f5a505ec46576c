"""`pdebench run`: what is not done yet of a suite, then its tables and its report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pdebench.errors import SlotError
from pdebench.files.disk import read_plain
from pdebench.plan.cost_cache import count_ahead
from pdebench.results import tracking
from pdebench.results.adopt import adopt
from pdebench.results.changed import changed_since, edited_since, left_by
from pdebench.results.lease import Leases
from pdebench.results.record import FAILED, MACHINE
from pdebench.results.store import LARGEST, Results, as_json, write_own
from pdebench.results.tables import write_tables
from pdebench.run.limits import CellLimits
from pdebench.run.local.executor import Watcher, pending, run_cells, settles
from pdebench.run.matching.sizes import CellPlace, measure_sizes
from pdebench.run.nodes import launch
from pdebench.run.preflight import preflight, refuse_graphs
from pdebench.suite.config import Cell
from pdebench.suite.load import Suite
from pdebench.suite.precision import Precision, precision_here
from pdebench.suite.resolved import resolved
from pdebench.system.slots import Slot, gpus, slots

MakeWatcher = Callable[[Sequence[Cell], Sequence[Cell]], AbstractContextManager[Watcher]]


@dataclass(frozen=True)
class RunOutcome:
    """How a run ended.

    Attributes:
        folder: the results folder.
        cells: those of the suite that have a record, in its order.
        ran: how many were run now.
        records: the records of `cells`.
        missing: cells that are left to run, after an interruption.
        interrupted: the user stopped it.
        lost: cells whose jobs ended and left them undone, with why.
    """

    folder: Path
    cells: list[Cell]
    ran: int
    records: list[dict[str, Any]]
    missing: int
    interrupted: bool
    lost: Mapping[str, str] = field(default_factory=dict)

    @property
    def failed(self) -> list[dict[str, Any]]:
        """Records of cells that did not end well; one that was asked to end did."""
        return [record for record in self.records if record["status"] not in ("done", "interrupted")]

    @property
    def done(self) -> int:
        """How many cells are done."""
        return sum(record["status"] == "done" for record in self.records)

    @property
    def exit_code(self) -> int:
        """0 all done, 4 some cell failed, 130 interrupted."""
        return 130 if self.interrupted else 4 if self.failed or self.lost else 0


def run_suite(
    suite: Suite,
    folder: Path,
    make_watcher: MakeWatcher,
    *,
    workers: int | None = None,
    retry_failed: bool = False,
    trackers: Sequence[str] = (),
    say: Callable[[str], None] = lambda text: None,
) -> RunOutcome:
    """Run what has no settled record yet and rebuild the tables and the report.

    Several runs of one suite on one folder share the cells. `say` is told, before anything runs, what its user should
    know of what lies in the folder.

    Raises:
        PdebenchError: what can be known to fail later, before anything is trained.
    """
    tracking.check(trackers)
    results = Results(folder)
    places = places_of(suite, workers)
    limits = replace(
        CellLimits.of(suite.limits, suite.execution, trackers),
        shared=suite.execution.timing == "shared" and places[0].on_cpu,
        warm=suite.execution.isolation == "warm",
    )
    described = _described(folder)
    cells = settle(suite, results, precision_here(), say)
    changed = described != _described(folder)
    Leases(folder, lambda why: say(f"waiting: {why}")).sweep(results.cell(cell.id) for cell in cells)
    todo = pending(cells, results, retry_failed=retry_failed, timed=limits.timed)
    preflight(todo, folder)
    refuse_graphs(todo, gpu=bool(gpus()))
    before = {cell.id for cell in todo}
    interrupted = False
    if todo:
        with make_watcher(cells, [cell for cell in cells if cell.id not in before]) as watcher:
            try:
                count_ahead(todo)
                run_cells(todo, results, watcher, places, limits, retry_failed=retry_failed)
            except KeyboardInterrupt:
                interrupted = True
    return outcome(cells, results, ran=len(todo), changed=changed, interrupted=interrupted, timed=limits.timed)


def measured(
    load: Callable[[], Suite], folder: Path, *, workers: int | None = None, say: Callable[[str], None]
) -> Suite:
    """A suite whose sizes are all known: those that it wants measured and are not yet are measured now.

    Args:
        load: reads it, with the sizes that are kept in the folder.
        folder: its results folder.
        workers: as `run_suite` takes them.
        say: told what is measured.

    Raises:
        PdebenchError: as `measure_sizes`.
    """
    suite = load()
    if suite.about_sizes is None:
        return suite
    memory = suite.limits.memory_gb
    where = CellPlace(folder, places_of(suite, workers)[0], None if memory is None else int(memory * 1e9))
    return measure_sizes(load, where, say)


def places_of(suite: Suite, workers: int | None) -> list[Slot]:
    """The slots of this machine; where a cell takes several machines, one, which is the same on each.

    Raises:
        SlotError: fewer machines, GPUs or cores than the suite takes, or cells side by side that are to be timed.
    """
    places = _places(suite, workers)
    if len(places) > 1 and places[0].on_cpu and suite.execution.timing == "alone":
        raise SlotError(
            f"--workers {workers} on a CPU: cells side by side slow each other down, and this suite's are timed; set "
            "execution.timing: shared, which leaves the timings out, or run one worker"
        )
    return places


def _places(suite: Suite, workers: int | None) -> list[Slot]:
    nodes, devices = (max(getattr(cell.train, name) for cell in suite.planned()) for name in ("nodes", "devices"))
    launch.require(nodes)
    if nodes == 1:
        return slots(workers, devices)
    if (workers or 1) > 1:
        raise SlotError(f"--workers {workers}: cells of train.nodes {nodes} run one at a time; leave it out")
    return slots(1, devices)


def _described(folder: Path) -> list[bytes | None]:
    """What the tables and the report of a folder rest on beside its cells: its suite and plan."""
    found: list[bytes | None] = []
    for name in ("suite.yaml", "plan.json"):
        try:
            found.append(read_plain(folder / name, LARGEST))
        except (OSError, ValueError):
            found.append(None)
    return found


def settle(suite: Suite, results: Results, precision: Precision, say: Callable[[str], None]) -> list[Cell]:
    """The cells of a suite as they run here, planned in the results folder.

    Raises:
        PdebenchError: the data are not there, or changed under an unfinished cell; the folder cannot be written.
    """
    cells = resolved(suite.planned(), precision)
    there = results.folder.is_dir()
    earlier = results.plan() if there else []
    changes = changed_since(results, cells) if there else []
    for changed in changes:
        say(str(changed))
    results.make(suite.to_yaml(), [cell.id for cell in cells])
    adopt(cells, results, say)
    if text := left_by(results, earlier, cells, told=sum(changed.cells for changed in changes)):
        say(text)
    for text in edited_since(results, cells):
        say(text)
    results.describe(cells)
    return cells


def outcome(
    cells: Sequence[Cell],
    results: Results,
    *,
    ran: int,
    changed: bool = False,
    interrupted: bool = False,
    lost: Mapping[str, str] | None = None,
    timed: bool = False,
) -> RunOutcome:
    """How a run ended, with tables and a report that say so, where cells that `ran`, or the suite, changed them."""
    folder = results.folder
    held = [(cell, results.record(cell.id)) for cell in cells]
    recorded, records = [cell for cell, one in held if one is not None], [one for _, one in held if one is not None]
    if records and (ran or changed or _behind(results, recorded)):
        _publish(folder, records)
    left = [one or {} for _, one in held if one is None or not settles(one, timed=timed)]
    missing = sum(one.get("status") in (None, "interrupted", "done") for one in left)
    return RunOutcome(folder, recorded, ran, records, missing, interrupted, lost or {})


def _behind(results: Results, cells: Sequence[Cell]) -> bool:
    """Whether the report is older than a record, as where a run was ended while it was written."""
    try:
        written = (results.folder / "report.html").stat().st_mtime_ns
    except OSError:
        return True
    return any((results.cell(cell.id) / "record.json").stat().st_mtime_ns > written for cell in cells)


def _publish(folder: Path, records: list[dict[str, Any]]) -> None:
    """The tables, the machine and the report of a folder."""
    latest = max(records, key=lambda record: record["finished_at"])
    write_own(folder, "machine.json", as_json({key: latest.get(key) for key in MACHINE}))
    table, curves = write_tables(folder)
    from pdebench.report.html import write_report

    write_report(table, curves, folder)


def failed_before(records: Sequence[dict[str, Any]]) -> int:
    """How many cells failed in a way that only `--retry failed` runs again."""
    return sum(record["status"] in FAILED for record in records)
