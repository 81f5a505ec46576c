"""CSV as people and spreadsheets leave it: what separates the columns, and on which line of the file a row stands.

Nothing moves in silence: a row of more cells than there are columns is refused (a number with commas that nobody
quoted), where pandas would take the first column for an index or drop the last cells.
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd

from pdebench.errors import TableError
from pdebench.files.csv_export import as_it_was
from pdebench.stats.heads import refuse_heads

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
LINE = "line"
"""Name of the index of a table that has lines: the number of the one on which each row begins, the header's being 1."""

LARGEST = 16 * 2**20  # bytes of text, unpacked
MOST_COLUMNS, MOST_ROWS, MOST_VALUES = 1000, 100_000, 5_000_000  # a row is a training, or an evaluation of one

_OPENERS: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_SEEN, _WIDEST = 20, 10_000  # lines that another separator is looked for in, and characters of each
_NO_SEPARATOR = "_-+.\"'()[]%"  # parts of names and numbers
_EXCEL = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)

Records = list[tuple[int, list[str]]]  # line and cells


def read_csv(path: Path) -> tuple[pd.DataFrame, str]:
    """A table with its lines as the index, and what separates its columns.

    Between commas numbers are typed as pandas types them; else all cells stay texts, since a comma in one of them may
    be a decimal comma.

    Raises:
        TableError: it is empty, has one column, a row has more cells than there are columns or is a second header, or
            a quote does not end.
        OSError, UnicodeDecodeError: it cannot be read, or is not UTF-8.
    """
    with _OPENERS.get(path.suffix, open)(path, "rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise TableError(f"{path} is no table of runs: it has more than {LARGEST // 2**20} MiB of text")
    text = content.decode("utf-8-sig")
    told = _EXCEL.match(text)
    skipped = 0 if told is None else 1
    text = text if told is None else text[told.end() :]
    separator = told.group(1) if told is not None else _separator(path, text)
    try:
        records = _records(text, separator, skipped)
    except csv.Error as error:
        raise TableError(f"{path} is no table: {error}, a quote may be missing or too many; mend it") from None
    if not records:
        raise TableError(f"{path} is no table: it is empty; give a CSV, a Parquet file or a results folder")
    (_, head), rows = records[0], records[1:]
    if (many := _too_large(len(head), len(rows))) is not None:
        raise TableError(f"{path} is no table of runs: it has {many}")
    for line, cells in rows:
        if any(cell.strip() for cell in cells[len(head) :]):
            raise TableError(
                f"{path}, line {line}: it has {len(cells)} cells, where the header names {len(head)} columns; write "
                f"numbers without {SEPARATORS.get(separator, repr(separator))} in them, or quote them"
            )
    refuse_heads(path, head, rows)
    names = [name.strip() or f"Unnamed: {place}" for place, name in enumerate(head)]
    return _typed(rows, names, separator), separator


def _records(text: str, separator: str, skipped: int = 0) -> Records:
    """Rows with the line that each begins on; those in which every cell is empty are none.

    Raises:
        csv.Error: a quote does not end, or something follows it.
    """
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    found, line = [], 1 + skipped
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                found.append((line, [as_it_was(cell) for cell in cells]))
            line = reader.line_num + 1 + skipped
    except csv.Error as error:
        raise csv.Error(f"{error} in the row of line {line}") from None
    return found


def _too_large(columns: int, rows: int) -> str | None:
    """What a table of runs has too many of; short rows count as if they were filled."""
    if columns > MOST_COLUMNS:
        return f"{columns:,} columns, more than {MOST_COLUMNS:,}"
    if rows > MOST_ROWS:
        return f"{rows:,} rows, more than {MOST_ROWS:,}"
    return f"{rows:,} rows of {columns:,} columns" if rows * columns > MOST_VALUES else None


def _typed(rows: Records, names: list[str], separator: str) -> pd.DataFrame:
    """The rows as pandas reads them, cells that say so missing; short rows are filled with missing cells."""
    clean = io.StringIO()
    width = len(names)
    csv.writer(clean).writerows([*cells[:width], *[""] * (width - len(cells))] for _, cells in rows)
    clean.seek(0)
    types: Any = None if separator == "," else str
    frame = pd.read_csv(clean, header=None, names=range(width), dtype=types, skip_blank_lines=False) if rows else None
    frame = pd.DataFrame(columns=range(width)) if frame is None else frame
    frame.columns = pd.Index(names)
    frame.index = pd.Index([line for line, _ in rows], name=LINE)
    return frame


def _separator(path: Path, text: str) -> str:
    """Of commas, semicolons and tabs the one that parts all rows alike, into the most columns.

    Raises:
        TableError: none of them parts the first line.
    """
    ranked = []
    for separator in SEPARATORS:
        try:
            widths = [len(cells) for _, cells in _records(text, separator)]
        except csv.Error:
            with suppress(csv.Error):  # not even the first line can be read so
                ranked.append((False, len(next(csv.reader(text.splitlines()[:1], delimiter=separator))), separator))
            continue
        if not widths:
            return ","
        ranked.append((len(set(widths)) == 1, widths[0], separator))
    parting = [one for one in ranked if one[1] > 1]
    if parting:
        return max(parting, key=lambda one: one[:2])[2]
    lines = [line[:_WIDEST] for line in text.splitlines() if line.strip()][:_SEEN]
    if (other := _other(lines)) is not None:
        raise TableError(
            f"{path}: the columns seem to be separated by {other}; write {' or '.join(SEPARATORS.values())}"
        )
    if len(lines) > 1 and any(lines[1].count(separator) for separator in SEPARATORS):
        raise TableError(f"{path}, line 1: it has to name the columns, and is {lines[0].strip()[:40]!r}; take it out")
    raise TableError(
        f"{path} has one column, {lines[0].strip()[:40]!r}; separate columns by commas, semicolons or tabs"
    )


def _other(lines: list[str]) -> str | None:
    """Which other character every line has as often as the first; None where there is none."""
    head = lines[0]
    known = [char for char in dict.fromkeys(head) if not (char.isalnum() or char.isspace() or char in _NO_SEPARATOR)]
    steady = [char for char in known if len({line.count(char) for line in lines}) == 1]
    if steady:
        return repr(max(steady, key=head.count))
    return "spaces" if len(head.split()) > 1 and len({len(line.split()) for line in lines}) == 1 else None
