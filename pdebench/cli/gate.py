"""The gate of a nightly job: `regress`, and `baseline save`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pdebench.cli.options import JsonOption, MinutesOption, SuiteArgument
from pdebench.errors import PdebenchError


class Format(StrEnum):
    """How `pdebench regress` says what it found."""

    table = "table"
    github = "github"


def regress(
    suite: SuiteArgument,
    against: Annotated[
        str | None, typer.Option(metavar="REV", help="Compare HEAD with this revision, both run here and now.")
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Compare HEAD with what `pdebench baseline save` stored.")
    ] = None,
    max_minutes: MinutesOption = 10.0,
    effect: Annotated[
        float, typer.Option(min=0.5, max=100, help="Slowdown to find, in percent; a fifth of it is let be.")
    ] = 5.0,
    accept: Annotated[
        list[str], typer.Option(metavar="COLUMN", help="A deterministic quantity that may change. Repeatable.")
    ] = [],  # noqa: B006
    history: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Add a line to this file, and say where it steps.")
    ] = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write JUnit XML.")] = None,
    form: Annotated[
        Format, typer.Option("--format", help="`github`: annotations, and a summary of the job.")
    ] = Format.table,
    as_json: JsonOption = False,
) -> None:
    """Say whether HEAD is slower, larger, different or worse than another revision, and how sure that is.

    Deterministic quantities must be equal, measured ones not worse by `--effect`, losses over seeds neither. Stops as
    soon as all is clear. Leaves a core to the rest of the machine. Once the first cell has run it says how many pairs
    fit and what they can find; minutes in which no pair fits are wrong use. Exit status: 0 pass, 1 worse or changed,
    2 wrong use, 3 inconclusive or not comparable, 4 a cell failed.

    Example: `pdebench regress nightly --against main --max-minutes 15`
    """
    from pdebench.regress.verb import GateRequest, run_gate
    from pdebench.system import stop_signals

    if as_json and form is Format.github:
        raise PdebenchError("--json and --format github both write to standard output; give one of them")
    stop_signals.interrupt_once()
    asked = GateRequest(suite, against, baseline, 60 * max_minutes, effect / 100, tuple(accept), history, junit)
    raise typer.Exit(run_gate(asked, "json" if as_json else form.value))


def save_baseline(
    suite: SuiteArgument,
    file: Annotated[Path, typer.Option(metavar="FILE", help="File of baselines; other machines' in it stay.")] = Path(
        "baselines.json"
    ),
    max_minutes: MinutesOption = 10.0,
) -> None:
    """Measure HEAD on this machine, and store it for `pdebench regress SUITE --baseline FILE`.

    Example: `pdebench baseline save nightly --file baselines.json`
    """
    from pdebench.regress.verb import run_save
    from pdebench.system import stop_signals

    stop_signals.interrupt_once()
    typer.echo(run_save(suite, file, 60 * max_minutes))
