"""The sha256 of large files, remembered between processes: a set of a terabyte is not read again at every start.

A file is the same while its place, size and times are: its time of change, which nobody can set, is one of them. What
was written a moment ago may be written again without another time, so its digest is not remembered yet.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from pdebench.data.cache import cache_folder
from pdebench.errors import DataError, refused_by_system
from pdebench.files import disk
from pdebench.files.seal import read_sealed, write_sealed

_READERS = 4  # threads: a disk is waited for, and hashing lets go of the interpreter
_SETTLED = 2.0  # seconds after which a file that was written again has another time of change
_LARGEST = 64 * 2**20  # bytes of what is remembered


def file_digests(paths: Sequence[Path]) -> list[str]:
    """The sha256 of each file, 64 hexadecimal digits.

    Raises:
        DataError: one cannot be read.
    """
    kept = _kept(paths)
    known = read_sealed(kept, _LARGEST) or {}
    about = [_signature(path) for path in paths]
    missing = [path for path, signature in zip(paths, about, strict=True) if signature not in known]
    if missing:
        with ThreadPoolExecutor(_READERS) as pool:
            found = dict(zip(missing, pool.map(_digest, missing), strict=True))
        now = time.time_ns()
        for path, signature in zip(paths, about, strict=True):
            if path in found and _signature(path) != signature:
                raise DataError(f"{path} was changed while it was read: run again once nobody writes there")
            if path in found and now - int(signature.rsplit(" ", 1)[1]) > _SETTLED * 1e9:
                known[signature] = found[path]
        with suppress(OSError):  # it takes time again, and no more
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_sealed(kept, {one: known[one] for one in about if one in known})
    else:
        found = {}
    return [found.get(path) or known[signature] for path, signature in zip(paths, about, strict=True)]


def _kept(paths: Sequence[Path]) -> Path:
    name = hashlib.sha256("\n".join(map(str, paths)).encode()).hexdigest()[:16]
    return cache_folder() / f"digests-{name}.json"


def _signature(path: Path) -> str:
    try:
        about = path.stat()
    except OSError as error:
        raise DataError(f"cannot read {path}: {refused_by_system(error) or error}") from None
    return f"{path} {about.st_dev} {about.st_ino} {about.st_size} {about.st_mtime_ns} {about.st_ctime_ns}"


def _digest(path: Path) -> str:
    try:
        with disk.open_plain(path, follow=True) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, disk.NotPlain) as error:
        raise DataError(f"cannot read {path}: {refused_by_system(error) or error}") from None


def of_autoencoder(named: str | None) -> object:
    """An autoencoder's name, or where it is a folder its files by name: a decoder of other weights is another set."""
    folder = None if named is None else disk.expanded(named)
    if folder is None or not folder.is_dir():
        return named
    paths = sorted(Path(at) / name for at, _, names in os.walk(folder) for name in names if not name.startswith("."))
    return [(path.relative_to(folder).as_posix(), one) for path, one in zip(paths, file_digests(paths), strict=True)]
