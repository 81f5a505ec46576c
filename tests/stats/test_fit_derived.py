"""`pdebench fit` on tables with rows that were computed from others: averages of seeds, and rounded copies."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from law_tables import groups_of, law_table, only, said, told, written

pytestmark = pytest.mark.usefixtures("few_resamples")


def with_averages(seeds: int = 2, of: str = "mean", **cells: object) -> pd.DataFrame:
    """The law's table, and a row for each point whose loss is an average of its seeds."""
    table = law_table(seeds)
    rows = table.groupby(["family", "params", "images", "flops"], as_index=False)["val_loss"].agg(of)
    rows = rows.assign(run=[f"m{row}" for row in range(len(rows))], seed=None)
    return pd.concat([table, rows.assign(**cells)], ignore_index=True)


@pytest.mark.parametrize("of", ["mean", "median"])
@pytest.mark.parametrize("seed", [None, "mean", 99])
@pytest.mark.parametrize("digits", [None, 6])
def test_averages_of_seeds_are_no_runs(tmp_path: Path, of: str, seed: object, digits: int | None) -> None:
    """The table has a seed for them, a word, or a number that tells nothing."""
    table = with_averages(3, of, seed=seed)
    table["val_loss"] = table["val_loss"] if digits is None else table["val_loss"].round(digits)
    runs = only(written(tmp_path, table))
    if of == "median":  # of three it is one of them, once more
        assert (runs.count, len(runs.repeated) + len(runs.left_out)) == (75, 25)
        return
    assert runs.loss.tolist() == only(written(tmp_path, table[:75])).loss.tolist()
    assert [one.place for one in runs.left_out] == [f"line {line}" for line in range(77, 102)]
    assert runs.refusal == ""


def test_averages_without_a_seed_column_are_no_runs(tmp_path: Path) -> None:
    path = written(tmp_path, with_averages().drop(columns=["seed"]))
    assert only(path).count == 50
    shown = said(path)
    assert "25 rows were left out of 75" in shown
    assert "line 52: val_loss is the mean of the other rows" in shown


def test_an_average_of_some_points_is_told_by_its_missing_seed(tmp_path: Path) -> None:
    runs = only(written(tmp_path, with_averages()[:58]))
    assert (runs.count, len(runs.left_out)) == (50, 8)


@pytest.mark.parametrize("digits", [3, 4])
def test_a_seed_between_two_others_is_a_run(tmp_path: Path, digits: int) -> None:
    """Losses of few digits have such seeds by chance."""
    table = law_table(seeds=3).assign(
        val_loss=lambda rows: rows["val_loss"].round(digits), images=lambda r: r["images"]
    )
    unseeded = only(written(tmp_path, table.drop(columns="seed"), "unseeded.csv"))
    assert unseeded.left_out == only(written(tmp_path, table)).left_out == ()


def test_seeds_that_are_missing_in_half_of_a_table_are_no_averages(tmp_path: Path) -> None:
    table = law_table(seeds=4)
    table["seed"] = table["seed"].where(table["seed"] < 2)
    runs = only(written(tmp_path, table))
    assert (runs.count, runs.left_out) == (100, ())


@pytest.mark.parametrize("seeded", [True, False])
@pytest.mark.parametrize("first", [True, False])
def test_copies_with_a_rounded_loss_are_the_same_runs(tmp_path: Path, seeded: bool, first: bool) -> None:
    table = law_table()
    copies = table.assign(run=[f"x{row}" for row in range(50)], val_loss=table["val_loss"].round(4))
    every = pd.concat([copies, table] if first else [table, copies], ignore_index=True)
    runs = only(written(tmp_path, every if seeded else every.drop(columns="seed")))
    assert runs.count == 50
    assert sorted(runs.loss) == sorted(table["val_loss"])
    assert len(runs.repeated) == 50
    (warning,) = told(runs, "repeat")
    assert ("line 2 rounds the loss of line 52" if first else "line 52 rounds the loss of line 2") in warning


def test_one_rounded_copy_of_a_seed_is_the_same_run(tmp_path: Path) -> None:
    table = law_table()
    copy = table.iloc[[7]].assign(run="x", val_loss=table["val_loss"][7].round(4))
    assert len(only(written(tmp_path, pd.concat([table, copy]))).repeated) == 1


def test_losses_that_end_in_zeros_are_runs(tmp_path: Path) -> None:
    """Another seed's loss, or that of another family, is no copy however near it is."""
    table = law_table().assign(val_loss=lambda rows: rows["val_loss"].round(5))
    table.loc[::6, "val_loss"] = table.loc[::6, "val_loss"].round(4)
    assert only(written(tmp_path, table)).count == len(table)
    other = pd.concat([table, table.assign(family="S4", val_loss=table["val_loss"].round(3))], ignore_index=True)
    assert all(runs.count + len(runs.repeated) == 50 for runs in groups_of(written(tmp_path, other), group=("family",)))
