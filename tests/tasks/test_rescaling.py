"""Images and maps that are scaled and cropped at random move together."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator

from pdebench.data.source import ImageSet
from pdebench.models.backbone import create_model
from pdebench.tasks.segmentation.learner import SegmentationLearner
from pdebench.tasks.segmentation.rescaling import GREY, rescaled
from pdebench.tasks.segmentation.training import SegmentationTraining
from pdebench.train.batches import Batches, as_trained_on
from pdebench.train.loop import learning_rate, train

SIDE = 24


def halves():
    """A picture whose left half is dark and of class 0, and whose right half is light and of class 1."""
    maps = torch.zeros(1, SIDE, SIDE, dtype=torch.uint8)
    maps[:, :, SIDE // 2 :] = 1
    return (maps[:, None] * 200 + 20).expand(1, 3, -1, -1).clone(), maps


@given(st.integers(0, 10**6), st.floats(0.2, 1), st.floats(1, 4))
def test_images_and_maps_are_scaled_and_moved_alike(seed, low, high):
    images, maps = halves()
    moved, known = rescaled(images, maps, (low, high), 255, Generator().manual_seed(seed))
    assert moved.shape == images.shape
    assert moved.dtype == known.dtype == torch.uint8
    assert known.shape == maps.shape
    agree = (moved[:, 0] > 120) == (known == 1)
    assert agree[known != 255].float().mean() > 0.85  # next to the edge, which antialiasing blurs, they may differ
    assert (moved[:, 0][known == 255] == GREY).all()


@pytest.mark.parametrize(("factor", "share"), [(0.5, 0.25), (1.0, 1.0), (2.0, 1.0)])
def test_what_a_smaller_image_leaves_free_is_ignored(factor, share):
    images, maps = halves()
    moved, known = rescaled(images, maps, (factor, factor), 255, Generator().manual_seed(0))
    assert (known != 255).float().mean() == pytest.approx(share)
    if factor == 1:
        assert torch.equal(moved, images)
        assert torch.equal(known, maps)


def test_places_and_factors_are_drawn():
    images, maps = halves()
    shares = [rescaled(images, maps, (0.5, 2), 255, Generator().manual_seed(seed))[1] for seed in range(40)]
    known = [(one != 255).float().mean().item() for one in shares]
    assert min(known) < 0.5
    assert max(known) == 1
    assert len({one.numpy().tobytes() for one in shares}) > 15


def image_set():
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (20, 3, SIDE, SIDE), np.uint8)
    return ImageSet(images, None, None, "noise", SIDE, "train", "0", maps=images[:, 0] // 128, map_names=("a", "b"))


def test_a_batch_does_not_depend_on_who_reads_it():
    learner, data = SegmentationLearner((0.5, 2.0)), as_trained_on(image_set(), "maps")

    def made(part):
        batches = Batches(
            data, 8, Generator().manual_seed(1), part, flip=True, augment=learner.augment, seed=3, count=4
        )
        found = [batches.next() for _ in range(4)]
        batches.close()
        return found

    whole, first, second = made(slice(None)), made(slice(0, 4)), made(slice(4, 8))
    for one, left, right in zip(whole, first, second, strict=True):
        assert torch.equal(one.images, torch.cat([left.images, right.images]))
        assert torch.equal(one.labels, torch.cat([left.labels, right.labels]))
        assert one.labels.shape == (8, SIDE, SIDE)


def test_training_is_the_same_to_the_last_bit():
    config = SegmentationTraining(steps=3, batch_size=4, lr=1e-3, rescale=(0.5, 2.0), stochastic_depth=0.2)
    build = {"input_size": SIDE, "in_channels": 3, "num_classes": None, "head": "tokens", "out_channels": 2}
    weights = []
    for _ in range(2):
        torch.manual_seed(0)
        model = create_model("DiT-XXS/4", **build, conditioned=False, depth=2, width=64, **config.of_the_model)
        data, learner = as_trained_on(image_set(), "maps"), SegmentationLearner(config.rescale)
        train(model, data, config, learner=learner, device=torch.device("cpu"), precision="fp32")
        weights.append(model.state_dict())
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_the_rate_falls_along_a_line():
    config = SegmentationTraining(steps=10, batch_size=1, lr=1.0, schedule="linear", warmup=2)
    assert [learning_rate(config, step) for step in range(10)] == pytest.approx(
        [0.5, 1, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8]
    )
