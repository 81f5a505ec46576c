"""A suite at toy length: each of its kinds of cells once, for some steps, tiny, on data that are made up.

What a suite says of data, models and evaluation that may not work shows in minutes, before real data are there. Its
numbers mean nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pdebench.data import made_up
from pdebench.data.registry import SOURCES
from pdebench.errors import DataError
from pdebench.files.yaml_source import dump_yaml
from pdebench.metrics.registry import METRICS
from pdebench.models.registry import FAMILIES
from pdebench.suite.config import Cell, DataConfig
from pdebench.suite.load import Suite
from pdebench.tasks.registry import TASKS

TOKENS_A_SIDE = 8  # at most: a CPU is to be done in minutes
FRAMES = 4  # of tokens of a clip, at most
STEPS, BATCH = 4, 4
SAMPLES = 8
MAPS = "sprites"  # in the place of masks, which nothing here makes up


def smoke_document(suite: Suite, data: Path) -> str:
    """The suite that tries another one, in YAML.

    Args:
        suite: the one to try.
        data: the folder for what is made up.

    Raises:
        DataError, OSError: that cannot be written.
    """
    entries: dict[str, dict[str, Any]] = {}
    for cell in suite.planned():
        entry = _entry(cell, data)
        entries.setdefault(repr(sorted(entry.items(), key=str)), entry)
    about = {"suite": f"{suite.name[:58]}-smoke", "description": f"{suite.name} at toy length", "task": suite.task}
    execution = {"timing": "shared", "isolation": "warm"}
    return dump_yaml({**about, "execution": execution, "include": list(entries.values())})


def _entry(cell: Cell, data: Path) -> dict[str, Any]:
    """What is left of a cell, as dotted keys."""
    side = min(cell.data.resolution, cell.model.patch * TOKENS_A_SIDE)
    name = cell.data.name
    if SOURCES[name].brought and TASKS[cell.task].target == "maps":
        name = MAPS
    source = SOURCES[name]
    packaged = not source.brought and "download" not in source.takes  # neither a user's, nor to be fetched yet
    if packaged and (offered := source.resolutions):
        side = min((one for one in offered if one % cell.model.patch == 0), default=min(offered))
    found: dict[str, Any] = {"data.name": name, "data.resolution": side, "data.flip": cell.data.flip}
    frames = None if cell.data.frames is None else min(cell.data.frames, cell.model.patch_frames * FRAMES)
    if not packaged:
        found |= _made_up(cell.data, side, frames, data)
    elif cell.data.set:
        found["data.set"] = cell.data.set
    if frames is not None:
        found |= {"data.frames": frames, "model.patch_frames": cell.model.patch_frames}
    family = FAMILIES[cell.model.family]
    found |= {"model.family": cell.model.family, "model.size": "XXS", "model.patch": cell.model.patch}
    found |= {f"model.{key}": value for key, value in cell.model.options.items()}
    found |= {f"shell.{key}": value for key, value in cell.shell.asked_of(family).items()}
    if family.heads:
        found["model.depth"] = 3 if cell.shell.skips else 2
    train = cell.train.model_dump(mode="json")
    short: dict[str, Any] = {
        "steps": min(STEPS, cell.train.steps),
        "batch_size": BATCH,
        "devices": 1,
        "nodes": 1,
        "shard": False,
        "accumulate": 1,
        "warmup": 0,
    }
    short |= {"init": None, "init_content": None, "precision": "auto", "compile": "eager", "seed": 0}
    found |= {f"train.{key}": value for key, value in (train | short).items()}
    evaluate = cell.evaluate.model_dump(mode="json")
    small: dict[str, Any] = {"batch_size": BATCH, "resolution": None, "frames": None, "every": None}
    if "resolutions" in evaluate:
        small["resolutions"] = []
    if evaluate.get("samples"):
        # weights of an extractor may not be here, and what is made up is no picture
        metrics = [METRICS.find(name) for name in evaluate.get("metrics", ())]
        asked = [one.name for one in metrics if one.minimum <= SAMPLES and one.extractor is None]
        small |= {"samples": SAMPLES, "metrics": asked}
        if evaluate.get("nfe") is not None:
            small["nfe"] = 2
    found |= {f"evaluate.{key}": value for key, value in (evaluate | small).items()}
    measure = cell.measure.model_dump(mode="json") | {"seconds": 0.1, "search_seconds": 1.0}
    return found | {f"measure.{key}": value for key, value in measure.items()}


def _made_up(config: DataConfig, side: int, frames: int | None, data: Path) -> dict[str, Any]:
    """The keys of a made-up set in the place of one that has to be brought."""
    source = SOURCES[config.name]
    try:
        channels = config.channels or source.channels_of(config)
    except DataError:
        channels = source.channels
    latents = bool(config.channels and config.channels != 3) or source.dtype == "float32"
    long = "" if frames is None else f"x{frames}"
    kind = f"{'latents' if latents else 'images'}-{channels}{long}x{side}"
    folder = data / f"{kind}{'-unlabelled' * (config.classes == 0)}"
    made_up.make_up(folder, side, channels, frames, latents=latents, labelled=config.classes != 0)
    keys: dict[str, Any] = {"data.name": "packed", "data.path": str(folder.absolute()), "data.resolution": side}
    return keys | ({"data.flip": False} if latents else {})  # a mirrored latent is none of a mirrored image
