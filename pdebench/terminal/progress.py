"""What a person sees of a run: a live table in a terminal, plain lines anywhere else."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pdebench.data.nouns import called
from pdebench.errors import printable
from pdebench.suite.config import Cell
from pdebench.suite.labels import labels
from pdebench.system.slots import Slot
from pdebench.terminal.prose import say

MARKS = {"done": ("done", "green"), "skipped": ("done before", "dim"), "waiting": ("waiting", "dim")}
STAGES = {
    "start": "starting",
    "data": "loading data",
    "model": "starting",
    "train": "training",
    "sample": "sampling",
    "evaluate": "metrics",
    "measure": "parts",
}


# what columns of the live table beside the cell's name need, by their heads: the name gives way, no number does
WIDTHS = {"state": 12, "progress": 12, "loss": 7, "images/s": 8, "left": 8}


def _within(name: str, room: int) -> str:
    """A name in so many columns, without its middle where it is longer: its beginning and end say most."""
    if len(name) <= room:
        return name
    end = (room - 1) // 2
    return f"{name[: room - 1 - end]}…{name[-end:]}"


def duration(seconds: float) -> str:
    """Seconds as 1:02 or 1:02:03."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


class _Running:
    """What is known of a cell that runs."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.event: dict[str, Any] = {"stage": "start"}
        self.loss: float | None = None
        self.rate: float | None = None
        self.left: float | None = None

    def take(self, event: dict[str, Any], batch_size: int) -> None:
        self.event = event
        if event["stage"] == "train":
            self.loss, self.rate = event["loss"], event["images_per_second"]
            self.left = (event["steps"] - event["step"]) * batch_size / self.rate
        else:
            self.rate = self.left = None


class LiveTable:
    """One row a cell, redrawn in place; a context manager around the run."""

    def __init__(self, console: Console, cells: Sequence[Cell], skipped: Sequence[Cell]) -> None:
        self.console, self.cells, self.names = console, cells, labels(cells)
        self.ends: dict[str, dict[str, Any]] = {cell.id: {"status": "skipped"} for cell in skipped}
        self.now: dict[str, _Running] = {}
        self.told: set[tuple[str, str]] = set()
        self.live = Live(console=console, get_renderable=self.table, refresh_per_second=4, transient=False)

    def __enter__(self) -> LiveTable:
        self.live.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.now.clear()
        self.live.__exit__(*error)

    def started(self, cell: Cell, slot: Slot) -> None:
        """See Watcher."""
        self.now[cell.id] = _Running()

    def progress(self, cell: Cell, event: dict[str, Any]) -> None:
        """See Watcher."""
        if event["stage"] == "warning":
            self._tell("warning", event["warning"])
            return
        self.now[cell.id].take(event, cell.train.batch_size)
        if event["stage"] == "model":
            self._tell(f"{cell.model.family}: token mixer", event["mixer_implementation"])

    def ended(self, cell: Cell, record: dict[str, Any]) -> None:
        """See Watcher."""
        self.ends[cell.id] = record
        self.now.pop(cell.id, None)  # another run may have done it

    def waiting(self, why: str) -> None:
        """See Watcher."""
        self._tell("waiting", why)

    def table(self) -> Table:
        """The table as it stands; a long suite shows what surrounds the running cells."""
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", expand=False)
        table.add_column("cell", no_wrap=True, overflow="ellipsis")
        table.add_column("", no_wrap=True)
        table.add_column("", no_wrap=True, width=12)
        rate = called(cell.data.frames for cell in self.cells).rate
        for column in (rate if one == "images/s" else one for one in list(WIDTHS)[2:]):
            table.add_column(column, justify="right", no_wrap=True)
        room = max(8, self.console.width - sum(WIDTHS.values()) - 2 * (len(WIDTHS) + 1))
        cut, last = max(map(len, self.names.values()), default=0) > room, -1
        for place in self._shown():
            if left_out := place - last - 1:
                table.add_row(Text(f"… {left_out} {'above' if last < 0 else 'between'}", style="dim"))
            cell, last = self.cells[place], place
            number = f"{place + 1:>{len(str(len(self.cells)))}} " if cut else ""  # tells apart what is cut alike
            name = number + _within(self.names[cell.id], room - len(number))
            table.add_row(Text(name), *self._columns(cell))
        if below := len(self.cells) - last - 1:
            table.add_row(Text(f"… {below} below", style="dim"))
        return table

    def _tell(self, what: str, text: str) -> None:
        """Above the table, each text once: what runs a family's token mixer, and what cells warn of."""
        if (what, text) not in self.told:
            self.told.add((what, text))
            say(self.console, f"{what}: {text}")

    def _shown(self) -> list[int]:
        """Which rows fit: all, or those nearest to a cell that runs; each of several may need a line for a gap."""
        running = [place for place, cell in enumerate(self.cells) if cell.id in self.now] or [len(self.ends)]
        room = max(3, self.console.height - 4 - len(running))
        nearest = sorted(range(len(self.cells)), key=lambda place: min(abs(place - at) for at in running))
        return sorted(nearest[:room])

    def _columns(self, cell: Cell) -> tuple[Any, ...]:
        if (state := self.now.get(cell.id)) is not None:
            step, steps = state.event.get("step"), state.event.get("steps")
            bar = (
                ProgressBar(total=steps, completed=step or 0, width=12)
                if steps
                else duration(time.monotonic() - state.began)
            )
            return (
                Text(STAGES[state.event["stage"]], style="cyan"),
                bar,
                "" if state.loss is None else f"{state.loss:.4f}",
                "" if state.rate is None else f"{state.rate:.0f}",
                "" if state.left is None else duration(state.left),
            )
        end = self.ends.get(cell.id, {"status": "waiting"})
        word, style = MARKS.get(end["status"], (end["status"], "red"))
        took, loss, rate = end.get("seconds_total"), end.get("val_loss"), end.get("train_images_per_s")
        return (
            Text(word, style=style),
            f"in {duration(took)}" if took else "",
            "" if loss is None else f"{loss:.4f}",
            "" if rate is None else f"{rate:.0f}",
            "",
        )


