"""What the names of folders say beside each other: that they are splits of a set, or parts of its samples."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from pdebench.data.source import Split

Named = Split | Literal["test"]

_SPLITS: dict[str, Named] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "eval", "evaluation", "holdout", "heldout"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_ADDED = {"set", "data", "dataset", "split", "image", "images", "img", "imgs"}
"""Words that say no more: `train_images` and `train2017` are `train`."""
_PICTURES = {"image", "images", "img", "imgs", "jpegimages"}
_MASKS = {
    "mask",
    "masks",
    "label",
    "labels",
    "annotation",
    "annotations",
    "segmentation",
    "segmentations",
    "groundtruth",
}


def _words(name: str) -> list[str]:
    """The words of a name in lower case: `trainA`, `train_2017` and `train set` begin with `train`."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return [word.lower() for word in re.findall(r"[^\W\d_]+", spaced)]


def split_called(name: str) -> Named | None:
    """The split that a folder of this name holds; None: its name is no split's."""
    return _SPLITS.get("".join(word for word in _words(name) if word not in _ADDED).removesuffix("set"))


def hint(name: str) -> Named | None:
    """The split that a word of a name speaks of, as in `DIV2K_train_HR`."""
    found = (_SPLITS.get(word.removesuffix("set")) for word in _words(name))
    return split_called(name) or next(filter(None, found), None)


def are_splits(names: Iterable[str]) -> bool:
    """Whether all folders are called as splits are, and one of them as one that is used."""
    called = {split_called(name) for name in names}
    return None not in called and bool(called - {"test"})


def may_be_splits(names: Iterable[str]) -> list[str]:
    """Those that may be a training split and another, so that nobody can tell them from classes.

    Either two are called just so, whatever lies beside them, or most speak of splits.
    """
    known = list(names)
    called = [name for name in known if split_called(name)]
    hinted = [name for name in known if hint(name)]
    for some, of in ((called, split_called), (hinted, hint)):
        if {"train"} < {of(name) for name in some} and (some is called or 2 * len(some) > len(known)):
            return some
    return []


def masked_pictures(names: Iterable[str]) -> str | None:
    """The folder of the pictures where all folders are pictures and their masks or labels; None elsewhere."""
    pictures, masks, others = _pictures_masks_others(names)
    return pictures[0] if pictures and masks and not others else None


def pictures_and_masks(names: Iterable[str]) -> tuple[str, str] | None:
    """The folder of the pictures and that of their masks, whatever lies beside them; None where either is not one."""
    pictures, masks, _ = _pictures_masks_others(names)
    return (pictures[0], masks[0]) if len(pictures) == len(masks) == 1 else None


def _pictures_masks_others(names: Iterable[str]) -> tuple[list[str], list[str], list[str]]:
    found: tuple[list[str], list[str], list[str]] = ([], [], [])
    for name in names:
        words = set(_words(name))
        found[0 if not words & _MASKS and words & _PICTURES else 1 if words & _MASKS else 2].append(name)
    return found
