"""What two cells can be compared in: which way is better, on which scale, and what keeps two numbers from comparing.

Directions are those that a score or a column declares; a name says nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from pdebench.errors import ResultsError, did_you_mean
from pdebench.regress.metrics import COSTS, EXACT, LEARNED, words
from pdebench.report.differences import DRAWN, SAMPLED, differences
from pdebench.report.frame import measured, scores_in
from pdebench.results.record import declared_as
from pdebench.tasks.scores import SCORES

Kind = Literal["quality", "cost", "exact", "other"]
LOSSES = ("val_loss", "val_loss_ema")
COUNTS = tuple(name for name in EXACT if name not in LEARNED)
MACHINE = "machine_fingerprint"
NFE = "sample_nfe_mean"
_SETTINGS = ("evaluate.", "data.")
_ALIKE = tuple(column for column in SAMPLED if column not in DRAWN)
"""What must be the same of samples whose scores are compared, however they were drawn."""

_NO_MACHINE = "some records do not say on which of the machines they ran"
_MACHINES = "A and B ran on different machines"
_BATCHES = "the batch sizes differ"
_EVALUATIONS = "samples took other numbers of evaluations"
_UNLESS_NAMED = (_NO_MACHINE, _MACHINES, _BATCHES, _EVALUATIONS)

_DTYPES = ("Int64", "Float64")


@dataclass(frozen=True)
class Quantity:
    """A column of numbers that is compared.

    Attributes:
        column: of the record.
        title: as a reader calls it.
        kind: quality: a loss or a score. cost: a timing or memory, of one machine. exact: deterministic. other: what
            declares no direction.
        lower: whether less is better; None: neither is.
        by_difference: compared by the difference, since it may be 0 or less; else by the ratio.
        unit: of its values, where it is bytes.
    """

    column: str
    title: str
    kind: Kind
    lower: bool | None
    by_difference: bool = False
    unit: str = ""


def quantity(column: str) -> Quantity | None:
    """What is declared of a column; None where it is no number that anything is declared of."""
    if (score := SCORES.get(column)) is not None:
        return Quantity(column, score.title, "quality", not score.higher_is_better, score.by_difference)
    declared = declared_as(column)
    if declared is None or declared.dtype not in _DTYPES:
        return None
    if declared.gate == "learned":
        return Quantity(column, words(column), "quality", True)
    if declared.gate == "cost":
        return Quantity(column, words(column), "cost", not declared.higher_is_better, unit=declared.unit)
    if declared.gate == "exact":
        return Quantity(column, words(column), "exact", None, unit=declared.unit)
    kind: Kind = "cost" if declared.timed else "other"
    return Quantity(column, words(column), kind, None, declared.signed, declared.unit)


def quantities(table: pd.DataFrame, asked: Sequence[str]) -> list[Quantity]:
    """What is compared: what was asked for, or losses, scores, costs and counts that both sides may have.

    Raises:
        ResultsError: a column that was asked for is none of the table, or holds no numbers.
    """
    usual = [*LOSSES, *(score.column for score in scores_in(table)), *COSTS, *COUNTS]
    known = measured(table, [str(name) for name in table if quantity(str(name)) is not None])
    for name in asked:
        if name not in known:
            titled = [column for column in known if name == getattr(quantity(column), "title", None)]
            hint = did_you_mean(titled[0] if titled else name, titled or [c for c in usual if c in known] or known)
            raise ResultsError(f"--metric {name}: neither side has such a number; {hint}")
    chosen = dict.fromkeys(asked or (name for name in usual if name in known))
    return [found for name in chosen if (found := quantity(name)) is not None]


def why_not(one: Quantity, a: pd.DataFrame, b: pd.DataFrame, asked: Collection[str]) -> str:
    """Why rows of A and of B must not be compared in a quantity, as `they were trained on other data`; else empty."""
    sides = {"A": _that_have(a, one.column), "B": _that_have(b, one.column)}
    if any(rows.empty for rows in sides.values()):
        return "only one side has it"
    if one.kind == "quality":
        return _why_no_quality(one, sides)
    if one.kind == "cost":
        return _why_no_cost(one, sides, asked)
    return ""


def can_be_named(reason: str) -> bool:
    """Whether what is not compared for this reason is, where the user names it."""
    return reason in _UNLESS_NAMED


def _that_have(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    present = rows[column].notna()
    return rows if present.all() else rows[present]


def asked_of(table: pd.DataFrame) -> list[str]:
    """The columns of a table that `why_not` looks at, beside the quantity's own."""
    wanted = ("task", "data.name", "data.resolution", *_ALIKE, "peak_memory_kind", MACHINE, "train.batch_size", NFE)
    return [column for column in dict.fromkeys(wanted) if column in table]


def _why_no_quality(one: Quantity, sides: dict[str, pd.DataFrame]) -> str:
    if differences(sides, ("task",)):
        return "the tasks differ"
    if differences(sides, ("data.name", "data.resolution")):
        return "the data differ"
    if one.column in SCORES:
        # what an older record does not say is no difference
        unlike = [found for found in differences(sides, _ALIKE)
                  if found.column.startswith(_SETTINGS) or "unknown" not in found.values.values()]  # fmt: skip
        if unlike:
            return f"the samples differ in {unlike[0].name.removeprefix('the ')}"
    return ""


def _why_no_cost(one: Quantity, sides: dict[str, pd.DataFrame], asked: Collection[str]) -> str:
    if one.column == "peak_memory_bytes" and differences(sides, ("peak_memory_kind",)):
        return "memory was measured in different ways"
    if one.column in asked:
        return ""
    machines = pd.concat([rows[MACHINE] for rows in sides.values()])
    if machines.isna().any():
        return _NO_MACHINE
    if machines.nunique() > 1:
        return _MACHINES
    if (one.column.endswith("_ms_median") or one.column == "peak_memory_bytes") and differences(
        sides, ("train.batch_size",)
    ):
        return _BATCHES
    if one.column.startswith("sample_") and differences(sides, (NFE,)):
        return _EVALUATIONS
    return ""
