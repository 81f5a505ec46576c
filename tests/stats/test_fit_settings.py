"""`pdebench fit` on tables whose runs differ in a number of which the fit is not told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from law_tables import law_table, only, told, written


def two_laws(name: str, values: tuple[object, object], times: float = 1.3) -> pd.DataFrame:
    """The law's table twice, and a column that tells the two apart."""
    one, other = law_table(), law_table(noise=0.003)
    return pd.concat(
        [one.assign(**{name: values[0]}), other.assign(val_loss=other["val_loss"] * times, **{name: values[1]})],
        ignore_index=True,
    )


@pytest.mark.parametrize(
    ("name", "values"),
    [("res", (32, 64)), ("image_size", (32, 64)), ("Batch Size", (32, 64)), ("train.lr", (1e-3, 2e-3))],
)
def test_usual_settings_are_named(tmp_path: Path, name: str, values: tuple[object, object]) -> None:
    (warning,) = told(only(written(tmp_path, two_laws(name, values))), f"{name} differs")
    assert f"{values[0]} for 50 rows, {values[1]} for 50" in warning


@pytest.mark.parametrize(
    ("name", "values"), [("tau", (0.1, 0.2)), ("mystery", (32, 64)), ("variant", (0, 1)), ("loss_weight", (1, 2))]
)
def test_an_unknown_number_that_differs_at_equal_points_is_named(
    tmp_path: Path, name: str, values: tuple[object, object]
) -> None:
    path = written(tmp_path, two_laws(name, values))
    (warning,) = told(only(path), f"{name} differs")
    assert f"--group {name}" in warning
    runs = only(written(tmp_path, law_table().assign(tau=np.where(law_table()["params"] < 2e6, 0.1, 0.2)), "sizes.csv"))
    assert told(runs, "differs") == []  # it goes with the size, as a width does


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("random_seed", [11, 12]),
        ("replica", [0, 1]),
        ("k", [1, 2]),
        ("gpu_id", [3, 7]),
        ("memory_gb", [10, 12]),
        ("seconds", [100, 120]),
        ("gpu_memory_peak", [5, 6]),
        ("started_at", [20260101, 20260102]),
        ("Unnamed: 0", [5, 9]),
        ("epoch", [3, 4]),
    ],
)
def test_seeds_times_and_machines_are_no_settings(tmp_path: Path, name: str, values: list[int]) -> None:
    """And neither are numbers that count repeats under an unknown name."""
    runs = only(written(tmp_path, law_table().assign(**{name: values * 25})))
    assert told(runs, "differs") == []


def test_a_measurement_is_no_setting(tmp_path: Path) -> None:
    measured = np.random.default_rng(0).normal(50, 10, 50).round(1)
    assert told(only(written(tmp_path, law_table().assign(sharpness=measured))), "differs") == []
