"""`sprites_video`: clips of made-up scenes, with the category of the foremost sprite as their class; see `scenes.py`.

That sprite is covered by no other, and its centre is inside the frame in the middle of the clip, so the class can be
seen. Mirroring a clip leaves it in its class.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from pdebench.data import emoji, photos, scenes
from pdebench.data.cache import cached
from pdebench.data.clips.windows import NEEDS, cut_of
from pdebench.data.emoji import CATEGORIES
from pdebench.data.source import SPLITS, ImageSet, Sample, Source, SourceConfig, Split

COUNTS: dict[Split, int] = {"train": 512, "validation": 64}


class SpritesVideoSource(Source):
    """Emoji that drift and turn over photographs, RGB, nine classes, 16 to 128 px, as long as they are asked for."""

    name = "sprites_video"
    summary = "clips of Noto Emoji moving over packaged photographs, 9 classes, made here; data.frames long"
    resolutions = (16, *scenes.RESOLUTIONS)
    takes = ("path", "frames", "frame_stride")
    needs = NEEDS

    def check(self, config: SourceConfig) -> None:
        """Raise DataError unless the emoji and the photographs are installed."""
        self.check_resolution(config)
        self.check_no_path(config)
        emoji.check(self.name)
        photos.check(self.name)

    def class_count(self, config: SourceConfig) -> int | None:
        """Nine, the emoji's categories."""
        return len(CATEGORIES)

    def most_cached(self, config: SourceConfig) -> int:
        """The frames of both splits."""
        return sum(COUNTS.values()) * cut_of(config).frames

    def content(self, config: SourceConfig) -> None:
        """Its name: made of packaged files that are pinned by checksums."""

    def load(self, config: SourceConfig, split: Split) -> ImageSet:
        """Return one split; DataError names a packaged file that differs from the pinned one."""
        (frames, stride), side = cut_of(config), config.resolution
        entry = cached(
            self.name, side, json.dumps([scenes.IDENTITY, COUNTS, stride]), split,
            lambda: _drawn(frames, stride, side), self.most_cached(config), frames=frames,
        )  # fmt: skip
        return ImageSet(entry.images, entry.labels, CATEGORIES, self.name, side, split, entry.checksum)


def _drawn(frames: int, stride: int, resolution: int) -> Iterator[Sample]:
    for split in SPLITS:
        for number in range(COUNTS[split]):
            made = scenes.scene(split, number, (frames - 1) * stride + 1, resolution)
            clip = made.frames[::stride].transpose(3, 0, 1, 2)
            yield Sample(split, clip, made.sprites[-1].value - 1)  # value 0 is the background's
