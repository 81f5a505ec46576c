"""Processes on the other nodes of a SLURM job: `srun`'s tasks, each of which leads its machine's. Imports no torch."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence

from pdebench.run.slurm import scheduler


def machines() -> int | None:
    """How many this job has; None outside of one."""
    return int(os.environ["SLURM_JOB_NUM_NODES"]) if "SLURM_JOB_ID" in os.environ else None


def address() -> str:
    """Where SLURM itself reaches this node, whatever network its name leads to.

    Raises:
        SchedulerError: it does not say.
    """
    return scheduler.address_of(os.environ["SLURMD_NODENAME"])


def command(nodes: int) -> Sequence[str]:
    """A task on each node but the first, for as long as its standard input is open.

    What the job was given for a node is the task's: `--overlap`, because the first process has the same on its own.
    """
    cores = os.environ.get("SLURM_CPUS_PER_TASK")  # which srun does not take from the job's own request
    return [
        *("srun", "--relative=1", f"--nodes={nodes - 1}", f"--ntasks={nodes - 1}", "--ntasks-per-node=1"),
        *("--overlap", "--kill-on-bad-exit=1", "--unbuffered", "--quiet"),
        *([] if cores is None else [f"--cpus-per-task={cores}"]),
        *(sys.executable, "-m", "pdebench.run.nodes.slurm"),
    ]


def lead(cell_folder: str, limits: str, place: str) -> None:
    """Be the leading process of this task's machine."""
    from pdebench.run import worker

    node = int(os.environ["SLURM_PROCID"]) + 1  # tasks are counted from the second node on
    worker.main(cell_folder, limits, json.dumps(json.loads(place) | {"node": node}))


if __name__ == "__main__":
    lead(*sys.argv[1:])
