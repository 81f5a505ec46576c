"""Crops of photographs: of all scales, never enlarged, without aliases, other ones in every epoch, the same again."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from PIL import Image

from pdebench.data.photographs.crops import MOST_ASPECT, Cropped
from pdebench.data.photographs.pyramid import View, _levels
from pdebench.train.batches import Batches, Images


def view(image: np.ndarray, name: str = "made up") -> View:
    return View(name, tuple(np.asarray(level) for level in _levels(Image.fromarray(image))))


@pytest.fixture(scope="module")
def noise() -> View:
    """Noise of every scale: sums of blocks of 1 to 256 pixels."""
    random = np.random.default_rng(0)
    total = sum(
        random.normal(0, 30, (-(-900 // side), -(-1400 // side), 3)).repeat(side, 0).repeat(side, 1)[:900, :1400]
        for side in (1, 4, 16, 64, 256)
    )
    return view((128 + total).clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("resolution", [32, 64, 128])
def test_crops_have_the_scales_and_ratios_that_are_promised(noise: View, resolution: int) -> None:
    rows = Cropped([noise], resolution, 3000)
    crops = [rows.crop(row, 0) for row in range(3000)]
    wide = np.array([crop.width * 2**crop.level for crop in crops])
    high = np.array([crop.height * 2**crop.level for crop in crops])
    assert min(wide.min(), high.min()) >= resolution  # nothing is enlarged
    for crop in crops:
        whole_height, whole_width = noise.levels[crop.level].shape[:2]
        assert 0 <= crop.left <= whole_width - crop.width
        assert 0 <= crop.upper <= whole_height - crop.height
        assert crop.level == 0 or min(crop.width, crop.height) >= 2 * resolution / MOST_ASPECT
        assert max(crop.width, crop.height) <= 4 * resolution * MOST_ASPECT
    slack = 1 + 2 / resolution  # sides are whole pixels
    assert 3 / 4 / slack <= (wide / high).min() < 0.78
    assert 1.28 < (wide / high).max() <= 4 / 3 * slack
    magnification = resolution / np.sqrt(wide * high)
    # uniform up to what keeps the shorter side from being enlarged, from where the whole is seen
    assert magnification.min() < 1.2 * resolution / 900
    assert 0.97 < magnification.max() <= 1
    lowest, highest = resolution / 900, 0.93  # of a typical ratio
    counts, _ = np.histogram(magnification, np.linspace(lowest, 0.85, 6))
    expected = 3000 * (0.85 - lowest) / (highest - lowest) / 5
    assert np.abs(counts / expected - 1).max() < 0.2


def test_a_crop_is_what_reducing_its_place_at_once_would_make(noise: View) -> None:
    rows = Cropped([noise], 32, 400)
    whole = Image.fromarray(noise.levels[0])
    levels, differences = set(), []
    for row in range(400):
        crop = rows.crop(row, 0)
        levels.add(crop.level)
        box = tuple(side * 2**crop.level for side in (crop.left, crop.upper, crop.left + crop.width,
                                                       crop.upper + crop.height))  # fmt: skip
        at_once = np.asarray(whole.crop(box).resize((32, 32), Image.Resampling.LANCZOS), float).transpose(2, 0, 1)
        differences.append(np.abs(rows[row] - at_once).mean())
    assert levels >= {0, 1, 2, 3}
    assert np.mean(differences) < 1.5  # of 255; its own deviation is above 40
    assert np.max(differences) < 4


def test_what_is_finer_than_a_pixel_is_grey_and_no_alias() -> None:
    stripes = np.zeros((1024, 1024, 3), np.uint8)
    stripes[:, ::2] = 255
    rows = Cropped([view(stripes)], 32, 300)
    crops = [row for row in range(300) if min(rows.crop(row, 0)[4:]) * 2 ** rows.crop(row, 0).level > 100]
    assert len(crops) > 20
    inside = rows[np.array(crops)][..., 2:-2].astype(float)  # at an edge a filter sees one side alone
    assert np.abs(inside - 127.5).max() < 4


def test_flat_places_are_drawn_again_and_a_flat_photograph_is_served() -> None:
    image = np.full((600, 600, 3), 200, np.uint8)
    image[:300, :300] = np.random.default_rng(0).integers(0, 256, (300, 300, 3))
    rows = Cropped([view(image)], 32, 500)
    varied = [rows.block(rows.crop(row, 0))[..., 1].std() > 10 for row in range(500)]
    assert np.mean(varied) > 0.85  # a quarter of the area
    flat = Cropped([view(np.full((200, 200, 3), 7, np.uint8))], 32, 10)
    assert (flat[:] == 7).all()


def test_photographs_are_drawn_by_area_and_too_small_ones_never(noise: View) -> None:
    other = view(noise.levels[0][:450, :700].copy(), "quarter")
    small = view(noise.levels[0][:40, :400].copy(), "small")
    rows = Cropped([noise, other, small], 32, 4000)
    chosen = np.bincount([rows.crop(row, 1).view for row in range(4000)])
    assert len(chosen) == 2
    assert chosen[1] / 4000 == pytest.approx(0.2, abs=0.02)


def test_every_epoch_has_crops_of_its_own_and_a_row_is_the_same_in_any_batch(noise: View) -> None:
    rows = Cropped([noise], 32, 64)
    index = np.arange(64)
    epochs = [rows.drawn(index, epoch) for epoch in range(5)]
    assert len({image.tobytes() for epoch in epochs for image in epoch}) == 5 * 64
    assert np.array_equal(rows[:], epochs[0])  # what metrics compare with is the draw of epoch 0
    assert np.array_equal(rows[-1], epochs[0][63])
    mixed = rows.drawn(np.array([9, 3, 3]), np.array([4, 0, 1]))
    assert np.array_equal(mixed, np.stack([epochs[4][9], epochs[0][3], epochs[1][3]]))


def test_draws_are_pinned(noise: View) -> None:
    """A crop is a function of row and epoch on every machine; another one is another data set."""
    rows = Cropped([noise], 32, 64)
    crops = [tuple(rows.crop(row, epoch)) for row in range(64) for epoch in (0, 1, 1000)]
    assert hashlib.sha256(repr(crops).encode()).hexdigest()[:16] == "d5f7a1d68f42e7b6"


def test_a_training_that_goes_on_sees_the_same_bits(noise: View) -> None:
    images = Images(Cropped([noise], 32, 10), None, "made up")

    def batches(count: int, state=None, done: int = 0) -> tuple[list[torch.Tensor], object]:
        source = Batches(images, 4, torch.Generator().manual_seed(0), flip=True)
        if state is not None:
            source.load(state, done)
        found = [source.next().images for _ in range(count)]
        source.close()
        return found, source.state()

    whole, _ = batches(9)
    begun, state = batches(4)
    rest, _ = batches(5, state, 4)
    assert all(torch.equal(one, other) for one, other in zip(whole, begun + rest, strict=True))
    # 36 images of a set of 10: were crops those of the first epoch again, 10 and their mirror images would be all
    assert len({image.numpy().tobytes() for batch in whole for image in batch}) == 36
