from __future__ import annotations

from pathlib import Path

import pytest
from runs import write_images, write_suite


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A suite file of two cells on 40 small generated images in two classes."""
    write_images(tmp_path)
    return write_suite(tmp_path)
