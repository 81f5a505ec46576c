"""What the library `datasets` reads of parquet files, arrow files and the hub: tables, and their columns of images.

An image is given as the bytes that are stored, since Pillow's remarks, colours and orientation are for `pixels`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pdebench.data.pieces import Piece
from pdebench.data.source import Split
from pdebench.errors import DataError, out_of_memory, refused_by_system

_INTEGER = ("int", "uint")


class ImageColumns(NamedTuple):
    """The column of images, that of labels, and the names of its classes; None: numbers, or there are no labels."""

    image: str
    label: str | None
    names: tuple[str, ...] | None


class ImageTable(NamedTuple):
    """Rows of a set, by the name that says where they stood, and their split; None: each image's hash decides."""

    name: str
    split: Split | None
    rows: Any


def columns_of(features: Mapping[str, Any], where: object) -> ImageColumns:
    """Which columns are meant.

    Raises:
        DataError: there is no image, or more than one column that it could be.
    """
    import datasets

    images = [name for name, feature in features.items() if isinstance(feature, datasets.Image)]
    if len(images) != 1:
        found = f"{len(images)} columns of images ({', '.join(images)})" if images else "no column of type Image"
        raise DataError(
            f"{where} has {found} among {', '.join(list(features)[:20])}: keep one, with datasets' cast_column or "
            "remove_columns"
        )
    labels = [name for name, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    if len(labels) > 1:
        raise DataError(f"{where} has {len(labels)} columns of classes ({', '.join(labels)}): remove all but one")
    if labels:
        return ImageColumns(images[0], labels[0], tuple(map(str, features[labels[0]].names)))
    plain = getattr(features.get("label"), "dtype", "")
    return ImageColumns(images[0], "label" if str(plain).startswith(_INTEGER) else None, None)


def schema_of(piece: Piece) -> ImageColumns:
    """The columns of a file, of which no row is read."""
    import datasets

    with _reading(piece.path):
        if piece.path.suffix.lower() == ".parquet":
            import pyarrow.parquet

            features = datasets.Features.from_arrow_schema(pyarrow.parquet.read_schema(piece.path))
        else:
            features = datasets.Dataset.from_file(str(piece.path)).features
    return columns_of(features, piece.path)


def largest_of(piece: Piece, label: str) -> int:
    """The largest number in a column of a file; -1: there is none."""
    import pyarrow.parquet

    with _reading(piece.path):
        if piece.path.suffix.lower() == ".parquet":
            numbers = pyarrow.parquet.read_table(piece.path, columns=[label]).column(label)
            return _largest(numbers)
        import datasets

        return _largest(datasets.Dataset.from_file(str(piece.path)).data.column(label))


def largest_of_rows(rows: Any, label: str) -> int:
    """The same of rows of the hub."""
    return _largest(rows.data.column(label))


def _largest(numbers: Any) -> int:
    import pyarrow.compute

    found = pyarrow.compute.max(numbers).as_py()
    return -1 if found is None else int(found)


def table_of(piece: Piece, columns: ImageColumns, scratch: Path) -> Any:
    """The rows of a file; those of a parquet file are unpacked into `scratch` first, to be read in any order."""
    import datasets

    datasets.disable_progress_bars()
    wanted = [name for name in (columns.image, columns.label) if name]
    with _reading(piece.path):
        if piece.path.suffix.lower() == ".parquet":
            rows = datasets.Dataset.from_parquet(str(piece.path), cache_dir=str(scratch), columns=wanted)
        else:
            rows = datasets.Dataset.from_file(str(piece.path)).select_columns(wanted)
        return as_stored(rows, columns)


def as_stored(rows: Any, columns: ImageColumns) -> Any:
    """Rows whose images are the bytes that are stored."""
    import datasets

    return rows.cast_column(columns.image, datasets.Image(decode=False))


def hub_tables(name: str, *, download: bool) -> list[ImageTable]:
    """The splits of a set of the hub, `owner/name` or `owner/name:configuration`.

    What this machine has already is used as it is, and nobody is asked for a newer one.

    Raises:
        DataError: it is not here and may not be fetched, or cannot be.
    """
    import datasets

    datasets.disable_progress_bars()
    place, _, configuration = name.partition(":")
    try:
        with _offline():
            found = datasets.load_dataset(place, configuration or None)
    except Exception as error:  # of many kinds
        if out_of_memory(error):
            raise
        if not download:
            raise DataError(
                f"data.set: {name} is not on this machine ({_line(error)}): set data.download: true to fetch it from "
                "the hub, or data.path to a folder of its parquet files"
            ) from error
        try:
            found = datasets.load_dataset(place, configuration or None)
        except Exception as failed:
            if out_of_memory(failed):
                raise
            raise DataError(f"data.download: {name} cannot be fetched from the hub: {_line(failed)}") from failed
    if "train" not in found:
        return [ImageTable(split, None, rows) for split, rows in found.items()]
    held_out = next((split for split in ("validation", "valid", "val", "test") if split in found), None)
    if held_out is None:
        return [ImageTable("train", None, found["train"])]
    return [ImageTable("train", "train", found["train"]), ImageTable(held_out, "validation", found[held_out])]


@contextlib.contextmanager
def _offline() -> Iterator[None]:
    """Nothing is asked of the hub inside; both libraries look at their settings each time."""
    import datasets
    import huggingface_hub.constants

    places: tuple[Any, Any] = (datasets.config, huggingface_hub.constants)
    before = [place.HF_HUB_OFFLINE for place in places]
    try:
        for place in places:
            place.HF_HUB_OFFLINE = True
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.HF_HUB_OFFLINE = value


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # of a damaged file anything
        if out_of_memory(error) or isinstance(error, DataError):
            raise
        raise DataError(f"data.path: cannot read {path}: {refused_by_system(error) or _line(error)}") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
