"""`pdebench fit` on tables as people leave them: which numbers and separators are read, and which are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from law_tables import found, law_table, left, only, read, refused, said, with_text, written

pytestmark = pytest.mark.usefixtures("few_resamples")

TEXTS = [
    ("images", "83,333,333", "83333333"),
    ("params", "200K", "200000"),
    ("params", "1.2M", "1200000"),
    ("params", "200 k", "200000"),
    ("val_loss", "0,263", "0.263"),
    ("params", "200 000", "200000"),
    ("params", "200_000", "200000"),
    ("params", "200'000", "200000"),
    ("params", "200\u202f000", "200000"),
    ("val_loss", "26%", "without"),
    ("images", "8.3 x 10^7", "8.3e7"),
    ("images", "83,333", "83333, or 83.333"),
    ("images", "~83333333", "without"),
    ("val_loss", "n/a?", "empty"),
    ("val_loss", "diverged", "empty"),
    ("val_loss", "-", "empty"),
]


@pytest.mark.parametrize(("column", "text", "instead"), TEXTS, ids=[text for _, text, _ in TEXTS])
def test_a_text_among_numbers_is_refused_where_it_stands(tmp_path: Path, column: str, text: str, instead: str) -> None:
    """Row 3 of the frame is line 5 of the file: the header is the first line."""
    why = refused(written(tmp_path, with_text(law_table(), column, 3, text)))
    assert f"'{column}'" in why
    assert "line 5" in why
    assert repr(text).strip("'\"") in why
    assert instead in why


def test_lines_are_those_of_the_file_whatever_stands_between(tmp_path: Path) -> None:
    """Blank lines, rows of separators alone and a note over two lines do not move what is counted."""
    head, *rows = with_text(law_table().assign(note="-"), "params", 3, "3M").to_csv(index=False).splitlines()
    rows[1] = rows[1].removesuffix("-") + '"two\nlines"'
    path = written(tmp_path, "\n".join([head, "", rows[0], ",,,,,,,", *rows[1:]]) + "\n\n")
    line = 1 + next(place for place, line in enumerate(Path(path).read_text().splitlines()) if "3M" in line)
    assert f"line {line}" in refused(path)


@pytest.mark.parametrize("value", ["3M", True, b"3,5", pd.Timestamp("2026-01-01")], ids=str)
def test_other_types_of_a_parquet_file_are_refused_by_row(tmp_path: Path, value: Any) -> None:
    table = law_table()
    table["params"] = (
        [*map(str, table["params"][:3]), value, *map(str, table["params"][4:])] if value == "3M" else value
    )
    table.to_parquet(tmp_path / "runs.parquet")
    why = refused(str(tmp_path / "runs.parquet"))
    assert "'params'" in why
    assert ("row 4" if value == "3M" else "row 1") in why
    assert (value.decode() if isinstance(value, bytes) else str(value)) in why


def test_truth_values_are_no_numbers(tmp_path: Path) -> None:
    assert "True" in refused(written(tmp_path, law_table().assign(val_loss=True)))


@pytest.mark.parametrize("packed", [str, str.encode], ids=["text", "bytes"])
def test_numbers_kept_as_texts_are_numbers(tmp_path: Path, packed: Any) -> None:
    """Some writers of Parquet leave out the note that a column's bytes are text."""
    table = law_table()
    table.assign(params=table["params"].map(lambda n: packed(str(n)))).to_parquet(tmp_path / "runs.parquet")
    texts, clean = only(str(tmp_path / "runs.parquet")), only(written(tmp_path, table))
    assert texts.n.tolist() == clean.n.tolist()
    assert texts.loss.tolist() == clean.loss.tolist()


def test_texts_that_mean_missing_are_missing(tmp_path: Path) -> None:
    table = law_table()
    for row, text in enumerate(["", "NaN", "NA", "null"]):
        table = with_text(table, "val_loss", 10 * row, text)
    runs = only(written(tmp_path, table))
    assert left(runs) == [(f"line {line}", "val_loss is missing") for line in (2, 12, 22, 32)]


# What separates the columns


@pytest.mark.parametrize("separator", [";", "\t"])
@pytest.mark.parametrize("decimal", [",", "."])
def test_semicolons_and_tabs_are_read_with_either_decimal_sign(tmp_path: Path, separator: str, decimal: str) -> None:
    clean = only(written(tmp_path, law_table()))
    path = Path(written(tmp_path, law_table(), "other.csv", sep=separator, decimal=decimal))
    source, (runs,) = read(path, n="params", d="images", loss="val_loss")
    assert runs.loss.tolist() == clean.loss.tolist()
    assert runs.n.tolist() == clean.n.tolist()
    assert runs.remarks == clean.remarks == ()
    assert (source.separator, source.decimal) == (separator, decimal)


