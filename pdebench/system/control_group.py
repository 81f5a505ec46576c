"""A control group for the processes of a cell, where this user can make one: the kernel ends all of it at once.

Nothing that a process does, short of a system administrator's rights, takes it out of its group. That needs cgroup v2
with `cgroup.kill` (Linux 5.14) and a group of our own that may be written to, as in many containers and desktop
sessions; elsewhere these functions do nothing. No controller is set: no process runs otherwise than outside. Imports no
torch.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

PREFIX = "pdebench-"  # of the names of groups
STALE = 60.0  # seconds after which an empty group is nobody's
EMPTY_WITHIN = 2.0  # seconds in which the kernel has ended a killed group


def enter(name: str) -> None:
    """Move this process into a new group below its own; what it starts from now on is there too."""
    with suppress(OSError):
        ours = _own()
        if (ours / "cgroup.subtree_control").read_text().split():  # a new group would have shares of its own
            return
        _tidy(ours)
        group = ours / name
        group.mkdir()
        if (group / "cgroup.kill").exists():
            (group / "cgroup.procs").write_text("0")
        else:
            group.rmdir()


def end(name: str) -> None:
    """End the processes of a group that was made here, all but this one, which is moved out, and the group."""
    with suppress(OSError):
        ours = _own()
        if ours.name == name:
            ours = ours.parent
            (ours / "cgroup.procs").write_text("0")
        group = ours / name
        (group / "cgroup.kill").write_text("1")
        deadline = time.monotonic() + EMPTY_WITHIN
        while "populated 1" in (group / "cgroup.events").read_text() and time.monotonic() < deadline:
            time.sleep(0.005)
        group.rmdir()


def _tidy(ours: Path) -> None:
    """Remove groups that are empty because whoever was to end them was killed."""
    for group in ours.glob(f"{PREFIX}*"):
        with suppress(OSError):  # in use, or just gone
            if time.time() - group.stat().st_mtime > STALE:  # a new one is empty for a moment
                group.rmdir()


def _own() -> Path:
    """The folder of this process' group.

    Raises:
        OSError: there is no cgroup v2.
    """
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    mounted = next((mount[1] for mount in mounts if mount[2] == "cgroup2"), None)
    groups = Path("/proc/self/cgroup").read_text().splitlines()
    inside = next((line[len("0::") :] for line in groups if line.startswith("0::")), None)
    if mounted is None or inside is None:
        raise FileNotFoundError("cgroup2")
    return Path(mounted) / inside.lstrip("/")
