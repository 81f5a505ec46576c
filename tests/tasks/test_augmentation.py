"""What is done to a classifier's pictures and labels, by torchvision's and by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from classifier_cells import Said
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator, Tensor
from torch.nn import functional as F
from torchvision.transforms import InterpolationMode, v2

from pdebench.tasks.classification import augmentation, mixing
from pdebench.tasks.classification.augmentation import LEVELS, Augmentation
from pdebench.tasks.classification.learner import ClassificationLearner, Mixing
from pdebench.train.batches import Batches, Images


def source(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


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
