"""Every file under a folder: an image, or what it is instead. Nothing is passed over without a reason."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pdebench.data import pixels
from pdebench.files.disk import NotPlain, open_plain

NO_IMAGE = "not an image"
_SNIFFED = 16  # bytes by which Pillow tells formats apart


@dataclass
class Tree:
    """What lies under a folder; the order is that of names.

    Attributes:
        root: the folder.
        images: what is an image by its name, or by how it begins.
        left_out: every other file, and why it is no image.
        empty: folders in which no image is.
    """

    root: Path
    images: list[Path] = field(default_factory=list)
    left_out: dict[Path, str] = field(default_factory=dict)
    empty: list[Path] = field(default_factory=list)

    def parts(self, path: Path) -> tuple[str, ...]:
        """The names that lead from the root to a file."""
        return path.parts[len(self.root.parts) :]  # `relative_to` takes five times as long, of a million files

    def name(self, path: Path) -> str:
        """A file as messages name it."""
        return "/".join(self.parts(path))

    def leave_out(self, path: Path, why: str) -> None:
        """Count a file that is not used."""
        self.left_out[path] = why


def read_tree(root: Path) -> Tree:
    """Look at everything below `root`, following links.

    Below each of its sub-folders no folder is entered twice, so that a loop of links ends.

    Raises:
        OSError: a folder cannot be read.
    """
    tree = Tree(root)
    for entry in _entries(root):
        _look_at(entry, tree, {_identity(root)})
    return tree


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """What is in a folder, by name; the system says of each what it is, so that a million are not asked one by one."""
    with os.scandir(folder) as entries:
        yield from sorted(entries, key=lambda entry: entry.name)


def _look_at(entry: os.DirEntry[str], tree: Tree, visited: set[tuple[int, int]]) -> bool:
    """Sort a file or folder in; returns whether there is an image in it."""
    path = Path(entry.path)
    there = path if entry.is_symlink() else entry  # of links that lead to themselves an entry raises
    if entry.name.startswith((".", "__MACOSX")):
        tree.leave_out(path, "hidden")
    elif there.is_dir():
        return _enter(path, tree, visited)
    elif not there.is_file():
        tree.leave_out(path, "no plain file" if path.exists() else "a link that leads nowhere")
    elif _may_be_image(path):
        tree.images.append(path)
        return True
    else:
        tree.leave_out(path, NO_IMAGE)
    return False


def _enter(folder: Path, tree: Tree, visited: set[tuple[int, int]]) -> bool:
    if (identity := _identity(folder)) in visited:
        tree.leave_out(folder, "a link to a folder that is read already")
        return False
    visited.add(identity)
    found = [_look_at(entry, tree, visited) for entry in _entries(folder)]
    if not any(found):
        tree.empty.append(folder)
    return any(found)


def _identity(folder: Path) -> tuple[int, int]:
    about = folder.stat()
    return about.st_dev, about.st_ino


def _may_be_image(path: Path) -> bool:
    """What Pillow reads is read, whatever it is called."""
    if path.suffix.lower() in pixels.suffixes():
        return True
    try:
        with open_plain(path, follow=True) as file:
            return pixels.begins_as_image(file.read(_SNIFFED))
    except (PermissionError, FileNotFoundError, NotPlain):
        return False
