"""Images with the labels that `dataset.json` has for them, at the root or in each of two splits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pdebench.data.labels import LABELS, listed_name, read_labels
from pdebench.data.list_phrases import folders
from pdebench.data.listing import File, Listing, grouped, made
from pdebench.data.refusals import refuse_mixture
from pdebench.data.source import Split
from pdebench.data.splits import leave_out_test, splits_among
from pdebench.data.tree import Tree
from pdebench.errors import DataError, printable

_USE: dict[Split, str] = {"train": "trained on", "validation": "held out"}


def labelled(tree: Tree) -> Listing:
    """The images that `dataset.json` lists, with its labels; of folders that are splits each in its own."""
    labels = _take_labels(tree, tree.root, tree.images)
    if labels is None:
        labels = dict.fromkeys(tree.images, -1)
    within, loose = grouped(tree, labels, 0)
    splits = splits_among(tree.root, within, labelled=True) or {}
    if splits:
        refuse_mixture(tree.root, within, loose)
        leave_out_test(tree, splits)
    of: dict[str, Split] = {folder: split for folder, split in splits.items() if split != "test"}
    files = [
        File(path, label, of.get(tree.parts(path)[0])) for path, label in labels.items() if path not in tree.left_out
    ]
    return _of_labels(tree, files, [f"{folder}/ is {_USE[split]}" for folder, split in of.items()])


def split_labelled(tree: Tree, of: dict[str, Split], labelled: Sequence[str], remark: str) -> Listing:
    """Two folders of which each has its own `dataset.json`."""
    files = []
    for folder, split in of.items():
        if folder not in labelled:
            raise DataError(
                f"data.path: {tree.root / labelled[0]} has a {LABELS} and {tree.root / folder} has none: add one there"
            )
        own = [path for path in tree.images if tree.parts(path)[0] == folder]
        labels = _take_labels(tree, tree.root / folder, own) or dict.fromkeys(own, -1)
        files += [File(path, label, split) for path, label in labels.items()]
    if len({file.label < 0 for file in files}) > 1:
        raise DataError(
            f"data.path: {LABELS} has labels in one of {folders(of)} below {tree.root} and none in the other"
        )
    return _of_labels(tree, files, [remark])


def _take_labels(tree: Tree, folder: Path, images: Sequence[Path]) -> dict[Path, int] | None:
    """The label of each image that the folder's `dataset.json` lists, the others being left out; None: it has none.

    Raises:
        DataError: it lists none of them.
    """
    labels = read_labels(folder / LABELS)
    del tree.left_out[folder / LABELS]
    if labels is None:
        return None
    names = {path: listed_name(path.relative_to(folder).as_posix()) for path in images}
    if not labels.keys() & set(names.values()):
        listed = f"it has {printable(next(iter(labels)))[:80]}, and" if labels else "it is empty, and"
        raise DataError(
            f"data.path: {folder / LABELS} lists none of the {len(images)} images beside it ({listed} there is "
            f"{next(iter(names.values()))}): names begin at its folder"
        )
    for path, name in names.items():
        if name not in labels:
            tree.leave_out(path, f"not in {LABELS}")
    for name in labels.keys() - set(names.values()):
        tree.leave_out(folder / name, f"in {LABELS}, but there is no such image")
    return {path: labels[name] for path, name in names.items() if name in labels}


def _of_labels(tree: Tree, files: Sequence[File], remarks: Sequence[str]) -> Listing:
    count = 1 + max(file.label for file in files)
    if not count:
        return made(tree, files, None, [f"{LABELS} has no labels: images without classes", *remarks])
    said = f"labels are from {LABELS}: {count} classes"
    return made(tree, files, tuple(map(str, range(count))), [said, *remarks])
