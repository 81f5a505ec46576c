"""The columns that tasks of other packages declare. Importing this imports no torch, and no package."""

from __future__ import annotations

from functools import lru_cache

from pdebench.column import Column
from pdebench.tasks.registry import TASKS


@lru_cache(maxsize=1000)  # asked of every value of thousands of records
def of_other_packages(column: str) -> Column | None:
    """What a task of another package says of its column, which begins with the task's name; None: nothing.

    Imports the packages whose task's name the column begins with, and no other.
    """
    named = (name for name in TASKS if name not in TASKS.built_in and column.startswith(f"{name}_"))
    tasks = (TASKS.get(name) for name in named)
    return next((task.columns[column] for task in tasks if task is not None and column in task.columns), None)
