"""Parts of a packed set: each is written whole, or not at all, and says what was made of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pdebench.data.arrays import PIXELS, ArrayWriter
from pdebench.data.packed.index import INDEX, Part, PartFiles, SplitPart, read_part, write_part
from pdebench.data.source import SPLITS, Sample, Skipped, Split
from pdebench.errors import DataError
from pdebench.files import disk

if TYPE_CHECKING:
    from numpy.typing import NDArray

PART_BYTES = 256 * 2**20  # of rows, about: what is lost where packing is interrupted
MOST_ROWS = 8192  # of a part

Said = Callable[[int, int], None]
"""Told of progress: parts that are done, of how many."""


@dataclass
class PartWriter:
    """Collects the rows of one part.

    Attributes:
        files: where they go.
        of: what they are made of and how.
        shape: of a row, (C, H, W) or (C, T, H, W).
        kind: of the values, as numpy writes it.
        mirrored: each row comes with that of the mirrored image.
    """

    files: PartFiles
    of: str
    shape: tuple[int, ...]
    kind: str = PIXELS
    mirrored: bool = False
    labels: dict[Split, list[int]] = field(default_factory=lambda: {split: [] for split in SPLITS})
    skipped: list[tuple[str, str]] = field(default_factory=list)
    enlarged: int = 0
    paged: int = 0

    def __enter__(self) -> PartWriter:
        self._stack = ExitStack()
        self._arrays: dict[Split, list[ArrayWriter]] = {}
        for split in SPLITS:
            paths = [self.files.rows(split, mirrored=turned) for turned in (False, True)[: 1 + self.mirrored]]
            writers = [self._stack.enter_context(ArrayWriter(path, self.shape, self.kind)) for path in paths]
            self._arrays[split] = writers
        return self

    def append(self, split: Split, label: int, *rows: NDArray[Any]) -> None:
        """Add an image: its row, and that of the mirrored image where there is one."""
        for writer, row in zip(self._arrays[split], rows, strict=True):
            writer.append(row)
        self.labels[split].append(label)

    def add(self, sample: Sample | Skipped) -> None:
        """Add a decoded image, or count what was left out."""
        if isinstance(sample, Skipped):
            self.skipped.append((sample.name, sample.reason))
            return
        self.append(sample.split, sample.label, sample.pixels)
        self.enlarged += sample.enlarged
        self.paged += sample.paged

    def __exit__(self, *exception: Any) -> None:
        self._stack.__exit__(*exception)
        if exception[0] is not None:
            return
        splits = {}
        for split, labels in self.labels.items():
            mirrored = _digest(self.files.rows(split, mirrored=True)) if self.mirrored else None
            splits[split] = SplitPart(labels=labels, sha256=_digest(self.files.rows(split)), mirrored_sha256=mirrored)
        part = Part(of=self.of, splits=splits, skipped=self.skipped, enlarged=self.enlarged, paged=self.paged)
        write_part(self.files, part)


def rows_of_a_part(shape: Iterable[int], itemsize: int) -> int:
    """How many images a part is made of."""
    size = itemsize
    for side in shape:
        size *= side
    return max(1, min(MOST_ROWS, PART_BYTES // size))


def prepared(folder: Path, of: str, parts: int) -> list[int]:
    """The parts that are yet to be made, in a folder that is made where there is none.

    Raises:
        DataError: something else lies there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        there = sorted(path for path in folder.iterdir() if not path.name.endswith(disk.TEMPORARY))
        for left in folder.glob(f".*{disk.TEMPORARY}"):  # of a part that was interrupted
            left.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"cannot write to {error.filename or folder}: {error.strerror or error}") from None
    done = {number for number in range(parts) if read_part(PartFiles(folder, number), of) is not None}
    if there and not done and not _begun(folder, there):
        raise DataError(
            f"{folder} is not empty, and holds no packed set of these images at this side: choose another folder"
        )
    (folder / INDEX).unlink(missing_ok=True)  # it is written last
    return [number for number in range(parts) if number not in done]


def _begun(folder: Path, there: list[Path]) -> bool:
    """Whether nothing but the arrays of an interrupted first part lies there."""
    ours = {PartFiles(folder, 0).rows(split, mirrored=turned) for split in SPLITS for turned in (False, True)}
    return all(path in ours for path in there)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
