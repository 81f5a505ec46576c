"""`python -m benchmarks.many_cells`: what the verbs take on a folder of 2,000 finished cells, each a whole process.

The folder is made up, every number of it by a formula, and has what a sweep leaves: records, configurations, curves,
sample grids, and of one cell a group what it does in space. With `--before CHECKOUT` the same verbs of that working
tree run in turn with ours, and the ratio is of medians.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from pdebench.models.registry import FAMILIES as REGISTERED
from pdebench.results.store import Results
from pdebench.suite.config import Cell
from pdebench.suite.load import load_suite

HERE = Path(__file__).resolve().parent.parent
SECONDS = 1.5  # beyond the import of pandas, for `status` and for `run` with nothing to do
SHARE = 1 / 3  # of what a report took before, in time and memory
PAGE = 5e6  # bytes of a page
POINTS = 150  # of a training curve
VALIDATED = 15  # of them with a validation loss
LOSS = {"PDE-SSM-DiT": 0.41, "DiT": 0.43, "Mamba-DiT": 0.42, "GFNet-DiT": 0.44, "None-DiT": 0.49}
SUITE = """\
suite: many
description: Sizes, resolutions, learning rates and seeds of five families.
data: {{name: emoji, resolution: 32, flip: false}}
model: {{family: DiT, size: XXS, patch: 4}}
train: {{steps: 15000, batch_size: 32, lr: 1e-3, schedule: cosine, warmup: 100, clip: 1.0, ema: 0.999, precision: fp32}}
evaluate: {{samples: 64, batch_size: 8, sampler: heun, nfe: 20, every: 1000,
           metrics: [fd_efficientnet_lite0, kid_efficientnet_lite0]}}
measure: {{spatial: true}}
grid:
  model.family: [PDE-SSM-DiT, DiT, Mamba-DiT, GFNet-DiT, None-DiT]
  model.size: [XXS, XS]
  data.resolution: [32, 64]
  train.lr: [{rates}]
  train.seed: [{seeds}]
