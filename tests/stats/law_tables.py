"""Tables of one known law, `0.12 + 4.0 N^-0.30 + 60.0 D^-0.40`, for tests that spoil them and have them fitted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from click.testing import Result
from typer.testing import CliRunner

from pdebench.cli import app
from pdebench.errors import TableError
from pdebench.stats.remarks import warnings
from pdebench.stats.runs import Runs, runs_of
from pdebench.stats.source import ChosenColumns, TableSource, load

SIZES = (200_000, 500_000, 1_200_000, 3_000_000, 8_000_000)
BUDGETS = (1e14, 3e14, 1e15, 3e15, 1e16)
NAMED = ("--n", "params", "--d", "images", "--loss", "val_loss")


def law_table(seeds: int = 2, noise: float = 0.004, families: tuple[str, ...] = ("DiT",)) -> pd.DataFrame:
    """Five budgets x five sizes x seeds of each family, as a person exports them."""
    random, rows = np.random.default_rng(0), []
    for family in families:
        for flops in BUDGETS:
            for n in SIZES:
                for seed in range(seeds):
                    d = round(flops / 6 / n)
                    loss = (0.12 + 4.0 * n**-0.30 + 60.0 * d**-0.40) * np.exp(noise * random.normal())
                    rows.append((f"r{len(rows)}", family, n, d, round(loss, 6), seed, flops))
    return pd.DataFrame(rows, columns=["run", "family", "params", "images", "val_loss", "seed", "flops"])


def written(folder: Path, table: pd.DataFrame | str, name: str = "runs.csv", **options: str) -> str:
    """The path of the table as a CSV file; a text is written as it is."""
    path = folder / name
    path.write_text(table if isinstance(table, str) else table.to_csv(index=False, **options), encoding="utf-8")
    return str(path)


def with_text(table: pd.DataFrame, column: str, row: int, value: object) -> pd.DataFrame:
    """A copy with one cell replaced, of whatever type."""
    changed = table.astype({column: object})
    changed.loc[row, column] = value
    return changed


def fit(path: str | Path, *more: str, named: tuple[str, ...] = NAMED) -> Result:
    return CliRunner().invoke(app, ["fit", str(path), *named, *more], env={"COLUMNS": "80", "TERM": "dumb"})


def said(path: str | Path, *more: str, named: tuple[str, ...] = NAMED) -> str:
    """What a terminal shows, its lines joined."""
    shown = fit(path, *more, named=named)
    assert shown.exception is None, shown.exception
    assert max(map(len, shown.stdout.splitlines())) <= 80
    return " ".join(shown.stdout.split())


def found(path: str | Path, *more: str, named: tuple[str, ...] = NAMED) -> list[dict[str, Any]]:
    """What `--json` prints."""
    shown = fit(path, *more, "--json", named=named)
    assert shown.exception is None, shown.exception
    groups = json.loads(shown.stdout)
    assert isinstance(groups, list)
    return groups


def refused(path: str | Path, *more: str, named: tuple[str, ...] = NAMED) -> str:
    """The one sentence of an error."""
    shown = fit(path, *more, named=named)
    assert isinstance(shown.exception, TableError), (shown.exception, shown.stdout)
    assert shown.exception.exit_code == 2
    assert "\n" not in str(shown.exception)
    return str(shown.exception)


def read(path: Path, **asked: Any) -> tuple[TableSource, list[Runs]]:
    """The rows that laws would be fitted to, without the fits, which take a second each."""
    source, columns = load(path, ChosenColumns(**asked))
    return source, runs_of(source.table, columns)


def told(runs: Runs, word: str) -> list[str]:
    """What is said of rows, of all that is said."""
    return [warning for warning in warnings(runs, None, None, None) if word in warning]


def left(runs: Runs) -> list[tuple[str, str]]:
    """The rows that were left out, and why."""
    return [(one.place, one.why) for one in runs.left_out]


def groups_of(path: str, **asked: Any) -> list[Runs]:
    """The groups of a table whose columns have the usual names."""
    return read(Path(path), **{"n": "params", "d": "images", "loss": "val_loss", **asked})[1]


def only(path: str, **asked: Any) -> Runs:
    """Its one group."""
    (runs,) = groups_of(path, **asked)
    return runs
