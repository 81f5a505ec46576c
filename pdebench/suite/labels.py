"""Short names for the cells of a suite: of what differs, just as much as tells them apart. Imports no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pdebench.errors import printable
from pdebench.models.settings import setting_of, shell_of
from pdebench.suite.config import Cell

PATHS = ("data.path", "train.init")


def labels(cells: Sequence[Cell]) -> dict[str, str]:
    """A short name for each cell: see `names_of`."""
    return names_of({cell.id: cell.flat() for cell in cells})


def names_of(flat: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """A short name for each cell: its family, and of what else differs just as much as tells the cells apart.

    `flat` are their configurations by identity, dotted keys and values.
    """
    keys = dict.fromkeys(key for row in flat.values() for key in row)
    parts: dict[str, tuple[str, ...]] = {identity: (str(row["model.family"]),) for identity, row in flat.items()}
    of = {identity: str(row["model.family"]) for identity, row in flat.items()}
    settings = {(of[identity], str(setting_of(of[identity], row))): None for identity, row in flat.items()}
    several = {family for family, count in Counter(family for family, _ in settings).items() if count > 1}
    for identity, row in flat.items():
        if (family := of[identity]) in several:
            parts[identity] = (family, str(setting_of(family, row)))
    shells = {identity: shell_of(of[identity], row) for identity, row in flat.items()}
    if len(set(shells.values())) > 1:
        parts = {identity: (*part, shells[identity]) for identity, part in parts.items()}
    for key in keys:
        if key.startswith("shell."):
            continue
        values = {identity: str(row.get(key)) for identity, row in flat.items()}
        values = dict(zip(values, shortest(list(values.values())), strict=True)) if key in PATHS else values
        told = set(parts.values())
        if len({(parts[identity], values[identity]) for identity in flat}) == len(told):
            continue  # what is said already implies it, as a family does its options
        for identity, value in values.items():
            if flat[identity].get(key) is not None:
                word = f"{value} px" if key == "data.resolution" else f"{key.rpartition('.')[2]} {value}"
                parts[identity] += (word,)
    return {identity: printable(" · ".join(part)) for identity, part in parts.items()}


def shortest(paths: Sequence[str]) -> list[str]:
    """Paths by as many of their last parts as tell them apart."""
    parts = [Path(path).parts for path in paths]
    depth = next(n for n in range(1, 1000) if len({one[-n:] for one in parts}) == len(set(parts)))
    return ["/".join(one[-depth:]) for one in parts]
