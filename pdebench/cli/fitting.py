"""What the verb `fit` does: fit a table, seal a prediction, or look what came of one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from pdebench.errors import TableError, printable
from pdebench.report.fitted import write_fits
from pdebench.report.frame import SUBJECT
from pdebench.stats import sealed
from pdebench.stats.cells import is_results
from pdebench.stats.comparison import comparisons, refuse_unknown
from pdebench.stats.comparison_text import print_comparisons, print_outcomes, print_prediction
from pdebench.stats.plain import plain_json
from pdebench.stats.runs import Columns, runs_of
from pdebench.stats.scaling import Scaling, scaling, why_none
from pdebench.stats.sensitivity import sensitivities
from pdebench.stats.source import ChosenColumns, TableSource, load
from pdebench.stats.text import print_fits


@dataclass(frozen=True)
class FitRequest:
    """What the command line says.

    Attributes:
        table: a CSV, a Parquet file or a results folder.
        columns: of it.
        reference: the group that others are held against; None: the usual one.
        out: where files go; None: nowhere, or of a sealed prediction the results folder.
    """

    table: Path
    columns: ChosenColumns
    reference: str | None
    out: Path | None


def fit_table(asked: FitRequest, console: Console, as_json: bool) -> list[dict[str, Any]]:
    """Fit and compare all groups, print that unless it is wanted as data, write it where asked; returns the data.

    Raises:
        TableError: the table cannot be read, or nothing can be fitted to it.
        ResultsError: a file cannot be written.
    """
    source, _, fits = _fitted(asked)
    if asked.reference is not None:
        refuse_unknown(fits, asked.reference)
    compared = comparisons(fits, asked.reference or SUBJECT)
    sensitive = sensitivities(fits, compared)
    if not as_json:
        print_fits(console, fits, source.told())
        print_comparisons(console, compared, sensitive)
    if asked.out is not None:
        _say_written(console, write_fits(asked.out, fits, compared, sensitive), as_json)
    beside = {one.family: one.as_json() for one in compared}
    hangs = {one.family: one.as_json() for one in sensitive}
    return [
        one.as_json()
        | {"comparison": beside.get(one.group), "left_out_one_at_a_time": hangs.get(one.group)}
        | {"table": source.as_json()}
        for one in fits
    ]


def seal_prediction(asked: FitRequest, budgets: Sequence[float], console: Console, as_json: bool) -> Any:
    """Predict budgets that have not run, and write the file.

    Raises:
        TableError: a budget has run, nothing can be fitted, or no file is named.
        ResultsError: the file is there already, or cannot be written.
    """
    path = asked.out
    if path is None:
        if not asked.table.is_dir():
            raise TableError("--predict: name the file of the prediction with --out, such as --out prediction.json")
        path = asked.table / sealed.DEFAULT
    _, columns, fits = _fitted(asked)
    prediction = sealed.predict(fits, columns, budgets)
    sealed.write(prediction, path)
    if not as_json:
        print_prediction(console, prediction)
    _say_written(console, [path], as_json)
    return plain_json(sealed.as_data(prediction))


def check_prediction(asked: FitRequest, path: Path, console: Console, as_json: bool) -> Any:
    """Hold a sealed prediction against the table; its columns are those that it was made from.

    Raises:
        TableError: the table cannot be read, or its rows are not those that the prediction was made from.
        ResultsError: the file is no sealed prediction.
    """
    prediction = sealed.read(path, follow=True)
    of = prediction.columns
    source, columns = load(asked.table, ChosenColumns(of.n, of.d, of.flops, of.loss, of.run, of.group, of.factor))
    table, ended = source.table, {}
    if is_results(table) and "finished_at" in table:
        ended = {f"cell {cell}": str(when) for cell, when in zip(table["cell"], table["finished_at"], strict=True)}
    outcomes = sealed.check(prediction, runs_of(table, columns), ended)
    if not as_json:
        print_outcomes(console, prediction, outcomes)
    return [one.as_json() for one in outcomes]


def _fitted(asked: FitRequest) -> tuple[TableSource, Columns, list[Scaling]]:
    try:
        source, columns = load(asked.table, asked.columns)
        fits = scaling(source.table, columns)
    except TableError as error:
        if not re.match(r"lines? |rows? |columns? ", str(error)):
            raise
        raise TableError(f"{asked.table}, {error}") from None  # who reads rows knows no file
    if all(found.empty for found in fits):
        raise TableError(f"{asked.table}: {why_none(fits)}")
    return source, columns, fits


def _say_written(console: Console, paths: Sequence[Path], as_json: bool) -> None:
    if not as_json:
        for path in paths:
            console.print(printable(f"wrote {path}"), highlight=False, markup=False, soft_wrap=True)
