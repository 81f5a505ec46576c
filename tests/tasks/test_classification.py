"""Classification: its scores by hand, its loss, and cells of the task."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from classifier_cells import EVERYTHING, Said, cell
from PIL import Image
from torch import Generator
from torch.nn import functional as F

from pdebench.errors import CellWarning, Interrupted, ModelError
from pdebench.measure import largest_batch
from pdebench.measure.largest_batch import Trial
from pdebench.plan.trace import trace_step
from pdebench.run.cell import run_cell
from pdebench.run.checkpoint import read_checkpoint
from pdebench.run.inspection import build, inspect_model
from pdebench.run.sampling import sample_checkpoint
from pdebench.system.distributed import ALONE
from pdebench.tasks.classification.augmentation import Augmentation
from pdebench.tasks.classification.learner import ClassificationLearner
from pdebench.tasks.classification.scoring import Answers, among_the_first, answers, calibration_error
from pdebench.tasks.classification.training import ClassificationTraining
from pdebench.train.state import Snapshots


def source(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


# ---- scores


def test_places_and_confidences_by_hand() -> None:
    logits = torch.tensor([[3.0, 1.0, 2.0], [0.0, 0.0, 0.0], [1.0, 5.0, 1.0]])
    found = answers(logits, torch.tensor([2, 2, 0]))
    assert found.place.tolist() == [1, 2, 1]  # of three alike the first is the likeliest: to say nothing is chance
    assert found.sure == pytest.approx(
        [math.e**3 / (math.e**3 + math.e + math.e**2), 1 / 3, math.e**4 / (math.e**4 + 2)]
    )
    assert among_the_first(found, 1) == 0
    assert among_the_first(found, 2) == pytest.approx(2 / 3)


def test_the_calibration_error_by_hand() -> None:
    """Three bins: 0.05 alone and right; 0.6 and 0.62 in one, right and wrong; a sure one at the end."""
    found = Answers(np.array([0, 0, 3, 0]), np.array([0.05, 0.6 + 1e-9, 0.62, 1.0]))
    assert calibration_error(found) == pytest.approx((0.95 + abs(1 - (0.6 + 0.62)) + 0) / 4, abs=1e-6)
    sure = Answers(np.array([1] * 10), np.full(10, 0.99))
    assert calibration_error(sure) == pytest.approx(0.99)
    fair = Answers(np.array([0] * 3 + [1] * 7), np.full(10, 0.3))
    assert calibration_error(fair) == pytest.approx(0, abs=1e-12)


def test_scores_are_scikit_learns_and_a_second_computation_of_the_calibration() -> None:
    from sklearn.metrics import top_k_accuracy_score

    logits, labels = torch.randn(500, 12) * 2, torch.randint(12, (500,), generator=source())
    found = answers(logits, labels)
    for k in (1, 5):
        theirs = top_k_accuracy_score(labels.numpy(), logits.numpy(), k=k, labels=range(12))
        assert among_the_first(found, k) == pytest.approx(theirs)
    probabilities = logits.softmax(1)
    sure, best = probabilities.max(1)
    expected = 0.0
    for low in torch.arange(15) / 15:
        inside = (sure > low) & (sure <= low + 1 / 15)
        if inside.any():
            right = (best == labels)[inside].float().mean()
            expected += inside.float().mean().item() * abs(right - sure[inside].mean()).item()
    assert calibration_error(found) == pytest.approx(expected, abs=1e-5)


def test_answers_that_are_no_numbers_are_not_scored() -> None:
    logits = torch.zeros(4, 3)
    logits[1] = float("nan")
    found = answers(logits, torch.zeros(4, dtype=torch.int64))
    from pdebench.tasks.classification.evaluation import ClassificationEvaluation
    from pdebench.tasks.learner import Applied

    with pytest.warns(CellWarning, match="the answers to 1 of 4 images are NaN or infinite: nothing is scored"):
        judged = ClassificationLearner().judge(
            Applied((found, 3)), ClassificationEvaluation(), None, meaningful=True, device=torch.device("cpu")
        )
    assert not judged.columns


def test_the_held_out_loss_is_of_images_as_they_are_without_smoothing() -> None:
    logits = torch.randn(5, 10)
    pixels, labels = torch.randint(0, 256, (5, 1, 8, 8), dtype=torch.uint8), torch.tensor([1, 0, 9, 3, 3])
    learner, said = ClassificationLearner(0.1, 0.8, 1.0, Augmentation(9, 0.1, 1.0)), Said(logits)
    found = learner.validation_loss(said, pixels, labels, batch_size=5, device=torch.device("cpu"), world=ALONE)
    assert found == pytest.approx(F.cross_entropy(logits, labels).item())
    torch.testing.assert_close(said.seen, pixels.float() / 127.5 - 1)


# ---- cells


@pytest.mark.parametrize("family", ["PDE-SSM-DiT", pytest.param("DiT", marks=pytest.mark.exhaustive)])
def test_a_cell_learns_digits(family: str, tmp_path: Path) -> None:
    asked = cell(
        model={"family": family},
        train={"steps": 120, "batch_size": 32, "lr": 1e-3},
        evaluate={"resolutions": [8, 16]},
        measure={"spatial": True, "parts": ["mixer"], "seconds": 0.02, "operators": True},
    )
    row = run_cell(asked, tmp_path)
    assert row["top1"] > 0.3  # of ten classes
    assert row["top1"] <= row["top5"] <= 1
    assert row["top1_error"] == pytest.approx(1 - row["top1"])
    assert 0 <= row["ece"] < 0.5
    assert row["val_loss"] < 0.95 * math.log(10)
    assert row["classified_images"] == row["val_images"] == 190
    assert row["classify_images_per_s"] > 0
    assert row["top1_at_8"] == row["top1"]
    assert 0 <= row["top1_at_16"] <= 1
    assert row["spatial_mixing_length"] > 0
    assert not [column for column in row if column.startswith("sample_")]
    checkpoint = read_checkpoint(tmp_path / "checkpoint.safetensors")
    assert checkpoint.learner == ClassificationLearner()
    assert checkpoint.model.head == "vector"


def test_of_five_classes_or_fewer_there_is_no_top5(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    for i in range(60):
        path = pictures / ("dark" if i % 2 else "bright") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (3 * i % 100 + 150 * (i % 2),) * 3).save(path)
    row = run_cell(cell(data={"name": "folder", "path": str(pictures)}), tmp_path)
    assert "top1" in row
    assert "top5" not in row


def test_a_killed_training_ends_with_the_same_bits(tmp_path: Path) -> None:
    """All that is random is on: mixing, augmentation in threads, stochastic depth."""
    asked = cell(train={"steps": 8, **EVERYTHING}, model={"depth": 2})
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    whole = run_cell(asked, tmp_path / "whole")

    class Dies(Snapshots):
        def save(self, step: int, state: dict[str, Any]) -> None:
            super().save(step, state)
            if step == 3:
                raise Interrupted("killed")

    states = tmp_path / "cut" / "state"
    with pytest.raises(Interrupted):
        run_cell(asked, tmp_path / "cut", snapshots=Dies(states, steps=3, cell=asked.id))
    torch.rand(11)
    resumed = run_cell(asked, tmp_path / "cut", snapshots=Snapshots(states, steps=3, cell=asked.id))
    assert resumed["resumed_from_step"] == 3
    assert resumed["resumed_bit_exact"]
    for column in ("train_loss", "val_loss", "val_loss_ema", "top1", "ece"):
        assert resumed[column] == whole[column]
    weights = [
        read_checkpoint(tmp_path / name / "checkpoint.safetensors").model.state_dict() for name in ("whole", "cut")
    ]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_what_makes_and_looks_at_images_knows_a_classifier(tmp_path: Path) -> None:
    run_cell(cell(), tmp_path)
    checkpoint = tmp_path / "checkpoint.safetensors"
    with pytest.raises(ModelError, match="was trained for the task classification, which draws no samples"):
        sample_checkpoint(checkpoint, tmp_path / "s.png", count=4)
    found = inspect_model(build(checkpoint, None, None, 0), 0)
    assert found.grid == (4, 4)
    assert found.network.shift_error is not None  # of its answer, which has no places and is to stay as it is


def test_its_step_can_be_costed_and_its_largest_batch_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    build = {"input_size": 8, "in_channels": 1, "num_classes": None, "head": "vector", "out_channels": 10}
    build |= {"conditioned": False, "depth": 1, "stochastic_depth": 0.1}
    step = trace_step("DiT-XXS/2", batch_size=4, task="classification", **build)
    assert sum(step.forward.values()) > 10
    train = ClassificationTraining(steps=1, batch_size=1, lr=1e-3, **EVERYTHING).model_dump(mode="json")
    # the search as its own process does it, here and of two batches: how it ends is tested where it is
    monkeypatch.setattr(largest_batch, "MOST", 4)
    monkeypatch.setattr(largest_batch, "_limit_memory", lambda *, on_cpu: None)  # it would be that of all tests
    largest_batch.main(json.dumps(asdict(Trial("DiT-XXS/2", build, "classification", train, "fp32", 2))))
    assert capsys.readouterr().out.split() == ["2", "4"]
