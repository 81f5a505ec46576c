"""The signals that ask a process to save what it has and end. Imports no torch.

TERM is somebody's request, HUP says that the terminal was closed, and SLURM sends USR2 when a time limit nears. The INT
of Ctrl-C comes as the KeyboardInterrupt that it is.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

ASKS = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2)

came: list[int] = []
"""Those that this process got since `interrupt_once`, the first one first."""


def hear(what: Callable[[int, FrameType | None], Any], *more: signal.Signals) -> None:
    """Do this at each of ASKS and of `more`; what was started with `nohup` goes on without its terminal."""
    for ask in (*ASKS, *more):
        if ask is not signal.SIGHUP or signal.getsignal(ask) is not signal.SIG_IGN:
            signal.signal(ask, what)


def interrupt_once() -> None:
    """The first one of ASKS is a KeyboardInterrupt, as Ctrl-C is; those after it do nothing.

    Two come where one is meant: the shell and the kernel each send HUP, `timeout` sends TERM to a process and to its
    group. A second interruption would cut the saving of states short, which is for Ctrl-C alone.
    """
    terminals = [number for number in (0, 1, 2) if os.isatty(number)]

    def interrupt(number: int, frame: FrameType | None) -> None:
        came.append(number)
        if number == signal.SIGHUP:
            _let_go_of(terminals)
        if len(came) == 1:
            raise KeyboardInterrupt

    came.clear()
    hear(interrupt)


def insist() -> None:
    """Interrupt where one of ASKS came and its KeyboardInterrupt was lost, as one that rises in a `__del__` is.

    Raises:
        KeyboardInterrupt: it came.
    """
    if came:
        raise KeyboardInterrupt


@contextmanager
def held() -> Iterator[None]:
    """What is done inside is done whole: a stop that comes meanwhile comes at the end, or where it fails.

    Signals reach the main thread alone, so elsewhere there is nothing to hold.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    late: list[tuple[int, FrameType | None]] = []
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, *ASKS)}
    heard = {number: handler for number, handler in handlers.items() if callable(handler)}
    for number in heard:
        signal.signal(number, lambda *about: late.append(about))
    try:
        yield
    finally:
        for number, handler in heard.items():
            signal.signal(number, handler)
        for came_late, frame in late:
            heard[signal.Signals(came_late)](came_late, frame)


def _let_go_of(terminals: list[int]) -> None:
    """What is still printed goes nowhere: to write to a terminal that was closed is an error."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in terminals:
        os.dup2(nowhere, number)
    os.close(nowhere)
