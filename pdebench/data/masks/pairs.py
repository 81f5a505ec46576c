"""Which mask belongs to which photograph, by where files lie and what they are called.

    ROOT/images/...NAME.jpg, ROOT/masks/...NAME.png         any names of the two folders that say as much; `train/` and
                                                            `val/` in both are splits
    ROOT/images/training/NAME.jpg, ROOT/annotations/training/NAME.png                   ADE20K (ADEChallengeData2016)
    ROOT/leftImg8bit/train/CITY/NAME_leftImg8bit.png, ROOT/gtFine/train/CITY/NAME_gtFine_labelIds.png      Cityscapes

An image without a mask and a mask without an image are refused, and so are two that could be meant.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from pdebench.data.folder_names import Named, pictures_and_masks
from pdebench.data.list_phrases import few, folders
from pdebench.data.listing import grouped
from pdebench.data.masks.values import Coding
from pdebench.data.source import Split
from pdebench.data.splits import splits_among
from pdebench.data.tree import Tree, read_tree
from pdebench.errors import DataError
from pdebench.files.disk import expanded


class Pair(NamedTuple):
    """A photograph and its mask; `split` is None where the photograph's content decides. `name` is for messages."""

    name: str
    image: Path
    mask: Path
    split: Split | None
    coding: Coding


def root_of(path: Path | None, source: str) -> Path:
    """The folder that is meant.

    Raises:
        DataError: there is none.
    """
    if path in (None, Path()):
        raise DataError(f"data set '{source}' needs data.path, the folder that holds its images and masks")
    root = expanded(path)
    try:
        there = root.is_dir()
    except OSError as error:
        raise DataError(f"data.path: {str(root)[:80]}: {error.strerror}") from None
    if not there:
        raise DataError(f"data.path: there is no folder {root}; a relative path begins at its suite's file")
    return root.resolve()


def side_by_side(root: Path, coding: Coding) -> list[Pair]:
    """The pairs of a folder of images beside one of masks; `train/` and `val/` in it are splits.

    Raises:
        DataError: there are no such folders, or files that are no pairs.
    """
    names = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if (found := pictures_and_masks(names)) is None:
        there = f"it has {folders(names)}" if names else "it has no folders"
        raise DataError(
            f"data.path: {root} is no folder of images and masks ({there}): put photographs into images/ and, under "
            "the same names, their masks into masks/"
        )
    return _paired(root, *found, "", {"": coding})


def cityscapes(root: Path, ids: Coding, train_ids: Coding) -> list[Pair]:
    """The pairs of Cityscapes' folders of finely annotated images; of two masks that of training's ids is taken.

    Raises:
        DataError: there are no such folders, or files that are no pairs.
    """
    for name in ("leftImg8bit", "gtFine"):
        if not (root / name).is_dir():
            raise DataError(
                f"data.path: {root} has no folder {name}/: unpack Cityscapes' leftImg8bit_trainvaltest and "
                "gtFine_trainvaltest into it"
            )
    return _paired(
        root, "leftImg8bit", "gtFine", "_leftImg8bit", {"_gtFine_labelTrainIds": train_ids, "_gtFine_labelIds": ids}
    )


def _paired(root: Path, pictures: str, masks: str, ending: str, kinds: Mapping[str, Coding]) -> list[Pair]:
    """The pairs of two folders.

    Args:
        root: where both lie.
        pictures, masks: what they are called.
        ending: of the names of images, before the dot.
        kinds: the endings of the names of masks, the preferred first, and what their values stand for.
    """
    images, labels = _tree(root / pictures), _tree(root / masks)
    splits = splits_among(images.root, grouped(images, images.images, 0)[0]) or {}
    of = _by_key(images, ending, splits)
    found: dict[str, tuple[Path, Coding]] = {}
    for end, coding in reversed(list(kinds.items())):
        found |= {key: (path, coding) for key, path in _by_key(labels, end, splits).items()}
    if not found:
        raise DataError(f"data.path: no masks in {labels.root}: a mask is a PNG with the name of its image")
    _refuse(images.root, [key for key in of if key not in found], len(of), "images", "mask")
    _refuse(labels.root, [key for key in found if key not in of], len(found), "masks", "image")
    pairs = []
    for key, path in of.items():
        mask, coding = found[key]
        if mask.suffix.lower() != ".png":
            raise DataError(f"data.path: the mask {mask} is no PNG: save it as one, since others may blend classes")
        split = _split_of(key, splits)
        assert split != "test"
        pairs.append(Pair(key, path, mask, split, coding))
    return pairs


def _tree(folder: Path) -> Tree:
    try:
        return read_tree(folder)
    except OSError as error:
        raise DataError(f"data.path: {error.filename} cannot be read: {error.strerror}") from error


def _split_of(key: str, splits: Mapping[str, Named]) -> Named | None:
    return splits.get(key.split("/", 1)[0]) if "/" in key else None


def _by_key(tree: Tree, ending: str, splits: Mapping[str, Named]) -> dict[str, Path]:
    """The files of a tree that are used, by their names without the ending, from its root on."""
    found: dict[str, Path] = {}
    for path in tree.images:
        stem = tree.name(path).removesuffix(path.suffix)
        key = stem.removesuffix(ending)
        if not stem.endswith(ending) or _split_of(key, splits) == "test":
            continue
        if key in found:
            raise DataError(f"data.path: {found[key]} and {path.name} have one name: keep one of them")
        found[key] = path
    return found


def _refuse(root: Path, keys: list[str], of: int, what: str, lack: str) -> None:
    if keys:
        raise DataError(
            f"data.path: {len(keys):,} of {of:,} {what} in {root} have no {lack} of their name ({few(keys)}): add what "
            "is missing, or take these out"
        )
