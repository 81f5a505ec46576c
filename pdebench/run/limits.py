"""The limits that a cell's process works under; handed to it as one JSON argument. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from pdebench.suite.config import ExecutionConfig, LimitsConfig


@dataclass(frozen=True)
class CellLimits:
    """What a suite's `limits` and `execution` say, as the process of a cell needs it.

    Attributes:
        seconds: after which the parent ends it; None: never.
        memory: bytes of host memory that it may have; None: all.
        checkpoint_seconds: between saved states of its training.
        shared: other cells may run on the same cores, so what it measures of time is left out of its record.
        cores: those that it may use; None: all that its parent may.
        timed: the suite asks for timings, so a record without them does not settle its cell.
        warm: it is a fork of a process that has imported torch, not a fresh one.
        trackers: experiment trackers to write a done cell for.
        lease: token of its parent's lease on the cell, without which it writes nothing; None: nobody holds one.
    """

    seconds: float | None = None
    memory: int | None = None
    checkpoint_seconds: float = 300.0
    shared: bool = False
    timed: bool = False
    cores: tuple[int, ...] | None = None
    warm: bool = False
    trackers: tuple[str, ...] = ()
    lease: str | None = None

    @classmethod
    def of(cls, limits: LimitsConfig, execution: ExecutionConfig, trackers: Sequence[str] = ()) -> CellLimits:
        """Those of a suite; whether cores are shared depends on where its cells run."""
        memory = None if limits.memory_gb is None else int(limits.memory_gb * 1e9)
        timed = execution.timing == "alone"
        return cls(limits.seconds, memory, execution.checkpoint_seconds, timed=timed, trackers=tuple(trackers))

    def to_json(self) -> str:
        """As `from_json` reads it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> CellLimits:
        """Read what `to_json` wrote."""
        found = json.loads(text)
        cores = found.pop("cores")
        trackers = tuple(found.pop("trackers", ()))
        return cls(**found, cores=None if cores is None else tuple(cores), trackers=trackers)
