"""One run started by torchrun, on one machine or on several.

torchrun starts a program as often as there are devices. The first of these processes runs the suite. Cells start their
own processes, as ever, so the others have nothing to do, but for one on each other machine: it starts what the first
asks it to, through the store that torchrun's agent keeps. Only what talks to that store imports torch.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from pdebench.errors import SlotError
from pdebench.system.slots import shared_out, slots

if TYPE_CHECKING:
    from torch.distributed import Store  # type: ignore[attr-defined]

LOOK = 0.2  # seconds between looks at the store


def machines() -> int | None:
    """How many this run has; None where torchrun did not start it."""
    return int(os.environ["GROUP_WORLD_SIZE"]) if "TORCHELASTIC_RUN_ID" in os.environ else None


def address() -> str:
    """Where the other machines reach the first."""
    return os.environ["MASTER_ADDR"]


def command() -> Sequence[str]:
    """A process that stands for those on the other machines."""
    return [sys.executable, "-m", "pdebench.run.nodes.torchrun"]


@contextmanager
def together() -> Iterator[None]:
    """Around a run: its first process does it, the others do not come here before it is over, and end then.

    Raises:
        SystemExit: in the others, with status 0.
        SlotError: torchrun does not say where its store is.
    """
    if machines() is None:
        yield
        return
    store = _store()
    if os.environ["RANK"] != "0":
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # the first process gets it too, and ends all
            signal.signal(number, signal.SIG_IGN)
        _serve(store)
        raise SystemExit(0)
    try:
        yield
    finally:
        store.set("over", "")


def _store() -> Store:
    """What all processes of this run see alike."""
    from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]

    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        raise SlotError("this torchrun keeps no store for its processes: start it with --rdzv-backend c10d")
    store = TCPStore(address(), int(os.environ["MASTER_PORT"]), is_master=False)
    return PrefixStore(f"pdebench/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)


def _serve(store: Store) -> None:
    """Run this machine's part of each cell that the first process names, until it is over."""
    node, leads, cell = int(os.environ["GROUP_RANK"]), os.environ["LOCAL_RANK"] == "0", 0
    while not store.check(["over"]):
        if leads and node > 0 and store.check([f"cell {cell}"]):
            folder, limits, place = json.loads(store.get(f"cell {cell}"))
            if node < json.loads(place)["nodes"]:
                store.set(f"status {cell} {node}", str(_part(store, cell, folder, limits, place)))
            cell += 1
        time.sleep(LOOK)


def _part(store: Store, cell: int, folder: str, limits: str, place: str) -> int:
    """The exit status of the leading process of this machine, which ends when the cell does; negative for a signal."""
    where = json.loads(place)
    (slot,) = slots(1, where["devices"])
    argument = json.dumps(where | {"node": int(os.environ["GROUP_RANK"])})
    process = subprocess.Popen(
        [sys.executable, "-m", "pdebench.run.worker", folder, limits, argument], stdin=subprocess.PIPE,
        env={**os.environ, **shared_out(slot.environment, where["devices"])}, start_new_session=True,
    )  # fmt: skip
    assert process.stdin is not None
    while process.poll() is None:
        if store.check([f"end {cell}"]):
            process.stdin.close()
            return process.wait()
        time.sleep(LOOK)
    return process.returncode


def call(folder: str, limits: str, place: str) -> NoReturn:
    """Have the other machines run their part of a cell, until standard input ends; exit as one that fails does."""
    store = _store()
    cell = store.add("cells", 1) - 1
    store.set(f"cell {cell}", json.dumps([folder, limits, place]))
    waited_for = set(range(1, json.loads(place)["nodes"]))
    code = 0
    while waited_for and code == 0:
        if select.select([0], [], [], LOOK)[0] and not os.read(0, 1024):
            break
        for node in [one for one in waited_for if store.check([f"status {cell} {one}"])]:
            code = int(store.get(f"status {cell} {node}"))
            waited_for.discard(node)
    store.set(f"end {cell}", "")
    os._exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    call(*sys.argv[1:])
