"""What pages and help take for given: pictures, samples, tables, checkpoints and finished results, all of them tiny."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch
from PIL import Image
from published import as_published, transformer
from runs import pdebench_run

from pdebench.suite.load import shipped_suites

CLASSES = ("robin", "wren", "owl", "cat")
SIDE = 64
SUITE = """\
suite: {name}
data: {{name: folder, path: {pictures}, resolution: 16}}
model: {{family: DiT, size: XXS, patch: 8, depth: 3, width: 64}}
train: {{steps: 3, batch_size: 4, lr: 1e-3}}
evaluate: {{samples: 4, nfe: 2, batch_size: 4}}
execution: {{isolation: warm, timing: shared}}
grid:
  model.family: [DiT, PDE-SSM-DiT]
"""
RESULTS = re.compile(r"(?:results|runs)/[\w-]+")
OF_RESULTS = ("report", "compare", "status", "cancel", "probe", "worker")


def provide(words: list[str], folder: Path) -> None:
    """Put what a command reads into a folder, where it is not there yet.

    Args:
        words: the verb, and those of its words that may name what is read.
        folder: where the command is run.
    """
    verb, *named = words
    before = verb
    for word in named:
        kind = _kind(verb, before, word)
        before = word
        if kind is None:
            continue
        of_results = RESULTS.match(word)
        there = folder / (of_results[0] if of_results else word)
        if not there.exists():
            there.parent.mkdir(parents=True, exist_ok=True)
            kind(there)


def _kind(verb: str, before: str, word: str) -> Callable[[Path], None] | None:
    """What makes what a word names, or None where it names nothing that is read."""
    ends = {".npz": write_samples, ".csv": write_table, ".pt": write_published, ".yaml": write_suite}
    if before == "--autoencoder":
        return write_autoencoder
    if word.startswith("-") or "=" in word or (before.startswith("--") and before != "--reference"):
        return None
    if (made := ends.get(Path(word).suffix)) is not None:
        return made
    if verb == "fit":
        return write_runs
    if RESULTS.match(word) or verb in OF_RESULTS:
        return write_results
    if before == "encode":
        return write_packed
    reads = verb == "evaluate" or before in ("stats", "show", "pack")
    return write_pictures if reads and word not in shipped_suites() else None


def write_pictures(folder: Path) -> None:
    """40 pictures in four classes."""
    random = np.random.default_rng(0)
    for number in range(40):
        path = folder / CLASSES[number % 4] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(random.integers(0, 256, (4, 4, 3), np.uint8))
        coarse.resize((SIDE, SIDE)).save(path)


def write_samples(file: Path) -> None:
    """ADM's file of samples."""
    np.savez(file, np.random.default_rng(0).integers(0, 256, (16, SIDE, SIDE, 3), np.uint8))


def write_table(file: Path) -> None:
    """A spreadsheet of runs of two families that follow a law."""
    _runs().to_csv(file, index=False)


def write_runs(folder: Path) -> None:
    """The same as a results folder that is kept without its cells."""
    law = _runs()
    table = pd.DataFrame(
        {
            "suite": folder.name,
            "cell": [f"{row:012x}" for row in range(len(law))],
            "status": "done",
            "finished_at": "2026-01-01T00:00:00+00:00",
            "data.name": "photographs",
            "data.resolution": 32,
            "model.family": law["family"],
            "model.size": [f"n{n}" for n in law["params"]],
            "train.seed": 0,
            "train.steps": law["images"] // 64 + 1,
            "train.batch_size": 64,
            "params": law["params"],
            "images_seen": law["images"],
            "flops_train": 6.0 * law["params"] * law["images"],
            "val_loss": law["val_loss"],
            "data_checksum": "3f2a9c1b" + 56 * "0",
            "precision_used": "fp32",
        }
    )
    folder.mkdir()
    table.to_parquet(folder / "table.parquet")


def _runs() -> pd.DataFrame:
    rows = [
        (family, round(n), round(c / (6 * n)), 0.5 + worse * (50 * n**-0.35 + 90 * (c / (6 * n)) ** -0.33))
        for family, worse in (("PDE-SSM-DiT", 1.0), ("DiT", 1.2))
        for c in (1e13, 1e14, 1e15, 1e16)
        for n in (1e6, 3e6, 1e7, 3e7)
    ]
    return pd.DataFrame(rows, columns=["family", "params", "images", "val_loss"])


def write_published(file: Path) -> None:
    """A small DiT of ImageNet's classes by the names that DiT's authors give its weights."""
    with patch("published.CLASSES", 1000):
        torch.save(as_published(transformer()), file)


def write_packed(folder: Path) -> None:
    """Pictures as `pdebench data pack` leaves them."""
    pictures = folder.with_name("pictures")
    write_pictures(pictures)
    ran = pdebench_run("data", "pack", pictures, "--resolution", 32, "--out", folder, "--workers", 1)
    assert ran.returncode == 0, ran.stderr


def write_autoencoder(folder: Path) -> None:
    """One of random weights."""
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 8), norm_num_groups=4, layers_per_block=1, latent_channels=4,
    ).save_pretrained(folder)  # fmt: skip


def write_suite(file: Path) -> None:
    """A suite of two tiny cells."""
    write_pictures(file.parent / "pictures")
    file.write_text(SUITE.format(name=file.stem, pictures="pictures"))


@cache
def _room() -> TemporaryDirectory[str]:
    """Where they are, until the session ends."""
    return TemporaryDirectory(prefix="pdebench-documents-")


@cache
def _finished() -> Path:
    """The results of two tiny cells, run once."""
    folder = Path(_room().name)
    write_suite(folder / "tiny.yaml")
    ran = pdebench_run("run", folder / "tiny.yaml", "--results", folder / "out")
    assert ran.returncode == 0, ran.stderr
    return folder / "out"


def write_results(folder: Path) -> None:
    """A finished results folder."""
    shutil.copytree(_finished(), folder)
