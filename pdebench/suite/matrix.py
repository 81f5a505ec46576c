"""Grids with include and exclude, by the rules of a GitHub Actions matrix.

The combinations of a grid come in its own order, the last key running fastest; those of several grids one grid after
another. An exclude entry drops every combination that has all its values. An include entry is then added to every
combination of the grids whose values it does not change; where there is none, it becomes a combination, which later
entries leave alone.
https://docs.github.com/actions/how-tos/write-workflows/choose-what-workflows-do/run-job-variations
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pdebench.files.yaml_source import Where


@dataclass(frozen=True)
class PlacedValue:
    """A value of a dotted key and where the suite gives it."""

    value: Any
    where: Where = ()


Entry = Mapping[str, PlacedValue]
Grid = Mapping[str, Sequence[PlacedValue]]


@dataclass(frozen=True)
class Expansion:
    """The combinations and what became of each entry.

    Attributes:
        points: dotted keys and their settings, in the order of running.
        excludes: for each exclude entry, whether it dropped something.
        extends: for each include entry, whether it was added to combinations of a grid.
    """

    points: list[dict[str, PlacedValue]]
    excludes: list[bool]
    extends: list[bool]


def identity(value: object) -> Hashable:
    """A hashable stand-in for a plain value that tells true from 1, but not 1 from 1.0."""
    if isinstance(value, list):
        return ("list", *map(identity, value))
    if isinstance(value, dict):
        return ("dict", *((key, identity(inner)) for key, inner in sorted(value.items())))
    return ("bool", value) if isinstance(value, bool) else value  # type: ignore[return-value]


def expand(
    grids: Sequence[Grid], include: Sequence[Entry], exclude: Sequence[Entry], only_extend: Collection[int] = ()
) -> Expansion:
    """Combine grids with their include and exclude; no grid at all is one without keys.

    The entries of `include` whose index is in `only_extend` never stand alone.
    """
    combinations = [
        dict(zip(grid, values, strict=True)) for grid in grids or [{}] for values in itertools.product(*grid.values())
    ]
    if not grids and include:
        combinations = []  # as in GitHub's matrix, a suite of include entries alone is just these
    matched = [[_within(entry, combination) for combination in combinations] for entry in exclude]
    kept = [c for index, c in enumerate(combinations) if not any(row[index] for row in matched)]

    extended, alone, extends = [dict(c) for c in kept], [], []
    for index, entry in enumerate(include):
        fits = [i for i, original in enumerate(kept) if _compatible(entry, original)]
        for i in fits:
            extended[i].update({key: setting for key, setting in entry.items() if key not in kept[i]})
        if not fits and index not in only_extend:
            alone.append(dict(entry))
        extends.append(bool(fits))
    return Expansion(extended + alone, [any(row) for row in matched], extends)


def _within(entry: Entry, combination: Entry) -> bool:
    return all(key in combination and _same(entry[key], combination[key]) for key in entry)


def _compatible(entry: Entry, original: Entry) -> bool:
    return all(key not in original or _same(entry[key], original[key]) for key in entry)


def _same(a: PlacedValue, b: PlacedValue) -> bool:
    return identity(a.value) == identity(b.value)
