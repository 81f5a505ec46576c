"""What can be known to fail later, asked before the first cell starts."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from pdebench.config import Cell
from pdebench.errors import ResultsError

LEAST_FREE = 200 * 2**20  # bytes: room for records, logs and the checkpoint of a small model


def preflight(cells: Sequence[Cell], folder: Path) -> None:
    """Check that every cell's data and metrics are to be had, and that `folder` has room.

    Raises:
        DataError: a data set is not installed, not there, or not offered at the resolution asked for.
        MetricError: a metric's extractor or weights are missing.
        ResultsError: the disk is full.
    """
    from pdebench.data import registry
    from pdebench.measure import quality

    wanted = [cell.data for cell in cells]
    wanted += [
        cell.data.model_copy(update={"resolution": side}) for cell in cells if (side := cell.evaluate.resolution)
    ]
    for data in dict.fromkeys(wanted):
        registry.check(data)
    for evaluate in dict.fromkeys(cell.evaluate for cell in cells):
        quality.check(evaluate.metrics, evaluate.samples)
    free = shutil.disk_usage(folder).free
    if cells and free < LEAST_FREE:
        raise ResultsError(
            f"{folder} has {free / 2**20:.0f} MiB free, less than the {LEAST_FREE / 2**20:.0f} MiB that a run needs: "
            "free some, or pass --results with another folder"
        )
