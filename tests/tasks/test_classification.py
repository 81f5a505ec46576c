"""Classification: its augmentation by torchvision's, its scores by hand, its loss, and cells of the task."""

from __future__ import annotations

import io
import json
import math
import shutil
import tarfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Generator, Tensor, nn
from torch.nn import functional as F
from torchvision.transforms import InterpolationMode, v2

from pdebench.data.packed.images import pack
from pdebench.data.registry import SOURCES
from pdebench.errors import CellWarning, DataError, Interrupted, ModelError, SuiteError
from pdebench.measure import largest_batch
from pdebench.measure.largest_batch import Trial
from pdebench.plan.trace import trace_step
from pdebench.run.cell import run_cell
from pdebench.run.checkpoint import read_checkpoint
from pdebench.run.inspection import build, inspect_model
from pdebench.run.preflight import preflight
from pdebench.run.sampling import sample_checkpoint
from pdebench.suite.config import Cell, DataConfig
from pdebench.suite.load import load_suite
from pdebench.system.distributed import ALONE
from pdebench.tasks.classification import augmentation, mixing
from pdebench.tasks.classification.augmentation import LEVELS, Augmentation
from pdebench.tasks.classification.learner import ClassificationLearner, Mixing
from pdebench.tasks.classification.scoring import Answers, among_the_first, answers, calibration_error
from pdebench.tasks.classification.task import CLASSIFICATION
from pdebench.tasks.classification.training import ClassificationTraining
from pdebench.train.batches import Batches, Images
from pdebench.train.state import Snapshots

SECTIONS: dict[str, Any] = {
    "suite": "one",
    "task": "classification",
    "data": {"name": "digits", "resolution": 8, "flip": False},
    "model": {"family": "DiT", "size": "XXS", "patch": 2, "depth": 1, "width": 64},
    "train": {"steps": 2, "batch_size": 16, "lr": 3e-3, "ema": 0.9},
    "evaluate": {"batch_size": 50},
}
EVERYTHING = {
    "smoothing": 0.1,
    "mixup": 0.8,
    "cutmix": 1.0,
    "randaugment": 9,
    "crop": 0.5,
    "erasing": 0.5,
    "stochastic_depth": 0.2,
}


def cell(**changes: dict[str, object]) -> Cell:
    sections = {**SECTIONS, **{name: {**SECTIONS.get(name, {}), **keys} for name, keys in changes.items()}}
    return Cell.model_validate_json(json.dumps(sections))


