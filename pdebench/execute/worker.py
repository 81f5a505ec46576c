"""The process of one cell: `python -m pdebench.execute.worker CELL_FOLDER`.

Reads `config.yaml`, leaves a record whatever happens short of being killed, and tells the parent of its progress in
lines of JSON on standard output. Standard input is the parent's hand: when it lets go, however it ended, so does this.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pdebench.config import Cell
from pdebench.errors import Diverged
from pdebench.store import TEMPORARY, write_json

ABANDONED = 75  # exit status when the parent is gone


def main(folder: Path) -> None:
    """Run the cell in `folder` and write its record."""
    events = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever prints goes to the log
    threading.Thread(target=_follow_parent, daemon=True).start()
    for leftover in folder.glob(f".*{TEMPORARY}"):
        leftover.unlink()
    cell = Cell.from_yaml((folder / "config.yaml").read_text(), file=str(folder / "config.yaml"))

    def watch(event: dict[str, Any]) -> None:
        if "mixer_implementation" in event:
            print(f"{cell.model.family}: token mixer: {event['mixer_implementation']}", flush=True)
        events.write(json.dumps(event) + "\n")

    started, clock = datetime.now(UTC), time.monotonic()
    row, status, message = _run(cell, folder, watch)
    record = {
        "suite": cell.suite,
        "cell": cell.id,
        "status": status,
        "message": message,
        **cell.flat(),
        "started_at": started.isoformat(timespec="seconds"),
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds_total": round(time.monotonic() - clock, 3),
        **row,
    }
    write_json(folder / "record.json", record)


def _run(cell: Cell, folder: Path, watch: Any) -> tuple[dict[str, Any], str, str | None]:
    """The measured columns, the status and a message."""
    watch({"stage": "start"})
    row: dict[str, Any] = {}
    try:
        import torch

        from pdebench.cell import run_cell
        from pdebench.measure.machine import describe

        if threads := os.environ.get("OMP_NUM_THREADS"):
            torch.set_num_threads(int(threads))
        row = describe()
        return row | run_cell(cell, folder, watch), "done", None
    except Diverged as error:
        return row, "diverged", str(error)
    except MemoryError as error:
        return row, "oom", f"host memory ran out: {error}"
    except Exception as error:  # the boundary: whatever a cell does, the sweep gets a record of it
        traceback.print_exc()
        text = str(error).strip().splitlines()
        message = f"{type(error).__name__}: {text[0] if text else 'no message'}"
        # torch has a type for a GPU out of memory, and only words for a host
        if type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error):
            return row, "oom", message
        return row, "error", message


def _follow_parent() -> None:
    """End this process when standard input closes."""
    while os.read(0, 1024):
        pass
    os._exit(ABANDONED)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
