"""`pdebench fit` on counts in two units, and on units that all rows share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from law_tables import law_table, only, read, refused, told, written

pytestmark = pytest.mark.usefixtures("few_resamples")


def with_part(column: str, rows: slice, unit: float, digits: int = 6) -> pd.DataFrame:
    """The law's table, some rows of a column in another unit."""
    table = law_table().astype({column: object})
    chosen = table.index[rows]
    table.loc[chosen, column] = [f"{value / unit:.{digits}f}" for value in table.loc[chosen, column]]
    return table


@pytest.mark.parametrize(
    ("column", "rows", "unit", "digits", "instead"),
    [
        ("params", slice(0, None, 2), 1e6, 6, "200000 if it is in millions"),
        ("params", slice(25, None), 1e6, 3, "200000 if it is in millions"),
        ("images", slice(8, 9), 1e5, 3, "write 20833 if it is in thousands, 20833000 if it is in millions"),
        ("images", slice(1, None, 2), 1e9, 9, "in billions"),
    ],
)
def test_counts_in_two_units_are_refused(
    tmp_path: Path, column: str, rows: slice, unit: float, digits: int, instead: str
) -> None:
    spoiled = with_part(column, rows, unit, digits)
    why = refused(written(tmp_path, spoiled))
    assert f"line {range(50)[rows][0] + 2}, column '{column}'" in why
    assert instead in why


def test_a_count_below_one_beside_thousands_is_refused(tmp_path: Path) -> None:
    """Small models: 321 parameters, of which one is written as .321 thousand."""
    table = law_table().assign(params=lambda frame: frame["params"] // 1000).astype({"params": object})
    table.loc[7, "params"] = 0.2
    assert "line 9, column 'params': 0.2" in refused(written(tmp_path, table))


def test_flops_in_two_units_are_refused(tmp_path: Path) -> None:
    table = law_table()
    table.loc[4, "flops"] = 0.1
    why = refused(written(tmp_path, table), named=("--n", "params", "--flops", "flops", "--loss", "val_loss"))
    assert "line 6, column 'flops': 0.1" in why


def test_two_columns_that_are_swapped_are_refused(tmp_path: Path) -> None:
    why = refused(written(tmp_path, law_table()), named=("--n", "val_loss", "--d", "images", "--loss", "params"))
    assert "line 2, column 'params': 200000 is a count" in why
    assert "--loss" in why


@pytest.mark.parametrize("unit", [1e3, 1e6])
def test_a_unit_that_all_rows_share_is_said_and_fitted(tmp_path: Path, unit: float) -> None:
    """Of five sizes in millions two are whole, 3 and 8: they are in the unit of the others."""
    table = law_table()
    runs = only(written(tmp_path, table.assign(params=table["params"] * 1.0001 / unit)))
    assert runs.count == 50
    (said,) = told(runs, "params has fractions")
    assert "unit that all rows share" in said
    plain = law_table().assign(params=table["params"] / 1e6)
    assert only(written(tmp_path, plain)).count == 50


def test_points_that_may_part_thousands_are_said(tmp_path: Path) -> None:
    table = law_table()
    table = table.assign(params=[f"{n / 1000:.3f}" for n in table["params"] // 10 + 1])
    (said,) = told(only(written(tmp_path, table)), "params has fractions")
    assert "write 20001 for 20.001" in said


def test_computed_counts_and_scientific_notation_are_no_mix(tmp_path: Path) -> None:
    """C / 6N is whole for some sizes, and not for others."""
    table = law_table()
    table = table.assign(images=table["flops"] / 6 / table["params"], params=[f"{n:.1e}" for n in table["params"]])
    assert {float(d).is_integer() for d in table["images"]} == {True, False}
    runs = only(written(tmp_path, table))
    assert np.unique(runs.n).tolist() == [2e5, 5e5, 1.2e6, 3e6, 8e6]
    assert runs.remarks == ()
    few = table.assign(images=np.where(table["images"] < 1e7, table["images"] / 7e3, table["images"]))
    assert few["images"].min() < 1e4
    assert only(written(tmp_path, few, "few.csv")).count == 50
    _, (flops,) = read(Path(written(tmp_path, table)), n="params", flops="flops", loss="val_loss")
    assert flops.remarks == ()
