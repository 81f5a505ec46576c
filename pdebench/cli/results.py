"""Verbs that read what cells left: `report`, `fit`, `sample`, `inspect`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from pdebench.cli.options import JsonOption
from pdebench.data.nouns import plural
from pdebench.errors import printable
from pdebench.tasks.generation.options import DIFFUSION, NFE, TOLERANCE
from pdebench.terminal.bar import bar


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
    A record or a curve that cannot be read is left out, and named here and on the page.
    Of a folder whose cells were not kept, such as a committed one, its table is shown. To hold two folders
    against each other, cell by cell, there is `pdebench compare`.

    Example:

    ```sh
    pdebench report runs/quickstart
    pdebench report runs/a runs/b --out runs/both
    ```
    """
    from pdebench.report.build import build_report
    from pdebench.report.drawings import formats

    wanted = formats(figures)
    if watch:
        from pdebench.report.follow import follow

        built = follow(results, out, wanted, lambda text: typer.echo(text, err=as_json))
    else:
        built = build_report(results, out, wanted)
    for text in built.left_out:
        typer.echo(f"left out: {printable(text)}", err=True)
    for text in built.remarks:
        typer.echo(f"note: {printable(text)}", err=True)
    if as_json:
        files = {name: [str(path) for path in getattr(built, name)] for name in ("figures", "tables")}
        typer.echo(
            json.dumps(
                {
                    "report": str(built.page),
                    "cells": built.cells,
                    **files,
                    "left_out": list(built.left_out),
                    "remarks": list(built.remarks),
                }
            )
        )
        return
    typer.echo(printable(f"wrote {built.page}"))
    for what, files_of in (("figures", built.figures), ("tables", built.tables)):
        if files_of:
            typer.echo(printable(f"wrote {plural(len(files_of), 'file')} of {what} to {files_of[0].parent}"))


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
    reference: Annotated[
        str | None, typer.Option(metavar="NAME", help="Group that others are held against. Default: PDE-SSM-DiT.")
    ] = None,
    predict: Annotated[
        list[float],
        typer.Option(metavar="FLOPS", min=1, help="Seal a prediction of this budget in the file --out. Repeatable."),
    ] = [],  # noqa: B006
    check: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Hold a sealed prediction against these runs; fits nothing.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="With --predict its file (of a results folder by default sealed_prediction.json there); else a "
            "folder for all numbers, JSON and CSV, and charts, SVG and PNG.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Fit scaling laws to a table of runs: L(N, D), IsoFLOP profiles, and a power law of compute.

    Each figure has a 95% interval from a bootstrap over runs; the largest budget is predicted before it is shown; what
    the table cannot carry is refused. The columns of a results folder, or of its table, are known.

    A text among the numbers is refused where it stands. Rows that are left out, rows that repeat others (one run), and
    what else differs among the runs are said, with `--json` too; beyond one row in ten left out there is no fit.

    Of several groups each is compared with one, the reference: exponents, and how many times its FLOPs a group needs
    for one loss. `--predict` writes what a budget that has not run will bring; `--check` says later whether it did.

    Example:

    ```sh
    pdebench fit runs.csv --n params --d images --loss val_loss --group family
    pdebench fit runs/scaling --predict 3e16
    pdebench fit runs/scaling --check runs/scaling/sealed_prediction.json
    ```
    """
    from rich.console import Console

    from pdebench.cli.fitting import FitRequest, check_prediction, fit_table, seal_prediction
    from pdebench.errors import TableError
    from pdebench.stats.source import ChosenColumns

    asked = FitRequest(table, ChosenColumns(n, d, flops, loss, run, tuple(group), factor), reference, out)
    if predict and check is not None:
        raise TableError("--predict makes a prediction and --check looks what came of one: give one of the two")
    if check is not None:
        told = check_prediction(asked, check, Console(), as_json)
    elif predict:
        told = seal_prediction(asked, predict, Console(), as_json)
    else:
        told = fit_table(asked, Console(), as_json)
    if as_json:
        typer.echo(json.dumps(told, indent=1))


def sample(
    checkpoints: Annotated[
        list[Path], typer.Argument(metavar="CHECKPOINT", help="A cell's checkpoint.safetensors, or those of several.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="NAME.png: one picture; NAME.npz: ADM's file of samples; else a folder of PNGs. Of clips NAME.webp: "
            "one picture that moves; else a folder of folders of frames. Default: samples.png, of clips samples.webp. "
            "Of several checkpoints each gets its cell in the name.",
        ),
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="Images or clips. Default: 64, of clips 16.")] = None,
    label: Annotated[
        list[str],
        typer.Option(
            metavar="CLASS",
            help="Number or name of a class, such as `3` or `cat`; repeatable, and they take turns. Default: all.",
        ),
    ] = [],  # noqa: B006
    proportional: Annotated[
        bool, typer.Option("--proportional", help="Classes as frequent as in the set that it was trained on.")
    ] = False,
    guidance: Annotated[float, typer.Option(min=0, help="Classifier-free guidance scale; 1 is none.")] = 1.0,
    guidance_channels: Annotated[
        int | None, typer.Option(min=1, help="Guide only the first so many channels. Default: all.")
    ] = None,
    guidance_interval: Annotated[
        tuple[float, float] | None,
        typer.Option(metavar="LOW HIGH", help="Guide only between these times, 0 noise, 1 image. Default: always."),
    ] = None,
    sampler: Annotated[
        str | None,
        typer.Option(help="As `evaluate.sampler` of its task. Default: `heun`; of a model of `ddpm` `ddpm`."),
    ] = None,
    nfe: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=f"Evaluations of the network; heun: even. Default: {NFE}; of a model of `ddpm` 250; not of dopri5.",
        ),
    ] = None,
    tolerance: Annotated[
        float | None, typer.Option(help=f"Of dopri5: error that a step may have. Default: {TOLERANCE:g}.")
    ] = None,
    diffusion: Annotated[
        str | None, typer.Option(help=f"Of euler_maruyama: coefficient of its noise. Default: {DIFFUSION}.")
    ] = None,
    time_shift: Annotated[
        float | None, typer.Option(help="Move the steps, above 1 towards noise. Default: 1, which leaves them even.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the noise.")] = 0,
    autoencoder: Annotated[
        str | None, typer.Option(help="What decodes latents. Default: what the checkpoint names.")
    ] = None,
    device: Annotated[list[str], typer.Option(help="cuda:0, cpu; repeatable. Default: all GPUs, else the CPU.")] = [],  # noqa: B006
) -> None:
    """Generate images from trained cells; latents are decoded.

    The options of sampling are those of a suite's `evaluate:`, by the same names. Images go to disk as they are drawn:
    the same command goes on after an interruption, and ends with the same images.

    Example:

    ```sh
    pdebench sample runs/quickstart/cells/*/checkpoint.safetensors --label 3
    pdebench sample runs/a/cells/*/checkpoint.safetensors --sampler dopri5
    pdebench sample runs/a/cells/*/checkpoint.safetensors --out samples.npz
    ```
    """
    from pdebench.run.sampling import names_apart, sample_checkpoint

    remarks: set[str] = set()

    def remark(text: str) -> None:
        if text not in remarks:
            remarks.add(text)
            typer.echo(printable(text), err=True)

    names = names_apart(checkpoints)
    for checkpoint, called in zip(checkpoints, names, strict=True):
        with bar(f"sampling {called}".rstrip(), "batches") as said:
            page = sample_checkpoint(
                checkpoint, out, called=called, count=count, labels=label, proportional=proportional, seed=seed,
                autoencoder=autoencoder, devices=device, said=said, remark=remark, sampler=sampler, nfe=nfe,
                tolerance=tolerance, diffusion=diffusion, time_shift=time_shift, guidance=guidance,
                guidance_channels=guidance_channels, guidance_interval=guidance_interval,
            )  # fmt: skip
        typer.echo(f"wrote {page}")


def inspect(
    checkpoint: Annotated[
        Path | None, typer.Argument(metavar="CHECKPOINT", help="A cell's checkpoint.safetensors.")
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

    from pdebench.run.inspection import build, inspect_model, print_survey, write_pictures

    built = build(checkpoint, model, resolution, seed)
    name = built.name
    console = Console()
    with Console(stderr=True).status("measuring") as status:
        at = " at t = {:g}" if len(built.learner.times) > 1 else ""
        found = inspect_model(
            built, seed, lambda time, layer: status.update(f"measuring layer {layer}{at.format(time)}")
        )
        written = [] if out is None else write_pictures(found, name, out)
    if as_json:
        typer.echo(json.dumps({"model": name, "columns": found.columns(), "survey": found.model_dump()}, indent=1))
        return
    print_survey(console, found, built, trained=checkpoint is not None)
    for path in written:
        typer.echo(f"wrote {path}")
