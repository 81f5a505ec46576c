"""The tables of the page: every row of the results, the failures, and the conventions."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pdebench.metrics.columns import COLUMNS as OF_METRICS
from pdebench.report import formatting
from pdebench.report.frame import (
    FLOOR,
    finished,
    measured,
    noun_of,
    records,
    representatives,
    scores_in,
    tasks_in,
)
from pdebench.results.record import declared_as
from pdebench.tasks.registry import TASKS

LEADING = (
    "model.family",
    "data.resolution",
    "model.size",
    "train.seed",
    "status",
    "val_loss",
    "val_loss_ema",
    "train_loss",
)
ALWAYS = ("model.family", "data.resolution", "status", "val_loss")
DERIVED = ("setting", "train_images_per_s_q1", "train_images_per_s_q3", "train_images_per_s_n")


@dataclass(frozen=True)
class TableCell:
    """What is shown, what is sorted by (empty when missing), and the full text where the cell shows less."""

    text: str
    key: str
    full: str = ""


@dataclass(frozen=True)
class TableGrid:
    """A table: its headers (column name, whether its values are numbers) and rows of cells."""

    columns: list[tuple[str, bool]]
    rows: list[list[TableCell]]
    constant: list[tuple[str, str]]
    empty: list[str]
    of: int  # rows that there are; `rows` may be fewer


TEXTS = 200_000  # characters of a column of texts, such as messages; table.csv has all

MOST_ROWS = 250
"""Rows of a table of the page: a browser takes seconds for thousands, and the page has to stay small."""


def full_table(table: pd.DataFrame) -> TableGrid:
    """The rows, and every column that tells rows apart; the others are listed once, or as empty.

    Of very many rows those are shown that `representatives` chooses.
    """
    hidden = [*DERIVED, *(name for name in ("folder", "repeat") if table["folder"].nunique() < 2), *_of_others(table)]
    shown = table.drop(columns=[name for name in hidden if name in table])
    columns = [*LEADING, *(score.column for score in scores_in(shown))]
    columns += [str(name) for name in shown if name not in columns]
    columns = [name for name in columns if name in shown]
    empty = [name for name in columns if name not in ALWAYS and all(map(formatting.missing, _distinct(shown[name])))]
    keys = {name: {cell(name, value).key for value in _distinct(shown[name])} for name in columns}
    constant = [
        (name, (one := cell(name, shown[name].iloc[0])).full or one.text)
        for name in columns
        if name not in (*ALWAYS, *empty) and len(shown) > 1 and len(keys[name]) == 1
    ]
    left = [name for name in columns if name not in {*empty, *(name for name, _ in constant)}]
    numeric = [(name, pd.api.types.is_numeric_dtype(shown[name]) and shown[name].dtype != bool) for name in left]
    drawn = representatives(table, MOST_ROWS).index
    texts = [[cell(name, value, len(drawn)) for value in shown.loc[drawn, name]] for name in left]
    rows = [list(row) for row in zip(*texts, strict=True)] if left else []
    return TableGrid(numeric, rows, constant, empty, len(shown))


def _of_others(table: pd.DataFrame) -> list[str]:
    """The columns that no task of the table fills, though some other does."""
    present = tasks_in(table)
    own = {name for task in present for name in task.columns}
    others = {name for task in TASKS.built_in.values() for name in task.columns} - own
    if present and not any(task.samples for task in present):
        others |= set(OF_METRICS)
    return [name for name in others if name in table and table[name].isna().all()]


def _distinct(values: pd.Series) -> list[Any]:
    """The first of equal values of a column, which may hold lists."""
    try:
        return list(values.drop_duplicates())
    except TypeError:
        return list(values)


def cell(column: str, value: Any, of: int = 1) -> TableCell:
    """One value of the table as text, with its sort key; `of`: how many share a page."""
    if formatting.missing(value):
        return TableCell(formatting.MISSING, "")
    if isinstance(value, bool | np.bool_):
        return TableCell("yes" if value else "no", str(int(value)))
    if isinstance(value, int | float | np.number):
        plain = f"{float(value):.17g}"
        whole = column.endswith(("seed", "_sha256", "resolution")) and float(value).is_integer()
        if (declared := declared_as(column)) is not None and declared.unit == "bytes":
            return TableCell(formatting.size(value), plain, f"{float(value):,.0f} bytes")
        text = str(int(value)) if whole else formatting.number(value)
        return TableCell(text, plain, plain if plain != text else "")
    if isinstance(value, list | tuple | dict | np.ndarray):
        value = json.dumps(value, default=lambda item: item.tolist() if hasattr(item, "tolist") else str(item))
    text = str(value)
    limit = 12 if column in ("metric_weights_sha256", "git_commit", "cell", "machine_fingerprint") else 60
    kept = cut(text, of)
    return TableCell(text, text) if len(text) <= limit else TableCell(text[:limit] + "…", kept, kept)


def cut(text: str, of: int) -> str:
    """A text that the page has room for beside as many others."""
    longest = TEXTS // max(of, 1)
    return text if len(text) <= longest else f"{text[:longest]}…"


@dataclass(frozen=True)
class Failure:
    """A cell that did not finish."""

    cell: str
    who: str
    status: str
    message: str


@dataclass(frozen=True)
class Failures:
    """The section: what did not finish, of how many cells."""

    rows: list[Failure]
    cells: int
    of: int = 0  # that did not finish; `rows` may be fewer


def failures(table: pd.DataFrame) -> Failures:
    """The rows whose status is not `done`, of very many those that `representatives` chooses."""
    found = []
    failed = table[table["status"] != "done"]
    shown = representatives(failed, MOST_ROWS)
    for row in records(shown):
        side = f"{row['data.resolution']:g} px" if pd.notna(row["data.resolution"]) else formatting.MISSING
        who = [str(row["model_name"] or row["model.family"]), side]
        who += [row["setting"]] if row["setting"] else []
        who += [f"seed {row['train.seed']:g}"] if pd.notna(row["train.seed"]) else []
        found.append(
            Failure(
                str(row["cell"] or formatting.MISSING),
                ", ".join(who),
                str(row["status"] or "no status"),
                cut(str(row["message"] or formatting.MISSING), len(shown)),
            )
        )
    return Failures(found, len(table), len(failed))


@dataclass(frozen=True)
class Conventions:
    """The section: what the numbers mean, as far as it depends on the table; see the functions of the same names."""

    uncounted: list[tuple[str, str]]
    metric_facts: list[tuple[str, str]]
    small_samples: int
    kernel: bool  # whether KID was measured
    cells: int
    floor: str  # the family that mixes nothing, where the table has it beside others
    tasks: list[tuple[str, str]]
    matched: list[str]  # what sizes were made equal in


def conventions(table: pd.DataFrame) -> Conventions:
    """The section of a frame."""
    done = finished(table)
    families = set(done["model.family"])
    floor = FLOOR if FLOOR in families and len(families) > 1 else ""
    told = list(dict.fromkeys(fact for task in tasks_in(table) for fact in task.conventions))
    kernel = bool(measured(done, [score.column for score in scores_in(done, "kernel")]))
    return Conventions(
        uncounted(done), metric_facts(done), small_samples(done), kernel, len(table), floor, told, matched(done)
    )


MATCHED_BY = {  # in words
    "params": "parameters that act",
    "macs": "MACs",
    "step_time": "measured time of a training step",
    "peak_memory": "measured peak memory of training",
}


def matched(done: pd.DataFrame) -> list[str]:
    """A sentence for each cost that models were given as much of as a reference has, with what was measured of it."""
    told = ["matched_by", "matched_to", "model_name", "data.resolution"]
    ratio = ["matched_ratio", "matched_ratio_low", "matched_ratio_high"]
    known = done.reindex(columns=[*told, *ratio]).drop_duplicates()
    found = []
    for (by, to), rows in known.dropna(subset=told[:2]).groupby(told[:2]):
        ratios = [
            f"{name} at {side:g} px {middle:.3f} times ({low:.3f} to {high:.3f})"
            for _, _, name, side, middle, low, high in rows.dropna(subset=ratio).itertuples(index=False)
        ]
        measured = f": as measured before the first cell, {'; '.join(ratios)}" if ratios else ""
        found.append(
            f"Models have the {MATCHED_BY.get(str(by), str(by))} of {to} at their size, patch and resolution, to "
            f"2%{measured}."
        )
    return found


def metric_facts(done: pd.DataFrame) -> list[tuple[str, str]]:
    """For each quality score that was computed, the conditions that make its number mean something."""
    facts = []
    for score in scores_in(done):
        rows = done[done[score.column].notna()]
        if rows.empty or not rows["metric_samples"].notna().any():  # a task's own: its conventions say what it is
            continue
        parts = []
        for name, title in (
            ("metric_samples", "samples"),
            ("metric_reference_count", f"reference {noun_of(done).many}"),
            ("metric_reference", "reference"),
            ("metric_reference_statistics", "its statistics"),
            ("metric_extractor", "extractor"),
            ("metric_resize", "resize"),
            ("metric_weights_sha256", "weights sha256"),
            ("metric_source", "code"),
        ):
            values = sorted({cell(name, value).text for value in rows[name].dropna()})
            if not values and name in ("metric_source", "metric_reference_statistics"):  # ours; computed
                continue
            parts.append(f"{title} {formatting.listed(values) if values else formatting.MISSING}")
        facts.append((f"{score.title} ({score.column})", "; ".join(parts)))
    return facts


def small_samples(done: pd.DataFrame) -> int:
    """How many finished cells scored fewer samples than the extractor has features."""
    return sum(value is True or value == 1 for value in done["metric_small_sample"].dropna())


def uncounted(done: pd.DataFrame) -> list[tuple[str, str]]:
    """For each family, the operations that its MACs leave out."""
    found = []
    for family, rows in done.groupby("model.family", sort=False):
        names = {part.strip() for text in rows["macs_uncounted"].dropna() for part in str(text).split(",")}
        names.discard("")
        found.append((str(family), ", ".join(sorted(names)) or "none"))
    return found
