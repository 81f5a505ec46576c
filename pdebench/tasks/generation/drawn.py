"""Samples on disk, a file a batch: what is drawn stays drawn, and no more than a batch stands in memory.

    drawn.json                             what they are samples of; batches of anything else are refused
    00000012-9f86d081884c7d65.safetensors  batch 12, whole or not there; its name has a digest of what it holds

Any process of any machine that sees the folder may draw any batch: the files are all that they have in common.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save
from torch import nn

from pdebench.data.rows import Extent, FileRows
from pdebench.errors import ResultsError, printable, refused_by_system
from pdebench.files import disk
from pdebench.files.seal import sealed, unsealed
from pdebench.system.distributed import World

TOLD = "drawn.json"
SAMPLES = "samples"
LARGEST = 2**24  # bytes of what is told of them
_NAME = re.compile(r"(\d{8})-([0-9a-f]{16})\.safetensors")


class DrawnBatches:
    """The batches of `count` samples, each of `size` but the last.

    Attributes:
        folder: where they are; made when it is opened.
        about: what they are samples of and how they are drawn, plain data.
        count: samples in all.
        size: of a batch.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any], count: int, size: int, *, look: bool = True) -> None:
        """Open a folder of them, empty or of the same samples; `look` whether they are whole, and remove what is not.

        Raises:
            ResultsError: it has samples of something else, or it cannot be written.
        """
        self.folder, self.about, self.count, self.size = folder, dict(about), count, size
        with _told(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for path in disk.leftovers(folder) if look else []:  # or they may be what another process is writing
                path.unlink(missing_ok=True)
        told = {"of": self.about, "count": count, "batch_size": size}
        before = _told_before(folder / TOLD)
        if before is None:
            _write(folder / TOLD, json.dumps(sealed(told), indent=1).encode())
        elif (other := _difference(before, told)) is not None:
            raise ResultsError(
                f"{folder} has samples that were drawn otherwise ({other}): ask for the same to go on, or remove it to "
                "draw them anew"
            )
        self._files = {number: path for number, path in _batches(folder) if not look or _whole(path)}

    def __len__(self) -> int:
        """How many batches there are to be."""
        return -(-self.count // self.size)

    def begin(self, number: int) -> int:
        """The first sample of a batch."""
        return number * self.size

    def of(self, number: int) -> int:
        """How many samples a batch has."""
        return min(self.size, self.count - self.begin(number))

    def missing(self) -> list[int]:
        """The batches that nobody has drawn, as it was when this was opened and by `put`."""
        return [number for number in range(len(self)) if number not in self._files]

    def put(self, number: int, samples: NDArray[Any], found: Mapping[str, float]) -> None:
        """Keep a batch, and what was found of it.

        Raises:
            ResultsError: it cannot be written.
        """
        held = {name: repr(float(value)) for name, value in found.items()}
        content = save({SAMPLES: np.ascontiguousarray(samples)}, held)
        path = self.folder / f"{number:08}-{_digest(content)}.safetensors"
        _write(path, content)
        self._files[number] = path

    def found(self) -> list[dict[str, float]]:
        """What was found of each batch, in their order."""
        return [
            {name: float(value) for name, value in _header(path)[1]["__metadata__"].items()}
            for _, path in self._complete()
        ]

    def look_again(self) -> None:
        """See what other processes drew."""
        known = set(self._files.values())
        self._files |= {number: path for number, path in _batches(self.folder) if path not in known and _whole(path)}

    def rows(self) -> FileRows:
        """All samples, in their order, read when they are asked for.

        Raises:
            ResultsError: some batch is not there.
        """
        extents = []
        for number, path in self._complete():
            offset, header = _header(path)
            extents.append(Extent(path, offset, self.of(number)))
        about = header[SAMPLES]
        return FileRows(extents, tuple(about["shape"][1:]), {"U8": "u1", "F32": "<f4"}[about["dtype"]])

    def _complete(self) -> list[tuple[int, Path]]:
        if lacking := self.missing():
            raise ResultsError(f"{self.folder} lacks {len(lacking)} of {len(self)} batches: draw again to go on")
        return sorted(self._files.items())

    def clear(self) -> None:
        """Remove them."""
        for _, path in _batches(self.folder):
            path.unlink(missing_ok=True)
        (self.folder / TOLD).unlink(missing_ok=True)
        if not any(self.folder.iterdir()):  # what else is there is not ours
            self.folder.rmdir()


def opened(folder: Path, about: Mapping[str, Any], count: int, size: int, world: World) -> DrawnBatches:
    """Those of a cell, on every process of it; where they were of something else they are drawn anew."""
    if world.first:
        try:
            DrawnBatches(folder, about, count, size)
        except ResultsError:  # the cell was trained again since: nobody asks for what it was before
            shutil.rmtree(folder)
            DrawnBatches(folder, about, count, size)
    world.wait()
    return DrawnBatches(folder, about, count, size, look=False)


def _told_before(path: Path) -> dict[str, Any] | None:
    """What a folder's samples are of; None where it does not say."""
    try:
        found = unsealed(json.loads(disk.read_plain(path, LARGEST)))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AttributeError) as error:
        why = refused_by_system(error) or error
        raise ResultsError(f"cannot read {path}: {why}; remove its folder to draw its samples anew") from None
    return found


def _write(path: Path, content: bytes) -> None:
    with _told(path), disk.replacing(path) as file:
        file.write(content)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Raises ResultsError for what the system refuses."""
    try:
        yield
    except OSError as error:
        raise ResultsError(f"cannot write {path}: {refused_by_system(error) or error}") from error


def digest_of(model: nn.Module) -> str:
    """What tells a model's weights from all others."""
    found = hashlib.sha256()
    for name, weight in model.state_dict().items():
        found.update(repr((name, weight.dtype, tuple(weight.shape))).encode())
        found.update(weight.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()[:32]


def _batches(folder: Path) -> list[tuple[int, Path]]:
    """The files of batches that are there, whatever they hold."""
    found = ((_NAME.fullmatch(path.name), path) for path in sorted(folder.iterdir()))
    return [(int(match[1]), path) for match, path in found if match]


def _whole(path: Path) -> bool:
    """Whether a file holds what its name says; what does not is removed, to be drawn again."""
    try:
        with disk.open_plain(path) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except disk.NotPlain:
        digest = ""
    if f"-{digest}." in path.name:
        return True
    path.unlink(missing_ok=True)
    return False


def _header(path: Path) -> tuple[int, dict[str, Any]]:
    """Where the samples of a batch begin in its file, and what it says of them."""
    with disk.open_plain(path) as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    return 8 + length, header


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _difference(before: Any, now: Mapping[str, Any]) -> str | None:
    """The first thing in which two descriptions differ, in words; None: they are the same."""
    theirs, ours = (_flat(one) if isinstance(one, Mapping) else {} for one in (before, now))
    for name in sorted(theirs.keys() | ours.keys()):
        if theirs.get(name) != ours.get(name):
            return f"{printable(name)} was {printable(str(theirs.get(name)))[:60]}, not {ours.get(name)}"
    return None


def _flat(told: Mapping[str, Any]) -> dict[str, Any]:
    more = told.get("of")
    return {key: value for key, value in told.items() if key != "of"} | (
        dict(more) if isinstance(more, Mapping) else {}
    )
