"""`hf`: images in parquet or arrow files as the library `datasets` writes them, or a set of the hub, decoded once.

The column of type Image is the images, and that of type ClassLabel, or of whole numbers called `label`, their classes.
Splits are as files, folders or the hub call them: what is held out is `validation`, or `test` where there is none. Of
a set without splits a hash of each image's bytes holds out about a tenth.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from pdebench.data import pixels
from pdebench.data.cache import cache_folder, cached
from pdebench.data.digests import file_digests
from pdebench.data.hf_tables import (
    ImageColumns,
    ImageTable,
    as_stored,
    columns_of,
    hub_tables,
    largest_of,
    largest_of_rows,
    schema_of,
    table_of,
)
from pdebench.data.left_out import warn_of
from pdebench.data.pieces import Piece, Pieces, find
from pdebench.data.shards.samples import MOST_CLASSES
from pdebench.data.source import ImageSet, Sample, Skipped, Source, SourceConfig, Split
from pdebench.data.split import RECIPE as SPLIT_RECIPE
from pdebench.data.split import split_of
from pdebench.errors import CellWarning, DataError
from pdebench.installing import install_extra

_RECIPE = "hf-1"


class HfSource(Source):
    """Tables of the library `datasets`, at any resolution."""

    name = "hf"
    brought = "parquet or arrow files"
    summary = "parquet or arrow files with images (data.path), or a set of the Hugging Face hub (data.set)"
    takes = ("path", "validation", "set", "download")

    def check(self, config: SourceConfig) -> None:
        """Raise DataError where the library or the files are missing, or both a path and a set are given."""
        self.check_resolution(config)
        if (config.path is None) == (config.set is None):
            raise DataError(
                "data set 'hf' needs one of data.path, a folder of parquet or arrow files, and data.set, of the hub"
            )
        if config.set is not None and config.validation is not None:
            raise DataError("data.validation is for files: a set of the hub has its own splits, so leave it out")
        if config.path is not None and config.download:
            raise DataError(
                "data.download is for a set of the hub: leave it out, or give data.set in place of data.path"
            )
        if importlib.util.find_spec("datasets") is None:
            raise DataError(f"data set 'hf' needs the package datasets: {install_extra('hf')}")
        if config.path is not None:
            _pieces(config)

    def class_count(self, config: SourceConfig) -> int | None:
        """As the column of classes says; of whole numbers one more than the largest."""
        columns = _columns(config)
        if columns.names is not None:
            return len(columns.names)
        return None if columns.label is None else _largest(config, columns) + 1

    def most_cached(self, config: SourceConfig) -> int:
        """Not known before it is read."""
        return 1

    def content(self, config: SourceConfig) -> str:
        """A digest of the files' bytes with their names and splits; of the hub's, of what `datasets` made of them."""
        if config.set is None:
            pieces = _pieces(config)
            digests = file_digests([piece.path for piece in pieces])
            held = [(piece.split or "", piece.name, digest) for piece, digest in zip(pieces, digests, strict=True)]
        else:
            held = []
            for table in hub_tables(config.set, download=config.download):
                files = [Path(file["filename"]) for file in table.rows.cache_files]
                held += [(table.split or "", table.name, digest) for digest in file_digests(files)]
        about = [_RECIPE, SPLIT_RECIPE, pixels.DECODE_RECIPE, sorted(held)]
        return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:32]

    def load(self, config: SourceConfig, split: Split) -> ImageSet:
        """Return one split, decoding the set first where that has not been done."""
        columns = _columns(config)
        key = json.dumps([self.content(config), columns])
        entry = cached(
            self.name, config.resolution, key, split, lambda: _decode(config, columns), self.most_cached(config)
        )
        if config.path is not None:
            for remark in _found(config).remarks:
                warnings.warn(f"{config.path}: {remark}", CellWarning, stacklevel=2)
        warn_of(str(config.path or config.set), entry, config.resolution)
        if not len(entry.images):
            raise DataError(f"data.path: the {split} split of {config.path or config.set} is empty: add images")
        names = columns.names
        if columns.label is not None and names is None:
            names = tuple(map(str, range(_largest(config, columns) + 1)))
        labels = None if names is None else entry.labels
        return ImageSet(
            entry.images, labels, names, self.name, config.resolution, split, entry.checksum, len(entry.skipped)
        )


def _pieces(config: SourceConfig) -> tuple[Piece, ...]:
    """The files of a path, without those that `datasets` itself keeps beside them of what was made of them."""
    return tuple(piece for piece in _found(config).files if not piece.path.name.startswith("cache-"))


def _found(config: SourceConfig) -> Pieces:
    assert config.path is not None
    suffixes = (".parquet", ".arrow")
    return find(config.path, config.validation, suffixes, "parquet or arrow files", test_is_held_out=True)


def _hub(config: SourceConfig) -> list[ImageTable]:
    assert config.set is not None
    return hub_tables(config.set, download=config.download)


def _columns(config: SourceConfig) -> ImageColumns:
    """The columns of a set; DataError where its files differ in them."""
    if config.set is not None:
        found = [
            (f"{config.set} ({table.name})", columns_of(table.rows.features, config.set)) for table in _hub(config)
        ]
    else:
        found = [(piece.name, schema_of(piece)) for piece in _pieces(config)]
    if not found:
        raise DataError(f"data.path: no parquet or arrow files in {config.path}")
    for name, columns in found:
        if columns != found[0][1]:
            raise DataError(
                f"data.path: {name} and {found[0][0]} differ in their columns of images or classes: "
                f"{tuple(columns)} and {tuple(found[0][1])}"[:400]
            )
    return found[0][1]


def _largest(config: SourceConfig, columns: ImageColumns) -> int:
    """The largest label of a column of whole numbers."""
    label = str(columns.label)
    if config.set is not None:
        largest = max(largest_of_rows(table.rows, label) for table in _hub(config))
    else:
        largest = max(largest_of(piece, label) for piece in _pieces(config))
    if not 0 <= largest < MOST_CLASSES:
        raise DataError(
            f"the largest label of {config.path or config.set} is {largest}: it has to be from 0 to 999,999"
        )
    return largest


def _tables(config: SourceConfig, columns: ImageColumns, scratch: Path) -> list[ImageTable]:
    if config.set is not None:
        return [table._replace(rows=as_stored(table.rows, columns)) for table in _hub(config)]
    return [ImageTable(piece.name, piece.split, table_of(piece, columns, scratch)) for piece in _pieces(config)]


def _decode(config: SourceConfig, columns: ImageColumns) -> Iterator[Sample | Skipped]:
    """All images, mixed by a hash of where they stood."""
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="hf-", dir=folder) as scratch:
        tables = _tables(config, columns, Path(scratch))
        places = [(number, row) for number, table in enumerate(tables) for row in range(len(table.rows))]
        places.sort(key=lambda place: hashlib.sha256(f"{tables[place[0]].name}/{place[1]}".encode()).digest())
        for number, row in places:
            yield _sample(config, columns, tables, number, row)


def _sample(
    config: SourceConfig, columns: ImageColumns, tables: Sequence[ImageTable], number: int, row: int
) -> Sample | Skipped:
    table = tables[number]
    name, given = f"row {row} of {table.name}", table.rows[row]
    image = given[columns.image] or {}
    if (data := image.get("bytes")) is None:
        if image.get("path"):
            raise DataError(
                f"{name} in {config.path or config.set} holds the path of an image and not the image: write the set "
                "with datasets' to_parquet, which takes images along"
            )
        return Skipped(name, "it has no image")
    label = -1
    if columns.label is not None:
        label = -1 if given[columns.label] is None else int(given[columns.label])
        if label < 0:
            return Skipped(name, "it has no label")
    try:
        decoded, pages = pixels.read(data)
    except pixels.Damaged as error:
        return Skipped(name, str(error))
    made = pixels.centre_crop(decoded, config.resolution)
    return Sample(table.split or split_of(data), made, label, min(decoded.size) < config.resolution, pages > 1)
