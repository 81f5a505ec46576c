"""JSON that shows whether it is as it was written: what a cache keeps, believed under its own name alone.

Imports no torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pdebench import files
from pdebench.errors import out_of_memory


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Write an object, whole or not at all, with a checksum of it and of the file's name.

    Raises:
        OSError: it cannot be written.
    """
    plain = json.loads(json.dumps(content))  # keys are text there
    with files.replacing(path) as file:
        file.write(json.dumps({**plain, "sha256": _seal(path, plain)}, indent=1).encode())


def read_sealed(path: Path, largest: int) -> dict[str, Any] | None:
    """What was written at a path, of at most `largest` bytes; None where that is not there, or no longer as it was."""
    try:
        found: dict[str, Any] = json.loads(files.read_plain(path, largest))
        return found if found.pop("sha256") == _seal(path, found) else None
    except Exception as error:  # a damaged file raises anything
        if out_of_memory(error):
            raise
        return None


def _seal(path: Path, content: Mapping[str, Any]) -> str:
    return hashlib.sha256(f"{path.stem} {json.dumps(content, sort_keys=True)}".encode()).hexdigest()
