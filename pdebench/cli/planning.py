"""Verbs of before a run: `validate`, `plan`, `schema`, `list`, `anchors`, `doctor`."""

from __future__ import annotations

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pdebench.cli.options import JsonOption, SetOption, SuiteArgument
from pdebench.data.nouns import plural
from pdebench.errors import ModelError, did_you_mean


class PlannedDevice(StrEnum):
    """What `pdebench plan` can plan for; the datasheets are in `plan/devices.py`."""

    this = "this"
    h100 = "h100"
    h200 = "h200"
    a100 = "a100"
    l40s = "l40s"
    rtx4090 = "4090"


class Listed(StrEnum):
    """What `pdebench list` can list."""

    suites = "suites"
    models = "models"
    data = "data"
    metrics = "metrics"
    tasks = "tasks"


def validate(
    suite: SuiteArgument,
    override: SetOption = [],  # noqa: B006
    as_json: JsonOption = False,
) -> None:
    """Check a suite and its data, and count its cells; nothing is run.

    All that is wrong is said at once, a line each with file, line and key. Data have to be there, at the side that is
    asked for; a relative path begins at the suite's file, one of `--set` at the current folder. Mixers of other
    packages are imported, but not called: `pdebench plan` does that, without values.

    Example: `pdebench validate my_suite.yaml`
    """
    from pdebench.suite.load import load_suite

    study = load_suite(suite, override, with_parts=True)
    cells = study.planned()
    sizes = {} if study.about_sizes is None else {"sizes": study.about_sizes}
    if as_json:
        flat = [{"cell": cell.id, **cell.flat()} for cell in cells]
        typer.echo(json.dumps({"suite": study.name, **sizes, "cells": flat}))
        return
    typer.echo(f"{study.file}: suite '{study.name}' is valid: {plural(len(cells), 'cell')}")
    for text in sizes.values():
        typer.echo(text)


def plan(
    suite: SuiteArgument,
    device: Annotated[
        PlannedDevice,
        typer.Option(
            metavar="DEVICE",
            help="h100, h200, a100, l40s or 4090; or `this`, which measures this machine for a few seconds first.",
        ),
    ] = PlannedDevice.this,
    results: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Results folder to leave the predictions in, for its report.")
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

    from pdebench.plan.suite_plan import make_plan
    from pdebench.plan.text import print_plan
    from pdebench.suite.load import load_suite
    from pdebench.terminal.bar import bar

    study = load_suite(suite, override, results)
    with bar("counting", "models", after=1.0) as said:
        made = make_plan(study, device.value, said)
    written = None if results is None else made.write(results)
    if as_json:
        typer.echo(json.dumps(made.as_json(), indent=1))
        return
    print_plan(Console(), made)
    if written is not None:
        typer.echo(f"wrote {written}; the report made after the run shows it against what was measured")


def schema() -> None:
    """Print the JSON Schema of a suite, with which an editor completes and checks.

    A suite then begins with `# yaml-language-server: $schema=suite.schema.json`.

    Example: `pdebench schema > suite.schema.json`
    """
    from pdebench.suite.load import json_schema

    typer.echo(json.dumps(json_schema(), indent=1))


def list_(
    what: Annotated[Listed, typer.Argument(metavar="WHAT", help="suites, models, data, metrics or tasks.")],
    shell: Annotated[str, typer.Option(help="Of models: in this shell, dit, lightning or uvit.")] = "dit",
    as_json: JsonOption = False,
) -> None:
    """List suites, models, data sets, metrics or tasks.

    Of models: every family and size with its parameters and multiply-accumulates at 256 and 512 px, counted the
    first time that they are listed, in DiT's shell or another.

    Example: `pdebench list models --shell lightning`
    """
    from pdebench.cli.listing import LISTS, counted, models, print_models, print_rows
    from pdebench.models.shell_options import PRESETS
    from pdebench.terminal.bar import bar

    if shell not in PRESETS:
        raise ModelError(f"--shell: there is no shell '{shell}'; {did_you_mean(shell, PRESETS)}")
    if what is Listed.models and not as_json:
        print_models(models(shell), shell)
        return
    if what is Listed.models:
        with bar("counting", "families", after=1.0) as said:
            rows = list(counted(models(shell), said))
    else:
        rows = LISTS[what.value]()
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
    else:
        print_rows(rows)


def anchors(
    family: Annotated[str | None, typer.Option(help="Of one family, as its paper calls it: DiT, SiT.")] = None,
    resolution: Annotated[int | None, typer.Option(help="Of images of this side, in pixels.")] = None,
    metric: Annotated[str | None, typer.Option(help="With this metric: fid, is, kid.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List published results, each with its protocol and the place that it was read in.

    Parameters (M) and cost (G) are as printed, in millions and billions; `--json` has all that is known of each. A
    report shows those that are near a cell beside it.

    Example: `pdebench anchors --family DiT --resolution 256 --metric fid`
    """
    from pdebench.anchors.load import chosen
    from pdebench.cli.published import print_anchors

    found = chosen(family, resolution, metric)
    if as_json:
        typer.echo(json.dumps([one.as_json() for one in found], indent=1))
    else:
        print_anchors(found, metric)  # type: ignore[arg-type]


def doctor(
    timing: Annotated[
        bool, typer.Option("--timing", help="Also: is it quiet enough to be timed on, and what could a gate see?")
    ] = False,
    evaluation: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            metavar="SAMPLES.npz REFERENCE.npz",
            help="Instead: ADM's metrics of these files, beside what was published of them.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say what this machine has for pdebench, what it lacks, and how to get it; nothing is changed or fetched.

    `--timing` takes 25 seconds more: governor, turbo, load, heat, other work on GPUs, the noise of two probes, and the
    smallest slowdown that `pdebench regress` can see here.

    `--evaluation` computes IS, FID, sFID, precision and recall as ADM's evaluator does, of any samples; it fetches
    Inception's weights. Published values are known of ADM's own files, `admnet_guided_upsampled_imagenet256.npz` and
    `VIRTUAL_imagenet256_labeled.npz`.

    Exit status: 0 a suite can run, or no value differs from a published one, 1 one does, 2 something essential is
    missing.

    Example: `pdebench doctor --timing`
    """
    from pdebench.doctor.checks import examine, print_checks

    if evaluation is not None:
        raise typer.Exit(_evaluated(*evaluation, as_json=as_json))
    if as_json:
        checks = list(examine(timing=timing))
        ready = not any(check.fatal for check in checks)
        typer.echo(json.dumps({"ready": ready, "checks": [asdict(check) for check in checks]}, indent=1))
    else:
        ready = print_checks(examine(timing=timing))
    raise typer.Exit(0 if ready else 2)


def _evaluated(samples: Path, reference: Path, *, as_json: bool) -> int:
    """Evaluate two files and say what came out; the exit status."""
    from pdebench.doctor.evaluation import check, evaluate, print_evaluation

    found = evaluate(*check(samples, reference))
    if as_json:
        scores = [asdict(line) | {"tolerance": line.tolerance, "agrees": line.agrees} for line in found.lines]
        typer.echo(json.dumps(asdict(found) | {"lines": scores, "agrees": found.agrees}, indent=1))
    else:
        print_evaluation(found)
    return 0 if found.agrees else 1
