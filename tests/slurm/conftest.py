"""A cluster for all tests here, and a suite for each: `nox -s slurm`, as root."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import cluster
import numpy as np
import pytest
from PIL import Image
from runs import write_suite


@pytest.fixture(scope="session", autouse=True)
def slurm() -> Iterator[None]:
    """A cluster for all tests."""
    if os.environ.get("PDEBENCH_SLURM") != "1":
        pytest.skip("starts SLURM's daemons as root: nox -s slurm")
    if lacking := cluster.missing():
        pytest.fail(f"not here: {', '.join(lacking)}; apt-get install {' '.join(cluster.PACKAGES)}")
    before = dict(os.environ)
    with cluster.cluster() as environment:
        os.environ.update(environment)
        yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A suite file of two cells on 40 small generated images."""
    monkeypatch.setenv("PDEBENCH_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for i in range(40):
        Image.fromarray(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(tmp_path / "images" / f"{i}.png")
    return write_suite(tmp_path)
