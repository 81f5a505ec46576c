"""Many small files below a folder: what they are called, how large they are, and whether one was touched since."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pdebench.data.cache import cache_folder
from pdebench.data.threads import in_threads
from pdebench.errors import DataError, refused_by_system
from pdebench.files import disk
from pdebench.files.seal import read_sealed, write_sealed

_SETTLED = 2.0  # seconds after which a file that was written again has another time of change
_LARGEST = 256 * 2**20  # bytes of what is remembered of a folder


@dataclass
class Files:
    """Files below a folder in the order of their names, relative to it with `/` between parts.

    Attributes:
        sizes: in bytes, by name.
        signatures: of each, as it lies there; its time of change, which nobody can set, comes last, in nanoseconds.
        folders: the root and all that lie below it.
        odd: links that lead nowhere, pipes and the like.
    """

    root: Path
    sizes: dict[str, int] = field(default_factory=dict)
    signatures: dict[str, tuple[int, ...]] = field(default_factory=dict)
    folders: list[Path] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)

    def path(self, name: str) -> str:
        """Where a file lies; a text, since a million of `Path` take half a gigabyte."""
        return f"{self.root}/{name}"


def list_files(root: Path) -> Files:
    """Every file below a folder but hidden ones, following links; no folder is entered twice.

    Raises:
        OSError: a folder cannot be read.
    """
    found = Files(root)
    visited: set[tuple[int, int]] = set()

    def enter(folder: Path, prefix: str) -> None:
        about = folder.stat()
        if (about.st_dev, about.st_ino) in visited:
            return
        visited.add((about.st_dev, about.st_ino))
        found.folders.append(folder)
        with os.scandir(folder) as entries:
            there = sorted(entries, key=lambda entry: entry.name)
        for entry in there:
            if entry.name.startswith((".", "__MACOSX")):
                continue
            name = prefix + entry.name
            asked = folder / entry.name if entry.is_symlink() else entry  # of one that leads to itself an entry raises
            if asked.is_dir():
                enter(folder / entry.name, f"{name}/")
            elif asked.is_file():
                seen = entry.stat()
                found.sizes[name] = seen.st_size
                found.signatures[name] = (
                    seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns
                )  # fmt: skip
            else:
                found.odd.append(name)

    enter(root, "")
    return found


def digest_of(files: Files, names: Sequence[str]) -> str:
    """What files are called and hold, 64 hexadecimal digits.

    Raises:
        DataError: one cannot be read, or was changed meanwhile.
    """

    def read() -> str:
        found = hashlib.sha256()
        digests = in_threads(lambda some: [_digest(files.path(name)) for name in some], names)
        for name, digest in zip(names, digests, strict=True):
            found.update(f"{name} {digest}\n".encode(errors="surrogateescape"))
        return found.hexdigest()

    return str(remembered(files, names, "digest", read))


def remembered(files: Files, names: Sequence[str], what: str, find: Callable[[], Any]) -> Any:
    """What `find` says of files, as JSON has it; found once, for as long as none of them is touched.

    All of them have one signature together: of a million files, a line each would itself be a file to wait for.

    Raises:
        DataError: one was changed while it was read; and what `find` raises.
    """
    signature = _signature(files, names)
    place = hashlib.sha256(f"{what} {files.root}".encode(errors="surrogateescape")).hexdigest()[:16]
    kept = cache_folder() / f"latents-{place}.json"
    if (known := read_sealed(kept, _LARGEST)) is not None and known.get("signature") == signature:
        return known["found"]
    found = find()
    try:
        changed = _signature(list_files(files.root), names) != signature
    except OSError:
        changed = True
    if changed:
        raise DataError(f"{files.root} was changed while it was read: run again once nobody writes there")
    newest = max((files.signatures[name][-1] for name in names), default=0)
    if time.time_ns() - newest > _SETTLED * 1e9:
        with suppress(OSError):  # it takes time again, and no more
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_sealed(kept, {"signature": signature, "found": found})
    return found


def _signature(files: Files, names: Sequence[str]) -> str:
    found = hashlib.sha256()
    for name in names:
        found.update(f"{name} {files.signatures.get(name)}\n".encode(errors="surrogateescape"))
    return found.hexdigest()


def _digest(path: str) -> str:
    try:
        with disk.open_plain(Path(path), follow=True) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, disk.NotPlain) as error:
        raise DataError(f"cannot read {path}: {refused_by_system(error) or error}") from None
