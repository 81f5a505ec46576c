"""A record is checked once, where it is read: one that is none is named and left out, and the others are shown."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import Result
from typer.testing import CliRunner

from pdebench.cli import app
from pdebench.errors import ResultsError
from pdebench.report import html
from pdebench.results import record_schema
from pdebench.results.curves import CURVE, load_curves
from pdebench.results.record import COLUMNS, dtype_of
from pdebench.results.record_schema import LONGEST_TEXT, fault, trimmed
from pdebench.results.store import LEFT_OUT, frame_of, load_results, read_results
from pdebench.run.slurm.jobs import submissions
from pdebench.stats.source import ChosenColumns, load

GOOD, BAD = "0123456789ab", "ba9876543210"
ROOT = Path(__file__).parents[2]
RECORD = {
    "suite": "tiny",
    "cell": GOOD,
    "status": "done",
    "message": None,
    "task": "generation",
    "finished_at": "2026-01-01T00:00:00+00:00",
    "data.name": "photos",
    "data.resolution": 32,
    "model.family": "DiT",
    "model.size": "XXS",
    "train.steps": 3,
    "train.seed": 0,
    "train.betas": [0.9, 0.999],
    "params": 300,
    "val_loss": 0.5,
    "train_step_ms_median": 3.0,
}

SUITE = """\
suite: tiny
data: {name: photos, resolution: 32}
model: {family: DiT, size: XXS, patch: 8}
train: {steps: 3, batch_size: 4, lr: 1e-3}
"""


def results(folder: Path, *records: dict[str, Any] | str) -> Path:
    """A results folder with one good record and others, whatever they hold."""
    identities = [GOOD, *(f"{number:012x}" for number in range(len(records)))]
    for identity, record in zip(identities, [RECORD, *records], strict=True):
        cell = folder / "out" / "cells" / identity
        cell.mkdir(parents=True)
        own = record if isinstance(record, str) else json.dumps(record | {"cell": identity})
        (cell / "record.json").write_text(own)
    (folder / "out" / "plan.json").write_text(json.dumps(identities))
    (folder / "out" / "suite.yaml").write_text(SUITE)
    return folder / "out"


def pdebench(*arguments: object) -> Result:
    return CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)


NOT_RECORDS: dict[str, dict[str, Any] | str] = {
    "text for a resolution": RECORD | {"data.resolution": "32"},
    "resolution of nothing": RECORD | {"data.resolution": 0},
    "huge resolution": RECORD | {"data.resolution": 10**40},
    "list for a family": RECORD | {"model.family": ["DiT"]},
    "number for a family": RECORD | {"model.family": 3},
    "long family": RECORD | {"model.family": "D" * 5000},
    "truth for a seed": RECORD | {"train.seed": True},
    "negative seed": RECORD | {"train.seed": -1},
    "number for a flag": RECORD | {"data.flip": 1},
    "infinite rate": json.dumps(RECORD | {"cell": f"{0:012x}"}).replace("0.5", "1e999"),
    "zero timing": RECORD | {"train_step_ms_median": 0},
    "negative timing": RECORD | {"train_step_ms_median": -3.0},
    "subnormal timing": RECORD | {"train_step_ms_median": 5e-324},
    "extreme timing": RECORD | {"train_step_ms_median": 1e300},
    "negative count": RECORD | {"train_step_ms_n": -1},
    "infinite option": json.dumps(RECORD | {"cell": f"{0:012x}", "model.odd": 7.5}).replace("7.5", "1e999"),
    "list of lists": RECORD | {"model.odd": [[1]]},
    "object": RECORD | {"model.odd": {"a": 1}},
    "long list": RECORD | {"model.odd": [1] * 101},
    "text for a count": RECORD | {"metric_samples": "256"},
    "list of uncounted": RECORD | {"macs_uncounted": [1]},
    "no date": RECORD | {"finished_at": "yesterday"},
    "half of a date": RECORD | {"finished_at": "2026-13-01T00:00:00+00:00"},
    "no start": RECORD | {"started_at": "soon"},
    "empty suite": RECORD | {"suite": ""},
    "long message": RECORD | {"status": "error", "message": "x" * 3_000_000},
    "many keys": RECORD | {f"k{number}": number for number in range(16_000)},
    "half of a pair": RECORD | {"message": "\ud800"},
    "long key": RECORD | {"k" * 200: 1},
    "the same key twice": json.dumps(RECORD | {"cell": f"{0:012x}"})[:-1] + ', "params": 4}',
    "text for a score": RECORD | {"fd_efficientnet_lite0": "low"},
}


@pytest.mark.parametrize("record", NOT_RECORDS.values(), ids=NOT_RECORDS)
def test_a_record_that_is_none_is_one_row_that_is_left_out_and_named(tmp_path: Path, record: Any) -> None:
    folder = results(tmp_path, record)
    began = time.process_time()
    with pytest.warns(UserWarning, match=f"left out: .*{0:012x}/record.json is not a record: ") as said:
        frame = load_results(folder)
    assert time.process_time() - began < 5
    assert list(frame["cell"]) == [GOOD]
    assert len(str(said[0].message)) < 500
    alone = results(tmp_path / "alone", record)
    (alone / "plan.json").write_text(json.dumps([f"{0:012x}"]))
    with pytest.raises(ResultsError, match=f"{0:012x}/record.json is not a record"):
        read_results(alone)


def test_report_and_status_go_on_without_what_is_no_record(tmp_path: Path) -> None:
    folder = results(tmp_path, RECORD | {"data.resolution": "<b>32</b>"})
    made = pdebench("report", folder, "--figures", "svg")
    assert made.exit_code == 0
    assert made.stderr.count("\n") == 1
    assert f"left out: {folder}/cells/{0:012x}/record.json is not a record: data.resolution is '<b>32" in made.stderr
    page = (folder / "report.html").read_text()
    assert "1 file of cells could not be read" in page
    assert f"{0:012x}/record.json is not a record: data.resolution is &#39;&lt;b&gt;32" in page
    found = json.loads(pdebench("report", folder, "--figures", "svg", "--json").stdout)
    assert found["cells"] == 1
    assert len(found["left_out"]) == 1
    told = pdebench("status", folder)
    assert told.exit_code == 0
    assert f"damaged: cell {0:012x}: {folder}/cells/{0:012x}/record.json is not a record" in told.stdout
    assert "2 cells: 1 done, 1 damaged" in told.stdout


def test_a_fit_says_which_records_it_lacks(tmp_path: Path) -> None:
    folder = results(tmp_path, RECORD | {"params": "many"})
    source, _ = load(folder, ChosenColumns())
    assert any("params is 'many'" in text for text in source.told())
    assert source.unrecorded == 0
    assert len(source.as_json()["left_out"]) == 1


def test_types_that_are_mixed_over_records_are_one_column_of_text(tmp_path: Path) -> None:
    odd = [3, "three", True, [1, 2], None, 0.5]
    folder = results(tmp_path, *(RECORD | {"model.odd": value} for value in odd))
    frame = load_results(folder)
    assert list(frame["model.odd"].dropna()) == ["3", "three", "True", "1, 2", "0.5"]
    frame.to_parquet(tmp_path / "table.parquet")
    counts = load_results(results(tmp_path / "b", RECORD | {"model.odd": 1}, RECORD | {"model.odd": 0.5}))
    assert counts["model.odd"].dtype.kind == "f"


def test_many_records_cannot_make_a_table_of_any_width(tmp_path: Path) -> None:
    wide = [RECORD | {f"k{number}_{key}": 1 for key in range(300)} for number in range(5)]
    frame = read_results(results(tmp_path, *wide))
    assert 1 < len(frame) < 6
    assert frame.shape[1] < 1200
    assert "more than 1,000 columns" in frame.attrs[LEFT_OUT][0]


def test_a_failure_without_a_message_is_shown(tmp_path: Path) -> None:
    folder = results(tmp_path, {key: value for key, value in RECORD.items() if key != "message"} | {"status": "error"})
    assert pdebench("report", folder, "--figures", "svg").exit_code == 0
    assert "1 error" in pdebench("status", folder).stdout


def test_what_libraries_say_is_cut_to_what_may_be_read_again() -> None:
    record = RECORD | {"status": "error", "message": "\ud800" + "x" * 10**6}
    assert fault(record, GOOD) is not None
    assert fault(trimmed(record), GOOD) is None
    assert len(str(trimmed(record)["message"])) == LONGEST_TEXT


def test_two_thousand_records_are_checked_in_no_time() -> None:
    record = RECORD | {name: None for name in COLUMNS if name not in RECORD}
    fault(record, GOOD)
    calls = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        assert fault(record, GOOD) is None
    finally:
        sys.setprofile(None)
    assert calls < 100, "a value costs at most one call"


def committed() -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("results/*/*.csv"))


@pytest.mark.parametrize("path", committed())
def test_every_committed_result_passes(path: str) -> None:
    table = pd.read_csv(ROOT / path, dtype=object, keep_default_na=True)
    whole = {name for name, rule in record_schema._rules().items() if int in rule.types}
    broken = {name for name, rule in record_schema._rules().items() if float in rule.types} - whole
    lists = {name for name, rule in record_schema._rules().items() if rule.types == (list,)}
    flags = {name for name, rule in record_schema._rules().items() if rule.types == (bool,)}

    def plain(name: str, text: str) -> Any:
        if name in lists:
            return text.split(", ")
        if name in flags:
            return text == "True"
        number = name in whole | broken or dtype_of(name) == "Float64"
        return float(text) if number else text

    for row in table.to_dict("records"):
        record = {str(name): None if value != value else plain(str(name), value) for name, value in row.items()}
        assert fault(record, str(record["cell"])) is None


# curves


def curve(folder: Path, **columns: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), folder / "curve.parquet")
    return folder / "curve.parquet"


def usual(rows: int) -> dict[str, Any]:
    return {name: pa.array([float(row) for row in range(rows)]) for name in CURVE}


CURVES: dict[str, dict[str, Any]] = {
    "nested": usual(3) | {"train_loss": pa.array([[1.0]] * 3)},
    "texts": usual(3) | {"train_loss": pa.array(["a"] * 3)},
    "lacking": {name: column for name, column in usual(3).items() if name != "val_loss"},
    "wide": usual(3) | {f"c{number}": pa.array([1, 2, 3]) for number in range(100)},
}


@pytest.mark.parametrize("columns", CURVES.values(), ids=CURVES)
def test_a_curve_that_is_none_is_left_out_and_named(tmp_path: Path, columns: dict[str, Any]) -> None:
    folder = results(tmp_path, RECORD)
    curve(folder / "cells" / GOOD, **usual(3))
    curve(folder / "cells" / f"{0:012x}", **columns)
    frame = load_curves(folder, read_results(folder))
    assert set(frame["cell"]) == {GOOD}
    assert f"{0:012x}/curve.parquet is not a training curve" in frame.attrs[LEFT_OUT][0]
    assert "curve.parquet is not a training curve" in pdebench("report", folder, "--figures", "svg").stderr


def test_a_curve_is_refused_by_what_it_says_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few KiB that claim many millions of steps, since all are alike."""
    rows = 4_000_000
    zeros = pa.DictionaryArray.from_arrays(pa.array([0] * 1000, pa.int8()), pa.array([0.0])).dictionary_decode()
    steps = pa.chunked_array([zeros] * (rows // 1000))
    folder = results(tmp_path)
    path = curve(folder / "cells" / GOOD, **dict.fromkeys(CURVE, steps))
    assert path.stat().st_size < 2**19
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", None)  # nothing is decoded
    assert "it has 4,000,000 rows, more than 3,000,000" in load_curves(folder, read_results(folder)).attrs[LEFT_OUT][0]


def test_all_curves_of_a_folder_are_bounded_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pdebench.results.curves.MOST_STEPS_OF_ALL", 5)
    folder = results(tmp_path, RECORD)
    for cell in (GOOD, f"{0:012x}"):
        curve(folder / "cells" / cell, **usual(3))
    frame = load_curves(folder, read_results(folder))
    assert len(frame) == 3
    assert "it has 3 rows, more than 2" in frame.attrs[LEFT_OUT][0]


# what passes can be shown


@pytest.mark.parametrize(
    "changes",
    [
        {"val_loss": 1e99, "train_loss": -1e99, "kid_x": -0.5, "fd_x": 0},
        {"train_step_ms_median": 1e-9, "train_step_ms_q1": 1e15, "train_step_ms_q3": 1e-9, "train_images_per_s": 1e15},
        {"params": 0, "tokens": 0, "macs_forward": 2**63 - 1, "peak_memory_bytes": 0, "flops_train": 0.0},
        {"data.resolution": 2**62, "train.lr": 5e-324, "train.steps": 0, "train.batch_size": 2**62},
        {"spatial_gain_ratio": 1e99, "spatial_locality": -1e99, "spatial_shift_error": 5e-324},
        {"macs_uncounted": '{"a": 1', "mixer_implementation": "{}%s\\", "warnings": " | ", "data.path": ""},
        {"model.family": "=cmd|' /C calc'!A0", "model.size": "\x00\x1b[31m", "data.name": "a|b<c>", "suite": "\u202e"},
        {"model.family": " ", "message": "", "model_name": "[*]", "train.betas": [], "git_commit": "", "device": ""},
        {"finished_at": "2261-12-31T00:00:00", "started_at": "1970-01-01T00:00:00+14:00"},
    ],
    ids=range(9),
)
def test_what_passes_can_be_shown(tmp_path: Path, changes: dict[str, Any]) -> None:
    odd = RECORD | changes
    assert fault(odd, GOOD) is None
    other = RECORD | {"cell": BAD, "train.seed": 1, "model.family": "PDE-SSM-DiT"}
    page = html.make_page(
        frame_of([odd, other, odd | {"cell": "c" * 12, "status": "oom"}]), _no_curves(), {"": tmp_path}
    )
    html.render(page, html.sections(page)).encode()


def _no_curves() -> pd.DataFrame:
    return pd.DataFrame(columns=["cell", *CURVE])


@pytest.mark.parametrize("seeds", [1, 2])
def test_extremes_of_every_kind_side_by_side_can_be_shown(tmp_path: Path, seeds: int) -> None:
    extremes = {
        "train_step_ms_median": (1e-9, 1e15, 1.0),
        "train_step_ms_q1": (1e-9, 1e-9, 1e-9),
        "train_step_ms_q3": (1e15, 1e15, 1e15),
        "train_step_ms_n": (30, 30, 30),
        "train_images_per_s": (1e15, 1e-9, 1.0),
        "val_loss": (1e99, 0.0, -1e99),
        "peak_memory_bytes": (0, 2**62, 1),
        "fd_efficientnet_lite0": (1e99, -1e99, 0.0),
        "kid_efficientnet_lite0": (1e99, -1e99, 0.0),
        "params": (0, 2**63 - 1, 1),
        "flops_train": (0.0, 1e99, 1.0),
    }
    rows = []
    for place, family in enumerate(("DiT", "PDE-SSM-DiT", "Mamba-DiT")):
        for seed in range(seeds):
            own = {name: values[(place + seed) % 3] for name, values in extremes.items()}
            about = {"cell": f"{len(rows):012x}", "model.family": family, "train.seed": seed, "tokens": 4**place}
            rows.append(RECORD | own | about)
            assert fault(rows[-1], rows[-1]["cell"]) is None
    page = html.make_page(frame_of(rows), _no_curves(), {"": tmp_path})
    html.render(page, html.sections(page)).encode()


@pytest.mark.parametrize("change", [{"submitted_at": 3}, {"submitted_at": None}, {"job": "9" * 99}, {"cells": "abc"}])
def test_a_list_of_jobs_of_other_types_is_named(tmp_path: Path, change: dict[str, Any]) -> None:
    folder = results(tmp_path)
    job = {"job": "1", "cells": [GOOD], "submitted_at": "2026-01-01T00:00:00+00:00"}
    (folder / "jobs.json").write_text(json.dumps([job | change]))
    with pytest.raises(ResultsError, match=r"jobs\.json is not a list of jobs"):
        submissions(folder)


@pytest.mark.parametrize("files", ["[1]", "null", '"x"', "1e999", "NaN", "nope", '{"curve.parquet": 1}', "[" * 9000])
def test_a_list_of_files_that_is_none_is_a_record_that_is_none(tmp_path: Path, files: str) -> None:
    folder = results(tmp_path, RECORD | {"files": files})
    shown = pdebench("report", folder, "--out", tmp_path / "report")
    assert shown.exit_code == 0, shown.output
    assert "files is" in read_results(folder).attrs[LEFT_OUT][0]
