"""Features of frozen models: what leaves their blocks, whatever the batches."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pdebench.errors import ModelError
from pdebench.measure.probing import MOST_PIXELS, block_features, noise_of, pixel_features
from pdebench.models.backbone import Backbone, create_model
from pdebench.stats.linear_probe import linear_probe
from pdebench.stats.nearest_neighbours import neighbours_vote
from pdebench.tasks.ddpm.learner import DdpmLearner
from pdebench.tasks.generation.learner import GenerationLearner
from pdebench.tasks.learner import Learner

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (21, 3, 16, 16), dtype=np.uint8)


def model_of(family: str = "DiT", classes: int | None = 3) -> Backbone:
    torch.manual_seed(0)
    model = create_model(f"{family}-XXS/4", input_size=16, in_channels=3, num_classes=classes, depth=3, width=32)
    for parameter in model.parameters():
        parameter.data.normal_(std=0.2)
    return model.eval()


def features(model: nn.Module, learner: Learner = GenerationLearner(), images: Any = IMAGES, **how: Any) -> Any:  # noqa: B008
    asked = {"layers": (0, 1, 2), "share": 0.5, "seed": 0, "split": 0} | how
    return block_features(cast(Backbone, model), learner, images, **asked)


@pytest.mark.parametrize("learner", [GenerationLearner(), DdpmLearner()])
@torch.no_grad()
def test_they_are_the_means_over_tokens_of_what_leaves_each_block(learner: Learner) -> None:
    model = model_of()
    noise = torch.from_numpy(np.stack([noise_of(0, 0, index, (3, 16, 16)) for index in range(len(IMAGES))]))
    x, t = learner.shown(torch.from_numpy(IMAGES) / 127.5 - 1, noise, 0.3)
    c = model.t_embedder(t) + model.y_embedder(torch.full((len(x),), 3))  # type: ignore[misc]
    tokens, wanted = model.x_embedder(x) + model.pos_embed, []
    for block in model.blocks:
        tokens = block(tokens, c)
        wanted.append(tokens.mean(1))
    found = features(model, learner, share=0.3)
    np.testing.assert_allclose(found, torch.stack(wanted).numpy(), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(features(model, learner, share=0.3, layers=(2, 0)), found[[2, 0]])
    assert not any(module._forward_hooks for module in model.modules())


def test_batches_do_not_matter_and_the_first_images_are_the_first_of_more() -> None:
    model = model_of("PDE-SSM-DiT")
    found = features(model)
    for size in (1, 7, 64):
        np.testing.assert_allclose(features(model, batch_size=size), found, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(features(model), found)
    np.testing.assert_allclose(features(model, images=IMAGES[:5]), found[:, :5], rtol=1e-4, atol=1e-5)


def test_every_image_has_its_own_noise_for_each_split_and_seed() -> None:
    drawn = [noise_of(*key, (2, 3)).tobytes() for key in ((0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0))]
    assert len(set(drawn)) == 4
    model = model_of()
    assert not np.allclose(features(model, seed=1), features(model))
    assert not np.allclose(features(model, share=0.9), features(model))


def test_no_class_is_given() -> None:
    model = model_of()
    before = features(model)
    assert model.y_embedder is not None
    model.y_embedder.embedding_table.weight.data[:3] += 1
    np.testing.assert_array_equal(features(model), before)
    model.y_embedder.embedding_table.weight.data[3:] += 1
    assert not np.allclose(features(model), before)


class Clean(GenerationLearner):
    """A task without noise."""

    times = (1.0,)

    def shown(self, clean: Tensor, noise: Tensor, share: float) -> tuple[Tensor, Tensor]:
        return Learner.shown(self, clean, noise, share)


class Told(nn.Module):
    """Its first block leaves what has nothing to do with images, its second their class, which their corners tell."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Identity(), nn.Identity()])
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None) -> Tensor:
        assert y is None
        code = (x[:, 0, 0, 0] * 127.5 + 127.5).round().long()
        generator = torch.Generator().manual_seed(int(x.sum().abs() * 1000) % 2**31)
        self.blocks[0](torch.randn(len(x), 4, 6, generator=generator))
        tokens = torch.nn.functional.one_hot(code, 3).float()[:, None].expand(-1, 4, -1)
        return self.blocks[1](tokens + torch.tensor([1.0, -1, 2, -2])[:, None])  # type: ignore[no-any-return]


def test_a_layer_that_holds_the_class_is_told_from_one_that_does_not() -> None:
    labels = RNG.integers(0, 3, 300)
    images = RNG.integers(0, 256, (300, 1, 4, 4), dtype=np.uint8)
    images[:, 0, 0, 0] = labels
    model = Told()
    for layer, low, high in ((0, 0.2, 0.47), (1, 1, 1)):
        training, held_out = (
            features(model, Clean(), part, layers=(layer,), split=split, batch_size=10)[0]
            for split, part in enumerate((images[:180], images[180:]))
        )
        asked = (training, labels[:180], held_out, labels[180:])
        for share in (linear_probe(*asked).held_out, neighbours_vote(*asked)):
            assert low <= share.value <= high
            if layer == 0:
                assert share.interval[0] < 1 / 3 < share.interval[1]


def test_weights_that_overflow_are_said() -> None:
    model = model_of()
    model.blocks[1].adaLN_modulation[-1].bias.data[:] = 1e38  # type: ignore[index, union-attr]
    with pytest.raises(ModelError, match="layer 1 answers with numbers that are not finite"):
        features(model)


def test_pixels_are_probed_as_they_are_or_by_regions() -> None:
    learner = GenerationLearner()
    np.testing.assert_allclose(pixel_features(learner, IMAGES), (IMAGES / 127.5 - 1).reshape(21, -1), atol=1e-6)
    large = RNG.integers(0, 256, (5, 3, 64, 64), dtype=np.uint8)
    found = pixel_features(learner, large, batch_size=2)
    assert found.shape == (5, MOST_PIXELS)
    means = (large / 127.5 - 1).reshape(5, 3, 32, 2, 32, 2).mean((3, 5))
    np.testing.assert_allclose(found, means.reshape(5, -1), atol=1e-5)
    clips = RNG.standard_normal((2, 4, 8, 16, 16), np.float32)
    assert pixel_features(Clean(), clips).shape[1] <= MOST_PIXELS
