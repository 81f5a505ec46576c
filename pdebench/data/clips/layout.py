"""What lies under a folder of clips: their classes, and the split that each is of.

    ROOT/CLASS/...clip              sub-folders are classes, as in UCF-101
    ROOT/clip                       clips without classes
    ROOT/train/..., ROOT/val/...    either of the above in each of two folders that say which split they are

A clip is a video file, an animated WebP or GIF, or a folder of pictures, which are its frames in the order of the
numbers in their names. What is held out may be named by a list too, such as UCF-101's `testlist01.txt`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from pdebench.data import pixels
from pdebench.data.clips.pictures import ANIMATED, is_animated
from pdebench.data.clips.video import CONTAINERS, Video
from pdebench.data.list_phrases import few, folders
from pdebench.data.source import Skipped, Split
from pdebench.data.splits import splits_among
from pdebench.errors import DataError, refused_by_system
from pdebench.files import disk

_LARGEST_LIST = 2**26  # bytes
_DIGITS = re.compile(r"(\d+)")
_GROUP = re.compile(r"(.+_g\d+)_c\d+")


@dataclass(frozen=True)
class Clip:
    """A clip: its name below its root, the file or the frames that it is in, its class (-1: none) and its split.

    `span` is where its bytes begin in its file and how many there are; None: it is the whole file.
    """

    name: str
    paths: tuple[Path, ...]
    kind: Literal["video", "animation", "frames"]
    label: int = -1
    split: Split | None = None
    span: tuple[int, int] | None = None

    @property
    def recording(self) -> str | None:
        """What it is cut from, as UCF-101 names that: `v_Archery_g04` of `v_Archery_g04_c02`; None: it does not say."""
        name = PurePosixPath(self.name)
        group = _GROUP.fullmatch(name.name if self.kind == "frames" else name.stem)
        return None if group is None else group[1]

    @property
    def video(self) -> Video:
        """Where the bytes of a clip lie that is a video."""
        return Video(self.paths[0], PurePosixPath(self.name).suffix.lower(), *self.span or ())


@dataclass(frozen=True)
class ClipListing:
    """The clips of a set.

    Attributes:
        root: the folder.
        clips: in a fixed order.
        class_names: by label; None for clips without classes.
        left_out: what is no clip of the set, and why.
        remarks: what is to be known of how the folder was read, a clause each.
    """

    root: Path
    clips: tuple[Clip, ...]
    class_names: tuple[str, ...] | None
    left_out: tuple[Skipped, ...]
    remarks: tuple[str, ...] = ()


def list_clips(path: Path | None, validation: Path | None) -> ClipListing:
    """Find the clips under `path`.

    Args:
        path: the folder.
        validation: a folder of those that are held out, or a text file that names those of `path` that are, a line
            each; None: folders called `train` and `val` say it, or nothing does.

    Raises:
        DataError: there is no such folder, no clip in it, or what can be read in two ways.
    """
    if path in (None, Path()):
        raise DataError("data set 'clips' needs data.path, the folder that holds your clips")
    root, clips, left_out = _walked(path, "data.path")  # type: ignore[arg-type]
    if validation is None:
        return _by_folder(root, clips, left_out)
    if not disk.expanded(validation).is_dir():
        classes, sorted_in = _classes(root, clips, 0)
        held_out, remarks = _listed(validation, root, sorted_in)
        split = tuple(replace(clip, split="validation" if clip in held_out else "train") for clip in sorted_in)
        return ClipListing(root, split, classes, left_out, remarks)
    other, more, also = _walked(validation, "data.validation")
    return _two(
        root, (("train", root, clips, 0), ("validation", other, more, 0)), (*left_out, *also),
        (f"{root} is trained on, {other} is held out",),
    )  # fmt: skip


def _by_folder(root: Path, clips: Sequence[Clip], left_out: tuple[Skipped, ...]) -> ClipListing:
    """Folders that are called as splits are splits, all others are classes."""
    first = dict.fromkeys(clip.name.split("/")[0] for clip in clips if "/" in clip.name)
    if (of := splits_among(root, first)) is None:
        classes, sorted_in = _classes(root, clips, 0)
        return ClipListing(root, sorted_in, classes, left_out)
    parts = {folder: [clip for clip in clips if clip.name.split("/")[0] == folder] for folder in of}
    by_split = {split: folder for folder, split in of.items()}
    train, held_out = by_split["train"], by_split["validation"]
    if loose := [clip.name for clip in clips if "/" not in clip.name]:
        raise DataError(
            f"data.path: {root} has clips beside {train}/ and {held_out}/, such as {loose[0]}: move them in"
        )
    unused = tuple(
        Skipped(clip.name, f"in {folder}/, which is neither trained on nor held out")
        for folder, split in of.items() if split == "test" for clip in parts[folder]
    )  # fmt: skip
    return _two(
        root, (("train", root / train, parts[train], 1), ("validation", root / held_out, parts[held_out], 1)),
        (*left_out, *unused), (f"{train}/ is trained on, {held_out}/ is held out",),
    )  # fmt: skip


def _two(
    root: Path,
    parts: Sequence[tuple[Split, Path, Sequence[Clip], int]],
    left_out: tuple[Skipped, ...],
    remarks: tuple[str, ...],
) -> ClipListing:
    """The clips of two folders, of the classes of the first."""
    names: tuple[str, ...] | None = None
    found: list[Clip] = []
    for split, folder, clips, depth in parts:
        classes, sorted_in = _classes(folder, clips, depth)
        if split == "train":
            names = classes
        elif unknown := set(classes or ()) - set(names or ()) or (names and classes is None):
            what = folders(sorted(unknown)) if isinstance(unknown, set) else "it has none"
            raise DataError(
                f"data.path: {folder} has other classes than those that are trained on ({what}): sort its clips into "
                "folders of the same names"
            )
        labels = {name: label for label, name in enumerate(names or ())}
        for clip in sorted_in:
            label = labels[classes[clip.label]] if classes else -1
            found.append(replace(clip, split=split, label=label))
    return ClipListing(root, tuple(found), names, left_out, remarks)


def _classes(root: Path, clips: Sequence[Clip], depth: int) -> tuple[tuple[str, ...] | None, tuple[Clip, ...]]:
    """The classes of clips by the folders that they are in, from so many folders down, and the clips with them."""
    parts = [clip.name.split("/")[depth:] for clip in clips]
    within = tuple(dict.fromkeys(one[0] for one in parts if len(one) > 1))
    loose = [clip.name for clip, one in zip(clips, parts, strict=True) if len(one) == 1]
    if within and loose:
        raise DataError(
            f"data.path: {root} has clips beside sub-folders with clips ({loose[0]}, {within[0]}/): move them into a "
            "sub-folder, which makes them a class, or out of it"
        )
    if not within:
        return None, tuple(clips)
    label = {name: number for number, name in enumerate(within)}
    return within, tuple(replace(clip, label=label[one[0]]) for clip, one in zip(clips, parts, strict=True))


# ---- lists of splits


def _listed(path: Path, root: Path, clips: Sequence[Clip]) -> tuple[set[Clip], tuple[str, ...]]:
    """The clips that a list names, and what is to be said of it."""
    whole = disk.expanded(path)
    try:
        text = disk.read_plain(whole, _LARGEST_LIST, follow=True).decode("utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"data.validation: there is no {whole}; a relative path begins at its suite's file") from None
    except (OSError, disk.NotPlain, UnicodeDecodeError) as error:
        raise DataError(f"data.validation: cannot read {whole}: {refused_by_system(error) or error}") from None
    named = dict.fromkeys(name for line in text.splitlines() if (name := _name(line)))
    of = {known: clip for clip in clips for known in (clip.name, os.path.splitext(clip.name)[0])}  # noqa: PTH122
    missing = [name for name in named if name not in of and os.path.splitext(name)[0] not in of]  # noqa: PTH122
    held_out = {
        clip for name in named if (clip := of.get(name) or of.get(os.path.splitext(name)[0]))  # noqa: PTH122
    }  # fmt: skip
    if not held_out:
        told = f"it has {few(named)}, and" if named else "it is empty, and"
        raise DataError(
            f"data.validation: {whole} names none of the {len(clips)} clips in {root} ({told} there is "
            f"{clips[0].name}): names begin at data.path"
        )
    if len(held_out) == len(clips):
        raise DataError(f"data.validation: {whole} names all {len(clips)} clips in {root}, so none is left to train on")
    said = [f"those that {whole.name} names are held out, all others trained on"]
    if missing:
        said.append(f"{len(missing)} of the {len(named)} clips that {whole.name} names are not there: {few(missing)}")
    return held_out, tuple(said)


def _name(line: str) -> str:
    """The clip of a line, without the number of its class, which lists of training clips have."""
    return re.sub(r"\s+\d+$", "", line.strip())


# ---- what lies there


@dataclass
class _Walk:
    root: Path
    clips: list[Clip] = field(default_factory=list)
    left_out: list[Skipped] = field(default_factory=list)

    def name(self, path: Path) -> str:
        return "/".join(path.parts[len(self.root.parts) :])

    def leave_out(self, path: Path, why: str) -> None:
        self.left_out.append(Skipped(self.name(path), why))


def _walked(path: Path, key: str) -> tuple[Path, list[Clip], tuple[Skipped, ...]]:
    root = disk.expanded(path)
    try:
        if not root.exists():
            raise DataError(f"{key}: there is no folder {root}; a relative path begins at its suite's file")
        if not root.is_dir():
            raise DataError(f"{key}: {root} is a file, not a folder of clips")
        root = root.resolve()
        walk = _Walk(root)
        pictures = _enter(root, walk, set())
    except OSError as error:
        raise DataError(f"{key}: {error.filename or str(path)[:80]} cannot be read: {error.strerror}") from None
    if pictures and not walk.clips:
        raise DataError(
            f"{key}: {root} has {len(pictures)} pictures and no clips: a clip is a video file or a folder of its "
            "frames, so move the frames of each clip into a folder"
        )
    for picture in pictures:
        walk.leave_out(picture, "a picture beside clips")
    if not walk.clips:
        raise DataError(
            f"{key}: no clips in {root}; looked for folders of pictures, and {', '.join([*CONTAINERS, *ANIMATED])}"
        )
    return root, walk.clips, tuple(walk.left_out)


def _enter(folder: Path, walk: _Walk, above: set[tuple[int, int]]) -> list[Path]:
    """Sort in what a folder holds, but for its own pictures, which are given back; links are followed."""
    about = folder.stat()
    visited = above | {(about.st_dev, about.st_ino)}
    pictures: list[Path] = []
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries)
    for name in names:
        path = folder / name
        suffix = path.suffix.lower()
        if name.startswith((".", "__MACOSX")):
            walk.leave_out(path, "hidden")
        elif path.is_dir():
            inner = path.stat()
            if (inner.st_dev, inner.st_ino) in visited:
                walk.leave_out(path, "a link to a folder that is read already")
            else:
                _take_folder(path, walk, visited)
        elif not path.is_file():
            walk.leave_out(path, "no plain file" if path.exists() else "a link that leads nowhere")
        elif suffix in CONTAINERS:
            walk.clips.append(Clip(walk.name(path), (path,), "video"))
        elif suffix in ANIMATED and is_animated(path):
            walk.clips.append(Clip(walk.name(path), (path,), "animation"))
        elif suffix in pixels.suffixes():
            pictures.append(path)
        else:
            walk.leave_out(path, "neither a clip nor a frame")
    return pictures


def _take_folder(folder: Path, walk: _Walk, visited: set[tuple[int, int]]) -> None:
    """A folder that holds clips, or is one."""
    before = len(walk.clips)
    pictures = _enter(folder, walk, visited)
    if len(walk.clips) > before:
        for picture in pictures:
            walk.leave_out(picture, "a picture beside clips")
    elif pictures:
        walk.clips.append(Clip(walk.name(folder), tuple(_in_order(pictures)), "frames"))


def _in_order(frames: Iterable[Path]) -> list[Path]:
    """Frames by the numbers in their names: `9.png` is before `10.png`."""

    def key(path: Path) -> list[tuple[int, str]]:
        return [(int(part), "") if part.isdigit() else (-1, part) for part in _DIGITS.split(path.name)]

    return sorted(frames, key=lambda path: (key(path), path.name))
