"""The tasks that a suite can name. Importing this imports no torch.

A package outside this one adds a task with an entry point in the group `pdebench.tasks` that resolves to a `Task`.
"""

from __future__ import annotations

from pdebench.errors import SuiteError
from pdebench.registry import Registry
from pdebench.tasks.classification.task import CLASSIFICATION
from pdebench.tasks.ddpm.task import DDPM
from pdebench.tasks.generation.task import GENERATION
from pdebench.tasks.task import Task


def _fault(task: Task) -> str | None:
    """What is wrong with the columns of a task of another package, which are found by the task's name."""
    filled = [column for score in task.scores for column in score.columns] + [*task.columns]
    for column in filled:
        if not column.startswith(f"{task.name}_") or not column.isidentifier():
            return f"fills '{column}'; write {task.name}_ and letters, digits and underscores"
    if len(set(filled)) < len(filled):
        return f"declares '{next(column for column in filled if filled.count(column) > 1)}' twice; keep one"
    return None


TASKS: Registry[Task] = Registry(
    "task",
    "pdebench.tasks",
    Task,  # type: ignore[type-abstract]
    (GENERATION, DDPM, CLASSIFICATION),
    SuiteError,
    _fault,
)
