"""What another program gets to see of a run: events as JSON lines, and what an experiment tracker shows."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pandas as pd
import pytest
from runs import pdebench_run, write_suite

import pdebench
from pdebench import cli
from pdebench.installing import install
from pdebench.results import tracking


def test_events_and_a_tracker_tell_what_the_records_do(suite: Path, tmp_path: Path) -> None:
    """One cell whose weights burst at the last step; one that is fine, in a folder laid out to be written through."""
    write_suite(tmp_path, steps=1, more="include: [{model.family: DiT, train.lr: 1.0e30}]\n")
    results, mine = tmp_path / "out", tmp_path / "mine"
    burst, fine = (cell.id for cell in pdebench.load_suite(suite).cells())
    (results / "cells" / fine).mkdir(parents=True)
    mine.write_text("mine\n")
    for name in ("log.txt", "config.yaml", "lease", "curve.parquet"):
        (results / "cells" / fine / name).symlink_to(mine)

    run = pdebench_run("run", suite, "--results", results, "--log-json", "--track", "tensorboard")
    assert run.returncode == 4, run.stderr
    assert mine.read_text() == "mine\n"

    events = [json.loads(line) for line in run.stdout.splitlines()]
    assert events[0]["event"] == "planned"
    assert events[0]["cells"] == [burst, fine]
    assert all("at" in event for event in events)
    for cell in (burst, fine):
        told = [event for event in events if event.get("cell") == cell]
        assert [event["event"] for event in told if event["event"] != "progress"] == ["started", "ended"]
        assert told[0]["event"] == "started"
        (step,) = [event for event in told if event.get("stage") == "train"]
        assert (step["step"], step["steps"]) == (1, 1)
    table = pdebench.load_results(results)
    assert list(table["status"]) == ["diverged", "done"]
    assert [event["status"] for event in events if event["event"] == "ended"] == ["diverged", "done"]
    assert "val_loss" in table["message"][0]
    assert "not finite" in table["message"][0]
    assert table["val_loss"].isna()[0]

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert not (results / "cells" / burst / "tensorboard").exists()
    shown = EventAccumulator(str(results / "cells" / fine / "tensorboard")).Reload()
    curve = pd.read_parquet(results / "cells" / fine / "curve.parquet")
    (point,) = shown.Scalars("curve/train_loss")
    assert (point.step, point.value) == (1, pytest.approx(curve["train_loss"][0]))
    assert shown.Scalars("record/val_loss")[0].value == pytest.approx(table["val_loss"][1])
    assert shown.Images("samples")[0].width > 8
    assert "model.family: PDE-SSM-DiT" in shown.Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()


def test_a_tracker_that_is_not_installed_is_said_before_anything_runs(
    suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(tracking, "version", absent)
    arguments = ["run", suite, "--results", tmp_path / "out", "--track", "wandb"]
    monkeypatch.setattr("sys.argv", ["pdebench", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert install("wandb") in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_standard_output_is_one_programs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["pdebench", "run", "quickstart", "--json", "--log-json"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert "give one of them" in capsys.readouterr().err


@pytest.mark.parametrize("tracker", tracking.WRITERS)
def test_what_a_tracker_has_is_replaced(tmp_path: Path, tracker: str) -> None:
    pytest.importorskip(tracker)
    record = {
        "suite": "tiny", "cell": "0123456789ab", "model_name": "DiT-XXS/8", "started_at": "2026-01-01T00:00:00+00:00",
        "model.family": "DiT", "val_loss": 0.5,
    }  # fmt: skip
    curve = {"step": [1, 2], "seconds": [0.1, 0.2], "train_loss": [2.0, 1.0], "val_loss": [None, 0.5]}
    pd.DataFrame(curve | {"lr": [0.1, 0.1], "grad_norm": [1.0, 1.0]}).to_parquet(tmp_path / "curve.parquet")
    for _ in range(2):
        tracking.write(tracker, tmp_path, record)
    files = [*(tmp_path / tracker).glob("events.out.*"), *(tmp_path / tracker).glob("offline-run-*/*.wandb")]
    assert len(files) == 1
    assert files[0].stat().st_size > 100
