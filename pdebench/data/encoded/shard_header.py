"""Where the tensors of a safetensors file lie, so that their rows can be read without it.

The file begins with the length of a JSON text, 8 bytes with the lowest first, and that text: each tensor's dtype and
shape, and where it begins and ends after the text.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pdebench.errors import DataError, refused_by_system
from pdebench.files import disk

_LONGEST = 100 * 2**20  # bytes of a header that the format allows
_BYTES = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2, "I8": 1,
          "U8": 1, "BOOL": 1}  # fmt: skip


class StoredTensor(NamedTuple):
    """A tensor: its type as safetensors calls it, and the byte of the file at which it begins."""

    dtype: str
    shape: tuple[int, ...]
    offset: int


class LatentShard(NamedTuple):
    """A file, and its tensors by name."""

    path: Path
    tensors: Mapping[str, StoredTensor]


def read_shard(path: Path) -> LatentShard:
    """Read the header of a safetensors file.

    Raises:
        DataError: it cannot be read, is no such file, or was cut short.
    """
    try:
        with disk.open_plain(path, follow=True) as file:
            length = int.from_bytes(file.read(8), "little")
            text = file.read(length) if 0 < length <= _LONGEST else b""
            size = file.seek(0, 2)
        if len(text) < length or not text:
            raise ValueError("it ends within its header")
        about = json.loads(text)
        tensors = {name: _tensor(one, 8 + length) for name, one in about.items() if name != "__metadata__"}
    except (OSError, disk.NotPlain) as error:
        raise DataError(f"data.path: cannot read {path}: {refused_by_system(error) or error}") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DataError(
            f"data.path: {path} is no safetensors file ({error}): fetch it again, or move it away"
        ) from None
    for name, one in tensors.items():
        if (end := one.offset + _size(one)) > size:
            raise DataError(
                f"data.path: {path} was cut short: it has {size:,} bytes, and '{name}' ends at {end:,}; fetch it "
                "again, or "
                "move it away"
            )
    return LatentShard(path, tensors)


def _tensor(about: Any, begin: int) -> StoredTensor:
    shape, (first, last) = tuple(about["shape"]), about["data_offsets"]
    known = all(isinstance(one, int) and one >= 0 for one in (*shape, first, last)) and isinstance(about["dtype"], str)
    found = StoredTensor(about["dtype"], shape, begin + first) if known else None
    if found is None or (found.dtype in _BYTES and last - first != _size(found)):
        raise ValueError("what its header says of a tensor is not true of any")
    return found


def _size(tensor: StoredTensor) -> int:
    """Bytes; 0 of a type that is not known here, which is not read."""
    return _BYTES.get(tensor.dtype, 0) * math.prod(tensor.shape)
