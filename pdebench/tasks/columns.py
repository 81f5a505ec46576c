"""The columns that tasks declare, beside the named ones of our own. Importing this imports no torch, and no package."""

from __future__ import annotations

import re
from functools import lru_cache

from pdebench.column import Column
from pdebench.tasks.registry import TASKS

_AT_SIDE = re.compile(r"([a-z]\w*)_at_([1-9]\d{0,5})")


def at_side(name: str, side: int) -> str:
    """The column of what `name` is at a side of images, in pixels."""
    return f"{name}_at_{side}"


def side_of(column: str) -> tuple[str, int] | None:
    """What a column is at which side, where a task of ours fills it once a side; None: it is none of those."""
    found = _AT_SIDE.fullmatch(column)
    if found is None or not any(found[1] in task.at_sides for task in TASKS.built_in.values()):
        return None
    return found[1], int(found[2])


def of_a_side(column: str) -> Column | None:
    """What is declared of a column that a task of ours fills once a side, see `Task.at_sides`; None: nothing."""
    if (found := side_of(column)) is None:
        return None
    return next(task.at_sides[found[0]] for task in TASKS.built_in.values() if found[0] in task.at_sides)


@lru_cache(maxsize=1000)  # asked of every value of thousands of records
def of_other_packages(column: str) -> Column | None:
    """What a task of another package says of its column, which begins with the task's name; None: nothing.

    Imports the packages whose task's name the column begins with, and no other.
    """
    named = (name for name in TASKS if name not in TASKS.built_in and column.startswith(f"{name}_"))
    tasks = (TASKS.get(name) for name in named)
    return next((task.columns[column] for task in tasks if task is not None and column in task.columns), None)
