"""What timings show of the machine that they are of: whether others worked there, and how far seeds lie apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from pdebench.report import formatting
from pdebench.report.frame import SEED, timed
from pdebench.results.record import declared_as

BUSY = 1.5
"""Load over cores from which on a machine was busy.

The load is an average over the minute before a cell begins, in which the suite's own cell of before kept every core: an
undisturbed suite records about 1 a core, and at most 1.23 (`results/`, but for six cells of
learning_rates). A quarter more than that is somebody else's.
"""

APART = 1.5
"""Slowest over fastest seed of one setting, from which on a median says little."""

_ONE_SETTING = ["data.name", "data.resolution", "model.family", "model.size", "setting", "machine_fingerprint"]
_NAMED = 4  # cells or settings that a sentence can name


@dataclass(frozen=True)
class Disturbance:
    """A sentence, and the rows that it is true of."""

    text: str
    rows: pd.DataFrame


def disturbances(table: pd.DataFrame) -> list[Disturbance]:
    """What a reader of a frame's timings has to know; empty of a quiet machine, and where nothing was timed."""
    measured = _timings(table)
    rows = timed(table)
    rows = rows[rows[measured].notna().any(axis=1)]
    return [*_busy(rows), *_apart(rows, measured)]


def _timings(table: pd.DataFrame) -> list[str]:
    """The columns of durations and rates that are compared."""
    known = {str(name): declared_as(str(name)) for name in table}
    return [name for name, declared in known.items() if declared and declared.timed and declared.gate == "cost"]


def _busy(rows: pd.DataFrame) -> Iterator[Disturbance]:
    if not {"load_average", "cores", "threads"} <= set(rows):
        return
    load, cores, threads = (pd.to_numeric(rows[name], errors="coerce") for name in ("load_average", "cores", "threads"))
    bears = pd.concat([cores, threads], axis=1).max(axis=1)  # more threads than cores where a core runs two
    for carried, busy in rows[load > BUSY * bears].groupby(bears):
        span = dict.fromkeys(f"{value:.1f}" for value in (load[busy.index].min(), load[busy.index].max()))
        yield Disturbance(
            f"The machine was busy when these cells began: a load of {' to '.join(span)} on "
            f"{formatting.plural(int(carried), 'core')}, where a suite by itself makes one of about {carried:.0f}. "
            f"Their timings may say more of the other work than of the networks: {_cells(busy)}.",
            busy,
        )


def _apart(rows: pd.DataFrame, measured: list[str]) -> Iterator[Disturbance]:
    """Seeds of one setting on one machine whose timings disagree."""
    grouped = rows.groupby(_ONE_SETTING, dropna=False, sort=False)
    several = grouped[SEED].transform("nunique") > 1
    for column in measured:
        positive = rows[column].where(rows[column] > 0)
        of_setting = positive.groupby([rows[key] for key in _ONE_SETTING], dropna=False, sort=False)
        ratio = of_setting.transform("max") / of_setting.transform("min")
        wide = rows[several & positive.notna() & (ratio > APART)]
        declared = declared_as(column)
        if wide.empty or declared is None:
            continue
        firsts = wide.drop_duplicates(_ONE_SETTING)
        ratios = ratio[firsts.index].tolist()
        told = [
            f"{_setting(row)} {formatting.times(factor)}"
            for (_, row), factor in zip(firsts.iterrows(), ratios, strict=True)
        ]
        yield Disturbance(
            f"Seeds of one setting differ by more than a factor of {APART:g} in speed ({declared.title or column}), "
            f"though they do the same work: {_few(told)}.",
            wide,
        )


def _cells(rows: pd.DataFrame) -> str:
    """`DiT at 32 px (seeds 0 and 1), DiS at 32 px (seed 0)`."""
    told: dict[str, list[str]] = {}
    for _, row in rows[["model.family", "data.resolution", "setting", SEED]].iterrows():
        told.setdefault(_setting(row), []).extend([] if pd.isna(row[SEED]) else [f"{row[SEED]:g}"])
    return _few([f"{setting}{_seeds(list(dict.fromkeys(seeds)))}" for setting, seeds in told.items()])


def _seeds(seeds: list[str]) -> str:
    return f" (seed{'s' * (len(seeds) > 1)} {formatting.listed(seeds)})" if seeds else ""


def _setting(row: pd.Series) -> str:
    side = "" if pd.isna(row["data.resolution"]) else f" at {row['data.resolution']:g} px"
    return f"{row['model.family']}{side}" + (f", {row['setting']}" if row["setting"] else "")


def _few(texts: list[str]) -> str:
    more = len(texts) - _NAMED
    return formatting.listed([*texts[:_NAMED], f"{more} more"] if more > 0 else texts)
