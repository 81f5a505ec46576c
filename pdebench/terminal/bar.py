"""A progress bar on standard error, where that is a terminal."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


@contextmanager
def bar(
    doing: str, what: str, *, after: float = 0.0, console: Console | None = None
) -> Iterator[Callable[[int, int], None]]:
    """`packing ━━━━ 3/10 shards 0:00:12`; gives what is told how many of how many are done.

    Args:
        doing: what is done.
        what: of what there are so many.
        after: what takes less than so many seconds leaves no trace; with such a number the bar goes when all is done.
        console: what else is printed to meanwhile; None: standard error.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = console or Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(what),
        TimeRemainingColumn(),
    )
    progress = Progress(*columns, console=console, disable=not console.is_terminal, transient=after > 0)
    task = progress.add_task(doing, total=None)
    late = threading.Timer(after, progress.start)
    late.daemon = True
    late.start() if after else progress.start()
    try:
        yield lambda done, total: progress.update(task, completed=done, total=total)
    finally:
        late.cancel()
        if after and late.is_alive():
            late.join()  # it may be starting just now
        progress.stop()
