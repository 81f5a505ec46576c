"""The results folder: whole files or none, typed tables, records that survive."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from pdebench.errors import ResultsError
from pdebench.results import store
from pdebench.results.lease import Leases
from pdebench.results.store import Results, frame_of, load_results, read_record, write_atomic, write_json
from pdebench.run.preflight import preflight
from pdebench.suite.load import load_suite

WRITER = """
import sys
from pathlib import Path
from pdebench.results.store import write_json
n = 0
while True:
    n += 1
    write_json(Path(sys.argv[1]), {"n": n, "filler": ["x" * 1000] * 2000, "end": n})
"""

ONE_AND_TWO = ["1" * 12, "2" * 12]


def test_a_record_is_whole_however_its_writer_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    for attempt in range(6):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)])
        while not path.exists():
            time.sleep(0.01)
        time.sleep(0.05 + 0.013 * attempt)
        writer.kill()
        writer.wait()
        record = json.loads(path.read_text())
        assert record["n"] == record["end"]
        path.unlink()


def test_nan_is_not_written_as_a_number(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "record.json", {"val_loss": float("nan")})
    assert not list(tmp_path.iterdir())


def test_columns_are_typed_even_where_nothing_was_measured() -> None:
    frame = frame_of(
        [
            {"cell": "a", "status": "done", "model.family": "DiT", "train.lr": 1, "params": 3, "val_loss": 1},
            {"cell": "b", "status": "oom", "model.family": "DiT", "train.betas": [0.9, 0.99], "message": "no"},
        ]
    )
    assert str(frame["params"].dtype) == "Int64"
    assert str(frame["val_loss"].dtype) == "Float64"
    assert frame["val_loss"].isna().tolist() == [False, True]
    assert frame["train.betas"][1] == "0.9, 0.99"
    assert str(frame["status"].dtype) == "string"


@pytest.mark.parametrize("held", ['{"half": ', "null", "[]", ""])
def test_a_damaged_record_is_named(tmp_path: Path, held: str) -> None:
    cell = tmp_path / "cells" / "abc"
    cell.mkdir(parents=True)
    write_atomic(cell / "record.json", held)
    with pytest.raises(ResultsError, match=r"abc/record\.json is not a record"):
        load_results(tmp_path)


def test_a_record_is_read_once_until_its_file_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results, cell = Results(tmp_path), "1" * 12
    folder = results.cell(cell)
    folder.mkdir(parents=True)
    record = {"suite": "s", "cell": cell, "status": "error", "finished_at": "2026-01-01T00:00:00+00:00"}
    write_json(folder / "record.json", record)
    reads = 0

    def counted(path: Path) -> dict[str, Any] | None:
        nonlocal reads
        reads += 1
        return read_record(path)

    monkeypatch.setattr(store, "read_record", counted)
    first = results.record(cell)
    assert first == record
    first["status"] = "changed by who asked"
    assert results.record(cell) == record
    assert reads == 1
    write_json(folder / "record.json", record | {"status": "done"})
    again = results.record(cell)
    assert again is not None
    assert again["status"] == "done"
    (folder / "record.json").unlink()
    assert results.record(cell) is None


def test_an_empty_folder_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="pdebench run SUITE"):
        load_results(tmp_path)


def test_another_suite_keeps_out_of_a_folder_while_a_run_fills_it(tmp_path: Path) -> None:
    results = Results(tmp_path)
    results.make("suite: a\n", ONE_AND_TWO)
    results.cell(ONE_AND_TWO[0]).mkdir(parents=True)
    leases = Leases(tmp_path)
    assert leases.claim(results.cell(ONE_AND_TWO[0]))
    results.make("suite: a\n", ONE_AND_TWO)  # the same suite shares
    with pytest.raises(ResultsError, match="with another suite"):
        results.make("suite: b\n", ["3" * 12])
    leases.release(results.cell(ONE_AND_TWO[0]))
    results.make("suite: b\n", ["3" * 12])
    assert results.plan() == ["3" * 12]


def test_a_full_disk_is_said_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(10, 9, 2**20))
    cells = load_suite("quickstart").cells()
    monkeypatch.setattr("pdebench.run.preflight._refuse_uncached", lambda data: None)  # which says as much of the cache
    with pytest.raises(ResultsError, match="1 MiB free"):
        preflight(cells, tmp_path)
