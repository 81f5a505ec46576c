"""I3D of Kinetics-400, in TorchScript, whose logits the Fréchet video distance is of.

Published numbers are of `i3d_torchscript.pt`, which StyleGAN-V (arXiv 2112.14683, `frechet_video_distance.py`) and its
successors load: the network of Google's `frechet_video_distance`, whose weights differ from those of I3D's own
repository. That code calls it as here: uint8 (B, 3, T, H, W), with `rescale` and `resize` (it scales to [-1, 1] and
resizes to 224 px by itself) and `return_features`, which gives 400 logits. The file itself could not be had where this
was written: tests hold the way it is called, on a stand-in of the same interface.

TorchScript is a program: loading it runs what is in it. It is loaded from the path that the user names, from no other.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection
from pathlib import Path

import torch
from torch import Tensor, nn

from pdebench.errors import MetricError
from pdebench.metrics.metric import DIMENSIONS, I3D, POOLED

_ASKED = ("rescale", "resize", "return_features")


class Inflated3D(nn.Module):
    """Logits (B, 400) of clips."""

    def __init__(self, weights: Path) -> None:
        """Raises MetricError for a file that is of another interface; torch raises anything for one of another kind."""
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # TorchScript goes on as it is, and is what this file is in
            self.network = torch.jit.load(str(weights), map_location="cpu")
        schema = getattr(getattr(self.network, "forward", None), "schema", None)
        known = () if schema is None else tuple(argument.name for argument in schema.arguments)
        if lacking := [name for name in _ASKED if name not in known]:
            raise MetricError(
                f"{weights} is a network that takes no {', '.join(lacking)}, so it is not StyleGAN-V's I3D"
            )

    def forward(self, clips: Tensor, layers: Collection[str] = (POOLED,)) -> dict[str, Tensor]:
        """See the package; clips are uint8 (B, 3, T, H, W)."""
        logits = self.network(clips, rescale=True, resize=True, return_features=True)
        if logits.shape != (wanted := (len(clips), DIMENSIONS[I3D][POOLED])):
            raise MetricError(f"metric 'fvd': its network answers {tuple(logits.shape)}, and I3D {wanted}")
        return {POOLED: logits}
