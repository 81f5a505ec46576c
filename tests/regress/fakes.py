"""Nights without processes: cells whose cost is known, on a clock that runs as fast as we like."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from pdebench.regress.samples import ProcessSample, Side

DEFAULTS = {"params": 1000, "macs_forward": 5000, "train_loss": 0.5, "val_loss_ema": 0.6, "machine_fingerprint": "here"}


class Machine:
    """Runs cells in no time, and says that it took 5 s each.

    Args:
        slower: how much slower the head is, by cell.
        noise: of a process, in logarithms.
        columns: what a record has, by side, beside or in place of the usual; None takes a column away.
        failing: sides and cells that fail.
    """

    def __init__(
        self,
        slower: Mapping[str, float] | None = None,
        noise: float = 0.01,
        columns: Mapping[str, Mapping[str, Any]] | None = None,
        failing: tuple[tuple[str, str], ...] = (),
        seconds: float = 5.0,
    ) -> None:
        self.slower, self.noise, self.columns, self.failing = slower or {}, noise, columns or {}, failing
        self.seconds = seconds
        self.random, self.now = np.random.default_rng(0), 0.0
        self.ran: list[tuple[Side, str]] = []

    def clock(self) -> float:
        return self.now

    def measure(self, side: Side, cell: str) -> ProcessSample:
        self.ran.append((side, cell))
        self.now += self.seconds
        if (side, cell) in self.failing:
            return ProcessSample({"machine_fingerprint": "here"}, self.seconds, "oom: the machine's memory ran out")
        cost = 10.0 * np.exp(self.random.normal(0, self.noise))
        cost *= 1 + self.slower.get(cell, 0.0) * (side == "head")
        values = {**DEFAULTS, "block_ms_median": float(cost), "train.seed": 0, **self.columns.get(side, {})}
        return ProcessSample({key: value for key, value in values.items() if value is not None}, self.seconds)


class FakeRevision:
    """A revision whose cells are told to it."""

    def __init__(self, side: Side, machine: Machine, cells: Mapping[str, Mapping[str, Any]]) -> None:
        self.side, self.machine, self._cells = side, machine, cells
        self.name, self.commit = side, {"base": "a" * 40, "head": "b" * 40}[side]

    def cells(self, suite: Path) -> dict[str, dict[str, Any]]:
        return {name: dict(keys) for name, keys in self._cells.items()}

    def run(self, suite: Path, cell: str, keys: Mapping[str, Any], results: Path) -> ProcessSample:
        unit = self.machine.measure(self.side, str(keys["model.family"]))
        return ProcessSample({**unit.values, "train.seed": keys["train.seed"]}, unit.seconds, unit.failure)


def keys(family: str, seed: int = 0) -> dict[str, Any]:
    """What `Revision.cells` says of a cell."""
    return {"suite": "tiny", "model.family": family, "model.size": "XXS", "model.patch": 8, "train.seed": seed}


CELLS = {"0" * 12: keys("DiT"), "1" * 12: keys("PDE-SSM-DiT")}


def revisions(
    machine: Machine, base: Mapping[str, Any] = CELLS, head: Mapping[str, Any] = CELLS
) -> Callable[[str], Any]:
    """In the place of `side_by_side`."""

    @contextmanager
    def both(against: str) -> Iterator[tuple[FakeRevision, FakeRevision]]:
        yield FakeRevision("base", machine, base), FakeRevision("head", machine, head)

    return both
