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

from pdebench.errors import out_of_memory
from pdebench.files.disk import open_plain, read_plain, replacing

CHECKSUM = "checksum"
LEFT = (
    "curve.parquet",
    "samples.png",
    "samples.webp",
    "real.png",
    "real.webp",
    "checkpoint.safetensors",
)  # of a cell; its files of JSON have their own
DIGITS = 16  # of sha256 in a record: against accidents, since who forges a file can forge the record


def sealed(value: Mapping[str, Any], name: str = "") -> dict[str, Any]:
    """A mapping with a checksum in it, of itself and of a name that it is to be known by.

    Raises:
        ValueError: a number of it is not finite, which JSON has no word for.
    """
    held = {key: one for key, one in value.items() if key != CHECKSUM}
    return {**held, CHECKSUM: _digest(held, name)}


def unsealed(found: Mapping[str, Any], name: str = "") -> dict[str, Any]:
    """A mapping without its checksum.

    Raises:
        ValueError: it is not what was written.
    """
    held = {key: one for key, one in found.items() if key != CHECKSUM}
    if CHECKSUM in found and found[CHECKSUM] != _digest(held, name):
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


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Write an entry of a cache, whole or not at all, with a checksum of it and of the file's name.

    Raises:
        OSError: it cannot be written.
    """
    plain = json.loads(json.dumps(content))  # keys are text there
    with replacing(path) as file:
        file.write(json.dumps(sealed(plain, path.stem), indent=1).encode())


def read_sealed(path: Path, largest: int) -> dict[str, Any] | None:
    """The entry at a path, of at most `largest` bytes; None where there is none, or it is not as it was written."""
    try:
        found = json.loads(read_plain(path, largest))
        return unsealed(found, path.stem) if CHECKSUM in found else None
    except Exception as error:  # a damaged file raises anything
        if out_of_memory(error):
            raise
        return None


def _digest(value: Mapping[str, Any], name: str) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(f"{name} {text}".encode()).hexdigest()
