"""What the warm server of `process.Forked` imports first; it is imported nowhere else.

A run that is killed between asking the server for a process and saying what that shall do leaves a fork with nothing to
read. The fork ends; multiprocessing prints its EOFError into the terminal of whoever started the run, and nobody has
anything to do about it.
"""

from __future__ import annotations

import sys
from types import TracebackType


def _say_unless_deserted(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if kind is not EOFError:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _say_unless_deserted  # of the server and of forks that are not yet cells: those get Python's own back
