"""`pdebench worker`: run one cell with what SLURM gave this job, as `pdebench run` would here. Imports no torch.

SLURM ends a job with TERM, and sends USR2 when its time limit nears. Either way the cell saves its state and ends; if
it is to go on, its task is queued again, and the cell is taken up where it was. So it is too where a node dies.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pdebench.errors import ResultsError, SchedulerError
from pdebench.files.yaml_source import read_file
from pdebench.results.record import SETTLED
from pdebench.results.store import Results, read_config
from pdebench.run.limits import CellLimits
from pdebench.run.local.executor import Watcher, pending, run_cells
from pdebench.run.matching.sizes import machine_here, refuse_elsewhere
from pdebench.run.nodes import launch
from pdebench.run.slurm import scheduler
from pdebench.suite.config import Cell
from pdebench.suite.draft import check
from pdebench.suite.measured_sizes import matched_columns, read_sizes
from pdebench.system import stop_signals
from pdebench.system.slots import Slot, available_cores, cpu_variables, slots

INTERRUPTED = 130  # exit status, as that of a run that was stopped


def read_cell(folder: Path) -> Cell:
    """The cell of a folder.

    Raises:
        ResultsError: it is not a cell's folder in a results folder.
    """
    at = folder.absolute()  # not resolved: a link would lead out of the results folder unseen
    results = Results(at.parent.parent)
    found = at.parent.name == "cells" and (results.cell(at.name) / "config.yaml").is_file()
    if not found or not (results.folder / "suite.yaml").is_file():
        raise ResultsError(f"{folder} is not a cell's folder: pass RESULTS/cells/ID of a suite that was submitted")
    cell = read_config(at)
    if cell.id != at.name:
        raise ResultsError(f"{folder}/config.yaml is of another cell, {cell.id}: run the suite again")
    return cell


def run_one(
    cell: Cell, results: Results, watcher: Watcher, limits: CellLimits | None = None, *, retry_failed: bool = False
) -> int:
    """Run a cell, unless it is settled; 0 it is done or was settled before, 4 it failed, 130 it was asked to end.

    `limits` are those of its submission; None: those that the suite has now.
    """
    asked_for = limits or _asked_for(results.folder)
    launch.require(cell.train.nodes)
    if not pending([cell], results, retry_failed=retry_failed, timed=asked_for.timed):
        return 0
    stop_signals.interrupt_once()
    saved = _saved(results.cell(cell.id))
    try:
        slot = _slot(os.environ, cell.train.devices)
        if "matched_ratio" in matched_columns(cell, results.folder):
            refuse_elsewhere(read_sizes(results.folder), machine_here(slot), results.folder)
        here = replace(asked_for, shared=asked_for.shared and slot.on_cpu)
        run_cells([cell], results, watcher, [slot], here, retry_failed=retry_failed)
    except KeyboardInterrupt:
        pass
    status = (results.record(cell.id) or {}).get("status")
    if status in SETTLED:
        return 0 if status == "done" else 4
    if stop_signals.came and (task := _task(os.environ)) is not None:
        _requeue(
            task, near_its_limit=stop_signals.came[0] == signal.SIGUSR2, moved=_saved(results.cell(cell.id)) != saved
        )
    return INTERRUPTED


def _asked_for(folder: Path) -> CellLimits:
    """What the suite says of limits and execution; its grid is not expanded."""
    draft = check(read_file(Results(folder).suite_file()))
    return replace(CellLimits.of(draft.limits, draft.execution), shared=draft.execution.timing == "shared")


def _slot(environment: Mapping[str, str], devices: int) -> Slot:
    """The one slot of this job: its GPUs, or as many threads as it has cores."""
    (slot,) = slots(1, devices)
    if not slot.on_cpu:
        return slot
    # nodes that do not bind jobs to cores show them all, and one that the job has to itself gives more than was asked
    given = environment.get("SLURM_CPUS_PER_TASK") or environment.get("SLURM_CPUS_ON_NODE") or len(available_cores())
    cores = min(len(available_cores()), int(given))
    return Slot("cpu", cpu_variables(cores))  # what the shell says that submitted it is of another machine


def _task(environment: Mapping[str, str]) -> str | None:
    """The name of this task; None outside SLURM."""
    job, index = environment.get("SLURM_ARRAY_JOB_ID"), environment.get("SLURM_ARRAY_TASK_ID")
    return None if job is None or index is None else f"{job}_{index}"


def _saved(cell: Path) -> list[str]:
    return sorted(path.name for path in cell.glob("state/[0-9]*.pt"))


def _requeue(task: str, *, near_its_limit: bool, moved: bool) -> None:
    """Queue the task again if it is to go on; a plain TERM is scancel's, or of a requeue that SLURM does itself."""
    try:
        if near_its_limit and not moved and not scheduler.preempted(task):
            print(f"{task}: its time limit is too short to come any further: not queued again; give it more time")
        elif near_its_limit or scheduler.preempted(task):
            print(f"{task}: its state is saved; queued again", flush=True)
            scheduler.requeue(task)
    except SchedulerError as error:
        print(f"{task}: not queued again, run the suite again to go on: {error}")
