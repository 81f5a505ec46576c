"""LightningDiT's safetensors: some ten thousand images a file, each encoded as it is and mirrored.

    ROOT/latents_rank00_shard000.safetensors    latents (N, C, H, W), latents_flip likewise, labels (N,)
    ROOT/latents_stats.pt                       {"mean": (1, C, 1, 1), "std": (1, C, 1, 1)}

Read from `extract_features.py`, `datasets/img_latent_dataset.py` and `configs/` of hustvl/LightningDiT at 2725fed4. A
model sees `(z - mean) / std * latent_multiplier`, a multiplier that is 1 in the configuration that was read. `latents`
and `latents_flip` are drawn with equal chances there, which is what `data.flip` does here.
"""

from __future__ import annotations

import hashlib
import io
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pdebench.data.digests import file_digests
from pdebench.data.encoded.layout import Declared, Latents
from pdebench.data.encoded.shard_header import LatentShard, read_shard
from pdebench.data.encoded.whole import whole_labels
from pdebench.data.list_phrases import few
from pdebench.data.rows import Extent, FileRows, Rows, Widened
from pdebench.data.source import Skipped
from pdebench.errors import DataError, out_of_memory, refused_by_system
from pdebench.files.disk import read_plain

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

STATS = "latents_stats.pt"
_ENDS = ".safetensors"
_LATENTS, _MIRRORED, _LABELS = "latents", "latents_flip", "labels"
_FLOATS = {"F16": "<f2", "BF16": "<u2", "F32": "<f4", "F64": "<f8"}  # BF16 as its bits, see `Widened`
_NUMBERS = {"I64": "<i8", "I32": "<i4", "I16": "<i2", "U8": "|u1", "F32": "<f4", "F64": "<f8"}
_LARGEST_STATS = 2**24  # bytes


class Shards:
    """A folder of safetensors with a file of their mean and standard deviation."""

    looked_for = f"LightningDiT's *{_ENDS} with {STATS}"

    def recognised(self, folder: Path) -> bool:
        """Whether there are safetensors in it."""
        return any(one.name.endswith((_ENDS, STATS)) for one in folder.iterdir())

    def read(self, folder: Path) -> Latents:
        """The latents of such a folder."""
        there = sorted(one for one in folder.iterdir() if not one.name.startswith("."))
        paths = [one for one in there if one.name.endswith(_ENDS)]
        if not paths:
            raise DataError(f"data.path: {folder} has {STATS} and no shards of latents (*{_ENDS})")
        shards = [read_shard(path) for path in paths]
        shape, dtype = _of_all(shards)
        labels = _labels(shards)
        return Latents(
            root=folder,
            layout="LightningDiT's shards",
            rows=_rows(shards, _LATENTS, shape, dtype),
            mirrored=_rows(shards, _MIRRORED, shape, dtype) if _have(shards, _MIRRORED) else None,
            labels=labels,
            members=[(shard.path.name, shard.tensors[_LATENTS].shape[0]) for shard in shards],
            spread=None,
            declared=lambda: _declared(folder, shape[0]),
            digest=lambda: _digest(paths),
            looked_at=[folder, *paths],
            left_out=[
                Skipped(one.name, "no shard of latents") for one in there if one not in paths and one.name != STATS
            ],
            remarks=list(_gaps(paths)),
        )


def _of_all(shards: Sequence[LatentShard]) -> tuple[tuple[int, ...], str]:
    """Shape of a latent and the dtype of all shards, which is one.

    Raises:
        DataError: a shard has no latents, or others than the first.
    """
    first = None
    for shard in shards:
        if _LATENTS not in shard.tensors:
            has = few(shard.tensors) if shard.tensors else "nothing"
            raise DataError(f"data.path: {shard.path} has no tensor '{_LATENTS}' (it has {has}): move it elsewhere")
        kind = shard.tensors[_LATENTS]
        if len(kind.shape) != 4 or kind.dtype not in _FLOATS:
            raise DataError(
                f"data.path: '{_LATENTS}' of {shard.path} are {list(kind.shape)} of {kind.dtype}, not [N, C, H, W] of "
                "floats"
            )
        first = first or (shard.path, kind)
        if (kind.shape[1:], kind.dtype) != (first[1].shape[1:], first[1].dtype):
            raise DataError(
                f"data.path: latents of {shard.path} are {list(kind.shape[1:])} of {kind.dtype} and those of "
                f"{first[0].name} {list(first[1].shape[1:])} of {first[1].dtype}: keep sets in folders of their own"
            )
        mirrored = shard.tensors.get(_MIRRORED, kind)
        if (mirrored.shape, mirrored.dtype) != (kind.shape, kind.dtype):
            raise DataError(
                f"data.path: '{_MIRRORED}' of {shard.path} are {list(mirrored.shape)} of {mirrored.dtype}, where its "
                f"'{_LATENTS}' are {list(kind.shape)} of {kind.dtype}"
            )
    assert first is not None
    return first[1].shape[1:], first[1].dtype


