"""`pdebench fit` on tables as people leave them: which rows are runs, and what is said of those that are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from law_tables import found, groups_of, law_table, left, only, refused, said, told, with_text, written

pytestmark = pytest.mark.usefixtures("few_resamples")


# Rows that are left out


def test_rows_without_numbers_are_counted_and_named(tmp_path: Path) -> None:
    table = law_table()
    table.loc[[1, 7], "val_loss"] = [np.inf, np.nan]
    table.loc[20, "images"] = 0
    path = written(tmp_path, table)
    (group,) = found(path)
    assert group["left_out"] == [
        {"place": "line 3", "why": "val_loss is inf"},
        {"place": "line 9", "why": "val_loss is missing"},
        {"place": "line 22", "why": "images is 0"},
    ]
    shown = said(path)
    assert "47 runs" in shown
    assert "3 rows were left out of 50" in shown
    assert "line 3: val_loss is inf" in shown


def test_a_fit_without_many_of_its_rows_is_refused(tmp_path: Path) -> None:
    table = law_table()
    table.loc[::5, "val_loss"] = np.inf
    why = refused(written(tmp_path, table))
    assert "10 of 50 rows" in why
    assert "line 2: val_loss is inf" in why
    table = law_table()
    table.loc[::10, "val_loss"] = np.nan
    assert only(written(tmp_path, table)).refusal == ""  # one in ten is still fitted


def test_a_missing_run_is_left_out_and_said(tmp_path: Path) -> None:
    runs = only(written(tmp_path, with_text(law_table(), "run", 4, None)), run="run")
    assert left(runs) == [("line 6", "run is missing")]


def test_one_group_is_refused_and_the_others_are_fitted(tmp_path: Path) -> None:
    table = law_table(families=("DiT", "S4"))
    table.loc[range(0, 30, 2), "val_loss"] = np.nan
    bad, good = found(written(tmp_path, table), "--family", "family")
    assert bad["parametric"] is None
    assert "15 of 50 rows" in bad["refusals"]["L(N, D)"]
    assert good["parametric"] is not None


AVERAGE = ",mean,3480000,50000000,0.41,,\n"


@pytest.mark.parametrize("asked", [{}, {"group": ("family",)}, {"run": "run"}, {"run": "run", "group": ("family",)}])
def test_a_row_of_averages_is_no_run(tmp_path: Path, asked: dict[str, Any]) -> None:
    text = law_table().to_csv(index=False)
    clean = only(written(tmp_path, text), **asked)
    groups = groups_of(written(tmp_path, text + AVERAGE), **asked)
    assert groups[0].loss.tolist() == clean.loss.tolist()
    assert not sum(runs.count for runs in groups[1:])
    assert [place for runs in groups for place, _ in left(runs)] == ["line 52"]
    assert any("line 52" in sentence for runs in groups for sentence in (*told(runs, ""), runs.refusal))


def test_a_row_that_lacks_what_all_others_have_is_said(tmp_path: Path) -> None:
    """Without a word for it, it may be a run: it is fitted, and named."""
    text = law_table().to_csv(index=False) + ",DiT,3480000,50000000,0.41,,\n"
    (warning,) = told(only(written(tmp_path, text)), "line 52")
    assert "run" in warning
    assert "seed" in warning
    assert told(only(written(tmp_path, law_table())), "line") == []


def test_a_row_that_says_mean_and_lacks_nothing_is_said(tmp_path: Path) -> None:
    """It is left out where it would have to be a run's name."""
    path = written(tmp_path, law_table().to_csv(index=False) + "Mean,DiT,2580000,50000000,0.41,0.5,4e15\n")
    (warning,) = told(only(path), "line 52")
    assert "Mean" in warning
    assert [place for place, _ in left(only(path, run="run"))] == ["line 52"]


def test_a_family_called_mean_is_a_family(tmp_path: Path) -> None:
    """It has no heads, where the other has; the averages of its seeds are still none of its runs."""
    table = law_table(families=("DiT", "mean"))
    table = table.assign(heads=table["family"].map({"DiT": 8}))
    averages = table.groupby(["family", "params"], as_index=False)[["images", "val_loss"]].mean().assign(run="mean")
    groups = groups_of(written(tmp_path, pd.concat([table, averages])), group=("family",))
    assert [(runs.name, runs.count, len(runs.left_out)) for runs in groups] == [("DiT", 50, 5), ("mean", 50, 5)]
    assert all(runs.refusal == "" for runs in groups)


def test_a_group_of_a_row_beside_groups_of_many_is_said(tmp_path: Path) -> None:
    table = law_table()
    table.loc[7, "family"] = "Dit"
    groups = {runs.name: runs for runs in groups_of(written(tmp_path, table), group=("family",))}
    assert any("DiT" in warning for warning in told(groups["Dit"], "1 row"))
    assert told(groups["DiT"], "1 row") == []


def test_families_that_are_fitted_as_one_are_said(tmp_path: Path) -> None:
    path = written(tmp_path, law_table(families=("DiT", "S4")))
    (warning,) = told(only(path), "family")
    assert "DiT for 50" in warning
    assert "--group" in warning
    assert not any(told(runs, "family") for runs in groups_of(path, group=("family",)))


