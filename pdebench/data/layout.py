"""What the files under a folder mean: their classes, and the split that each is of.

    ROOT/CLASS/...image             sub-folders are classes
    ROOT/image                      images without classes
    ROOT/train/..., ROOT/val/...    either of the above in each of two folders that say which split they are
    ROOT/dataset.json               labels by file name, as StyleGAN and EDM have them; or one in train/ and one in val/

Each file is one of the images, or is left out with its reason. What could be read in two ways is refused.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from pdebench.data import pixels
from pdebench.data.folder_names import Named
from pdebench.data.labelled import labelled, split_labelled
from pdebench.data.labels import LABELS
from pdebench.data.list_phrases import folders
from pdebench.data.listing import File, Listing, grouped, made
from pdebench.data.refusals import refuse_labels_below, refuse_masks, refuse_mixture, refuse_nested
from pdebench.data.source import Split
from pdebench.data.splits import leave_out_test, splits_among
from pdebench.data.tree import Tree, read_tree
from pdebench.errors import DataError
from pdebench.files.disk import expanded


def list_images(path: Path | None) -> Listing:
    """Find the images under `path`.

    Raises:
        DataError: there is no such folder, nothing usable in it, or what can be read in two ways.
    """
    if path in (None, Path()):  # an empty text is no folder; `.` is one, and has been made absolute
        raise DataError("data set 'folder' needs data.path, the folder that holds your images")
    root = expanded(path)
    try:
        there = root.exists()
    except OSError as error:
        raise DataError(f"data.path: {str(root)[:80]}: {error.strerror}") from None
    if not there:
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
        return labelled(tree)
    classes, loose = grouped(tree, tree.images, 0)
    refuse_mixture(root, classes, loose)
    refuse_masks(root, classes)
    if (splits := splits_among(root, classes)) is not None:
        return _split(tree, splits)
    refuse_labels_below(tree)
    refuse_nested(tree, classes)
    files = [File(path, label) for label, paths in enumerate(classes.values()) for path in paths]
    files += [File(path) for path in loose]
    return made(tree, files, tuple(classes) or None, [])


# ---- splits


def _split(tree: Tree, splits: dict[str, Named]) -> Listing:
    """The images of two folders, one to train on and one that is held out."""
    leave_out_test(tree, splits)
    by_split = {split: folder for folder, split in splits.items()}
    train, held_out = by_split["train"], by_split["validation"]
    remark = f"{train}/ is trained on, {held_out}/ is held out"
    if own := [folder for folder in (train, held_out) if tree.root / folder / LABELS in tree.left_out]:
        return split_labelled(tree, {train: "train", held_out: "validation"}, own, remark)
    classes, files = _of_split(tree, train, "train", None)
    _, others = _of_split(tree, held_out, "validation", classes)
    refuse_labels_below(tree)
    return made(tree, files + others, classes or None, [remark])


def _of_split(
    tree: Tree, folder: str, split: Split, known: tuple[str, ...] | None
) -> tuple[tuple[str, ...], list[File]]:
    """The classes and images of a split; `known` are those that are trained on, None where this says which they are."""
    own = [path for path in tree.images if tree.parts(path)[0] == folder]
    classes, loose = grouped(tree, own, 1)
    refuse_mixture(tree.root / folder, classes, loose)
    refuse_masks(tree.root / folder, classes)
    names = tuple(classes) if known is None else known
    unknown = [name for name in classes if name not in names]
    if unknown or (names and loose):
        what = folders(unknown) if unknown else "it has none"
        raise DataError(
            f"data.path: {tree.root / folder} has other classes than those that are trained on ({what}): sort its "
            "images into folders of the same names"
        )
    files = [File(path, names.index(name), split) for name, paths in classes.items() for path in paths]
    return names, files + [File(path, -1, split) for path in loose]


# ---- words


def _looked_for() -> str:
    usual = (".png", ".jpg", ".jpeg", ".webp", ".avif", ".bmp", ".gif", ".tif", ".tiff", ".ppm")
    return f"{', '.join(suffix for suffix in usual if suffix in pixels.suffixes())} and all else that Pillow reads"


def _in_their_place(tree: Tree) -> str:
    """What is there where there are no images: `, but 12 other files (12 .tar)`."""
    if not tree.left_out:
        return ""
    ends = Counter(path.suffix or path.name for path in tree.left_out)
    return f", but {len(tree.left_out)} other files ({', '.join(f'{n} {end}' for end, n in ends.most_common(3))})"
