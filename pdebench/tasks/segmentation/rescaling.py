"""Training images and their maps scaled by one random factor and cropped to their own sides at one random place.

Images are resized with antialiasing, maps by their nearest pixel. A scaled image that is smaller than it was lies at a
random place on grey, where its map is ignored.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

GREY = 127  # of uint8: nearly 0 as a model sees it


def rescaled(
    images: Tensor, maps: Tensor, factors: tuple[float, float], ignored: int, generator: Generator
) -> tuple[Tensor, Tensor]:
    """Images (B, C, H, W) and maps (B, H, W), all moved alike, of the same shapes.

    Args:
        images: uint8, or floats in the range that models see.
        maps: of them.
        factors: between which the factor is drawn, uniformly.
        ignored: what a pixel of no known class has in the maps.
        generator: of the factor and the place.
    """
    low, high = factors
    factor = low + (high - low) * float(torch.rand((), generator=generator))
    sides = maps.shape[1:]
    scaled = [max(1, round(factor * side)) for side in sides]
    larger = F.resize(images, scaled, InterpolationMode.BILINEAR, antialias=True)
    rows, columns = (_nearest(old, new) for old, new in zip(sides, scaled, strict=True))
    theirs = maps[:, rows][:, :, columns]
    made = torch.full_like(images, GREY if images.dtype == torch.uint8 else 0)
    known = torch.full_like(maps, ignored)
    source, target = [], []
    for old, new in zip(sides, scaled, strict=True):
        begin = int(torch.randint(abs(new - old) + 1, (), generator=generator))
        size = min(old, new)
        source.append(slice(begin, begin + size) if new > old else slice(0, size))
        target.append(slice(0, size) if new > old else slice(begin, begin + size))
    made[:, :, target[0], target[1]] = larger[:, :, source[0], source[1]]
    known[:, target[0], target[1]] = theirs[:, source[0], source[1]]
    return made, known


def _nearest(old: int, new: int) -> Tensor:
    """For each of `new` places the one of `old` that its middle lies in."""
    return ((torch.arange(new) + 0.5) * old / new).long().clamp(max=old - 1)
