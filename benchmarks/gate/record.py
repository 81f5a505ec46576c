"""The record: blocks of four processes, a JSON line each, taken in turn over kinds and cells; goes on where it was."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.gate.slowdown import FAMILY, KINDS, revisions
from pdebench.regress.metrics import COSTS
from pdebench.regress.revision import Revision
from pdebench.regress.samples import ABBA, BAAB, ProcessSample, Side
from pdebench.results.store import write_json
from pdebench.system.machine import FINGERPRINT
from pdebench.system.spare_core import a_core_left

SUITE = Path(__file__).with_name("cells.yaml")
MACHINE = "machine.json"
FAMILIES = ("DiT", "PDE-SSM-DiT", "GFNet-DiT")


@dataclass(frozen=True)
class Block:
    """Four processes of one cell.

    Attributes:
        kind: what the head was.
        family: of the cell.
        order: sides, in the order of running.
        units: what each took.
    """

    kind: str
    family: str
    order: tuple[Side, ...]
    units: tuple[ProcessSample, ...]

    @property
    def seconds(self) -> float:
        """Of all four."""
        return sum(unit.seconds for unit in self.units)


class Runner:
    """Runs cells of the study's suite, of the base and of one kind of head."""

    def __init__(self, folder: Path) -> None:
        self.revisions, self.results = revisions(folder), folder / "cells"
        self.machine = folder / MACHINE
        self.keys = self.revisions["base"].cells(SUITE)
        self.cell = {str(keys["model.family"]): name for name, keys in self.keys.items()}

    def revision(self, kind: str, side: Side) -> Revision:
        """What runs on a side."""
        return self.revisions["base" if side == "base" else kind]

    def run(self, kind: str, side: Side, family: str) -> ProcessSample:
        """One process; only what is gated is kept, and what machine the process says that it ran on."""
        cell = self.cell[family]
        unit = self.revision(kind, side).run(SUITE, cell, self.keys[cell], self.results)
        if unit.failure is not None:
            raise SystemExit(f"{family} failed on the {side}: {unit.failure}")
        write_json(self.machine, {name: unit.values[name] for name in FINGERPRINT})
        kept = {name: unit.values[name] for name in COSTS if unit.values.get(name) is not None}
        return ProcessSample(kept, round(unit.seconds, 3))


def record(folder: Path, minutes: float, seed: int = 0) -> int:
    """Record blocks until the record is so many minutes long; gives how many it has."""
    folder.mkdir(parents=True, exist_ok=True)
    runner, path = Runner(folder), folder / "blocks.jsonl"
    done = read(path)
    spent, chance = sum(block.seconds for block in done), random.Random(seed + len(done))
    turns = [("same", family) for family in FAMILIES] + [(kind, FAMILY) for kind in KINDS if kind != "same"]
    with neighbour(seed + len(done)), a_core_left():
        while spent < 60 * minutes:
            kind, family = turns[len(done) % len(turns)]
            order = ABBA if chance.random() < 0.5 else BAAB
            block = Block(kind, family, order, tuple(runner.run(kind, side, family) for side in order))
            _append(path, block)
            done.append(block)
            spent += block.seconds
            print(f"{spent / 60:.1f} of {minutes:g} minutes, {len(done)} blocks", flush=True)
    return len(done)


@contextmanager
def neighbour(seed: int) -> Iterator[None]:
    """While this lasts, somebody else works on the machine part of the time."""
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.gate.neighbour", str(seed)], stdin=subprocess.PIPE)
    try:
        yield
    finally:
        process.communicate()


def read(path: Path) -> list[Block]:
    """The blocks of a record; half a line, of a recording that was killed, is left out."""
    if not path.exists():
        return []
    return [_block(json.loads(line)) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def _append(path: Path, block: Block) -> None:
    units = [{"seconds": unit.seconds, "values": dict(unit.values)} for unit in block.units]
    line = {"at": round(time.time()), "kind": block.kind, "family": block.family, "order": block.order, "units": units}
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")


def _block(found: Mapping[str, Any]) -> Block:
    units = tuple(ProcessSample(unit["values"], unit["seconds"]) for unit in found["units"])
    return Block(found["kind"], found["family"], tuple(found["order"]), units)
