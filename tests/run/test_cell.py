"""One cell in this process: what its record and its folder hold for what was asked of it."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from pdebench.errors import CellWarning, DataError, MetricError, ModelError, SlotError
from pdebench.measure.spatial.findings import SPATIAL, read_survey
from pdebench.results.record import COLUMNS
from pdebench.run.cell import run_cell
from pdebench.run.preflight import COMPILERS, preflight, refuse_graphs
from pdebench.suite.config import Cell, TrainConfig
from pdebench.tasks.generation import path as flow
from pdebench.tasks.generation.learner import GenerationLearner
from pdebench.tasks.learner import Judged

SECTIONS = {
    "suite": "one",
    "data": {"name": "latents", "resolution": 16},
    "model": {"family": "DiT", "size": "XXS", "patch": 4, "depth": 1},
    "train": {"steps": 2, "batch_size": 4, "lr": 1e-4},
}


def cell(**changes: dict[str, object]) -> Cell:
    sections = {**SECTIONS, **{name: {**SECTIONS.get(name, {}), **keys} for name, keys in changes.items()}}
    return Cell.model_validate_json(json.dumps(sections))


def test_a_cell_that_only_measures_trains_nothing(tmp_path: Path) -> None:
    asked = cell(
        train={"steps": 0},
        evaluate={"samples": 3, "nfe": 2, "batch_size": 1},
        measure={"parts": ["mixer", "block"], "seconds": 0.05},
    )
    row = run_cell(asked, tmp_path)
    assert {"train_loss", "val_loss", "train_step_ms_median", "peak_memory_bytes"}.isdisjoint(row)
    assert row["sample_images_per_s_n"] == 2  # batch 1: latencies; the first is left out
    assert row["mixer_ms_median"] > 0
    assert row["block_ms_median"] > 0
    assert row.keys() <= COLUMNS.keys()
    timings = json.loads((tmp_path / "timings.json").read_text())
    assert len(timings["mixer_seconds"]) == row["mixer_ms_n"]
    assert [path.name for path in tmp_path.iterdir()] == ["timings.json"]  # no checkpoint, and latents make no picture


def test_validation_has_no_more_images_at_once_than_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def network(model: object, images: torch.Tensor, *rest: object) -> torch.Tensor:
        seen.append(len(images))
        return velocity_error(model, images, *rest)  # type: ignore[arg-type]

    velocity_error = flow.velocity_error
    monkeypatch.setattr(flow, "velocity_error", network)
    pictures = tmp_path / "pictures" / "all"
    pictures.mkdir(parents=True)
    for i in range(120):  # a hash sends about a tenth of them to validation
        Image.new("RGB", (16, 16), (2 * i, 0, 0)).save(pictures / f"{i}.png")
    data = {"name": "folder", "resolution": 16, "path": str(pictures.parent)}
    run_cell(cell(data=data, train={"steps": 1, "batch_size": 4, "accumulate": 2}), tmp_path)
    assert len(seen) > 2
    assert max(seen) == 2


def test_a_cell_that_measures_space_has_its_numbers_and_its_maps(tmp_path: Path) -> None:
    row = run_cell(cell(model={"family": "PDE-SSM-DiT"}, measure={"spatial": True}), tmp_path)
    found = read_survey(tmp_path / SPATIAL)
    assert found is not None
    assert found.grid == (4, 4)
    spatial = {key: value for key, value in row.items() if key.startswith("spatial_")}
    assert spatial == found.columns()
    of_clips = {key for key in COLUMNS if "_in_time" in key or "_in_frame" in key}
    assert spatial.keys() == {key for key in COLUMNS if key.startswith("spatial_")} - of_clips
    assert all(value is not None for value in spatial.values())
    assert row["spatial_network_length"] > 0  # two steps have opened the gates


def test_samples_that_are_not_finite_are_neither_shown_nor_measured(tmp_path: Path) -> None:
    """The weights burst in the last step, whose loss was that of the weights before."""
    asked = cell(
        data={"name": "emoji", "resolution": 32},
        train={"steps": 1, "lr": 1e30, "warmup": 0},
        evaluate={"samples": 3, "nfe": 2, "batch_size": 2},
    )
    with pytest.warns(CellWarning, match="3 of 3 samples came out NaN or infinite: none is shown or measured"):
        row = run_cell(asked, tmp_path)
    assert row["sample_images_per_s"] > 0
    assert not (tmp_path / "samples.png").exists()


def test_random_latents_train_at_their_four_channels(tmp_path: Path) -> None:
    row = run_cell(cell(), tmp_path)
    assert row["train_loss"] > 0
    assert row["val_loss"] is row["val_loss_ema"] is None  # nothing of noise is held out
    assert (row["classes"], row["channels"]) == (1000, 4)
    assert row["compile_seconds"] is None


@pytest.mark.skipif(not any(map(shutil.which, COMPILERS)), reason="no C++ compiler")
def test_a_compiled_cell_learns_the_same_and_says_how_long_compiling_took(tmp_path: Path) -> None:
    plain, compiled = tmp_path / "plain", tmp_path / "compiled"
    plain.mkdir()
    compiled.mkdir()
    first = run_cell(cell(), plain)
    second = run_cell(cell(train={"compile": "compile"}), compiled)
    assert second["train_loss"] == pytest.approx(first["train_loss"], rel=1e-4)
    assert second["compile_seconds"] > 0
    assert (plain / "checkpoint.safetensors").stat().st_size == (compiled / "checkpoint.safetensors").stat().st_size


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"data": {"name": "noise"}}, "random numbers"),
        ({"data": {"name": "emoji", "resolution": 32}, "train": {"steps": 0}}, "train.steps is 0"),
    ],
)
def test_metrics_of_nothing_are_refused_before_the_run(tmp_path: Path, changes: dict[str, object], why: str) -> None:
    asked = {"evaluate": {"samples": 8, "metrics": ["fd_efficientnet_lite0"]}, **changes}
    with pytest.raises(MetricError, match=why):
        preflight([cell(**asked)], tmp_path)  # type: ignore[arg-type]


def test_compiling_without_a_compiler_is_refused_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("pdebench.run.preflight.gpus", list)
    monkeypatch.setattr("pdebench.run.preflight.COMPILERS", ("g++", "clang++"))  # CXX may name one by its path
    with pytest.raises(SlotError, match="install g\\+\\+"):
        preflight([cell(train={"compile": "compile"})], tmp_path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="here is a GPU")
def test_cuda_graphs_without_a_gpu_are_refused_before_anything_is_trained(tmp_path: Path) -> None:
    graphed = cell(train={"compile": "compile-graphs"})
    refuse_graphs([graphed, cell(train={"compile": "compile-max"})], gpu=True)
    with pytest.raises(SlotError, match="CUDA graphs, which need a GPU, and there is none here"):
        run_cell(graphed, tmp_path)
    assert not list(tmp_path.iterdir())
    assert graphed.id != cell(train={"compile": "compile"}).id
    with pytest.raises(ValueError, match="compile-graphs runs on one device, not on 4"):
        TrainConfig(steps=1, batch_size=8, lr=1e-3, devices=2, nodes=2, compile="compile-graphs")


def test_keys_that_came_later_leave_identities_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The records in `results/` are found again by the cells that they are of, but for revised families."""
    from pdebench.models.registry import FAMILIES
    from pdebench.suite.load import load_suite

    kept = Path(__file__).parents[2] / "results" / "pde_terms"
    known = {line.split(",")[1] for line in (kept / "table.csv").read_text().splitlines()[1:]}
    now = load_suite(kept / "suite.yaml").cells()
    assert {cell.model.family for cell in now if cell.id in known} == {"DiT", "None-DiT"}
    first = {name: replace(FAMILIES[name], revision=1) for name in ("PDE-SSM-DiT", "DiT", "None-DiT")}
    monkeypatch.setattr("pdebench.suite.identity.FAMILIES", first)
    assert {cell.id for cell in load_suite(kept / "suite.yaml").cells()} == known
    assert cell().id != cell(measure={"parts": ["mixer"]}).id
    assert cell().id != cell(measure={"spatial": True}).id == cell(measure={"spatial": True, "parts": []}).id
    assert cell().id != cell(train={"compile": "compile"}).id
    assert cell().id == cell(measure={"parts": []}).id
    assert cell().id == cell(train={"devices": 1, "accumulate": 1}).id


