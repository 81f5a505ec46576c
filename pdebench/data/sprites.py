"""`sprites`: single frames of made-up scenes with the class of every pixel, to be segmented; see `scenes.py`."""

from __future__ import annotations

import json
from collections.abc import Iterator

from pdebench.data import emoji, photos, scenes
from pdebench.data.cache import cached
from pdebench.data.source import SPLITS, ImageSet, Sample, Source, SourceConfig, Split

COUNTS: dict[Split, int] = {"train": 2048, "validation": 256}


class SpritesSource(Source):
    """Emoji on photographs, RGB, ten classes of pixels, 32 to 128 px."""

    name = "sprites"
    summary = "made-up scenes, Noto Emoji on packaged photographs, with maps of 10 classes of pixels"
    resolutions = scenes.RESOLUTIONS

    def check(self, config: SourceConfig) -> None:
        """Raise DataError unless the emoji and the photographs are installed."""
        self.check_resolution(config)
        self.check_no_path(config)
        emoji.check(self.name)
        photos.check(self.name)

    def class_count(self, config: SourceConfig) -> int | None:
        """None: a scene has no label."""
        return None

    def map_classes(self, config: SourceConfig) -> tuple[str, ...]:
        """Background, and the emoji's categories."""
        return scenes.CLASSES

    def most_cached(self, config: SourceConfig) -> int:
        """The scenes of both splits."""
        return sum(COUNTS.values())

    def content(self, config: SourceConfig) -> None:
        """Its name: made of packaged files that are pinned by checksums."""

    def load(self, config: SourceConfig, split: Split) -> ImageSet:
        """Return one split; DataError names a packaged file that differs from the pinned one."""
        entry = cached(
            self.name, config.resolution, json.dumps([scenes.IDENTITY, COUNTS]), split,
            lambda: _drawn(config.resolution), self.most_cached(config), maps=True,
        )  # fmt: skip
        return ImageSet(
            entry.images, None, None, self.name, config.resolution, split, entry.checksum,
            maps=entry.maps, map_names=scenes.CLASSES,
        )  # fmt: skip


def _drawn(resolution: int) -> Iterator[Sample]:
    for split in SPLITS:
        for number in range(COUNTS[split]):
            made = scenes.scene(split, number, 1, resolution)
            yield Sample(split, made.frames[0].transpose(2, 0, 1), map=made.masks[0])
