"""Clips that were looked at, cut into windows of so many frames, and what is said of those that cannot be used.

A video of n frames gives floor(n / (frames x stride)) windows, which lie one after another from its first frame on: all
of them are rows of the set, in a fixed, mixed order, so that every epoch sees each once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pdebench.data.clips.index import looked_at
from pdebench.data.clips.layout import Clip
from pdebench.data.clips.rows import ClipRows, KnownClip
from pdebench.data.clips.video import Looked
from pdebench.data.list_phrases import by_reason, few
from pdebench.data.nouns import plural
from pdebench.data.source import SPLITS, Skipped, SourceConfig, Split
from pdebench.errors import DataError
from pdebench.files import disk

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


_AT_ONCE = 64  # clips of a class that are looked at where its first cannot be used
NEEDS = {"frames": "the frames of a clip, such as 16"}


class Placed(NamedTuple):
    """A clip, a digest of what it holds, and the split that it is of."""

    clip: Clip
    digest: str
    split: Split


class Cut(NamedTuple):
    """How clips are cut: frames of a window, and frames of a clip from one of them to the next."""

    frames: int
    stride: int

    @property
    def least(self) -> int:
        """Frames that a window reaches over."""
        return self.frames * self.stride

    @property
    def asked(self) -> str:
        """As a suite asks for it."""
        if self.stride == 1:
            return f"data.frames: {self.frames}"
        return f"data.frames x data.frame_stride, {self.frames} x {self.stride} frames"


def cut_of(config: SourceConfig) -> Cut:
    """How a suite has clips cut, whose keys were checked: it says how many frames a window has."""
    assert config.frames is not None
    return Cut(config.frames, config.frame_stride)


class Usable(NamedTuple):
    """Clips that give windows, as they were looked at, and those that give none, with why."""

    clips: list[tuple[KnownClip, Placed]]
    left_out: list[Skipped]

    @property
    def looked(self) -> list[Looked]:
        """What each usable clip holds."""
        return [held.looked for held, _ in self.clips]

    def of(self, split: Split) -> list[tuple[KnownClip, Placed]]:
        """Those of one split."""
        return [one for one in self.clips if one[1].split == split]


def usable(placed: Sequence[Placed], stamps: Sequence[tuple[disk.Stamp | None, ...]], cut: Cut) -> Usable:
    """Look at every clip, which decodes it, the first time; `stamps` are of its files, before their digests."""
    found = Usable([], [])
    for one, about, stamp in zip(placed, _looked_at(placed), stamps, strict=True):
        if (why := _unusable(about, cut)) is not None:
            found.left_out.append(Skipped(one.clip.name, why))
        else:
            assert not isinstance(about, str)
            found.clips.append((KnownClip(one.clip, about, stamp), one))
    return found


def refuse_emptied(placed: Sequence[Placed], names: Sequence[str] | None, cut: Cut, root: Path) -> None:
    """See that each class has a clip to train on, of those that have any, and that something is held out.

    Without `names` no class is asked for, but that there is a clip in either split. Looks at no more clips than that
    takes: the first of each class where that is sound and long enough.

    Raises:
        DataError: none of a class, or of a split, can be used; says why.
    """
    groups: dict[int | None, list[Placed]] = {}
    for one in placed:
        label = one.clip.label if names else -1
        groups.setdefault(label if one.split == "train" else None, []).append(one)
    why: dict[int | None, list[Skipped]] = {group: [] for group in groups}
    asked = dict.fromkeys(groups)
    while asked:
        tried = [
            (group, one) for group in asked for one in groups[group][len(why[group]) :][: _AT_ONCE if why[group] else 1]
        ]
        for (group, one), about in zip(tried, _looked_at([one for _, one in tried]), strict=True):
            if group not in asked:  # another of its clips can be used
                continue
            if (said := _unusable(about, cut)) is None:
                del asked[group]
                continue
            why[group].append(Skipped(one.clip.name, said))
            if len(why[group]) == len(groups[group]):
                del asked[group]
    emptied = [group for group, these in groups.items() if len(why[group]) == len(these)]
    if not emptied:
        return
    reasons = by_reasons([one for group in emptied for one in why[group]])
    if len(emptied) == len(groups):
        raise DataError(f"data.path: none of the {len(placed)} clips in {root} can be used: {reasons}")
    if None in emptied:
        raise DataError(f"data.path: none of the {len(groups[None])} held-out clips in {root} can be used: {reasons}")
    if not names:
        trained = sum(one.split == "train" for one in placed)
        raise DataError(f"data.path: none of the {trained} clips to train on in {root} can be used: {reasons}")
    those = few(f"'{names[group]}'" for group in emptied if group is not None)
    what = f"class {those}" if len(emptied) == 1 else f"{len(emptied)} of {len(names)} classes, {those},"
    raise DataError(
        f"data.path: {what} in {root} would be left without a clip to train on: {reasons}; ask for fewer frames, add "
        "longer clips, or take the class out"
    )


def _looked_at(placed: Sequence[Placed]) -> list[Looked | str]:
    return looked_at([one.clip for one in placed], [one.digest for one in placed])


def _unusable(about: Looked | str, cut: Cut) -> str | None:
    if isinstance(about, str):
        return about
    return f"shorter than {cut.asked}" if about.frames < cut.least else None


def rows_of(
    clips: Sequence[tuple[KnownClip, Placed]], cut: Cut, resolution: int, *, labelled: bool
) -> tuple[ClipRows, NDArray[np.int64] | None]:
    """The windows of clips in their order, by a hash of the clip's digest, and the label of each."""
    import numpy as np

    windows = [
        (hashlib.sha256(f"{one.digest} {held.clip.label} {begin}".encode()).digest(), number, begin)
        for number, (held, one) in enumerate(clips)
        for begin in range(0, held.looked.frames - cut.least + 1, cut.least)
    ]
    rows = [(number, begin) for _, number, begin in sorted(windows)]
    labels = np.asarray([clips[number][0].clip.label for number, _ in rows], np.int64) if labelled else None
    return ClipRows([held for held, _ in clips], rows, cut.frames, cut.stride, resolution), labels


# ---- sentences


def remarks(found: Usable, names: Sequence[str] | None, resolution: int) -> Iterator[str]:
    """What is to be known of the clips that are used, a clause each."""
    looked = found.looked
    if small := sum(min(one.width, one.height) < resolution for one in looked):
        yield f"{small} of {len(looked)} clips are smaller than {resolution} px and were enlarged"
    yield from _of_time(looked)
    trained = {held.clip.label for held, _ in found.of("train")}
    if lacking := [f"'{name}'" for label, name in enumerate(names or ()) if label not in trained]:
        yield f"{len(lacking)} of {len(names or ())} classes have no clip to train on: {few(lacking)}"
    sides = {split: {one.digest for _, one in found.of(split)} for split in SPLITS}
    if both := len(sides["train"] & sides["validation"]):
        yield (
            f"{plural(both, 'clip')} {'is' if both == 1 else 'are'} held out and trained on as well, "
            "byte for byte: the loss on them is no test"
        )


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


def by_reasons(left_out: Sequence[Skipped]) -> str:
    """Some of what is left out by its reasons."""
    names: dict[str, list[str]] = {}
    for one in left_out:
        names.setdefault(one.reason, []).append(one.name)
    return by_reason(names)
