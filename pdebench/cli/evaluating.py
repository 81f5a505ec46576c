"""`pdebench evaluate`: scores of samples, or of finished cells."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pdebench.cli.data import configs_of
from pdebench.cli.options import JsonOption
from pdebench.data.nouns import plural
from pdebench.errors import DataError, MetricError, ModelError
from pdebench.terminal.bar import bar

if TYPE_CHECKING:
    from pdebench.metrics.reference import Reference
    from pdebench.run.evaluating import Scores

CHECKPOINT = ".safetensors"


def evaluate(
    what: Annotated[
        Path,
        typer.Argument(
            metavar="WHAT", help="A results folder, a checkpoint, a folder of pictures, or a .npz of samples as ADM's."
        ),
    ],
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="REF",
            help="What samples are compared with: a .npz of images or of statistics, or a set as `pdebench data` takes "
            "it. Default: of a results folder, the images that each cell was trained on.",
        ),
    ] = None,
    metrics: Annotated[
        str, typer.Option(metavar="LIST", help="Names, with commas. Default: of a results folder, the suite's.")
    ] = "",
    samples: Annotated[
        int | None,
        typer.Option(min=1, help="How many are drawn. Default: as the suite has it; of a checkpoint 50,000."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Of a checkpoint: so many sets of samples; of 3 an interval.")] = 1,
    resolution: Annotated[int | None, typer.Option(min=1, help="Side of the reference's images, in pixels.")] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Of a reference of clips: frames of each.")] = None,
    name: Annotated[str | None, typer.Option(help="The reference's source: see `pdebench data list`.")] = None,
    keys: Annotated[
        list[str],
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Of a checkpoint: a key of `evaluate:`, e.g. `nfe=250`. Repeatable."
        ),
    ] = [],  # noqa: B006
    as_json: JsonOption = False,
) -> None:
    """Score samples against a reference; of finished cells draw them anew, without training, into their records.

    What a record had of scores is computed again from the same samples, and what was there is kept beside it. An
    interrupted evaluation goes on with the same command. Weights of extractors are fetched or named as `pdebench list
    metrics` says.

    Example:

    ```sh
    pdebench evaluate generated --reference birds --resolution 64 --metrics fid
    pdebench evaluate samples.npz --reference batch.npz --metrics fid,sfid
    pdebench evaluate runs/imagenet256_latent --samples 50000 --metrics fid
    ```
    """
    from pdebench.run import evaluating

    names = [one.strip() for one in metrics.split(",") if one.strip()]
    if not what.exists():
        raise DataError(f"there is no {what}: name a results folder, a checkpoint, a folder of pictures or a .npz")
    of_results = (what / "cells").is_dir()
    lacks = ["--reference"] * (reference is None) + ["--metrics"] * (not names)
    if lacks and not of_results:
        raise MetricError(f"{what} needs {' and '.join(lacks)}: see `pdebench evaluate --help`")
    compared = None if reference is None else _reference(reference, resolution, frames, name)
    if keys and what.suffix != CHECKPOINT:
        raise ModelError("--set is for a checkpoint: a cell is sampled as its suite says, and files are there")
    if seeds > 1 and what.suffix != CHECKPOINT:
        raise ModelError("--seeds is for a checkpoint, which is drawn so often: leave it out")
    if samples is not None and not of_results and what.suffix != CHECKPOINT:
        raise ModelError(f"--samples says how many are drawn, and those of {what} are there: leave it out")
    with bar("evaluating", "cells" if of_results else "batches") as said:
        if of_results:
            found = list(evaluating.evaluate_results(what, compared, names, samples, said))
        elif what.suffix == CHECKPOINT:
            assert compared is not None
            count, asked = samples or 50_000, _asked(keys)
            found = list(evaluating.evaluate_checkpoint(what, compared, names, count, range(seeds), said, **asked))
        else:
            assert compared is not None
            found = [evaluating.evaluate_samples(what, compared, names)]
    if of_results:
        from pdebench.report.build import build_report

        build_report([what])
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in found], indent=1))
    else:
        _print(found)


def _reference(text: str, resolution: int | None, frames: int | None, name: str | None) -> Reference:
    from pdebench.metrics.reference import read_reference
    from pdebench.run.evaluating import reference_of

    if text.endswith(".npz"):
        return read_reference(Path(text))
    return reference_of(configs_of(text, resolution, name, [f"frames={frames}"] if frames else [])[0])


def _asked(keys: list[str]) -> dict[str, Any]:
    from pdebench.files.yaml_source import read_value
    from pdebench.tasks.generation.evaluation import SamplesEvaluation
    from pdebench.tasks.registry import TASKS

    kinds = [task.evaluation for task in TASKS.values() if issubclass(task.evaluation, SamplesEvaluation)]
    left = {"samples", "metrics", "batch_size", "resolution", "every"}  # of the command itself, or of a suite's cell
    known = {name for kind in kinds for name in kind.model_fields} - left
    given = {}
    for text in keys:
        key, equals, value = text.partition("=")
        if not equals or key not in known:
            raise ModelError(f"--set {text}: must be KEY=VALUE, KEY one of {', '.join(sorted(known))}")
        given[key] = read_value(value, f"--set {text}")
    return given


def _print(found: list[Scores]) -> None:
    """Each score of each set of samples, and over three or more their mean and interval."""
    from rich.console import Console

    from pdebench.metrics.registry import METRICS
    from pdebench.run.evaluating import interval
    from pdebench.terminal.text_table import TextColumn, in_columns

    titles = {score.column: score.title for metric in METRICS.values() for score in metric.scores}
    shown = [column for column in titles if any(column in one.columns for one in found)]
    columns = [TextColumn("samples", least=12), *(TextColumn(column, right=True) for column in shown)]
    rows = [
        [(one.what, ""), *((f"{one.columns[c]:.4g}" if c in one.columns else "—", "") for c in shown)] for one in found
    ]
    console = Console()
    console.print(in_columns(columns, rows, console.width), soft_wrap=True)
    if len(found) > 2 and len({one.what for one in found}) == len(found) and found[0].what.endswith(".npz"):
        for column in shown:
            mean, low, high = interval([float(one.columns[column]) for one in found])
            typer.echo(f"{titles[column]}: {mean:.4g}, 95% interval {low:.4g} to {high:.4g} over {len(found)} seeds")
    told = [*map(_compared, found), *filter(None, map(_of_few, found))]  # of cells there may be several references
    for line in dict.fromkeys(told):
        typer.echo(line)


def _of_few(one: Scores) -> str:
    """What is to be known of scores of few samples; empty where they are enough."""
    from pdebench.metrics.quality import small_sample
    from pdebench.metrics.registry import METRICS

    computed = [name for name, metric in METRICS.items() if metric.columns[0] in one.columns]
    return small_sample(computed, one.columns)


def _compared(one: Scores) -> str:
    """`60 samples, 64 x 64 px, against folder/train/64px (174 images), 64 x 64 px`."""
    count, reference = int(one.columns["metric_samples"]), one.columns["metric_reference"]
    other = one.reference_size or "of a size that it does not say"
    return f"{plural(count, 'sample')}, {one.size}, against {reference}, {other}"
