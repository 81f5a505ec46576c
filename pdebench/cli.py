"""The command `pdebench`. Verbs only call the room that does the work; heavy imports stand where they are used."""

from __future__ import annotations

import errno
import json
import signal
import sys
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from pdebench.errors import PdebenchError, SchedulerError, printable

app = typer.Typer(
    name="pdebench",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="markdown",
    help="Train, measure and compare token mixers for diffusion transformers: PDE-SSM-DiT against DiT and Mamba.\n\n"
    "Start with `pdebench run quickstart`, then open `results/quickstart/report.html`.",
)

SuiteArgument = Annotated[str, typer.Argument(metavar="SUITE", help="A suite file, or the name of a shipped suite.")]
SetOption = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a key, e.g. `train.steps=50`. Repeatable.")
]
MinutesOption = Annotated[float, typer.Option(min=0.1, help="Stop measuring after so many minutes.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


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


class PlannedDevice(StrEnum):
    """What `pdebench plan` can plan for; the datasheets are in `measure/devices.py`."""

    this = "this"
    h100 = "h100"
    h200 = "h200"
    a100 = "a100"
    l40s = "l40s"
    rtx4090 = "4090"


class Format(StrEnum):
    """How `pdebench regress` says what it found."""

    table = "table"
    github = "github"


class Listed(StrEnum):
    """What `pdebench list` can list."""

    suites = "suites"
    models = "models"
    data = "data"
    metrics = "metrics"


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


@app.command()
def run(
    suite: SuiteArgument,
    results: Annotated[Path | None, typer.Option(help="Results folder. Default: results/<suite>.")] = None,
    override: SetOption = [],  # noqa: B006 (typer reads it, nobody writes it)
    retry: Annotated[Retry | None, typer.Option(help="`failed`: also run cells again that failed.")] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Cells at a time. Default: one a GPU, or one on the CPU; on SLURM no limit."),
    ] = None,
    executor: Annotated[Where, typer.Option(help="`slurm`: submit each cell as a task of a job array.")] = Where.local,
    profile: Annotated[
        Path | None, typer.Option(help="YAML of a cluster's resources, over `execution.slurm` of the suite.")
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="On SLURM: return when all jobs are over, with a report.")
    ] = False,
    track: Annotated[
        list[Tracker], typer.Option(help="Also write each cell that is done now for this tracker. Repeatable.")
    ] = [],  # noqa: B006
    log_json: Annotated[bool, typer.Option("--log-json", help="Progress as JSON lines on standard output.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Run what is not done yet of a suite, then write its tables and report.

    The same command again resumes, inside a cell too; several at once share the cells. Exit status: 0 all cells done,
    2 the suite cannot run, 4 some cell failed, 130 interrupted.

    Example: `pdebench run quickstart --set train.steps=50 --results /tmp/try`
    """
    from rich.console import Console

    from pdebench.run import run_suite
    from pdebench.suite import load_suite
    from pdebench.summary import print_outcome
    from pdebench.watch import JsonLines, LiveTable, PlainLines

    if as_json and log_json:
        raise PdebenchError("--json and --log-json both write to standard output; give one of them")
    if executor is Where.local and (profile or wait):
        raise SchedulerError("--profile and --wait are for SLURM: add --executor slurm, or leave them out")
    study = load_suite(suite, override)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # asked to end: as cleanly as by Ctrl-C
    trackers = list(dict.fromkeys(tracker.value for tracker in track))
    # with --json, or --log-json, standard output is for programs alone
    console = Console(stderr=as_json or log_json)
    watcher = JsonLines if log_json else LiveTable if console.is_terminal else PlainLines
    folder = results or Path("results") / study.name
    if executor is Where.slurm:
        from pdebench.submit import finish, submit_suite
        from pdebench.summary import print_submitted

        submitted = submit_suite(
            study, folder, profile=profile, workers=workers, retry_failed=retry is Retry.failed, trackers=trackers
        )
        print_submitted(console, submitted)
        if submitted.left and not wait:
            if as_json:
                typer.echo(json.dumps([asdict(array) for array in submitted.arrays], indent=1))
            return
        outcome = finish(study, folder)
    else:
        outcome = run_suite(
            study,
            folder,
            lambda cells, skipped: watcher(console, cells, skipped),
            workers=workers,
            retry_failed=retry is Retry.failed,
            trackers=trackers,
        )
    if as_json:
        typer.echo(json.dumps(outcome.records, indent=1))
    print_outcome(console, outcome, suite)
    raise typer.Exit(outcome.exit_code)


@app.command()
def report(
    results: Annotated[list[Path], typer.Argument(metavar="RESULTS", help="One or several results folders.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where it goes. Default: RESULTS; several need one.")
    ] = None,
    figures: Annotated[str, typer.Option(metavar="LIST", help="Formats of the figures: svg, pdf, png.")] = "svg,pdf",
    watch: Annotated[
        bool, typer.Option("--watch", help="Redraw it while cells run, until all have ended or Ctrl-C.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write the tables and the report of results folders, from their cells.

    Beside `report.html` stand `report/figures` and `report/tables` (CSV, Parquet, Markdown, LaTeX).
    Of several folders a cell that more than one has counts once, as the first has it.

    Example: `pdebench report results/quickstart`, or `pdebench report results/a results/b --out results/both`
    """
    from pdebench.report.build import build_report
    from pdebench.report.drawings import formats

    wanted = formats(figures)
    if watch:
        from pdebench.report.follow import follow

        built = follow(results, out, wanted, lambda text: typer.echo(text, err=as_json))
    else:
        built = build_report(results, out, wanted)
    if as_json:
        files = {name: [str(path) for path in getattr(built, name)] for name in ("figures", "tables")}
        typer.echo(json.dumps({"report": str(built.page), "cells": built.cells, **files}))
        return
    typer.echo(f"wrote {built.page}")
    for what, files_of in (("figures", built.figures), ("tables", built.tables)):
        if files_of:
            typer.echo(f"wrote {len(files_of)} files of {what} to {files_of[0].parent}")


@app.command()
def status(
    results: Annotated[Path, typer.Argument(metavar="RESULTS", help="A results folder.")],
    as_json: JsonOption = False,
) -> None:
    """Say of every cell of a folder whether it waits, is queued, runs, is done or failed; local or on SLURM.

    Example: `pdebench status results/quickstart`
    """
    from rich.console import Console

    from pdebench.status import print_status, status_of

    found = status_of(results)
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=1))
    else:
        print_status(Console(), results, found)


@app.command()
def cancel(results: Annotated[Path, typer.Argument(metavar="RESULTS", help="A results folder.")]) -> None:
    """Cancel the SLURM jobs of a folder; cells that run save their states, and the same `run` goes on from there.

    Example: `pdebench cancel results/quickstart`
    """
    from pdebench.status import cancel as cancel_jobs

    done = cancel_jobs(results)
    for job, (waiting, running) in done.jobs.items():
        typer.echo(f"cancelled job {job}: {waiting} queued and {running} running")
    if not done.jobs:
        typer.echo(f"{results} has no jobs that are queued or running")
    for cell, how in done.elsewhere.items():
        typer.echo(f"cell {cell} runs outside SLURM, {how}")


@app.command()
def worker(
    cell_folder: Annotated[Path, typer.Argument(metavar="CELL_FOLDER", help="RESULTS/cells/ID.")],
    conditions: Annotated[
        str | None, typer.Option(metavar="JSON", help="Those of its submission. Default: what the suite says now.")
    ] = None,
    retry: Annotated[Retry | None, typer.Option(help="`failed`: also run it again if it failed.")] = None,
) -> None:
    """Run one cell of a submitted suite, unless it is settled: what SLURM's jobs call.

    Example: `pdebench worker results/quickstart/cells/0123456789ab`
    """
    from rich.console import Console

    from pdebench.errors import ResultsError
    from pdebench.execute.allocation import read_cell, run_one
    from pdebench.execute.conditions import Conditions
    from pdebench.store import Results
    from pdebench.watch import PlainLines

    cell = read_cell(cell_folder)
    watcher = PlainLines(Console(), [cell], [])
    folder = Results(cell_folder.resolve().parent.parent)
    try:
        asked = None if conditions is None else Conditions.from_json(conditions)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ResultsError("--conditions must be what `pdebench run --executor slurm` gives its jobs") from None
    raise typer.Exit(run_one(cell, folder, watcher, asked, retry_failed=retry is Retry.failed))


@app.command()
def validate(
    suite: SuiteArgument,
    override: SetOption = [],  # noqa: B006
    as_json: JsonOption = False,
) -> None:
    """Check a suite and count its cells; nothing is run.

    Example: `pdebench validate my_suite.yaml`
    """
    from pdebench.suite import load_suite

    study = load_suite(suite, override)
    cells = study.cells()
    if as_json:
        typer.echo(json.dumps({"suite": study.name, "cells": [{"cell": cell.id, **cell.flat()} for cell in cells]}))
        return
    typer.echo(f"{study.file}: suite '{study.name}' is valid: {len(cells)} cell{'s' * (len(cells) != 1)}")


@app.command()
def plan(
    suite: SuiteArgument,
    device: Annotated[
        PlannedDevice, typer.Option(help="What to plan for; `this` measures this machine for a few seconds first.")
    ] = PlannedDevice.this,
    results: Annotated[
        Path | None, typer.Option(help="Results folder to leave the predictions in, for its report.")
    ] = None,
    override: SetOption = [],  # noqa: B006
    as_json: JsonOption = False,
) -> None:
    """Say what a suite would cost on a device, and which cells will not fit; nothing is trained.

    Parameters and multiply-accumulates are counted; memory and time are predicted. With `--results`, the report of
    that folder holds what is measured later against them.

    Example: `pdebench plan resolution --device h100`
    """
    from rich.console import Console

    from pdebench.plan import make_plan
    from pdebench.plan_text import print_plan
    from pdebench.suite import load_suite

    made = make_plan(load_suite(suite, override), device.value)
    written = None if results is None else made.write(results)
    if as_json:
        typer.echo(json.dumps(made.as_json(), indent=1))
        return
    print_plan(Console(), made)
    if written is not None:
        typer.echo(f"wrote {written}; the report made after the run shows it against what was measured")


@app.command()
def fit(
    table: Annotated[Path, typer.Argument(metavar="TABLE", help="A CSV, a Parquet file or a results folder.")],
    n: Annotated[str | None, typer.Option("--n", metavar="COLUMN", help="Parameters.")] = None,
    d: Annotated[str | None, typer.Option("--d", metavar="COLUMN", help="Images (or tokens) seen.")] = None,
    loss: Annotated[str | None, typer.Option(metavar="COLUMN", help="What falls: a loss, a Frechet distance.")] = None,
    flops: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Training FLOPs C; without --d, D is C / (factor N).")
    ] = None,
    factor: Annotated[float, typer.Option(min=1e-9, help="C / (N D), where one of --d and --flops is missing.")] = 6.0,
    run: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Which run a row is of, if runs have several. Default: each row."),
    ] = None,
    group: Annotated[
        list[str], typer.Option("--group", "--family", metavar="COLUMN", help="Fit apart by this column. Repeatable.")
    ] = [],  # noqa: B006
    as_json: JsonOption = False,
) -> None:
    """Fit scaling laws to a table of runs: L(N, D), IsoFLOP profiles, and a power law of compute.

    Each figure has a 95% interval from a bootstrap over runs; the largest budget is predicted before it is shown; what
    the table cannot carry is refused. The columns of a results folder, or of its table, are known.

    Example: `pdebench fit runs.csv --n params --d images --loss val_loss --family family`
    """
    from rich.console import Console

    from pdebench.analysis.scaling import scaling, why_none
    from pdebench.analysis.source import Asked, columns_of, read_table
    from pdebench.errors import TableError
    from pdebench.fit_text import print_fits

    frame = read_table(table)
    fits = scaling(frame, columns_of(frame, Asked(n, d, flops, loss, run, tuple(group), factor)))
    if all(found.empty for found in fits):
        raise TableError(f"{table}: {why_none(fits)}")
    if as_json:
        typer.echo(json.dumps([found.as_json() for found in fits], indent=1))
    else:
        print_fits(Console(), fits)