def test_how_a_table_was_read_is_said(tmp_path: Path) -> None:
    path = written(tmp_path, law_table(), sep=";", decimal=",")
    shown = said(path)
    assert "semicolons" in shown
    assert "decimal commas" in shown
    (group,) = found(path)
    assert group["table"] == {"path": path, "rows": 50, "separator": ";", "decimal": ","}


def test_a_byte_order_mark_and_spaces_after_commas_are_no_part_of_a_name(tmp_path: Path) -> None:
    assert only(written(tmp_path, "\ufeff" + law_table().to_csv(index=False).replace(",", ", "))).count == 50


def test_what_excel_says_of_the_separator_is_followed(tmp_path: Path) -> None:
    text = "sep=;\n" + with_text(law_table(), "params", 3, "3M").to_csv(index=False, sep=";")
    assert "line 6" in refused(written(tmp_path, text))


@pytest.mark.parametrize("separator", ["|", ":", "^"])
def test_another_separator_is_named(tmp_path: Path, separator: str) -> None:
    why = refused(written(tmp_path, law_table(), sep=separator))
    assert f"'{separator}'" in why
    assert "separated" in why


def test_columns_set_apart_by_spaces_are_named(tmp_path: Path) -> None:
    text = "\n".join("   ".join(line.split(",")) for line in law_table().to_csv(index=False).splitlines())
    assert "spaces" in refused(written(tmp_path, text))


@pytest.mark.parametrize(
    ("column", "values"),
    [("params", ("200,000", "500,000")), ("images", ("83,333,333", "333,333")), ("val_loss", ("1,234", "985"))],
)
@pytest.mark.parametrize("separator", [";", "\t"])
def test_a_comma_that_may_part_thousands_is_not_taken_for_a_decimal_one(
    tmp_path: Path, separator: str, column: str, values: tuple[str, ...]
) -> None:
    table = law_table()
    table = table.assign(**{column: [values[row % len(values)] for row in range(len(table))]})
    why = refused(written(tmp_path, table, sep=separator))
    assert f"'{column}'" in why
    assert "line 2" in why
    assert values[0] in why


def test_a_loss_of_three_decimals_is_read_between_semicolons(tmp_path: Path) -> None:
    table = law_table()
    table["val_loss"] = [f"{10 * loss:.3f}".replace(".", ",") for loss in table["val_loss"]]
    assert only(written(tmp_path, table, sep=";")).loss[0] == pytest.approx(2.6, abs=0.2)


def test_points_and_commas_in_one_table_are_refused(tmp_path: Path) -> None:
    """In a table with decimal commas 200.000 may be two hundred thousand."""
    table = law_table()
    table["params"] = [f"{n // 1000}.000" for n in table["params"]]
    why = refused(written(tmp_path, table, sep=";", decimal=","))
    assert "200.000" in why
    assert "line 2" in why


def test_a_row_of_more_cells_than_columns_is_refused(tmp_path: Path) -> None:
    """Numbers with commas that nobody quoted would move into the columns beside them."""
    text = law_table().to_csv(index=False)
    assert "line 3" in refused(written(tmp_path, text.replace("r1,DiT,200000", "r1,DiT,200,000", 1)))
    every = [line if place == 0 else line + ",0" for place, line in enumerate(text.splitlines())]
    assert "line 2" in refused(written(tmp_path, "\n".join(every)))


def test_a_quote_that_does_not_end_is_refused_with_its_line(tmp_path: Path) -> None:
    text = law_table().to_csv(index=False).replace("r3,", '"r3,')
    assert "line 5" in refused(written(tmp_path, text))


def test_text_that_is_not_utf_8_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "runs.csv").write_bytes(law_table().to_csv(index=False).encode("utf-16"))
    assert "UTF-8" in refused(str(tmp_path / "runs.csv"))


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    why = refused(written(tmp_path, law_table().to_csv(index=False).replace("seed", "val_loss", 1)))
    assert "val_loss" in why
    assert "2 columns" in why


def test_an_empty_file_and_one_of_one_column_are_one_sentence(tmp_path: Path) -> None:
    assert "empty" in refused(written(tmp_path, ""))
    assert "one column" in refused(written(tmp_path, "loss\n1\n2\n"))
