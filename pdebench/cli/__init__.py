"""The command `pdebench`. Verbs only call the room that does the work; heavy imports stand where they are used."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from pdebench.cli.comparing import compare
from pdebench.cli.data import data
from pdebench.cli.evaluating import evaluate
from pdebench.cli.flags import plain_flags
from pdebench.cli.gate import regress, save_baseline
from pdebench.cli.importing import import_
from pdebench.cli.notes import notes
from pdebench.cli.planning import anchors, doctor, list_, plan, schema, validate
from pdebench.cli.probing import probe
from pdebench.cli.reproducing import reproduce
from pdebench.cli.results import fit, inspect, report, sample
from pdebench.cli.running import cancel, run, status, worker
from pdebench.errors import PdebenchError, SuiteError, printable
from pdebench.system.posix import refuse_without_posix

app = typer.Typer(
    name="pdebench",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="markdown",
    help="Train, measure and compare token mixers for diffusion transformers: PDE-SSM-DiT, attention and 15 others.\n\n"
    "Start with `pdebench run quickstart`, then open `runs/quickstart/report.html`.",
)
baselines = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", help="Store what a revision costs here.")


def _version(asked: bool) -> None:
    if asked:
        from pdebench import __version__

        typer.echo(f"pdebench {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of the command itself."""
    refuse_without_posix()


VERBS: dict[str, Callable[..., None]] = {  # in the order of `--help`
    "run": run,
    "report": report,
    "compare": compare,
    "reproduce": reproduce,
    "status": status,
    "cancel": cancel,
    "worker": worker,
    "validate": validate,
    "plan": plan,
    "fit": fit,
    "schema": schema,
    "list": list_,
    "anchors": anchors,
    "doctor": doctor,
    "regress": regress,
    "sample": sample,
    "evaluate": evaluate,
    "inspect": inspect,
    "probe": probe,
    "import": import_,
}
for name, verb in VERBS.items():
    app.command(name=name)(verb)
baselines.command(name="save")(save_baseline)
app.add_typer(baselines, name="baseline")
app.add_typer(data, name="data")
plain_flags(app)


MOST_ERRORS = 40  # of a suite's, beside the first: whoever has more looks at a few

# what is wrong with a disk or a path of the user's, and with no code
SAID_BY_SYSTEM = (
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPIPE, errno.EIO, errno.ENAMETOOLONG, errno.ELOOP,
)  # fmt: skip


def main() -> Any:
    """Entry point: errors raised on purpose become one sentence and their exit status."""
    try:
        with notes():
            return app()
    except PdebenchError as error:
        others = error.others if isinstance(error, SuiteError) else ()
        for one in (error, *others[:MOST_ERRORS]):
            said = printable(str(one)).replace("\n", "\\n")  # one sentence, whatever a path or a key has in it
            print(f"error: {said}", file=sys.stderr)
        if (more := len(others) - MOST_ERRORS) > 0:
            print(f"error: and {more} more", file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:
        if isinstance(error, FileNotFoundError):  # what is missing from the start is said where it is asked for
            where = os.fsdecode(error.filename) if error.filename else "the current folder"
            print(f"error: {printable(where)} was removed meanwhile; run the same command again", file=sys.stderr)
            sys.exit(2)
        if error.errno not in SAID_BY_SYSTEM:
            raise
        print(f"error: {printable(str(error.filename or 'output'))[:300]}: {error.strerror}", file=sys.stderr)
        sys.exit(2)
    except MemoryError as error:
        print(f"error: {printable(str(error) or 'memory ran out')}", file=sys.stderr)
        sys.exit(2)