@app.command()
def schema() -> None:
    """Print the JSON Schema of a suite, with which an editor completes and checks.

    Example: `pdebench schema > suite.schema.json`, then begin a suite with
    `# yaml-language-server: $schema=suite.schema.json`
    """
    from pdebench.suite import json_schema

    typer.echo(json.dumps(json_schema(), indent=1))


@app.command(name="list")
def list_(
    what: Annotated[Listed, typer.Argument(help="What to list.")],
    as_json: JsonOption = False,
) -> None:
    """List suites, models, data sets or metrics.

    Of models: every family and size with its parameters and multiply-accumulates at 256 and 512 px, counted as the
    list is made.

    Example: `pdebench list models`
    """
    from pdebench.listing import LISTS, models, print_models, print_rows

    if what is Listed.models and not as_json:
        print_models(models())
        return
    rows = LISTS[what.value]()
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
    else:
        print_rows(rows)


@app.command()
def doctor(
    timing: Annotated[
        bool, typer.Option("--timing", help="Also: is it quiet enough to be timed on, and what could a gate see?")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Say what this machine has for pdebench, what it lacks, and how to get it; nothing is changed or fetched.

    `--timing` takes 25 seconds more: governor, turbo, load, heat, other work on GPUs, the noise of two probes, and the
    smallest slowdown that `pdebench regress` can see here.

    Exit status: 0 a suite can run, 2 something essential is missing.

    Example: `pdebench doctor --timing`
    """
    from pdebench.doctor import examine, print_checks

    if as_json:
        checks = list(examine(timing=timing))
        ready = not any(check.fatal for check in checks)
        typer.echo(json.dumps({"ready": ready, "checks": [asdict(check) for check in checks]}, indent=1))
    else:
        ready = print_checks(examine(timing=timing))
    raise typer.Exit(0 if ready else 2)


@app.command()
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
    soon as all is clear. Exit status: 0 pass, 1 worse or changed, 2 wrong use, 3 inconclusive or not comparable, 4 a
    cell failed.

    Example: `pdebench regress nightly --against main --max-minutes 15`
    """
    from pdebench.regress.verb import Asked, run_gate

    if as_json and form is Format.github:
        raise PdebenchError("--json and --format github both write to standard output; give one of them")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    asked = Asked(suite, against, baseline, 60 * max_minutes, effect / 100, tuple(accept), history, junit)
    raise typer.Exit(run_gate(asked, "json" if as_json else form.value))


baselines = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", help="Store what a revision costs here.")
app.add_typer(baselines, name="baseline")


@baselines.command(name="save")
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

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    typer.echo(run_save(suite, file, 60 * max_minutes))


@app.command()
def sample(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="A cell's checkpoint.safetensors.")],
    out: Annotated[Path, typer.Option(help="PNG to write.")] = Path("samples.png"),
    count: Annotated[int, typer.Option(min=1, max=4096, help="Images, in a square grid.")] = 64,
    label: Annotated[int | None, typer.Option(min=0, help="Class of all images. Default: all classes in turn.")] = None,
    guidance: Annotated[float, typer.Option(min=0, help="Classifier-free guidance scale; 1 is none.")] = 1.0,
    nfe: Annotated[int, typer.Option(min=2, help="Evaluations of the network (Heun: even).")] = 50,
    seed: Annotated[int, typer.Option(help="Seed of the noise.")] = 0,
) -> None:
    """Generate images from a trained cell.

    Example: `pdebench sample results/quickstart/cells/*/checkpoint.safetensors --label 3 --guidance 2`
    """
    from pdebench.sampling import sample_checkpoint

    page = sample_checkpoint(checkpoint, out, count=count, label=label, guidance=guidance, nfe=nfe, seed=seed)
    typer.echo(f"wrote {page}")


