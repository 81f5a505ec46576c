"""Parquet files that anybody may have made: looked at before anything of them is decoded.

A few KiB can hold a column of billions of equal values, or claim to. A file is refused by what its footer says, and
since a footer may say anything, decoding stops as soon as more comes. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd
import pyarrow
import pyarrow.parquet
from pyarrow import types

from pdebench.files import disk

_BATCH = 2**14  # rows that are decoded at a time
_TEXTS = 10 * 2**20  # bytes of names and the like in a footer
_PARTS = 100_000  # columns or groups of rows that a footer lists


@dataclass(frozen=True)
class Bounds:
    """The most that a table may hold: rows, columns, values, and bytes before they are decoded."""

    rows: int
    columns: int
    values: int
    size: int


def read_parquet(
    path: Path, bounds: Bounds, *, only: Sequence[str] | None = None, follow: bool = False
) -> pd.DataFrame:
    """The table in a Parquet file: numbers, and unless `only` says which columns, texts and times too.

    Args:
        only: the columns to read, all of numbers; None reads every column.
        follow: the file may be a link, which is right only where the user named it.

    Raises:
        ValueError: it is larger than the bounds, is nested, or lacks a column; `disk.NotPlain`: it is no plain file.
        OSError, pyarrow.ArrowException: it cannot be read, or is damaged.
    """
    with disk.open_plain(path, follow=follow) as file:
        table, texts = _read(file, bounds, only)
    try:
        frame: pd.DataFrame = table.to_pandas()
    except (TypeError, AttributeError, ValueError, LookupError, RecursionError):
        frame = table.replace_schema_metadata(None).to_pandas()  # what stands there for pandas is none of its own
    frame = frame.astype(dict.fromkeys((name for name in texts if name in frame), object))
    for name in (name for name in texts if name in frame):
        frame[name] = frame[name].map(_decoded)
    return frame


def _decoded(value: Any) -> Any:
    """Bytes as text, whatever they are; the type of such a column promises none."""
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else value


def read_columns(path: Path, bounds: Bounds, names: Sequence[str]) -> pyarrow.Table:
    """Columns of numbers of a Parquet file, which is no link.

    Raises:
        ValueError, OSError, pyarrow.ArrowException: as `read_parquet`.
    """
    with disk.open_plain(path) as file:
        return _read(file, bounds, names)[0]


def _read(file: BinaryIO, bounds: Bounds, only: Sequence[str] | None) -> tuple[pyarrow.Table, list[str]]:
    """The table, and which of its columns are texts."""
    options = {"thrift_string_size_limit": _TEXTS, "thrift_container_size_limit": _PARTS}
    with pyarrow.parquet.ParquetFile(file, **options) as source:
        schema, about = source.schema_arrow, source.metadata
        names = list(schema.names if only is None else only)
        _check(schema, about, names, bounds, numbers=only is not None)
        texts = [name for name in names if _is_text(schema.field(name).type)]
    file.seek(0)
    # Texts stay an index into those that differ: one long text that every row repeats is held once.
    with pyarrow.parquet.ParquetFile(file, read_dictionary=texts, page_checksum_verification=True, **options) as source:
        parts, rows = [], 0
        for batch in source.iter_batches(batch_size=_BATCH, columns=names, use_threads=False):
            rows += batch.num_rows
            if rows > about.num_rows:
                raise ValueError(f"it holds more rows than the {about.num_rows:,} that it says it has")
            parts.append(batch)
        schema = source.schema_arrow
    return pyarrow.Table.from_batches(parts, _of(schema, names)), texts


def _check(
    schema: pyarrow.Schema, about: pyarrow.parquet.FileMetaData, names: Sequence[str], bounds: Bounds, *, numbers: bool
) -> None:
    """Refuse by its footer what is too large or of the wrong kind."""
    if about.num_columns > bounds.columns:
        raise ValueError(f"it has {about.num_columns:,} columns, more than {bounds.columns:,}")
    if about.num_rows > bounds.rows:
        raise ValueError(f"it has {about.num_rows:,} rows, more than {bounds.rows:,}")
    if about.num_rows * len(names) > bounds.values:
        raise ValueError(
            f"it has {about.num_rows:,} rows of {len(names):,} columns, more than {bounds.values:,} values"
        )
    size = sum(about.row_group(group).total_byte_size for group in range(about.num_row_groups))
    if size > bounds.size:
        raise ValueError(f"it has {size:,} bytes once it is unpacked, more than {bounds.size:,}")
    if len(set(schema.names)) < len(schema.names):
        twice = next(name for name in schema.names if schema.names.count(name) > 1)
        raise ValueError(f"it has two columns {twice[:40]!r}")
    for name in names:
        if name not in schema.names:
            raise ValueError(f"it has no column {name}")
        kind = schema.field(name).type
        if numbers and not (types.is_integer(kind) or types.is_floating(kind) or types.is_null(kind)):
            raise ValueError(f"its column {name} holds {str(kind)[:40]}, no numbers")
        if types.is_nested(kind) or types.is_fixed_size_binary(kind):
            raise ValueError(f"its column {name[:40]!r} holds {str(kind)[:40]}; take it out")


def _of(schema: pyarrow.Schema, names: Sequence[str]) -> pyarrow.Schema:
    return pyarrow.schema(
        [schema.field(name) for name in names], schema.metadata if len(names) == len(schema) else None
    )


def _is_text(kind: pyarrow.DataType) -> bool:
    text = types.is_string(kind) or types.is_large_string(kind)
    return bool(text or types.is_binary(kind) or types.is_large_binary(kind))
