"""`pdebench probe`: what a checkpoint has learned, by layer and noise level."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from pdebench.cli.data import configs_of
from pdebench.cli.options import JsonOption
from pdebench.data.nouns import plural
from pdebench.errors import DataError, ModelError, ResultsError
from pdebench.terminal.bar import bar

if TYPE_CHECKING:
    from rich.console import Console

    from pdebench.measure.probes import Probe, ProbedPlace, ProbeScores
    from pdebench.stats.proportion import Share

T = TypeVar("T")


def probe(
    what: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="A cell's checkpoint.safetensors, or a folder of results.")
    ],
    layers: Annotated[
        str, typer.Option(metavar="LIST", help="Blocks, with commas; the first is 0. Default: all.")
    ] = "",
    times: Annotated[
        str, typer.Option(metavar="LIST", help="Noise levels: 0 noise, 1 image. Default: 0.1,0.3,0.5,0.7,0.9.")
    ] = "",
    data: Annotated[
        str | None,
        typer.Option(
            metavar="WHAT",
            help="Images with classes, as `pdebench data` takes them. Default: those that it was trained on.",
        ),
    ] = None,
    resolution: Annotated[int | None, typer.Option(min=1, help="With --data: side of the images, in pixels.")] = None,
    name: Annotated[str | None, typer.Option(help="With --data: the source, see `pdebench data list`.")] = None,
    keys: Annotated[
        list[str], typer.Option("--set", metavar="KEY=VALUE", help="With --data: another key of it. Repeatable.")
    ] = [],  # noqa: B006
    images: Annotated[int, typer.Option(min=4, help="Training images, at most.")] = 50_000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the noise.")] = 0,
    precision: Annotated[str, typer.Option(help="Of the features: `fp32`, `bf16` or `auto`.")] = "fp32",
    device: Annotated[str | None, typer.Option(help="`cuda:0`, `cpu`. Default: a GPU, else the CPU.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images at a time.")] = 64,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write all numbers there: NAME.csv or NAME.parquet.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say what a model has learned: which classes a linear probe and neighbours tell apart by what leaves its blocks.

    Held-out images judge; the penalty of the linear probe, and the layer and time that are called best, are chosen on
    training images. Beside it stand chance, the largest class, the same probe of the pixels, and of the model at its
    initial weights. What is found is kept in `probe.json` beside the checkpoint, for the report and for the next call,
    and an interrupted call goes on.

    Example:

    ```sh
    pdebench probe runs/quickstart
    pdebench probe runs/quickstart --layers 1,2 --times 0.7,0.9
    ```
    """
    if not what.exists():
        raise ModelError(f"there is no {what}: name a checkpoint, or a folder of results")
    if precision not in ("fp32", "bf16", "auto"):
        raise ModelError(f"--precision {precision}: take fp32, bf16 or auto")
    if data is None and (
        lonely := [o for o, v in (("--resolution", resolution), ("--name", name), ("--set", keys)) if v]
    ):
        raise DataError(f"{lonely[0]} is of other images than those that it was trained on: name them with --data")
    wanted_layers, wanted_times = _listed("--layers", layers, int), _listed("--times", times, float)
    if out is not None:
        _refuse_out(out)
    from pdebench.run.probing import Asked, probe_checkpoint, probe_results

    asked = Asked(
        layers=wanted_layers, times=wanted_times, images=images, seed=seed, precision=precision, device=device,
        data=None if data is None else configs_of(data, resolution, name, keys)[0], batch_size=batch_size,
    )  # fmt: skip
    of_results = what.is_dir()
    with bar("probing", "features") as said:
        if of_results:
            found = list(probe_results(what, asked, said))
        else:
            found = [(str(what), probe_checkpoint(what, asked, said))]
    if of_results:
        from pdebench.report.build import build_report

        build_report([what])
    if out is not None:
        _write(found, out)
    if as_json:
        typer.echo(json.dumps([_as_json(who, one) for who, one in found], indent=1))
        return
    from rich.console import Console

    console = Console()
    for place, (who, one) in enumerate(found):
        if place:
            typer.echo()
        _print(console, who if of_results else "", one)
    if out is not None:
        typer.echo(f"wrote {out}")


# ---- what is asked


def _listed(option: str, text: str, kind: Callable[[str], T]) -> tuple[T, ...]:
    try:
        return tuple(dict.fromkeys(kind(part) for part in text.split(",") if part.strip()))
    except ValueError:
        raise ModelError(f"{option} {text}: must be numbers with commas between them") from None


def _refuse_out(out: Path) -> None:
    from pdebench.results.store import refuse_unlike

    if out.suffix not in (".csv", ".parquet"):
        raise ResultsError(f"--out {out}: name a file that ends in .csv or .parquet")
    if not out.absolute().parent.is_dir():
        raise ResultsError(f"--out {out}: there is no folder {out.parent}")
    refuse_unlike(out, b"PAR1" if out.suffix == ".parquet" else b"what,model,")


# ---- what is told


def _share(share: Share) -> dict[str, Any]:
    low, high = share.interval
    return {"accuracy": share.value, "low": low, "high": high, "images": share.trials}


def _judged(judged: ProbeScores) -> dict[str, Any]:
    return {
        "linear": _share(judged.linear.share), "neighbours": _share(judged.neighbours.share),
        "tuning": _share(judged.tuning.share), "penalty": judged.penalty, "converged": judged.converged,
    }  # fmt: skip


def _placed(place: ProbedPlace) -> dict[str, Any]:
    return {"layer": place.layer, "time": place.time, **_judged(place)}


