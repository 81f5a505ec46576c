"""The process of one cell: `python -m pdebench.run.worker CELL_FOLDER LIMITS [PLACE]`.

Reads `config.yaml`, leaves a record whatever happens short of being ended from outside, and tells the parent of its
progress in lines of JSON on standard output. Standard input is the parent's hand: when it lets go, however it ended, so
does this. TERM, HUP and USR2 ask it to save its state and end without a record: the next run goes on from there. Where
its parent was asleep and another run took the cell over, it ends and writes nothing more.

What the parent starts is the cell's keeper, and what works a fork of it: see `keeper.py`. A cell on several devices has
a process for each. The first starts the others, which have a place and where to meet, and say nothing unless they fail:
see `rendezvous.py`. On each of several nodes the leading process has a keeper.
"""

from __future__ import annotations

import faulthandler
import json
import math
import os
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from pdebench.errors import Diverged, Interrupted, out_of_memory
from pdebench.files.disk import leftovers
from pdebench.files.seal import digests
from pdebench.models.package_code import source_of
from pdebench.models.registry import FAMILIES
from pdebench.results import lease
from pdebench.results.cell_warnings import heard, joined
from pdebench.results.record import timing_failed, without_timings
from pdebench.results.record_schema import trimmed
from pdebench.results.store import read_config, read_record, write_json
from pdebench.run.exit_codes import ABANDONED, FAILED, INTERRUPTED, TAKEN
from pdebench.run.keeper import stay_behind
from pdebench.run.limits import CellLimits
from pdebench.run.rendezvous import Rendezvous, start_others
from pdebench.suite.config import Cell
from pdebench.system.descendants import end_descendants
from pdebench.system.machine import describe
from pdebench.system.stop_signals import ASKS, hear

PATIENCE = 2.0  # seconds in which a process that fails because another did is ended with that one
PATIENCE_BETWEEN_NODES = 20.0  # the same where SLURM or torchrun has to notice first


def main(cell_folder: str, limits_json: str, place: str = "{}") -> None:
    """Run the cell in a folder and write its record.

    Args:
        cell_folder: the cell's, with its `config.yaml`.
        limits_json: of `CellLimits`.
        place: of `Rendezvous`, as JSON; the cell's first process has none.
    """
    folder, limits, rendezvous = Path(cell_folder), CellLimits.from_json(limits_json), Rendezvous(**json.loads(place))
    if rendezvous.local == 0:
        stay_behind(limits.memory)
    _take_place(limits)
    events = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever prints goes to the log
    faulthandler.enable()
    threading.Thread(target=_follow_parent, daemon=True).start()
    first = rendezvous.rank == 0
    check = partial(_check, folder, limits)
    check()
    if first:
        threading.Thread(target=_follow_lease, args=(check,), daemon=True).start()
        for leftover in [*leftovers(folder), *leftovers(folder / "state")]:
            leftover.unlink()
    try:
        cell = read_config(folder)
    except FileNotFoundError:
        sys.exit(f"{folder / 'config.yaml'} was removed while the cell began: run the same command again")
    if first:
        rendezvous = Rendezvous(nodes=cell.train.nodes, devices=cell.train.devices)
    if rendezvous.local == 0:
        rendezvous = start_others(rendezvous, (cell_folder, limits_json), events.fileno())

    def watch(event: dict[str, Any]) -> None:
        if not first:
            return
        if "mixer_implementation" in event:
            print(f"{cell.model.family}: token mixer: {event['mixer_implementation']}", flush=True)
        events.write(json.dumps(event) + "\n")
        if event["stage"] != "train":  # what a stage makes it writes before the next
            check()

    before = read_record(folder)
    started, clock = datetime.now(UTC), time.monotonic()
    try:
        with heard(lambda text: watch({"stage": "warning", "warning": text})) as warned:
            row, status, message = _run(cell, folder, limits, watch, rendezvous, check)
        for ask in (*ASKS, signal.SIGINT):  # too late to ask: all is done but the record
            signal.signal(ask, signal.SIG_IGN)
    except Interrupted as error:
        if first:
            print(error, flush=True)
        os._exit(INTERRUPTED)
    if not first and status in ("done", "diverged"):  # the first finds the same, and says so
        os._exit(0)  # at once: what its libraries take down at an end may fail, and nobody would miss it
    record = trimmed(
        {
            "suite": cell.suite,
            "cell": cell.id,
            "planned_as": cell.planned_as,
            "status": status,
            "message": message,
            **cell.flat(),
            "started_at": started.isoformat(timespec="milliseconds"),
            "finished_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "seconds_total": round(time.monotonic() - clock, 3),
            **row,
            **joined(warned),
            "files": digests(folder),
        }
    )
    if status != "done" and before is not None and before["status"] == "done":
        failed = timing_failed(record) | {"files": record["files"]}
        _leave(folder, limits, trimmed(before | failed))  # it ran again for its timings alone
    else:
        _leave(folder, limits, record)
    if not first:
        os._exit(FAILED)
    if status in ("done", "diverged"):  # neither has anything to go on with
        from pdebench.train.state import Snapshots

        Snapshots(folder / "state").clear()
    # after the record: a tracker that hangs until the cell's time is over has cost it nothing
    if status == "done" and (message := _track(limits, folder, record)):
        _leave(folder, limits, record | {"message": message})
    if rendezvous.size > 1:  # a group of processes that failed halfway may not come apart
        sys.stdout.flush()
        os._exit(0)


