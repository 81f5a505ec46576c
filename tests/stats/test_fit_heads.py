"""`pdebench fit` on tables with rows of a header among their rows, and on tables that span no compute."""

from __future__ import annotations

from pathlib import Path

import pytest
from law_tables import law_table, only, refused, written


def with_line(place: int, line: str, **options: str) -> str:
    """The law's table with a line put in behind so many others."""
    lines = law_table().to_csv(index=False, **options).splitlines()
    return "\n".join([*lines[:place], line, *lines[place:]])


@pytest.mark.parametrize(
    "line", ["run,family,params,images,val_loss,seed,flops", " Run, family ,params,images,val_loss,seed,flops,"]
)
@pytest.mark.parametrize("place", [1, 26])
def test_a_header_once_more_is_called_one(tmp_path: Path, place: int, line: str) -> None:
    why = refused(written(tmp_path, with_line(place, line)))
    assert f"line {place + 1}: this row repeats the header; take it out" in why


@pytest.mark.parametrize("line", [",,(M),(M),,,", ",,[1],[1],[nats],,[FLOPs]", "-,-,M,images,nats,-,FLOPs"])
def test_a_row_of_units_is_called_one(tmp_path: Path, line: str) -> None:
    assert "line 2: this row gives units" in refused(written(tmp_path, with_line(1, line)))


def test_a_run_of_few_cells_is_no_row_of_units(tmp_path: Path) -> None:
    assert only(written(tmp_path, with_line(1, "h,s,1,1,1,,"))).count == 51


def test_runs_of_one_compute_are_said_to_be(tmp_path: Path) -> None:
    table = law_table(seeds=4, families=("DiT", "S4"))
    table = table[table["params"] < 1e6]
    why = refused(written(tmp_path, table[table["flops"] == 1e15]), "--family", "family")
    assert "none of its 2 groups can be fitted: insufficient data: all runs have one compute, where" in why
    why = refused(written(tmp_path, table[table["flops"].between(1e15, 3e15)]), "--family", "family")
    assert "the runs span 3 times in compute" in why
