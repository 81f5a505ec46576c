"""Run cells on this machine: a slot for each device, a fresh process a cell. Imports no torch.

The parent sleeps until a cell's process says something, ends, or is beyond its time. Whatever ends a process, its cell
gets a record with a true status and the next cell starts.
"""

from __future__ import annotations

import selectors
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from pdebench.errors import ResultsError, lacks_memory, refused_by_system
from pdebench.files.disk import NotPlain, append_plain
from pdebench.results.lease import BEAT, Leases
from pdebench.results.record import FAILED, timing_failed
from pdebench.results.record_schema import trimmed
from pdebench.results.store import Results, write_atomic, write_json
from pdebench.run.exit_codes import INTERRUPTED, kernel_kills, log_tail, meaning
from pdebench.run.limits import CellLimits
from pdebench.run.local.child import Child
from pdebench.run.local.turns import Turn
from pdebench.suite.config import Cell
from pdebench.system import stop_signals
from pdebench.system.slots import Slot

# A record with one of these ends a cell until somebody asks for it again; any other is run again by the next run.
LOOK_AGAIN = 2.0  # seconds between looks at cells that another run holds
NAMED = 3  # of the cells that are waited for


class Watcher(Protocol):
    """Somebody who is told how a run goes."""

    def started(self, cell: Cell, slot: Slot) -> None:
        """A cell's process has been started."""

    def progress(self, cell: Cell, event: dict[str, Any]) -> None:
        """A cell reached a stage, or moved on in it."""

    def ended(self, cell: Cell, record: dict[str, Any]) -> None:
        """A cell has its record, from here or from another run."""

    def waiting(self, why: str) -> None:
        """Nothing runs here for now, and why."""


class _Unheard:
    """A watcher that may have nowhere to write: what closed a terminal or a pipe is what ended the run.

    Each of the saved states matters more than that somebody hears of it.
    """

    def __init__(self, watcher: Watcher) -> None:
        self.watcher = watcher

    def started(self, cell: Cell, slot: Slot) -> None:
        """See Watcher."""
        self._tell(self.watcher.started, cell, slot)

    def progress(self, cell: Cell, event: dict[str, Any]) -> None:
        """See Watcher."""
        self._tell(self.watcher.progress, cell, event)

    def ended(self, cell: Cell, record: dict[str, Any]) -> None:
        """See Watcher."""
        self._tell(self.watcher.ended, cell, record)

    def waiting(self, why: str) -> None:
        """See Watcher."""
        self._tell(self.watcher.waiting, why)

    def _tell(self, what: Callable[..., None], *about: Any) -> None:
        with suppress(OSError, SystemExit):  # rich exits where its pipe is gone
            what(*about)


def pending(cells: Iterable[Cell], results: Results, *, retry_failed: bool = False, timed: bool = False) -> list[Cell]:
    """The cells that have no record, or one that does not settle them; `timed`: with its timings."""
    records = ((cell, results.record(cell.id)) for cell in cells)
    return [
        cell
        for cell, record in records
        if record is None or not settles(record, retry_failed=retry_failed, timed=timed)
    ]


def settles(record: Mapping[str, Any], *, retry_failed: bool = False, timed: bool = False) -> bool:
    """Whether a record is all that is asked for of its cell.

    One of a cell that shared its cores has no timings. Where they are asked for the cell runs again, until that has
    worked or failed.
    """
    if record["status"] != "done":
        return record["status"] in FAILED and not retry_failed
    untimed = timed and record.get("timing") == "shared"
    return not untimed or (record.get("timing_failed") is not None and not retry_failed)


def run_cells(
    cells: Iterable[Cell],
    results: Results,
    watcher: Watcher,
    slots: Sequence[Slot],
    limits: CellLimits,
    *,
    retry_failed: bool = False,
) -> None:
    """Run cells, one a slot at a time; another run on the same folder is given its share.

    KeyboardInterrupt asks the running cells to save their states and end, waits for them, and passes on; a second one
    ends them at once. So does whatever else ends a run, as an output that is gone.
    """
    crew = _Crew(deque(cells), results, watcher, slots, limits, retry_failed)
    try:
        crew.work()
    except BaseException:
        crew.dismiss()
        raise
    finally:
        for turn in crew.turns.values():
            turn.leave()
            turn.give_back()


