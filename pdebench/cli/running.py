"""Verbs that run cells, and follow those that run: `run`, `status`, `cancel`, `worker`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pdebench.cli.options import JsonOption, SetOption, SuiteArgument
from pdebench.errors import DataError, PdebenchError, SchedulerError, SuiteError, printable

if TYPE_CHECKING:
    from pdebench.suite.load import Suite


class Retry(StrEnum):
    """Which cells that have a record to run again."""

    failed = "failed"


class Tracker(StrEnum):
    """Experiment trackers that a finished cell can be written for."""

    tensorboard = "tensorboard"
    wandb = "wandb"


class Where(StrEnum):
    """Where cells run."""

    local = "local"
    slurm = "slurm"


def run(
    suite: SuiteArgument,
    results: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Results folder. Default: runs/SUITE.")] = None,
    override: SetOption = [],  # noqa: B006 (typer reads it, nobody writes it)
    retry: Annotated[Retry | None, typer.Option(help="`failed`: also run cells again that failed.")] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Cells at a time. Default: one a GPU, or one on the CPU; on SLURM no limit."),
    ] = None,
    executor: Annotated[Where, typer.Option(help="`slurm`: submit each cell as a task of a job array.")] = Where.local,
    profile: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="YAML of a cluster's resources, over `execution.slurm` of the suite."),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="On SLURM: return when all jobs are over, with a report.")
    ] = False,
    track: Annotated[
        list[Tracker],
        typer.Option(
            metavar="TRACKER",
            help="Also write each cell that is done now for this tracker: tensorboard or wandb. Repeatable.",
        ),
    ] = [],  # noqa: B006
    smoke: Annotated[
        bool,
        typer.Option("--smoke", help="Try each kind of cell once at toy length, on made-up data of the same shape."),
    ] = False,
    only_match: Annotated[
        bool, typer.Option("--only-match", help="Measure the sizes that `match` asks for on this machine, and no more.")
    ] = False,
    log_json: Annotated[bool, typer.Option("--log-json", help="Progress as JSON lines on standard output.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Run what is not done yet of a suite, then write its tables and report.

    The same command again resumes, inside a cell too; several at once share the cells. Exit status: 0 all cells done,
    2 the suite cannot run, 4 some cell failed, 130 interrupted.

    `--smoke` shows in minutes whether a suite works from end to end before its data are here. Its numbers mean nothing.

    A suite that is matched by step_time or peak_memory has its sizes measured first, once, and kept in `matched.json`.

    Example: `pdebench run quickstart --set train.steps=50 --results try`
    """
    from rich.console import Console

    from pdebench.run.nodes import torchrun
    from pdebench.run.summary import print_outcome
    from pdebench.run.sweep import measured, run_suite
    from pdebench.suite.load import load_suite
    from pdebench.suite.paths import default_results
    from pdebench.system import stop_signals
    from pdebench.terminal.progress import JsonLines, LiveTable, PlainLines

    if as_json and log_json:
        raise PdebenchError("--json and --log-json both write to standard output; give one of them")
    if executor is Where.local and (profile or wait):
        raise SchedulerError("--profile and --wait are for SLURM: add --executor slurm, or leave them out")
    stop_signals.interrupt_once()
    study = load_suite(suite, override, results)
    if only_match and (smoke or study.about_sizes is None):
        raise SuiteError("--only-match is for suites that are matched by step_time or peak_memory, in earnest")
    if smoke:
        study, results = _at_toy_length(study, results)
    trackers = list(dict.fromkeys(tracker.value for tracker in track))
    # with --json, or --log-json, standard output is for programs alone
    console = Console(stderr=as_json or log_json)
    watcher = JsonLines if log_json else LiveTable if console.is_terminal else PlainLines
    folder = results or default_results(study.name)

    def say(text: str) -> None:
        console.print(printable(text), soft_wrap=True, highlight=False, markup=False)

    if only_match or (executor is Where.local and study.about_sizes is not None):
        try:
            study = measured(lambda: load_suite(suite, override, folder), folder, workers=workers, say=say)
        except KeyboardInterrupt:
            say(f"interrupted; sizes that were found are kept in {folder}, and the same command goes on from there")
            raise typer.Exit(130) from None
    if only_match:
        say(f"{folder}: {study.about_sizes}")
        return
    placed = nullcontext() if smoke else _placed(suite, override, folder)
    if executor is Where.slurm:
        from pdebench.run.slurm.submit import finish, submit_suite
        from pdebench.run.summary import print_submitted

        with placed:
            submitted = submit_suite(
                study,
                folder,
                profile=profile,
                workers=workers,
                retry_failed=retry is Retry.failed,
                trackers=trackers,
                say=say,
            )
        print_submitted(console, submitted)
        if submitted.left and not wait:
            if as_json:
                typer.echo(json.dumps([asdict(array) for array in submitted.arrays], indent=1))
            return
        outcome = finish(submitted.cells, folder, say)
    else:
        with placed, torchrun.together():
            outcome = run_suite(
                study,
                folder,
                lambda cells, skipped: watcher(console, cells, skipped),
                workers=workers,
                retry_failed=retry is Retry.failed,
                trackers=trackers,
                say=say,
            )
    if as_json:
        typer.echo(json.dumps(outcome.records, indent=1))
    print_outcome(console, outcome, suite)
    raise typer.Exit(outcome.exit_code)


