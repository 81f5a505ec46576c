"""The other processes of a cell on several devices, as its first one holds them. Imports no torch.

The first process is the cell's for whoever runs it: it leaves the record, and its exit status is the cell's. It starts
the others as it was started itself: their standard input is its hand, so they end with it, however it ends, and the
cell's keeper sees to that too. One that does not end well takes the first with it, in the way that it ended itself.

torchrun's agent ends with status 1 whatever became of them.
"""

from __future__ import annotations

import faulthandler
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from pdebench.run.exit_codes import INTERRUPTED
from pdebench.system.stop_signals import ASKS


@dataclass(frozen=True)
class Rendezvous:
    """A process' place among those of its cell, and where they meet; see `pdebench.system.distributed.join`."""

    rank: int = 0
    size: int = 1
    port: int = 0
    listener: int | None = None


def start_others(size: int, arguments: Sequence[str], events: int) -> Rendezvous:
    """Start all processes of a cell but this first one.

    Args:
        size: how many they are with this one.
        arguments: of this one, which the others get, followed by their rank and the port.
        events: file descriptor of the standard output that this one was started with.
    """
    if size == 1:
        return Rendezvous()
    meeting = socket.create_server(("127.0.0.1", 0))
    port = meeting.getsockname()[1]
    ending = threading.Lock()
    for rank in range(1, size):
        command = [sys.executable, "-m", "pdebench.run.worker", *arguments, str(rank), str(port)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=events)
        threading.Thread(target=_follow, args=(process, rank, ending), daemon=True).start()
    return Rendezvous(0, size, port, meeting.detach())


def _follow(process: subprocess.Popen[bytes], rank: int, ending: threading.Lock) -> None:
    """End this process as `process` ended, unless that was well."""
    if (code := process.wait()) == 0:
        return
    ending.acquire()  # for good: the first that ended is the cause, the others may be ends of what it left
    if code > 0 or -code in ASKS:
        os._exit(code if code > 0 else INTERRUPTED)
    print(f"process {rank} of the cell was ended by signal {-code}, and with it the cell", flush=True)
    faulthandler.disable()  # what crashed has said where
    os.kill(os.getpid(), -code)
    time.sleep(1)
    os._exit(128 - code)  # the signal is one that does not end this process
