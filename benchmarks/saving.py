"""A saved state with its checksums over one without: what it costs that damage is noticed.

Processor time, of writing to nowhere: the disk, which takes most of the time and is the least steady, is left out.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import torch

from benchmarks.ratio import Effort, Row, paired
from pdebench.files import state_file
from pdebench.models.backbone import create_model

MODELS = ("DiT-S/2", "DiT-B/2")
TARGET = 1.02
PAIRS = 40


class _Plain:
    """Writes of Python, as those that count the checksums are."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file

    def write(self, data: bytes) -> int:
        return self.file.write(data)

    def flush(self) -> None:
        self.file.flush()


def run(effort: Effort) -> Iterator[Row]:
    """One row for each model, whose state is its weights, their average and two moments."""
    for name in MODELS[:1] if effort.quick else MODELS:
        weights = create_model(name, input_size=32, in_channels=4, num_classes=1000).state_dict()
        state = dict.fromkeys(("model", "ema"), weights) | {
            part: {key: value.clone() for key, value in weights.items()} for part in ("first", "second")
        }
        a: list[float] = []
        b: list[float] = []
        for turn in range(2 if effort.quick else PAIRS):
            both = [(a, state_file.save), (b, _plain)]
            for seconds, save in both if turn % 2 else reversed(both):
                seconds.append(_seconds(save, state))
        yield Row("saving", f"{name}: saved with checksums / without", paired(a, b), TARGET)


def _plain(state: Any, file: BinaryIO) -> None:
    torch.save(state, _Plain(file))  # type: ignore[arg-type]


def _seconds(save: Callable[[Any, BinaryIO], None], state: Any) -> float:
    with Path(os.devnull).open("wb") as file:
        began = time.process_time()
        save(state, file)
        return time.process_time() - began