class PlainLines:
    """A line when a cell starts, now and then while it runs, and when it ends."""

    EVERY = 15.0  # seconds between lines of progress

    def __init__(self, console: Console, cells: Sequence[Cell], skipped: Sequence[Cell]) -> None:
        self.console, self.names = console, labels(cells)
        self.numbers = {cell.id: i for i, cell in enumerate(cells, 1)}
        self.spoke = 0.0
        self.warned: set[str] = set()

    def __enter__(self) -> PlainLines:
        return self

    def __exit__(self, *error: Any) -> None:
        pass

    def _say(self, cell: Cell, text: str) -> None:
        self.spoke = time.monotonic()
        self.console.print(
            f"[{self.numbers[cell.id]}/{len(self.numbers)}] {self.names[cell.id]}: {printable(text)}",
            soft_wrap=True, highlight=False, markup=False,
        )  # fmt: skip

    def started(self, cell: Cell, slot: Slot) -> None:
        """See Watcher."""
        self._say(cell, f"started on {slot.name}")

    def progress(self, cell: Cell, event: dict[str, Any]) -> None:
        """See Watcher."""
        if event["stage"] == "warning" and event["warning"] not in self.warned:  # of a sweep's data each cell would
            self.warned.add(event["warning"])
            self._say(cell, f"warning: {event['warning']}")
        if event["stage"] == "model":
            self._say(cell, f"token mixer: {event['mixer_implementation']}")
        if event["stage"] == "train" and time.monotonic() - self.spoke > self.EVERY:
            state = _Running()
            state.take(event, cell.train.batch_size)
            self._say(
                cell,
                f"step {event['step']}/{event['steps']}, loss {event['loss']:.4f}, "
                f"{event['images_per_second']:.0f} {called([cell.data.frames]).rate}, {duration(state.left or 0)} left",
            )

    def ended(self, cell: Cell, record: dict[str, Any]) -> None:
        """See Watcher."""
        if record["status"] == "done":
            loss = record.get("val_loss")
            learned = "" if loss is None else f", validation loss {loss:.4f}"
            self._say(cell, f"done in {duration(record['seconds_total'])}{learned}")
        else:
            self._say(cell, f"{record['status']}: {record['message']}")

    def waiting(self, why: str) -> None:
        """See Watcher."""
        self.console.print(f"waiting: {printable(why)}", soft_wrap=True, highlight=False, markup=False)


class JsonLines:
    """Everything that a watcher is told, one JSON object a line on standard output, for another program."""

    def __init__(self, console: Console, cells: Sequence[Cell], skipped: Sequence[Cell]) -> None:
        self.names = labels(cells)
        self._say({"event": "planned", "cells": [cell.id for cell in cells], "done": [cell.id for cell in skipped]})

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(self, *error: Any) -> None:
        pass

    def _say(self, event: dict[str, Any]) -> None:
        print(json.dumps({"at": datetime.now(UTC).isoformat(timespec="milliseconds"), **event}), flush=True)

    def started(self, cell: Cell, slot: Slot) -> None:
        """See Watcher."""
        self._say({"event": "started", "cell": cell.id, "name": self.names[cell.id], "slot": slot.name})

    def progress(self, cell: Cell, event: dict[str, Any]) -> None:
        """See Watcher."""
        self._say({"event": "progress", "cell": cell.id, **event})

    def ended(self, cell: Cell, record: dict[str, Any]) -> None:
        """See Watcher."""
        told = {key: record.get(key) for key in ("status", "message", "val_loss", "seconds_total")}
        self._say({"event": "ended", "cell": cell.id, **told})

    def waiting(self, why: str) -> None:
        """See Watcher."""
        self._say({"event": "waiting", "why": why})
