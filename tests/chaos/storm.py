"""Faults thrown at runs of one suite, from a seed, and a witness that no record of a finished cell is lost."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from runs import command, wait_for, write_images

SUITE = """\
suite: storm
data: {{name: folder, path: {images}, resolution: 16, flip: false}}
model: {{size: XXS, patch: 8}}
train: {{steps: {steps}, batch_size: 4, lr: 1e-3}}
evaluate: {{samples: 4, nfe: 2, batch_size: 4}}
limits: {{seconds: {seconds}, memory_gb: 3}}
execution: {{timing: shared, checkpoint_seconds: 0.5}}
grid:
  model.family: {families}
  train.seed: {seeds}
include:
"""
DIVERGES = "- {model.family: DiT, train.seed: 9, train.lr: 1e15}"  # a seed of its own: a cell of its own
HUNGRY, SLEEPY, LEAVES = "- {model.family: Hungry}", "- {model.family: Sleepy}", "- {model.family: Leaves}"
ENDS = {DIVERGES: "diverged", HUNGRY: "oom", SLEEPY: "timeout", LEAVES: "done"}

# A package of token mixers that behave badly, as somebody else's may: metadata and two modules on the path.
FAMILIES = """\
from pdebench.models.closed_form import none
from pdebench.models.registry import Family

HUNGRY = Family("Hungry", "faulty_mixers:Hungry", "takes all memory", "", none)
SLEEPY = Family("Sleepy", "faulty_mixers:Sleepy", "never comes back", "", none)
LEAVES = Family("Leaves", "faulty_mixers:Leaves", "leaves processes behind", "", none)
"""
MIXERS = """\
import os
import signal
import subprocess
import time

import torch
from pdebench.models.mixers.none import PerToken

kept = []


class Hungry(PerToken):
    def forward(self, x, c):
        while not x.is_meta:
            kept.append(torch.empty(2**28, dtype=torch.uint8))
        return super().forward(x, c)


class Sleepy(PerToken):
    def forward(self, x, c):
        if not x.is_meta:
            time.sleep(3600)
        return super().forward(x, c)


class Leaves(PerToken):
    def forward(self, x, c):
        if not x.is_meta and not kept:
            kept.append(subprocess.Popen(["sleep", "3600"], start_new_session=True))
            if os.fork() == 0:  # with all pipes of the cell
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                time.sleep(3600)
        return super().forward(x, c)