def test_checkpoints_that_are_taken_for_runs_are_said(tmp_path: Path) -> None:
    table = pd.concat([law_table().assign(images=lambda rows, part=part: rows["images"] // part) for part in (1, 2, 4)])
    path = written(tmp_path, table)
    assert any("--run run" in warning for warning in told(only(path), "run differs"))
    assert told(only(path, run="run"), "150 rows are of 50 runs")


def test_groups_are_told_apart_by_what_they_are_not_by_how_they_are_written(tmp_path: Path) -> None:
    """A missing value in one column and in the other, a space behind a name, digits beyond the sixth."""
    table = law_table()
    half = table.index % 2 == 0
    table = table.assign(a=np.where(half, 64.0, np.nan), b=np.where(half, np.nan, 64.0))
    assert len(groups_of(written(tmp_path, table), group=("a", "b"))) == 2
    table = law_table().assign(family=np.where(half, "DiT", "DiT "))
    assert len(groups_of(written(tmp_path, table), group=("family",))) == 1
    table = law_table().assign(lr=np.where(half, 1.0000001, 1.0000002))
    assert len(groups_of(written(tmp_path, table), group=("lr",))) == 2


# Identical rows


def test_copies_of_rows_are_one_run(tmp_path: Path) -> None:
    once = law_table(seeds=1)
    often = pd.concat([once] * 3, ignore_index=True)
    clean, (group,) = found(written(tmp_path, once))[0], found(written(tmp_path, often, "often.csv"))
    for law in ("parametric", "isoflop", "envelope", "held"):
        assert group[law] == clean[law]
    assert len(group["repeated"]) == 50
    assert group["repeated"][0] == {"place": "line 27", "of": "line 2"}
    warnings = " ".join(group["warnings"])
    assert "50 rows repeat others and count once" in warnings
    assert "one seed" in warnings
    assert clean["repeated"] == []


@pytest.mark.parametrize("run", ["run", None])
def test_copies_under_another_name_or_number_are_one_run(tmp_path: Path, run: str | None) -> None:
    table = pd.concat([law_table()] * 3, ignore_index=True)
    table = table.assign(run=[f"r{row}" for row in range(len(table))], index=range(len(table)))
    runs = only(written(tmp_path, table), run=run)
    assert runs.count == 50
    assert len(runs.repeated) == 100


def test_seeds_whose_losses_agree_to_three_digits_are_runs_of_their_own(tmp_path: Path) -> None:
    table = law_table(seeds=3).round({"val_loss": 3})
    assert table.duplicated(["params", "images", "val_loss"]).any()
    runs = only(written(tmp_path, table))
    assert (runs.count, runs.repeated) == (75, ())


def test_equal_numbers_of_another_group_are_no_copy(tmp_path: Path) -> None:
    table = pd.concat([law_table(), law_table().assign(family="S4")], ignore_index=True)
    assert all(runs.repeated == () for runs in groups_of(written(tmp_path, table), group=("family",)))


def test_two_runs_that_diverged_at_one_point_are_both_left_out(tmp_path: Path) -> None:
    table = law_table()
    table.loc[[0, 1], "val_loss"] = np.inf
    assert len(only(written(tmp_path, table)).left_out) == 2


def test_a_run_of_several_sizes_is_said(tmp_path: Path) -> None:
    """`--run seed` would make nine runs of 25 sizes and budgets each."""
    path = written(tmp_path, law_table(seeds=9))
    assert any("sizes" in warning for warning in told(only(path, run="seed"), "'seed'"))
    assert "1 run, where" in refused(path, "--run", "family")


# FLOPs against 6 N D


def test_flops_that_are_not_those_of_n_and_d_are_said_with_their_rows(tmp_path: Path) -> None:
    table = law_table()
    half = table.assign(flops=table["flops"].where(table["params"] < 2e6, table["flops"] / 2))
    (warning,) = told(only(written(tmp_path, half), flops="flops"), "C / (N D)")
    assert "20 of 50 rows" in warning
    assert "line 8" in warning
    assert "is 3 " in warning
    assert "6 in the median" in warning
    assert "IsoFLOP" in warning
    assert told(only(written(tmp_path, table), flops="flops"), "C / (N D)") == []


def test_flops_halved_for_half_the_rows_are_said(tmp_path: Path) -> None:
    table = law_table()
    half = table.assign(flops=np.where(table.index % 4 < 2, table["flops"], table["flops"] / 2))
    assert told(only(written(tmp_path, half), flops="flops"), "C / (N D)")


def test_budgets_that_a_law_leaves_out_are_said(tmp_path: Path) -> None:
    table = law_table()
    few = table[(table["flops"] != 1e15) | (table["params"] < 1e6)]
    (group,) = found(written(tmp_path, few))
    assert len(group["envelope"]["flops"]) == len(group["isoflop"]["profiles"]) == 4
    assert any("1e15 (2)" in warning for warning in group["warnings"])
    assert any("leaves out 1 budget run" in warning for warning in group["warnings"])


def test_resamples_without_a_best_size_are_said(tmp_path: Path) -> None:
    (group,) = found(written(tmp_path, law_table(seeds=1)))
    lost = [profile["best"]["lost"] for profile in group["isoflop"]["profiles"] if profile["best"]]
    assert max(lost) > 0.1
    assert any(f"{max(lost):.0%}" in warning for warning in group["warnings"])


def test_an_infinite_factor_is_refused(tmp_path: Path) -> None:
    assert "--factor" in refused(written(tmp_path, law_table()), "--factor", "inf")
