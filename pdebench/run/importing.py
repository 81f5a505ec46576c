"""`pdebench import`: a checkpoint that others published, as one of ours."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch

from pdebench.data.nouns import plural
from pdebench.data.space import Space
from pdebench.errors import ModelError, ResultsError, did_you_mean
from pdebench.files.published_weights import WHOLE, read_published
from pdebench.models.backbone import create_model
from pdebench.models.published.fit import Fitted, fitted
from pdebench.models.published.layouts import LAYOUTS, PublishedLayout
from pdebench.results.store import make_folder
from pdebench.run.checkpoint import write_checkpoint
from pdebench.tasks.registry import TASKS

PICTURES = (1, 3)  # channels of what needs no decoder
LATENTS = 4  # channels of what the repositories that are read here were trained on


@dataclass(frozen=True)
class Imported:
    """What was found in a file, and where it went."""

    checkpoint: Path
    layout: PublishedLayout
    model: Fitted
    weights: str
    space: Space | None

    def told(self) -> dict[str, str]:
        """What there is to say, by headings."""
        found, layout = self.model.measures, self.layout
        kind = "images" if self.space is None else "latents"
        latents = self.space and f"times {self.space.scale[0]:g}, decoded by {self.space.autoencoder or 'nobody named'}"
        made = "" if found.made == found.channels else ", and as many for a variance"
        return {
            "model": f"{self.model.name}: {plural(found.depth, 'block')} of width {found.width}, "
            f"{self.model.build['heads']} heads, patch {found.patch}",
            "layout": f"{layout.name} of {layout.repository}",
            "weights": "a state dict by itself" if self.weights == WHOLE else self.weights,
            "parameters": f"{self.model.params:,}",
            kind: f"{found.channels} x {found.side} x {found.side}{made}" + (f"; {latents}" if latents else ""),
            "classes": f"{found.classes:,}, and the row for none",
            "task": f"{layout.task}: {TASKS[layout.task].summary}",
            "time scale": f"{layout.time_scale:g}",
        }


def import_published(
    file: Path,
    family: str,
    out: Path,
    *,
    which: str | None = None,
    heads: int | None = None,
    autoencoder: str | None = None,
) -> Imported:
    """Read a published checkpoint and write it as `checkpoint.safetensors` in a folder.

    Args:
        file: a `.pt` or a `.safetensors`; see `read_published`.
        family: the layout's name.
        out: the folder; it is made.
        which: `ema` or `model`, where the file has both.
        heads: of a size that is not in the family's table.
        autoencoder: what decodes its latents: a folder, or a name on a hub.

    Raises:
        ModelError: no layout of that name; the file is not to be read, or holds no model of that layout.
        ResultsError: a checkpoint is in the folder already, or none can be written there.
    """
    if family not in LAYOUTS:
        raise ModelError(f"no layout is called '{family}'; {did_you_mean(family, LAYOUTS)}")
    layout, checkpoint = LAYOUTS[family], out / "checkpoint.safetensors"
    if checkpoint.exists() or checkpoint.is_symlink():
        raise ResultsError(f"{checkpoint} is there already: name another folder with --out")
    held = read_published(file, which)
    try:
        model = fitted(held.tensors, layout, heads)
        space = _space(model, layout, autoencoder)
    except ModelError as error:
        raise ModelError(f"{file} cannot be read as {family}: {error}") from None
    with torch.device("meta"):  # allocates nothing: the weights stay where they are, on the disk
        ours = create_model(model.name, **model.build)
    ours.load_state_dict(model.state, assign=True)
    learner = TASKS[layout.task].recall({"time_scale": json.dumps(layout.time_scale)})
    make_folder(out)
    write_checkpoint(ours.eval(), model.name, model.build, learner, out, space)
    return Imported(checkpoint, layout, model, held.which, space)


def _space(model: Fitted, layout: PublishedLayout, autoencoder: str | None) -> Space | None:
    channels = model.measures.channels
    if channels in PICTURES:
        if autoencoder is not None:
            raise ModelError(f"it makes images of {channels} channels, which nothing decodes: leave --autoencoder out")
        return None
    if channels != LATENTS:
        raise ModelError(f"it makes latents of {channels} channels, whose scale is not known here, but for {LATENTS}")
    return Space(scale=(layout.scale,), autoencoder=autoencoder)
