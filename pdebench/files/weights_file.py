"""A file of safetensors whose bytes are the same for the same weights, and which has a checksum of itself.

safetensors writes its metadata in an order by chance, and has no checksum: a flipped bit is another weight. So the
header is written anew, in order, with a SHA-256 of itself and of all tensors among the metadata. Any reader of
safetensors reads the file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from torch import Tensor

CHECKSUM = "sha256"
_ABOUT = "__metadata__"
_LARGEST = 2**26  # bytes of a header; safetensors itself allows 100 MB
_PIECE = 2**20


def save(weights: Mapping[str, Tensor], about: Mapping[str, str], file: BinaryIO) -> None:
    """Write contiguous tensors on the host and texts about them.

    Raises:
        OSError: the file cannot be written.
    """
    from safetensors.torch import save as packed

    content = memoryview(packed(dict(weights)))
    begin = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(bytes(content[8:begin])) | {_ABOUT: dict(sorted(about.items()))}
    found = hashlib.sha256(_text(header))
    found.update(content[begin:])
    header[_ABOUT][CHECKSUM] = found.hexdigest()
    text = _text(header)
    for part in (len(text).to_bytes(8, "little"), text, content[begin:]):
        file.write(part)


def refuse_altered(file: BinaryIO) -> None:
    """Read a whole file; one without a checksum, of before there were any, passes.

    Raises:
        ValueError: it is not as it was written, or no file of safetensors.
    """
    size = int.from_bytes(file.read(8), "little")
    if size > _LARGEST:
        raise ValueError(f"its header claims {size:,} bytes")
    header = json.loads(file.read(size))
    if not isinstance(header, dict) or not isinstance(about := header.get(_ABOUT, {}), dict):
        raise ValueError("it is no file of safetensors")
    if (stated := about.pop(CHECKSUM, None)) is None:
        return
    found = hashlib.sha256(_text(header))
    while piece := file.read(_PIECE):
        found.update(piece)
    if found.hexdigest() != stated:
        raise ValueError("it was altered after it was written: its checksum is another")


def read_about(file: BinaryIO) -> dict[str, str]:
    """The texts about the tensors of a file, which are not read, and not checked.

    Raises:
        ValueError: it is no file of safetensors.
    """
    size = int.from_bytes(file.read(8), "little")
    if size > _LARGEST:
        raise ValueError(f"its header claims {size:,} bytes")
    header = json.loads(file.read(size))
    if not isinstance(header, dict) or not isinstance(about := header.get(_ABOUT), dict):
        raise ValueError("it is no file of safetensors")
    return about


def _text(header: Mapping[str, Any]) -> bytes:
    text = json.dumps(header, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % 8)  # the tensors that follow are aligned
