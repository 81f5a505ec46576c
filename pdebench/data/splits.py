"""Sub-folders that are the splits of a set: `train`, `val` and `test` under their usual names."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from pdebench.data.folder_names import Named, are_splits, may_be_splits, split_called
from pdebench.data.labels import LABELS
from pdebench.data.list_phrases import folders
from pdebench.data.tree import Tree
from pdebench.errors import DataError


def splits_among(root: Path, names: Collection[str], *, labelled: bool = False) -> dict[str, Named] | None:
    """The split of each sub-folder, where they are splits; None where they are classes, or shards with labels.

    Raises:
        DataError: they are splits of which one is missing or there twice, or nobody can say what they are.
    """
    if not are_splits(names):
        if some := may_be_splits(names):
            others = [name for name in names if name not in some]
            beside = f" beside {folders(others)}" if others else ""
            raise DataError(
                f"data.path: {root} has folders that are called as splits are, {folders(some)}{beside}: if they are "
                "splits, call them train/ and val/ and move all others out; if they are classes, give them other names"
            )
        return None
    of = {name: called for name in names if (called := split_called(name))}
    ours = [split for split in of.values() if split != "test"]
    if len(ours) > len(set(ours)):
        raise DataError(f"data.path: {root} has two folders for one split among {folders(of)}; keep one of them")
    if len(ours) == 2:
        return of
    if labelled and len(of) == 1:  # all there is, so that it is no split of anything
        return None
    there = next(name for name, split in of.items() if split != "test")
    lacks = "val" if of[there] == "train" else "train"
    whole = f"set data.path to {root / there}, of whose images a tenth is held out"
    raise DataError(
        f"data.path: {root} has {folders(of)} and no {lacks}/, so its folders are no classes; "
        f"{'move one out' if labelled else whole}, or add {lacks}/"
    )


def leave_out_test(tree: Tree, splits: Mapping[str, Named]) -> None:
    """Count what lies in a folder of the test split, which is not used."""
    for path in tree.images[:]:
        parts = tree.parts(path)
        if len(parts) > 1 and splits.get(parts[0]) == "test":
            tree.leave_out(path, f"in {parts[0]}/, which is neither trained on nor held out")
    for path in tree.left_out:
        if path.name == LABELS and splits.get(tree.parts(path)[0]) == "test":
            tree.leave_out(path, "labels of what is neither trained on nor held out")
