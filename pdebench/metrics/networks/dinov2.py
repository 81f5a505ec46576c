"""DINOv2's ViT-L/14 (arXiv 2304.07193), by timm, with the published weights and EDM2's preprocessing."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import interpolate

from pdebench.errors import MetricError
from pdebench.metrics.metric import POOLED

SIDE, PATCH = 224, 14
TRAINED_GRID = 37  # patches a side: published weights were trained up to images of 518 px
WIDTH, DEPTH, HEAD = 1024, 24, 64
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet


class DinoV2(nn.Module):
    """The class token after the last normalisation, (B, 1024).

    Images are brought to 224 px with an antialiased bicubic filter, whose overshoot is kept, and normalised with
    ImageNet's mean and deviation: what EDM2's `calculate_metrics.py` does.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, weights: Path) -> None:
        super().__init__()
        from timm.models.vision_transformer import VisionTransformer

        state = read_weights(weights)
        state.pop("mask_token", None)  # of training alone
        state["pos_embed"] = _positions(state["pos_embed"])
        self.model = VisionTransformer(
            img_size=SIDE,
            patch_size=PATCH,
            embed_dim=WIDTH,
            depth=DEPTH,
            num_heads=WIDTH // HEAD,
            init_values=1.0,  # each branch has scales of its own
            num_classes=0,
        )
        self.model.load_state_dict(state)
        for name, values in (("mean", _MEAN), ("deviation", _DEVIATION)):
            self.register_buffer(name, torch.tensor(values).reshape(3, 1, 1), persistent=False)

    def forward(self, images: Tensor, layers: Collection[str] = (POOLED,)) -> dict[str, Tensor]:
        """See the package."""
        resized = interpolate(images.float(), (SIDE, SIDE), mode="bicubic", align_corners=False, antialias=True)
        return {POOLED: self.model((resized / 255 - self.mean) / self.deviation)}


def _positions(trained: Tensor) -> Tensor:
    """Embeddings of the positions of 518 px, (1, 1 + 37 * 37, D), at 224 px, as DINOv2's own code brings them there.

    It passes a scale of 16.1 / 37 instead of a size and filters nothing, so that other code's resizing gives other
    features.
    """
    grid = trained[:, 1:].reshape(1, TRAINED_GRID, TRAINED_GRID, -1).permute(0, 3, 1, 2)
    scale = (SIDE // PATCH + 0.1) / TRAINED_GRID
    small = interpolate(grid.float(), scale_factor=(scale, scale), mode="bicubic", align_corners=False)
    return torch.cat([trained[:, :1], small.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file of DINOv2's or of timm's, which name them alike; mapped and not read, where that can be.

    Raises:
        MetricError: they are not those of ViT-L/14 without registers.
        Exception: it is no file of tensors.
    """
    if path.suffix == ".safetensors":
        state = load_file(path)
    else:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    wanted = {
        "cls_token": (1, 1, WIDTH),
        "pos_embed": (1, 1 + TRAINED_GRID**2, WIDTH),
        "patch_embed.proj.weight": (WIDTH, 3, PATCH, PATCH),
        "norm.weight": (WIDTH,),
        **{f"blocks.{index}.ls2.gamma": (WIDTH,) for index in range(DEPTH)},
    }
    found = {name: tuple(tensor.shape) for name, tensor in state.items()} if isinstance(state, Mapping) else {}
    if any(found.get(name) != shape for name, shape in wanted.items()) or f"blocks.{DEPTH}.ls2.gamma" in found:
        raise MetricError(f"{path} does not hold the weights of DINOv2's ViT-L/14 without registers")
    return state
