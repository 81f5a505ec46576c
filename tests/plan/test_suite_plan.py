"""`pdebench plan` as its reader meets it: what fits, what costs what, in 80 columns and as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pdebench.cli import app, main
from pdebench.plan.cost import count_by_name
from pdebench.plan.suite_plan import Plan, make_plan
from pdebench.suite.load import load_suite

SUITE = """
suite: planned
data: {name: latents, resolution: 16}
model: {family: DiT, size: XXS, patch: 2}
train: {steps: 100, batch_size: 8, lr: 1e-3}
"""


def planned(folder: Path, *lines: str, device: str = "h100") -> Plan:
    file = folder / "planned.yaml"
    file.write_text(SUITE + "\n".join(lines))
    return make_plan(load_suite(file), device)


def plan(folder: Path, *arguments: str, suite: str = "") -> Result:
    file = folder / "planned.yaml"
    file.write_text(SUITE + suite)
    return CliRunner().invoke(app, ["plan", str(file), *arguments], env={"COLUMNS": "80", "TERM": "dumb"})


def test_a_cell_has_its_costs_and_they_add_up(tmp_path: Path) -> None:
    (one,) = planned(tmp_path).predictions
    cost, params = count_by_name("DiT-XXS/2", input_size=16, num_classes=1000)
    assert (one.model_name, one.params, one.macs_forward) == ("DiT-XXS/2", params, cost.macs)
    assert one.flops_train == 6 * cost.macs * 8 * 100
    assert sum(one.macs_by_kind.values()) == one.macs_forward
    assert one.predicted_step_seconds == pytest.approx(sum((one.predicted_step_seconds_by_kind or {}).values()))
    assert one.predicted_train_seconds == pytest.approx(100 * (one.predicted_step_seconds or 0))
    assert one.predicted_fits is True
    assert one.predicted_fitting_batch is None


def test_a_larger_batch_takes_more_and_at_last_does_not_fit(tmp_path: Path) -> None:
    small, large = planned(
        tmp_path, "grid: {model.size: [XL], data.resolution: [64], train.batch_size: [2, 64]}", device="4090"
    ).predictions
    assert (small.predicted_memory_bytes or 0) < (large.predicted_memory_bytes or 0)
    assert (small.predicted_fits, large.predicted_fits) == (True, False)
    batch = large.predicted_fitting_batch
    assert batch is not None
    assert 2 <= batch < 64
    (again,) = planned(
        tmp_path,
        f"grid: {{model.size: [XL], data.resolution: [64], train.batch_size: [{batch}]}}",
        device="4090",
    ).predictions
    assert again.predicted_fits


def test_micro_batches_and_more_devices_save_memory(tmp_path: Path) -> None:
    whole, micro = planned(tmp_path, "grid: {train.batch_size: [64], train.accumulate: [1, 4]}").predictions
    assert (micro.predicted_memory_bytes or 0) < 0.5 * (whole.predicted_memory_bytes or 0)
    shared, *_ = planned(tmp_path, "grid: {train.batch_size: [64], train.devices: [4]}").predictions
    assert (shared.predicted_memory_bytes or 0) < 0.5 * (whole.predicted_memory_bytes or 0)
    assert (shared.predicted_step_seconds or 0) <= (whole.predicted_step_seconds or 0)


def test_what_trains_nothing_has_no_step_and_samples_cost_their_evaluations(tmp_path: Path) -> None:
    sampled = "evaluate: {samples: 16, batch_size: 8, nfe: 10}"
    (idle,) = planned(tmp_path, sampled, "include: [{train.steps: 0}]").predictions
    assert idle.predicted_memory_bytes is idle.predicted_step_seconds is idle.predicted_fits is None
    assert idle.flops_train == idle.predicted_train_seconds == 0
    (guided,) = planned(
        tmp_path, "evaluate: {samples: 16, batch_size: 8, nfe: 20, guidance: 2.0}", "include: [{train.steps: 0}]"
    ).predictions
    assert guided.predicted_sample_seconds == pytest.approx(4 * idle.predicted_sample_seconds)


def test_seeds_share_a_row_and_the_table_fits_80_columns(tmp_path: Path) -> None:
    grid = "grid: {train.seed: [0, 1, 2], model.family: [PDE-SSM-DiT, Mamba2-DiT], model.size: [XL]}"
    shown = plan(tmp_path, "--device", "h100", suite=grid)
    assert shown.exit_code == 0, shown.output
    assert max(map(len, shown.output.splitlines())) <= 80
    words = " ".join(shown.output.split())
    assert "6 cells on NVIDIA H100 SXM 80 GB" in words
    assert words.count("PDE-SSM-DiT-XL/2 ×") == 1
    assert "predicted, not measured" in words
    assert "linear 60%" in words


def test_the_table_marks_and_names_what_will_not_fit(tmp_path: Path) -> None:
    grid = "grid: {data.resolution: [16, 64], train.batch_size: [64], model.size: [L]}"
    words = " ".join(plan(tmp_path, "--device", "4090", suite=grid).output.split())
    assert "1 cell will not fit in the 22.1 GB" in words
    assert "DiT-L/2 at 64 px, batch 64:" in words
    assert "!" in words


def test_a_limit_that_will_be_passed_is_said(tmp_path: Path) -> None:
    words = " ".join(plan(tmp_path, "--device", "h100", suite="limits: {seconds: 0.001}").output.split())
    assert "longer than limits.seconds" in words


def test_settings_of_one_model_have_rows_of_their_own(tmp_path: Path) -> None:
    grid = "grid: {model.family: [PDE-SSM-DiT], model.states: [1, 4], model.padding: [periodic, zero]}"
    words = " ".join(plan(tmp_path, "--device", "a100", suite=grid).output.split())
    assert "S = 4" in words
    assert "zero padding" in words


def test_samples_of_another_side_cost_what_they_do_there(tmp_path: Path) -> None:
    evaluated = "evaluate: {samples: 4096, batch_size: 4096, nfe: 4, resolution: 32}"
    (moved,) = planned(tmp_path, evaluated).predictions
    (plain,) = planned(tmp_path, evaluated.replace(", resolution: 32", "")).predictions
    (there,) = planned(tmp_path, evaluated.replace(", resolution: 32", ""), "grid: {data.resolution: [32]}").predictions
    assert moved.predicted_sample_seconds == there.predicted_sample_seconds > plain.predicted_sample_seconds
    assert moved.predicted_train_seconds == plain.predicted_train_seconds


def test_clips_of_several_lengths_have_rows_of_their_own(tmp_path: Path) -> None:
    clips = "data: {name: sprites_video, resolution: 16}\ngrid: {data.frames: [8, 16], model.patch_frames: [1, 2]}"
    (tmp_path / "clips.yaml").write_text(SUITE.replace("data: {name: latents, resolution: 16}", clips))
    command = ["plan", str(tmp_path / "clips.yaml"), "--device", "h100"]
    words = " ".join(CliRunner().invoke(app, command, env={"COLUMNS": "80", "TERM": "dumb"}).output.split())
    assert [words.count(said) for said in ("8 frames", "16 frames", "patch_frames 1", "patch_frames 2")] == [2] * 4


def test_json_calls_predictions_so_and_says_what_they_rest_on(tmp_path: Path) -> None:
    found = json.loads(plan(tmp_path, "--device", "l40s", "--json").output)
    assert found["device"]["name"] == "NVIDIA L40S 48 GB"
    assert {"efficiency", "datasheet", "assumed"} <= set(found["device"])
    (cell,) = found["cells"]
    assert not any(word in key for key in cell for word in ("memory", "seconds", "fits") if "predicted" not in key)


def test_predictions_are_left_in_a_results_folder(tmp_path: Path) -> None:
    done = plan(tmp_path, "--device", "h100", "--results", str(tmp_path / "results"))
    assert done.exit_code == 0, done.output
    written = json.loads((tmp_path / "results" / "predictions.json").read_text())
    (cell,) = load_suite(tmp_path / "planned.yaml").cells()
    assert [one["cell"] for one in written["cells"]] == [cell.id]


@pytest.mark.parametrize(
    ("suite", "options", "said"),
    [
        ("", ["--device", "tpu"], "tpu"),
        ("grid: {model.family: [DTI]}", ["--device", "h100"], "did you mean 'DiT'?"),
        ("grid: {data.name: [folder], data.path: [/nowhere]}", ["--device", "h100"], "/nowhere"),
        ("", ["--device", "h100", "--results", "/dev/null/x"], "cannot write to the results folder /dev/null/x"),
    ],
)
def test_bad_input_is_one_sentence(
    tmp_path: Path,
    suite: str,
    options: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "planned.yaml"
    file.write_text(SUITE + suite)
    monkeypatch.setattr(sys, "argv", ["pdebench", "plan", str(file), *options])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_the_shipped_suite_spans_what_it_says() -> None:
    suite = load_suite("resolution")
    assert {cell.model.size for cell in suite.cells()} == {"S", "B", "L", "XL"}
    assert {8 * cell.data.resolution for cell in suite.cells()} == {256, 512}
