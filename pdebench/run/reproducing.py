"""One cell of a results folder trained again, to see whether its losses come out to the digit."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pdebench.errors import ResultsError
from pdebench.results.store import Results, read_results
from pdebench.run.sweep import MakeWatcher, run_suite
from pdebench.suite.config import Cell
from pdebench.suite.load import Suite, load_suite
from pdebench.suite.precision import precision_here
from pdebench.suite.resolved import resolved

LOSSES = ("train_loss", "val_loss", "val_loss_ema")
KIND = ("device", "cpu", "threads", "platform", "torch_version", "precision_used", "mixer_implementation")
"""What the last digits hang on beside the cell and the code; where one differs, other digits are no fault."""
CODE = ("family_source", "pdebench_version", "python_version", "git_commit", "git_dirty")


@dataclass(frozen=True)
class Again:
    """A cell of then and now.

    Attributes:
        cell: its identity.
        name: of its model.
        losses: of then and of now, by name; those that it had.
        machine: what of the machine and its software is another, likewise.
        code: what of the code is.
    """

    cell: str
    name: str
    losses: Mapping[str, tuple[float, float | None]]
    machine: Mapping[str, tuple[Any, Any]]
    code: Mapping[str, tuple[Any, Any]]

    @property
    def same(self) -> bool:
        """Whether every loss is the same number."""
        return all(then == now for then, now in self.losses.values())


def reproduce(folder: Path, asked: str, scratch: Path, make_watcher: MakeWatcher, say: Callable[[str], None]) -> Again:
    """Train a cell again from the `suite.yaml` of its folder, with as many threads as it had.

    Args:
        folder: of results; its table is enough.
        asked: the cell's identity, or how it begins.
        scratch: the results folder that it is trained into.
        make_watcher: of its progress.
        say: told what is to be known before.

    Raises:
        ResultsError: `scratch` is not empty, the folder has no such cell, it was not done or has no loss, its suite
            comes to another one here, or it fails.
        DataError: its data are not here, or are others.
    """
    if scratch.exists() and any(scratch.iterdir()):
        raise ResultsError(f"{scratch} is not empty: name a new folder, where the cell is not done yet")
    then = _row(read_results(folder), asked, folder)
    suite = load_suite(str(folder / "suite.yaml"))
    cell = _cell(suite, then, folder)
    if then.get("threads"):  # sums over threads are in another order with another number of them
        os.environ["OMP_NUM_THREADS"] = str(then["threads"] * cell.train.devices)  # that its processes share
    untimed = suite.execution.model_copy(update={"timing": "shared"})  # losses are all that is asked for
    outcome = run_suite(replace(suite, _cells=(cell,), execution=untimed), scratch, make_watcher, say=say)
    if outcome.interrupted:
        raise KeyboardInterrupt
    now = outcome.records[0] if outcome.records else {}
    if now.get("status") != "done":
        raise ResultsError(f"cell {then['cell']} was not done again: {now.get('message') or now.get('status')}")
    return Again(
        cell=then["cell"],
        name=str(then.get("model_name")),
        losses={name: (then[name], now.get(name)) for name in LOSSES if then.get(name) is not None},
        machine=_others(KIND, then, now),
        code=_others(CODE, then, now),
    )


def _row(table: pd.DataFrame, asked: str, folder: Path) -> dict[str, Any]:
    """The row of a cell as plain values, None where there is none."""
    found = table[table["cell"].str.startswith(asked)] if asked else table[:0]
    if len(found) != 1:
        some = ", ".join(table["cell"][:3])
        many = f"{len(found)} cells whose identity begins" if len(found) else "no cell whose identity begins"
        raise ResultsError(f"{folder} has {many} with '{asked}': name one as in its column cell, such as {some}")
    row = {str(key): _plain(value) for key, value in found.iloc[0].items()}
    if row["status"] != "done" or all(row.get(name) is None for name in LOSSES):
        raise ResultsError(f"cell {row['cell']} of {folder} has no losses to come to again: it is '{row['status']}'")
    return row


def _plain(value: Any) -> Any:
    """A value of a frame as Python's own; None where it is missing."""
    if pd.isna(value):
        return None
    return value.item() if isinstance(value, np.generic) else value


def _cell(suite: Suite, then: Mapping[str, Any], folder: Path) -> Cell:
    """The cell as planned, which is the one of then where it runs.

    Raises:
        ResultsError: none is.
        DataError: its data are not here.
    """
    planned = Results(folder).config(then["cell"])  # where the cells were kept
    if planned is None:
        planned = next((cell for cell in suite.planned() if cell.planned_as == then.get("planned_as")), None)
    if planned is None:
        raise ResultsError(
            f"{folder / 'suite.yaml'} does not come to cell {then['cell']}: it ran with other values (`--set`), or by "
            f"a pdebench whose cells had other identities; its revision is {then.get('git_commit') or 'unknown'}"
        )
    (here,) = resolved([planned], precision_here())
    if here.id != then["cell"]:
        raise ResultsError(
            f"cell {then['cell']} would be {here.id} here: the data hold something else than then "
            f"({then.get('data.content')}), or the arithmetic is another ({then.get('train.precision')})"
        )
    return planned


def _others(names: tuple[str, ...], then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {name: (then.get(name), now.get(name)) for name in names if then.get(name) != now.get(name)}
