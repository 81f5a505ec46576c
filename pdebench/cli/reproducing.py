"""The verb that trains a cell again: `reproduce`."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pdebench.cli.options import JsonOption
from pdebench.errors import printable


def reproduce(
    results: Annotated[Path, typer.Argument(metavar="RESULTS", help="A results folder; its table is enough.")],
    cell: Annotated[str, typer.Argument(metavar="CELL", help="Of its column `cell`, or how that begins.")],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="A new one, to keep what it leaves. Default: nothing is kept."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Train one cell of a results folder again, and hold its losses against those of then, digit by digit.

    Exit status: 0 the same, 1 others, 3 others where the machine or its software is another, too.

    Example: `pdebench reproduce results/reference e6f0d4190d16`
    """
    from rich.console import Console

    from pdebench.run.reproducing import reproduce as train_again
    from pdebench.system import stop_signals
    from pdebench.terminal.progress import LiveTable, PlainLines

    stop_signals.interrupt_once()
    console = Console(stderr=True)
    watcher = LiveTable if console.is_terminal else PlainLines
    with tempfile.TemporaryDirectory(prefix="pdebench-") as made:
        try:
            found = train_again(
                results,
                cell,
                out or Path(made) / "again",
                lambda cells, skipped: watcher(console, cells, skipped),
                lambda text: typer.echo(printable(text), err=True),
            )
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
    if as_json:
        typer.echo(json.dumps(asdict(found) | {"same": found.same}, indent=1, default=str))
    else:
        typer.echo(printable(f"cell {found.cell}, {found.name}"))
        for name, (then, now) in found.losses.items():
            told = "the same" if then == now else "another"
            typer.echo(f"  {name}: {then!r} then, {now!r} now: {told}")
        for name, (before, here) in {**found.machine, **found.code}.items():
            typer.echo(printable(f"  {name}: {before} then, {here} now"))
    raise typer.Exit(0 if found.same else 3 if found.machine else 1)
