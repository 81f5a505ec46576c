"""Who measures the sizes of a suite that is matched by what is measured, and where they are kept. Imports no torch.

They are measured before the suite's cells have identities, one after the other, in the place and on the machine that
cells run on, with the device to itself. Each is written to `matched.json` as it is found; a run that was ended goes on
after the last. One process of a results folder measures at a time: the others wait, and read what it found.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pdebench.data import registry
from pdebench.errors import ResultsError
from pdebench.measure.train_steps import StepWork
from pdebench.models.registry import Dimensions
from pdebench.results.store import Results, as_json, make_folder, read_record, write_own
from pdebench.run.local.turns import Turn
from pdebench.run.matching.guided_search import SizeTried, search
from pdebench.run.matching.paired_ratio import Ratio, measure_ratio
from pdebench.run.matching.step_pair import StepPairs
from pdebench.run.preflight import preflight, refuse_graphs
from pdebench.suite.build import build_of
from pdebench.suite.config import Cell, MatchConfig
from pdebench.suite.load import Suite
from pdebench.suite.matching import in_words
from pdebench.suite.measured_sizes import FILE, MEASURED, MatchedSize, MatchedSizes, SizeQuestion, Tried
from pdebench.suite.precision import precision_here
from pdebench.suite.resolved import resolved
from pdebench.system import locks, stop_signals
from pdebench.system.descendants import with_its_parent
from pdebench.system.slots import Slot, gpus
from pdebench.tasks.registry import TASKS

Say = Callable[[str], None]
LOCK = ".matching.lock"
LOOK_AGAIN = 0.2  # seconds between tries for the device
_DESCRIBE = """
import json, os, torch
from pdebench.system.machine import describe
if threads := int(os.environ.get("OMP_NUM_THREADS", 0)):
    torch.set_num_threads(threads)  # as a cell does