"""


@dataclass(frozen=True)
class Took:
    """One process: wall seconds, and the most memory that it held, in bytes."""

    seconds: float
    memory: int


def make(folder: Path, cells: int = 2000) -> Path:
    """Fill a results folder with finished cells; returns the file of the suite that they are of."""
    groups = len(LOSS) * 2 * 2
    rates, seeds = (10, cells // groups // 10) if cells >= groups * 10 else (1, max(1, cells // groups))
    suite = folder.with_suffix(".yaml")
    suite.write_text(
        SUITE.format(
            rates=", ".join(f"{rate:.3g}" for rate in np.geomspace(1e-4, 1e-2, rates)),
            seeds=", ".join(map(str, range(seeds))),
        )
    )
    study = load_suite(suite)
    planned = study.planned()
    results = Results(folder)
    results.make(study.to_yaml(), [cell.id for cell in planned])
    pictures = {resolution: _grid(resolution) for resolution in (32, 64)}
    survey = _survey()
    for place, cell in enumerate(planned):
        home = results.cell(cell.id)
        home.mkdir(parents=True)
        record = _record(cell, place)
        (home / "config.yaml").write_text(cell.to_yaml())
        (home / "record.json").write_text(json.dumps(record, indent=1))
        (home / "curve.parquet").write_bytes(_curve(record["val_loss"], place))
        (home / "samples.png").write_bytes(pictures[cell.data.resolution])
        if cell.train.seed == 0:
            (home / "spatial.json").write_text(survey)
    return suite


def _record(cell: Cell, place: int) -> dict[str, Any]:
    random = np.random.default_rng(place)
    tokens = (cell.data.resolution // cell.model.patch) ** 2
    width = {"XXS": 1.0, "XS": 2.2}[cell.model.size]
    off = np.log10(cell.train.lr / 1e-3)
    loss = LOSS[cell.model.family] * (0.9 if width > 1 else 1.0) * (0.8 if tokens > 64 else 1.0)
    loss *= float(1 + 0.04 * off**2 + 0.004 * random.normal())
    step = float(0.08 * width * tokens / 64 * (1 + 0.02 * random.normal()))
    macs = int(4.9e7 * width * tokens / 64)
    fd = float(760 * loss + 3 * random.normal())
    batch, steps = cell.train.batch_size, cell.train.steps
    minute = place % 60
    return {
        "suite": cell.suite, "cell": cell.id, "planned_as": cell.planned_as, "status": "done", "message": None,
        **cell.flat(),
        "started_at": f"2026-01-01T{place // 60 % 24:02}:{minute:02}:00.000+00:00",
        "finished_at": f"2026-01-01T{place // 60 % 24:02}:{minute:02}:30.000+00:00",
        "seconds_total": 25.8, "exit_code": 0, "log_tail": None, "slot": "cpu", "timing": "alone",
        "isolation": "fresh", "parent_cpu_share": 0.0004,
        "model_name": f"{cell.model.family}-{cell.model.size}/{cell.model.patch}",
        "params": int(1.31e6 * width), "params_idle": 0, "tokens": tokens, "macs_forward": macs,
        "macs_uncounted": "aten::add, aten::cos, aten::exp, aten::gelu, aten::mul, aten::silu, aten::sin",
        "flops_train_step": 6 * macs * batch, "flops_train": float(6 * macs * batch * steps),
        "mixer_implementation": "rfft2", "warnings": None if place % 7 else "kid_efficientnet_lite0 is of 64 samples",
        "family_revision": REGISTERED[cell.model.family].revision, "family_source": None, "classes": 9,
        "train_images": 1630, "val_images": 192, "data_checksum": hashlib.sha256(b"images").hexdigest(),
        "data_skipped": 81, "images_seen": batch * steps, "train_loss": loss * 1.02, "val_loss": loss,
        "val_loss_ema": loss * 1.005, "val_loss_transfer": None, "train_seconds": step * steps,
        "train_step_ms_median": step * 1e3, "train_step_ms_q1": step * 970, "train_step_ms_q3": step * 1020,
        "train_step_ms_n": steps - 5, "train_images_per_s": batch / step, "data_wait_ms_median": 0.18,
        "sample_seconds": 1.34, "sample_images_per_s": 4 / step, "sample_images_per_s_q1": 3.8 / step,
        "sample_images_per_s_q3": 4.1 / step, "sample_images_per_s_n": 7,
        "peak_memory_bytes": int(1.9e8 * width * (tokens / 64) ** 0.7), "peak_memory_kind": "VmHWM of the process",
        "weights_bytes": int(5.2e6 * width), "gradients_bytes": int(5.2e6 * width),
        "optimizer_bytes": int(1.04e7 * width),
        "fd_efficientnet_lite0": fd, "kid_efficientnet_lite0": fd / 740, "kid_efficientnet_lite0_std": 0.0156,
        "metric_kid_subset_size": 32, "metric_samples": 64, "metric_reference": "emoji/train/32px (1630 images)",
        "metric_reference_count": 1630, "metric_resize": "bicubic antialiased to 224",
        "metric_extractor": "efficientnet_lite0", "metric_weights_sha256": hashlib.sha256(b"weights").hexdigest(),
        "metric_small_sample": True,
        "spatial_mixing_length": 2.6, "spatial_reach": 2.9, "spatial_locality": float(random.uniform(0, 0.8)),
        "precision_used": "fp32", "machine_fingerprint": "af2babd1b41d", "device": "cpu", "driver": None,
        "cpu": "AMD EPYC", "cores": 2, "threads": 2, "memory_bytes": 25276510208, "allocator": "system",
        "load_average": float(random.uniform(0, 2)), "platform": "Linux x86_64", "python_version": "3.11.7",
        "torch_version": "2.15.0", "pdebench_version": "0.1.0", "git_commit": "0" * 40, "git_dirty": False,
    }  # fmt: skip


def _curve(end: float, place: int) -> bytes:
    random = np.random.default_rng([place, 1])
    step = np.arange(1, POINTS + 1) * 100
    clean = end + 0.9 * np.exp(-step / 900)
    every = POINTS // VALIDATED
    validation = [float(loss) if i % every == every - 1 else None for i, loss in enumerate(clean)]
    table = pa.table(
        {
            "step": step,
            "images": step * 32,
            "seconds": step * 0.08,
            "train_loss": clean * (1 + 0.08 * random.normal(size=POINTS)),
            "val_loss": pa.array(validation, pa.float64()),
            "lr": np.full(POINTS, 1e-3),
            "grad_norm": random.uniform(0.1, 1, POINTS),
        }
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def _grid(side: int) -> bytes:
    """8 x 8 smooth, noisy tiles as a PNG."""
    random = np.random.default_rng(side)
    y, x = np.mgrid[0:side, 0:side] / side - 0.5
    tiles = []
    for _ in range(64):
        disc = 1 / (1 + np.exp((np.hypot(x, y) - random.uniform(0.2, 0.42)) * 30))
        tiles.append(255 - disc[..., None] * (255 - random.uniform(60, 255, 3)) + random.normal(0, 3, (side, side, 3)))
    page = np.concatenate([np.concatenate(tiles[8 * i : 8 * i + 8], axis=1) for i in range(8)])
    buffer = io.BytesIO()
    Image.fromarray(page.clip(0, 255).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def _survey() -> str:
    """What one small model does in space, as every cell's file has it."""
    import torch

    from pdebench.measure.spatial.survey import survey
    from pdebench.models.backbone import create_model
    from pdebench.tasks.generation.learner import GenerationLearner

    torch.manual_seed(0)
    model = create_model("PDE-SSM-DiT-XXS/4", input_size=32, in_channels=3, num_classes=9)
    return survey(model.eval(), torch.randn(2, 3, 32, 32), learner=GenerationLearner()).model_dump_json()


