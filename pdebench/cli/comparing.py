"""The verb that holds two stored results against each other: `compare`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from pdebench.cli.options import JsonOption


def compare(
    a: Annotated[
        Path, typer.Argument(metavar="A", help="A results folder, its table.csv or .parquet, or a cell's folder.")
    ],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another, that is held against it.")],
    metric: Annotated[
        list[str],
        typer.Option(
            metavar="COLUMN",
            help="Compare this, as the table calls it. Repeatable. Default: losses, scores, timings, memory, counts.",
        ),
    ] = [],  # noqa: B006
    as_json: JsonOption = False,
) -> None:
    """Hold two stored results against each other, metric by metric: A is better, B is better, or not distinguishable.

    Cells are paired by what they are: the same cell, or the same settings but for what differs between the sides, such
    as the family or one key of the suite. What differs is printed. Seeds give paired differences with 95% intervals;
    counts are compared exactly. Timings and memory of different machines are refused unless --metric names them.

    `pdebench report A B` is another thing: it puts both into one table, compares the families in it, and counts a cell
    that both have once.

    Example:

    ```sh
    pdebench compare runs/before runs/after
    pdebench compare A B --metric val_loss --json
    ```
    """
    from rich.console import Console

    from pdebench.compare.stored import compare_stored
    from pdebench.compare.text import print_comparison

    found = compare_stored(a, b, metric)
    if as_json:
        typer.echo(json.dumps(found.as_json(), indent=1, allow_nan=False))
    else:
        print_comparison(Console(highlight=False), found)
