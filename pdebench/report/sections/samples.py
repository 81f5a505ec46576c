"""Sample grids for the page: one a family, size and resolution, re-encoded so that all of them stay small."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import pandas as pd
from PIL import Image

from pdebench.files.picture import read_png
from pdebench.report import formatting
from pdebench.report.differences import DRAWN
from pdebench.report.folders import cell_folder
from pdebench.report.frame import finished, named, plain_value, plain_values, records

TOTAL_BYTES = 2_000_000
MAX_SIDE = 768
DRAWN_AT = "evaluate.resolution"


@dataclass(frozen=True)
class Picture:
    """A picture as the page holds it."""

    uri: str
    width: int
    height: int


@dataclass(frozen=True)
class SampleGrid:
    """One picture with its caption, which is read when the page is written: figures are drawn meanwhile."""

    family: str
    caption: str
    alt: str
    path: Path
    limit: int
    """Bytes that it may have, about."""

    @cached_property
    def picture(self) -> Picture | None:
        """None where the file could not be read."""
        return encode(self.path, self.limit)


@dataclass(frozen=True)
class GridRow:
    """The grids of one data set and resolution, side by side: of these, images at one place are from one noise."""

    label: str
    grids: tuple[SampleGrid, ...]


def sample_rows(table: pd.DataFrame, folders: Mapping[str, Path]) -> list[GridRow]:
    """The `cells/<cell>/samples.png`, in the folder that each row is from, of one run a family, size and resolution.

    The run is the lowest seed of the family's best setting by validation loss: not the best-looking one.
    """
    done = finished(table)
    paths = {
        place: cell_folder(row, folders) / "samples.png"
        for place, row in zip(done.index, records(done[["folder", "cell"]]), strict=True)
        if row["cell"] is not None
    }
    done = done[[place in paths and os.path.lexists(paths[place]) for place in done.index]]
    if done.empty:
        return []
    if DRAWN_AT not in done:
        done = done.assign(**{DRAWN_AT: None})
    places = ["data.name", "data.resolution", DRAWN_AT]
    picked = shown_runs(done, places)
    share = TOTAL_BYTES // len(picked)
    several = picked["data.name"].nunique() > 1
    rows = []
    for key, group in picked.groupby(places, dropna=False, sort=True):
        name, resolution, drawn_at = cast(tuple[Any, Any, Any], key)
        side = formatting.MISSING if pd.isna(resolution) else f"{resolution:g} px"
        side += f", drawn at {drawn_at:g} px" if pd.notna(drawn_at) else ""
        label = f"{name}, {side}" if several else side
        sizes = group["model.size"].nunique() > 1
        differing = [key for key in DRAWN if key in group and plain_values(group[key]).nunique() > 1]
        grids = []
        for place, row in zip(group.index, records(group), strict=True):
            family, seed = str(row["model.family"]), row["train.seed"]
            who = f"{family} {row['model.size']}" if sizes and row["model.size"] else family
            facts = [f"validation loss {formatting.number(row['val_loss'])}"]
            facts += [f"seed {seed:g}"] if pd.notna(seed) else []
            facts += [named(key, value) for key in differing if (value := plain_value(row[key]))]
            caption = f"{side}, {', '.join(facts)}"
            grids.append(SampleGrid(who, caption, f"Images drawn by {who}: {caption}", paths[place], share))
        rows.append(GridRow(label, tuple(grids)))
    return rows


def shown_runs(done: pd.DataFrame, places: Sequence[str]) -> pd.DataFrame:
    """One run a family and size at each of some places: the lowest seed of the best setting by validation loss."""
    chosen = []
    for _, group in done.groupby([*places, "model.family", "model.size"], dropna=False):
        medians = group.groupby("setting")["val_loss"].transform("median")
        order = group.assign(_median=medians).sort_values(["_median", "setting", "train.seed"], kind="stable")
        chosen.append(order.index[0])
    return done.loc[sorted(chosen)]


def encode(path: Path, limit: int) -> Picture | None:
    """The picture as a data URI of at most about `limit` bytes; None if damaged."""
    if (image := read_png(path)) is None:
        return None
    image.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
    data = b""
    quick = len(_webp(image, lossless=True, method=0))  # a fifth larger than with care, in a fraction of the time
    for options in ({"lossless": True}, {"quality": 90}, {"quality": 75}, {"quality": 50}, {"quality": 25}):
        if "lossless" in options and quick > 2 * limit:
            continue
        data = _webp(image, method=4, **options)
        if len(data) * 4 / 3 <= limit:
            break
    return Picture(f"data:image/webp;base64,{base64.b64encode(data).decode()}", image.width, image.height)


def _webp(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", **options)
    return buffer.getvalue()
