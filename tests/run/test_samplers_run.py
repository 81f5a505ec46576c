"""Samplers in a cell and in `pdebench sample`: what is asked for is done, and the record says what it took."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from PIL import Image

from pdebench.cli import main
from pdebench.data import registry
from pdebench.models.backbone import create_model
from pdebench.results.record import COLUMNS
from pdebench.run.cell import run_cell
from pdebench.run.checkpoint import read_checkpoint, write_checkpoint
from pdebench.suite.config import Cell, TrainConfig
from pdebench.system.distributed import ALONE
from pdebench.tasks.generation import learner, sampling
from pdebench.tasks.generation.drawn import DrawnBatches
from pdebench.tasks.generation.learner import GenerationLearner
from pdebench.tasks.generation.task import GENERATION


def cell(evaluate: dict[str, Any], train: dict[str, Any] | None = None) -> Cell:
    return Cell.model_validate_json(
        json.dumps(
            {
                "suite": "one",
                "data": {"name": "latents", "resolution": 8},
                "model": {"family": "DiT", "size": "XXS", "patch": 4, "depth": 1, "width": 32, "heads": 2},
                "train": {"steps": 0, "batch_size": 4, "lr": 1e-4, **(train or {})},
                "evaluate": {"samples": 5, "batch_size": 2, **evaluate},
            }
        )
    )


@pytest.mark.parametrize(
    ("evaluate", "nfe", "passes"),
    [
        ({"sampler": "euler", "nfe": 3}, 3, 3),
        ({"sampler": "heun", "nfe": 4, "guidance": 2.0}, 4, 8),
        ({"sampler": "heun", "nfe": 4, "guidance": 2.0, "guidance_interval": [0.4, 1.0]}, 4, 7),  # not at 0
        ({"sampler": "euler_maruyama", "nfe": 5, "diffusion": "SBDM", "time_shift": 2.0}, 5, 5),
    ],
)
def test_a_record_says_what_its_samples_took(tmp_path: Path, evaluate: dict[str, Any], nfe: int, passes: int) -> None:
    row = run_cell(cell(evaluate), tmp_path)
    assert (row["sample_nfe_mean"], row["sample_nfe_max"], row["sample_passes_mean"]) == (nfe, nfe, passes)
    assert row["sampled_from"] == "initial weights, cast once"
    assert row.keys() <= COLUMNS.keys()


def test_dopri5_says_what_it_took_and_that_bf16_did_not_reach_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []

    def solve(*arguments: Any, **keywords: Any) -> Any:
        found = solved(*arguments, **keywords)
        taken.append(found.nfe)
        return found

    solved = learner.solve
    monkeypatch.setattr(learner, "solve", solve)
    asked = cell({"sampler": "dopri5", "tolerance": 1e-3}, {"steps": 2, "precision": "bf16", "lr": 1e-2})
    row = run_cell(asked, tmp_path)
    two, other, last = taken  # of two batches of 2 and one of 1
    assert row["sample_nfe_mean"] == row["sample_passes_mean"] == (2 * two + 2 * other + last) / 5
    assert row["sample_nfe_max"] == max(taken)
    assert row["sampled_from"] == "averaged weights, in float32"
    assert row["precision_used"] == "bf16"


def test_a_stochastic_batch_that_is_drawn_again_is_the_same(tmp_path: Path) -> None:
    asked = cell({"sampler": "euler_maruyama", "nfe": 4})
    evaluate: Any = asked.evaluate
    reference = registry.load(asked.data, "train")
    torch.manual_seed(0)
    model = create_model("DiT-XXS/4", input_size=8, in_channels=4, num_classes=1000, depth=1, width=32, heads=2).eval()
    for parameter in model.parameters():
        parameter.data.normal_(std=0.1)
    made = []
    for _ in range(2):
        drawn = DrawnBatches(tmp_path, {}, evaluate.samples, evaluate.batch_size)
        sampled = partial(GenerationLearner(1.0).sampled, model)
        applied = sampling.samples(
            sampled, evaluate, reference, drawn, decode=None, weights="initial", world=ALONE, watch=lambda event: None
        )
        made.append(applied.made[:])
        next(tmp_path.glob("00000001-*")).unlink()
    assert len(made[0]) == 5
    assert (made[0] == made[1]).all()


# ---- pdebench sample


def checkpoint_of(folder: Path, **train: Any) -> Path:
    torch.manual_seed(0)
    build: dict[str, Any] = {"input_size": 8, "in_channels": 3, "num_classes": 2, "depth": 1, "width": 32, "heads": 2}
    model = create_model("DiT-XXS/4", **build)
    for parameter in model.parameters():
        parameter.data.normal_(std=0.05)
    folder.mkdir()
    learner = GENERATION.learner(TrainConfig(steps=1, batch_size=1, lr=1e-3, **train))
    write_checkpoint(model, "DiT-XXS/4", build, learner, folder)
    return folder / "checkpoint.safetensors"


def typed(checkpoint: Path, *options: str) -> tuple[int, bytes]:
    """The exit status and the picture of `pdebench sample`."""
    out = checkpoint.with_name("s.png")
    out.unlink(missing_ok=True)
    verb = ["pdebench", "sample", str(checkpoint), "--out", str(out), "--count", "2", *options]
    with patch.object(sys, "argv", verb), pytest.raises(SystemExit) as ended:
        main()
    if not out.exists():
        return int(str(ended.value.code)), b""
    with Image.open(out) as image:
        return int(str(ended.value.code or 0)), image.tobytes()


def test_every_way_to_sample_can_be_asked_for_by_flags(tmp_path: Path) -> None:
    path = checkpoint_of(tmp_path / "a")
    ways = [
        ("--nfe", "4"),
        ("--nfe", "4", "--time-shift", "3"),
        ("--sampler", "euler", "--nfe", "3"),
        ("--sampler", "dopri5", "--tolerance", "1e-2"),
        ("--sampler", "euler_maruyama", "--nfe", "4"),
        ("--sampler", "euler_maruyama", "--nfe", "4", "--diffusion", "constant"),
        ("--nfe", "4", "--guidance", "4"),
        ("--nfe", "4", "--guidance", "4", "--guidance-interval", "0.4", "0.6"),
    ]
    drawn = [typed(path, *way) for way in ways]
    assert {status for status, _ in drawn} == {0}
    assert len({picture for _, picture in drawn}) == len(ways)
    assert typed(path, *ways[4]) == drawn[4], "stochastic, and of a seed"
    assert typed(path, *ways[4], "--seed", "1") != drawn[4]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--nfe", "5"), "nfe must be even, not 5"),
        (("--tolerance", "1e-3"), "tolerance is an option of dopri5, but the sampler is heun"),
        (("--sampler", "dopri5", "--nfe", "4"), "dopri5 spends what its tolerance takes"),
        (("--sampler", "dopri5", "--tolerance", "nan"), "tolerance nan: Input should be a finite number"),
        (("--diffusion", "sigma"), "diffusion is an option of euler_maruyama"),
        (("--time-shift", "0"), "time_shift 0.0: Input should be greater than 0"),
        (("--guidance-interval", "0.1", "0.9"), "guidance is 1"),
        (("--guidance", "2", "--guidance-interval", "0.9", "0.1"), "0 <= low < high <= 1"),
    ],
)
def test_flags_that_do_not_go_together_are_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], sentence: str
) -> None:
    assert typed(checkpoint_of(tmp_path / "a"), *options)[0] == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert sentence in said


def test_what_a_network_predicts_goes_with_its_checkpoint(tmp_path: Path) -> None:
    plain, of_x = checkpoint_of(tmp_path / "a"), checkpoint_of(tmp_path / "b", prediction="x", times="shifted")
    learner = read_checkpoint(of_x).learner
    assert learner == GENERATION.learner(TrainConfig(steps=1, batch_size=1, lr=1e-3, prediction="x", times="shifted"))
    assert typed(plain, "--nfe", "4") != typed(of_x, "--nfe", "4")
