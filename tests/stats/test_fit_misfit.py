"""`pdebench fit` on tables whose residuals tell of other units, or of two laws in one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from law_tables import law_table

from pdebench.stats.misfit import of_residuals
from pdebench.stats.parametric import parametric, refit
from pdebench.stats.runs import Columns, runs_of


def said(table: pd.DataFrame, **columns: Any) -> list[str]:
    """What is said of the residuals of its one group."""
    (runs,) = runs_of(table, Columns(**{"n": "params", "d": "images", "loss": "val_loss"} | columns))
    return of_residuals(runs, parametric(runs, (), refit(runs, 2)))


def test_losses_in_percent_among_others_are_named() -> None:
    table = law_table()
    table.loc[::5, "val_loss"] *= 100
    (told,) = said(table)
    assert "10 of 50 rows" in told
    assert "row 1: 99.7 times the law; row 6: 100 times" in told


def test_a_run_that_diverged_is_named() -> None:
    table = law_table(seeds=1)
    table.loc[17, "val_loss"] = 9.7
    (told,) = said(table)
    assert "1 of 25 rows" in told
    assert "row 18" in told


def test_images_in_another_unit_in_half_of_the_rows_are_said() -> None:
    """Of the larger budgets; repeats of a point scatter by far less than the law misses."""
    table = law_table()
    table["images"] = np.where(table.index < 25, table["images"], 256 * table["images"])
    (told,) = said(table)
    assert "another unit" in told


@pytest.mark.parametrize("each", [1, 2])
def test_two_laws_that_no_column_tells_apart_are_said(each: int) -> None:
    one, other = law_table(each), law_table(each, noise=0.003)
    (told,) = said(pd.concat([one, other.assign(val_loss=1.3 * other["val_loss"])], ignore_index=True))
    assert "two kinds of runs" in told


@pytest.mark.parametrize("noise", [0.0, 0.001, 0.004, 0.05])
@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_sound_tables_have_nothing_said_of_their_residuals(noise: float, seeds: int) -> None:
    assert said(law_table(seeds, noise)) == []


def test_a_law_that_is_not_quite_exact_is_let_be() -> None:
    """A trend of 2% over the sizes, such as one learning rate for all of them leaves."""
    table = law_table()
    table["val_loss"] *= 1 + 0.01 * np.log10(table["params"] / 1.2e6) ** 2
    assert said(table) == []


def test_rows_of_one_run_at_one_point_are_no_repeats() -> None:
    """A cell on two machines scatters in its last digits only."""
    table = law_table(seeds=1)
    again = table.assign(val_loss=table["val_loss"] * 1.00001)
    assert said(pd.concat([table, again], ignore_index=True), run="run") == []
