"""Arguments and options that several verbs have."""

from __future__ import annotations

from typing import Annotated

import typer

SuiteArgument = Annotated[str, typer.Argument(metavar="SUITE", help="A suite file, or the name of a shipped suite.")]
SetOption = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a key, e.g. `train.steps=50`. Repeatable.")
]
MinutesOption = Annotated[
    float,
    typer.Option(
        min=0.1,
        help="Stop measuring after so many minutes. In any case each cell runs once on either side, for a baseline in "
        "three rounds; and what is found worse runs again, in three blocks at least.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