def _have(shards: Sequence[LatentShard], name: str) -> bool:
    """Whether the shards have a tensor.

    Raises:
        DataError: some have it and others have not.
    """
    without = [shard.path for shard in shards if name not in shard.tensors]
    if without and len(without) < len(shards):
        raise DataError(f"data.path: {without[0]} has no tensor '{name}', which other shards beside it have")
    return not without


def _rows(shards: Sequence[LatentShard], name: str, shape: tuple[int, ...], dtype: str) -> Rows:
    extents = [Extent(shard.path, shard.tensors[name].offset, shard.tensors[name].shape[0]) for shard in shards]
    rows = FileRows(extents, shape, _FLOATS[dtype])
    return Widened(rows) if dtype == "BF16" else rows


def _labels(shards: Sequence[LatentShard]) -> NDArray[np.int64] | None:
    """int64 (N,), or None where no shard has any."""
    import numpy as np

    if not _have(shards, _LABELS):
        return None
    found = []
    for shard in shards:
        kind, count = shard.tensors[_LABELS], shard.tensors[_LATENTS].shape[0]
        if kind.dtype not in _NUMBERS or kind.shape != (count,):
            raise DataError(
                f"data.path: '{_LABELS}' of {shard.path} are {list(kind.shape)} of {kind.dtype}, not one number for "
                "each "
                f"of {count:,} latents"
            )
        rows = FileRows([Extent(shard.path, kind.offset, count)], (), _NUMBERS[kind.dtype])
        found.append(whole_labels(rows[:], str(shard.path)))
    return np.concatenate(found)


def _gaps(paths: Sequence[Path]) -> Iterator[str]:
    """Shards that their numbers say are missing."""
    numbers: dict[str, set[int]] = {}
    for path in paths:
        if numbered := re.fullmatch(r"(.*_shard)(\d{3,})", path.stem):
            numbers.setdefault(numbered[1], set()).add(int(numbered[2]))
    missing = [
        f"{stem}{number:03d}{_ENDS}"
        for stem, there in numbers.items()
        for number in range(max(there))
        if number not in there
    ]
    if missing:
        yield f"going by the numbers of the others, {few(missing)} {'is' if len(missing) == 1 else 'are'} not there"


def _digest(paths: Sequence[Path]) -> str:
    found = hashlib.sha256()
    for path, digest in zip(paths, file_digests(paths), strict=True):
        found.update(f"{path.name} {digest}\n".encode(errors="surrogateescape"))
    return found.hexdigest()


def _declared(folder: Path, channels: int) -> Declared:
    """What `latents_stats.pt` says.

    Raises:
        DataError: there is none, or it says anything else than a mean and a standard deviation of each channel.
    """
    import torch

    path, give = folder / STATS, "or give data.shift (the means) and data.scale (1 / standard deviation)"
    if not path.exists():
        raise DataError(
            f"data.path: {path} is not there, so nobody knows the scale of these latents: LightningDiT writes it when "
            "all "
            f"shards are; put it there, {give}"
        )
    try:
        said = torch.load(
            io.BytesIO(read_plain(path, _LARGEST_STATS, follow=True)), map_location="cpu", weights_only=True
        )
        mean, std = ([float(value) for value in said[name].flatten()] for name in ("mean", "std"))
    except Exception as error:  # a file that somebody else wrote raises anything
        if out_of_memory(error):
            raise
        why = refused_by_system(error) or f"it holds no tensors 'mean' and 'std' ({type(error).__name__})"
        raise DataError(f"data.path: cannot read {path}: {why}; put the right one there, {give}") from None
    if not len(mean) == len(std) == channels or not all(map(math.isfinite, mean + std)) or min(std) <= 0:
        raise DataError(
            f"data.path: {path} has {len(mean)} means and {len(std)} standard deviations, the least "
            f"{min(std, default=0):g}, "
            f"for {channels} channels: it is of other latents; put the right one there, {give}"
        )
    return Declared(tuple(mean), tuple(1 / value for value in std))
