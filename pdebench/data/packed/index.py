"""What lies in a packed set: `index.json`, written last, beside the arrays of each part.

A part is some rows of the set, packed at one go: `part-00000.json` says what they are, and `train-00000.npy`,
`validation-00000.npy` hold them, with `-mirrored` those of the mirrored images where there are any. They are plain
numpy arrays (rows, C, H, W), of clips (rows, C, T, H, W), which anybody can read. A part whose JSON is there is done;
the index names them all.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pdebench.data.source import Split
from pdebench.errors import DataError
from pdebench.files.seal import read_sealed, write_sealed

FORMAT = 1
INDEX = "index.json"
_LARGEST = 256 * 2**20  # bytes of an index: the labels of ten million images


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SpaceFound(_Model):
    """A `Space` as an index has it."""

    shift: tuple[float, ...]
    scale: tuple[float, ...]
    spread: str | None = Field(pattern="^(std|logvar)$")
    autoencoder: str
    autoencoder_sha256: str


class SplitPart(_Model):
    """Rows of one split: their labels, -1 where there are no classes, and the sha256 of their files."""

    labels: list[int]
    sha256: str
    mirrored_sha256: str | None = None


class Part(_Model):
    """Some of a set; `of` is what it was made of and how, so that a part of something else is not taken for it."""

    of: str
    splits: dict[Split, SplitPart]
    skipped: list[tuple[str, str]]
    enlarged: int
    paged: int


class Index(_Model):
    """A packed set.

    Attributes:
        of: what it was made of and how.
        made_from: in words.
        class_names: None for a set without classes.
        shape: of a row, (C, H, W), of a clip (C, T, H, W).
        dtype: as numpy writes it, `|u1`, `<f2` or `<f4`.
        mirrored: rows of the mirrored images lie beside.
        space: of latents.
        parts: in order.
        left_out: files that were left out before they were packed, which are in no part.
        remarks: what a reader of numbers should know of the set.
    """

    format: int
    of: str
    made_from: str
    class_names: list[str] | None
    shape: tuple[int, int, int] | tuple[int, int, int, int]
    dtype: str = Field(pattern=r"^(\|u1|<f2|<f4)$")
    mirrored: bool
    space: SpaceFound | None
    parts: list[Part]
    remarks: list[str]
    left_out: int = 0

    @property
    def frames(self) -> int | None:
        """Of a clip; None: it holds images."""
        return self.shape[1] if len(self.shape) == 4 else None

    @property
    def skipped(self) -> int:
        """All that was left out."""
        return self.left_out + sum(len(part.skipped) for part in self.parts)


@dataclass(frozen=True)
class PartFiles:
    """Where the rows of a part lie."""

    folder: Path
    number: int

    @property
    def about(self) -> Path:
        """What they are; written when they are all there."""
        return self.folder / f"part-{self.number:05}.json"

    def rows(self, split: Split, *, mirrored: bool = False) -> Path:
        """The array of a split."""
        return self.folder / f"{split}-{self.number:05}{'-mirrored' * mirrored}.npy"


def read_part(files: PartFiles, of: str) -> Part | None:
    """A part that is there already; None where it is not, or is of something else."""
    found = read_sealed(files.about, _LARGEST)
    try:
        part = None if found is None else Part.model_validate(found)
    except ValidationError:
        return None
    if part is None or part.of != of or not all(files.rows(split).is_file() for split in part.splits):
        return None
    return part


def read_index(folder: Path) -> Index:
    """The index of a folder; one that was read already is not read again while nobody touches it.

    Raises:
        DataError: there is none that can be read, and what to do.
    """
    path = folder / INDEX
    try:
        about = path.stat()
    except OSError:
        return _read_index(folder, ())
    return _read_index(folder, (about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns))


@lru_cache(maxsize=4)
def _read_index(folder: Path, signature: tuple[int, ...]) -> Index:
    path = folder / INDEX
    if not signature:
        begun = any(folder.glob("part-*.json"))
        raise DataError(
            f"data.path: {folder} is a packed set that is not finished: run the same `pdebench data` command again"
            if begun
            else f"data.path: {folder} holds no packed set (no {INDEX}): make one with `pdebench data pack`, or take "
            "data.name: folder for images"
        )
    found: dict[str, Any] | None = read_sealed(path, _LARGEST)
    try:
        index = None if found is None else Index.model_validate(found)
    except ValidationError:
        index = None
    if index is None:
        raise DataError(f"data.path: {path} is not as it was written: pack the set again")
    if index.format != FORMAT:
        raise DataError(f"data.path: {folder} was packed by another version (format {index.format}): pack it again")
    return index


def write_index(folder: Path, index: Index) -> None:
    """Write the index of a set whose parts are all there.

    Raises:
        OSError: it cannot be written.
    """
    write_sealed(folder / INDEX, index.model_dump(mode="json"))


def write_part(files: PartFiles, part: Part) -> None:
    """Say that a part is done.

    Raises:
        OSError: it cannot be written.
    """
    write_sealed(files.about, part.model_dump(mode="json"))