def _check(folder: Path, limits: CellLimits) -> None:
    """End this process where another run has taken the cell over."""
    if limits.lease is not None and not lease.holds(folder, limits.lease):
        _end_taken()


def _leave(folder: Path, limits: CellLimits, record: dict[str, Any]) -> None:
    """Write the record, unless the cell is another's by now: whose record may be there, and stays."""
    if limits.lease is None:
        write_json(folder / "record.json", record)
        return
    with lease.kept(folder, limits.lease) as ours:
        if not ours:
            _end_taken()
        write_json(folder / "record.json", record)


def _end_taken() -> NoReturn:
    print("another run took this cell over while this one was asleep: it ends, and leaves no record", flush=True)
    os._exit(TAKEN)


def _take_place(limits: CellLimits) -> None:
    """Keep to the slot's cores and to the memory limit; before torch starts a thread."""
    if limits.cores is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, limits.cores)
    if limits.memory is not None and not _exceeded(limits):
        # of what is allocated: of address space a GPU's driver maps any amount
        resource.setrlimit(resource.RLIMIT_DATA, (limits.memory, limits.memory))


def _exceeded(limits: CellLimits) -> bool:
    """Whether a fork of a warm process has more from the start than its limit: under it no thread could begin."""
    if not limits.warm or limits.memory is None:
        return False
    import psutil

    return bool(getattr(psutil.Process().memory_info(), "data", 0) >= limits.memory)


def _run(
    cell: Cell, folder: Path, limits: CellLimits, watch: Any, rendezvous: Rendezvous, check: Callable[[], None]
) -> tuple[dict[str, Any], str, str | None]:
    """The measured columns, the status and a message."""
    watch({"stage": "start"})
    row: dict[str, Any] = {}
    try:
        if _exceeded(limits):
            raise MemoryError("the warm process that cells are forks of has more already; raise the limit")
        import torch

        from pdebench.run.cell import run_cell
        from pdebench.system.distributed import connection_lost, join
        from pdebench.train.state import Snapshots

        if threads := int(os.environ.get("OMP_NUM_THREADS", 0)):
            # a user's number stays, but more threads than cores of the slot would wait for each other, spinning
            torch.set_num_threads(min(threads, len(limits.cores or range(threads))))
        source = source_of(FAMILIES[cell.model.family])
        snapshots = Snapshots(
            folder / "state", seconds=limits.checkpoint_seconds, cell=cell.id, source=source, check=check
        )
        hear(lambda *_: snapshots.end(), signal.SIGINT)

        def told(event: dict[str, Any]) -> None:
            snapshots.insist()
            watch(event)

        row = describe()
        timing = "shared" if limits.shared else "alone"
        snapshots.conditions = {"timing": timing, **{key: row[key] for key in ("machine_fingerprint", "platform")}}
        row |= {
            "timing": timing,
            "isolation": "warm" if limits.warm else "fresh",
            "devices": rendezvous.size,
        }
        world = join(
            rendezvous.rank, rendezvous.size, rendezvous.port, rendezvous.listener,
            address=rendezvous.address, local=rendezvous.local,
        )  # fmt: skip
        row |= run_cell(cell, folder, told, snapshots, world)
        row, lost = _finite(row)
        row = without_timings(row) if limits.shared else row
        return (row, "diverged", f"{lost} is not finite") if lost else (row, "done", None)
    except Diverged as error:
        return row, "diverged", str(error)
    except Exception as error:  # the boundary: whatever a cell does, the sweep gets a record of it
        if rendezvous.size > 1:  # where all fail alike the first is to say so
            patience = PATIENCE if rendezvous.nodes == 1 else PATIENCE_BETWEEN_NODES
            time.sleep(patience if rendezvous.rank == 0 else 2 * patience)
        if rendezvous.nodes > 1 and connection_lost(error):  # nobody has failed by now: a machine did, or its network
            traceback.print_exc()
            raise Interrupted(
                "another machine of the cell is lost: the next run goes on from the saved state"
            ) from None
        traceback.print_exc()
        text = str(error).strip().splitlines()
        message = f"{type(error).__name__}: {text[0] if text else 'no message'}"
        return row, "oom" if out_of_memory(error) else "error", message


def _finite(row: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """A row whose numbers are all finite, and the names of those that were not: weights may burst at the last step."""
    lost = [name for name, value in row.items() if isinstance(value, float) and not math.isfinite(value)]
    return row | dict.fromkeys(lost), ", ".join(lost)


def _track(limits: CellLimits, folder: Path, record: dict[str, Any]) -> str | None:
    """Write a done cell for the trackers; what fails there is said, and is no failure of the cell."""
    from pdebench.results import tracking

    failed = []
    for tracker in limits.trackers:
        try:
            tracking.write(tracker, folder, record)
        except Exception as error:  # another package's, which may fail in any way
            traceback.print_exc()
            failed.append(f"{tracker} was not written ({type(error).__name__}); log.txt says more")
    return "; ".join(failed) or None


def _follow_parent() -> None:
    """End this process, and what it started, when standard input closes: its keeper may have been killed."""
    while os.read(0, 1024):
        pass
    end_descendants()
    os._exit(ABANDONED)


def _follow_lease(check: Callable[[], None]) -> None:
    """End this process when another run has taken its cell over."""
    while True:
        time.sleep(lease.BEAT)
        check()


if __name__ == "__main__":
    main(*sys.argv[1:])
    # All is on disk, and taking down an interpreter with torch in it, module by module, takes a second or more.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
