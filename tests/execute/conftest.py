from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from runs import write_suite


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A suite file of two cells on 40 small generated images in two classes."""
    monkeypatch.setenv("PDEBENCH_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    for i in range(40):
        path = tmp_path / "images" / ("red" if i % 2 else "blue") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(path)
    return write_suite(tmp_path)
