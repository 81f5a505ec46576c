"""One array a file, all of one shape: which files of a folder those are, told without opening each of a million."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pdebench.data.encoded.files import Files
from pdebench.data.encoded.npy_header import BadNpy, NpyHeader, read_npy_header
from pdebench.data.source import Skipped
from pdebench.errors import DataError, printable, refused_by_system
from pdebench.files import disk

_ASKED = 100  # files by which the usual kind is known
_OPENED = 10_000
"""Files up to which each header is read; of more, those of the right size are looked at when their rows are read."""


class Alike(NamedTuple):
    """The files whose array is as that of most, the header of each of them, and those that are left out."""

    header: NpyHeader
    names: list[str]
    left_out: list[Skipped]


def alike(files: Files, names: Sequence[str]) -> Alike:
    """Sort `.npy` files by what most of them hold.

    Raises:
        DataError: none of them can be read.
    """
    common, _ = Counter(files.sizes[name] for name in names).most_common(1)[0]
    header = _usual(files, [name for name in names if files.sizes[name] == common])
    if header is None:
        header = _usual(files, names)
    if header is None:
        raise DataError(
            f"data.path: none of the {len(names):,} .npy files in {files.root} can be read, the first being "
            f"{printable(names[0])} ({_fault(files, names[0], None)})"
        )
    kept, left_out = [], []
    every = len(names) <= _OPENED
    for name in names:
        fault = _fault(files, name, header) if every or files.sizes[name] != header.size else None
        if fault is None:
            kept.append(name)
        else:
            left_out.append(Skipped(name, fault))
    return Alike(header, kept, left_out)


def _usual(files: Files, names: Sequence[str]) -> NpyHeader | None:
    """The header that most of the files have which are whole, going by some of them; None: none is."""
    some = names[:: max(1, len(names) // _ASKED)]
    found = Counter(
        header for name in some
        if isinstance(header := _read(files, name), NpyHeader) and header.size == files.sizes[name]
    )  # fmt: skip
    return found.most_common(1)[0][0] if found else None


def _read(files: Files, name: str) -> NpyHeader | str:
    """A file's header, or why it has none."""
    try:
        with disk.open_plain(Path(files.path(name)), follow=True) as file:
            return read_npy_header(file)
    except BadNpy as error:
        return str(error)
    except (OSError, disk.NotPlain) as error:
        return refused_by_system(error) or str(error)


def _fault(files: Files, name: str, wanted: NpyHeader | None) -> str | None:
    """Why a file is not as the others are; None: it is."""
    header = _read(files, name)
    if isinstance(header, str):
        return header
    if wanted is not None and (header.shape, header.dtype) != (wanted.shape, wanted.dtype):
        return f"its array is {header.shape} of {header.dtype}, where most are {wanted.shape} of {wanted.dtype}"
    if files.sizes[name] != header.size:
        return f"it has {files.sizes[name]:,} bytes, where its header means {header.size:,}"
    if wanted is not None and header.head != wanted.head:
        return "its header is written in another way than those of most"
    return None
