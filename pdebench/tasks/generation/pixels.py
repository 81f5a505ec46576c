"""Images as a model sees them, in [-1, 1], and as files and metrics have them, in whole numbers from 0 to 255."""

from __future__ import annotations

import torch
from torch import Tensor


def to_model(pixels: Tensor) -> Tensor:
    """uint8 images (B, C, ...) to float32 in [-1, 1]; floats are in the model's range already."""
    return pixels.float().div_(127.5).sub_(1) if pixels.dtype == torch.uint8 else pixels.float()


def to_data(images: Tensor, like: torch.dtype) -> Tensor:
    """Images of a model as their data set has them: `to_pixels` where that is of uint8, else float32."""
    return to_pixels(images) if like == torch.uint8 else images.float()


def to_pixels(images: Tensor) -> Tensor:
    """Images in [-1, 1] to uint8, rounded and clipped."""
    return images.float().add(1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)


def not_finite(images: Tensor) -> int:
    """How many of the images (B, C, ...) hold a value that is NaN or infinite, which `to_pixels` cannot show."""
    return int((~images.isfinite()).flatten(1).any(1).sum())
