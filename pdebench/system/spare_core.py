"""One core is left to whatever else runs on this machine, for as long as a gate measures.

A pass over several threads is over when the last of them is, and the others wait for it, spinning: with a thread on
each of two cores a block of 12 ms takes 576 ms while one other process is busy (`results/gate`). What has its cores to
itself is disturbed through caches and memory alone. So a gate sees what a pass costs on a thread less than a run has.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from pdebench.system.slots import available_cores


@contextmanager
def a_core_left() -> Iterator[None]:
    """Processes that this thread starts meanwhile keep off the first of its cores, if it has several."""
    cores = available_cores()
    if len(cores) == 1 or not hasattr(os, "sched_setaffinity"):
        yield
        return
    os.sched_setaffinity(0, cores[1:])  # the first is where most of a system's own work is done
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)
