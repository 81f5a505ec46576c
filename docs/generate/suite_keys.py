"""The page of a suite's keys, from the models that suites are checked by."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from generate.markdown import code, table
from pdebench.suite.config import DEFAULT_TASK, GIVEN, Header, SlurmConfig, given
from pdebench.suite.validation import OVERALL, describe, fields
from pdebench.tasks.registry import TASKS

Fields = Mapping[str, Mapping[str, Any]]

ABOUT = """\
# Keys of a suite

A suite is a YAML file. Its keys stand at the top of the file or in a section, such as `lr` in `train:`; in `grid`,
`include`, `exclude` and `--set` they are dotted, such as `train.lr`. What has no default must be given. `pdebench
schema` prints the same for an editor, and `pdebench validate SUITE` says what is wrong.

"""

MATRIX = """\
## The grid

| Key | Value |
|---|---|
| `grid` | dotted keys, each with a list of values: every combination is a cell; or a list of such grids |
| `include` | a list of dotted keys with values, added to combinations whose own they leave alone; else one more cell |
| `exclude` | a list of dotted keys with values: combinations that have all of them are left out |

"""


def page() -> str:
    """The page, in Markdown."""
    parts = [ABOUT, "## At the top\n\n", keys({**fields(Header), "task": _task()}), "\n", MATRIX]
    for section, model in {**GIVEN, **OVERALL}.items():
        parts += [f"## {section}\n\n", f"{_first_line(model)}\n\n"]
        if section == "model":
            parts += ["Further keys are options of the family: [families](families.md).\n\n"]
        if section in ("train", "evaluate"):
            parts += _by_task(section)
        else:
            parts += [keys(fields(model)), "\n"]
        if section == "execution":
            parts += ["### execution.slurm\n\n", f"{_first_line(SlurmConfig)}\n\n", keys(fields(SlurmConfig)), "\n"]
    return "".join(parts).rstrip() + "\n"


def keys(of: Fields) -> str:
    """A table of keys: type in words, default, and what they are for."""
    return table(
        ("Key", "Value", "Default", "Meaning"),
        ((code(key), describe(one), _default(one), str(one.get("description", ""))) for key, one in of.items()),
    )


def _default(one: Mapping[str, Any]) -> str:
    """As a suite would write it."""
    return code(json.dumps(one["default"], ensure_ascii=False)) if "default" in one else ""


def _task() -> dict[str, Any]:
    return {"enum": list(TASKS.built_in), "default": DEFAULT_TASK, "description": "What models learn."}


def _by_task(section: str) -> list[str]:
    """What all tasks have alike, then what each has of its own."""
    every = {task: fields(given(task)[section]) for task in TASKS.built_in}
    first = next(iter(every.values()))
    common = {key: one for key, one in first.items() if all(of.get(key) == one for of in every.values())}
    parts = [keys(common), "\n"]
    alike: dict[str, list[str]] = {}
    for task, of in every.items():
        if own := {key: one for key, one in of.items() if key not in common}:
            alike.setdefault(keys(own), []).append(task)
    for listed, tasks in alike.items():
        told = _first_line(given(tasks[0])[section])
        parts += [f"### {section}, task {' and '.join(tasks)}\n\n", f"{told}\n\n", listed, "\n"]
    return parts


def _first_line(model: type[BaseModel]) -> str:
    return inspect.getdoc(model).partition("\n")[0]  # type: ignore[union-attr]
