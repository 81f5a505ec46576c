"""Mixup and cutmix: images of a batch mixed with each other, and their labels in the same shares.

As in DeiT's code (timm's `Mixup`, mode `batch`) one of the two is chosen for a whole batch, with one share for all its
images. Values are those of torchvision's `v2.MixUp` and `v2.CutMix`. Who is mixed with whom differs, and is as good,
since the order of a batch is random: neighbours, 0 with 1, 2 with 3, so that it does not depend on how a batch is
shared out among devices or cut into micro-batches.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor


def weights(height: int, width: int, mixup: float, cutmix: float, generator: Generator) -> Tensor:
    """What each pixel of an image keeps of itself, (H, W), in a batch that is mixed; the mean is what its label keeps.

    Args:
        height, width: of an image.
        mixup, cutmix: their alphas; one of them is above 0, and where both are, either is taken with chance 1/2.
        generator: on the device where the weights are to be; nothing waits for it.
    """
    device = generator.device
    half = torch.rand((), generator=generator, device=device) < 0.5
    faded = _beta(mixup or 1.0, generator).expand(height, width)
    row, column = (torch.randint(side, (), generator=generator, device=device) for side in (height, width))
    cut = cut_out(height, width, _beta(cutmix or 1.0, generator), row, column)
    if not (mixup and cutmix):
        return faded if mixup else cut
    return torch.where(half, faded, cut)


def cut_out(height: int, width: int, share: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """1 but in the box about a place, 0 there: of sqrt(1 - share) of either side, cut off at the image's edges."""
    radius = 0.5 * (1 - share).sqrt()
    kept = []
    for side, middle in ((height, row), (width, column)):
        places, half = torch.arange(side, device=share.device), (radius * side).long()
        kept.append((places >= middle - half) & (places < middle + half))
    return 1 - (kept[0][:, None] & kept[1]).float()


def mixed(images: Tensor, weights: Tensor) -> Tensor:
    """Images (B, C, H, W), B even, each with its neighbour in the shares of `weights` (H, W)."""
    return torch.lerp(neighbours(images), images, weights.to(images.dtype))


def neighbours(values: Tensor) -> Tensor:
    """The batch (B, ...), B even, with 0 and 1, 2 and 3, ... in each other's place."""
    pairs: Tensor = values.unflatten(0, (-1, 2))
    return pairs.flip(1).flatten(0, 1)


def _beta(alpha: float, generator: Generator) -> Tensor:
    """A number from Beta(alpha, alpha): of two Gamma variables the share of one."""
    both = torch._standard_gamma(torch.full((2,), alpha, device=generator.device), generator)
    return both[0] / both.sum()
