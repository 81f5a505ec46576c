"""The frames of clips as images, for metrics that look at one at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pdebench.data.rows import FilledRows, Rows


class FrameRows(FilledRows):
    """Clips (N, C, T, H, W) as rows (N T, C, H, W), clip after clip, read when they are asked for."""

    def __init__(self, clips: Rows) -> None:
        self.clips = clips
        count, channels, self.frames, height, width = clips.shape
        self.shape = (count * self.frames, channels, height, width)
        self.dtype = np.dtype(clips.dtype)

    def _fill(self, wanted: NDArray[np.int64], found: NDArray[Any]) -> None:
        clips, place = np.unique(wanted // self.frames, return_inverse=True)
        read = np.asarray(self.clips[clips])
        found[:] = read[place, :, wanted % self.frames]


def frames_of(clips: Rows | Tensor) -> Rows | Tensor:
    """Clips, on the host, as images; images as they are."""
    if clips.ndim == 4:
        return clips
    return FrameRows(clips.numpy() if isinstance(clips, Tensor) else clips)
