"""Weights that others published, as a file of `torch.save` or of safetensors; nothing in the file is run.

Tensors stay on the disk until they are looked at. A file of `torch.save` is read by PyTorch's reader for weights alone,
which knows tensors and plain data; what a training's arguments come as, an `argparse.Namespace`, is let through, and no
other class.
"""

from __future__ import annotations

import argparse
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from pdebench.errors import ModelError, out_of_memory, refused_by_system
from pdebench.files.disk import open_plain

WHOLE = "the file's only"
KEPT = ("ema", "model")  # what DiT's training and its successors keep beside the optimiser; the first is sampled from
_STORED = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class PublishedWeights:
    """A state dict of somebody else's model.

    Attributes:
        tensors: by their names, on the disk.
        which: `ema` or `model`, where a file has both; `WHOLE` where it is a bare state dict.
    """

    tensors: dict[str, Tensor]
    which: str


def read_published(path: Path, which: str | None = None) -> PublishedWeights:
    """The weights in a `.safetensors`, or in a file of `torch.save`: a state dict, or one under `ema` or `model`.

    Args:
        path: the file.
        which: `ema` or `model`; None: `ema` where there is one, else `model`, else the whole file.

    Raises:
        ModelError: it cannot be read, is no such file, holds something else than weights, or not those asked for.
    """
    try:
        with open_plain(path, follow=True) as file:  # what is no plain file would be waited for
            begins = file.read(4)
            file.seek(0)
            held = _of_torch(path, file) if begins == b"PK\x03\x04" else _of_safetensors(path)
        tensors, taken = _chosen(held, which)
        _refuse_more_than_the_file_has(tensors, path.stat().st_size)
        _set_apart(tensors)
    except pickle.UnpicklingError:
        raise ModelError(
            f"{path} holds more than weights: objects whose classes would have to run; save its state dict alone"
        ) from None
    except Exception as error:  # of a file that anybody made, PyTorch's reader raises what it meets
        if why := refused_by_system(error):
            raise ModelError(f"cannot read the weights {path}: {why}") from None
        if out_of_memory(error):
            raise
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise ModelError(f"{path} holds no published weights ({reason})") from None
    return PublishedWeights(tensors, taken)


def _of_torch(path: Path, file: BinaryIO) -> object:
    with zipfile.ZipFile(file) as archive:
        if any(entry.compress_type for entry in archive.infolist()):  # torch.save compresses nothing
            raise ValueError("it is a compressed archive, which torch.save does not write")
    with torch.serialization.safe_globals([argparse.Namespace]):
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)


def _of_safetensors(path: Path) -> object:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as held:
            return {key: held.get_tensor(key) for key in held.keys()}  # noqa: SIM118 (not a dict)
    except SafetensorError as error:
        raise ValueError(f"it is neither a file of torch.save since PyTorch 1.6 nor safetensors: {error}") from None


def _chosen(held: object, which: str | None) -> tuple[dict[str, Tensor], str]:
    if not isinstance(held, Mapping):
        raise ValueError(f"it holds a {type(held).__name__}, where names and their tensors belong")
    there = [name for name in KEPT if isinstance(held.get(name), Mapping)]
    if which is not None and which not in there:
        raise ValueError(f"it has no weights called {which}: {' and '.join(there) or 'it is a state dict by itself'}")
    taken = which or next(iter(there), WHOLE)
    state = held if taken == WHOLE else held[taken]
    tensors: dict[str, Tensor] = {}
    for name, value in state.items():
        if not isinstance(name, str):
            raise ValueError(f"it has {str(name)[:80]} where the name of a tensor belongs")
        if not isinstance(value, Tensor):
            raise ValueError(f"it has {type(value).__name__} {name[:80]!r} where a tensor belongs")
        if value.layout != torch.strided or value.dtype not in _STORED or value.device.type != "cpu":
            raise ValueError(f"its tensor {name[:80]} is of {value.dtype}, {value.layout}, {value.device}")
        tensors[name] = value.detach()
    if not tensors:
        raise ValueError("it is empty")
    return tensors, taken


def _refuse_more_than_the_file_has(tensors: Mapping[str, Tensor], size: int) -> None:
    """Tensors can be views of a few bytes that claim to be of any size, which they are once they are copied."""
    claimed = sum(one.numel() * one.element_size() for one in tensors.values())
    if claimed > size:
        raise ValueError(f"its tensors claim {claimed:,} bytes of its {size:,}")


def _set_apart(tensors: dict[str, Tensor]) -> None:
    """Copy those that share their bytes with others: a file of safetensors has each by itself."""
    taken: set[int] = set()
    for name, tensor in tensors.items():
        storage = tensor.untyped_storage()
        if storage.data_ptr() in taken or storage.nbytes() != tensor.numel() * tensor.element_size():
            tensors[name] = tensor.clone()
        taken.add(storage.data_ptr())