def source(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


class Said(nn.Module):
    """A network that says the same of every image: given logits, one row an image."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits, self.seen = logits, torch.empty(0)

    def forward(self, x: Tensor, t: Tensor | None, y: Tensor | None = None) -> Tensor:
        assert t is None
        assert y is None
        self.seen = x
        return self.logits[: len(x)]


# ---- mixup and cutmix


def both(mixes: v2.MixUp | v2.CutMix, images: Tensor, labels: Tensor, drawn: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """What torchvision makes of images and labels with given draws."""
    asked = {**drawn, "labels": labels, "batch_size": len(images)}
    return mixes.transform(images, asked), mixes.transform(labels, asked)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_mixup_is_torchvisions(share: float) -> None:
    images, labels = torch.rand(2, 3, 6, 6), torch.tensor([1, 4])
    theirs, shares = both(v2.MixUp(num_classes=5), images, labels, {"lam": share})
    ours = mixing.mixed(images, torch.full((6, 6), share))
    torch.testing.assert_close(ours, theirs)
    logits = torch.randn(2, 5)
    loss = ClassificationLearner(mixup=1.0).loss(Said(logits), images, labels, Mixing(torch.full((6, 6), share)))
    torch.testing.assert_close(loss, F.cross_entropy(logits, shares))


@given(seed=st.integers(0, 999), height=st.integers(1, 20), width=st.integers(1, 20))
def test_cutmix_is_torchvisions(seed: int, height: int, width: int) -> None:
    """Its box and its share of the label, from the numbers that torchvision draws, and what comes of them."""
    images, labels = torch.rand(2, 3, height, width), torch.tensor([1, 4])
    theirs = v2.CutMix(num_classes=5)
    torch.manual_seed(seed)
    drawn = theirs.make_params([images])
    torch.manual_seed(seed)
    share, column, row = theirs._dist.sample(()), torch.randint(width, (1,)), torch.randint(height, (1,))
    weights = mixing.cut_out(height, width, share, row, column)
    assert weights.mean().item() == pytest.approx(drawn["lam_adjusted"], abs=1e-6)
    expected, shares = both(theirs, images, labels, drawn)
    torch.testing.assert_close(mixing.mixed(images, weights), expected)
    logits = torch.randn(2, 5)
    loss = ClassificationLearner(cutmix=1.0).loss(Said(logits), images, labels, Mixing(weights))
    torch.testing.assert_close(loss, F.cross_entropy(logits, shares))


def test_either_is_taken_half_of_the_time_with_the_shares_of_their_distributions() -> None:
    generator = source()
    drawn = [mixing.weights(8, 8, 0.8, 1.0, generator) for _ in range(800)]
    faded = torch.stack([one[0, 0] for one in drawn if one.min() == one.max() and 0 < one.min() < 1])
    assert len(faded) / len(drawn) == pytest.approx(0.5, abs=0.06)
    assert faded.mean() == pytest.approx(0.5, abs=0.05)
    assert faded.var() == pytest.approx(1 / (4 * (2 * 0.8 + 1)), rel=0.15)  # of Beta(a, a)
    alone = [mixing.weights(8, 8, 0.0, 1.0, generator) for _ in range(50)]
    assert all(set(one.unique().tolist()) <= {0.0, 1.0} for one in alone)
    assert all(one.min() == one.max() for one in (mixing.weights(8, 8, 0.8, 0.0, generator) for _ in range(50)))


def test_mixing_is_the_same_however_a_batch_is_shared_out() -> None:
    images = torch.rand(8, 3, 6, 6)
    weights = mixing.weights(6, 6, 0.8, 1.0, source(3))
    parts = torch.cat([mixing.mixed(part, weights) for part in images.split(2)])
    assert torch.equal(parts, mixing.mixed(images, weights))


def test_the_loss_of_mixed_and_smoothed_labels_by_hand() -> None:
    logits, labels = torch.randn(4, 3), torch.tensor([0, 2, 1, 1])
    draws = Mixing(torch.full((2, 2), 0.7))
    learner = ClassificationLearner(smoothing=0.3, mixup=1.0)
    target = torch.full((4, 3), 0.1)
    for image, (own, other) in enumerate([(0, 2), (2, 0), (1, 1), (1, 1)]):
        target[image, own] += 0.7 * 0.7
        target[image, other] += 0.7 * 0.3
    expected = -(target * logits.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(learner.loss(Said(logits), torch.rand(4, 1, 2, 2), labels, draws), expected)


# ---- what is done to a picture

_NAMES = tuple(v2.RandAugment._AUGMENTATION_SPACE)
_UNSIGNED = ("Identity", "Posterize", "Solarize", "AutoContrast", "Equalize")


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("magnitude", [1, 9, 30])
@pytest.mark.parametrize("place", range(14))
def test_operations_are_torchvisions(place: int, magnitude: int, channels: int) -> None:
    theirs, name = v2.RandAugment(), _NAMES[place]
    images = (torch.rand(1, channels, 13, 17) * 255).to(torch.uint8)
    magnitudes, signed = theirs._AUGMENTATION_SPACE[name]
    values = magnitudes(LEVELS + 1, 13, 17)
    assert signed == (name not in _UNSIGNED)
    for sign in (1, -1) if signed else (1,):
        strength = 0.0 if values is None else sign * float(values[magnitude])
        expected = theirs._apply_image_or_video_transform(
            images, name, strength, interpolation=InterpolationMode.NEAREST, fill={}
        )
        found = augmentation._OPERATIONS[place](images, magnitude / LEVELS, sign)
        assert (found.int() - expected.int()).abs().max() <= 1, name  # where a product rounds otherwise
        assert (found != expected).float().mean() < 0.05


def test_a_crop_is_of_the_picture_and_as_large_and_as_wide_as_asked() -> None:
    found = [augmentation._box(40, 40, (0.08, 1.0), (3 / 4, 4 / 3), source(i), strictly=False) for i in range(400)]
    boxes = np.array([one for one in found if one is not None])
    top, left, tall, wide = boxes.T
    assert len(boxes) > 390
    assert min(top.min(), left.min()) >= 0
    assert max((top + tall).max(), (left + wide).max()) <= 40
    share, ratio = tall * wide / 1600, wide / tall
    assert 0.07 < share.min() < 0.12
    assert share.max() > 0.9
    assert 0.7 < ratio.min() < 0.8 < 1.25 < ratio.max() < 1.42
    images = (torch.rand(1, 3, 12, 12) * 255).to(torch.uint8)
    for seed in range(5):
        box = augmentation._box(12, 12, (0.3, 1.0), (3 / 4, 4 / 3), source(seed), strictly=False)
        assert box is not None
        expected = v2.functional.resized_crop(images, *box, [12, 12], InterpolationMode.BICUBIC, antialias=True)
        assert torch.equal(augmentation.cropped(images, 0.3, source(seed)), expected)


def test_a_box_of_a_picture_is_erased() -> None:
    images = torch.full((1, 3, 32, 32), 255, dtype=torch.uint8)
    shares = []
    for seed in range(60):
        changed = (augmentation.erased(images, source(seed)) != images).any(1)[0]
        rows, columns = changed.any(1).nonzero(), changed.any(0).nonzero()
        shares.append(len(rows) * len(columns) / 1024)
        assert changed.float().mean() > 0.9 * shares[-1]  # a box, all of which is noise
        assert images.min() == 255
    assert 0.01 < min(shares) < 0.1
    assert 0.2 < max(shares) < 0.36


@pytest.mark.parametrize("seed", range(8))
def test_the_frames_of_a_clip_are_changed_alike(seed: int) -> None:
    clips = torch.randint(0, 256, (2, 3, 4, 16, 16), generator=source(), dtype=torch.uint8)
    changed = Augmentation(9, 0.5)(clips, source(seed))
    assert changed.shape == clips.shape
    for frame in range(4):
        assert torch.equal(changed[:, :, frame], Augmentation(9, 0.5)(clips[:, :, frame], source(seed)))
    still = clips[:, :, :1].expand(-1, -1, 4, -1, -1)
    erased = (Augmentation(erasing=1.0)(still, source(seed)) != still).any(1)
    assert (erased.float().mean((0, 2, 3)) > 0).all()
    assert (erased.any(1) != erased[:, 0]).float().mean() < 0.02  # one box; noise may be what was there


def test_an_augmented_batch_does_not_depend_on_who_reads_it() -> None:
    pictures = (torch.rand(40, 3, 8, 8) * 255).to(torch.uint8)
    images = Images(pictures, torch.arange(40) % 10)
    learner = ClassificationLearner(augmentation=Augmentation(9, 0.5, 0.5))

    def batches(part: slice = slice(None), seed: int = 5, threads: int = 1) -> list[Tensor]:
        made = Batches(images, 8, source(1), part, flip=True, augment=learner.augment, seed=seed, count=6)
        torch.rand(threads)  # the global source has no say
        found = [made.next().images for _ in range(6)]
        made.close()
        return found

    whole = batches()
    assert all(map(torch.equal, whole, batches(threads=7)))
    halves = zip(batches(slice(0, 4)), batches(slice(4, 8)), strict=True)
    assert all(torch.equal(one, torch.cat(two)) for one, two in zip(whole, halves, strict=True))
    assert not all(map(torch.equal, whole, batches(seed=6)))


def test_every_frame_of_a_clip_is_changed_alike() -> None:
    frame = (torch.rand(3, 16, 16) * 255).to(torch.uint8)
    clips = frame[None, :, None].expand(1, 3, 5, 16, 16)
    for seed in range(30):
        changed = Augmentation(9, 0.5)(clips, source(seed))
        assert changed.shape == clips.shape
        assert changed.dtype == torch.uint8
        assert torch.equal(changed[:, :, 1:], changed[:, :, :-1])
        assert torch.equal(changed[:, :, 0], Augmentation(9, 0.5)(frame[None], source(seed)))
    erased = Augmentation(erasing=1 - 1e-9)(clips, source(1))
    boxes = (erased != clips).any(1)[0]
    assert boxes.any()
    assert (boxes.sum((1, 2)) > 0.9 * boxes.any(0).sum()).all(), "one box in all frames"


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


# ---- wrong use


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "suite.yaml"
    path.write_text(
        "suite: wrong\n"
        "task: classification\n"
        "data: {name: digits, resolution: 8}\n"
        "model: {family: DiT, size: XXS, patch: 2}\n"
        "train: {steps: 1, batch_size: 8, lr: 1e-3}\n" + text
    )
    return path


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            "train.label_dropout=.1",
            "is a key of the tasks generation and ddpm, and this is another task's suite; leave it",
        ),
        ("train.prediction=x", "is a key of the tasks generation and ddpm"),
        ("evaluate.nfe=50", "is a key of the tasks generation and ddpm"),
        ("evaluate.samples=5", "is a key of the tasks generation and ddpm"),
        ("train.smothing=.1", "did you mean 'smoothing'?"),
        ("train.smoothing=1", "must be a number of at least 0 and below 1, not 1"),
        ("train.crop=0", "must be a number above 0 and at most 1 or null, not 0"),
        ("train.randaugment=31", "must be a whole number of at least 0 and at most 30, not 31"),
        ("evaluate.resolutions=[9]", "data set 'digits' cannot give images of 9 px: take one of 16, 32"),
        ("evaluate.resolutions=[8, 8]", "8"),
    ],
)
def test_a_wrong_suite_is_one_sentence(change: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(SuiteError) as caught:
        load_suite(written(tmp_path, ""), [change])
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("grid: {train.mixup: [0, .8], train.batch_size: [7]}\n", "mixes images in pairs, and 7 images are taken at a"),
        ("grid: {model.family: [PDE-SSM-DiT], model.selective: [true]}\n", "gives it neither; leave it out"),
        (
            "evaluate: {resolutions: [16]}\ngrid: {model.family: [GFNet-DiT]}\n",
            "GFNet-DiT cannot be evaluated at 16 px: its weights are bound to the grid of 8 px",
        ),
        ("grid: {train.times: [uniform]}\n", "train.times"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(SuiteError) as caught:
        load_suite(written(tmp_path, text))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_generation_suite_takes_no_keys_of_a_classifier(tmp_path: Path) -> None:
    path = written(tmp_path, "")
    path.write_text(path.read_text().replace("task: classification", "task: generation"))
    with pytest.raises(SuiteError, match="is a key of the task classification, and this is another task's suite"):
        load_suite(path, ["train.mixup=.8"])


@pytest.mark.parametrize(
    ("data", "train", "says"),
    [
        (
            {"name": "photos", "resolution": 32},
            {},
            "data set 'photos' has no classes, and classification tells classes",
        ),
        (
            {"name": "latents", "resolution": 16, "classes": 3, "channels": 4},
            {"randaugment": 5},
            "holds images of 4 channels, and train.randaugment changes grey or RGB pictures: leave it out",
        ),
    ],
)
def test_data_that_cannot_serve_are_refused_before_training(
    data: dict[str, object], train: dict[str, object], says: str, tmp_path: Path
) -> None:
    asked = cell(data=data, train=train)
    classes = asked.data.classes or SOURCES[asked.data.name].class_count(asked.data)
    with pytest.raises(DataError, match=says):
        CLASSIFICATION.check(SOURCES[asked.data.name], asked.data, classes, asked.train, asked.evaluate)


def test_a_set_without_classes_is_refused_before_the_first_cell(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for i in range(30):
        Image.new("RGB", (8, 8), (8 * i, 0, 0)).save(pictures / f"{i}.png")
    with pytest.raises(DataError, match="data set 'folder' has no classes"):
        preflight([cell(data={"name": "folder", "path": str(pictures)})], tmp_path)
    shutil.rmtree(pictures)


def pictures_of(folder: Path, counts: dict[str, int]) -> Path:
    """So many pictures in each sub-folder."""
    for place, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (8, 8), (8 * number, 20 * place, 0)).save(folder / name / f"{number}.png")
    return folder


@pytest.mark.parametrize(
    ("counts", "says"),
    [
        (
            {"a": 30, "b": 30, "rare": 1},
            "class 'rare' has one sample, which can be trained on or held out, and not both",
        ),
        ({"a": 30, "b": 1, "c": 1}, "2 of 3 classes have one sample, .*: 'b', 'c'; classification needs both"),
    ],
)
def test_a_class_of_which_nothing_can_be_learned_and_tested_is_refused_before_the_first_cell(
    counts: dict[str, int], says: str, tmp_path: Path
) -> None:
    pictures = pictures_of(tmp_path / "pictures", counts)
    asked = cell(data={"name": "folder", "path": str(pictures)})
    with pytest.raises(DataError, match=says) as error:
        preflight([asked], tmp_path)
    assert "\n" not in str(error.value)


def test_a_class_whose_owner_holds_none_out_is_taken(tmp_path: Path) -> None:
    pictures = pictures_of(tmp_path / "pictures", {"train/a": 9, "val/a": 3, "train/b": 2})
    preflight([cell(data={"name": "folder", "path": str(pictures)})], tmp_path)


def shard_of(path: Path, labels: list[int]) -> None:
    with tarfile.open(path, "w") as archive:
        for number, label in enumerate(labels):
            stream = io.BytesIO()
            Image.new("RGB", (8, 8), (4 * number, 0, 0)).save(stream, "PNG")
            for name, content in ((f"{number}.png", stream.getvalue()), (f"{number}.cls", b"%d" % label)):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))


def test_a_class_that_is_held_out_alone_is_refused_before_the_first_cell(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    shard_of(tmp_path / "set" / "train.tar", [0, 0, 1, 1])
    shard_of(tmp_path / "set" / "val.tar", [0, 1, 2, 2])
    with pytest.raises(DataError, match="class '2' has nothing to train on, only what is held out"):
        preflight([cell(data={"name": "shards", "path": str(tmp_path / "set")})], tmp_path)


@pytest.mark.parametrize("kind", ["clips", "shards", "packed"])
def test_every_set_that_knows_its_classes_before_says_so(kind: str, tmp_path: Path) -> None:
    pictures = tmp_path / "set"
    if kind == "clips":
        for name, count in {"a": 30, "b": 30, "rare": 1}.items():
            pictures_of(pictures / name, {str(number): 2 for number in range(count)})
    else:
        pictures.mkdir()
        shard_of(pictures / "all.tar", [number // 30 for number in range(61)])
    data = {"name": "shards" if kind == "packed" else kind, "path": str(pictures), "resolution": 8}
    data |= {"frames": 2} if kind == "clips" else {}
    if kind == "packed":
        pack(DataConfig(**data), tmp_path / "packed", 1, lambda done, total: None)
        data |= {"name": kind, "path": str(tmp_path / "packed")}
    sizes = SOURCES[kind].class_sizes(DataConfig(**data))
    assert sizes is not None
    assert sum(sizes.values()) == 61
    with pytest.raises(DataError, match=r"class '(rare|2)' has one sample"):
        CLASSIFICATION.check(SOURCES[kind], DataConfig(**data), 3, cell().train, cell().evaluate)
