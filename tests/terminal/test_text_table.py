"""Lines in columns for the terminal."""

from __future__ import annotations

from pdebench.terminal.text_table import TextColumn, in_columns

COLUMNS = (TextColumn("cell", least=6), TextColumn("loss", right=True), TextColumn("", least=0))


def lines(*rows: tuple[str, str, str], width: int = 80) -> list[str]:
    return in_columns(COLUMNS, [[(text, "") for text in row] for row in rows], width).plain.split("\n")


def test_columns_stand_below_each_other() -> None:
    assert lines(("DiT", "0.41", "on host"), ("Mamba-DiT", "10.5", "")) == [
        "cell       loss",
        "DiT        0.41  on host",
        "Mamba-DiT  10.5",
    ]


def test_the_last_column_that_may_be_cut_is_cut_first_and_numbers_never() -> None:
    rows = (("a long name of a cell", "0.41", "its detail"),)
    assert lines(*rows, width=33)[1] == "a long name of a cell  0.41  its…"
    assert lines(*rows, width=20)[1] == "a long name…  0.41"
    assert lines(*rows, width=5)[1] == "a lon…  0.41"


def test_wide_characters_take_two_places() -> None:
    assert lines(("日本", "1", ""), ("abcd", "2", "")) == ["cell  loss", "日本     1", "abcd     2"]


def test_no_rows_are_headings_alone() -> None:
    assert lines() == ["cell  loss"]
