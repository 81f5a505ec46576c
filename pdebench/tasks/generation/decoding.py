"""Latents decoded for pictures and metrics, by the autoencoder that their space names."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pdebench.data.rows import FilledRows, Rows
from pdebench.data.source import ImageSet
from pdebench.data.space import Space
from pdebench.errors import CellWarning
from pdebench.models.autoencoder import load

AT_ONCE = 16  # latents that are decoded at a time
LOOKED_AT = 16  # latents that are decoded before training
FLAT, CLIPPED = 8.0, 0.5  # a deviation of bytes below which an image is flat; a share of black and white bytes


class Decoder:
    """Turns what a model makes into images."""

    def __init__(self, space: Space, device: torch.device) -> None:
        """Args:
        space: names the autoencoder.
        device: where it shall be.

        Raises:
            ModelError: it cannot be loaded.
        """
        assert space.autoencoder is not None
        self.space, self.network = space, load(space.autoencoder, device)

    def images(self, seen: Tensor) -> Tensor:
        """What a model made, (N, C, h, w), as uint8 images (N, 3, H, W)."""
        made = []
        for rows in seen.split(AT_ONCE):
            latents = torch.from_numpy(self.space.latents(rows.numpy()).astype(np.float32))
            made.append(self.network.decode(latents, self.space.black))
        return torch.cat(made)

    def decoded(self, seen: Rows) -> LatentPictures:
        """Latents of a set as images."""
        return LatentPictures(self, seen)


class LatentPictures(FilledRows):
    """Latents of a set as a model sees them, as uint8 images (N, 3, H, W), decoded when they are asked for."""

    def __init__(self, decoder: Decoder, seen: Rows) -> None:
        self.decoder, self.rows = decoder, seen
        self._kept: tuple[int, NDArray[np.uint8]] = (0, self._decode(0))
        self.shape = (len(seen), *self._kept[1].shape[1:])
        self.dtype = np.dtype(np.uint8)

    def _fill(self, wanted: NDArray[np.int64], found: NDArray[np.uint8]) -> None:
        for at, one in enumerate(wanted.tolist()):
            block, place = divmod(one, AT_ONCE)  # neighbours are asked for next, and decoded at once
            if self._kept[0] != block:
                self._kept = (block, self._decode(block))
            found[at] = self._kept[1][place]

    def _decode(self, block: int) -> NDArray[np.uint8]:
        rows = torch.from_numpy(np.asarray(self.rows[block * AT_ONCE : (block + 1) * AT_ONCE]))
        found: NDArray[np.uint8] = self.decoder.images(rows).numpy()
        return found


def warn_of_other_latents(images: ImageSet) -> None:
    """Warn where the first latents of a set decode to nothing that looks like an image.

    What was encoded with one normalisation and is decoded with another trains without a complaint.

    Raises:
        ModelError: the autoencoder cannot be loaded.
    """
    assert images.space is not None
    first = torch.from_numpy(np.asarray(images.seen[: min(LOOKED_AT, len(images))]))
    decoded = Decoder(images.space, torch.device("cpu")).images(first).double()
    deviation = float(decoded.std(dim=(1, 2, 3)).mean())
    clipped = float(((decoded == 0) | (decoded == 255)).double().mean())
    if deviation < FLAT or clipped > CLIPPED:
        warnings.warn(
            f"the first {len(first)} latents of the set decode to images of a mean deviation of {deviation:.1f} of "
            f"255, {clipped:.0%} of their values black or white: these do not look like latents of "
            f"{images.space.autoencoder} with data.scale {images.space.scale[0]:.4g}",
            CellWarning,
            stacklevel=2,
        )
