"""Layouts that are refused, because they could be read in two ways or are of another kind of set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from pdebench.data.folder_names import are_splits, masked_pictures
from pdebench.data.labels import LABELS, is_labels
from pdebench.data.list_phrases import folders
from pdebench.data.tree import NO_IMAGE, Tree
from pdebench.errors import DataError


def refuse_mixture(root: Path, within: dict[str, list[Path]], loose: Sequence[Path]) -> None:
    """Refuse images beside folders of images: no one knows whether those are classes."""
    if loose and within:
        raise DataError(
            f"data.path: {root} has images beside sub-folders with images ({loose[0].name}, {next(iter(within))}/): "
            "move them into a sub-folder, which makes them a class, or out of it"
        )


def refuse_masks(folder: Path, names: Iterable[str]) -> None:
    """Refuse pictures beside their masks, which would be two classes."""
    if (pictures := masked_pictures(names)) is not None:
        raise DataError(
            f"data.path: {folder} has {folders(names)}, which are parts of the same samples and no classes: set "
            f"data.path to {folder / pictures}, or rename them if they are classes"
        )


def refuse_labels_below(tree: Tree) -> None:
    """Refuse a set with labels of its own in the place of a class: its folders are shards."""
    for path, why in tree.left_out.items():
        if path.name == LABELS and why == NO_IMAGE and is_labels(path):
            raise DataError(
                f"data.path: {tree.name(path)} in {tree.root} has the labels of a set of its own: set data.path to "
                f"{path.parent}, or move the file away if the folder is a class"
            )


def refuse_nested(tree: Tree, classes: dict[str, list[Path]]) -> None:
    """Refuse what would be one class and is a set of its own, some levels further down."""
    below: dict[tuple[str, ...], set[str]] = {}
    for path in tree.images:
        parts = tree.parts(path)
        for depth in range(1, len(parts) - 1):
            below.setdefault(parts[:depth], set()).add(parts[depth])
    for above, inner in below.items():
        refuse_masks(tree.root.joinpath(*above), sorted(inner))
    sets = [above for above, inner in below.items() if are_splits(inner)]
    if len(classes) == 1 and not sets:
        sets = [above for above, inner in below.items() if len(inner) > 1 and _all_below(tree, above)]
    if sets:
        above = min(sets, key=len)
        raise DataError(
            f"data.path: {folders(sorted(below[above]))} below {'/'.join(above)}/ would all be one class "
            f"'{above[0]}': set data.path to {tree.root.joinpath(*above)}"
        )


def _all_below(tree: Tree, above: tuple[str, ...]) -> bool:
    """Whether all images lie in folders of this one."""
    return all(len(parts) > len(above) + 1 and parts[: len(above)] == above for parts in map(tree.parts, tree.images))
