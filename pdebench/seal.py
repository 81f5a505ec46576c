"""What tells a file that was altered since it was written: a checksum of itself, and those of the files of a cell.

JSON has none, and a flipped bit turns one number into another that looks as good. So every file of JSON that is written
here holds a checksum of what it says, whatever its layout, and a record holds those of the files beside it. A file of
before there were checksums has none and is read as it is; so is one whose checksum its user took out to edit it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pdebench.files import open_plain

CHECKSUM = "checksum"
LEFT = ("curve.parquet", "samples.png", "checkpoint.safetensors")  # of a cell; its files of JSON have their own
DIGITS = 16  # of sha256 in a record: against accidents, since who forges a file can forge the record


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping with its own checksum in it.

    Raises:
        ValueError: a number of it is not finite, which JSON has no word for.
    """
    held = {key: one for key, one in value.items() if key != CHECKSUM}
    return {**held, CHECKSUM: _digest(held)}


def unsealed(found: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping without its checksum.

    Raises:
        ValueError: it is not what was written.
    """
    held = {key: one for key, one in found.items() if key != CHECKSUM}
    if CHECKSUM in found and found[CHECKSUM] != _digest(held):
        raise ValueError(f"it was altered after it was written (take out its key '{CHECKSUM}' to have it so)")
    return held


def digests(folder: Path, names: Iterable[str] = LEFT) -> str:
    """The column `files` of a record: what its files hold, by name, those that there are; JSON.

    Raises:
        OSError: one cannot be read.
        ValueError: one is no plain file.
    """
    found = {}
    for name in names:
        with suppress(FileNotFoundError), open_plain(folder / name) as file:
            found[name] = hashlib.file_digest(file, "sha256").hexdigest()[:DIGITS]
    return json.dumps(found)


def altered(content: bytes, name: str, files: str | None) -> bool:
    """Whether a file of a cell is not the one that its record was written with; False where `files` does not say."""
    stated = json.loads(files or "{}").get(name)
    return stated is not None and stated != hashlib.sha256(content).hexdigest()[:DIGITS]


def _digest(value: Mapping[str, Any]) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
