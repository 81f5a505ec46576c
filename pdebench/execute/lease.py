"""Who runs a cell: a file in its folder, so that runs on one results folder share the work and none is done twice.

    cells/<id>/lease    JSON: host, pid, and a token of the holder; its modification time is the holder's heartbeat

A holder that is gone loses its lease: on its own host as soon as its process is, elsewhere when its heart has been
still for STALE seconds. Claims on one results folder are made one after another, under a lock of the operating system
that ends with its holder, so a lease is never taken over twice.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pdebench.errors import ResultsError

BEAT = 5.0  # seconds between heartbeats
STALE = 60.0  # seconds without one after which a holder on another host counts as gone


@dataclass(frozen=True)
class Holder:
    """A process that may hold leases."""

    host: str
    pid: int
    born: float  # the start of the process: numbers of processes are used again
    token: str

    @classmethod
    def this(cls) -> Holder:
        """This process."""
        return cls(socket.gethostname(), os.getpid(), _born(os.getpid()) or 0.0, uuid.uuid4().hex)

    def gone(self, heartbeat: float, now: float) -> bool:
        """Whether it can no longer be working, its last heartbeat at `heartbeat`."""
        if self.host == socket.gethostname():
            return _born(self.pid) != self.born
        return now - heartbeat > STALE


class Leases:
    """The leases of one results folder, as one process sees them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.holder = folder, Holder.this()
        self._held: set[Path] = set()

    def claim(self, cell: Path) -> bool:
        """Take the cell's lease; False while another process holds it."""
        path = cell / "lease"
        with self._alone() as now:
            other = read(path)
            if other is not None and other.token != self.holder.token and not other.gone(_beat(path), now):
                return False
            temporary = path.with_name(f".lease.{self.holder.token}.tmp")
            try:
                temporary.write_text(json.dumps(vars(self.holder)))
                temporary.replace(path)
            except OSError as error:
                temporary.unlink(missing_ok=True)
                raise ResultsError(f"cannot write to {cell}: {error.strerror}; see to that, and run again") from None
        self._held.add(path)
        return True

    def beat(self) -> None:
        """Say of every lease held here that its holder is alive."""
        for path in self._held:
            with suppress(OSError):
                os.utime(path)

    def still_held(self, cell: Path) -> bool:
        """Whether the lease is ours: a holder that was asleep for too long may have lost it."""
        other = read(cell / "lease")
        return other is not None and other.token == self.holder.token

    def release(self, cell: Path) -> None:
        """Give the lease back."""
        path = cell / "lease"
        with self._alone():
            if self.still_held(cell):
                path.unlink(missing_ok=True)
        self._held.discard(path)

    def sweep(self, cells: Iterable[Path]) -> None:
        """Take away what holders that are gone left in cells, which of a settled one nobody claims again."""
        if left := [path for cell in cells if os.path.lexists(path := cell / "lease")]:
            with self._alone() as now:
                for path in left:
                    holder = read(path)
                    if holder is None or holder.gone(_beat(path), now):
                        with suppress(OSError):
                            path.unlink()

    @contextmanager
    def _alone(self) -> Iterator[float]:
        """Nobody else claims or releases meanwhile; gives the time by the clock that heartbeats are stamped with."""
        try:
            lock = (self.folder / ".lock").open("a+")
        except OSError as error:
            raise ResultsError(f"cannot write to the results folder {self.folder}: {error.strerror}") from None
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            os.utime(self.folder / ".lock")  # a file server's clock may differ from this machine's
            yield _beat(self.folder / ".lock")


def read(path: Path) -> Holder | None:
    """Who holds a lease; None where nobody does, or the file is damaged.

    Raises:
        ResultsError: it may not be read: its holder is somebody else, who may well be alive.
    """
    try:
        if not path.is_file():  # what is no plain file might never end
            return None
        found = json.loads(path.read_text())
        return Holder(str(found["host"]), int(found["pid"]), float(found["born"]), str(found["token"]))
    except PermissionError as error:
        raise ResultsError(f"cannot read {path}, a lease of somebody else's run: {error.strerror}") from None
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def held_elsewhere(cell: Path) -> Holder | None:
    """The live holder of a cell's lease, for looking on; None where nobody works on it."""
    holder = read(cell / "lease")
    return holder if holder is not None and not holder.gone(_beat(cell / "lease"), time.time()) else None


def _beat(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _born(pid: int) -> float | None:
    """When a process of this host started; None where there is none."""
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else round(process.create_time(), 2)
    except (psutil.Error, ValueError, OverflowError):  # of a number that no process can have
        return None
