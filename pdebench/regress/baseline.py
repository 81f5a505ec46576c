"""Stored baselines: what a revision cost on a machine, several machines in one file, each under its fingerprint.

    {"format": 1,
     "machines": {"689e7ec5533b": {"about": "AMD EPYC, 2 threads",
       "suites": {"nightly": {"head": commit, "saved_at": ..., "probes": {"matmul": [...], "bandwidth": [...]},
                              "cells": {identity: {"label": ..., "units": [{column: value, ...}, ...]}}}}}}}

`probes` are logarithms of seconds, one a round: between two rounds a machine may be given to somebody else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pdebench.errors import NotComparable, ResultsError
from pdebench.measure.timing_stability import PROBES
from pdebench.regress.metrics import chosen, exact, measured, qualities
from pdebench.results.store import read_json, write_json

FORMAT = 1
REMEDY = "move it away and run `pdebench baseline save`"


@dataclass(frozen=True)
class StoredCell:
    """What was measured of a cell: its gated columns, process by process, and the seed that groups it."""

    label: str
    keys: Mapping[str, Any]
    units: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Baseline:
    """One suite on one machine.

    Attributes:
        head: the commit that was measured.
        saved_at: UTC.
        about: the machine, in words.
        probes: logarithms of seconds, of each probe, one a round.
        cells: by identity.
    """

    head: str
    saved_at: str
    about: str
    probes: Mapping[str, Sequence[float]]
    cells: Mapping[str, StoredCell]


def kept(values: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a record that a baseline keeps."""
    return chosen(values, (*exact(values), *measured(values), *qualities(values), "train.seed"))


def check(path: Path) -> None:
    """Look whether a file is one of baselines, or not there yet.

    Raises:
        ResultsError: it is something else.
    """
    _read(path)


def save(path: Path, suite: str, machine: str, baseline: Baseline) -> None:
    """Write a suite's baseline of one machine into a file, beside what it has of others."""
    found = _read(path) or {"format": FORMAT, "machines": {}}
    entry = found["machines"].setdefault(machine, {"about": baseline.about, "suites": {}})
    entry["about"] = baseline.about
    entry["suites"][suite] = {key: value for key, value in asdict(baseline).items() if key != "about"}
    write_json(path.resolve(), found)  # the user named it: where it is a link, what it leads to


def load(path: Path, suite: str) -> dict[str, Baseline]:
    """A suite's baselines by the fingerprint of their machine.

    Raises:
        ResultsError: there is no such file, or it is none of baselines.
        NotComparable: no machine in it has the suite.
    """
    found = _read(path)
    if found is None:
        raise ResultsError(f"there is no file {path}: make one with `pdebench baseline save SUITE --file {path}`")
    try:
        machines = {
            machine: _baseline(entry["about"], entry["suites"][suite])
            for machine, entry in found["machines"].items() if suite in entry["suites"]
        }  # fmt: skip
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise ResultsError(f"{path} is not a file of baselines: {type(error).__name__} {error}; {REMEDY}") from None
    if not machines:
        raise NotComparable(
            f"{path} has no baseline of the suite '{suite}': `pdebench baseline save {suite} --file {path}`"
        )
    return machines


def of_machine(machines: Mapping[str, Baseline], machine: str, path: Path) -> Baseline:
    """This machine's.

    Raises:
        NotComparable: there are only others'.
    """
    if machine not in machines:
        others = "; ".join(f"{name} ({one.about})" for name, one in machines.items())
        raise NotComparable(
            f"{path} has no baseline of this machine (fingerprint {machine}), only of {others}: times of two machines "
            "are not compared; run `pdebench baseline save` here"
        )
    return machines[machine]


def now() -> str:
    """UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _baseline(about: str, found: Mapping[str, Any]) -> Baseline:
    cells = {
        str(name): StoredCell(str(cell["label"]), dict(cell["keys"]), [dict(unit) for unit in cell["units"]])
        for name, cell in found["cells"].items()
    }
    if any(not cell.units for cell in cells.values()):
        raise ValueError("a cell has no units")
    if any(not found["probes"][name] for name in PROBES):
        raise ValueError("a probe has no times")
    probes = {name: [float(value) for value in found["probes"][name]] for name in PROBES}
    return Baseline(str(found["head"]), str(found["saved_at"]), str(about), probes, cells)


def _read(path: Path) -> dict[str, Any] | None:
    found = read_json(path, "a file of baselines", REMEDY, follow=True)
    if found is not None and (not isinstance(found, dict) or found.get("format") != FORMAT):
        raise ResultsError(f"{path} is not a file of baselines: it is of no known format; {REMEDY}")
    machines = {} if found is None else found.get("machines")
    if not isinstance(machines, dict) or not all(
        isinstance(one, dict) and isinstance(one.get("suites"), dict) for one in machines.values()
    ):
        raise ResultsError(f"{path} is not a file of baselines: its machines are none; {REMEDY}")
    return found
