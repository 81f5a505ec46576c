"""What can be known to fail later, asked before the first cell starts."""

from __future__ import annotations

import functools
import os
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path

from pdebench.data import cache, registry
from pdebench.data.source import SPLITS
from pdebench.errors import CellWarning, DataError, MetricError, ResultsError, SlotError
from pdebench.files.manifest import Manifest
from pdebench.metrics.metric import Score
from pdebench.results.record import COLUMNS
from pdebench.results.store import PUBLISHED
from pdebench.run.start_check import check_start
from pdebench.suite.config import Cell, DataConfig
from pdebench.system.slots import gpus
from pdebench.tasks.registry import TASKS

COMPILERS = (os.environ.get("CXX") or "g++", "clang++")
LEAST_FREE = 200 * 2**20  # bytes: room for records, logs and the checkpoint of a small model


def preflight(cells: Sequence[Cell], folder: Path, *, sized: bool = True) -> None:
    """Check that every cell's data and metrics are to be had, and that the cache and `folder` have room for them.

    `sized`: the cells have the sizes that they will run at; else these are yet to be measured.

    Raises:
        DataError: a data set is not installed, not there, or not offered at the resolution asked for; or it is yet to
            be decoded, and the cache of images cannot be written to, has no room or is a file; or so much of it cannot
            be used that a split or class would be empty.
        MetricError: a metric's extractor, weights or function are missing, it fills a column that is taken, or it would
            say nothing.
        ResultsError: the disk is full, or a file that is none of ours stands where the tables or the page go.
        ModelError: a checkpoint to begin with is of another family, width or patch, or none.
        SlotError: a model is to be compiled where there is no compiler.
    """
    if cells:
        Manifest(folder).refuse_foreign(PUBLISHED)
    trained_on = dict.fromkeys(cell.data for cell in cells)
    elsewhere = dict.fromkeys(
        data
        for cell in cells
        for data in (
            cell.evaluated_on,
            *(cell.data.model_copy(update={"resolution": side}) for side in cell.evaluate.sides),
        )
        if data != cell.data
    )
    for data in trained_on:
        registry.check(data)
        _refuse_uncached(data)
    for data in elsewhere:
        try:
            registry.check(data)
            registry.foresee(data, trained=False)
        except DataError as error:
            clips = f", {data.frames} frames" if data.frames else ""
            raise DataError(f"evaluate at {data.resolution} px{clips}: {error}") from None
        _refuse_uncached(data)
    for data in trained_on:
        registry.foresee(data)
    classes = functools.cache(registry.class_count)
    for task, data, train, evaluate in dict.fromkeys((one.task, one.data, one.train, one.evaluate) for one in cells):
        known = classes(data, TASKS[task].target)
        TASKS[task].check(registry.SOURCES[data.name], data, known, train, evaluate)
        refuse_taken_columns(task, TASKS[task].fills(evaluate))
    for cell in cells:
        check_start(cell, sized=sized)
    if any(cell.train.compile != "eager" for cell in cells) and not (gpus() or any(map(shutil.which, COMPILERS))):
        raise SlotError(
            "train.compile on a CPU needs a C++ compiler, and there is none on the PATH: install g++, or set "
            "train.compile: eager"
        )
    free = shutil.disk_usage(folder).free
    if cells and free < LEAST_FREE:
        raise ResultsError(
            f"{folder} has {free / 2**20:.0f} MiB free, less than the {LEAST_FREE / 2**20:.0f} MiB that a run needs: "
            "free some, or pass --results with another folder"
        )


def refuse_graphs(cells: Sequence[Cell], *, gpu: bool) -> None:
    """Refuse cells that are to run from CUDA graphs where there is no GPU; `gpu` says whether there is one.

    Apart from `preflight`, which may run where the cells do not: on a cluster's login node.

    Raises:
        SlotError: some are.
    """
    if not gpu and any(cell.train.compile == "compile-graphs" for cell in cells):
        raise SlotError(
            "train.compile: compile-graphs records CUDA graphs, which need a GPU, and there is none here: run it on a "
            "machine that has one, or set train.compile: compile"
        )


def _refuse_uncached(data: DataConfig) -> None:
    """Where the cache takes no images, those that are wanted must be there already."""
    if not (most := registry.SOURCES[data.name].most_cached(data)):
        return
    cache.check_cache()
    if not cache.serves(most, data.resolution):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CellWarning)  # the cell says it
            for split in SPLITS:
                registry.load(data, split)


def refuse_taken_columns(task: str, scores: Sequence[Score]) -> None:
    """What another package's metric or task finds must not fill a column that says something else.

    Raises:
        MetricError: it does.
    """
    taken = [column for score in scores for column in score.columns if column in COLUMNS]
    if taken:
        raise MetricError(
            f"'{taken[0]}', which the task {task} or its metrics fill, is a column of every record: rename it"
        )
