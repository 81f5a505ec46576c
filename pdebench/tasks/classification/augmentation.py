"""Training pictures changed at random: cropped, RandAugment's operations, a box erased; in DeiT's order.

Operations and their magnitudes are torchvision's (`v2.RandomResizedCrop`, `v2.RandAugment`, `v2.RandomErasing`). Those
classes draw from PyTorch's own source, which is the training's and no thread's; here all is drawn from a generator that
is given. Three things differ from DeiT: RandAugment's operations are torchvision's, without noise on the magnitude;
crops are of the square picture that the data set holds, and no larger ones of its file; and what is erased becomes
normal noise about mid grey, .225 of the range wide, which DeiT has after normalisation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

OPERATIONS_AN_IMAGE = 2
LEVELS = 30  # of magnitude
TRIES = 10  # at a box that fits
NOISE_MEAN, NOISE_STD = 127.5, 0.225 * 255


@dataclass(frozen=True)
class Augmentation:
    """What is done to a picture, by the keys of `train:`."""

    randaugment: int = 0
    crop: float | None = None
    erasing: float = 0.0

    def __bool__(self) -> bool:
        return bool(self.randaugment or self.crop is not None or self.erasing)

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Pictures (B, C, H, W) or clips (B, C, T, H, W) of uint8, C 1 or 3: all changed alike, every frame too."""
        if images.ndim == 5:
            frames = images.transpose(1, 2)
            changed: Tensor = self(frames.flatten(0, 1), generator).unflatten(0, frames.shape[:2])
            return changed.transpose(1, 2)
        if self.crop is not None:
            images = cropped(images, self.crop, generator)
        if self.randaugment:
            for _ in range(OPERATIONS_AN_IMAGE):
                images = operated(images, self.randaugment, generator)
        if self.erasing and _uniform(generator) < self.erasing:
            images = erased(images, generator)
        return images


def cropped(images: Tensor, least: float, generator: Generator) -> Tensor:
    """A box of `least` of the area to all of it, 3:4 to 4:3, resized to the whole; all where none of ten fits."""
    height, width = images.shape[-2:]
    found = _box(height, width, (least, 1.0), (3 / 4, 4 / 3), generator, strictly=False)
    if found is None:
        return images
    resized: Tensor = F.resized_crop(images, *found, [height, width], InterpolationMode.BICUBIC, antialias=True)
    return resized


def operated(images: Tensor, magnitude: int, generator: Generator) -> Tensor:
    """One of RandAugment's operations, each as likely, with a random sign where it has one."""
    operation = _OPERATIONS[_below(len(_OPERATIONS), generator)]
    sign = 1 - 2 * _below(2, generator)
    return operation(images, magnitude / LEVELS, sign)


def erased(images: Tensor, generator: Generator) -> Tensor:
    """A box of 2% to 33% of the area, 3:10 to 10:3, becomes noise; nothing where none of ten fits."""
    height, width = images.shape[-2:]
    found = _box(height, width, (0.02, 0.33), (0.3, 3.3), generator, strictly=True)
    if found is None:
        return images
    top, left, high, wide = found
    noise = torch.randn((*images.shape[:2], high, wide), generator=generator) * NOISE_STD + NOISE_MEAN
    changed = images.clone()
    changed[..., top : top + high, left : left + wide] = noise.round().clamp(0, 255).to(images.dtype)
    return changed


def _box(
    height: int,
    width: int,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    generator: Generator,
    *,
    strictly: bool,
) -> tuple[int, int, int, int] | None:
    """Top, left, height and width of a box of a share of the area, its sides' ratio log-uniform; None: none fitted.

    `strictly`: it has to be smaller than the image along both sides.
    """
    for _ in range(TRIES):
        area = height * width * (scale[0] + (scale[1] - scale[0]) * _uniform(generator))
        low, high = math.log(ratio[0]), math.log(ratio[1])
        aspect = math.exp(low + (high - low) * _uniform(generator))
        wide, tall = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        room = (height - tall - strictly, width - wide - strictly)
        if min(wide, tall) > 0 and min(room) >= 0:
            top, left = (_below(free + strictly + 1, generator) for free in room)
            return top, left, tall, wide
    return None


Operation = Callable[[Tensor, float, int], Tensor]
"""Of pictures, a magnitude from 0 to 1 and a sign."""


def _moved(images: Tensor, *, shift: tuple[float, float] = (0, 0), shear: tuple[float, float] = (0, 0)) -> Tensor:
    """Moved by whole pixels (right, down), or sheared about the upper left corner by degrees."""
    corner = [0.0, 0.0] if any(shear) else None
    moved: Tensor = F.affine(images, 0.0, [*map(int, shift)], 1.0, [*shear], center=corner)
    return moved


def _degrees(slope: float) -> float:
    return math.degrees(math.atan(slope))


_FARTHEST = 150 / 331  # of a side, torchvision's
_OPERATIONS: tuple[Operation, ...] = (
    lambda images, share, sign: images,
    lambda images, share, sign: _moved(images, shear=(_degrees(sign * 0.3 * share), 0)),
    lambda images, share, sign: _moved(images, shear=(0, _degrees(sign * 0.3 * share))),
    lambda images, share, sign: _moved(images, shift=(sign * _FARTHEST * images.shape[-1] * share, 0)),
    lambda images, share, sign: _moved(images, shift=(0, sign * _FARTHEST * images.shape[-2] * share)),
    lambda images, share, sign: F.rotate(images, sign * 30.0 * share),
    lambda images, share, sign: F.adjust_brightness(images, 1 + sign * 0.9 * share),
    lambda images, share, sign: F.adjust_saturation(images, 1 + sign * 0.9 * share),
    lambda images, share, sign: F.adjust_contrast(images, 1 + sign * 0.9 * share),
    lambda images, share, sign: F.adjust_sharpness(images, 1 + sign * 0.9 * share),
    lambda images, share, sign: F.posterize(images, 8 - round(share * LEVELS / (LEVELS / 4))),
    lambda images, share, sign: F.solarize(images, 255 * (1 - share)),
    lambda images, share, sign: F.autocontrast(images),
    lambda images, share, sign: F.equalize(images),
)


def _uniform(generator: Generator) -> float:
    return float(torch.rand((), generator=generator))


def _below(bound: int, generator: Generator) -> int:
    return int(torch.randint(bound, (), generator=generator))
