"""Who runs a cell: a file in its folder, so that runs on one results folder share the work and none is done twice.

    cells/<id>/lease    JSON: see Holder; its modification time is the holder's heartbeat

The holder keeps a lock of the kernel on the file. For whoever shares its kernel, in another container too, that lock
says alone whether the holder lives. On a file system without locks the start of its process says so, to those who see
that process. Clocks say nothing: they are set while cells run. All others listen for the heartbeat. A holder is gone
when the file server's clock makes its last one older than STALE, or when none came in STALE seconds of listening: so a
lease that is dated ahead ends, too. Of a lease by an older pdebench the heartbeat alone counts.

Claims on one results folder are made one after another, under a lock of the kernel as well, and so are records: a
holder that was asleep for so long that another took its cell over finds that out before it writes one.
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pdebench.errors import ResultsError
from pdebench.files import disk
from pdebench.system import locks

BEAT = 5.0  # seconds between heartbeats
STALE = 60.0  # seconds without one after which a holder that cannot be seen from here counts as gone
SETTLED = 0.5  # seconds, longer than a claim takes, after which a lease without locks is looked at again
LARGEST = 2**16  # bytes of a lease: a hundred times what one has


class Holder(BaseModel):
    """A process that holds a lease, as the lease says.

    Attributes:
        host: its machine's name, for people: several may have the same.
        pid: its number, in its own namespace.
        token: tells it from every other holder.
        boot: one boot of one machine.
        space: its namespace of process numbers; None where nothing tells.
        started: its start in clock ticks since boot; None where nothing tells.
        device: the number that its kernel has for the lease's file system.
        locked: it has a lock of the kernel on the lease.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    host: str = Field(max_length=255)
    pid: int = Field(gt=0, lt=2**31)
    token: str = Field(max_length=64)
    boot: str | None = None
    space: str | None = None
    started: int | None = None
    device: int | None = None
    locked: bool = False

    @classmethod
    def this(cls) -> Holder:
        """This process, without a lease yet."""
        return cls(
            host=socket.gethostname(), pid=os.getpid(), token=uuid.uuid4().hex, boot=_boot(), space=_space(),
            started=_started(os.getpid()),
        )  # fmt: skip

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


