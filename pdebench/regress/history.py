"""The history of a gate: a file of JSON lines, one a run, and the steps in it.

A line has the time, the revision, the machine's fingerprint, the verdict, and for each cell and column the logarithm
of what it cost less the logarithm of what the two probes took beside it, so that a slower machine is no step. Lines of
other machines, and of other suites, are passed over.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from pdebench.errors import ResultsError, refused_by_system
from pdebench.files import disk
from pdebench.files.seal import sealed, unsealed
from pdebench.measure.timing_stability import TimingStability
from pdebench.regress.metrics import UNCALIBRATED, costs, words
from pdebench.regress.outcome import GateOutcome, percent, share
from pdebench.stats.regression import Rule
from pdebench.stats.steps import steps

LARGEST = 64 * 2**20  # bytes: a run a day of a large suite, for a century
_HIGHEST = 1e6  # of a level, a logarithm
NEEDED = ("night", "suite", "head", "machine", "verdict", "levels")


def levels(cells: Mapping[str, Sequence[Mapping[str, Any]]], readings: Sequence[TimingStability]) -> dict[str, float]:
    """What each cell and column cost, in logarithms, less what the probes took; none without a reading.

    Args:
        cells: label to the values of its processes; the first is left out where there are more.
        readings: of the probes, before and after.
    """
    found: dict[str, float] = {}
    speed = np.mean([list(one.levels.values()) for one in readings]) if readings else 0.0
    for label, units in cells.items() if readings else ():
        measured = [costs(values) for values in units[1:] or units]
        for column in measured[0] if measured else ():
            level = float(np.median([one[column] for one in measured if column in one]))
            found[f"{label}: {column}"] = level - (0.0 if column in UNCALIBRATED else float(speed))
    return found


def append(path: Path, outcome: GateOutcome, when: str | None = None) -> None:
    """Add this run's line; where an editor took the end of the last one away, that is ended first.

    Raises:
        ResultsError: the file cannot be written.
    """
    line = {
        "night": when or datetime.now(UTC).isoformat(timespec="seconds"),
        "suite": outcome.suite,
        "head": outcome.head,
        "base": dict(outcome.base),
        "machine": outcome.machine,
        "verdict": outcome.verdict,
        "levels": dict(outcome.levels),
    }
    try:
        with disk.append_plain(path, follow=True) as file:
            start = "\n" if _breaks_off(path) else ""
            file.write(f"{start}{json.dumps(sealed(line), allow_nan=False)}\n".encode())
    except (OSError, disk.NotPlain) as error:
        raise ResultsError(f"cannot write {path}: {refused_by_system(error) or error}") from None


def _breaks_off(path: Path) -> bool:
    """Whether the last line has no end."""
    with disk.open_plain(path, follow=True) as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def read(path: Path) -> list[dict[str, Any]]:
    """All runs, first to last; none where there is no file.

    Raises:
        ResultsError: a line is not a run's.
    """
    try:
        text = disk.read_plain(path, LARGEST, follow=True).decode()
    except FileNotFoundError:
        return []
    except (OSError, disk.NotPlain) as error:
        raise ResultsError(f"cannot read {path}: {refused_by_system(error) or error}") from None
    except UnicodeDecodeError as error:
        raise ResultsError(f"{path} is not a history: {error}; move it away") from None
    runs = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            run = json.loads(line)
            run = unsealed(run) if isinstance(run, dict) else run
        except (ValueError, RecursionError):
            run = None
        if not _is_run(run):
            raise ResultsError(f"{path}:{number}: is no run of a history: remove the line")
        runs.append(run)
    return runs


def _is_run(run: Any) -> bool:
    """Whether a line's value has what is read of it, of the types that were written."""
    if not isinstance(run, dict) or not isinstance(run.get("levels"), dict):
        return False
    return all(isinstance(run.get(key), str) for key in NEEDED if key != "levels") and all(
        isinstance(level, int | float) and abs(level) < _HIGHEST for level in run["levels"].values()
    )


def found_steps(path: Path, outcome: GateOutcome, rule: Rule) -> Iterator[str]:
    """A sentence for each step in the suite's history on this machine: how much, since when, in which commits."""
    runs = [run for run in read(path) if run["suite"] == outcome.suite and run["machine"] == outcome.machine]
    for key in outcome.levels:
        having = [run for run in runs if isinstance(run["levels"].get(key), int | float)]
        for step in steps([run["levels"][key] for run in having], tolerance=rule.tolerance):
            before, after = having[step.at - 1], having[step.at]
            cell, _, column = key.rpartition(": ")
            kind = "a regression" if step.size > 0 else "an improvement"
            commits = f"{before['head'][:12]}..{after['head'][:12]}"
            if before["head"] == after["head"]:
                commits = f"within {after['head'][:12]}: the machine changed, not the code"
            yield (
                f"{cell}: {words(column)} costs {percent(share(step.size))} since the run of {after['night'][:10]}, "
                f"{kind} ({commits})"
            )
