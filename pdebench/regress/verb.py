"""`pdebench regress` and `pdebench baseline save`, between the command line and the gates."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console

from pdebench.data.nouns import plural
from pdebench.errors import PdebenchError, SuiteError, did_you_mean
from pdebench.regress import baseline_gate, formats, history, revision_gate
from pdebench.regress.metrics import exact
from pdebench.regress.outcome import GateOutcome
from pdebench.regress.sequential_test import Say
from pdebench.regress.text import print_outcome
from pdebench.results.store import refuse_unlike
from pdebench.stats.regression import Rule
from pdebench.suite.load import load_suite
from pdebench.suite.measured_sizes import not_measured
from pdebench.system.spare_core import a_core_left


@dataclass(frozen=True)
class GateRequest:
    """What the command line says."""

    suite: str
    against: str | None
    baseline: Path | None
    seconds: float
    effect: float
    accept: tuple[str, ...]
    history: Path | None
    junit: Path | None


def run_gate(asked: GateRequest, form: Literal["table", "github", "json"] | str) -> int:
    """Run a gate, say what it found, and give the exit status.

    Raises:
        PdebenchError: the question cannot be asked so, or the two sides cannot be compared.
    """
    if (asked.against is None) == (asked.baseline is None):
        raise PdebenchError("pass either --against REV or --baseline FILE")
    for column in asked.accept:
        if column not in (known := exact(asked.accept)):
            raise PdebenchError(
                f"--accept {column}: no deterministic quantity has that name; {did_you_mean(column, known)}"
            )
    if asked.history is not None:
        history.read(asked.history)  # what is wrong with it is said before an hour is spent
    for path in (asked.history, asked.junit):
        if path is not None and not path.resolve().parent.is_dir():
            raise PdebenchError(f"cannot write {path}: there is no folder {path.resolve().parent}; make it first")
    if asked.junit is not None:
        refuse_unlike(asked.junit, formats.XML)
    console, progress = Console(), Console(stderr=True)
    outcome = _outcome(asked, lambda text: progress.print(text, style="dim", highlight=False, markup=False))
    steps: list[str] = []
    if asked.history is not None:
        history.append(asked.history, outcome)
        steps = list(history.found_steps(asked.history, outcome, Rule(asked.effect)))
    if asked.junit is not None:
        formats.junit(outcome, asked.junit)
    if form == "json":
        print(json.dumps({**outcome.as_json(), "steps": steps}, indent=1, allow_nan=False))
    elif form == "github":
        print(formats.github(outcome, steps))
    else:
        print_outcome(console, outcome, steps)
    return outcome.exit_code


def _outcome(asked: GateRequest, say: Say) -> GateOutcome:
    suite = _file_of(asked.suite)
    rule = Rule(asked.effect)
    with a_core_left():
        if asked.baseline is not None:
            return baseline_gate.compare(
                suite, asked.baseline, rule, seconds=asked.seconds, accept=asked.accept, say=say
            )
        assert asked.against is not None
        return revision_gate.compare(
            suite, asked.against, rule, seconds=asked.seconds, accept=asked.accept,
            for_history=asked.history is not None, say=say,
        )  # fmt: skip


def _file_of(suite: str) -> Path:
    """The file of a suite, which is read here first: what is wrong with it has a line.

    Raises:
        SuiteError: it is wrong, or has no sizes yet that both sides could have.
    """
    read = load_suite(suite)
    if read.unmeasured:
        raise SuiteError(f"{not_measured(read.unmeasured)}: run `pdebench run {suite} --only-match` first", file=suite)
    return Path(read.file).resolve()


def run_save(suite: str, file: Path, seconds: float) -> str:
    """Store a baseline and say what was stored."""
    progress = Console(stderr=True)
    path = _file_of(suite)
    with a_core_left():
        machine, made = baseline_gate.save(
            path, file, seconds=seconds,
            say=lambda text: progress.print(text, style="dim", highlight=False, markup=False),
        )  # fmt: skip
    processes = sum(len(cell.units) for cell in made.cells.values())
    cells = plural(len(made.cells), "cell")
    return f"wrote {file}: {made.head[:12]} on {made.about} ({machine}): {cells}, {processes} processes"
