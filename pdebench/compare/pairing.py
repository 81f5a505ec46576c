"""Which cells of two results are held against each other: those that are the same but for what is compared.

First the cells with one identity, and those of the same settings. Then, of what is left, family by family and at last
whatever the family, the settings that are the same but for keys in which the two sides have no value in common: these
keys are what is compared. Where a side then has several settings for one of the other's, nobody can say which is meant,
and they are left out. The seed is no setting: cells of one setting that differ in it are repeats, paired by it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from pdebench.compare.sides import SIDE, A, B
from pdebench.errors import ResultsError
from pdebench.models.settings import options_of, setting_of
from pdebench.report.formatting import listed
from pdebench.report.frame import DIMENSIONS, REVISION, SEED, named, plain_config

FAMILY = "model.family"
_HIDDEN = (SEED, "data.path", "data.content", "train.init_content")
"""The seed, and what says where data lie or, in another column, what they are."""

Texts = dict[str, str]
"""The settings of a row: a text for each key, empty where it has no value."""


@dataclass(frozen=True)
class CellPair:
    """One setting of A and the setting of B that it is compared with.

    Attributes:
        a: the rows of A, by their place in the table.
        b: those of B.
        setting: what both have.
        differs: key to what A and B have, where they differ; no dimension that an older record leaves open.
    """

    a: tuple[int, ...]
    b: tuple[int, ...]
    setting: Texts
    differs: Mapping[str, tuple[str, str]]


@dataclass
class Pairing:
    """The pairs, in the table's order, and what has none.

    Attributes:
        left: by side the rows that have no counterpart.
        ambiguous: rows of either side with several counterparts.
    """

    pairs: list[CellPair] = field(default_factory=list)
    left: dict[str, list[int]] = field(default_factory=dict)
    ambiguous: int = 0


def pair_up(table: pd.DataFrame) -> Pairing:
    """Pair the rows of a table of two sides, see `sides.read_sides`.

    Raises:
        ResultsError: nothing has a counterpart.
    """
    texts = _settings(table)
    left = {side: [int(row) for row in table.index[table[SIDE] == side]] for side in (A, B)}
    found = Pairing(left=left)
    keys = list(texts[0])
    _match(found, texts, keys, keys)
    for family in dict.fromkeys(texts[row][FAMILY] for row in left[A]):
        _match(found, texts, keys, None, family)
    found.ambiguous = _match(found, texts, keys, None)
    if not found.pairs:
        raise ResultsError(_nothing(texts, left, keys, found.ambiguous))
    found.pairs.sort(key=lambda pair: pair.a)
    return found


def _settings(table: pd.DataFrame) -> list[Texts]:
    """The settings of each row; of a cell that both sides have, those that A has."""
    plain = plain_config(table)
    keys = [str(key) for key in plain if key not in _HIDDEN and not str(key).startswith("measure.")]
    columns = {"task": table["task"].astype(str), **{key: plain[key] for key in keys}}
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    of_a = {cell: row for cell, side, row in zip(table["cell"], table[SIDE], rows, strict=True) if side == A}
    return [of_a.get(cell, row) for cell, row in zip(table["cell"], rows, strict=True)]


def _match(
    found: Pairing, texts: Sequence[Texts], keys: Sequence[str], shared: Sequence[str] | None, family: str | None = None
) -> int:
    """Pair what is left, of one family where it is given; `shared`: the keys that have to be the same, None: find them.

    Returns how many rows had several counterparts.
    """
    sides = {side: [row for row in rows if family in (None, texts[row][FAMILY])] for side, rows in found.left.items()}
    if not all(sides.values()):
        return 0
    if shared is None:
        shared = _shared(texts, sides, keys)
    groups: dict[str, dict[tuple[str, ...], list[int]]] = {side: {} for side in sides}
    for side, rows in sides.items():
        for row in rows:
            groups[side].setdefault(tuple(texts[row][key] for key in shared), []).append(row)
    ambiguous = 0
    for setting, a in groups[A].items():
        b = groups[B].get(setting, [])
        if not b:
            continue
        if any(len({tuple(texts[row].values()) for row in rows}) > 1 for rows in (a, b)):
            ambiguous += len(a) + len(b)
            continue
        ours, theirs = texts[a[0]], texts[b[0]]
        differs = {key: (ours[key], theirs[key]) for key in keys if ours[key] != theirs[key]
                   and not (key in DIMENSIONS and "" in (ours[key], theirs[key]))}  # fmt: skip
        found.pairs.append(CellPair(tuple(a), tuple(b), ours, differs))
        for side, rows in ((A, a), (B, b)):
            found.left[side] = [row for row in found.left[side] if row not in rows]
    return ambiguous


def _shared(texts: Sequence[Texts], sides: Mapping[str, Sequence[int]], keys: Sequence[str]) -> list[str]:
    """The keys in which the sides have a value in common; dimensions only where no other key says them."""
    values = {side: {key: {texts[row][key] for row in rows} for key in keys} for side, rows in sides.items()}
    common = [key for key in keys if values[A][key] & values[B][key]]
    plain = [key for key in common if key not in DIMENSIONS]

    def said(key: str) -> bool:
        """Whether the other keys determine a dimension on either side."""
        for rows in sides.values():
            known: dict[tuple[str, ...], str] = {}
            for row in rows:
                if known.setdefault(tuple(texts[row][one] for one in plain), texts[row][key]) != texts[row][key]:
                    return False
        return True

    return [key for key in common if key not in DIMENSIONS or not said(key)]


def _nothing(texts: Sequence[Texts], left: Mapping[str, Sequence[int]], keys: Sequence[str], ambiguous: int) -> str:
    if ambiguous:
        return (
            "no cell of A has one counterpart in B: one side has several settings for each of the other's; compare two "
            "cells' folders instead, or folders of fewer settings"
        )
    sets = {side: {key: {texts[row][key] for row in rows} for key in keys} for side, rows in left.items()}
    apart = [key for key in keys if sets[A][key] != sets[B][key]]
    return (
        f"no cell of A has a counterpart in B: they differ in {listed(apart[:6]) or 'nothing'}, and no two cells in a "
        "few of these alone; compare two cells' folders instead"
    )


def labels(pairs: Sequence[CellPair]) -> list[str]:
    """What tells the pairs apart, in words: `DiT, 32 px, lr 0.001`; of one pair alone its family."""
    varied = [key for key in pairs[0].setting if len({pair.setting.get(key) for pair in pairs}) > 1]
    own = [key for key in dict.fromkeys(key for pair in pairs for key in pair.differs)
           if len({pair.differs.get(key) for pair in pairs}) > 1]  # fmt: skip
    shown = [key for key in varied if key not in own and key != REVISION]  # which the family says
    by_family: dict[str, set[str]] = {}
    for pair in pairs:
        by_family.setdefault(pair.setting[FAMILY], set()).add(_options(pair, 0))
    return [_label(pair, shown, own, optional=len(by_family[pair.setting[FAMILY]]) > 1) for pair in pairs]


def _label(pair: CellPair, varied: Sequence[str], own: Sequence[str], *, optional: bool) -> str:
    family = pair.setting[FAMILY]
    options = {f"model.{option.name}" for option in options_of(family)}
    told = [family]
    for key in varied:
        value = pair.setting[key]
        if key == FAMILY or key in options or not value or key in DIMENSIONS:
            continue
        told.append(f"{value} px" if key == "data.resolution" else value if key in ("task", "data.name") else
                    named(key, value))  # fmt: skip
    if optional:
        told.append(_options(pair, 0))
    if {*varied} <= {*DIMENSIONS, FAMILY}:
        told += [named(key, pair.setting[key]) for key in varied if key != FAMILY and pair.setting[key]]
    told += [f"{_name(key)} {_or_none(a)} / {_or_none(b)}" for key in own
             for a, b in [pair.differs.get(key, ("", ""))] if a != b]  # fmt: skip
    return ", ".join(told)


def _name(key: str) -> str:
    return key.rpartition(".")[2].replace("_", " ")


def _or_none(value: str) -> str:
    return value or "none"


def unpaired(table: pd.DataFrame, found: Pairing) -> dict[str, list[tuple[str, int]]]:
    """By side the settings that have no counterpart, in words that tell them from all others, and their cells."""
    texts = _settings(table)
    alone: dict[str, dict[tuple[str, ...], list[int]]] = {side: {} for side in found.left}
    for side, rows in found.left.items():
        for row in rows:
            alone[side].setdefault(tuple(texts[row].values()), []).append(row)
    groups = [(side, rows) for side, of_side in alone.items() for rows in of_side.values()]
    lone = [CellPair(tuple(rows), (), texts[rows[0]], {}) for _, rows in groups]
    told: dict[str, list[tuple[str, int]]] = {side: [] for side in found.left}
    for (side, rows), label in zip(groups, labels([*found.pairs, *lone])[len(found.pairs) :], strict=True):
        told[side].append((label, len(rows)))
    return told


def differing(pairs: Sequence[CellPair]) -> dict[str, tuple[str, str]]:
    """The settings that differ between the sides, and what either has, in words.

    Where families differ, options that only one of them has are told as one: `options`, where it is not plain.
    """
    found: dict[str, tuple[str, str]] = {}
    families = {family for pair in pairs for family in pair.differs.get(FAMILY, ())}
    options = {f"model.{option.name}" for family in families for option in options_of(family)}
    for key in dict.fromkeys(key for pair in pairs for key in pair.differs):
        if key in options:
            continue
        own = [pair.differs[key] for pair in pairs if key in pair.differs]
        a, b = (listed(list(dict.fromkeys(_or_none(values[place]) for values in own))) for place in (0, 1))
        found[key] = (a, b)
    if options:
        told = [list(dict.fromkeys(_options(pair, place) for pair in pairs)) for place in (0, 1)]
        if told != [["plain"], ["plain"]]:
            found["options"] = (listed(told[0]), listed(told[1]))
    return found


def _options(pair: CellPair, place: int) -> str:
    row = {**pair.setting, **{key: values[place] for key, values in pair.differs.items()}}
    return str(setting_of(row[FAMILY], {key: _value(text) for key, text in row.items()}))


def _value(text: str) -> Any:
    """The value of an option that a text was written for."""
    try:
        return json.loads({"True": "true", "False": "false"}.get(text, text)) if text else None
    except ValueError:
        return text
