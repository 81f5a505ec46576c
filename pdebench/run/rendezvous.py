"""The other processes of a cell on several devices, as those hold them that start them. Imports no torch.

The first process is the cell's for whoever runs it: it leaves the record, and its exit status is the cell's. It starts
the others of its machine as it was started itself, and has a process started on each other machine, which starts the
rest there. The standard input of each is the hand of who started it, so they end with it, however it ends, and the
cell's keeper sees to that too. One that does not end well takes with it who started it, in the way that it ended
itself.

torchrun's agent ends with status 1 whatever became of them.
"""

from __future__ import annotations

import faulthandler
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pdebench.run.exit_codes import INTERRUPTED
from pdebench.run.nodes import launch
from pdebench.system.descendants import MARK
from pdebench.system.stop_signals import ASKS

HERE = "127.0.0.1"


@dataclass(frozen=True)
class Rendezvous:
    """A process' place among those of its cell, and where they meet; see `pdebench.system.distributed.join`.

    Attributes:
        node: which of the machines it is on.
        local: which of that machine's it is; the first, 0, leads the others there.
        nodes: machines.
        devices: processes of each.
        address: where the first process listens.
        port: likewise.
        listener: in the first process, the file descriptor of a socket that listens there.
    """

    node: int = 0
    local: int = 0
    nodes: int = 1
    devices: int = 1
    address: str = HERE
    port: int = 0
    listener: int | None = None

    @property
    def rank(self) -> int:
        """Which of all processes it is."""
        return self.node * self.devices + self.local

    @property
    def size(self) -> int:
        """How many they are."""
        return self.nodes * self.devices

    def argument(self, **other: int) -> str:
        """What another process is given that meets this one, as JSON."""
        place = {"node": self.node, "local": self.local, "nodes": self.nodes, "devices": self.devices}
        return json.dumps(place | {"address": self.address, "port": self.port} | other)


def start_others(place: Rendezvous, arguments: Sequence[str], events: int) -> Rendezvous:
    """Start the processes that this one leads: those of its machine, and of the first one's also other machines'.

    Args:
        place: of this process.
        arguments: of this one but its place, which the others get, followed by theirs.
        events: file descriptor of the standard output that this one was started with.
    """
    if place.rank == 0 and place.size > 1:
        address = launch.address() if place.nodes > 1 else HERE
        meeting = socket.create_server((HERE if place.nodes == 1 else "", 0))
        place = replace(place, address=address, port=meeting.getsockname()[1], listener=meeting.detach())
    ending = threading.Lock()

    def start(command: Sequence[str], name: str, output: int, **environment: dict[str, str]) -> None:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, **environment)  # type: ignore[call-overload]
        threading.Thread(target=_follow, args=(process, name, ending), daemon=True).start()

    for local in range(1, place.devices):
        command = [sys.executable, "-m", "pdebench.run.worker", *arguments, place.argument(local=local)]
        start(command, f"process {place.rank + local} of the cell", events)
    if place.rank == 0 and place.nodes > 1:
        # the mark tells the processes of this machine, whose keeper ends them
        unmarked = {name: value for name, value in os.environ.items() if name != MARK}
        command = [*launch.command(place.nodes), *arguments, place.argument()]
        start(command, "a process of the cell on another machine", 2, env=unmarked)
    return place


def _follow(process: subprocess.Popen[bytes], name: str, ending: threading.Lock) -> None:
    """End this process as `process` ended, unless that was well."""
    if (code := process.wait()) == 0:
        return
    code = 128 - code if code > 128 else code  # what srun says of a signal
    ending.acquire()  # for good: the first that ended is the cause, the others may be ends of what it left
    if code > 0 or -code in ASKS:
        os._exit(code if code > 0 else INTERRUPTED)
    print(f"{name} was ended by signal {-code}, and with it the cell", flush=True)
    faulthandler.disable()  # what crashed has said where
    os.kill(os.getpid(), -code)
    time.sleep(1)
    os._exit(128 - code)  # the signal is one that does not end this process
