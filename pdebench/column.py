"""A column of a record: what is declared, once, by whoever fills it. Importing this imports nothing of the package.

Cells declare what each of them leaves, in `results/record.py`; tasks and metrics declare theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Column:
    """A number, text or flag that cells leave: all that tables, pages and the gate know of it.

    Attributes:
        dtype: pandas'.
        meaning: in a few words.
        unit: `bytes`, where a reader wants prefixes.
        title: as the gate's tables call it; empty: by its name.
        gate: how regressions are judged by it. exact: deterministic on one machine, any difference is a change.
            learned: likewise, of the same images. cost: measured, each process another value. None: not.
        higher_is_better: the direction of a cost.
        timed: says how fast something was: of a cell beside other work it would mislead.
        evaluated: depends on how the trained model was evaluated, as `evaluate:` says.
        signed: may be negative.
    """

    dtype: str
    meaning: str
    unit: str = ""
    title: str = ""
    gate: Literal["exact", "learned", "cost"] | None = None
    higher_is_better: bool = False
    timed: bool = False
    evaluated: bool = False
    signed: bool = False