@dataclass(frozen=True)
class _Found:
    """A lease that is there.

    Attributes:
        holder: who it says has it.
        beat: its last heartbeat, by the file server's clock.
        device: the number of its file system here.
        locked: somebody has a lock of the kernel on it; None where there are none.
    """

    holder: Holder
    beat: float
    device: int
    locked: bool | None

    def lives(self) -> bool | None:
        """Whether the holder lives, as this machine's kernel knows it; None: it does not."""
        if self.holder.boot != _boot():
            return None
        if self.holder.locked and self.locked is not None and self.holder.device == self.device:
            return self.locked
        if self.holder.started is None or self.holder.space is None or self.holder.space != _space():
            return None
        try:
            os.kill(self.holder.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass  # somebody else's
        started = _started(self.holder.pid)
        return None if started is None else started == self.holder.started


class Leases:
    """The leases of one results folder, as one process sees them.

    Args:
        folder: the results folder.
        say: told whom this waits for, where it does.
    """

    def __init__(self, folder: Path, say: Callable[[str], None] = print) -> None:
        self.folder, self.holder, self.say = folder, Holder.this(), say
        self.others: dict[Path, str] = {}
        """Cells that were not to be had when last claimed, and who has them."""
        self._held: dict[Path, int] = {}  # descriptors: each keeps its lock until it is closed, or this process ends
        self._heard: dict[Path, tuple[tuple[str, float], float]] = {}  # others' last heartbeats, and since when

    def claim(self, cell: Path) -> bool:
        """Take the cell's lease; False while another process holds it."""
        path = cell / "lease"
        with self._alone() as now:
            found = _look(path)
            if found is not None and found.holder.token == self.holder.token:
                return True
            if found is not None and not self._gone(path, found, now):
                self.others[cell] = self._about(path, found, now)
                return False
            self._let_go(path)
            try:
                locked = self._take(path)
            except OSError as error:
                raise ResultsError(f"cannot write to {cell}: {error.strerror}; see to that, and run again") from None
            self.others.pop(cell, None)
            self._heard.pop(path, None)
        if not locked:  # nor was there a lock to claim under: of several at once, the last has it
            time.sleep(SETTLED)
        return locked or self.still_held(cell)

    def beat(self) -> None:
        """Say of every lease held here that its holder is alive."""
        for held in self._held.values():
            with suppress(OSError):
                os.utime(held)  # not by its path: it may be another's by now

    def still_held(self, cell: Path) -> bool:
        """Whether the lease is ours: a holder that was asleep for too long may have lost it."""
        return holds(cell, self.holder.token)

    def release(self, cell: Path) -> None:
        """Give the lease back."""
        with self.ending(cell):
            pass

    @contextmanager
    def ending(self, cell: Path) -> Iterator[bool]:
        """Whether the lease is ours; nobody takes it meanwhile, and afterwards it is given back."""
        path = cell / "lease"
        with self._alone():
            ours = self.still_held(cell)
            try:
                yield ours
            finally:
                if ours:
                    path.unlink(missing_ok=True)
                self._let_go(path)

    def sweep(self, cells: Iterable[Path]) -> None:
        """Take away what holders that are gone left in cells, which of a settled one nobody claims again."""
        if left := [path for cell in cells if os.path.lexists(path := cell / "lease")]:
            with self._alone() as now:
                for path in left:
                    found = _look(path)
                    if found is None or self._gone(path, found, now):
                        with suppress(OSError):
                            path.unlink()

    def _take(self, path: Path) -> bool:
        """Put our lease there; whether the kernel locks it. Nobody sees it before it is locked."""
        with disk.replacing(path) as file:
            held = os.dup(file.fileno())
            try:
                locked = locks.take(held, fcntl.LOCK_EX) is True
                about = {"device": os.fstat(held).st_dev, "locked": locked}
                file.write(self.holder.model_copy(update=about).model_dump_json().encode())
                file.flush()
            except BaseException:
                os.close(held)
                raise
        self._held[path] = held
        return locked

    def _let_go(self, path: Path) -> None:
        if (held := self._held.pop(path, None)) is not None:
            os.close(held)

    def _gone(self, path: Path, found: _Found, now: float) -> bool:
        if (lives := found.lives()) is not None:
            return not lives
        return self._quiet(path, found, now) > STALE

    def _quiet(self, path: Path, found: _Found, now: float) -> float:
        """Seconds without a heartbeat: by the file server's clock, or as long as we have listened."""
        last = (found.holder.token, found.beat)
        if path not in self._heard or self._heard[path][0] != last:
            self._heard[path] = (last, time.monotonic())
        return max(now - found.beat, time.monotonic() - self._heard[path][1])

    def _about(self, path: Path, found: _Found, now: float) -> str:
        if found.lives() is not None or self._quiet(path, found, now) <= 3 * BEAT:
            return str(found.holder)
        return f"{found.holder} (silent; its cell is taken over {STALE:g} s after its last sign of life)"

    @contextmanager
    def _alone(self) -> Iterator[float]:
        """Nobody else claims, releases or leaves a record meanwhile; gives the time by the file server's clock."""
        with locks.alone(self.folder / ".lock", self.say, self.beat) as lock:
            os.utime(lock.fileno())
            yield os.fstat(lock.fileno()).st_mtime


def holds(cell: Path, token: str) -> bool:
    """Whether a cell's lease is that of `token`."""
    return (found := _look(cell / "lease")) is not None and found.holder.token == token


@contextmanager
def kept(cell: Path, token: str) -> Iterator[bool]:
    """Whether the lease of a cell in a results folder is that of `token`; nobody takes it over meanwhile."""
    with locks.alone(cell.parent.parent / ".lock"):
        yield holds(cell, token)


def held_elsewhere(cell: Path) -> Holder | None:
    """The live holder of a cell's lease, for looking on; None where nobody works on it.

    There is no time to listen for a heartbeat: one that is dated ahead by more than STALE is of nobody.

    Raises:
        ResultsError: see `read`.
    """
    if (found := _look(cell / "lease")) is None:
        return None
    if (lives := found.lives()) is None:
        lives = abs(_now(cell.parent.parent) - found.beat) <= STALE
    return found.holder if lives else None


def read(path: Path) -> Holder | None:
    """Who holds a lease; None where nobody does, or the file is damaged.

    Raises:
        ResultsError: it may not be read: its holder is somebody else, who may well be alive.
    """
    return None if (found := _look(path)) is None else found.holder


def _look(path: Path) -> _Found | None:
    """As `read`, with what else the file tells."""
    try:
        with disk.open_plain(path) as file:
            text = file.read(LARGEST + 1)
            about = os.fstat(file.fileno())
            free = locks.take(file, fcntl.LOCK_SH)  # which keeps nobody out: a holder locks before anybody sees
        holder = Holder.model_validate_json(text[: LARGEST + 1]) if len(text) <= LARGEST else None
    except PermissionError as error:
        raise ResultsError(f"cannot read {path}, a lease of somebody else's run: {error.strerror}") from None
    except (OSError, disk.NotPlain, ValidationError):
        return None
    return None if holder is None else _Found(holder, about.st_mtime, about.st_dev, None if free is None else not free)


def _now(folder: Path) -> float:
    """The time by the clock that stamps a folder's files; this machine's where we may not write there."""
    try:
        with disk.open_plain(folder / ".lock") as lock:
            os.utime(lock.fileno())
            return os.fstat(lock.fileno()).st_mtime
    except (OSError, disk.NotPlain):
        return time.time()


@cache
def _boot() -> str:
    """One boot of one machine; containers on it share it. Where the kernel has no word for it, the machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return f"machine {uuid.getnode():x}"


def _space() -> str | None:
    """The namespace that process numbers are of here; None where nothing tells, or /proc is of another one."""
    try:
        ours = str(Path("/proc/self").readlink()) == str(os.getpid())
        return str(Path("/proc/self/ns/pid").readlink()) if ours else None
    except OSError:
        return None


def _started(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; -1 once it has ended, None: nothing tells."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return -1 if state in (b"Z", b"X") else int(fields[18])
