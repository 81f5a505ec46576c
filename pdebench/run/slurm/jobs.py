"""The jobs that a results folder's cells were submitted as: `jobs.json`, one entry a job array. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from pdebench.errors import ResultsError
from pdebench.results.store import IDENTITY, read_json, write_json
from pdebench.run.slurm import scheduler
from pdebench.run.slurm.scheduler import SlurmTask
from pdebench.system import locks

LOGS = "slurm"  # folder of scripts as submitted, and of what tasks print


@dataclass(frozen=True)
class Submission:
    """A job array; its task i runs cell i."""

    job: str
    cells: tuple[str, ...]
    submitted_at: str

    def task(self, cell: str) -> str:
        """The name of a cell's task."""
        return f"{self.job}_{self.cells.index(cell)}"


def log_of(folder: Path, task: str) -> Path:
    """Where a task prints."""
    return folder / LOGS / f"{task}_0_log.out"


def submissions(folder: Path) -> list[Submission]:
    """All that were made of a results folder, oldest first.

    Raises:
        ResultsError: the file is damaged.
    """
    path, remedy = folder / "jobs.json", "mend it, or delete it once squeue shows none"
    if (listed := read_json(path, "a list of jobs", remedy)) is None:
        return []
    try:
        listed = listed["jobs"] if isinstance(listed, dict) else listed  # a list alone, before there were checksums
        found = [Submission(e["job"], tuple(e["cells"]), e["submitted_at"]) for e in listed]
        if not all(_is_submission(one) for one in found):
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ResultsError(f"{path} is not a list of jobs: {remedy}") from None
    return found


def _is_submission(one: Submission) -> bool:
    numbered = one.job.isdecimal() and one.job.isascii() and len(one.job) < 20
    return numbered and isinstance(one.submitted_at, str) and all(map(IDENTITY.fullmatch, one.cells))


def add(folder: Path, submission: Submission) -> None:
    """Remember one more; the caller holds `alone`."""
    write_json(folder / "jobs.json", {"jobs": [asdict(one) for one in [*submissions(folder), submission]]})


@contextmanager
def alone(folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Nobody else submits cells of this folder meanwhile, so that none is submitted twice; `say` is told of a wait."""
    with locks.alone(folder / ".jobs.lock", lambda why: say(f"waiting: {why}")):
        yield


def active(made: Sequence[Submission]) -> dict[str, SlurmTask]:
    """The cells whose tasks wait or run.

    Raises:
        SchedulerError: SLURM does not answer, or is not here.
    """
    known = scheduler.tasks(one.job for one in made)
    return {cell: known[one.task(cell)] for one in made for cell in one.cells if one.task(cell) in known}
