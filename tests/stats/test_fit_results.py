"""`pdebench fit` on results folders: which cells were used, which not, and what differs among them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from law_tables import found, law_table, left, read, refused, said, told

from pdebench.stats.runs import Runs

pytestmark = pytest.mark.usefixtures("few_resamples")


def cells(family: str = "DiT", **columns: Any) -> pd.DataFrame:
    """A results table of the law: 25 cells of one seed, one setting, one data set and one machine."""
    law = law_table(seeds=1)
    names = [hashlib.sha256(f"{family} {row}".encode()).hexdigest()[:12] for row in range(len(law))]
    return pd.DataFrame(
        {
            "suite": "scaling",
            "cell": names,
            "status": "done",
            "finished_at": "2026-01-01T00:00:00+00:00",
            "data.name": "folder",
            "data.resolution": 32,
            "model.family": family,
            "model.size": [f"n{n}" for n in law["params"]],
            "train.seed": 0,
            "train.steps": law["images"] // 64 + 1,
            "train.batch_size": 64,
            "train.precision": "auto",
            "train.schedule": "cosine",
            "train.compile": "eager",
            "evaluate.nfe": 20,
            "params": law["params"],
            "images_seen": law["images"],
            "flops_train": law["flops"],
            "val_loss": law["val_loss"],
            "data_checksum": "3f2a9c1b" + 56 * "0",
            "precision_used": "fp32",
            "machine_fingerprint": "a",
            **columns,
        }
    )


def only(folder: Path, frame: pd.DataFrame) -> Runs:
    """The one group of a table of cells."""
    _, (runs,) = read(table_of(folder, frame))
    return runs


def table_of(folder: Path, frame: pd.DataFrame) -> Path:
    frame.to_parquet(folder / "table.parquet")
    return folder


def folder_of(folder: Path, frame: pd.DataFrame, planned: int = 0) -> Path:
    """A results folder with a record of each cell, and as many cells that have none yet."""
    for cell in frame.to_dict("records"):
        known = {name: None if pd.isna(value) else value for name, value in cell.items()}
        (folder / "cells" / cell["cell"]).mkdir(parents=True)
        (folder / "cells" / cell["cell"] / "record.json").write_text(
            json.dumps(known, default=lambda number: number.item())
        )
    plan = [*frame["cell"], *(f"{number:012x}" for number in range(planned))]
    (folder / "plan.json").write_text(json.dumps(plan))
    return folder


def test_cells_that_are_not_done_are_counted_by_status(tmp_path: Path) -> None:
    frame = cells()
    frame.loc[[24], ["status", "val_loss"]] = ["oom", None]
    frame.loc[[23, 22], ["status", "val_loss"]] = ["timeout", None]
    frame.loc[[21], ["train.steps", "images_seen", "flops_train", "val_loss"]] = [0, 0, 0.0, None]
    path = folder_of(tmp_path, frame, planned=4)
    (group,) = found(path, named=())
    assert group["unfinished"] == {"oom": 1, "timeout": 2, "not trained": 1}
    assert group["left_out"] == []
    assert group["table"]["cells"] == {"done": 21, "oom": 1, "timeout": 2, "not trained": 1, "without a record": 4}
    shown = said(path, named=())
    assert "21 runs" in shown
    assert "2 timeout, 1 oom" in shown
    assert "4 without a record" in shown


def test_a_family_of_which_no_cell_is_done_is_said(tmp_path: Path) -> None:
    frame = pd.concat([cells(), cells("S4D-DiT", status="oom", val_loss=None)], ignore_index=True)
    good, bad = found(table_of(tmp_path, frame), named=())
    assert good["parametric"] is not None
    assert bad["group"] == "S4D-DiT"
    assert "25 oom" in bad["refusals"]["L(N, D)"]
    assert "25 oom" in refused(table_of(tmp_path, frame[frame["status"] == "oom"]), named=())


def test_many_groups_without_a_law_are_a_short_sentence(tmp_path: Path) -> None:
    frame = cells(val_loss=None).assign(**{"data.resolution": range(25)})
    assert len(refused(table_of(tmp_path, frame), named=())) < 500
    frame = cells(val_loss=None).assign(**{"train.steps": 0})
    assert "no runs" in refused(table_of(tmp_path, frame), named=())


def test_a_cell_that_is_done_in_another_row_is_done(tmp_path: Path) -> None:
    frame = pd.concat([cells(), cells(status="killed", val_loss=None)], ignore_index=True)
    assert only(tmp_path, frame).unfinished == {}


def test_a_finished_cell_without_a_loss_is_left_out_by_name(tmp_path: Path) -> None:
    frame = cells()
    frame.loc[3, "val_loss"] = None
    assert left(only(tmp_path, frame)) == [(f"cell {frame['cell'][3]}", "val_loss is missing")]


def test_a_clean_folder_has_nothing_to_say_of_its_cells(tmp_path: Path) -> None:
    source, (runs,) = read(table_of(tmp_path, cells()))
    assert source.told() == []
    assert runs.remarks == runs.left_out == runs.repeated == ()
    assert runs.unfinished == {}


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("precision_used", "bf16"),
        ("train.precision", "bf16"),
        ("train.schedule", "constant"),
        ("train.compile", "compile"),
        ("train.batch_size", 32),
        ("evaluate.nfe", 50),
    ],
)
def test_what_differs_between_sizes_is_said(tmp_path: Path, column: str, value: object) -> None:
    """The two largest sizes ran otherwise: what they differ by is in their exponents."""
    frame = cells()
    frame[column] = frame[column].where(frame["params"] < 2e6, value)
    (warning,) = told(only(tmp_path, frame), column)
    assert f"{value} for 10" in warning
    assert f"{cells()[column][0]} for 15" in warning


def test_seeds_steps_and_machines_are_no_difference(tmp_path: Path) -> None:
    frame = cells()
    frame["machine_fingerprint"] = frame["machine_fingerprint"].where(frame["params"] < 2e6, "b")
    assert told(only(tmp_path, frame), "differs") == []


def test_rows_of_other_data_are_another_group(tmp_path: Path) -> None:
    """Two contents under one name, though each ran at sizes of its own; a group that is asked for changes nothing."""
    frame = cells()
    frame["data_checksum"] = frame["data_checksum"].where(frame["params"] < 2e6, "77aa00ff" + 56 * "0")
    for asked in ({}, {"group": ("model.family",)}):
        groups = read(table_of(tmp_path, frame), **asked)[1]
        assert {runs.name: runs.count for runs in groups} == {"DiT, data 3f2a9c1b": 15, "DiT, data 77aa00ff": 10}


@pytest.mark.parametrize(
    ("column", "value", "name"),
    [
        ("data.name", "photos", "photos"),
        ("data.resolution", 64, "64"),
        ("family_revision", 2, "2"),
        ("family_source", "3f2a9c1b0d4e", "3f2a9c1b0d4e"),
    ],
)
def test_rows_of_another_data_set_resolution_or_code_are_another_group(
    tmp_path: Path, column: str, value: object, name: str
) -> None:
    frame = cells(family_revision=None, family_source="000000000000")
    frame[column] = frame[column].astype(object).where(frame["params"] < 2e6, value)
    assert any(name in runs.name for runs in read(table_of(tmp_path, frame))[1])


def test_equal_contents_under_two_paths_are_one_group(tmp_path: Path) -> None:
    frame = cells()
    frame["data.path"] = ["/a" if row % 2 else "/b" for row in range(len(frame))]
    assert only(tmp_path, frame).count == 25


def test_a_cell_on_two_machines_is_one_run(tmp_path: Path) -> None:
    """Its losses differ in their last digits, and are of one run."""
    again = cells(machine_fingerprint="b").assign(val_loss=lambda rows: rows["val_loss"] * 1.0001)
    (once,) = found(table_of(tmp_path, cells()), named=())
    (twice,) = found(table_of(tmp_path, pd.concat([cells(), again])), named=())
    assert max(twice["runs"]["run"]) + 1 == 25
    assert any("one seed" in warning for warning in twice["warnings"])
    assert any("50 rows are of 25 runs" in warning and "two machines" in warning for warning in twice["warnings"])
    for name in ("alpha", "beta"):
        width = [group["parametric"][name]["high"] - group["parametric"][name]["low"] for group in (once, twice)]
        assert width[1] == pytest.approx(width[0], rel=0.1)


def test_a_cell_of_two_folders_counts_once(tmp_path: Path) -> None:
    runs = only(tmp_path, pd.concat([cells(), cells(machine_fingerprint="b")]))
    assert runs.count == len(runs.repeated) == 25
    assert runs.repeated[0].of == f"cell {cells()['cell'][0]}"


def test_a_score_that_rises_is_no_loss(tmp_path: Path) -> None:
    table = cells()
    table["top1"] = 1 - table["val_loss"] / 10
    told = refused(table_of(tmp_path, table), "--loss", "top1", named=())
    assert "--loss top1: Top-1 accuracy rises with compute" in told
    table["top1_error"] = 1 - table["top1"]
    assert refused(table_of(tmp_path, table), "--loss", "top1", named=()).endswith("take top1_error")
