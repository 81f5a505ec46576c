"""Whether a training waits for its data: on this machine the share of a step, for a GPU what a core has to deliver.

The quickstart's own batches and images are waited for as its record says. For DiT-S/2 on latents of 32 x 32 x 4, batch
256, a step on an H100 is `pdebench plan`'s, and a batch is read here by the one thread that training has for it, while
nothing else is done: from what `pdebench data encode` packs, a mean and a log-variance of float16 of which latents are
drawn anew; from the same without a variance; and from EDM2's files, one an image. Rows name what was delivered over
what is needed; A is a batch and B a step. `all fused` is a step without its pointwise operations, of which the plan
says that each goes through memory. The files lie in the page cache: a disk is not in it. Of several readings the
fastest counts, since others on the machine make none faster.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
import yaml

from benchmarks.loader import seconds_of
from benchmarks.ratio import Effort, Row, single
from pdebench.data import registry
from pdebench.data.packed.index import FORMAT, Index, PartFiles, SpaceFound, read_part, write_index
from pdebench.data.packed.writer import PartWriter
from pdebench.data.source import SPLITS
from pdebench.plan.suite_plan import Prediction, make_plan
from pdebench.results.store import load_results
from pdebench.suite.config import DataConfig
from pdebench.suite.load import load_suite, shipped_suites
from pdebench.train.batches import Batches, as_trained_on

SIDE, CHANNELS, BATCH, READ = 32, 4, 256, 16
LATENTS = {"train": 4096, "validation": 64}
MOST_WAITING = 0.05  # of a step
FAMILIES = ("PDE-SSM-DiT", "DiT", "Mamba-DiT")


def run(effort: Effort) -> Iterator[Row]:
    """A row for each family of the quickstart, and for each kind of latents."""
    with tempfile.TemporaryDirectory(prefix="pdebench-bench-") as scratch:
        folder = Path(scratch)
        yield from _quickstart(folder, FAMILIES[:1] if effort.quick else FAMILIES, 12 if effort.quick else 40)
        step = _step()
        assert step.predicted_step_seconds is not None
        assert step.predicted_step_seconds_by_kind is not None
        seconds = step.predicted_step_seconds
        fused = seconds - step.predicted_step_seconds_by_kind["pointwise"]
        for name, config in _sets(folder, 1 if effort.quick else 3):
            images = as_trained_on(registry.load(config, "train"))
            batches = Batches(images, BATCH, torch.Generator().manual_seed(0))
            reading = seconds_of(partial(_read, batches), READ)
            found = min(reading() for _ in range(2 if effort.quick else 9))
            batches.close()
            for what, need in (("", seconds), (", all fused", fused)):
                label = f"{name}: {BATCH / found:,.0f} / {BATCH / need:,.0f} a second, H100{what}"
                yield Row("waiting", label, single(found, need), 1.0 if need == seconds else None)


def _read(batches: Batches) -> None:
    for _ in range(READ):
        batches.next()


def _quickstart(folder: Path, families: Sequence[str], steps: int) -> Iterator[Row]:
    """The shipped suite with fewer steps, at 32 px, and hardly sampled from."""
    suite = yaml.safe_load(shipped_suites()["quickstart"].read_text())
    suite["train"] |= {"steps": steps, "lr": float(suite["train"]["lr"])}  # "8e-3" is a text to YAML 1.1
    suite["evaluate"] |= {"samples": 2, "nfe": 2, "metrics": []}
    suite["grid"] = {"model.family": list(families)}
    del suite["include"]
    (folder / "suite.yaml").write_text(json.dumps(suite))
    command = [sys.executable, "-m", "pdebench", "run", str(folder / "suite.yaml"), "--results", str(folder / "out")]
    subprocess.run(command, check=True, capture_output=True)
    for row in load_results(folder / "out").to_dict("records"):
        waiting, whole = (row[name] / 1000 for name in ("data_wait_ms_median", "train_step_ms_median"))
        name = f"quickstart, 32 px, {row['model.family']}: waiting for a batch / a step"
        yield Row("waiting", name, single(waiting, whole), MOST_WAITING)


def _step() -> Prediction:
    """What `pdebench plan` says of DiT-S/2 in latents on an H100."""
    suite = load_suite("imagenet256_latent", ["grid.model.family=[DiT]"])
    (found,) = make_plan(suite, "h100").predictions
    return found


def _sets(folder: Path, count: int) -> Iterator[tuple[str, DataConfig]]:
    """Latents in the layouts that are measured, of normal numbers."""
    for spread, name in (("logvar", "packed, drawn anew"), (None, "packed, as they are"))[:count]:
        path = folder / f"packed-{spread}"
        _pack(path, spread)
        yield name, DataConfig(name="packed", path=path, resolution=SIDE, flip=False)
    if count > 2:
        _files(folder / "files")
        yield (
            "a file an image, drawn anew",
            DataConfig(name="encoded", path=folder / "files", resolution=SIDE, flip=False, shift=(0.0,), scale=(1.0,)),
        )


def _moments(number: int) -> np.ndarray:
    """A mean, and a log-variance or deviation of about an exp(-2)th."""
    random = np.random.default_rng(number)
    mean = random.standard_normal((CHANNELS, SIDE, SIDE), np.float32)
    return np.concatenate([mean, np.full_like(mean, 0.1)])


def _pack(folder: Path, spread: str | None) -> None:
    shape = (CHANNELS * (2 if spread else 1), SIDE, SIDE)
    folder.mkdir()
    with PartWriter(PartFiles(folder, 0), "normal numbers", shape, "<f2") as part:
        for split in SPLITS:
            for number in range(LATENTS[split]):
                part.append(split, number % 1000, _moments(number)[: shape[0]].astype(np.float16))
    made = read_part(PartFiles(folder, 0), "normal numbers")
    assert made is not None
    space = SpaceFound(shift=(0.0,), scale=(1.0,), spread=spread, autoencoder="", autoencoder_sha256="")
    write_index(folder, Index(
        format=FORMAT, of="normal numbers", made_from="normal numbers", class_names=[str(n) for n in range(1000)],
        shape=shape, dtype="<f2", mirrored=False, space=space, parts=[made], remarks=[],
    ))  # fmt: skip


def _files(folder: Path) -> None:
    labels = []
    for number in range(sum(LATENTS.values())):
        name = f"{number // 1000:05d}/img-mean-std-{number:08d}.npy"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(folder / name, _moments(number))
        labels.append([name, number % 1000])
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))
