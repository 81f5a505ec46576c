"""The verb that reads what others trained: `import`."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from pdebench.cli.options import JsonOption
from pdebench.errors import printable


class Which(StrEnum):
    """Weights that a training keeps beside each other."""

    ema = "ema"
    model = "model"


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A `.pt` or `.safetensors` as it was published.")],
    family: Annotated[str, typer.Option(metavar="NAME", help="Whose layout it has: DiT, SiT, REPA, DiG.")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where checkpoint.safetensors goes.")],
    autoencoder: Annotated[
        str | None, typer.Option(help="What decodes its latents: a diffusers folder, or its name on the hub.")
    ] = None,
    weights: Annotated[
        Which | None, typer.Option(help="Of a file that has both. Default: `ema`, the averaged ones.")
    ] = None,
    heads: Annotated[
        int | None, typer.Option(min=1, help="Of attention; needed where depth and width are no published size.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Read a checkpoint that others published as one of ours, for `sample` and `inspect`.

    Depth, width, patch, classes, channels and resolution are read from the shapes of its tensors. Nothing in the file
    is run. Which files of which repositories are read, and how nearly they agree with the authors' code, stands in
    `docs/published_checkpoints.md`.

    Example:

    ```sh
    pdebench import DiT-XL-2.pt --family DiT --autoencoder sd-vae --out dit_xl
    ```
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from pdebench.run.importing import import_published

    found = import_published(file, family, out, which=weights and weights.value, heads=heads, autoencoder=autoencoder)
    for remark in found.model.remarks:
        typer.echo(f"note: {remark}", err=True)
    if as_json:
        about: dict[str, Any] = {
            "checkpoint": str(found.checkpoint),
            "model": found.model.name,
            "build": found.model.build,
        }
        about |= {"params": found.model.params, "weights": found.weights, "task": found.layout.task}
        typer.echo(json.dumps(about | {"time_scale": found.layout.time_scale}, indent=1))
        return
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="cyan", no_wrap=True)
    table.add_column()
    for heading, text in found.told().items():
        table.add_row(heading, Text(printable(text)))
    Console().print(table)
    typer.echo(printable(f"wrote {found.checkpoint}"))