print(json.dumps(describe()))
"""


@dataclass(frozen=True)
class CellPlace:
    """The results folder, the slot that cells run in, and bytes of host memory that one may have."""

    folder: Path
    slot: Slot
    memory: int | None


def measure_sizes(load: Callable[[], Suite], where: CellPlace, say: Say) -> Suite:
    """The suite with all its sizes measured, which `load` reads anew with what is kept.

    Raises:
        ResultsError: they were measured on another machine; the folder cannot be written.
        ModelError: a family does not come near its reference, or this machine is too noisy to tell; those that were
            found before it are kept.
        PdebenchError: what can be known to fail later.
    """
    study = load()
    if study.match is None or study.match.by not in MEASURED:
        return study
    machine = machine_here(where.slot)
    refuse_elsewhere(study.sizes, machine, where.folder)
    if not study.unmeasured:
        return study
    make_folder(where.folder)
    _refuse_done_otherwise(study, where.folder)
    preflight(resolved(study.planned(), precision_here()), where.folder, sized=False)
    refuse_graphs(study.planned(), gpu=bool(gpus()))
    with locks.alone(where.folder / LOCK, say):
        study = load()  # with what another process found, while it was ours to wait
        refuse_elsewhere(study.sizes, machine, where.folder)
        sizes = study.sizes or MatchedSizes(machine=machine, sizes=[])
        for question in study.unmeasured:
            assert study.match is not None
            sizes = sizes.joined(_found(question, study.match, where, say))
            write_own(where.folder, FILE, as_json(sizes.model_dump(mode="json")))
    return load()


def machine_here(slot: Slot) -> dict[str, Any]:
    """The machine as a cell in a slot would record it."""
    asked = subprocess.run(
        [sys.executable, "-c", _DESCRIBE], env={**os.environ, **slot.environment}, capture_output=True, text=True,
        check=False, preexec_fn=with_its_parent(),
    )  # fmt: skip
    try:
        found: dict[str, Any] = json.loads(asked.stdout)
    except ValueError:
        said = asked.stderr.strip().splitlines()
        raise ResultsError(
            f"this machine cannot be told from others: {said[-1] if said else 'it said nothing'}"
        ) from None
    return found


def refuse_elsewhere(sizes: MatchedSizes | None, machine: dict[str, Any], folder: Path) -> None:
    """Refuse sizes of another machine.

    Raises:
        ResultsError: they are.
    """
    if sizes is None or sizes.machine.get("machine_fingerprint") == machine["machine_fingerprint"]:
        return
    here = MatchedSizes(machine=machine, sizes=[]).where
    raise ResultsError(
        f"{folder / FILE} has sizes as measured on {sizes.where}, and this is {here}, where they need not be equal: "
        "run there, or pass --results with another folder to have them measured here"
    )


def _found(question: SizeQuestion, match: MatchConfig, where: CellPlace, say: Say) -> MatchedSize:
    """Measure one size."""
    began = time.monotonic()
    reference = _work(question.reference, where)
    alone = _Alone(where.slot, say)
    about = f"matching {question} to {question.to} by {question.by}"

    def over() -> bool:
        return time.monotonic() - began > match.seconds

    def measure(dimensions: Dimensions) -> Ratio:
        candidate = _work(question.at(dimensions), where)
        pairs = StepPairs(reference, candidate, where.slot.environment, began + 2 * match.seconds)
        taken = pairs.time_ratio if question.by == "step_time" else pairs.memory_ratio

        def pair() -> float:
            stop_signals.insist()
            with alone.turn():
                return taken()

        ratio = measure_ratio(pair, over=over)
        say(f"{about}: {in_words(dimensions)}: {ratio}{', equal' if ratio.verdict == 'inside' else ''}")
        return ratio

    say(f"{about}: measuring, {in_words(question.own)} first")
    *earlier, last = search(question, measure, over)
    return MatchedSize(
        of=question.about,
        size=_kept(last),
        earlier=[_kept(one) for one in earlier],
        seconds=round(time.monotonic() - began, 1),
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _kept(one: SizeTried) -> Tried:
    ratio = one.ratio
    return Tried(
        **one.dimensions._asdict(), ratio=ratio.estimate, low=ratio.low, high=ratio.high, pairs=list(ratio.pairs)
    )


def _work(cell: Cell, where: CellPlace) -> StepWork:
    """What a process is told to train."""
    classes = registry.class_count(cell.data, TASKS[cell.task].target)
    name, build = build_of(cell, classes)
    return StepWork(name, build, cell.task, cell.train.model_dump(mode="json"), where.slot.cores, where.memory)


class _Alone:
    """Nothing else of ours runs on a slot's device; `say` is told once who has it instead."""

    def __init__(self, slot: Slot, say: Say) -> None:
        self.slot, self.say, self.told = slot, say, False

    @contextmanager
    def turn(self) -> Iterator[None]:
        """For one pair of processes: other runs have the device between two."""
        turn, began = Turn(self.slot, timed=True), time.monotonic()
        try:
            while not turn.take():
                stop_signals.insist()
                if not self.told and time.monotonic() - began > locks.PATIENCE:
                    self.told = True
                    self.say(f"waiting: {turn.holder()} has {self.slot.name}, and what is measured has it to itself")
                time.sleep(LOOK_AGAIN)
            yield
        finally:
            turn.leave()
            turn.give_back()


def _refuse_done_otherwise(study: Suite, folder: Path) -> None:
    """Refuse to measure anew what finished cells already rest on: their sizes were lost with the file.

    Raises:
        ResultsError: they do.
    """
    results = Results(folder)
    lost: Sequence[str] = [
        one
        for one in (results.plan() if folder.is_dir() else [])
        if study.sizes is None
        and (record := read_record(results.cell(one))) is not None
        and record.get("matched_ratio") is not None
    ]
    if lost:
        raise ResultsError(
            f"{folder} has cells of measured sizes, and {FILE} is gone: put it back, or pass --results with another "
            "folder; measured again, the sizes would be others"
        )
