"""The images of a folder, each with its class and split, and what is left out of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pdebench.data.list_phrases import folders
from pdebench.data.source import Skipped, Split
from pdebench.data.tree import Tree


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

    def name(self, file: File) -> str:
        """An image as messages name it."""
        return "/".join(file.path.parts[len(self.root.parts) :])  # `relative_to` takes five times as long


def made(tree: Tree, files: Iterable[File], classes: tuple[str, ...] | None, remarks: Sequence[str]) -> Listing:
    """A listing of these files, with what the tree knows of all others."""
    left_out = tuple(Skipped(tree.name(path), why) for path, why in sorted(tree.left_out.items()))
    empty = [tree.name(folder) for folder in tree.empty]
    more = [f"no image in {folders(empty)}"] if empty else []
    return Listing(tree.root, tuple(files), classes, left_out, (*remarks, *more))


def grouped(tree: Tree, paths: Iterable[Path], depth: int) -> tuple[dict[str, list[Path]], list[Path]]:
    """Images by the folder that they are in or below at a depth, and those that lie there themselves."""
    within: dict[str, list[Path]] = {}
    loose = []
    for path in paths:
        parts = tree.parts(path)[depth:]
        if len(parts) == 1:
            loose.append(path)
        else:
            within.setdefault(parts[0], []).append(path)
    return within, loose
