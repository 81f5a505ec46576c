"""A made-up results folder for the report's tests: every number comes from a formula, none from a run."""

from __future__ import annotations

import hashlib
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from pdebench.results.curves import CURVE
from pdebench.results.record import dtype_of

FAMILIES = ("PDE-SSM-DiT", "DiT", "Mamba-DiT")
LOSS = {"PDE-SSM-DiT": 0.2116, "DiT": 0.2228, "Mamba-DiT": 0.2301}
SPEED = {"PDE-SSM-DiT": 90.0, "DiT": 120.0, "Mamba-DiT": 24.0}
SLOWDOWN = {"PDE-SSM-DiT": 1.0, "DiT": 1.7, "Mamba-DiT": 1.1}  # exponent of the token count
MEMORY = {"PDE-SSM-DiT": 1.0, "DiT": 1.5, "Mamba-DiT": 2.2}
UNCOUNTED = {"PDE-SSM-DiT": "", "DiT": "aten::synthetic_op", "Mamba-DiT": ""}

FEW = [
    "suite",
    "cell",
    "status",
    "data.name",
    "data.resolution",
    "model.family",
    "train.seed",
    "val_loss",
    "flops_train",
]
"""Columns of cells that make one chart."""


def row(family: str, resolution: int, seed: int, **changes: Any) -> dict[str, Any]:
    """One finished cell."""
    rng = np.random.default_rng([len(family), resolution, seed])
    tokens = (resolution // 4) ** 2
    relative = tokens / 64
    speed = SPEED.get(family, 60.0) / relative ** SLOWDOWN.get(family, 1.0) * (1 + 0.02 * rng.normal())
    loss = LOSS.get(family, 0.25) * (0.8 if resolution > 32 else 1.0) + 0.001 * rng.normal()
    step_ms = 32_000 / speed
    macs = 6.1e6 * relative * (1.2 if family == "DiT" else 1.0)
    fd = 900 * loss + 3 * rng.normal()
    cell = {
        "suite": "synthetic",
        "cell": hashlib.sha256(f"{family} {resolution} {seed}".encode()).hexdigest()[:12],
        "status": "done",
        "message": None,
        "started_at": "2026-01-01T00:00:00+00:00",
        "finished_at": f"2026-01-01T00:{seed:02d}:30+00:00",
        "seconds_total": 40.0,
        "data.name": "synthetic-images",
        "data.resolution": resolution,
        "data.flip": True,
        "model.family": family,
        "model.size": "XXS",
        "model.patch": 4,
        "train.steps": 200,
        "train.batch_size": 32,
        "train.lr": 1e-3,
        "train.betas": [0.9, 0.999],
        "train.seed": seed,
        "evaluate.samples": 256,
        "evaluate.nfe": 20,
        "model_name": f"{family}-XXS/4",
        "params": 412_345,
        "tokens": tokens,
        "macs_forward": macs,
        "flops_train_step": 6 * macs * 32,
        "flops_train": 6 * macs * 32 * 200,
        "macs_uncounted": UNCOUNTED.get(family, ""),
        "images_seen": 6400,
        "train_loss": loss + 0.01,
        "val_loss": loss,
        "val_loss_ema": loss + 0.002,
        "train_seconds": 6400 / speed,
        "train_step_ms_median": step_ms,
        "train_step_ms_q1": step_ms * 0.97,
        "train_step_ms_q3": step_ms * 1.06,
        "train_step_ms_n": 190,
        "train_images_per_s": speed,
        "sample_images_per_s": speed / 15,
        "sample_images_per_s_q1": speed / 15.6,
        "sample_images_per_s_q3": speed / 14.8,
        "sample_images_per_s_n": 7,
        "peak_memory_bytes": 180e6 * relative**0.6 * MEMORY.get(family, 1.0),
        "peak_memory_kind": "VmHWM less the imports",
        "fd_efficientnet_lite0": fd,
        "kid_efficientnet_lite0": fd / 4000,
        "kid_efficientnet_lite0_std": 0.004,
        "fid": None,
        "metric_samples": 256,
        "metric_reference": "validation",
        "metric_reference_count": 300,
        "metric_resize": "224 antialiased",
        "metric_extractor": "efficientnet-lite0",
        "metric_weights_sha256": "ab" * 32,
        "metric_small_sample": True,
        "machine_fingerprint": "synthetic-machine",
        "device": "cpu",
        "cpu": "Synthetic CPU",
        "threads": 2,
        "torch_version": "0.0",
        "git_commit": "0" * 40,
        "git_dirty": False,
        "memory_bytes": 24 * 2**30,
    }
    return {**cell, **changes}


def failed(family: str, resolution: int, seed: int, status: str, message: str) -> dict[str, Any]:
    """A cell that did not finish: configuration only, nothing measured."""
    full = row(family, resolution, seed)
    config = {name: value for name, value in full.items() if "." in name or name in ("suite", "cell", "model_name")}
    return {
        **config,
        "status": status,
        "message": message,
        "machine_fingerprint": full["machine_fingerprint"],
    }


def results(
    families: tuple[str, ...] = FAMILIES,
    resolutions: tuple[int, ...] = (32,),
    seeds: tuple[int, ...] = (0, 1, 2),
) -> pd.DataFrame:
    """Every combination, all finished."""
    return pd.DataFrame([row(f, r, s) for f in families for r in resolutions for s in seeds])


PLAIN = {
    "model.states": 1,
    "model.diffusion": "full",
    "model.convection": True,
    "model.reaction": True,
    "model.gate": False,
    "model.selective": False,
    "model.padding": "periodic",
}
TERMS = ({"model.diffusion": "off"}, {"model.convection": False}, {"model.reaction": False})
WORTH = {"model.diffusion": 0.03, "model.convection": 0.012, "model.reaction": 0.0}  # loss without the term


def arm(changes: dict[str, Any], loss: float, seeds: tuple[int, ...] = (0, 1, 2), **more: Any) -> list[dict[str, Any]]:
    """The cells of one setting of PDE-SSM-DiT; runs of one seed share most of their noise, as real ones do."""
    rows = []
    for seed in seeds:
        shared, own = 0.008 * np.sin(seed + 1), 0.0012 * np.sin(7 * seed + len(str(changes)))
        values = {**PLAIN, **changes, "val_loss": loss + shared + own, **more}
        name = hashlib.sha256(f"{changes} {seed} {more}".encode()).hexdigest()[:12]
        rows.append(row("PDE-SSM-DiT", 32, seed, **{"cell": name, **values}))
    return rows


def ablation(seeds: tuple[int, ...] = (0, 1, 2), references: tuple[str, ...] = ("DiT", "None-DiT")) -> pd.DataFrame:
    """All combinations of the terms, then one option at a time, then other families."""
    rows = []
    for chosen in itertools.product((False, True), repeat=3):
        changes = {key: value for term, off in zip(TERMS, chosen, strict=True) if off for key, value in term.items()}
        rows += arm(changes, 0.41 + sum(WORTH[key] for key in changes), seeds, params=412_345 - 512 * len(changes))
    for key, value, loss, slower in (
        ("model.diffusion", "diagonal", 0.4105, 0.98),
        ("model.diffusion", "isotropic", 0.4131, 0.96),
        ("model.states", 4, 0.4085, 1.07),
        ("model.gate", True, 0.402, 1.05),
        ("model.selective", True, 0.411, 1.31),
        ("model.padding", "zero", 0.4098, 1.9),
    ):
        rows += arm({key: value}, loss, seeds, train_step_ms_median=356.0 * slower)
    for family in references:
        rows += [row(family, 32, seed, val_loss=0.43 + 0.003 * seed) for seed in seeds]
    return pd.DataFrame(rows).sample(frac=1, random_state=1)  # a table is not sorted by its design


def curves(frame: pd.DataFrame) -> pd.DataFrame:
    """A falling, noisy loss for each finished cell; the validation loss every 40 steps."""
    parts = []
    for place, cell in enumerate(frame[frame["status"] == "done"].to_dict("records")):
        rng = np.random.default_rng(place)
        step = np.arange(1, 201)
        clean = cell["val_loss"] + 0.9 * np.exp(-step / 22)
        validation = np.where(step % 40 == 0, clean, np.nan)
        train = clean * (1 + 0.08 * rng.normal(size=step.size))
        parts.append(pd.DataFrame({"cell": cell["cell"], "step": step, "train_loss": train, "val_loss": validation}))
    return pd.concat(parts) if parts else pd.DataFrame(columns=["cell", "step", "train_loss", "val_loss"])


def draw_samples(frame: pd.DataFrame, folder: Path) -> None:
    """A grid of 4 x 4 blurred discs as samples.png of each finished cell."""
    for place, cell in enumerate(frame[frame["status"] == "done"].to_dict("records")):
        rng = np.random.default_rng(place)
        side = int(cell["data.resolution"])
        y, x = np.mgrid[0:side, 0:side] / side - 0.5
        tiles = []
        for _ in range(16):
            disc = 1 / (1 + np.exp((np.hypot(x, y) - rng.uniform(0.2, 0.42)) * 30))
            colour = rng.uniform(60, 255, 3)
            tiles.append(255 - disc[..., None] * (255 - colour) + rng.normal(0, 6, (side, side, 3)))
        grid = np.concatenate([np.concatenate(tiles[4 * i : 4 * i + 4], axis=1) for i in range(4)])
        path = folder / "cells" / cell["cell"]
        path.mkdir(parents=True, exist_ok=True)
        Image.fromarray(grid.clip(0, 255).astype(np.uint8)).save(path / "samples.png")


def write_folder(frame: pd.DataFrame, folder: Path, planned: tuple[str, ...] = ()) -> Path:
    """The frame as a results folder: a record, a curve and samples of each cell; `planned` cells have nothing yet."""
    draw_samples(frame, folder)
    for cell in frame.to_dict("records"):
        write_record(cell, folder)
    every = curves(frame)
    for identity, curve in every.groupby("cell"):
        whole = curve.assign(**{name: 0.0 for name in CURVE if name not in curve}).drop(columns="cell")
        whole.to_parquet(folder / "cells" / str(identity) / "curve.parquet")
    (folder / "plan.json").write_text(json.dumps([*frame["cell"], *planned]))
    (folder / "suite.yaml").write_text("suite: synthetic\ngrid: {model.family: [PDE-SSM-DiT, DiT]}\n")
    return folder


def write_record(cell: dict[str, Any], folder: Path) -> None:
    """One row of a frame as its record."""
    known = {name: None if isinstance(value, float) and np.isnan(value) else value for name, value in cell.items()}
    typed = {
        name: int(value) if value is not None and dtype_of(str(name)) == "Int64" else value
        for name, value in known.items()
    }
    path = folder / "cells" / cell["cell"]
    path.mkdir(parents=True, exist_ok=True)
    typed["finished_at"] = typed.get("finished_at") or "2026-01-01T00:00:00+00:00"
    (path / "record.json").write_text(json.dumps(typed))
