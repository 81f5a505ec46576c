"""Training's reading of images: packed against what others do, and against the bare files.

Random order, batches of 256 images of 64 px, by one process. `ImageFolder` decodes the JPEGs that were packed, resizes
them as torchvision's examples do, and is read by torch's loader with as many workers as this process has cores; packed
images are read by the one thread that training has for it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.ratio import Effort, Row, Sample, compare, single
from pdebench.data.arrays import header
from pdebench.data.packed.images import pack
from pdebench.data.registry import load
from pdebench.suite.config import DataConfig
from pdebench.train.batches import Batches, as_trained_on

SIDE, BATCH, PHOTOS = 64, 256, 2048
LEAST_SPEEDUP, MOST_OVER_BARE = 1 / 20, 1.15
LARGE = 20 * 10**9  # bytes of a set that memory need not hold
MOST_MEMORY = 1.5 * 10**9


def run(effort: Effort) -> Iterator[Row]:
    """Packed over ImageFolder, packed over bare reads, and the memory of a process that trains on 20 GB."""
    with tempfile.TemporaryDirectory(prefix="pdebench-bench-") as scratch:
        folder = Path(scratch)
        _photographs(folder / "images", 256 if effort.quick else PHOTOS)
        packed = folder / "packed"
        config = DataConfig(name="folder", resolution=SIDE, path=folder / "images")
        pack(config, packed, len(os.sched_getaffinity(0)), lambda done, total: None)
        images = as_trained_on(load(DataConfig(name="packed", resolution=SIDE, path=packed), "train"))
        order = torch.Generator().manual_seed(0)
        batches = Batches(images, BATCH, order)
        ours = seconds_of(lambda: [batches.next() for _ in range(20)], 20)
        theirs = _image_folder(folder / "images")
        yield Row("loader", "64 px, packed / torchvision.ImageFolder", compare(ours, theirs, effort), LEAST_SPEEDUP)
        yield Row(
            "loader", "64 px, packed / bare reads", compare(ours, _bare(packed, len(images.pixels)), effort), 1.15
        )
        batches.close()
        peak, base = _peak(folder / "large"), _peak(folder / "small", rows=BATCH)
        yield Row(
            "loader",
            "memory on 20 GB, over training on one batch / 1.5 GB",
            single(peak - base, MOST_MEMORY),
            1.0,
            unit="MiB",
        )


def _photographs(folder: Path, count: int) -> None:
    """JPEGs of 500 x 375 in two classes, about as large as ImageNet's: smooth noise, which compresses as they do."""
    random = np.random.default_rng(0)
    for number in range(count):
        path = folder / str(number % 2) / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(random.integers(0, 256, (47, 63, 3), np.uint8))
        coarse.resize((500, 375), Image.Resampling.BICUBIC).save(path, quality=90)


def seconds_of(work: Callable[[], object], batches: int) -> Sample:
    """A sample of what reads so many batches: the seconds of one."""

    def sample() -> float:
        began = time.perf_counter()
        work()
        return (time.perf_counter() - began) / batches

    sample()
    return sample


def _image_folder(folder: Path):  # type: ignore[no-untyped-def]
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms  # type: ignore[import-untyped]

    steps = [transforms.Resize(SIDE), transforms.CenterCrop(SIDE), transforms.PILToTensor()]
    loader = DataLoader(
        datasets.ImageFolder(str(folder), transforms.Compose(steps)), BATCH, shuffle=True, drop_last=True,
        num_workers=len(os.sched_getaffinity(0)), persistent_workers=True,
    )  # fmt: skip
    return seconds_of(lambda: [None for _ in loader], max(1, len(loader)))


def _bare(packed: Path, count: int):  # type: ignore[no-untyped-def]
    """The same bytes in the same order: one `pread` a row of the arrays, into a new batch, and nothing else."""
    files = sorted(packed.glob("train-*.npy"))
    size = 3 * SIDE * SIDE
    begin = len(header("|u1", (1, 3, SIDE, SIDE)))
    held = [(path.stat().st_size - begin) // size for path in files]
    places = [(path, row) for path, rows in zip(files, held, strict=True) for row in range(rows)]
    opened = {path: os.open(path, os.O_RDONLY) for path in files}
    order = torch.Generator().manual_seed(0)

    def work() -> None:
        index = torch.randperm(count, generator=order).tolist()
        for at in range(20):
            batch = np.empty((BATCH, 3, SIDE, SIDE), np.uint8)
            for place in range(BATCH):
                path, row = places[index[(at * BATCH + place) % count]]
                os.preadv(opened[path], [batch[place]], begin + row * size)
            torch.from_numpy(batch)

    return seconds_of(work, 20)


def _peak(folder: Path, rows: int = LARGE // (3 * 256 * 256)) -> float:
    """Peak resident bytes of a process that trains a tiny model on that many images of 256 px, in a sparse file."""
    script = f"""
import hashlib, resource, sys
from pathlib import Path
import torch
from pdebench.data.arrays import header
from pdebench.data.rows import Extent, FileRows
from pdebench.models.backbone import create_model
from pdebench.suite.config import TrainConfig
from pdebench.tasks.generation.task import GENERATION
from pdebench.train.batches import Images
from pdebench.train.loop import train
path = Path({str(folder)!r})
begins = header("|u1", ({rows}, 3, 256, 256))
with path.open("wb") as file:
    file.write(begins)
    file.truncate(len(begins) + {rows} * 3 * 256 * 256)
rows = FileRows([Extent(path, len(begins), {rows})], (3, 256, 256), "|u1")
config = TrainConfig(steps=100, batch_size=64, lr=1e-4)
model = create_model("None-DiT-XXS/32", input_size=256, in_channels=3, num_classes=None)
train(model, Images(rows, None, "sparse"), config, learner=GENERATION.learner(config), device=torch.device("cpu"),
      precision="fp32")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""
    try:
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    finally:
        folder.unlink(missing_ok=True)
    return float(done.stdout)
