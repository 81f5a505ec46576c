"""`pdebench fit` on rows that are no runs of their own: checkpoints, copies, and FLOPs that are none of 6 N D."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from family_tables import family_table
from law_tables import groups_of, law_table, only, told, written


def curves(images: np.ndarray, sizes: int = 4) -> pd.DataFrame:
    """One run a size, a row a checkpoint: smooth, as a curve is."""
    rows = [
        (f"run{place}", n, d, 0.12 + 4.0 * n**-0.30 + 60.0 * d**-0.40)
        for place, n in enumerate(np.geomspace(2e5, 8e6, sizes).round())
        for d in images.round()
    ]
    return pd.DataFrame(rows, columns=["run", "params", "images", "val_loss"])


@pytest.mark.parametrize("images", [np.arange(1, 31) * 1e6, np.geomspace(1e6, 1e9, 12)], ids=["even", "doubling"])
def test_checkpoints_without_a_run_are_said(tmp_path: Path, images: np.ndarray) -> None:
    table = curves(images).drop(columns="run")
    (warning,) = told(only(written(tmp_path, table)), "look like checkpoints")
    assert warning.startswith(f"{len(table)} of {len(table)} rows look like checkpoints of single runs: at 4 sizes")
    assert "--run" in warning


def test_with_their_run_they_are_not(tmp_path: Path) -> None:
    path = written(tmp_path, curves(np.arange(1, 31) * 1e6))
    assert told(only(path, run="run"), "look like checkpoints") == []
    assert only(path, run="run").count == 4


def test_runs_at_equal_budgets_are_none(tmp_path: Path) -> None:
    """Ten budgets of five sizes without noise fall as smoothly, and share their compute."""
    assert told(only(written(tmp_path, law_table())), "look like checkpoints") == []
    rows = [
        (n, flops / 6 / n, 0.12 + 4.0 * n**-0.30 + 60.0 * (flops / 6 / n) ** -0.40)
        for n in np.geomspace(2e5, 8e6, 5).round()
        for flops in np.geomspace(1e14, 1e17, 10)
    ]
    table = pd.DataFrame(rows, columns=["params", "images", "val_loss"])
    assert told(only(written(tmp_path, table)), "look like checkpoints") == []


def test_noise_between_runs_is_none(tmp_path: Path) -> None:
    table = curves(np.geomspace(1e6, 1e9, 12)).drop(columns="run")
    table["val_loss"] *= np.exp(0.05 * np.random.default_rng(0).normal(size=len(table)))
    assert told(only(written(tmp_path, table)), "look like checkpoints") == []


@pytest.mark.parametrize(
    ("times", "said"), [(0.5, "3 N D in the median, 0.5 times"), (64, "384 N D in the median, 64 times")]
)
def test_flops_far_from_six_n_d_are_said_with_the_ratio(tmp_path: Path, times: float, said: str) -> None:
    table = law_table().assign(flops=lambda rows: times * rows["flops"])
    (warning,) = told(only(written(tmp_path, table), flops="flops"), "N D in the median")
    assert said in warning
    assert told(only(written(tmp_path, law_table()), flops="flops"), "N D in the median") == []


def test_flops_of_a_factor_that_was_named_are_not(tmp_path: Path) -> None:
    table = law_table().assign(flops=lambda rows: rows["flops"] * 64)
    assert told(only(written(tmp_path, table), flops="flops", factor=384.0), "N D in the median") == []


def test_rows_that_repeat_others_are_one_run(tmp_path: Path) -> None:
    table = pd.concat([law_table(), law_table()[:4]], ignore_index=True)
    runs = only(written(tmp_path, table))
    assert runs.count == 50
    assert told(runs, "4 rows repeat others and count once")


def test_rows_of_another_family_once_more_are_said(tmp_path: Path) -> None:
    table = family_table({"PDE-SSM-DiT": 1.0, "DiT": 2.0})
    copies = table[table["family"] == "PDE-SSM-DiT"][:3].assign(family="DiT")
    path = written(tmp_path, pd.concat([table, copies], ignore_index=True))
    ours, theirs = groups_of(path, group=("family",))
    assert told(ours, "copies under another name") == []
    (warning,) = told(theirs, "copies under another name")
    assert warning.startswith(
        "3 rows (line 92, line 93, line 94) have the parameters, images and losses of rows of PDE-SSM"
    )
