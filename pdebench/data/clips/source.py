"""`clips`: a user's own videos, cut into windows of so many frames.

A video of n frames gives floor(n / (frames x stride)) windows, which lie one after another from its first frame on: all
of them are rows of the set, in a fixed, mixed order, so that every epoch sees each once. A hash of a video's bytes
decides whether it trains or validates, unless folders or a list say that, and never parts its windows. Clips that are
numbered as UCF-101's, `v_Archery_g04_c02`, are cut from one recording where they are of one group (`g04`), and stay
together likewise. Frames are taken as they are stored, whatever time lies between them.
"""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from pdebench.data import pixels
from pdebench.data.clips import video
from pdebench.data.clips.index import decoders, digests_of, looked_at
from pdebench.data.clips.layout import Clip, ClipListing, list_clips
from pdebench.data.clips.rows import ClipRows, KnownClip
from pdebench.data.clips.video import Looked
from pdebench.data.list_phrases import by_reason, few
from pdebench.data.source import SPLITS, ImageSet, Skipped, Source, SourceConfig, Split
from pdebench.data.split import RECIPE as SPLIT_RECIPE
from pdebench.data.split import VALIDATION_SHARE, split_of
from pdebench.errors import CellWarning, DataError
from pdebench.files import disk

_RECIPE = "clips-1"
_GROUP = re.compile(r"(.+_g\d+)_c\d+")


class ClipsSource(Source):
    """A folder of videos or of folders of frames, with its sub-folders as classes, at any resolution."""

    name = "clips"
    brought = "clips"
    summary = "your own videos or folders of frames: sub-folders are classes; data.frames long, cut one after another"
    takes = ("path", "validation", "frames", "frame_stride")

    def check(self, config: SourceConfig) -> None:
        """Raise DataError for a path without clips, with too few for both splits, or that nothing here can decode."""
        self.check_resolution(config)
        frames_of(config)
        listing = list_clips(config.path, config.validation)
        videos = {clip.paths[0].suffix.lower() for clip in listing.clips if clip.kind == "video"}
        if videos:
            video.require(videos)
        splits = _splits_seen(listing)
        for split in SPLITS:
            if split not in splits:
                raise _empty(split, listing, len(listing.clips))

    def class_count(self, config: SourceConfig) -> int | None:
        """Number of classes; None for clips without."""
        names = list_clips(config.path, config.validation).class_names
        return None if names is None else len(names)

    def content(self, config: SourceConfig) -> str:
        """A digest of every clip's bytes with its class and split, read afresh."""
        listing = list_clips(config.path, config.validation)
        return _content(listing, digests_of(listing.clips))

    def load(self, config: SourceConfig, split: Split) -> ImageSet:
        """Return one split; warns of what is left out or is not as its owner may think.

        The first time every clip is decoded once, to know how many frames it has.

        Raises:
            DataError: no clip can be used, or none of the split.
        """
        import numpy as np

        frames, stride = frames_of(config), config.frame_stride
        listing = list_clips(config.path, config.validation)
        stamps = [tuple(disk.stamp(path.resolve()) for path in clip.paths) for clip in listing.clips]
        digests = digests_of(listing.clips)
        left_out, used = list(listing.left_out), []
        for clip, digest, about, stamp in zip(
            listing.clips, digests, looked_at(listing.clips, digests), stamps, strict=True
        ):
            if isinstance(about, str):
                left_out.append(Skipped(clip.name, about))
            elif about.frames < frames * stride:
                left_out.append(Skipped(clip.name, f"shorter than {_asked(frames, stride)}"))
            else:
                used.append((KnownClip(clip, about, stamp), digest))
        if not used:
            raise DataError(
                f"data.path: none of the {len(listing.clips)} clips in {listing.root} can be used: "
                f"{_reasons([one for one in left_out if one not in listing.left_out])}"
            )
        for remark in _remarks(listing, left_out, used, config):
            warnings.warn(f"{listing.root}: {remark}", CellWarning, stacklevel=2)
        mine = [(held, digest) for held, digest in used if _split(held.clip, digest) == split]
        if not mine:
            raise _empty(split, listing, len(used))
        windows = [
            (hashlib.sha256(f"{digest} {held.clip.label} {begin}".encode()).digest(), number, begin)
            for number, (held, digest) in enumerate(mine)
            for begin in range(0, held.looked.frames - frames * stride + 1, frames * stride)
        ]
        rows = [(number, begin) for _, number, begin in sorted(windows)]
        names = listing.class_names
        labels = None if names is None else np.asarray([mine[number][0].clip.label for number, _ in rows], np.int64)
        decides = [
            _content(listing, digests), split, frames, stride, config.resolution,
            decoders(sorted({clip.kind for clip in listing.clips})),
        ]  # fmt: skip
        return ImageSet(
            ClipRows([held for held, _ in mine], rows, frames, stride, config.resolution),
            labels, names, self.name, config.resolution, split,
            hashlib.sha256(json.dumps(decides).encode()).hexdigest(), len(left_out),
        )  # fmt: skip


