"""`pdebench run`: what is not done yet of a suite, then its tables and its report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pdebench.config import Cell
from pdebench.execute.local import FAILED, Watcher, pending, run_cells
from pdebench.preflight import preflight
from pdebench.record import MACHINE
from pdebench.store import Results, write_atomic, write_json, write_tables
from pdebench.suite import Suite

MakeWatcher = Callable[[Sequence[Cell], Sequence[Cell]], AbstractContextManager[Watcher]]


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        folder: the results folder.
        ran: cells run now.
        records: the record of every cell of the suite that has one, in the suite's order.
        missing: cells without a record, after an interruption.
        interrupted: the user stopped it.
    """

    folder: Path
    ran: int
    records: list[dict[str, Any]]
    missing: int
    interrupted: bool

    @property
    def failed(self) -> list[dict[str, Any]]:
        """Records of cells that did not end well."""
        return [record for record in self.records if record["status"] != "done"]

    @property
    def exit_code(self) -> int:
        """0 all done, 4 some cell failed, 130 interrupted."""
        return 130 if self.interrupted else 4 if self.failed else 0


def run_suite(suite: Suite, folder: Path, make_watcher: MakeWatcher, *, retry_failed: bool = False) -> Outcome:
    """Run what has no settled record yet and rebuild the tables and the report.

    Raises:
        PdebenchError: what can be known to fail later, before anything is trained.
    """
    cells, results = suite.cells(), Results(folder)
    with results.locked():
        todo = pending(cells, results, retry_failed=retry_failed)
        preflight(todo, folder)
        write_atomic(folder / "suite.yaml", suite.to_yaml())
        write_json(folder / "plan.json", [cell.id for cell in cells])
        before = {cell.id for cell in todo}
        interrupted = False
        if todo:
            with make_watcher(cells, [cell for cell in cells if cell.id not in before]) as watcher:
                try:
                    run_cells(todo, results, watcher)
                except KeyboardInterrupt:
                    interrupted = True
        records = [record for cell in cells if (record := results.record(cell.id)) is not None]
        if records and (todo or not (folder / "report.html").exists()):
            _publish(folder, records)
    return Outcome(folder, len(todo), records, len(cells) - len(records), interrupted)


def _publish(folder: Path, records: list[dict[str, Any]]) -> None:
    """The tables, the machine and the report of a folder."""
    latest = max(records, key=lambda record: record["finished_at"])
    write_json(folder / "machine.json", {key: latest.get(key) for key in MACHINE})
    table, curves = write_tables(folder)
    from pdebench.report import write_report

    write_report(table, curves, folder)


def failed_before(records: Sequence[dict[str, Any]]) -> int:
    """How many cells failed in a way that only `--retry failed` runs again."""
    return sum(record["status"] in FAILED for record in records)