def _as_json(who: str, probe: Probe) -> dict[str, Any]:
    from pdebench.measure.probes import best

    assert probe.pixels is not None
    about = probe.model_dump(mode="json", exclude={"pixels", "trained", "initial", "largest"})
    return {
        "what": who, **about, "chance": probe.chance, "largest": _share(probe.largest.share),
        "pixels": _judged(probe.pixels), "best": _placed(best(probe.trained)),
        "best_initial": _placed(best(probe.initial)), "trained": [_placed(one) for one in probe.trained],
        "initial": [_placed(one) for one in probe.initial],
    }  # fmt: skip


def _write(found: Sequence[tuple[str, Probe]], out: Path) -> None:
    """A row for each layer and time of either weights, and one for the pixels."""
    import pandas as pd

    from pdebench.files.csv_export import to_csv
    from pdebench.results.store import write_atomic

    rows = []
    for who, probe in found:
        features = [("trained", one.layer, one.time, one) for one in probe.trained]
        features += [("initial", one.layer, one.time, one) for one in probe.initial]
        assert probe.pixels is not None
        for weights, layer, time, judged in [*features, ("pixels", None, None, probe.pixels)]:
            row: dict[str, Any] = {"what": who, "model": probe.model, "data": probe.data, "features": weights}
            row |= {"layer": layer, "time": time, "penalty": judged.penalty, "converged": judged.converged}
            for name in ("linear", "neighbours", "tuning"):
                told = _share(getattr(judged, name).share)
                row |= {f"{name}_{key}": value for key, value in told.items()}
            rows.append(row)
    frame = pd.DataFrame(rows).astype({"layer": "Int64", "time": "Float64"})
    write_atomic(out, frame.to_parquet(index=False) if out.suffix == ".parquet" else to_csv(frame))


def _print(console: Console, who: str, probe: Probe) -> None:
    """The tables by layer and time, what is best, and what it is to be held against; fits 80 columns."""
    from pdebench.errors import printable

    def say(text: str, style: str | None = None) -> None:
        console.print(printable(text), style=style, highlight=False, markup=False)

    kept = probe.protocol
    say(f"{probe.model}{f', cell {who}' if who else ''}, on {probe.data}", "bold")
    say(
        f"{kept.training_images:,} training and {plural(kept.held_out_images, 'held-out image')}, "
        f"{plural(probe.classes, 'class')}"
    )
    for title, name in (("linear probe", "linear"), ("20 nearest neighbours", "neighbours")):
        say(f"\n{title}: held-out images in their class, %")
        _print_table(console, probe, name)
    say("")
    _print_summary(console, probe)
    for note in _notes(probe):
        say(f"note: {note}", "dim")


def _print_table(console: Console, probe: Probe, name: str) -> None:
    """A line a layer and a column a time, as many side by side as there is room for."""
    from pdebench.terminal.text_table import GAP, TextColumn, in_columns

    known = {(one.layer, one.time): _number(getattr(one, name).share.value) for one in probe.trained}
    heads = {time: f"t={time:g}" if probe.times != [1.0] else "" for time in probe.times}
    widest = max(map(len, [*heads.values(), *known.values()])) + len(GAP)
    room = max(1, (console.width - len("layer")) // widest)
    for begin in range(0, len(probe.times), room):
        times = probe.times[begin : begin + room]
        columns = [TextColumn("layer", right=True), *(TextColumn(heads[time], right=True) for time in times)]
        rows = [[(str(layer), ""), *((known[layer, time], "") for time in times)] for layer in probe.layers]
        console.print(in_columns(columns, rows, console.width), soft_wrap=True)


def _print_summary(console: Console, probe: Probe) -> None:
    """What is best, and what it is to be held against."""
    from pdebench.measure.probes import best
    from pdebench.terminal.text_table import TextColumn, in_columns

    def line(what: str, share: Share, neighbours: Share | None = None) -> list[tuple[str, str]]:
        low, high = share.interval
        told = (what, _number(share.value), f"{_number(low)} to {_number(high)}")
        return [(text, "") for text in (*told, "" if neighbours is None else _number(neighbours.value))]

    def place(one: ProbedPlace) -> str:
        return f"layer {one.layer}" + (f", t={one.time:g}" if probe.times != [1.0] else "")

    assert probe.pixels is not None
    first, before = best(probe.trained), best(probe.initial)
    judged: dict[str, ProbeScores] = {
        f"best, {place(first)}": first,
        "pixels": probe.pixels,
        f"initial weights, {place(before)}": before,
    }
    rows = [line(what, one.linear.share, one.neighbours.share) for what, one in judged.items()]
    rows += [
        [(text, "") for text in ("chance", _number(probe.chance), "", "")],
        line("always the largest class", probe.largest.share),
    ]
    heads = ("", "linear, %", "95% interval", "neighbours, %")
    console.print(
        in_columns([TextColumn(head, right=bool(head)) for head in heads], rows, console.width), soft_wrap=True
    )
    console.print(
        "Layer and time are those that did best on the training images that chose the penalty.",
        style="dim",
        highlight=False,
    )


def _number(share: float) -> str:
    return f"{100 * share:.1f}"


def _notes(probe: Probe) -> list[str]:
    """What a reader of the numbers has to know."""
    notes = []
    if probe.unknown:
        notes.append(f"{probe.unknown:,} held-out images are of classes that no training image has: none can be right")
    if probe.label_unknown:
        notes.append("trained with a class on every image; here it is given none, which it never learned to do without")
    if stopped := sum(not one.converged for one in (*probe.trained, *probe.initial)):
        notes.append(f"{stopped:,} fits of the linear probe had not come to their end when they were stopped")
    return notes