class _Crew:
    """The slots of this run and the cells that they work on."""

    def __init__(
        self,
        todo: deque[Cell],
        results: Results,
        watcher: Watcher,
        slots: Sequence[Slot],
        limits: CellLimits,
        retry_failed: bool,
    ) -> None:
        self.todo, self.results, self.watcher = todo, results, watcher
        self.retry_failed = retry_failed
        self.free = list(slots)
        self.turns = {slot.name: Turn(slot, timed=not limits.shared) for slot in slots}
        self.waits = False  # for a device that another run of this machine has
        self.running: list[Child] = []
        self.elsewhere: deque[Cell] = deque()  # held by another run; looked at again until they have records
        self.leases = Leases(results.folder, lambda why: self.watcher.waiting(why))
        self.limits = replace(limits, lease=self.leases.holder.token)
        self.told = ""  # whom we wait for
        self.selector = selectors.DefaultSelector()
        self.began = datetime.now(UTC).isoformat(timespec="milliseconds")

    def work(self) -> None:
        """Until every cell has a record that somebody gave it."""
        looked = 0.0
        while self.todo or self.running or self.elsewhere:
            stop_signals.insist()
            self._fill()
            if self.elsewhere and time.monotonic() - looked >= LOOK_AGAIN:
                looked = time.monotonic()
                self._look()
                continue
            if self.elsewhere and not self.running and not self.waits:
                self._say_for_whom()
            self._wait()

    def dismiss(self) -> None:
        """Ask every running cell to end, wait until each has, and give back what they held."""
        self.watcher = _Unheard(self.watcher)
        self.todo.clear()
        self.elsewhere.clear()
        for child in self.running:
            child.ask()
        try:
            while self.running:
                self._wait()
        finally:
            for child in self.running:
                child.kill()
            for child in list(self.running):
                self._finish(child)

    def _fill(self) -> None:
        """Start a cell in every free slot, leaving out those that others hold or have done."""
        while self.free and self.todo:
            turn = self.turns[self.free[0].name]
            if not turn.take():
                if not self.waits:
                    self.waits = True
                    self.watcher.waiting(
                        f"{turn.holder()} runs a cell on {self.free[0].name}, and timings are of cells alone"
                    )
                return
            self.waits = False
            cell = self.todo.popleft()
            folder = self.results.cell(cell.id)
            folder.mkdir(parents=True, exist_ok=True)
            _make_room(folder, self.limits.trackers)
            if not self.leases.claim(folder):
                turn.give_back()
                self.elsewhere.append(cell)
                continue
            record = self.results.record(cell.id)
            if record is not None and self._settled(record):  # another run did it since we looked
                self.leases.release(folder)
                turn.give_back()
                self.watcher.ended(cell, record)
                continue
            self._start(cell, folder, record)

    def _settled(self, record: dict[str, Any]) -> bool:
        """Whether a record ends its cell for this run; a failure from before it does not where failures are retried."""
        fresh = str(record.get("finished_at", "")) >= self.began
        return settles(record, retry_failed=self.retry_failed and not fresh, timed=self.limits.timed)

    def _start(self, cell: Cell, folder: Path, before: dict[str, Any] | None) -> None:
        write_atomic(folder / "config.yaml", cell.to_yaml())
        with stop_signals.held():  # between its record of before and its process a cell would be without either
            if before is None or before["status"] != "done":  # what is done stays until there is something better
                (folder / "record.json").unlink(missing_ok=True)
            slot = self.free.pop(0)
            child = Child(cell, folder, slot, self.limits)
            self.told = ""
            self.running.append(child)
            for source in child.sources():
                self.selector.register(source, selectors.EVENT_READ, child)
        self.watcher.started(cell, slot)

    def _wait(self) -> None:
        """Sleep until something happens, and see to it."""
        now = time.monotonic()
        deadlines = [at - now for child in self.running if (at := child.deadline()) is not None]
        nap = LOOK_AGAIN if self.elsewhere or self.waits else BEAT
        self.selector.select(max(0.0, min([nap, *deadlines])))
        for child in list(self.running):
            for event in child.events():
                self.watcher.progress(child.cell, event)
            if child.closed:
                self._finish(child)
        self.leases.beat()
        for child in self.running:
            child.enforce()

    def _look(self) -> None:
        """Take back cells whose holder is gone; let go of those that got a record."""
        for _ in range(len(self.elsewhere)):
            cell = self.elsewhere.popleft()
            record = self.results.record(cell.id)
            if record is not None and self._settled(record):
                self.watcher.ended(cell, record)
            elif self.free:
                self.todo.append(cell)
            else:
                self.elsewhere.append(cell)

    def _say_for_whom(self) -> None:
        """What others do while nothing runs here; told whenever it changes."""
        cells: dict[str, list[str]] = defaultdict(list)
        for cell in self.elsewhere:
            cells[self.leases.others.get(self.results.cell(cell.id), "another run")].append(cell.id)
        text = "; ".join(f"for {_listed(found)}, which {other} works on" for other, found in cells.items())
        if text != self.told:
            self.told = text
            self.watcher.waiting(text)

    def _finish(self, child: Child) -> None:
        """The process is over: its record, true and complete."""
        for source in child.sources():
            self.selector.unregister(source)
        code = child.wait()
        self.running.remove(child)
        self.free.append(child.slot)
        self.turns[child.slot.name].give_back()
        with self.leases.ending(child.folder) as ours:
            record = self._settle(child, code) if ours else None
        if record is None:  # we slept for so long that another run took the cell over
            self.elsewhere.append(child.cell)
            self.watcher.waiting(f"another run took cell {child.cell.id} over while this one was asleep")
        else:
            self.watcher.ended(child.cell, record)

    def _settle(self, child: Child, code: int) -> dict[str, Any]:
        """Complete the record of a cell of ours, and give what is to be told of it."""
        record = self._record_of(child, code)
        if record is None:  # it did not come to its end, and what it was to better is there
            return _without_record(child, code)
        seconds = time.monotonic() - child.began
        record |= {
            "exit_code": code,
            "slot": child.slot.name,
            "parent_cpu_share": round((time.process_time() - child.cpu_began) / max(seconds, 1e-3), 5),
        }
        if record["status"] != "done":
            record["log_tail"] = log_tail(child.folder / "log.txt", child.log_began)
        # where it cannot be written the cell counts as not run: nothing is lost, and nothing is false
        write_json(child.folder / "record.json", trimmed(record))
        return record

    def _record_of(self, child: Child, code: int) -> dict[str, Any] | None:
        """The record that a process left, or that its end makes; None: that of before, which is better, stays."""
        try:
            found = self.results.record(child.cell.id)
        except ResultsError as error:  # the others go on
            return _without_record(child, code) | {"status": "error", "message": str(error)}
        if found is not None and child.wrote_record():
            return found
        made = _without_record(child, code)  # it was not given the time to write one
        if found is None:
            return made
        return found | timing_failed(made) if made["status"] in FAILED else None


