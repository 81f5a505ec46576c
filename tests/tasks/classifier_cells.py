"""Cells of classifiers as the tests of classification make them."""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor, nn

from pdebench.suite.config import Cell

SECTIONS: dict[str, Any] = {
    "suite": "one",
    "task": "classification",
    "data": {"name": "digits", "resolution": 8, "flip": False},
    "model": {"family": "DiT", "size": "XXS", "patch": 2, "depth": 1, "width": 64},
    "train": {"steps": 2, "batch_size": 16, "lr": 3e-3, "ema": 0.9},
    "evaluate": {"batch_size": 50},
}
EVERYTHING = {
    "smoothing": 0.1,
    "mixup": 0.8,
    "cutmix": 1.0,
    "randaugment": 9,
    "crop": 0.5,
    "erasing": 0.5,
    "stochastic_depth": 0.2,
}


def cell(**changes: dict[str, object]) -> Cell:
    sections = {**SECTIONS, **{name: {**SECTIONS.get(name, {}), **keys} for name, keys in changes.items()}}
    return Cell.model_validate_json(json.dumps(sections))


class Said(nn.Module):
    """A network that says the same of every image: given logits, one row an image."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits, self.seen = logits, torch.empty(0)

    def forward(self, x: Tensor, t: Tensor | None, y: Tensor | None = None) -> Tensor:
        assert t is None
        assert y is None
        self.seen = x
        return self.logits[: len(x)]
