"""The tasks that a suite can name. Importing this imports no torch."""

from __future__ import annotations

from collections.abc import Mapping

from pdebench.tasks.generation.task import GENERATION
from pdebench.tasks.task import Task

TASKS: Mapping[str, Task] = {task.name: task for task in (GENERATION,)}