@contextmanager
def _placed(suite: str, overrides: list[str], folder: Path) -> Iterator[None]:
    """Says of data that are wrong where the suite asks for them, as `validate` does, where that can be said.

    They are looked at when cells are to run: cells that are done need none.

    Raises:
        SuiteError: the data that the suite asks for are not there.
        DataError: something else is wrong with them.
    """
    from pdebench.suite.load import load_suite

    try:
        yield
    except DataError:
        load_suite(suite, overrides, folder, with_parts=True)
        raise


def _at_toy_length(study: Suite, results: Path | None) -> tuple[Suite, Path]:
    """The suite that tries another one, in a results folder of its own."""
    from pdebench.results.store import make_folder, write_atomic
    from pdebench.suite.load import load_suite
    from pdebench.suite.paths import default_results
    from pdebench.suite.smoke import smoke_document

    folder = results or default_results(f"{study.name}-smoke")
    make_folder(folder)
    file = folder / "smoke.yaml"
    write_atomic(file, smoke_document(study, folder / "made_up"))
    return load_suite(str(file)), folder


def status(
    results: Annotated[Path, typer.Argument(metavar="RESULTS", help="A results folder.")],
    as_json: JsonOption = False,
) -> None:
    """Say of every cell of a folder whether it waits, is queued, runs, is done or failed; local or on SLURM.

    Example: `pdebench status runs/quickstart`
    """
    from rich.console import Console

    from pdebench.run.status import print_status, status_of

    found = status_of(results)
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=1))
    else:
        print_status(Console(), results, found)


def cancel(results: Annotated[Path, typer.Argument(metavar="RESULTS", help="A results folder.")]) -> None:
    """Cancel the SLURM jobs of a folder; cells that run save their states, and the same `run` goes on from there.

    Example: `pdebench cancel runs/quickstart`
    """
    from pdebench.run.status import cancel as cancel_jobs

    done = cancel_jobs(results, lambda text: typer.echo(printable(text), err=True))
    for job, (waiting, running) in done.jobs.items():
        typer.echo(f"cancelled job {job}: {waiting} queued and {running} running")
    if not done.jobs:
        typer.echo(f"{results} has no jobs that are queued or running")
    for cell, how in done.elsewhere.items():
        typer.echo(f"cell {cell} runs outside SLURM, {how}")


def worker(
    cell_folder: Annotated[Path, typer.Argument(metavar="CELL_FOLDER", help="RESULTS/cells/ID.")],
    conditions: Annotated[
        str | None, typer.Option(metavar="JSON", help="Those of its submission. Default: what the suite says now.")
    ] = None,
    retry: Annotated[Retry | None, typer.Option(help="`failed`: also run it again if it failed.")] = None,
) -> None:
    """Run one cell of a submitted suite, unless it is settled: what SLURM's jobs call.

    Example: `pdebench worker runs/quickstart/cells/0123456789ab`
    """
    from rich.console import Console

    from pdebench.errors import ResultsError
    from pdebench.results.store import Results
    from pdebench.run.limits import CellLimits
    from pdebench.run.slurm.allocation import read_cell, run_one
    from pdebench.terminal.progress import PlainLines

    cell = read_cell(cell_folder)
    watcher = PlainLines(Console(), [cell], [])
    folder = Results(cell_folder.resolve().parent.parent)
    try:
        asked = None if conditions is None else CellLimits.from_json(conditions)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise ResultsError("--conditions must be what `pdebench run --executor slurm` gives its jobs") from None
    raise typer.Exit(run_one(cell, folder, watcher, asked, retry_failed=retry is Retry.failed))
