"""Minutes of attacks that are no kills: flipped bits, clocks that are set, forks, stops at odd moments.

Links and FIFOs in every place are in `tests/run/test_odd_places.py`, and count with these; all is
in short elsewhere.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tally
import torch
from PIL import Image
from runs import command, run_one_cell, wait_for, workers, write_images, write_suite
from unruly import Unruly

from pdebench.data import registry
from pdebench.errors import PdebenchError
from pdebench.files.picture import read_png
from pdebench.files.seal import sealed
from pdebench.measure.spatial.findings import read_survey
from pdebench.plan.cost_cache import cached_cost
from pdebench.regress import history
from pdebench.results.curves import load_curves
from pdebench.results.store import LEFT_OUT, Results, read_json, read_results, write_json
from pdebench.run.checkpoint import read_checkpoint
from pdebench.run.slurm import jobs
from pdebench.run.slurm.allocation import read_cell
from pdebench.run.status import status_of
from pdebench.suite.config import DataConfig
from pdebench.train.state import Snapshots

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="finds processes under /proc"),
]
FLIPS = 60  # a file
NIGHT = {
    "night": "2026-01-01T00:00:00+00:00", "suite": "tiny", "head": "a" * 40, "base": {}, "machine": "here",
    "verdict": "passed", "levels": {"DiT step": 0.25},
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with results of one cell, and of every other kind of file that is read."""
    root = tmp_path_factory.mktemp("made")
    _, out = run_one_cell(root, "measure: {spatial: true}\n")
    (identity,) = Results(out).plan()
    jobs.add(out, jobs.Submission("17", (identity,), "2026-01-01"))
    write_json(out / "predictions.json", {"suite": "tiny", "device": {"name": "h100"}, "cells": [{"cell": identity}]})
    (out / "nights.jsonl").write_text(json.dumps(sealed(NIGHT)) + "\n")
    Snapshots(out / "cells" / identity / "state", cell=identity).save(7, {"weights": torch.randn(3000)})
    return root


def left_out(frame: pd.DataFrame) -> pd.DataFrame:
    if frame.attrs.get(LEFT_OUT):
        raise PdebenchError("left out, and named")
    return frame


def whole(found: Any) -> Any:
    if found is None:
        raise PdebenchError("not believed")
    return found


READERS: dict[str, Callable[[Path, str], Any]] = {
    "record.json": lambda out, cell: Results(out).record(cell),
    "plan.json": lambda out, cell: Results(out).plan(),
    "config.yaml": lambda out, cell: read_cell(out / "cells" / cell).id,
    "suite.yaml": lambda out, cell: status_of(out).cells,
    "curve.parquet": lambda out, cell: left_out(load_curves(out, read_results(out))).to_csv(),
    "samples.png": lambda out, cell: np.asarray(whole(read_png(out / "cells" / cell / "samples.png"))).tobytes(),
    "spatial.json": lambda out, cell: read_survey(out / "cells" / cell / "spatial.json"),
    "jobs.json": lambda out, cell: jobs.submissions(out),
    "predictions.json": lambda out, cell: read_json(out / "predictions.json", "a prediction", "plan again"),
    "nights.jsonl": lambda out, cell: [
        {key: night[key] for key in NIGHT} for night in history.read(out / "nights.jsonl")
    ],
    "checkpoint.safetensors": lambda out, cell: [
        value.numpy().tobytes()
        for value in read_checkpoint(out / "cells" / cell / "checkpoint.safetensors").model.state_dict().values()
    ],
    "00000007.pt": lambda out, cell: whole(Snapshots(out / "cells" / cell / "state", cell=cell).load())[
        "weights"
    ].tolist(),
}


@pytest.mark.parametrize("name", READERS)
def test_a_flipped_bit_changes_nothing_or_is_noticed(made: Path, tmp_path: Path, name: str) -> None:
    out, draw = tmp_path / "out", random.Random(name)
    shutil.copytree(made / "out", out)
    (cell,) = Results(out).plan()
    (path,) = out.rglob(name)
    content, said = path.read_bytes(), READERS[name](out, cell)
    for _ in range(FLIPS):
        flipped = bytearray(content)
        bit = draw.randrange(8 * len(content))
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = READERS[name](out, cell)
        except PdebenchError:
            tally.note(f"bit of {name}", "refused")
            continue
        right = {key: found.get(key) for key in said} == said if isinstance(said, dict) else found == said
        tally.note(f"bit of {name}", "survived" if right else "accepted wrongly")
        assert right, f"bit {bit} of {name}"