"""
ENTRY_POINTS = """\
[pdebench.families]
Hungry = faulty_families:HUNGRY
Sleepy = faulty_families:SLEEPY
Leaves = faulty_families:LEAVES
"""
METADATA = "Metadata-Version: 2.1\nName: faulty-mixers\nVersion: 1.0\n"
LATER = ("exit_code", "slot", "parent_cpu_share", "checksum")  # what the parent adds to the record that a cell left


def install_faulty_mixers(folder: Path) -> None:
    """Lay the package down where `folder` on PYTHONPATH makes it an installed one."""
    about = folder / "faulty_mixers-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(METADATA)
    (about / "entry_points.txt").write_text(ENTRY_POINTS)
    (folder / "faulty_families.py").write_text(FAMILIES)
    (folder / "faulty_mixers.py").write_text(MIXERS)


class Witness(threading.Thread):
    """Reads every record again and again; what was done once must stay as it was."""

    def __init__(self, results: Path) -> None:
        super().__init__(daemon=True)
        self.results, self.over = results, threading.Event()
        self.done: dict[Path, dict[str, Any]] = {}
        self.lost: list[str] = []

    def run(self) -> None:
        while not self.over.wait(0.02):
            self.look()

    def look(self) -> None:
        for path in {*self.results.glob("cells/*/record.json"), *self.done}:
            try:
                record = json.loads(path.read_text())
            except FileNotFoundError:
                record = None
            except ValueError as error:
                self.lost.append(f"torn: {path.parent.name}: {error}")
                continue
            told = record and {key: value for key, value in record.items() if key not in LATER}
            if path in self.done and told != self.done[path]:
                self.lost.append(f"changed: {path.parent.name}: {told}")
            if told and told["status"] == "done":
                self.done[path] = told

    def stop(self) -> None:
        self.over.set()
        self.join()
        self.look()


class Storm:
    """Runs of one suite into `results`, and what is done to them."""

    def __init__(
        self,
        folder: Path,
        results: Path,
        *,
        seed: int,
        families: Sequence[str],
        seeds: Sequence[int],
        faulty: Sequence[str],
        steps: int,
        seconds: float,
        pause: float = 3.0,
        isolations: Sequence[str] = ("fresh", "warm"),
        options: Sequence[str] = (),
    ) -> None:
        write_images(folder)
        install_faulty_mixers(folder / "site")
        path = os.pathsep.join(filter(None, (str(folder / "site"), os.environ.get("PYTHONPATH"))))
        self.environment = {**os.environ, "PYTHONPATH": path, "PDEBENCH_CACHE": str(folder / "cache")}
        self.suite = folder / "storm.yaml"
        about = {"images": folder / "images", "steps": steps, "seconds": seconds}
        text = SUITE.format(**about, families=json.dumps(list(families)), seeds=list(seeds))
        self.suite.write_text(text + "\n".join(faulty) + "\n")
        self.expected = ["done"] * (len(families) * len(seeds)) + [ENDS[cell] for cell in faulty]
        self.results, self.pause, self.isolations, self.options = results, pause, isolations, options
        self.random = random.Random(seed)
        self.injected: Counter[str] = Counter()
        self.runs = 0
        self.said = (folder / "said.txt").open("w+")
        self.process: subprocess.Popen[bytes] | None = None
        self.witness = Witness(results)
        self.witness.start()

    def run(self, *options: str) -> subprocess.Popen[bytes]:
        """Start `pdebench run`, by turns with each of `isolations`."""
        isolation = self.isolations[self.runs % len(self.isolations)]
        self.runs += 1
        arguments = ("run", self.suite, "--results", self.results, "--set", f"execution.isolation={isolation}")
        return subprocess.Popen(
            command(*arguments, *self.options, *options), env=self.environment, stdout=self.said, stderr=self.said
        )

    def cells(self) -> list[psutil.Process]:
        """The processes of cells: each leads a session of its own."""
        if self.process is None or self.process.poll() is not None:
            return []
        found = []
        for child in psutil.Process(self.process.pid).children(recursive=True):
            with suppress(psutil.Error, ProcessLookupError):
                if os.getsid(child.pid) == child.pid:
                    found.append(child)
        return found

    def escaped(self) -> list[int]:
        """Processes that live after all runs are over: they have the environment of these runs."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                ours = process.environ().get("PDEBENCH_CACHE") == self.environment["PDEBENCH_CACHE"]
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process.pid)
        return found

    def wait_for_a_cell(self) -> None:
        """Until some cell runs; a run that has ended is followed by another."""

        def running() -> bool:
            if self.process is None or self.process.poll() is not None:
                self.process = self.run()
            return bool(self.cells())

        wait_for(running, 120)

    def throw(self, fault: str) -> None:
        """Inject one fault at a moment drawn at random from the next `pause` seconds; again where it met nobody."""
        while not self._hit(fault):
            pass
        self.injected[fault] += 1

    def _hit(self, fault: str) -> bool:
        self.wait_for_a_cell()
        assert self.process is not None
        time.sleep(self.random.uniform(0, self.pause))
        if fault == "parent KILL":
            if self.process.poll() is not None:
                return False
            self.process.kill()
            self.process.wait()
            return True
        if not (cells := self.cells()):
            return False
        try:
            self.random.choice(cells).send_signal(signal.Signals[f"SIG{fault}"])
        except psutil.Error:
            return False
        return True

    def fill_disk(self) -> None:
        """Leave no byte on the results' disk until the run has given up."""
        self.wait_for_a_cell()
        assert self.process is not None
        filler = self.results.parent / "filler"
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(2**20))
        with suppress(OSError), filler.open("ab", buffering=0) as file:
            while True:
                file.write(bytes(512))
        self.process.wait(120)
        filler.unlink()
        self.injected["disk full"] += 1

    def settle(self) -> list[str]:
        """Run what is left, with failures that were ours; the status of every cell, in the suite's order."""
        if self.process is not None:
            self.process.wait(300)
        assert self.run().wait(300) in (0, 4), self.output()
        for _ in range(3):
            if self.statuses() == self.expected:
                break
            assert self.run("--retry", "failed").wait(300) in (0, 4), self.output()
        self.witness.stop()
        return self.statuses()

    def statuses(self) -> list[str]:
        plan = json.loads((self.results / "plan.json").read_text())["cells"]
        return [json.loads((self.results / "cells" / cell / "record.json").read_text())["status"] for cell in plan]

    def output(self) -> str:
        self.said.flush()
        return Path(self.said.name).read_text()

    def summary(self) -> str:
        """What was injected, what came through, what was lost."""
        by_kind = ", ".join(f"{count} x {kind}" for kind, count in self.injected.items())
        total = self.injected.total()
        return (
            f"faults injected: {total} ({by_kind}), in {self.runs} runs\n"
            f"faults survived: {total if not self.witness.lost else 'not all'}\n"
            f"records lost or torn: {len(self.witness.lost)}"
        )


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path | None]:
    """A disk of its own at `folder`; None where this user cannot mount one."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    try:
        yield folder if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)
