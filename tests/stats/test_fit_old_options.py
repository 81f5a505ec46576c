"""Cells that ran before an option of their family was there are runs of what its value of then says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pdebench.models import settings
from pdebench.models.registry import FAMILIES
from pdebench.models.settings import setting_of
from pdebench.stats.cells import fill_in, told_apart
from pdebench.stats.source import ChosenColumns, load


def cells(**columns: list[Any]) -> pd.DataFrame:
    count = 6
    table = {
        "cell": [f"{place:012d}" for place in range(count)],
        "status": ["done"] * count,
        "model.family": ["PDE-SSM-DiT"] * count,
        "model.size": ["S"] * count,
        "params": [1000 * 2**place for place in range(count)],
        "images_seen": [5000 * 3**place for place in range(count)],
        "flops_train": [1e9 * 7**place for place in range(count)],
        "val_loss": [0.5 - 0.01 * place for place in range(count)],
    }
    return pd.DataFrame({**table, **columns})


def test_cells_of_before_an_option_are_fitted_with_those_of_after(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    old = {"model.gate": [None] * 3 + [False] * 3, "model.states": [None] * 3 + [1] * 3}
    old |= {"train.compile": [None] * 3 + ["eager"] * 3, "train.time_scale": [None] * 3 + [1000.0] * 3}
    cells(**old).to_csv(path, index=False)
    source, columns = load(path, ChosenColumns(None, None, None, None, None, (), 6.0))
    assert columns.group == ("model.family",)
    assert source.table["model.gate"].tolist() == [False] * 6
    assert source.table["train.compile"].tolist() == ["eager"] * 6


def test_an_option_of_one_family_is_not_given_to_another() -> None:
    table = cells(**{"model.family": ["DiT"] * 3 + ["PDE-SSM-DiT"] * 3, "model.gate": [None] * 4 + [True] * 2})
    fill_in(table)
    assert table["model.gate"].isna().tolist() == [True] * 3 + [False] * 3
    assert table["model.gate"].tolist()[3:] == [False, True, True]
    assert "model.gate" in told_apart(table)


def test_what_an_option_was_before_it_came_is_not_always_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = {**FAMILIES, "PDE-SSM-DiT": replace(FAMILIES["PDE-SSM-DiT"], neutral={"gate": True})}
    monkeypatch.setattr(settings, "FAMILIES", changed)
    assert str(setting_of("PDE-SSM-DiT", {})) == "gate"
    assert str(setting_of("PDE-SSM-DiT", {"model.gate": False})) == "plain"
    table = cells(**{"model.gate": [None] * 3 + [False] * 3})
    fill_in(table)
    assert table["model.gate"].tolist() == [True] * 3 + [False] * 3
