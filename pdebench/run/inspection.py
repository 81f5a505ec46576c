"""`pdebench inspect`: what a model does in space, of a checkpoint or at initialisation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pdebench.data.nouns import plural
from pdebench.errors import ModelError
from pdebench.files.manifest import Manifest
from pdebench.measure.spatial.explanations import describe
from pdebench.measure.spatial.findings import SPATIAL, Survey
from pdebench.measure.spatial.survey import survey
from pdebench.models.backbone import create_model
from pdebench.models.mixer_fault import blamed_on_mixer, check_shapes
from pdebench.models.registry import parse_name
from pdebench.results.store import make_folder, write_own
from pdebench.run.checkpoint import Checkpoint, read_checkpoint
from pdebench.tasks.generation.learner import GenerationLearner
from pdebench.terminal.prose import say

CHANNELS = 4  # of the latents that a model at initialisation is built for


def build(checkpoint: Path | None, model: str | None, resolution: int | None, seed: int) -> Checkpoint:
    """The model to inspect, in eval mode, and what to call it.

    Args:
        checkpoint: a cell's `checkpoint.safetensors`, or None.
        model: FAMILY-SIZE/PATCH in its place, at initialisation.
        resolution: side of its latents; 32 where it is None.
        seed: of its weights.

    Raises:
        ModelError: neither is given, or both; or the one that is given is no model, or of another package whose mixer
            fails.
    """
    if (checkpoint is None) == (model is None):
        raise ModelError("inspect takes a CHECKPOINT, or --model such as PDE-SSM-DiT-S/2: give one of them")
    if checkpoint is not None:
        if resolution is not None:
            raise ModelError("a checkpoint has its resolution; leave --resolution out")
        found = read_checkpoint(checkpoint)
    else:
        assert model is not None
        side = 32 if resolution is None else resolution
        _refuse_faulty(model, side)
        torch.manual_seed(seed)
        built = create_model(model, input_size=side, in_channels=CHANNELS, num_classes=None)
        found = Checkpoint(built.eval(), model, GenerationLearner())
    found.model.to("cuda" if torch.cuda.is_available() else "cpu")
    return found


def _refuse_faulty(model: str, side: int) -> None:
    """See that a mixer of another package can be built and called, where nothing is computed."""
    family, _, _ = parse_name(model)
    if family.of_another_package:
        with blamed_on_mixer(family, "built and called on PyTorch's meta device"), torch.device("meta"):
            check_shapes(create_model(model, input_size=side, in_channels=CHANNELS, num_classes=None), family)


def inspect_model(
    found: Checkpoint, seed: int, watch: Callable[[float, int], None] = lambda time, layer: None
) -> Survey:
    """Survey a model on normal random numbers in place of images or clips: a checkpoint does not hold its data."""
    return survey(found.model, learner=found.learner, seed=seed, watch=watch)


def write_pictures(found: Survey, name: str, folder: Path) -> list[Path]:
    """Write the survey as JSON and its pictures as PNG; returns their paths.

    Raises:
        ResultsError: a file of the same name is there that is not of an earlier survey.
    """
    from pdebench.measure.spatial.pictures import pictures

    make_folder(folder)
    files = {SPATIAL: found.model_dump_json().encode(), **pictures(found, name)}
    Manifest(folder).refuse_foreign(files)
    for file, content in files.items():
        write_own(folder, file, content)
    return [folder / file for file in files]


def print_survey(console: Console, found: Survey, model: Checkpoint, trained: bool) -> None:
    """What it means in words, then one line a layer; fits 80 columns."""
    grid = " x ".join(map(str, found.grid))
    state = "trained" if trained else "at initialisation"
    title = f"{model.name}, {state}: {grid} tokens, {plural(len(found.mixers), 'layer')}, each mixer by itself"
    say(console, title, "bold")
    told = Table.grid(padding=(0, 2, 0, 0))
    told.add_column(style="cyan", no_wrap=True)
    told.add_column()
    for heading, text in describe(found, gated=model.model.t_embedder is not None):
        told.add_row(heading, Text(text))
    console.print(told)
    console.print()
    console.print(_layers(found))
    if any(mixer.physics is not None for mixer in found.mixers):
        console.print(_physics(found))
    console.print(
        "Lengths and areas in tokens. own: share of the token itself. iso: isotropy. gain: of the finest over the "
        "coarsest waves. shift: error of shifted tokens.",
        style="dim",
        highlight=False,
    )


def _layers(found: Survey) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    lengths = [f"length\nt={time:g}" for time in found.times] if found.noised else ["length"]
    heads = ["layer", *lengths, "area\n50%", "area\n95%", "own\n%", "local"]
    heads += ["iso", "gain", "shift"]
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for mixer in found.mixers:
        field = mixer.field
        cells = [str(mixer.layer), *map(_short, mixer.lengths), str(field.area_50), str(field.area_95)]
        cells += ["—" if field.own_share is None else f"{100 * field.own_share:.0f}"]
        cells += [_short(field.locality), _short(field.isotropy), _short(mixer.frequency.gain_ratio)]
        cells += ["—" if mixer.shift_error is None else f"{mixer.shift_error:.0e}".replace("e-0", "e-")]
        table.add_row(*cells)
    return table


def _physics(found: Survey) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    in_time = ["diffusion\nin time", "drift\nin time"] if found.of_clips else []
    learned = ["diffusion\nlength", "drift\nlength", *in_time, "decay\nexp(tau r)"]
    for head in ("layer", *learned, "channels\nresolved", "measured\nless learned"):
        table.add_column(head, justify="right", no_wrap=True)
    for mixer in found.mixers:
        if (one := mixer.physics) is not None:
            of_time = () if one.clip is None else (one.clip.median_time_length, one.clip.median_time_drift)
            medians = (one.median_length, one.median_drift, *of_time, one.median_decay)
            cells = [str(mixer.layer), *map(_short, medians)]
            error = "—" if one.error is None else f"{one.error:.0e}".replace("e-0", "e-")
            table.add_row(*cells, f"{one.resolved} of {one.channels}", error)
    return table


def _short(value: float | None) -> str:
    """Two digits: 0.074, 3.3, 12."""
    if value is None:
        return "—"
    if abs(value) < 0.005:
        return "0"
    return f"{value:.2f}" if abs(value) < 1 else f"{value:.1f}" if abs(value) < 10 else f"{value:.0f}"
