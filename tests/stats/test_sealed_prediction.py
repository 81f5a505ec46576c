"""`pdebench fit --predict` and `--check`: a budget is predicted before it runs, and held against what came."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from family_tables import BUDGETS, family_table
from law_tables import fit, found, refused, said, written

from pdebench.errors import ResultsError

pytestmark = pytest.mark.usefixtures("few_resamples")
NAMED = ("--n", "params", "--d", "images", "--flops", "flops", "--loss", "val_loss", "--family", "family")
LAST = BUDGETS[-1]


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return family_table({"PDE-SSM-DiT": 1.0, "DiT": 2.0})


@pytest.fixture
def early(tmp_path: Path, table: pd.DataFrame) -> str:
    """What had run before the largest budget."""
    return written(tmp_path, table[table["flops"] < 0.9 * LAST], "early.csv")


@pytest.fixture
def sealed(tmp_path: Path, early: str) -> Path:
    path = tmp_path / "prediction.json"
    shown = fit(early, "--predict", f"{LAST:g}", "--out", str(path), named=NAMED)
    assert shown.exception is None
    assert "PDE-SSM-DiT" in shown.stdout
    assert f"wrote {path}" in shown.stdout
    return path


def test_a_prediction_says_of_what_and_when_and_comes_true(tmp_path: Path, table: pd.DataFrame, sealed: Path) -> None:
    held = json.loads(sealed.read_text())
    assert {one["group"] for one in held["families"]} == {"PDE-SSM-DiT", "DiT"}
    assert all(len(one["rows"]) == 40 and len(one["digest"]) == 64 for one in held["families"])
    assert held["made_at"].endswith("+00:00")
    assert "revision" in held
    best = held["families"][0]["budgets"][0]["n"]
    assert best["low"] < best["value"] < best["high"]
    outcomes = found(written(tmp_path, table), "--check", str(sealed), named=())
    assert [(one["group"], one["inside"]) for one in outcomes] == [("PDE-SSM-DiT", True), ("DiT", True)]
    assert all(len(one["sizes"]) == 5 and sum(size["inside"] for size in one["sizes"]) >= 4 for one in outcomes)
    least = table[(table["family"] == "DiT") & (table["flops"] == LAST)]["val_loss"].min()
    assert outcomes[1]["observed"] == pytest.approx(least)


def test_what_came_otherwise_lies_outside(tmp_path: Path, table: pd.DataFrame, sealed: Path) -> None:
    worse = table.assign(val_loss=table["val_loss"].where(table["flops"] < 0.9 * LAST, table["val_loss"] * 1.2))
    shown = said(written(tmp_path, worse), "--check", str(sealed), named=())
    assert "Of 2 predicted losses that came, 0 lie in their 95% interval" in shown
    assert shown.count("outside") == 2


def test_a_size_that_had_not_run_before_is_not_what_was_predicted(
    tmp_path: Path, table: pd.DataFrame, sealed: Path
) -> None:
    as_it_was = found(written(tmp_path, table), "--check", str(sealed), named=())
    runs = table[(table["flops"] == LAST) & (table["family"] == "DiT")]
    largest = runs[runs["params"] == runs["params"].max()]
    other = largest.assign(
        params=largest["params"] * 3, images=largest["images"] / 3, val_loss=0.5 * runs["val_loss"].min()
    )
    more = written(tmp_path, pd.concat([table, other]))
    assert found(more, "--check", str(sealed), named=()) == as_it_was
    alone = written(tmp_path, pd.concat([table[table["flops"] < 0.9 * LAST], other]))
    assert [one["inside"] for one in found(alone, "--check", str(sealed), named=())] == [None, None]


def test_what_has_not_run_is_neither(early: str, sealed: Path) -> None:
    outcomes = found(early, "--check", str(sealed), named=())
    assert [one["inside"] for one in outcomes] == [None, None]
    assert "Nothing of it has run yet" in said(early, "--check", str(sealed), named=())


def test_rows_that_came_later_do_not_matter(tmp_path: Path, table: pd.DataFrame, sealed: Path) -> None:
    more = pd.concat([table, table[:3].assign(seed=7, val_loss=lambda rows: rows["val_loss"] * 1.003)])
    assert all(one["inside"] for one in found(written(tmp_path, more), "--check", str(sealed), named=()))


def test_rows_that_were_changed_or_taken_out_are_refused(tmp_path: Path, table: pd.DataFrame, sealed: Path) -> None:
    changed = table.copy()
    changed.loc[3, "val_loss"] += 1e-4
    why = refused(written(tmp_path, changed), "--check", str(sealed), named=())
    assert "1 of the 40 rows of PDE-SSM-DiT that the prediction was made from are not there any more" in why
    assert "2 of the 40 rows" in refused(written(tmp_path, table.drop(index=[1, 2])), "--check", str(sealed), named=())
    assert "has no runs" not in why
    alone = written(tmp_path, table[table["family"] == "DiT"])
    assert "of which the table has no runs (it has DiT)" in refused(alone, "--check", str(sealed), named=())


def test_a_budget_that_has_run_is_not_predicted(tmp_path: Path, table: pd.DataFrame, early: str) -> None:
    out = tmp_path / "late.json"
    why = refused(written(tmp_path, table), "--predict", f"{LAST:g}", "--out", str(out), named=NAMED)
    assert "--predict 1e16: runs of 1e16 FLOPs are in the table" in why
    assert not out.exists()
    assert "--predict inf: that is no budget" in refused(early, "--predict", "inf", "--out", str(out), named=NAMED)
    assert not out.exists()
    assert "name the file" in refused(early, "--predict", "1e17", named=NAMED)
    assert "give one of the two" in refused(early, "--predict", "1e17", "--check", str(out), named=NAMED)


def test_what_was_sealed_is_neither_replaced_nor_altered(tmp_path: Path, early: str, sealed: Path) -> None:
    again = fit(early, "--predict", f"{LAST:g}", "--out", str(sealed), named=NAMED)
    assert isinstance(again.exception, ResultsError)
    assert "what was sealed is not replaced" in str(again.exception)
    held = json.loads(sealed.read_text())
    for change in ({"made_at": "2020-01-01T00:00:00+00:00"}, {"checksum": None}):
        other = tmp_path / "other.json"
        other.write_text(json.dumps({key: value for key, value in {**held, **change}.items() if value is not None}))
        shown = fit(early, "--check", str(other), named=())
        assert isinstance(shown.exception, ResultsError)
        assert "is no sealed prediction as it was written" in str(shown.exception)
    assert "there is no sealed prediction" in str(
        fit(early, "--check", str(tmp_path / "none.json"), named=()).exception
    )


def test_all_numbers_and_charts_as_files(tmp_path: Path, early: str) -> None:
    folder = tmp_path / "fitted"
    told = found(early, "--out", str(folder), named=NAMED)
    assert told[0]["comparison"] is None
    assert told[1]["comparison"]["reference"] == "PDE-SSM-DiT"
    assert told[1]["left_out_one_at_a_time"]["lines"][0]["left_out"] == "nothing"
    held = json.loads((folder / "fit.json").read_text())
    numbers = pd.read_csv(folder / "fit.csv")
    alpha = numbers[(numbers["group"] == "DiT") & (numbers["quantity"] == "alpha")]
    assert alpha["value"].item() == pytest.approx(held["fits"][1]["parametric"]["alpha"]["value"])
    times = numbers[numbers["quantity"] == "times the FLOPs at loss"]
    assert len(times) == 15
    assert times["value"].to_numpy() == pytest.approx(2.0, rel=0.3)
    drawn = (folder / "scaling-multiplier.svg").read_bytes()
    assert b"<svg" in drawn[:300]
    assert (folder / "scaling-multiplier.png").read_bytes()[1:4] == b"PNG"


def test_another_reference_and_one_that_is_not_there(early: str) -> None:
    assert found(early, "--reference", "DiT", named=NAMED)[0]["comparison"]["reference"] == "DiT"
    assert "there is no such group; did you mean 'DiT'?" in refused(early, "--reference", "DIT", named=NAMED)


def test_of_a_results_folder_it_stands_there_and_early_runs_are_told(tmp_path: Path, table: pd.DataFrame) -> None:
    names = {"family": "model.family", "seed": "train.seed", "images": "images_seen", "flops": "flops_train"}
    cells = table.rename(columns=names).assign(
        cell=[f"{row:012x}" for row in range(len(table))], status="done", finished_at="2026-01-01T00:00:00+00:00"
    )
    early = cells["flops_train"] < 0.9 * LAST
    cells[early].to_parquet(tmp_path / "table.parquet")
    shown = fit(tmp_path, "--predict", f"{LAST:g}", named=())
    assert shown.exception is None
    path = tmp_path / "sealed_prediction.json"
    assert path.exists()
    cells.loc[~early, "finished_at"] = "2999-01-01T00:00:00+00:00"
    cells.to_parquet(tmp_path / "table.parquet")
    outcomes = found(tmp_path, "--check", str(path), named=())
    assert [(one["inside"], one["early"]) for one in outcomes] == [(True, 0), (True, 0)]
    late = cells.index[~early][:2]
    cells.loc[late, "finished_at"] = "2026-01-01T00:00:00+00:00"
    cells.to_parquet(tmp_path / "table.parquet")
    told = said(tmp_path, "--check", str(path), named=())
    assert "2 runs of a predicted budget had ended before" in told