def frames_of(config: SourceConfig) -> int:
    """Frames of a clip.

    Raises:
        DataError: nobody says how many.
    """
    if config.frames is None:
        raise DataError(f"data set '{config.name}' needs data.frames, the frames of a clip, such as 16")
    return config.frames


# ---- splits and content


def _split(clip: Clip, digest: str) -> Split:
    """The side of a clip; those that are cut from one recording stand on one."""
    if clip.split is not None:
        return clip.split
    name = PurePosixPath(clip.name)
    group = _GROUP.fullmatch(name.name if clip.kind == "frames" else name.stem)
    return split_of((f"clips {group[1]}" if group else f"clips {digest}").encode())


def _splits_seen(listing: ClipListing) -> set[Split]:
    """Which splits have clips; their bytes are read, the first time, where folders do not say it."""
    if all(clip.split is not None for clip in listing.clips):
        return {clip.split for clip in listing.clips if clip.split is not None}
    return {_split(clip, digest) for clip, digest in zip(listing.clips, digests_of(listing.clips), strict=True)}


def _content(listing: ClipListing, digests: Sequence[str]) -> str:
    about = [_RECIPE, SPLIT_RECIPE, pixels.DECODE_RECIPE, listing.class_names]
    held = sorted(
        (digest, clip.label, _split(clip, digest)) for clip, digest in zip(listing.clips, digests, strict=True)
    )
    return hashlib.sha256(json.dumps([about, held]).encode()).hexdigest()[:32]


# ---- sentences


def _remarks(
    listing: ClipListing, left_out: Sequence[Skipped], used: Sequence[tuple[KnownClip, str]], config: SourceConfig
) -> Iterator[str]:
    yield from listing.remarks
    if left_out:
        yield f"{len(left_out)} of {len(left_out) + len(used)} are left out: {_reasons(left_out)}"
    looked = [held.looked for held, _ in used]
    if small := sum(min(one.width, one.height) < config.resolution for one in looked):
        yield f"{small} of {len(used)} clips are smaller than {config.resolution} px and were enlarged"
    yield from _of_time(looked)
    names = listing.class_names or ()
    trained = {held.clip.label for held, digest in used if _split(held.clip, digest) == "train"}
    if lacking := [f"'{name}'" for label, name in enumerate(names) if label not in trained]:
        yield f"{len(lacking)} of {len(names)} classes have no clip to train on: {few(lacking)}"
    sides = {split: {digest for held, digest in used if _split(held.clip, digest) == split} for split in SPLITS}
    if both := len(sides["train"] & sides["validation"]):
        yield f"{both} clips are held out and trained on as well, byte for byte: the loss on them is no test"


def _of_time(looked: Sequence[Looked]) -> Iterator[str]:
    if uneven := sum(not one.even for one in looked):
        yield (
            f"{uneven} of {len(looked)} clips have frames at uneven times: frames are taken one after another, "
            "whatever time lies between them"
        )
    rates = sorted({round(one.rate, 2) for one in looked if one.rate})
    if len(rates) > 1:
        yield (
            f"clips have from {rates[0]:g} to {rates[-1]:g} frames a second, and are not resampled: what a frame "
            "more is in time differs between them"
        )


def _reasons(left_out: Sequence[Skipped]) -> str:
    names: dict[str, list[str]] = {}
    for one in left_out:
        names.setdefault(one.reason, []).append(one.name)
    return by_reason(names)


def _asked(frames: int, stride: int) -> str:
    return f"data.frames: {frames}" if stride == 1 else f"data.frames x data.frame_stride, {frames} x {stride} frames"


def _empty(split: Split, listing: ClipListing, clips: int) -> DataError:
    return DataError(
        f"data.path: the {split} split of {listing.root} is empty ({clips} clip{'s' * (clips != 1)} in all): add "
        f"clips; a hash of each sends about {VALIDATION_SHARE:.0%} of them to validation, or name some as "
        "data.validation"
    )