def _make_room(folder: Path, trackers: Iterable[str]) -> None:
    """Make a cell's folder, which may come from elsewhere, one that nothing is written out of.

    Raises:
        ResultsError: what stands there in the place of the log cannot be written to.
    """
    for name in ("log.txt", "state", *trackers):
        if (folder / name).is_symlink():
            (folder / name).unlink()
    try:
        append_plain(folder / "log.txt").close()
    except (OSError, NotPlain) as error:
        raise ResultsError(f"cannot write {folder / 'log.txt'}: {refused_by_system(error) or error}") from None


def _listed(cells: Sequence[str]) -> str:
    more = f" and {len(cells) - NAMED} more" if len(cells) > NAMED else ""
    return f"cell{'s' * (len(cells) > 1)} {', '.join(cells[:NAMED])}{more}"


def _without_record(child: Child, code: int) -> dict[str, Any]:
    """The record of a process that ended without leaving one."""
    if child.timed_out:
        status, message = "timeout", f"the cell was stopped at its limit of {child.limit:g} s"
    elif code == INTERRUPTED or child.asked:
        status, message = "interrupted", "the cell was asked to end; the next run goes on from its saved state"
    else:
        status, message = meaning(code, child.kills, kernel_kills())
        said = log_tail(child.folder / "log.txt", child.log_began) or ""
        threadless = child.memory is not None and "can't start new thread" in said  # whose stack has no room
        if status == "error" and (threadless or lacks_memory(said)):
            status, message = "oom", f"the cell's process ran out of memory and ended: {message}"
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    about = {"suite": child.cell.suite, "cell": child.cell.id, "planned_as": child.cell.planned_as}
    about |= {"status": status, "message": message}
    took = round(time.monotonic() - child.began, 3)
    return {**about, **child.cell.flat(), "finished_at": now, "seconds_total": took}
