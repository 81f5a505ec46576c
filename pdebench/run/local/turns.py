"""What is timed has its device to itself, whoever else runs cells on this machine.

A lock for each device, in the user's cache, that the kernel holds, and lets go of when its holder ends. Whoever times a
cell has the CPU's, or its GPU's, for itself; whoever does not time shares the CPU's, so that nothing of ours runs
beside what is timed. A second lock for each device is the head of its queue: who waits there is the next to have it, so
two runs have it in turn, and neither waits for the other's last cell. Runs of other users or caches are not seen. Under
SLURM there are no turns: a job has its devices to itself, and the GPUs of two jobs may have one name.
"""

from __future__ import annotations

import fcntl
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from pdebench.data.cache import cache_folder
from pdebench.errors import DataError
from pdebench.files import disk
from pdebench.system import locks
from pdebench.system.slots import Slot

CPU = "cpu"


class Turn:
    """One slot's hold of its devices, taken for a cell and given back after it."""

    def __init__(self, slot: Slot, *, timed: bool) -> None:
        gpus = [] if slot.on_cpu else slot.name.partition(":")[2].split("+")
        self._wanted = [(f"gpu-{gpu}", fcntl.LOCK_EX) for gpu in gpus]
        self._wanted.append((CPU, fcntl.LOCK_EX if timed and slot.on_cpu else fcntl.LOCK_SH))
        if "SLURM_JOB_ID" in os.environ:
            self._wanted = []
        self._held: list[BinaryIO] = []
        self._next: dict[str, BinaryIO] = {}  # the queues that we are at the head of

    def take(self) -> bool:
        """Whether the slot's devices are ours now; False while somebody else has one of them, or is the next to."""
        for device, how in self._wanted:
            if (lock := _opened(device)) is None:
                continue
            if not (self._queue(device) and _locked(lock, how)):
                lock.close()
                self.give_back()
                return False
            self._held.append(lock)
            self._next.pop(device).close()
        for lock in self._held:
            with suppress(OSError):
                lock.truncate(0)
                lock.write(str(os.getpid()).encode())
                lock.flush()
        return True

    def _queue(self, device: str) -> bool:
        """Whether we are the next to have a device, which we then stay until we have it or `leave`."""
        if device not in self._next and (place := _opened(f"{device}.next")) is not None:
            if _locked(place, fcntl.LOCK_EX):
                self._next[device] = place
            else:
                place.close()
        return device in self._next

    def give_back(self) -> None:
        """Let the next have them."""
        for lock in self._held:
            lock.close()
        self._held.clear()

    def leave(self) -> None:
        """Wait no longer."""
        for place in self._next.values():
            place.close()
        self._next.clear()

    def holder(self) -> str:
        """Who has a device that we want, for a message: `process 123`."""
        for device, _ in self._wanted:
            with suppress(OSError, ValueError, DataError):
                holder = int(disk.read_plain(_path(device), 20))
                if holder != os.getpid():  # ours are other cells of this run, and we wait for who is next after them
                    return f"process {holder}"
        return "another process"


def _locked(lock: BinaryIO, how: int) -> bool:
    return locks.take(lock, how) is not False  # where the file system has no locks turns are not taken


def _path(device: str) -> Path:
    return cache_folder() / "turns" / f"{socket.gethostname()}-{device}.lock"


def _opened(device: str) -> BinaryIO | None:
    """The device's file, ours and no link; None where there can be none, and turns are not taken."""
    try:
        _path(device).parent.mkdir(parents=True, exist_ok=True)
        return disk.lock_file(_path(device))
    except (OSError, disk.NotPlain, DataError):
        return None
