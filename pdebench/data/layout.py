"""What the files under a folder mean: their classes, and the split that each is of.

    ROOT/CLASS/...image             sub-folders are classes
    ROOT/image                      images without classes
    ROOT/train/..., ROOT/val/...    either of the above in each of two folders that say which split they are
    ROOT/dataset.json               labels by file name, as StyleGAN and EDM have them

Each file is one of the images, or is left out with its reason. What could be read in two ways is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pdebench.data import pixels
from pdebench.data.labels import LABELS, read_labels
from pdebench.data.source import Skipped, Split
from pdebench.data.tree import Tree, read_tree
from pdebench.errors import DataError

_SPLITS: dict[str, Split | None] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "validation"),
    **dict.fromkeys(("test", "testing"), None),
}
"""Folders of these names, where there are no others beside them, are splits and no classes; None: neither of ours."""
_NAMED = 5  # folders that a message names


@dataclass(frozen=True)
class File:
    """An image file: its class (-1: none), and the split that its folder says it is of (None: its content decides)."""

    path: Path
    label: int = -1
    split: Split | None = None


@dataclass(frozen=True)
class Listing:
    """The images of a folder.

    Attributes:
        root: the folder, without links on the way.
        files: the images, in a fixed order.
        class_names: by label; None for images without classes.
        left_out: what is no image of the set, and why.
        remarks: what is to be known of how the folder was read, a clause each.
    """

    root: Path
    files: tuple[File, ...]
    class_names: tuple[str, ...] | None
    left_out: tuple[Skipped, ...]
    remarks: tuple[str, ...]


def list_images(path: Path | None) -> Listing:
    """Find the images under `path`.

    Raises:
        DataError: there is no such folder, nothing usable in it, or what can be read in two ways.
    """
    if path is None:
        raise DataError("data set 'folder' needs data.path, the folder that holds your images")
    root = Path(path).expanduser()
    if not root.exists():
        raise DataError(f"data.path: there is no folder {root}; a relative path begins at its suite's file")
    if not root.is_dir():
        raise DataError(f"data.path: {root} is a file, not a folder of images")
    root = root.resolve()
    try:
        tree = read_tree(root)
    except OSError as error:
        raise DataError(f"data.path: {error.filename} cannot be read: {error.strerror}") from error
    if not tree.images:
        raise DataError(f"data.path: no images in {root}{_in_their_place(tree)}; looked for {_looked_for()}")
    if root / LABELS in tree.left_out:
        return _labelled(tree)
    classes, loose = _grouped(tree, tree.images, 0)
    _refuse_mixture(root, classes, loose)
    if (splits := _splits(root, classes)) is not None:
        return _split(tree, splits)
    _refuse_nested(tree, classes)
    files = [File(path, label) for label, paths in enumerate(classes.values()) for path in paths]
    files += [File(path) for path in loose]
    return _made(tree, files, tuple(classes) or None, [])


def _made(tree: Tree, files: Iterable[File], classes: tuple[str, ...] | None, remarks: Sequence[str]) -> Listing:
    left_out = tuple(Skipped(tree.name(path), why) for path, why in sorted(tree.left_out.items()))
    empty = [tree.name(folder) for folder in tree.empty]
    more = [f"no image in {_named(empty)}"] if empty else []
    return Listing(tree.root, tuple(files), classes, left_out, (*remarks, *more))


def _grouped(tree: Tree, paths: Iterable[Path], depth: int) -> tuple[dict[str, list[Path]], list[Path]]:
    """Images by the folder that they are in or below at a depth, and those that lie there themselves."""
    folders: dict[str, list[Path]] = {}
    loose = []
    for path in paths:
        parts = tree.parts(path)[depth:]
        if len(parts) == 1:
            loose.append(path)
        else:
            folders.setdefault(parts[0], []).append(path)
    return folders, loose


def _refuse_mixture(root: Path, folders: dict[str, list[Path]], loose: Sequence[Path]) -> None:
    if loose and folders:
        raise DataError(
            f"data.path: {root} has images beside sub-folders with images ({loose[0].name}, {next(iter(folders))}/): "
            "move them into a sub-folder, which makes them a class, or out of it"
        )


def _refuse_nested(tree: Tree, classes: dict[str, list[Path]]) -> None:
    """Refuse what would be one class and is a set of its own, some levels further down."""
    folders: dict[tuple[str, ...], set[str]] = {}
    for path in tree.images:
        parts = tree.parts(path)
        for depth in range(1, len(parts) - 1):
            folders.setdefault(parts[:depth], set()).add(parts[depth])
    sets = [above for above, inner in folders.items() if _are_splits(inner)]
    if len(classes) == 1 and not sets:
        sets = [above for above, inner in folders.items() if len(inner) > 1 and _all_below(tree, above)]
    if sets:
        above = min(sets, key=len)
        raise DataError(
            f"data.path: {_named(sorted(folders[above]))} below {'/'.join(above)}/ would all be one class "
            f"'{above[0]}': set data.path to {tree.root.joinpath(*above)}"
        )


def _all_below(tree: Tree, above: tuple[str, ...]) -> bool:
    """Whether all images lie in folders of this one."""
    return all(len(parts) > len(above) + 1 and parts[: len(above)] == above for parts in map(tree.parts, tree.images))


# ---- splits


def _are_splits(names: Iterable[str]) -> bool:
    """Whether all folders are called as splits are, and one of them as one of ours."""
    lower = {name.lower() for name in names}
    return bool(lower) and lower <= _SPLITS.keys() and any(_SPLITS[name] for name in lower)


def _splits(root: Path, names: Iterable[str]) -> dict[str, Split | None] | None:
    """The split of each sub-folder, where they are splits; None where they are classes.

    Raises:
        DataError: they are splits of which one is missing or there twice, or splits among classes.
    """
    of = {name: _SPLITS.get(name.lower()) for name in names}
    ours = [split for split in of.values() if split]
    if not _are_splits(of):
        if {"train", "validation"} <= set(ours):
            others = _named([name for name in of if name.lower() not in _SPLITS])
            raise DataError(
                f"data.path: {root} has folders for training and validation beside {others}: if those two are splits, "
                "move the others out; if they are classes, rename them"
            )
        return None
    if len(ours) > len(set(ours)):
        raise DataError(f"data.path: {root} has two folders for one split among {_named(of)}; keep one of them")
    if len(ours) < 2:
        there = next(name for name, split in of.items() if split)
        lacks = "val" if of[there] == "train" else "train"
        raise DataError(
            f"data.path: {root} has {_named(of)} and no {lacks}/, so its folders are no classes; set data.path to "
            f"{root / there}, of whose images a tenth is held out, or add {lacks}/"
        )
    return of


def _split(tree: Tree, splits: dict[str, Split | None]) -> Listing:
    """The images of two folders, one to train on and one that is held out."""
    by_split = {split: folder for folder, split in splits.items() if split}
    for path in tree.images[:]:
        if splits[folder := tree.parts(path)[0]] is None:
            tree.leave_out(path, f"in {folder}/, which is neither trained on nor held out")
    classes, files = _of_split(tree, by_split["train"], "train", None)
    _, held_out = _of_split(tree, by_split["validation"], "validation", classes)
    remark = f"{by_split['train']}/ is trained on, {by_split['validation']}/ is held out"
    return _made(tree, files + held_out, classes or None, [remark])


def _of_split(
    tree: Tree, folder: str, split: Split, known: tuple[str, ...] | None
) -> tuple[tuple[str, ...], list[File]]:
    """The classes and images of a split; `known` are those that are trained on, None where this says which they are."""
    own = [path for path in tree.images if tree.parts(path)[0] == folder]
    classes, loose = _grouped(tree, own, 1)
    _refuse_mixture(tree.root / folder, classes, loose)
    names = tuple(classes) if known is None else known
    unknown = [name for name in classes if name not in names]
    if unknown or (names and loose):
        what = _named(unknown) if unknown else "it has none"
        raise DataError(
            f"data.path: {tree.root / folder} has other classes than those that are trained on ({what}): sort its "
            "images into folders of the same names"
        )
    files = [File(path, names.index(name), split) for name, paths in classes.items() for path in paths]
    return names, files + [File(path, -1, split) for path in loose]


# ---- dataset.json


def _labelled(tree: Tree) -> Listing:
    """The images that `dataset.json` lists, with its labels."""
    labels = read_labels(tree.root / LABELS)
    del tree.left_out[tree.root / LABELS]
    if labels is None:
        return _made(tree, map(File, tree.images), None, [f"{LABELS} has no labels: images without classes"])
    files = []
    for path in tree.images:
        label = labels.pop(tree.name(path), None)
        if label is None:
            tree.leave_out(path, f"not in {LABELS}")
        else:
            files.append(File(path, label))
    for name in labels:
        tree.leave_out(tree.root / name, f"in {LABELS}, but there is no such image")
    if not files:
        raise DataError(f"data.path: {tree.root / LABELS} lists none of the {len(tree.images)} images beside it")
    classes = 1 + max(file.label for file in files)
    return _made(tree, files, tuple(map(str, range(classes))), [f"labels are from {LABELS}: {classes} classes"])


# ---- words


def _named(names: Iterable[str]) -> str:
    """Folders in words: `a/, b/ and 3 more`."""
    known = list(names)
    more = f" and {len(known) - _NAMED} more" if len(known) > _NAMED else ""
    return ", ".join(f"{name}/" for name in known[:_NAMED]) + more


def _looked_for() -> str:
    usual = (".png", ".jpg", ".jpeg", ".webp", ".avif", ".bmp", ".gif", ".tif", ".tiff", ".ppm")
    return f"{', '.join(suffix for suffix in usual if suffix in pixels.suffixes())} and all else that Pillow reads"


def _in_their_place(tree: Tree) -> str:
    """What is there where there are no images: `, but 12 other files (12 .tar)`."""
    if not tree.left_out:
        return ""
    ends = Counter(path.suffix or path.name for path in tree.left_out)
    return f", but {len(tree.left_out)} other files ({', '.join(f'{n} {end}' for end, n in ends.most_common(3))})"
