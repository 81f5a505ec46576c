"""The Inception of 2015, by torch-fidelity's port of TensorFlow's graph, and the spatial features of sFID."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Collection
from pathlib import Path

import torch
from torch import Tensor, nn

from pdebench.metrics.metric import LOGITS, POOLED, SPATIAL

with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

SPATIAL_CHANNELS = 7  # of 192: as many as make about as many numbers as the pooled features are
_THEIRS = {POOLED: "2048", LOGITS: "logits_unbiased"}  # torch-fidelity's names


class Inception(nn.Module):
    """Pooled features (B, 2048), logits (B, 1008) and spatial features (B, 2023) of the 2015 Inception.

    Spatial features are ADM's (arXiv 2105.05233, `evaluations/evaluator.py`): the first 7 channels of what TensorFlow's
    graph calls `mixed_6/conv`, after its ReLU, in the order (H, W, C). Here that is the branch of 1x1 convolutions of
    `Mixed_6d`: torch-fidelity's table of weights, `util_convert_inception_weights.py`, has `mixed_6/conv` there.
    """

    def __init__(self, weights: Path) -> None:
        super().__init__()
        # torch-fidelity would un-pickle anything: what it gets is a copy of the tensors alone.
        copied = io.BytesIO()
        torch.save(torch.load(weights, map_location="cpu", weights_only=True), copied)
        copied.seek(0)
        self.network = FeatureExtractorInceptionV3(
            "inception-v3-compat", list(_THEIRS.values()), feature_extractor_weights_path=copied
        )
        self._spatial: Tensor | None = None
        self.network.Mixed_6d.branch1x1.register_forward_hook(self._keep)

    def forward(self, images: Tensor, layers: Collection[str] = (POOLED,)) -> dict[str, Tensor]:
        """See the package."""
        found = dict(zip(_THEIRS, self.network(images), strict=True))
        if SPATIAL in layers:
            assert self._spatial is not None
            found[SPATIAL] = self._spatial.permute(0, 2, 3, 1).flatten(1)
        self._spatial = None
        return {layer: found[layer] for layer in layers}

    def _keep(self, _: nn.Module, __: tuple[Tensor, ...], made: Tensor) -> None:
        self._spatial = made[:, :SPATIAL_CHANNELS]
