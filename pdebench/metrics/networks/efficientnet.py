"""EfficientNet-lite0, whose ImageNet weights come as a Python package."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from pdebench.metrics.metric import POOLED

SIDE = 224


class EfficientNetLite0(nn.Module):
    """The 1,280 globally averaged features before the classifier of EfficientNet-lite0 (ImageNet weights).

    Pixels are scaled as in the model's TensorFlow release: (x - 127) / 128.
    """

    def __init__(self, weights: Path) -> None:
        super().__init__()
        from efficientnet_lite_pytorch import EfficientNet

        self.model = EfficientNet.from_name("efficientnet-lite0")
        self.model.load_state_dict(torch.load(weights, weights_only=True))
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor, layers: Collection[str] = (POOLED,)) -> dict[str, Tensor]:
        """See the package."""
        return {POOLED: self.model.extract_features(self._prepared(images)).mean(dim=(2, 3))}

    def classify(self, images: Tensor) -> Tensor:
        """ImageNet logits, (B, 3, H, W) uint8 -> (B, 1000): shows that weights and scaling fit."""
        logits: Tensor = self.model(self._prepared(images))
        return logits

    def _prepared(self, images: Tensor) -> Tensor:
        resized = interpolate(images.float(), (SIDE, SIDE), mode="bicubic", align_corners=False, antialias=True)
        scaled = (resized.clamp(0, 255) - 127.0) / 128.0  # a bicubic filter overshoots
        return scaled.contiguous(memory_format=torch.channels_last)
