"""Random numbers in the place of images, for suites that measure speed and memory and learn nothing.

`noise` stands for images of any resolution; `latents` for an autoencoder's, 4 channels at an eighth of the image's
side, which is how DiT's papers train at 256 px (32 x 32) and 512 px (64 x 64). Both have ImageNet's number of classes,
so that a model has the label table that it would have there. With `data.frames` both are clips.
"""

from __future__ import annotations

import hashlib

from pdebench.data.source import ImageSet, Source, SourceConfig, Split

COUNTS: dict[Split, int] = {"train": 64, "validation": 0}  # a loss on held-out noise would only take time
CLASSES = 1000


class NoiseSource(Source):
    """Uniform random bytes, the same in every process."""

    resolutions = None
    meaningful = False
    takes = ("path", "frames")

    def __init__(self, name: str, channels: int, summary: str) -> None:
        self.name, self.channels, self.summary = name, channels, summary

    def check(self, config: SourceConfig) -> None:
        """Raise DataError for a path, or a side below 1."""
        self.check_resolution(config)
        self.check_no_path(config)

    def class_count(self, config: SourceConfig) -> int | None:
        """ImageNet's."""
        return CLASSES

    def content(self, config: SourceConfig) -> None:
        """Its name: made by a generator of a fixed seed."""

    def load(self, config: SourceConfig, split: Split) -> ImageSet:
        """A few images; what is measured does not depend on what they show."""
        import numpy as np

        count = COUNTS[split]
        sides = self.sides(config)
        random = np.random.default_rng([self.channels, *sides[:-1]])
        shape = (count, self.channels, *sides)
        images = random.integers(0, 256, shape, dtype=np.uint8)
        labels = random.integers(0, CLASSES, count)
        checksum = hashlib.sha256(images.reshape(-1).data)
        checksum.update(labels.data)
        names = tuple(map(str, range(CLASSES)))
        return ImageSet(images, labels, names, self.name, config.resolution, split, checksum.hexdigest())


NOISE = NoiseSource("noise", 3, "random pixels at any resolution, to measure speed and memory; nothing is learned")
LATENTS = NoiseSource(
    "latents", 4, "random latents of 4 channels: resolution 32 stands for 256 px, 64 for 512 px; nothing is learned"
)
