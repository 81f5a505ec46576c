"""Locks that the kernel holds: each ends with its holder, however that ends. Imports no torch.

Not every file system has them. Where there are none nobody is kept out, and who needs to know is told.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, BinaryIO

from pdebench.errors import ResultsError, refused_by_system
from pdebench.files import disk

PATIENCE = 3.0  # seconds after which a wait is told
NAP = 0.01  # seconds between tries
ROOM = 160  # bytes of a lock's file: who holds it


def take(file: int | IO[str] | BinaryIO, how: int) -> bool | None:
    """Try for a lock, `fcntl.LOCK_EX` or `LOCK_SH`.

    Returns:
        True: it is ours until the file is closed. False: another has it. None: this file system has no locks.
    """
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in (errno.EWOULDBLOCK, errno.EACCES) else None
    return True


@contextmanager
def alone(
    path: Path, say: Callable[[str], None] = print, meanwhile: Callable[[], None] = lambda: None
) -> Iterator[BinaryIO]:
    """Nobody else is inside; gives the lock's file.

    Args:
        path: a file in a results folder, made where there is none.
        say: told whom this waits for, once that takes long.
        meanwhile: called again and again while this waits.

    Raises:
        ResultsError: the folder cannot be written, or the file is a link or no plain file.
    """
    file, began, told = _open(path), time.monotonic(), False
    try:
        while (taken := take(file, fcntl.LOCK_EX)) is False or (taken and not _same(file, path)):
            if taken:  # somebody removed the file that we have: the lock is on the one that is there now
                file.close()
                file = _open(path)
                continue
            if not told and time.monotonic() - began > PATIENCE:
                told = True
                say(f"{_holder(file)} holds {path}, and does not let go")
            meanwhile()
            time.sleep(NAP)
        with suppress(OSError):  # a full disk: nobody is told who has it
            os.pwrite(file.fileno(), f"process {os.getpid()} on {socket.gethostname()}".encode().ljust(ROOM), 0)
        yield file
    finally:
        file.close()


def _open(path: Path) -> BinaryIO:
    try:
        return disk.lock_file(path)
    except (OSError, disk.NotPlain) as error:
        why = refused_by_system(error) or f"{path.name}: {error}; remove it"
        raise ResultsError(f"cannot write to the results folder {path.parent}: {why}") from None


def _same(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat(follow_symlinks=False))
    except OSError:
        return False


def _holder(file: BinaryIO) -> str:
    with suppress(OSError):
        if text := os.pread(file.fileno(), ROOM, 0).decode(errors="replace").strip(" \0\n"):
            return text
    return "another process"