@app.command()
def inspect(
    checkpoint: Annotated[
        Path | None, typer.Argument(metavar="[CHECKPOINT]", help="A cell's checkpoint.safetensors.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="FAMILY-SIZE/PATCH at initialisation, in a checkpoint's place.")
    ] = None,
    resolution: Annotated[
        int | None, typer.Option(min=1, help="With --model: side of its latents. Default: 32.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Also write pictures and all numbers there.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of a new model's weights, and of the inputs.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Say what a model does in space: how far tokens see, in what shape, at which frequencies; of a PDE, its physics.

    Every mixer is measured by itself and all blocks together, from outside, on random inputs of a fixed seed. With
    `--out`, receptive fields, impulse and frequency responses of every layer are drawn.

    Example: `pdebench inspect --model PDE-SSM-DiT-S/2 --resolution 32`
    """
    from rich.console import Console

    from pdebench.inspection import build, inspect_model, print_survey, write_pictures

    built, name = build(checkpoint, model, resolution, seed)
    console = Console()
    with Console(stderr=True).status("measuring") as status:
        found = inspect_model(
            built, seed, lambda time, layer: status.update(f"measuring layer {layer} at t = {time:g}")
        )
        written = [] if out is None else write_pictures(found, name, out)
    if as_json:
        typer.echo(json.dumps({"model": name, "columns": found.columns(), "survey": found.model_dump()}, indent=1))
        return
    print_survey(console, found, name, trained=checkpoint is not None)
    for path in written:
        typer.echo(f"wrote {path}")


def main() -> Any:
    """Entry point: errors raised on purpose become one sentence and their exit status."""
    try:
        return app()
    except PdebenchError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPIPE):
            raise
        print(f"error: {printable(str(error.filename or 'output'))}: {error.strerror}", file=sys.stderr)
        sys.exit(2)