def test_a_flipped_bit_in_the_cache_is_noticed(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PDEBENCH_CACHE", str(tmp_path / "cache"))
    config = DataConfig(name="folder", path=made / "images", resolution=16)
    model = ("DiT-XXS/8", {"input_size": 16, "in_channels": 3, "num_classes": None})

    def read() -> Any:
        splits = [registry.load(config, split) for split in ("train", "validation")]
        return [(one.images.tobytes(), one.skipped) for one in splits], cached_cost(*model)

    said, draw = read(), random.Random(0)
    for path in sorted(path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.stat().st_size):
        for _ in range(FLIPS // 3):
            content = bytearray(path.read_bytes())
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
            path.write_bytes(content)
            right = read() == said
            tally.note("bit of the cache", "survived" if right else "accepted wrongly")
            assert right, path.name


CLOCK = """\
import os, time
import psutil
shift = float(os.environ["SHIFT"])
now, born = time.time, psutil.Process.create_time
time.time = lambda: now() + shift
psutil.Process.create_time = lambda self: born(self) + shift
psutil.boot_time = (lambda boot: lambda: boot() + shift)(psutil.boot_time)
"""


@pytest.mark.parametrize("shift", [1, -1, 3600, -86400])
def test_a_clock_that_is_set_gives_no_cell_to_two(tmp_path: Path, shift: int) -> None:
    write_images(tmp_path)
    suite, out = write_suite(tmp_path, steps=150), tmp_path / "out"
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(CLOCK)
    shifted = os.pathsep.join(filter(None, (str(tmp_path / "site"), os.environ.get("PYTHONPATH"))))
    typed = command("run", suite, "--results", out, "--set", "execution.timing=shared")
    first = subprocess.Popen(typed, stdout=subprocess.DEVNULL)
    wait_for(workers, 120)
    second = subprocess.Popen(
        typed, stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": shifted, "SHIFT": str(shift)}
    )
    codes = [process.wait(300) for process in (first, second)]
    starts = [path.read_text().count("token mixer: ") for path in out.glob("cells/*/log.txt")]
    good = codes == [0, 0] and starts == [1, 1] and list(read_results(out)["status"]) == ["done", "done"]
    tally.note("clock set by a second to a day", "survived" if good else "accepted wrongly")
    assert good, (codes, starts)


@pytest.mark.parametrize("isolation", ["fresh", "warm"])
@pytest.mark.parametrize("family", ["Forks", "Starts", "Daemon", "Busy"])
def test_what_a_cell_starts_does_not_outlive_it(tmp_path: Path, family: str, isolation: str) -> None:
    unruly = Unruly(tmp_path, family)
    typed = command("run", unruly.suite, "--results", tmp_path / "out", "--set", f"execution.isolation={isolation}")
    try:
        subprocess.run(
            [*typed, "--set", "limits.seconds=25"], env=unruly.environment, stdout=subprocess.DEVNULL, timeout=240
        )
    except subprocess.TimeoutExpired:
        tally.note("process that a cell starts", "hung")
        raise
    left = unruly.alive()
    tally.note("process that a cell starts", "escaped" if left else "survived", len(unruly.started()))
    assert unruly.started()
    assert not left


def many_images(folder: Path) -> None:
    draw = np.random.default_rng(0)
    folder.mkdir()
    for at in range(1500):
        Image.fromarray(draw.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(folder / f"{at}.png")


def test_a_stop_while_decoding_or_loading_is_no_damage(tmp_path: Path) -> None:
    """Signals at moments drawn at random, from the first process' start on: nothing is left out, no step done twice."""
    many_images(tmp_path / "images")
    suite, out, draw = tmp_path / "stops.yaml", tmp_path / "out", random.Random(0)
    write_suite(tmp_path, steps=400, more="exclude: [{model.family: PDE-SSM-DiT}]\n").rename(suite)
    environment = {**os.environ, "PDEBENCH_CACHE": str(tmp_path / "cache")}
    typed = command("run", suite, "--results", out, "--set", "execution.checkpoint_seconds=0.5")
    config = DataConfig(name="folder", path=tmp_path / "images", resolution=16)
    stops = 0
    for ask in [signal.SIGINT, signal.SIGTERM, signal.SIGHUP] * 5:
        process = subprocess.Popen(typed, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(draw.uniform(0.5, 9))
        process.send_signal(ask)
        try:
            process.wait(120)
        except subprocess.TimeoutExpired:
            tally.note("stop at a random moment", "hung")
            raise
        stops += 1
        if any(json.loads(path.read_text())["status"] == "done" for path in out.glob("cells/*/record.json")):
            break
    assert subprocess.run(typed, env=environment, stdout=subprocess.DEVNULL, timeout=300).returncode == 0
    said = subprocess.run(
        [sys.executable, "-c", LOADED, str(config.path)], env=environment, capture_output=True, text=True, check=True
    )
    (record,) = [json.loads(path.read_text()) for path in out.glob("cells/*/record.json")]
    (log,) = out.glob("cells/*/log.txt")
    good = said.stdout.split() == ["1500", "0"] and record["status"] == "done" and "passed over" not in log.read_text()
    tally.note("stop at a random moment", "survived" if good else "lost", stops)
    assert good, (said.stdout, record["message"])


LOADED = """\
import sys
from pathlib import Path
from pdebench.suite.config import DataConfig
from pdebench.data import registry
config = DataConfig(name="folder", path=Path(sys.argv[1]), resolution=16)
splits = [registry.load(config, split) for split in ("train", "validation")]
print(sum(map(len, splits)), sum(one.skipped for one in splits))
"""
