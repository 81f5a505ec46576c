"""An installed package of token mixers that start processes and leave them, as somebody else's may."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil
from runs import SUITE, write_images

FAMILIES = """\
import os
import signal

from pdebench.models.closed_form import none
from pdebench.models.registry import Family

if os.environ.get("DEAF"):
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    print("deaf", flush=True)


def family(name):
    return Family(name, f"unruly_mixers:{name}", "starts processes", "", none)


FORKS, STARTS, DAEMON, CROWD, SHARES, BUSY = map(family, ("Forks", "Starts", "Daemon", "Crowd", "Shares", "Busy"))
"""
MIXERS = """\
import os
import signal
import subprocess
import sys
import time

from pdebench.models.mixers.none import PerToken

LEFT = os.environ["LEFT"]
HOLD = "import sys, time; kept = bytearray(b'x') * int(sys.argv[1]); time.sleep(600)"
begun = []


def note(pid):
    open(f"{LEFT}/{pid}", "w").close()


def forked(work):
    if (pid := os.fork()) == 0:
        try:
            work()
        finally:
            os._exit(0)
    return pid


def sleeps():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    note(os.getpid())
    time.sleep(600)


def daemon():
    os.setsid()
    forked(execs)


def execs():
    note(os.getpid())
    os.execve("/bin/sleep", ["sleep", "600"], {})


class Once(PerToken):
    def forward(self, x, c):
        if not x.is_meta and not begun:
            begun.append(True)
            self.begin()
        return super().forward(x, c)


class Forks(Once):
    def begin(self):
        forked(sleeps)


class Starts(Once):
    def begin(self):
        note(subprocess.Popen(["sleep", "600"]).pid)


class Daemon(Once):
    def begin(self):
        os.waitpid(forked(daemon), 0)


class Crowd(Once):
    def begin(self):
        for _ in range(4):
            note(subprocess.Popen([sys.executable, "-c", HOLD, str(6 * 10**8)]).pid)
        time.sleep(600)


class Shares(Once):
    def begin(self):
        begun.append(bytearray(b"x") * 10**9)
        for _ in range(4):
            forked(sleeps)
        while len(os.listdir(LEFT)) < 4:
            time.sleep(0.05)
        time.sleep(3)


class Busy(Once):
    def begin(self):
        for work in (sleeps, daemon):
            forked(work)
        note(subprocess.Popen(["sleep", "600"], start_new_session=True).pid)
        while len(os.listdir(LEFT)) < 3:
            time.sleep(0.05)
        note(os.getpid())
        time.sleep(600)
"""
NAMES = ("FORKS", "STARTS", "DAEMON", "CROWD", "SHARES", "BUSY")
COUNT = """\
import sys
from pdebench.plan.cost_cache import count_ahead
from pdebench.suite.load import load_suite
count_ahead(load_suite(sys.argv[1]).planned())
"""
counted: list[bool] = []
METADATA = "Metadata-Version: 2.1\nName: unruly-mixers\nVersion: 1.0\n"


class Unruly:
    """The package, laid down where a run finds it, a suite of its families, and the processes that they started."""

    def __init__(self, folder: Path, *families: str) -> None:
        site, self.left, self.suite = folder / "site", folder / "left", folder / "unruly.yaml"
        about = site / "unruly_mixers-1.0.dist-info"
        about.mkdir(parents=True)
        self.left.mkdir()
        (about / "METADATA").write_text(METADATA)
        points = "".join(f"{name.title()} = unruly_families:{name}\n" for name in NAMES)
        (about / "entry_points.txt").write_text(f"[pdebench.families]\n{points}")
        (site / "unruly_families.py").write_text(FAMILIES)
        (site / "unruly_mixers.py").write_text(MIXERS)
        path = os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH"))))
        self.environment: Mapping[str, str] = {**os.environ, "PYTHONPATH": path, "LEFT": str(self.left)}
        write_images(folder)
        text = SUITE.format(images=folder / "images", steps=3)
        if not counted:  # all of them at once: a process that counts imports for seconds, and counts for tenths
            self.suite.write_text(text.replace("[DiT, PDE-SSM-DiT]", f"[{', '.join(map(str.title, NAMES))}]"))
            subprocess.run([sys.executable, "-c", COUNT, str(self.suite)], env=self.environment, check=True)
            counted.append(True)
        self.suite.write_text(text.replace("[DiT, PDE-SSM-DiT]", f"[{', '.join(families)}]"))

    def started(self) -> list[int]:
        """Processes that the mixers started, and said so."""
        return [int(path.name) for path in self.left.iterdir()]

    def alive(self) -> list[int]:
        """Those of them that live."""
        found = []
        for pid in self.started():
            with suppress(psutil.Error):
                if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                    found.append(pid)
        return found
