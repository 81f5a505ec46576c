"""Submit cells to SLURM: job arrays of `pdebench worker CELL_FOLDER`, through submitit. Imports no torch.

submitit writes the script, calls sbatch and reads the job's number. Its `submit` and `map_array` would have a task load
a pickle and leave one; a cell's folder says what to run and holds what came of it, so a task is a plain command, which
submitit offers to its subclasses only (`_submit_command`). What becomes of a task is asked of squeue (`scheduler.py`):
submitit asks sacct, which many clusters do not have.
"""

from __future__ import annotations

import io
import shlex
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pdebench.errors import SchedulerError, printable
from pdebench.installing import install_extra
from pdebench.results.store import refuse_link
from pdebench.run.limits import CellLimits
from pdebench.run.slurm import jobs
from pdebench.run.slurm.jobs import Submission
from pdebench.run.slurm.scheduler import NAME
from pdebench.suite.config import Cell, SlurmConfig

LARGEST_ARRAY = 1000  # SLURM's MaxArraySize is 1001 where nobody has changed it


def require() -> None:
    """Check that jobs can be submitted from here.

    Raises:
        SchedulerError: they cannot; says what is missing.
    """
    for command in ("sbatch", "squeue", "srun"):
        if shutil.which(command) is None:
            raise SchedulerError(
                f"--executor slurm: there is no {command} here; run this on a login node of the cluster, or leave "
                "--executor out to run on this machine"
            )
    try:
        import submitit  # noqa: F401
    except ImportError:
        raise SchedulerError(f"--executor slurm: submitit is not installed; {install_extra('slurm')}") from None


def require_path(folder: Path) -> None:
    """Check that a results folder can be named in the script that sbatch reads.

    Raises:
        SchedulerError: it holds what would end its line there, or what SLURM replaces in the names of logs.
    """
    path = str(folder.resolve())
    odd = next((char for char in path if char in "%\\\n" or printable(char) != char), None)
    if odd is not None:
        raise SchedulerError(
            f"--executor slurm: the path of the results folder {path!r} holds {odd!r}, which sbatch does not take "
            "literally; pass another with --results"
        )


def submit(
    cells: Sequence[Cell],
    folder: Path,
    config: SlurmConfig,
    *,
    limits: CellLimits,
    at_once: int | None,
    retry_failed: bool = False,
) -> list[Submission]:
    """Submit cells, those with equally many nodes and devices as one array; the caller holds `jobs.alone`.

    Args:
        cells: their folders have a `config.yaml`.
        folder: the results folder.
        config: what a cell asks for.
        limits: under which they run, whatever the suite says by then; unless `shared`, a cell on a CPU has its node
            to itself.
        at_once: tasks of an array that may run at a time; None: as many as SLURM lets.
        retry_failed: a cell that failed runs again; its record stays until it does.

    Raises:
        SchedulerError: sbatch refuses.
    """
    worker = ["--conditions", limits.to_json(), *(["--retry", "failed"] if retry_failed else [])]
    by_devices: dict[tuple[int, int], list[Cell]] = defaultdict(list)
    for cell in cells:
        by_devices[cell.train.nodes, cell.train.devices].append(cell)
    made = []
    for (nodes, devices), group in by_devices.items():
        for begin in range(0, len(group), LARGEST_ARRAY):
            array = group[begin : begin + LARGEST_ARRAY]
            parameters = _parameters(config, nodes, devices, exclusive=not limits.shared)
            job = _submit_array(array, folder.resolve(), parameters, at_once, worker)
            at = datetime.now(UTC).isoformat(timespec="milliseconds")
            made.append(Submission(job, tuple(cell.id for cell in array), at))
            jobs.add(folder, made[-1])
    return made


def _submit_array(
    cells: Sequence[Cell], folder: Path, parameters: dict[str, Any], at_once: int | None, options: Sequence[str]
) -> str:
    """The number of a new job array."""
    from submitit import SlurmExecutor
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    executor = SlurmExecutor(folder / jobs.LOGS)
    executor.update_parameters(
        job_name=NAME + cells[0].suite, array_parallelism=min(at_once or len(cells), len(cells)), **parameters
    )
    executor.parameters["map_count"] = len(cells)
    worker = shlex.join([sys.executable, "-m", "pdebench", "worker", *options, str(folder / "cells")])
    command = (
        f"cells=({' '.join(cell.id for cell in cells)})\n"
        # in the place of the shell, so that signals to the batch script reach it
        f'exec {worker}/"${{cells[$SLURM_ARRAY_TASK_ID]}}"'
    )
    refuse_link(folder, folder / jobs.LOGS)
    (folder / jobs.LOGS).mkdir(exist_ok=True)
    there = set(_scripts(folder))
    said = io.StringIO()  # submitit prints what sbatch complains of, and raises it as well
    try:
        with redirect_stderr(said):
            return str(executor._submit_command(command).job_id)
    except (FailedJobError, FailedSubmissionError) as error:
        why = (str(error).strip() or "no reason given").splitlines()[0].removeprefix("sbatch: error: ")
        raise SchedulerError(f"sbatch refuses: {why}") from None
    finally:
        for script in set(_scripts(folder)) - there:  # sbatch has read it; submitit keeps a copy
            script.unlink()


def _scripts(folder: Path) -> Iterator[Path]:
    return (folder / jobs.LOGS).glob(".submission_file_*")


def _parameters(config: SlurmConfig, nodes: int, devices: int, *, exclusive: bool) -> dict[str, Any]:
    """The options of sbatch, in submitit's words, for a cell of so many nodes of so many devices.

    The script runs on the first node alone; its cell has SLURM start what runs on the others.
    """
    more: dict[str, Any] = {"signal": f"B:USR2@{config.notice}", "requeue": True}
    on_cpu = config.gres is None
    if on_cpu and exclusive:
        more["exclusive"] = True
    return {
        "partition": config.partition,
        "account": config.account,
        "qos": config.qos,
        "constraint": config.constraint,
        "time": config.time,
        "gres": None if config.gres is None else _times(config.gres, devices),
        "cpus_per_task": None if config.cpus is None else config.cpus * devices,
        "mem": None if config.mem is None else _memory(str(config.mem), devices),
        "nodes": nodes,
        "ntasks_per_node": 1,
        "wckey": None,
        "use_srun": False,
        "stderr_to_stdout": True,
        "additional_parameters": more,
        # what SLURM does not say a job got is not its: without this, it would find every GPU of the node
        "setup": ["export CUDA_VISIBLE_DEVICES="] if on_cpu else None,
    }


def _times(gres: str, devices: int) -> str:
    """gpu:a100:1 for 4 devices is gpu:a100:4."""
    kind, _, count = gres.rpartition(":")
    return f"{kind}:{int(count) * devices}" if count.isdecimal() else f"{gres}:{devices}"


def _memory(mem: str, devices: int) -> str:
    """32G for 4 devices is 128G."""
    number = mem.rstrip("KMGT")
    return f"{int(number) * devices}{mem[len(number) :]}"
