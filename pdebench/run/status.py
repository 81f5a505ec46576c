"""How the cells of a results folder stand, from its files and SLURM's queue; and how to stop them. Imports no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from pdebench.data.nouns import plural
from pdebench.errors import ResultsError, SchedulerError, printable
from pdebench.results.kept_table import kept_table, read_kept, without_cells
from pdebench.results.lease import held_elsewhere
from pdebench.results.record import SETTLED
from pdebench.results.store import Results
from pdebench.run.slurm import jobs, scheduler
from pdebench.run.slurm.jobs import Submission
from pdebench.run.slurm.scheduler import SlurmTask
from pdebench.suite.labels import names_of
from pdebench.suite.load import load_suite
from pdebench.terminal import prose
from pdebench.terminal.text_table import TextColumn, in_columns

STYLES = {"done": "green", "running": "cyan", "starting": "cyan", "queued": "dim", "waiting": "dim"}


@dataclass(frozen=True)
class State:
    """How a cell stands.

    Attributes:
        cell: its identity.
        name: as tables show it.
        status: `waiting` (nobody is to run it yet), `queued`, `starting` (its job is on a node), `running`, `lost` (its
            job ended and left no record), `cancelled`, `damaged` (its record is none), or its record's: `done`,
            `interrupted`, `error`, ...
        detail: where it runs, why it waits, or what went wrong.
        job: its latest task, where it was submitted.
    """

    cell: str
    name: str
    status: str
    detail: str = ""
    job: str | None = None


@dataclass(frozen=True)
class Status:
    """How a results folder stands.

    Attributes:
        cells: each of its cells.
        unknown: why SLURM could not be asked, where it was to be.
        kept: that only a table was kept, in a sentence; None where the cells are there.
    """

    cells: Sequence[State]
    unknown: str | None = None
    kept: str | None = None


def status_of(folder: Path) -> Status:
    """How every cell of a folder's suite stands.

    Raises:
        ResultsError: there is no such folder, or it is damaged.
    """
    if (table := kept_table(folder)) is not None:
        return _of_table(folder, table)
    Results(folder).suite_file()
    made, unknown = jobs.submissions(folder), None
    active: Mapping[str, SlurmTask] = {}
    try:
        active = jobs.active(made)
    except SchedulerError as error:
        unknown = str(error)
    results, latest = Results(folder), {cell: one for one in made for cell in one.cells}
    plan = results.plan()
    names = _names(results, plan)
    states = [
        _state(cell, names.get(cell, cell), results, latest.get(cell), active.get(cell), unknown is None)
        for cell in plan
    ]
    return Status(states, unknown)


def _of_table(folder: Path, table: Path) -> Status:
    """How the cells stood whose table alone was kept."""
    records = {str(record["cell"]): record for record in read_kept(table).records}
    names = names_of({cell: {key: value for key, value in row.items() if "." in key} for cell, row in records.items()})
    states = [
        State(cell, names[cell], str(row["status"]), str(row.get("message") or "")) for cell, row in records.items()
    ]
    return Status(states, kept=without_cells(folder, table))


def _names(results: Results, plan: Sequence[str]) -> dict[str, str]:
    """What tells the cells apart, by their configurations as planned, or as the suite has them."""
    flat: dict[str, Mapping[str, Any]] = {}
    for identity in plan:
        if isinstance(record := _record(results, identity), dict) and "model.family" in record:
            flat[identity] = {key: value for key, value in record.items() if "." in key}
        elif (cell := results.config(identity)) is not None:
            flat[identity] = cell.flat()
    if len(flat) < len(plan):
        flat |= {cell.id: cell.flat() for cell in load_suite(results.suite_file()).cells() if cell.id in plan}
    return names_of(flat)


def _record(results: Results, cell: str) -> dict[str, Any] | str | None:
    """The record of a cell; why it is none, where it is none; None where there is none."""
    try:
        return results.record(cell)
    except ResultsError as error:
        return str(error)


def _state(
    cell: str, name: str, results: Results, submission: Submission | None, task: SlurmTask | None, asked: bool
) -> State:
    folder = results.cell(cell)
    job = None if submission is None else submission.task(cell)
    record = _record(results, cell)
    if record is None:
        with suppress(OSError):  # it is not made yet, or was removed
            list(folder.iterdir())  # a network file system then looks again for what it remembers not to be there
            record = _record(results, cell)
    if isinstance(record, str):
        return State(cell, name, "damaged", record, job)
    # a job that is to try a failed cell again leaves its record until it does
    if record is not None and record["status"] in SETTLED and (task is None or record["status"] == "done"):
        return State(cell, name, record["status"], str(record.get("message") or ""), job)
    if (holder := held_elsewhere(folder)) is not None:
        return State(cell, name, "running", f"on {holder.host}, process {holder.pid}", job)
    if task is not None:
        return State(cell, name, "queued" if task.waits else "starting", task.where, job)
    if submission is not None and asked and str((record or {}).get("finished_at", "")) < submission.submitted_at:
        assert job is not None
        word = scheduler.ended(job)
        if word == "CANCELLED":
            return State(cell, name, "cancelled", "its job was cancelled before it began", job)
        how = f"ended ({word})" if word else "is gone"
        log = jobs.log_of(results.folder, job)
        said = f"it printed {log}" if log.exists() else "it printed nothing"
        return State(cell, name, "lost", f"its job {how} and left no record; {said}", job)
    if record is not None:
        return State(cell, name, record["status"], str(record.get("message") or ""), job)
    return State(cell, name, "waiting", "" if job is None else f"submitted as {job}", job)


def print_status(console: Console, folder: Path, status: Status) -> None:
    """A line a cell, and how many there are of each."""
    job = "job" if any(state.job for state in status.cells) else ""
    columns = (TextColumn("cell", least=32), TextColumn("status"), TextColumn(job), TextColumn("", least=0))
    rows = [
        (
            (state.name, ""),
            (state.status, STYLES.get(state.status, "red")),
            (state.job or "", ""),
            (
                printable(state.detail).replace("\n", " ") if state.status in STYLES else "",
                "",
            ),  # what went wrong takes a line of its own
        )
        for state in status.cells
    ]
    console.print(in_columns(columns, rows, console.width), soft_wrap=True)
    counts = Counter(state.status for state in status.cells)

    def say(text: str) -> None:
        console.print(printable(text), soft_wrap=True, highlight=False, markup=False)

    for state in status.cells:
        if state.status not in STYLES:
            say(f"{state.status}: cell {state.cell}: {state.detail}")
    say(f"{plural(len(status.cells), 'cell')}: " + ", ".join(f"{count} {word}" for word, count in counts.items()))
    if status.kept is not None:
        prose.say(console, status.kept)
    if status.unknown is not None:
        prose.say(console, f"SLURM was not asked, so what is queued is not known: {status.unknown}")
    if counts["done"]:
        say(f"tables and report of what is done: pdebench report {folder}")


@dataclass(frozen=True)
class Cancelled:
    """What was stopped, and what was not.

    Attributes:
        jobs: number of each job, and how many of its cells waited and ran.
        elsewhere: cells that run outside of SLURM, and how to stop each.
    """

    jobs: Mapping[str, tuple[int, int]]
    elsewhere: Mapping[str, str]


def cancel(folder: Path, say: Callable[[str], None] = lambda text: None) -> Cancelled:
    """Cancel the jobs of a results folder that wait or run. Running cells save their states first.

    `say` is told whom this waits for, where it does.

    Raises:
        ResultsError: there is no such folder, or it is damaged.
        SchedulerError: SLURM does not answer, or refuses.
    """
    results = Results(folder)
    results.suite_file()
    with jobs.alone(folder, say):
        active = jobs.active(jobs.submissions(folder))
        found: dict[str, tuple[int, int]] = {}
        for task in active.values():
            waiting, running = found.get(job := task.name.partition("_")[0], (0, 0))
            found[job] = (waiting + task.waits, running + (not task.waits))
        if found:
            scheduler.cancel(found)
    elsewhere = {
        cell: f"on {holder.host}: kill -TERM {holder.pid}, or Ctrl-C where it was started"
        for cell in sorted(path.name for path in folder.glob("cells/*"))
        if cell not in active and (holder := held_elsewhere(results.cell(cell))) is not None
    }
    return Cancelled(found, elsewhere)
