"""`clips`: a user's own videos, cut into windows of so many frames, see `windows`.

A hash of a video's bytes decides whether it trains or validates, unless folders or a list say that, and never parts its
windows. Clips that are numbered as UCF-101's, `v_Archery_g04_c02`, are cut from one recording where they are of one
group (`g04`), and stay together likewise. Frames are taken as they are stored, whatever time lies between them.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence

from pdebench.data import pixels
from pdebench.data.clips import video
from pdebench.data.clips.index import decoders, digests_of
from pdebench.data.clips.layout import Clip, ClipListing, list_clips
from pdebench.data.clips.windows import (
    NEEDS,
    Placed,
    Usable,
    by_reasons,
    cut_of,
    refuse_emptied,
    remarks,
    rows_of,
    usable,
)
from pdebench.data.nouns import plural
from pdebench.data.source import SPLITS, ClassSizes, ImageSet, Source, SourceConfig, Split
from pdebench.data.split import RECIPE as SPLIT_RECIPE
from pdebench.data.split import VALIDATION_SHARE, split_of
from pdebench.errors import CellWarning, DataError
from pdebench.files import disk

_RECIPE = "clips-1"


class ClipsSource(Source):
    """A folder of videos or of folders of frames, with its sub-folders as classes, at any resolution."""

    name = "clips"
    brought = "clips"
    summary = "your own videos or folders of frames: sub-folders are classes; data.frames long, cut one after another"
    takes = ("path", "validation", "frames", "frame_stride")
    needs = NEEDS

    def check(self, config: SourceConfig) -> None:
        """Raise DataError for a path without clips, with too few for both splits, or that nothing here can decode."""
        self.check_resolution(config)
        listing = list_clips(config.path, config.validation)
        videos = {clip.paths[0].suffix.lower() for clip in listing.clips if clip.kind == "video"}
        if videos:
            video.require(self.name, videos)
        splits = _splits_seen(listing)
        for split in SPLITS:
            if split not in splits:
                raise _empty(split, listing, len(listing.clips))

    def class_count(self, config: SourceConfig) -> int | None:
        """Number of classes; None for clips without."""
        names = list_clips(config.path, config.validation).class_names
        return None if names is None else len(names)

    def class_sizes(self, config: SourceConfig) -> ClassSizes | None:
        """Clips of each class; a clip is never parted, however many windows it gives."""
        listing = list_clips(config.path, config.validation)
        if (names := listing.class_names) is None:
            return None
        return Counter((names[clip.label], clip.split) for clip in listing.clips)

    def content(self, config: SourceConfig) -> str:
        """A digest of every clip's bytes with its class and split, read afresh."""
        listing = list_clips(config.path, config.validation)
        return _content(listing, _placed(listing))

    def foresee(self, config: SourceConfig, *, trained: bool = True) -> None:
        """See `Source`: a class or a split of which no clip can be used, the others being too short or damaged."""
        listing = list_clips(config.path, config.validation)
        refuse_emptied(_placed(listing), listing.class_names if trained else None, cut_of(config), listing.root)

    def load(self, config: SourceConfig, split: Split) -> ImageSet:
        """Return one split; warns of what is left out or is not as its owner may think.

        The first time every clip is decoded once, to know how many frames it has.

        Raises:
            DataError: no clip can be used, or none of the split.
        """
        cut, listing = cut_of(config), list_clips(config.path, config.validation)
        stamps = [tuple(disk.stamp(path.resolve()) for path in clip.paths) for clip in listing.clips]
        placed = _placed(listing)
        found = usable(placed, stamps, cut)
        if not found.clips:
            raise DataError(
                f"data.path: none of the {len(placed)} clips in {listing.root} can be used: "
                f"{by_reasons(found.left_out)}"
            )
        for remark in _remarks(listing, found, config.resolution):
            warnings.warn(f"{listing.root}: {remark}", CellWarning, stacklevel=2)
        if not (mine := found.of(split)):
            raise _empty(split, listing, len(found.clips))
        names = listing.class_names
        rows, labels = rows_of(mine, cut, config.resolution, labelled=names is not None)
        decides = [
            _content(listing, placed), split, cut.frames, cut.stride, config.resolution,
            decoders(sorted({clip.kind for clip in listing.clips})),
        ]  # fmt: skip
        return ImageSet(
            rows, labels, names, self.name, config.resolution, split,
            hashlib.sha256(json.dumps(decides).encode()).hexdigest(), len(listing.left_out) + len(found.left_out),
        )  # fmt: skip


# ---- splits and content


def _placed(listing: ClipListing) -> list[Placed]:
    return [
        Placed(clip, digest, _split(clip, digest))
        for clip, digest in zip(listing.clips, digests_of(listing.clips), strict=True)
    ]


def _split(clip: Clip, digest: str) -> Split:
    """The side of a clip; those that are cut from one recording stand on one."""
    if clip.split is not None:
        return clip.split
    return split_of(f"clips {clip.recording or digest}".encode())


def _splits_seen(listing: ClipListing) -> set[Split]:
    """Which splits have clips; their bytes are read, the first time, where folders do not say it."""
    if all(clip.split is not None for clip in listing.clips):
        return {clip.split for clip in listing.clips if clip.split is not None}
    return {one.split for one in _placed(listing)}


def _content(listing: ClipListing, placed: Sequence[Placed]) -> str:
    about = [_RECIPE, SPLIT_RECIPE, pixels.DECODE_RECIPE, listing.class_names]
    held = sorted((one.digest, one.clip.label, one.split) for one in placed)
    return hashlib.sha256(json.dumps([about, held]).encode()).hexdigest()[:32]


# ---- sentences


def _remarks(listing: ClipListing, found: Usable, resolution: int) -> Iterator[str]:
    yield from listing.remarks
    if left_out := [*listing.left_out, *found.left_out]:
        yield f"{len(left_out)} of {len(left_out) + len(found.clips)} are left out: {by_reasons(left_out)}"
    yield from remarks(found, listing.class_names, resolution)


def _empty(split: Split, listing: ClipListing, clips: int) -> DataError:
    return DataError(
        f"data.path: the {split} split of {listing.root} is empty ({plural(clips, 'clip')} in all): add "
        f"clips; a hash of each sends about {VALIDATION_SHARE:.0%} of them to validation, or name some as "
        "data.validation"
    )
