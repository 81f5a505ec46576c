"""The comparison of two stored results: what differs between them, what is paired, and how far apart they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pdebench.compare.judgement import NotCompared, QuantityDifference, judge
from pdebench.compare.pairing import Pairing, differing, labels, pair_up, unpaired
from pdebench.compare.quantities import MACHINE, quantities
from pdebench.compare.sides import SIDE, A, B, ComparedSide, read_sides
from pdebench.report.differences import differences

RAN_ON = (
    MACHINE,
    "device",
    "driver",
    "cpu",
    "cores",
    "threads",
    "allocator",
    "platform",
    "python_version",
    "torch_version",
    "pdebench_version",
    "git_commit",
    "git_dirty",
)
"""What cells ran on, and of which version, as far as it may differ between the sides."""

_DIGITS = 10  # of a commit


@dataclass(frozen=True)
class StoredComparison:
    """All that is told.

    Attributes:
        sides: A and B.
        differs: what differs between the cells that are compared, and what A and B have, as text.
        pairing: which cells are compared.
        settings: the pairs in words.
        unpaired: by side the settings without a counterpart in words, and how many cells each has.
        found: every quantity of every pair, and over all pairs.
        refused: what is not compared.
        machines: whether they ran on one machine.
    """

    sides: list[ComparedSide]
    differs: dict[str, tuple[str, str]]
    pairing: Pairing
    settings: list[str]
    unpaired: dict[str, list[tuple[str, int]]]
    found: list[QuantityDifference]
    refused: list[NotCompared]
    machines: bool

    def as_json(self) -> dict[str, Any]:
        """Plain data; a change of a ratio is the ratio B / A, with its interval."""
        return {
            **{
                side.name.lower(): {
                    "path": str(side.path), "cells": side.cells, "done": side.done,
                    "unpaired": len(self.pairing.left[side.name]),
                    "unpaired_settings": [label for label, _ in self.unpaired[side.name]],
                    "remarks": list(side.remarks),
                }
                for side in self.sides
            },
            "differs": {name: {"a": a, "b": b} for name, (a, b) in self.differs.items()},
            "settings": self.settings,
            "compared": [_as_json(one) for one in self.found],
            "not_compared": [
                {"metric": one.quantity.column, "reason": one.reason, "settings": list(one.settings)}
                for one in self.refused
            ],
        }  # fmt: skip


def compare_stored(a: Path, b: Path, metrics: Sequence[str] = ()) -> StoredComparison:
    """Hold two stored results against each other.

    Args:
        a: a results folder, its `table.csv` or `table.parquet`, or the folder of one cell.
        b: likewise.
        metrics: columns to compare; empty: losses, scores, costs and counts. Costs of different machines are compared
            only where they are named.

    Raises:
        ResultsError: one cannot be read, nothing of one has a counterpart in the other, or a column is unknown.
    """
    sides, table = read_sides(a, b)
    pairing = pair_up(table)
    paired_rows = {
        A: table.loc[[row for pair in pairing.pairs for row in pair.a]],
        B: table.loc[[row for pair in pairing.pairs for row in pair.b]],
    }
    asked = quantities(pd.concat(list(paired_rows.values())), metrics)
    found, refused = judge(table, pairing.pairs, asked, metrics)
    shown = {side: rows.assign(git_commit=rows["git_commit"].str[:_DIGITS]) for side, rows in paired_rows.items()}
    ran = {one.column: one for one in differences(shown, RAN_ON)}
    told = {one.name: (one.values[A], one.values[B]) for column in RAN_ON if (one := ran.get(column)) is not None}
    return StoredComparison(
        sides,
        {**differing(pairing.pairs), **told},
        pairing,
        labels(pairing.pairs),
        unpaired(table, pairing),
        found,
        refused,
        machines=table.groupby(SIDE)[MACHINE].nunique().sum() == 2 and MACHINE not in ran,
    )


def _as_json(one: QuantityDifference) -> dict[str, Any]:
    def scaled(value: float | None) -> float | None:
        if value is None or math.isnan(value):
            return None
        return value if one.by_difference else math.exp(min(value, 700.0))  # a wild interval of few seeds

    lower = one.quantity.lower
    return {
        "metric": one.quantity.column,
        "title": one.quantity.title,
        "setting": one.setting or None,
        "over": "seeds" if one.setting else "settings",
        "a": None if math.isnan(one.a) else one.a,
        "b": None if math.isnan(one.b) else one.b,
        "compared_by": "difference" if one.by_difference else "ratio",
        "b_against_a": scaled(one.change),
        "low": scaled(one.low),
        "high": scaled(one.high),
        "pairs": one.pairs,
        "p_value": one.p_value,
        "higher_is_better": None if lower is None else not lower,
        "verdict": one.verdict,
    }
