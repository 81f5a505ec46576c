"""Sample grids for the page: one a family, size and resolution, re-encoded so that all of them stay small.

Of clips a grid moves; where nothing can, on paper, its first frames stand.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import pandas as pd
from PIL import Image

from pdebench.data.nouns import called
from pdebench.files.picture import read_png, read_webp, webp
from pdebench.report import formatting
from pdebench.report.differences import DRAWN
from pdebench.report.folders import cell_folder
from pdebench.report.frame import finished, named, plain_value, plain_values, records
from pdebench.results.class_names import names_in

TOTAL_BYTES = 2_000_000
MAX_SIDE = 768
EARLY = 10_000_000
"""Samples of training below which pictures are mostly noise: the published DiT-XL/2 has seen 1.8 billion images."""

MOST_CLASSES = 40  # that are named beside samples
DRAWN_AT, FRAMES, DRAWN_FRAMES = "evaluate.resolution", "data.frames", "evaluate.frames"


@dataclass(frozen=True)
class Picture:
    """A picture as the page holds it; `still` is that of its first frames where it moves."""

    uri: str
    width: int
    height: int
    still: str | None = None


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
    classes: str = ""
    """Their names by number, in a sentence; empty where there are none."""
    early: str = ""
    """What to expect of networks that have seen so little; empty where they have seen enough."""


def sample_rows(table: pd.DataFrame, folders: Mapping[str, Path]) -> list[GridRow]:
    """The `cells/<cell>/samples.png`, of clips `samples.webp`, of one run a family, size and resolution.

    The run is the lowest seed of the family's best setting by validation loss: not the best-looking one.
    """
    done = finished(table)
    paths = {}
    for place, row in zip(done.index, records(done[["folder", "cell"]]), strict=True):
        for name in ("samples.png", "samples.webp"):
            if row["cell"] is not None and os.path.lexists(path := cell_folder(row, folders) / name):
                paths[place] = path
    done = done[[place in paths for place in done.index]]
    if done.empty:
        return []
    done = done.assign(**{key: None for key in (DRAWN_AT, FRAMES, DRAWN_FRAMES) if key not in done})
    places = ["data.name", "data.resolution", FRAMES, DRAWN_AT, DRAWN_FRAMES]
    picked = shown_runs(done, places)
    share = TOTAL_BYTES // (len(picked) + len(picked[places].drop_duplicates()))
    several = picked["data.name"].nunique() > 1
    rows = []
    for key, group in picked.groupby(places, dropna=False, sort=True):
        name, resolution, frames, drawn_at, drawn_frames = cast(tuple[Any, Any, Any, Any, Any], key)
        side = formatting.MISSING if pd.isna(resolution) else f"{resolution:g} px"
        side += f", {frames:g} frames" if pd.notna(frames) else ""
        side += f", drawn at {drawn_at:g} px" if pd.notna(drawn_at) else ""
        side += f", {drawn_frames:g} frames drawn" if pd.notna(drawn_frames) else ""
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
            what = called([frames]).many.capitalize()
            grids.append(SampleGrid(who, caption, f"{what} drawn by {who}: {caption}", paths[place], share))
        if (real := _real(paths[place] for place in group.index)) is not None:
            what = called([frames]).many
            alt = f"Real {what} of the data, {side}"
            grids.insert(0, SampleGrid(f"Real {what}", f"{side}, of the data", alt, real, share))
        rows.append(GridRow(label, tuple(grids), _classes(group), _early(group)))
    return rows


def _real(paths: Iterable[Path]) -> Path | None:
    """The picture of real ones beside the first samples that have it; those of before have none."""
    beside = (path.with_name(f"real{path.suffix}") for path in paths)
    return next((path for path in beside if os.path.lexists(path)), None)


def _early(group: pd.DataFrame) -> str:
    seen = group["images_seen"].max()
    begun = group["train.init"].notna().any() if "train.init" in group else False  # with weights that saw more
    if pd.isna(seen) or seen >= EARLY or begun:
        return ""
    what = called(group[FRAMES]).many
    return (
        f"After {group['train.steps'].max():,.0f} steps a network here has seen {seen:,.0f} {what} at most, where "
        "published ones have seen hundreds of millions: that samples of every family are noise, blobs and colours, and "
        "no objects yet, is to be expected."
    )


def _classes(group: pd.DataFrame) -> str:
    """Which classes the images are of, where the records have their names."""
    held = {str(text): None for text in group.get("class_names", pd.Series(dtype=object)).dropna()}
    names = names_in(next(iter(held), None)) if len(held) == 1 else []
    if not names:
        return ""
    shown = [f"{number} {name}" for number, name in enumerate(names[:MOST_CLASSES])]
    more = f", and {len(names) - MOST_CLASSES} more" if len(names) > MOST_CLASSES else ""
    return f"Classes, as --label takes them: {', '.join(shown)}{more}."


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
    moving = path.suffix == ".webp"
    frames = read_webp(path) if moving else [image for image in [read_png(path)] if image is not None]
    if not frames:
        return None
    for frame in frames:
        frame.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
    still = _uri(_within(frames[:1], limit // 4)) if len(frames) > 1 else None
    return Picture(_uri(_within(frames, limit)), frames[0].width, frames[0].height, still)


def _within(frames: Sequence[Image.Image], limit: int) -> bytes:
    """Frames as a WebP of at most about so many bytes in the page, or as few as there can be."""
    data = b""
    quick = len(webp(frames, lossless=True, method=0))  # a fifth larger than with care, in a fraction of the time
    for options in ({"lossless": True}, {"quality": 90}, {"quality": 75}, {"quality": 50}, {"quality": 25}):
        if "lossless" in options and quick > 2 * limit:
            continue
        data = webp(frames, method=4, **options)
        if len(data) * 4 / 3 <= limit:
            break
    return data


def _uri(data: bytes) -> str:
    return f"data:image/webp;base64,{base64.b64encode(data).decode()}"
