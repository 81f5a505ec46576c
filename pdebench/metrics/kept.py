"""Tensors that take long to compute, kept in the cache as safetensors, and believed only as they were written."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from pdebench.data.cache import cache_folder
from pdebench.errors import out_of_memory
from pdebench.files import disk

Shapes = Mapping[str, tuple[int, ...]]


def path_of(kind: str, key: Sequence[object]) -> Path:
    """Where tensors lie that depend on everything in `key` and on nothing else."""
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
    return cache_folder() / f"{kind}-{digest}.safetensors"


def read(path: Path, shapes: Shapes, dtype: torch.dtype) -> dict[str, Tensor] | None:
    """The tensors of these names and shapes kept at `path`, or None where they are absent, truncated or altered."""
    try:
        disk.open_plain(path).close()
        with safe_open(path, framework="pt") as stored:
            tensors = {name: stored.get_tensor(name) for name in shapes}
            digest = (stored.metadata() or {}).get("sha256")
        whole = all(tensors[name].shape == shape and tensors[name].dtype == dtype for name, shape in shapes.items())
        return tensors if whole and _digest(path, tensors) == digest else None
    except Exception as error:  # whatever was made of the file, they are computed again
        if out_of_memory(error):
            raise
        return None


def write(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Keep tensors, contiguous ones on the CPU; the file appears whole or not at all, or not where it cannot."""
    with contextlib.suppress(OSError, MemoryError):  # a cache that cannot be written costs time, not a result
        path.parent.mkdir(parents=True, exist_ok=True)
        with disk.replacing(path) as file:
            file.write(save(dict(tensors), {"sha256": _digest(path, tensors)}))


def _digest(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Of an entry's content and of the name that it is to have."""
    found = hashlib.sha256(path.name.encode())
    for name in sorted(tensors):
        found.update(f" {name} {tuple(tensors[name].shape)} ".encode())
        found.update(np.ascontiguousarray(tensors[name].numpy()).data)
    return found.hexdigest()
