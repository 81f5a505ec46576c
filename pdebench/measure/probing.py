"""Features of a frozen model, for probes: what leaves its blocks, averaged over tokens, for images at a noise level.

The protocol is that of REPA's figure 2 (arXiv 2410.06940) and of Xiang et al. (arXiv 2303.09769): clean images are
noised to one time, the model is called once, and the output of a block, averaged over its tokens, is the feature. No
class is given, or it would be read back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from pdebench.data.rows import Rows
from pdebench.errors import ModelError
from pdebench.models.backbone import Backbone
from pdebench.tasks.learner import Learner

BATCH = 64
MOST_PIXELS = 3072  # numbers of an image that are probed as they are: of more, the means of its regions


def noise_of(seed: int, split: int, index: int, shape: Sequence[int]) -> NDArray[np.float32]:
    """Standard normal noise (C, ...) of one image of a split: the same whatever else is drawn, at every level."""
    return np.random.default_rng((seed, split, index)).standard_normal(tuple(shape), np.float32)


@torch.no_grad()
def block_features(
    model: Backbone,
    learner: Learner,
    images: Rows,
    *,
    layers: Sequence[int],
    share: float,
    seed: int,
    split: int,
    batch_size: int = BATCH,
    said: Callable[[int], None] = lambda images: None,
) -> NDArray[np.float32]:
    """The means over tokens of what leaves blocks, (layers, N, D).

    Memory beyond that is that of a forward pass on one batch.

    Args:
        model: in eval mode, on its device; the caller chooses its arithmetic.
        learner: the task, which shows the images to the model.
        images: (N, C, ...) as a model sees them, but for uint8; read a batch at a time.
        layers: blocks, the first is 0.
        share: of the way from noise to the image, see `Learner.shown`.
        seed: of the noise.
        split: a number that tells the noise of one split from another's.
        batch_size: images at a time.
        said: told how many images are done.

    Raises:
        ModelError: features are not finite.
    """
    device = next(model.parameters()).device
    found: NDArray[np.float32] | None = None
    pooled: dict[int, Tensor] = {}

    def keep(layer: int, _: nn.Module, given: object, tokens: Tensor) -> None:
        pooled[layer] = tokens.float().mean(dim=1)

    handles = [model.blocks[layer].register_forward_hook(partial(keep, layer)) for layer in layers]
    try:
        for begin in range(0, len(images), batch_size):
            clean = learner.to_model(torch.from_numpy(np.array(images[begin : begin + batch_size])).to(device))
            end = begin + len(clean)
            noise = np.stack([noise_of(seed, split, index, clean.shape[1:]) for index in range(begin, end)])
            model(*learner.shown(clean, torch.from_numpy(noise).to(clean), share), None)
            part = torch.stack([pooled[layer] for layer in layers]).cpu().numpy()
            if found is None:
                found = np.empty((len(layers), len(images), part.shape[-1]), np.float32)
            found[:, begin:end] = part
            said(end)
    finally:
        for handle in handles:
            handle.remove()
    assert found is not None  # there are images
    for place, layer in enumerate(layers):
        if not np.isfinite(found[place]).all():
            raise ModelError(f"layer {layer} answers with numbers that are not finite: its training diverged")
    return found


def pixel_features(learner: Learner, images: Rows, batch_size: int = BATCH) -> NDArray[np.float32]:
    """Clean images (N, C, ...) as a model sees them, flat, (N, D): the means of even regions where they are large."""
    found: NDArray[np.float32] | None = None
    for begin in range(0, len(images), batch_size):
        clean = learner.to_model(torch.from_numpy(np.array(images[begin : begin + batch_size]))).float()
        part = _coarse(clean).flatten(1).numpy()
        if found is None:
            found = np.empty((len(images), part.shape[1]), np.float32)
        found[begin : begin + len(part)] = part
    assert found is not None
    return found


def _coarse(images: Tensor) -> Tensor:
    """Images (B, C, ...) of at most MOST_PIXELS numbers each, where C allows it; all sides shrink alike."""
    sides = images.shape[2:]
    if images[0].numel() <= MOST_PIXELS:
        return images
    factor = (MOST_PIXELS / images[0].numel()) ** (1 / len(sides))
    pools: dict[int, Callable[..., Tensor]] = {2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}
    return pools[len(sides)](images, [max(1, math.floor(side * factor)) for side in sides])
