"""The first process of a cell: it starts the one that works, and ends with it and with all that was started below it.

It runs no code but ours and does next to nothing, so neither a cell that takes all memory nor one that holds the
interpreter keeps it from its duties: it passes on the signals that it gets, counts the memory of all processes below
it, ends them when standard input closes, and itself ends as the working process did. Imports no torch.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import time
from contextlib import suppress

from pdebench.run.exit_codes import OVER_MEMORY
from pdebench.system import control_group
from pdebench.system.descendants import MARK, adopt_orphans, end_descendants, memory_beyond, reap

LOOK = 0.5  # seconds between looks at the memory
COST = 0.01  # of one core: the largest share that looking may take, where the machine has very many processes
PASSED_ON = (
    *(signal.SIGTERM, signal.SIGUSR2, signal.SIGUSR1, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT),
    *(signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT),  # somebody sent them
)


def stay_behind(memory: int | None) -> None:
    """Go on in a fork of this process; what called does not return here until all is over, and then never.

    Args:
        memory: bytes that the processes of the cell may hold together; None: any.
    """
    mark = os.environ.setdefault(MARK, f"{control_group.PREFIX}{os.getpid()}")
    control_group.enter(mark)
    adopt_orphans()
    worker = os.fork()
    if worker == 0:
        os.setpgid(0, 0)  # a group that can be ended without its keeper
        adopt_orphans()  # should its keeper be killed, all is still below one process
        return
    code, held = _watch(worker, memory)

    def at_once() -> None:
        control_group.end(mark)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(worker, signal.SIGKILL)

    end_descendants(at_once)
    control_group.end(mark)
    if held is not None:
        os.write(2, f"{held}; limits.memory_gb is {(memory or 0) / 1e9:g}\n".encode())
        os._exit(OVER_MEMORY)
    _end_as(code)


def _watch(worker: int, memory: int | None) -> tuple[int, str | None]:
    """The exit status of the working process, when it is over, and what all held together if that was too much."""
    woken = _wake_on_signals()
    nap = None if memory is None else LOOK
    looked = time.monotonic()
    while (code := reap().get(worker)) is None:
        ready, _, _ = select.select([0, woken], [], [], nap)
        if woken in ready:
            for number in os.read(woken, 1024):
                if number != signal.SIGCHLD:
                    _send(worker, number)
        if 0 in ready and not os.read(0, 1024):  # whoever started us is gone, or lets go
            return _kill(worker), None
        if memory is not None and nap is not None and time.monotonic() - looked >= nap:
            began = time.process_time()
            if (held := memory_beyond(memory)) is not None:
                return _kill(worker), held
            looked, nap = time.monotonic(), max(LOOK, (time.process_time() - began) / COST)
    return code, None


def _kill(worker: int) -> int:
    _send(worker, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])


def _wake_on_signals() -> int:
    """A file descriptor that brings the numbers of all signals that this process gets."""
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    for number in (*PASSED_ON, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    return woken


def _send(worker: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(worker, number)


def _end_as(code: int) -> None:
    """End with an exit status, or by the signal that it says."""
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # whatever crashed has left its own
        with suppress(OSError, ValueError):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code if code >= 0 else 128 - code)
