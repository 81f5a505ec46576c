"""Where the numbers are from: folders, suites, commits, versions and machines."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pandas as pd

from pdebench.errors import SuiteError, refused_by_system
from pdebench.files.disk import NotPlain, open_plain, read_plain
from pdebench.files.yaml_source import read_text
from pdebench.report import formatting
from pdebench.report.section import Page
from pdebench.report.sections import tables
from pdebench.results.record import MACHINE

LONGEST_NAME = 64  # characters: what a suite may be called
LARGEST_SUITE = 64 * 2**10
"""Bytes of a suite file that are shown: ten times what a long one has."""


@dataclass(frozen=True)
class FolderProvenance:
    """A results folder: its name, facts about its cells, and its suite file's text."""

    name: str
    facts: list[tuple[str, str]]
    suite: str


@dataclass(frozen=True)
class Provenance:
    """The section.

    Attributes:
        sources: the results folders.
        sets: each data set's name and facts: what it holds, how many images, how many were left out.
        machines: a list of facts for each machine and software.
        fingerprints: how many machines there are.
        dirty: whether some cell ran from a work tree with uncommitted changes.
        repeats: cells that an earlier folder has too.
    """

    sources: list[FolderProvenance]
    sets: list[tuple[str, list[tuple[str, str]]]]
    machines: list[list[tuple[str, str]]]
    fingerprints: int
    dirty: bool
    repeats: int


def provenance(page: Page) -> Provenance:
    """The section of a page."""
    table = page.table
    return Provenance(
        [_source(name, folder, table[table["folder"] == name]) for name, folder in page.folders.items()],
        data_sets(table),
        machines(table),
        table["machine_fingerprint"].nunique(),
        dirty(table),
        int(table["repeat"].sum()),
    )


def _source(name: str, folder: Path, rows: pd.DataFrame) -> FolderProvenance:
    done = int((rows["status"] == "done").sum())
    facts = [("suite", _distinct(rows["suite"])), ("cells", f"{done} of {len(rows)} finished")]
    ran = sorted(str(moment)[:16].replace("T", " ") for moment in rows["finished_at"].dropna())
    facts += [("finished", f"{ran[0]} to {ran[-1]} UTC" if ran[0] != ran[-1] else f"{ran[0]} UTC")] if ran else []
    facts += [
        ("commits", _distinct(rows["git_commit"].map(lambda commit: commit and commit[:12]))),
        ("pdebench", _distinct(rows["pdebench_version"])),
        ("torch", _distinct(rows["torch_version"])),
    ]
    return FolderProvenance(name or folder.resolve().name, facts, _suite(folder / "suite.yaml"))


def suite_names(page: Page) -> set[str]:
    """What the suites of the page are called by now: their cells may have run under another name."""
    names = set()
    for name, folder in page.folders.items():
        own = page.table.loc[page.table["folder"] == name, "suite"].dropna()
        called = _called(folder / "suite.yaml")
        names |= {called} if called else {str(one) for one in own}
    return names


def _called(path: Path) -> str | None:
    """The name in a suite file; None where there is none to be read."""
    with suppress(OSError, ValueError, SuiteError):
        name = read_text(read_plain(path, LARGEST_SUITE).decode(), path.name).data.get("suite")
        if isinstance(name, str) and 0 < len(name) <= LONGEST_NAME:
            return name
    return None


def _distinct(values: pd.Series) -> str:
    return formatting.listed(sorted({str(value) for value in values.dropna()})) or formatting.MISSING


def _suite(path: Path) -> str:
    """The text of a suite file, which anybody may have written; empty where there is none to show."""
    try:
        with open_plain(path) as file:
            text = file.read(4 * LARGEST_SUITE + 4).decode(errors="replace")
    except FileNotFoundError:
        return ""
    except (OSError, NotPlain) as error:
        return f"(cannot read {path.name}: {refused_by_system(error) or error})"
    return text if len(text) <= LARGEST_SUITE else f"{text[:LARGEST_SUITE]}\n… (the file goes on)"


def data_sets(table: pd.DataFrame) -> list[tuple[str, list[tuple[str, str]]]]:
    """What each data set of the table holds, as far as its cells recorded it."""
    found = []
    for name, rows in table.groupby("data.name", sort=True):
        content, paths = _distinct(rows["data.content"]), _distinct(rows["data.path"])
        facts = [("content", content if rows["data.content"].notna().any() else "packaged, known by its name")]
        facts += [("folder", paths)] if rows["data.path"].notna().any() else []
        for column, title in (("train_images", "trained on"), ("val_images", "held out"), ("data_skipped", "left out")):
            if column in rows and rows[column].notna().any():
                facts.append((title, _distinct(rows[column].map(formatting.number))))
        found.append((str(name), facts))
    return found


def machines(table: pd.DataFrame) -> list[list[tuple[str, str]]]:
    """One list of facts for each machine and software that ran cells, with how many."""
    present = [name for name in MACHINE if name in table and table[name].notna().any()]
    if not present:
        return []
    found = []
    known = table[table[present].notna().any(axis=1)].copy()
    for _, rows in known.groupby("machine_fingerprint"):
        for name in present:  # a cell that failed early knows its machine and not the rest
            values = rows[name].dropna()
            if values.nunique() == 1:
                known.loc[rows.index, name] = values.iloc[0]
    known = known[present].astype(object).where(known[present].notna(), None)
    alike = known.groupby(present, dropna=False, sort=False).size().reset_index(name="_cells")
    plain = alike[present].map(lambda value: tables.cell("", value).full or tables.cell("", value).text)
    for name in {"memory_bytes"} & set(present):
        plain[name] = alike[name].map(formatting.size)
    for key, rows in plain.assign(_cells=alike["_cells"]).groupby(present, dropna=False, sort=True):
        facts = [
            (name.replace("_bytes", "").replace("_", " "), str(value))
            for name, value in zip(present, cast(tuple[Any, ...], key), strict=True)
        ]
        found.append([*facts, ("cells", str(int(rows["_cells"].sum())))])
    return found


def dirty(table: pd.DataFrame) -> bool:
    """Whether some cell ran from a work tree with uncommitted changes."""
    return "git_dirty" in table and any(value is True or value == 1 for value in table["git_dirty"].dropna())