def test_a_batch_that_cannot_be_shared_out_is_refused() -> None:
    with pytest.raises(ValueError, match="batch_size 8 is not divisible by devices x accumulate, 3 x 2"):
        TrainConfig(steps=1, batch_size=8, lr=1e-3, devices=3, accumulate=2)
    TrainConfig(steps=1, batch_size=12, lr=1e-3, devices=3, accumulate=2)


def test_guidance_without_classes_is_refused_before_the_run(tmp_path: Path) -> None:
    asked = {"data": {"name": "photos", "resolution": 32}, "evaluate": {"samples": 8, "guidance": 4.0}}
    with pytest.raises(DataError, match="has no classes to guide by"):
        preflight([cell(**asked)], tmp_path)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("judged", "said"),
    [
        (Judged({"val_loss": 0.0}), "fills 'val_loss', which the cell has filled"),
        (Judged(files={"../samples.png": b""}), "leaves a file '../samples.png'"),
        (Judged(files={"record.json": b""}), "leaves a file 'record.json'"),
    ],
)
def test_a_task_fills_and_leaves_nothing_of_the_cells_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, judged: Judged, said: str
) -> None:
    monkeypatch.setattr(GenerationLearner, "judge", lambda *_, **__: judged)
    with pytest.raises(ModelError, match=said):
        run_cell(cell(evaluate={"samples": 2, "nfe": 2}), tmp_path)
    assert not (tmp_path.parent / "samples.png").exists()
    assert not (tmp_path / "record.json").exists()
