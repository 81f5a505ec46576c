"""Cells of a results folder whose data, or whose mixer's code, are others by now: told when a suite runs again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pdebench.errors import ResultsError
from pdebench.models.package_code import source_of
from pdebench.models.registry import FAMILIES
from pdebench.results.store import Results
from pdebench.suite.config import Cell


@dataclass(frozen=True)
class Changed:
    """Finished cells of a set that has changed since.

    Attributes:
        where: of the set.
        before: the digest of what it held.
        now: of what it holds.
        cells: how many there are.
    """

    where: str
    before: str
    now: str
    cells: int

    def __str__(self) -> str:
        cells = "1 cell that is" if self.cells == 1 else f"{self.cells} cells that are"
        return (
            f"the images in {self.where} changed since this suite last ran here (content {self.before[:8]} then, "
            f"{self.now[:8]} now): {cells} done with those of then stay in this folder, outside its tables; the cells "
            "of the new ones are run"
        )


def edited_since(results: Results, cells: Sequence[Cell]) -> list[str]:
    """What to say of finished cells whose family, of another package, had other code when they ran."""
    found: Counter[str] = Counter()
    sources = {family: source_of(FAMILIES[family]) for family in {cell.model.family for cell in cells}}
    for cell in cells:
        if (now := sources[cell.model.family]) is None:
            continue
        record = results.record(cell.id) or {}
        if record.get("status") == "done" and record.get("family_source") not in (None, now):
            found[cell.model.family] += 1
    return [
        f"the package of {family} changed since {'1 cell' if count == 1 else f'{count} cells'} of it ran here; done "
        "cells stay, and the report tells them apart: raise Family.revision for them to run again"
        for family, count in found.items()
    ]


def left_by(results: Results, earlier: Sequence[str], cells: Sequence[Cell], told: int) -> str | None:
    """What to say of done cells that the tables had and that the suite has no more; `told` of them are known to be."""
    ours = {cell.id for cell in cells}
    left = [one for one in earlier if one not in ours and (results.record(one) or {}).get("status") == "done"]
    if (count := len(left) - told) <= 0:
        return None
    them = "1 cell that is done is" if count == 1 else f"{count} cells that are done are"
    return (
        f"{them} of this suite no more, since it, a default or a family's options changed: they stay in this folder, "
        "outside its tables"
    )


def changed_since(results: Results, cells: Sequence[Cell]) -> list[Changed]:
    """What became of the data of the suite that ran in a folder last, seen from the cells that are to run there now.

    Raises:
        ResultsError: a cell of the data of then is unfinished: it is neither gone on with nor given up unasked.
    """
    ours = {cell.id for cell in cells}
    others = [identity for identity in results.plan() if identity not in ours]
    now = {cell.planned_as: cell for cell in cells if cell.data.content is not None} if others else {}
    found: dict[tuple[str, str, str], int] = {}
    for identity in others if now else ():
        before = results.config(identity)
        cell = None if before is None else now.get(before.planned_as)
        if before is None or cell is None or before.data.content is None:
            continue
        where, held, holds = str(cell.data.path or cell.data.name), before.data.content, str(cell.data.content)
        if (results.record(identity) or {}).get("status") == "done":
            found[where, held, holds] = found.get((where, held, holds), 0) + 1
        elif not (state := results.cell(identity) / "state").is_symlink() and any(state.glob("*.pt")):
            raise ResultsError(
                f"the images in {where} changed since the training of cell {identity} was interrupted (content "
                f"{held[:8]} then, {holds[:8]} now): put them back to go on with it, or remove "
                f"{results.cell(identity)} to start over with the new ones"
            )
    return [Changed(*key, count) for key, count in found.items()]
