"""Reading tar shards, ours over webdataset's own pipeline: seconds for as many pictures.

Both decode the same photographs, 256 px JPEG, with Pillow, crop and resize them to 64 px by the same function, and
give batches of 64. Ours reads any picture of any shard; webdataset mixes what lies in a buffer. Either in one thread,
or ours in as many threads as webdataset has processes. What those have ready before their turn is taken out untimed,
and ours begins when they have filled up again and are idle. Of a single thread it is processor time, which others on
the machine disturb least.
"""

from __future__ import annotations

import io
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.ratio import Effort, Row, Sample, compare
from pdebench.data import pixels, registry
from pdebench.data.shards.rows import DecodedRows, usable_threads
from pdebench.suite.config import DataConfig

SHARDS, EACH, STORED = 4, 192, 256
RESOLUTION, BATCH, BATCHES = 64, 64, 8
BUFFER = 512
IDLE = 0.4  # seconds in which other processes fill up what they keep ready
TARGET = 1.0


def run(effort: Effort) -> Iterator[Row]:
    """One row for a single thread, one for all that this process may use."""
    with tempfile.TemporaryDirectory() as folder:
        _write(Path(folder))
        config = DataConfig(name="shards", path=Path(folder), resolution=RESOLUTION)
        table = registry.load(config, "train").images.table  # type: ignore[attr-defined]
        for workers in (1,) if effort.quick else sorted({1, usable_threads()}):
            clock = time.process_time if workers == 1 else time.perf_counter
            ours = _ours(DecodedRows(table, RESOLUTION, workers), clock)
            theirs = _theirs(sorted(map(str, Path(folder).glob("*.tar"))), 0 if workers == 1 else workers, clock)
            name = f"{workers} thread{'s' * (workers > 1)}, {BATCHES * BATCH} pictures: ours / webdataset"
            yield Row("shards", name, compare(ours, theirs, effort), TARGET)


def _write(folder: Path) -> None:
    """Crops of packaged photographs as JPEG files, by webdataset's own writer."""
    import webdataset

    photos = registry.load(DataConfig(name="photos", resolution=STORED), "train").images
    for shard in range(SHARDS):
        with webdataset.TarWriter(str(folder / f"{shard:03d}.tar")) as writer:
            for number in range(shard * EACH, (shard + 1) * EACH):
                stream = io.BytesIO()
                Image.fromarray(np.ascontiguousarray(photos[number].transpose(1, 2, 0))).save(
                    stream, "JPEG", quality=90
                )
                writer.write({"__key__": f"{number:06d}", "jpg": stream.getvalue(), "cls": number % 10})


def _ours(rows: DecodedRows, clock: Callable[[], float]) -> Sample:
    random = np.random.default_rng(0)

    def sample() -> float:
        time.sleep(IDLE)
        began = clock()
        for _ in range(BATCHES):
            torch.from_numpy(rows[random.integers(0, len(rows), BATCH)])
        return clock() - began

    rows[np.arange(BATCH)]
    return sample


def _theirs(paths: list[str], processes: int, clock: Callable[[], float]) -> Sample:
    import webdataset

    def cropped(sample: tuple[Any, int]) -> tuple[torch.Tensor, int]:
        return torch.from_numpy(pixels.centre_crop(sample[0], RESOLUTION)), sample[1]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # more processes than shards, where there are so many
        data = webdataset.WebDataset(paths, shardshuffle=SHARDS, empty_check=False).repeat().shuffle(BUFFER)
    data = data.decode("pil").to_tuple("jpg", "cls").map(cropped).batched(BATCH)
    kept = {"persistent_workers": True, "prefetch_factor": 1} if processes else {}
    batches = iter(webdataset.WebLoader(data, batch_size=None, num_workers=processes, **kept))

    def sample() -> float:
        for _ in range(2 * processes):
            next(batches)
        began = clock()
        for _ in range(BATCHES):
            next(batches)
        return clock() - began

    sample()
    return sample
