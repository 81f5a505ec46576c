"""`pdebench run --executor slurm`: what is not done yet of a suite as jobs, and the outcome once they are over."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pdebench.errors import SchedulerError
from pdebench.files.yaml_source import read_file
from pdebench.results import tracking
from pdebench.results.lease import held_elsewhere
from pdebench.results.store import Results, write_atomic
from pdebench.run.limits import CellLimits
from pdebench.run.local.executor import pending
from pdebench.run.preflight import preflight
from pdebench.run.slurm import job_arrays, jobs
from pdebench.run.slurm.jobs import Submission
from pdebench.run.status import Status, status_of
from pdebench.run.sweep import RunOutcome, outcome, settle
from pdebench.suite.config import Cell, ExecutionConfig, SlurmConfig
from pdebench.suite.load import Suite
from pdebench.suite.measured_sizes import not_measured
from pdebench.suite.precision import precision_on_slurm
from pdebench.suite.validation import check_profile

TO_COME = ("queued", "starting", "running")
SOONEST, LATEST = 1.0, 30.0  # seconds between looks at the queue: often at first, then out of the controller's way


@dataclass(frozen=True)
class Submitted:
    """What a submission did.

    Attributes:
        folder: the results folder.
        arrays: the job arrays that were made.
        under_way: cells that are queued or running already, and were not submitted again.
        left: cells that are not settled.
        cells: of the suite, as they run there.
    """

    folder: Path
    arrays: Sequence[Submission]
    under_way: Sequence[str]
    left: int
    cells: Sequence[Cell]


def submit_suite(
    suite: Suite,
    folder: Path,
    *,
    profile: Path | None = None,
    workers: int | None = None,
    retry_failed: bool = False,
    trackers: Sequence[str] = (),
    say: Callable[[str], None] = lambda text: None,
) -> Submitted:
    """Submit what has no settled record yet and is not under way; `say` is told what lies in the folder.

    Raises:
        SchedulerError: its sizes are to be measured first, where its cells will run.
        PdebenchError: what can be known to fail later; nothing is submitted then.
    """
    if suite.unmeasured:
        raise SchedulerError(
            f"{not_measured(suite.unmeasured)}, and SLURM has not said yet on which node cells run: first run "
            f"`pdebench run SUITE --only-match --results {folder}` in a job on such a node, all of which "
            "have to be alike"
        )
    job_arrays.require()
    job_arrays.require_path(folder)
    tracking.check(trackers)
    config = resources(suite.execution, profile)
    results = Results(folder)
    cells = settle(suite, results, precision_on_slurm(config.gres), say)
    with jobs.alone(folder, say):
        active = jobs.active(jobs.submissions(folder))
        shared = suite.execution.timing == "shared"
        todo = pending(cells, results, retry_failed=retry_failed, timed=not shared)
        preflight(todo, folder)
        under_way = {cell.id for cell in todo if cell.id in active or held_elsewhere(results.cell(cell.id))}
        new = [cell for cell in todo if cell.id not in under_way]
        for cell in new:  # what a worker reads
            results.cell(cell.id).mkdir(parents=True, exist_ok=True)
            write_atomic(results.cell(cell.id) / "config.yaml", cell.to_yaml())
        limits = replace(CellLimits.of(suite.limits, suite.execution, trackers), shared=shared)
        arrays = job_arrays.submit(new, folder, config, limits=limits, at_once=workers, retry_failed=retry_failed)
    return Submitted(folder, arrays, sorted(under_way), len(todo), cells)


def resources(execution: ExecutionConfig, profile: Path | None) -> SlurmConfig:
    """What a cell asks of SLURM: what the suite says, and over it what a profile does.

    Raises:
        SuiteError: the profile has an unknown key or a wrong value; names the file and the line.
    """
    asked: dict[str, Any] = execution.slurm.model_dump(exclude_unset=True) if execution.slurm else {}
    if profile is not None:
        source = read_file(profile)
        check_profile(source)
        asked |= source.data
    return SlurmConfig(**asked)


def finish(cells: Sequence[Cell], folder: Path, say: Callable[[str], None] = lambda text: None) -> RunOutcome:
    """Sleep until no job of a suite's cells waits or runs, then give their outcome, with tables and report.

    A KeyboardInterrupt ends the waiting, not the jobs. `say` is told what is waited for, whenever that changes.
    """
    pause, told = SOONEST, ""
    try:
        while _under_way(status := status_of(folder)):
            if (waits := _waits(status)) != told:
                told = waits
                say(f"waiting: {waits}")
            time.sleep(pause)
            pause = min(1.25 * pause, LATEST)
    except KeyboardInterrupt:
        return outcome(cells, Results(folder), ran=len(cells), interrupted=True)
    lost = {
        state.cell: state.detail
        for state in status.cells
        if state.status in ("lost", "cancelled", "interrupted", "waiting")
    }
    return outcome(cells, Results(folder), ran=len(cells), lost=lost)


def _under_way(status: Status) -> bool:
    """Whether something is still to come; a controller that does not answer may be back soon."""
    return status.unknown is not None or any(state.status in TO_COME for state in status.cells)


def _waits(status: Status) -> str:
    """What is still to come."""
    counts = Counter(state.status for state in status.cells if state.status in TO_COME)
    cells = ", ".join(f"{counts[word]} {word}" for word in TO_COME if counts[word])
    asked = "" if status.unknown is None else f"SLURM is asked again: {status.unknown}"
    return "; ".join(filter(None, (cells and f"for cells: {cells}", asked)))
