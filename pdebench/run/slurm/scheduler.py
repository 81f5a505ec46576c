"""SLURM's commands, as far as pdebench asks them. Imports no torch."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

from pdebench.errors import SchedulerError

NAME = "pdebench-"  # how the names of our jobs begin: of a number that was given out anew, the job is not ours
PATIENCE = 60.0  # seconds that a command of a busy controller may take


@dataclass(frozen=True)
class SlurmTask:
    """A task of a job array that waits or runs.

    Attributes:
        name: as SLURM's commands take it, `12_3`.
        state: SLURM's word: PENDING, RUNNING, COMPLETING, ...
        where: the nodes that it runs on, or in parentheses why it waits.
    """

    name: str
    state: str
    where: str

    @property
    def waits(self) -> bool:
        """Whether it is not on a node: it has not begun, or was requeued."""
        return self.state in ("PENDING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT")


def tasks(jobs: Iterable[str]) -> dict[str, SlurmTask]:
    """The tasks of these arrays that wait or run, by name.

    Raises:
        SchedulerError: SLURM does not answer, or is not here.
    """
    if not (numbers := ",".join(jobs)):
        return {}
    try:
        answer = _ask("squeue", "--noheader", "--array", f"--jobs={numbers}", "--format=%F|%K|%T|%j|%R")
    except SchedulerError as error:
        if "Invalid job id" in str(error):  # what it says of a single job that it has forgotten
            return {}
        raise
    rows = (line.split("|", 4) for line in answer.splitlines() if line.count("|") >= 4)
    return {f"{job}_{index}": SlurmTask(f"{job}_{index}", *rest) for job, index, *rest in _ours(rows)}


def _ours(rows: Iterable[list[str]]) -> Iterable[tuple[str, str, str, str]]:
    return (
        (job, index, state, "" if where == "(None)" else where)
        for job, index, state, name, where in rows
        if name.startswith(NAME)
    )


def ended(task: str) -> str | None:
    """SLURM's word for how a task ended, None where nobody knows any more.

    Accounting remembers for good but many clusters have none; the controller forgets after minutes.
    """
    for command, pattern in (
        (("sacct", "--noheader", "--parsable2", "--allocations", f"--jobs={task}", "--format=State"), r"^(\w+)"),
        (("scontrol", "--oneliner", "show", "job", task), r"\bJobState=(\w+)"),
    ):
        try:
            if found := re.search(pattern, _ask(*command)):
                return found[1]
        except SchedulerError:
            continue
    return None


def preempted(task: str) -> bool:
    """Whether SLURM takes a running task's node away for another job."""
    found = re.search(r"\bPreemptTime=(\S+)", _ask("scontrol", "--oneliner", "show", "job", task))
    return found is not None and found[1] not in ("None", "Unknown", "N/A")


def address_of(node: str) -> str:
    """Where SLURM's daemons reach a node.

    Raises:
        SchedulerError: they do not say.
    """
    found = re.search(r"\bNodeAddr=(\S+)", _ask("scontrol", "--oneliner", "show", "node", node))
    if found is None:
        raise SchedulerError(f"scontrol does not know the address of node {node}: ask who runs the cluster")
    return found[1]


def requeue(task: str) -> None:
    """End a running task and queue it again."""
    _ask("scontrol", "requeue", task)


def cancel(jobs: Iterable[str]) -> None:
    """Take jobs out of the queue and end their tasks."""
    _ask("scancel", *jobs)


def _ask(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    except FileNotFoundError:
        raise SchedulerError(f"there is no {command[0]} here: run this on a machine of the SLURM cluster") from None
    except subprocess.TimeoutExpired:
        raise SchedulerError(f"{command[0]} did not answer in {PATIENCE:g} s: try again later") from None
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise SchedulerError(f"{command[0]} failed: {said[0]}")
    return done.stdout
