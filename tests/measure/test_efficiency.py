"""MFU of steps and of samples, against what is counted by hand and what goes through the network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch.nn.modules.module import register_module_forward_hook

from pdebench.measure.efficiency import Peak, mfu_columns, peak_of
from pdebench.models.backbone import Backbone
from pdebench.plan.cost_cache import cached_cost
from pdebench.plan.devices import DATASHEETS, datasheet_of
from pdebench.results.record import COLUMNS, without_timings
from pdebench.results.record_schema import fault
from pdebench.run import cell as running
from pdebench.suite.config import Cell
from pdebench.system import energy


def test_steps_and_samples_by_hand() -> None:
    """A step of 3e14 FLOPs in 0.6 s, and 20 images of 5e12 FLOPs a second, on two devices of 1e15 and of 2.5e14."""
    row = {"flops_train_step": 3e14, "train_step_ms_median": 600.0, "sample_images_per_s": 20.0}
    assert mfu_columns(Peak(1e15, "bf16", "a datasheet", 2), row, 5e12) == {
        "train_mfu": pytest.approx(0.25),
        "sample_mfu": pytest.approx(0.05),
        "mfu_peak": "2 × 1000 TFLOP/s bf16 dense, a datasheet",
    }
    assert mfu_columns(Peak(2.5e14, "fp32", "a datasheet"), row, 5e12) == {
        "train_mfu": pytest.approx(2.0),  # nothing hides a peak that is not the device's
        "sample_mfu": pytest.approx(0.4),
        "mfu_peak": "250 TFLOP/s fp32 dense, a datasheet",
    }


def test_nothing_is_told_of_what_was_not_timed_or_of_an_unknown_device() -> None:
    assert mfu_columns(Peak(1e15, "bf16", "a datasheet"), {"flops_train_step": 3e14}, None) == {}
    trained = {"flops_train_step": 3e14, "train_step_ms_median": 600.0}
    assert mfu_columns(None, trained, None) == {"train_mfu": None, "mfu_peak": None}
    assert "sample_mfu" not in mfu_columns(Peak(1e15, "bf16", "a datasheet"), trained, None)


@pytest.mark.parametrize(
    ("device", "precision", "text"),
    [
        ("NVIDIA H200", "bf16", "8 × 989.5 TFLOP/s bf16 dense, NVIDIA H200 datasheet"),
        ("NVIDIA H100 80GB HBM3", "bf16", "8 × 989.5 TFLOP/s bf16 dense, NVIDIA H100 datasheet"),
        ("NVIDIA H100 80GB HBM3", "fp32", "8 × 67 TFLOP/s fp32 dense, NVIDIA H100 datasheet"),
        ("NVIDIA A100 80GB PCIe", "bf16", "8 × 312 TFLOP/s bf16 dense, NVIDIA A100 datasheet"),
        ("A100-SXM4-40GB", "fp32", "8 × 19.5 TFLOP/s fp32 dense, NVIDIA A100 datasheet"),
        (
            "NVIDIA GeForce RTX 4090",
            "bf16",
            "8 × 165.2 TFLOP/s bf16 dense, NVIDIA Ada architecture whitepaper",
        ),
    ],
)
def test_a_device_has_the_dense_peak_of_its_datasheet(device: str, precision: str, text: str) -> None:
    assert str(peak_of(device, precision, 8)) == text


@pytest.mark.parametrize(
    "device",
    [
        "cpu",
        "NVIDIA H100 PCIe",  # three quarters of what H100 SXM has
        "NVIDIA H100 NVL",
        "NVIDIA H200 NVL",
        "NVIDIA GH200 480GB",
        "NVIDIA H100 80GB HBM3 MIG 1g.10gb",
        "NVIDIA GeForce RTX 4090 Laptop GPU",
        "NVIDIA GeForce RTX 4090 D",
        "NVIDIA L40",
        "AMD Instinct MI300X",
    ],
)
def test_a_device_that_no_datasheet_is_of_has_none(device: str) -> None:
    assert peak_of(device, "bf16", 1) is None


def test_products_in_tf32_have_no_peak_here() -> None:
    assert peak_of("NVIDIA H200", "fp32", 1, tf32=True) is None
    assert peak_of("NVIDIA H200", "bf16", 1, tf32=True) is not None


def test_a_model_is_of_one_datasheet_which_a_plan_finds_too() -> None:
    models = [model for sheet in DATASHEETS.values() for model in sheet.models]
    assert len(set(models)) == len(models)
    for sheet in DATASHEETS.values():
        for model in sheet.models:
            assert datasheet_of(f"NVIDIA {model}") is sheet
            assert sheet.recorded_as in model


def cell(folder: Path, **changes: dict[str, Any]) -> Cell:
    """A tiny cell of labelled pictures."""
    for green, label in ((200, "bright"), (0, "dark")):
        (folder / label).mkdir(parents=True, exist_ok=True)
        for i in range(30):
            Image.new("RGB", (32, 32), (4 * i, green, 0)).save(folder / label / f"{i}.png")
    sections = {
        "suite": "one",
        "data": {"name": "folder", "resolution": 16, "path": str(folder)},
        "model": {"family": "DiT", "size": "XXS", "patch": 4, "depth": 1},
        "train": {"steps": 4, "batch_size": 4, "lr": 1e-4, "label_dropout": 0.1, "precision": "bf16"},
        "evaluate": {"samples": 3, "nfe": 4, "batch_size": 2},
    }
    given = {name: {**sections.get(name, {}), **keys} for name, keys in changes.items()}  # type: ignore[dict-item]
    return Cell.model_validate_json(json.dumps(sections | given))


@pytest.mark.parametrize(
    ("evaluate", "passes"),
    [
        ({"nfe": 4}, 4),
        ({"nfe": 3, "sampler": "euler"}, 3),
        ({"nfe": 4, "guidance": 3.0}, 8),
        ({"nfe": 4, "guidance": 3.0, "resolution": 32}, 8),
    ],
    ids=["heun", "euler", "guided", "guided, at another resolution"],
)
def test_a_cells_mfu_is_of_what_goes_through_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evaluate: dict[str, Any], passes: int
) -> None:
    """On a machine that says it is an H200: the images that its samples take through the network are watched."""
    monkeypatch.setattr(running, "device_name", lambda: "NVIDIA H200")
    asked = cell(tmp_path / "data", evaluate={"samples": 3, "batch_size": 2, "metrics": [], **evaluate})
    stages, seen = [""], []

    def watch(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: object) -> None:
        counted = inputs[0].is_meta  # its MACs are, after the samples
        if isinstance(module, Backbone) and stages[-1] == "sample" and not counted:
            seen.append(inputs[0].shape)

    (out := tmp_path / "out").mkdir()
    hook = register_module_forward_hook(watch)  # type: ignore[arg-type]
    try:
        row = running.run_cell(asked, out, lambda event: stages.append(event["stage"]))
    finally:
        hook.remove()
    images = sum(shape[0] for shape in seen)
    assert images == 3 * passes
    side = seen[0][-1]
    assert side == evaluate.get("resolution", 16)
    cost, _ = cached_cost(row["model_name"], {"input_size": side, "in_channels": 3, "num_classes": 2, "depth": 1})
    assert (cost.macs == row["macs_forward"]) == (side == 16)
    expected = 2 * cost.macs * images / 3 * row["sample_images_per_s"] / 989.5e12
    assert row["sample_mfu"] == pytest.approx(expected)
    assert row["train_mfu"] == pytest.approx(
        6 * row["macs_forward"] * 4 / (row["train_step_ms_median"] / 1000) / 989.5e12
    )
    assert row["mfu_peak"] == "989.5 TFLOP/s bf16 dense, NVIDIA H200 datasheet"
    assert row["train_joules_per_image"] is None
    assert row["sample_joules_per_image"] is None
    shared = without_timings(row)
    assert not [name for name in shared if "mfu" in name or "joules" in name]


def test_here_nothing_is_known_of_the_devices_peak_or_energy(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("of a machine without a GPU")
    row = running.run_cell(cell(tmp_path / "data"), tmp_path)
    told = [name for name in COLUMNS if "mfu" in name or "joules" in name]
    told.remove("classify_mfu")  # another task's
    assert len(told) == 5
    assert {name: row[name] for name in told} == dict.fromkeys(told)


def test_a_cells_joules_are_of_its_steps_and_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every image that goes through the network takes 2 J; of training, what validation takes is not the steps'."""
    millijoules = [10_000]

    def work(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: object) -> None:
        if isinstance(module, Backbone):
            millijoules[0] += 2000 * len(inputs[0])

    monkeypatch.setattr(energy, "counter_of", lambda device: lambda: millijoules[0])
    monkeypatch.setattr(energy, "LEAST_SECONDS", 0.0)
    asked = cell(
        tmp_path / "data",
        train={"steps": 8, "batch_size": 4, "lr": 1e-4, "label_dropout": 0.1},
        evaluate={"every": 3, "samples": 5, "nfe": 4, "guidance": 2.0, "batch_size": 2},
    )
    hook = register_module_forward_hook(work)  # type: ignore[arg-type]
    try:
        row = running.run_cell(asked, tmp_path)
    finally:
        hook.remove()
    assert row["train_joules_per_image"] == pytest.approx(2.0)
    assert row["sample_joules_per_image"] == pytest.approx(16.0)


def test_a_record_with_them_is_one_and_a_share_below_nothing_is_none() -> None:
    record = {"suite": "s", "cell": "c", "status": "done", "finished_at": "2026-01-01T00:00:00+00:00"}
    known = {"train_mfu": 0.31, "sample_mfu": 2e-6, "mfu_peak": "989.5 TFLOP/s", "train_joules_per_image": 0.5}
    assert fault(record, "c") is None  # of before
    assert fault(record | known, "c") is None
    assert fault(record | dict.fromkeys(known), "c") is None
    assert fault(record | {"sample_mfu": -0.1}, "c") is not None
    assert fault(record | {"sample_joules_per_image": "many"}, "c") is not None
