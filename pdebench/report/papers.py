"""The tables of a paper: what the families reached, each ablation, every cell; as CSV, Parquet, Markdown and LaTeX."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from pdebench.files.csv_export import to_csv
from pdebench.models.settings import plain
from pdebench.report import formatting, latex
from pdebench.report.ablations import Ablation, ablations
from pdebench.report.charts import file_name, slug
from pdebench.report.compare import Measure, Ranking, measures, rank
from pdebench.report.comparisons import Comparison, Contender, comparisons
from pdebench.report.frame import SEED, finished, records
from pdebench.report.sections import tables

CELLS = (
    "folder",
    "model.family",
    "model.size",
    "data.resolution",
    "setting",
    SEED,
    "status",
    "params",
    "macs_forward",
    "flops_train",
    "train_seconds",
    "peak_memory_bytes",
    "train_images_per_s",
    "sample_images_per_s",
)
"""Columns of the table of cells, before the quality measures; `table.csv` of a results folder has all there are."""


@dataclass(frozen=True)
class PaperTable:
    """A table in numbers, for programs, and in words, for readers.

    Attributes:
        name: of its files.
        frame: one typed row a line.
        columns: headings of `texts`.
        texts: the lines as they are read.
        bold: which cells of them lead, told from all others by an interval.
        groups: which lines belong together.
    """

    name: str
    frame: pd.DataFrame
    columns: list[str]
    texts: list[list[str]]
    numeric: list[bool]
    bold: list[list[bool]] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)

    def contents(self) -> dict[str, bytes]:
        """The file of each suffix."""
        parquet = io.BytesIO()
        self.frame.to_parquet(parquet, index=False)
        bold = self.bold or [[False] * len(self.columns)] * len(self.texts)
        form: dict[str, Any] = {"numeric": self.numeric, "bold": bold}
        return {
            ".csv": to_csv(self.frame).encode(),
            ".parquet": parquet.getvalue(),
            ".md": latex.markdown(self.columns, self.texts, **form).encode(),
            ".tex": latex.tabular(self.columns, self.texts, groups=self.groups, **form).encode(),
        }


def paper_tables(table: pd.DataFrame, fields: Sequence[Comparison] | None = None) -> list[PaperTable]:
    """All tables that a frame (see `frame.make_frame`) has something for; its comparisons may be known already."""
    done = finished(table)
    found = [_families(done, comparisons(done) if fields is None else fields)] if len(done) else []
    found += [_ablation(ablation) for ablation in ablations(table)]
    return [*found, _cells(table)]


def table_files(table: pd.DataFrame, fields: Sequence[Comparison]) -> dict[str, bytes]:
    """Every table in every form, by the name of its file; see `paper_tables`."""
    tables = paper_tables(table, fields)
    return {f"{one.name}{suffix}": text for one in tables for suffix, text in one.contents().items()}


def _families(done: pd.DataFrame, fields: Sequence[Comparison]) -> PaperTable:
    """A line a family and comparison: medians over seeds, with the lowest and the highest."""
    known = measures(done)
    frame, texts, bold, groups = [], [], [], []
    for comparison in fields:
        rankings = [rank(measure, comparison) for measure in known]
        for entry in comparison.entries:
            line: dict[str, Any] = {
                "comparison": comparison.label,
                "family": entry.family,
                "setting": entry.told,
                "seeds": entry.seeds,
                "params": entry.median("params"),
            }
            for ranking in rankings:
                values = entry.values(ranking.measure.column)
                ends = {"median": values.median(), "low": values.min(), "high": values.max()}
                line |= {f"{ranking.measure.column}_{end}": float(value) for end, value in ends.items()}
            frame.append(line)
            head = [comparison.label, _name(entry), str(entry.seeds), formatting.amount(line["params"])]
            texts.append([*head, *(_median(ranking, entry) for ranking in rankings)])
            bold.append([False] * 4 + [entry.family == ranking.ahead for ranking in rankings])
            groups.append(comparison.label)
    columns = ["Comparison", "Family", "Seeds", "Parameters", *map(_heading, known)]
    numeric = [False, False, *[True] * (2 + len(known))]
    return PaperTable("families", pd.DataFrame(frame), columns, texts, numeric, bold, groups)


def _heading(measure: Measure) -> str:
    return f"{measure.title}, {measure.unit}" if measure.unit else measure.title


def _name(entry: Contender) -> str:
    return f"{entry.family}, {entry.told}" if entry.told else entry.family


def _median(ranking: Ranking, entry: Contender) -> str:
    """`0.2116 (0.2101–0.2130)`; without the range where all runs agree."""
    values, show = entry.values(ranking.measure.column), ranking.measure.bare
    if values.nunique() < 2:
        return show(entry.median(ranking.measure.column))
    return f"{show(float(values.median()))} ({show(float(values.min()))}–{show(float(values.max()))})"


def _ablation(ablation: Ablation) -> PaperTable:
    """A line a setting: its loss, and its difference from the plain one with a 95% interval."""
    frame, texts, groups = [], [], []
    for arm in [*ablation.arms, *ablation.references]:
        over, default = ablation.difference(arm), arm is ablation.default
        line: dict[str, Any] = {
            "setting": plain(arm.family) if default else str(arm.setting or arm.family),
            "val_loss": arm.loss,
            "difference": over.mean if over else None,
            "low": over.low if over else None,
            "high": over.high if over else None,
            "params": float(arm.rows["params"].median()),
            "macs_forward": float(arm.rows["macs_forward"].median()),
            "step_ms": arm.step(ablation.machine),
            "seeds": len(arm.losses),
            "failed": arm.failed,
        }
        frame.append(line)
        texts.append(
            [
                line["setting"],
                formatting.number(arm.loss),
                ablation.signed(over.mean) if over else "",
                ablation.interval(over) if over else "",
                formatting.amount(line["params"]),
                formatting.number(float(arm.rows["macs_forward"].median()) / 1e9),
                formatting.number(line["step_ms"], 3),
                str(line["seeds"]),
            ]
        )
        groups.append("families" if arm.setting is None else "settings")
    columns = ["Setting", "Validation loss", "Difference", "95% interval", "Parameters", "GMACs", "Step, ms", "Seeds"]
    numeric = [False, *[True] * 7]
    name = file_name(f"ablation-{slug(ablation.title)}")
    typed = pd.DataFrame(frame).astype(dict.fromkeys(("difference", "low", "high"), float))
    return PaperTable(name, typed, columns, texts, numeric, groups=groups)


def _cells(table: pd.DataFrame) -> PaperTable:
    """A line a cell: what it was, what became of it, what it cost and what it reached."""
    scores = [measure.column for measure in measures(finished(table)) if measure.column not in CELLS]
    columns = [name for name in (*CELLS, *scores) if table[name].map(lambda value: not formatting.missing(value)).any()]
    texts = [[tables.cell(name, value).text for name, value in row.items()] for row in records(table[columns])]
    numeric = [pd.api.types.is_numeric_dtype(table[name]) for name in columns]
    return PaperTable("cells", table[columns], [_title(name) for name in columns], texts, numeric)


def _title(column: str) -> str:
    return column.rpartition(".")[2].replace("_", " ")