def process(arguments: Sequence[str], checkout: Path) -> Took:
    """Run a command of Python with a working tree's packages, to its end.

    Raises:
        RuntimeError: it failed.
    """
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    with tempfile.TemporaryFile() as said:
        began = time.perf_counter()
        child = subprocess.Popen(
            [sys.executable, *arguments], cwd=checkout, env=environment, stdout=subprocess.DEVNULL, stderr=said
        )
        _, state, used = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(state)
        if child.returncode:
            said.seek(0)
            raise RuntimeError(f"{' '.join(arguments)}: {said.read().decode(errors='replace')[-2000:]}")
    return Took(seconds, used.ru_maxrss * 1024)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the folder, run the verbs in turn, and print medians beside what they may be."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.many_cells", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--before", type=Path, metavar="CHECKOUT", help="a working tree of another build")
    parser.add_argument("--cells", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the cells are, or go; default: a temporary folder")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.folder or Path(temporary) / "many").absolute()
        suite = folder.with_suffix(".yaml")
        if not (folder / "plan.json").exists():
            suite = make(folder, options.cells)
        _measure(folder, suite, options.before and options.before.resolve(), options.rounds)
    return 0


def _copy(folder: Path) -> Path:
    """The folder for a build of before plans had checksums, which cannot read one that has."""
    copy = folder.with_name(f"{folder.name}-before")
    if not copy.exists():
        shutil.copytree(folder, copy)
        (copy / "plan.json").write_text(json.dumps(Results(folder).plan()))
    return copy


def _measure(folder: Path, suite: Path, before: Path | None, rounds: int) -> None:
    builds = {"now": HERE} | ({"before": before} if before else {})
    folders = {"now": folder} | ({"before": _copy(folder)} if before else {})
    verbs = {
        "status": ["-m", "pdebench", "status", "RESULTS"],
        "run, nothing to do": ["-m", "pdebench", "run", str(suite), "--results", "RESULTS"],
        "report": ["-m", "pdebench", "report", "RESULTS"],
    }

    def take(verb: str, build: str) -> Took:
        return process([str(folders[build]) if one == "RESULTS" else one for one in verbs[verb]], builds[build])

    for build in builds:  # `run` makes a report where there is none, and files are read from disk once
        take("report", build)
    pages: dict[str, int] = {}
    took: dict[tuple[str, str], list[Took]] = {}
    for _ in range(rounds):
        took.setdefault(("import pandas", "now"), []).append(process(["-c", "import pandas"], HERE))
        for verb in verbs:
            for build in builds:
                took.setdefault((verb, build), []).append(take(verb, build))
                pages[build] = (folders[build] / "report.html").stat().st_size
    seconds = {key: statistics.median(one.seconds for one in runs) for key, runs in took.items()}
    memory = {key: statistics.median(one.memory for one in runs) for key, runs in took.items()}
    pandas = seconds["import pandas", "now"]
    print(f"import of pandas {pandas:.2f} s; medians of {rounds} processes")
    for verb in verbs:
        now = seconds[verb, "now"]
        line = f"{verb}: {now:.2f} s, {memory[verb, 'now'] / 1e6:.0f} MB"
        if verb != "report":
            line += f"; {now - pandas:.2f} s beyond pandas, of {SECONDS} allowed"
        if before:
            line += f"; before {seconds[verb, 'before']:.2f} s, {memory[verb, 'before'] / 1e6:.0f} MB"
            line += f"; ratio {now / seconds[verb, 'before']:.2f} of time"
            line += f", {memory[verb, 'now'] / memory[verb, 'before']:.2f} of memory"
            line += f", each at most {SHARE:.2f}" if verb == "report" else ""
        print(line)
    print("; ".join(f"page {build} {size / 1e6:.2f} MB" for build, size in pages.items()) + f", of {PAGE / 1e6:g} MB")


if __name__ == "__main__":
    raise SystemExit(main())
