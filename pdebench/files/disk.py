"""Files on disk, with the care that files of others need and files of ours deserve.

What is read is a plain file of bounded size: a FIFO is never waited for, a device never read, and a link is followed
only where the user named the file. What is written appears whole or not at all, under a temporary name that nobody can
guess, and takes the place of a link instead of writing through it. Everything here raises OSError for what the system
refuses and `NotPlain` for what is no plain file; who calls knows what the file is, and says so in a sentence.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

TEMPORARY = ".tmp"
_LEFT = re.compile(rf"\..+\.[0-9a-f]{{16}}{re.escape(TEMPORARY)}", re.DOTALL)
Stamp = tuple[int, ...]
"""What tells a file from the one that took its place: device, number, size, and when it was last written and moved."""
_MODE = 0o666  # the umask decides who else may read it, as with any file


class NotPlain(ValueError):
    """A link, FIFO, socket, device or folder stands where a plain file belongs, or the file is larger than allowed."""


def open_plain(path: Path, *, follow: bool = False) -> BufferedReader:
    """A plain file, opened for reading in binary.

    Args:
        follow: a link is followed, which is right only for a file that the user named.

    Raises:
        NotPlain: it is a link, or no plain file.
        OSError: the system does not hand it out, or there is none.
    """
    return os.fdopen(_opened(path, os.O_RDONLY, follow), "rb")


def read_plain(path: Path, largest: int, *, follow: bool = False) -> bytes:
    """What a plain file holds, at most `largest` bytes.

    Raises:
        NotPlain: as `open_plain`, or it is larger.
        OSError: as `open_plain`.
    """
    with open_plain(path, follow=follow) as file:
        size = os.fstat(file.fileno()).st_size
        if size <= largest:
            content = file.read()  # which takes memory for what is there, not for what is allowed
            size = len(content)
    if size > largest:
        raise NotPlain(f"it is larger than {_size(largest)}")
    return content


def append_plain(path: Path, *, follow: bool = False) -> BinaryIO:
    """A plain file opened for appending, made where there is none; one behind a link only where the user named it.

    Raises:
        NotPlain: it is a link, or no plain file.
        OSError: the system refuses.
    """
    return os.fdopen(_opened(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, follow), "ab")


def lock_file(path: Path) -> BinaryIO:
    """A plain file to hold a lock on, made where there is none, never one behind a link; children do not inherit it.

    Raises:
        NotPlain: it is a link, or no plain file.
        OSError: the system refuses.
    """
    return os.fdopen(_opened(path, os.O_RDWR | os.O_CREAT, False), "r+b")


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path`, whole and on disk, when the block ends well; otherwise it vanishes.

    Raises:
        OSError: it cannot be written; the disk may be full.
    """
    temporary = path.with_name(f".{path.name[:200]}.{secrets.token_hex(8)}{TEMPORARY}")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:  # a full disk has no room for half a file either
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def expanded(path: str | Path) -> Path:
    """A path with its `~`; that of a user who is not known here is left as it is, a path to nothing."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 (pathlib's raises RuntimeError there)


def leftovers(folder: Path) -> list[Path]:
    """What `replacing` was writing in a folder when it was killed; a file of another name is no such thing."""
    return [path for path in folder.glob(f".*{TEMPORARY}") if _LEFT.fullmatch(path.name)]


def stamp(path: str | Path) -> Stamp | None:
    """The stamp of a file, None where there is none to be seen: the same as before where it is the same file still."""
    try:
        seen = os.lstat(path)
    except (OSError, ValueError):
        return None
    return seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns


def is_link_below(root: Path, path: Path) -> Path | None:
    """The first part of `path` below `root` that is a link; None where none is.

    `root` itself may be reached through links: the user named it.
    """
    at = os.fspath(root)
    for part in path.parts[len(root.parts) :]:
        at = f"{at}/{part}"
        if os.path.islink(at):  # noqa: PTH114 (thousands of cells are asked for several times)
            return Path(at)
    return None


def _opened(path: Path, flags: int, follow: bool) -> int:
    """A descriptor of a plain file; it is looked at before it is opened, since opening a device may do something."""
    with suppress(FileNotFoundError):
        _check(path.stat(follow_symlinks=follow).st_mode)
    # Not blocking: what became a FIFO since would be waited for.
    flags |= os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    number = os.open(path, flags, _MODE)
    try:
        _check(os.fstat(number).st_mode)
    except BaseException:
        os.close(number)
        raise
    return number


def _check(mode: int) -> None:
    if stat.S_ISLNK(mode):
        raise NotPlain("it is a link")
    if not stat.S_ISREG(mode):
        raise NotPlain("it is no plain file")


def _size(number: int) -> str:
    return f"{number // 2**20} MiB" if number >= 2**20 else f"{number} bytes"
