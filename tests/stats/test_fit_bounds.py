"""Tables to fit that are small files and large tables, damaged, or of numbers that no law is fitted to."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from law_tables import NAMED, fit, law_table, left, only, said, with_text, written

from pdebench.errors import PdebenchError, ResultsError
from pdebench.regress import history

pytestmark = pytest.mark.usefixtures("few_resamples")  # what is left out, or refused, is so before any fit


def one_sentence(path: str | Path, *more: str, named: tuple[str, ...] = NAMED) -> str:
    """With which the table is turned down."""
    error = fit(path, *more, named=named).exception
    assert isinstance(error, PdebenchError), error
    assert error.exit_code == 2
    assert "\n" not in str(error)
    assert len(str(error)) < 1500
    return str(error)


def alike(rows: int, columns: int = 1) -> pa.Table:
    """Columns of equal numbers, which take next to no room in a file."""
    part = pa.array([1.0] * 1000)
    return pa.table({f"c{number}": pa.chunked_array([part] * (rows // 1000)) for number in range(columns)})


@pytest.mark.parametrize(
    ("table", "why"),
    [
        (alike(2_000_000), "2,000,000 rows, more than 100,000"),
        (alike(1000, 2000), "2,000 columns, more than 1,000"),
        (alike(100_000, 60), "100,000 rows of 60 columns"),
        (pa.table({"a": [[1, 2]]}), "holds list"),
        (pa.table({"a": [{"b": 1}]}), "holds struct"),
        (pa.table({"a": pa.array([b"\xff"], pa.binary(1))}), "holds fixed_size_binary"),
        (pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"]), "two columns 'a'"),
    ],
    ids=["rows", "columns", "values", "lists", "structs", "bytes", "twice"],
)
def test_a_parquet_file_is_refused_by_its_footer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: pa.Table, why: str
) -> None:
    path = tmp_path / "runs.parquet"
    pq.write_table(table, path)
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", None)  # nothing is decoded
    assert why in one_sentence(path)


def test_a_text_that_every_row_repeats_is_held_once(tmp_path: Path) -> None:
    table = pa.table({"a": pa.DictionaryArray.from_arrays(pa.array([0] * 20_000), pa.array(["x" * 100_000]))})
    path = tmp_path / "runs.parquet"
    pq.write_table(table.cast(pa.schema({"a": pa.dictionary(pa.int64(), pa.string())})), path)
    assert path.stat().st_size < 2**20
    assert "the table has a" in one_sentence(path, named=())


def test_a_parquet_table_with_texts_and_an_index_is_fitted_as_a_csv_is(tmp_path: Path) -> None:
    law_table().set_index("run").to_parquet(tmp_path / "runs.parquet")
    both = [
        said(tmp_path / "runs.parquet", "--family", "family"),
        said(written(tmp_path, law_table()), "--family", "family"),
    ]
    assert both[0] == both[1]


@pytest.mark.parametrize("packed", [gzip.compress, bz2.compress, lzma.compress], ids=["gz", "bz2", "xz"])
def test_an_archive_that_is_damaged_or_holds_too_much_is_refused(tmp_path: Path, packed: Any) -> None:
    suffix = {gzip.compress: "gz", bz2.compress: "bz2", lzma.compress: "xz"}[packed]
    path = tmp_path / f"runs.csv.{suffix}"
    whole = packed(law_table().to_csv(index=False).encode())
    for content in (whole[:-20], whole[:40], whole[:30] + bytes(30) + whole[60:], b"", b"no archive"):
        path.write_bytes(content)
        one_sentence(path)
    path.write_bytes(packed(b"params,images,val_loss\n" + b"1,1,1\n" * 3_000_000))
    assert path.stat().st_size < 2**17
    assert "more than 16 MiB of text" in one_sentence(path)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (",".join(f"c{n}" for n in range(100_000)) + "\n1\n", "100,000 columns, more than 1,000"),
        (",".join(f"c{n}" for n in range(1000)) + "\n" + "1\n" * 50_000, "50,000 rows of 1,000 columns"),
        ("params,images,val_loss\n" + "1,1,1\n" * 100_001, "100,001 rows, more than 100,000"),
        ("params,images,loss" + "x" * 100_000 + "\n1,1,1\n", "there is no column 'val_loss'"),
        ("x" * 200_000 + ",b\n1,1\n", ""),
    ],
    ids=["columns", "short rows", "rows", "long name", "long field"],
)
def test_a_csv_of_any_size_is_refused_in_a_sentence(tmp_path: Path, text: str, why: str) -> None:
    assert why in one_sentence(written(tmp_path, text))


@pytest.mark.parametrize(
    ("column", "number"),
    [
        *(("val_loss", number) for number in (5e-324, 1e-310, 1e-101, 1e101, 1.7e308, "1e999", "1e-400")),
        *(("params", number) for number in (1e101, 1.7e308, "1e999", "1" * 5000)),
        ("images", "1e-400"),
    ],
)
def test_a_number_beyond_all_sense_is_one_row_that_is_left_out(tmp_path: Path, column: str, number: object) -> None:
    (left_out,) = left(only(written(tmp_path, with_text(law_table(), column, 3, number))))
    assert left_out[0] == "line 5"
    assert left_out[1].startswith(f"{column} is")


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    table = with_text(law_table(), "val_loss", 3, 1e-310)
    assert "1 row was left out of 50: line 5: val_loss is" in said(written(tmp_path, table))


@pytest.mark.parametrize("count", [5e-324, 1e-310, 1e-101])
def test_a_count_that_is_none_is_refused_in_a_sentence(tmp_path: Path, count: float) -> None:
    assert "is no whole number" in one_sentence(written(tmp_path, with_text(law_table(), "params", 3, count)))


@pytest.mark.parametrize("cell", ["2 x 10^" + "9" * 5000, "1e99999999K", "x" * 100_000])
def test_a_cell_of_any_length_is_refused_in_a_sentence(tmp_path: Path, cell: str) -> None:
    one_sentence(written(tmp_path, with_text(law_table(), "params", 3, cell)))


@pytest.mark.parametrize("change", [{"levels": {"a": 1e999}}, {"levels": {"a": "x"}}, {"suite": [1]}, {"head": None}])
def test_a_history_of_something_else_is_named_by_its_line(tmp_path: Path, change: dict[str, Any]) -> None:
    night = dict.fromkeys(history.NEEDED, "x") | {"levels": {"a": 0.5}}
    path = tmp_path / "history.jsonl"
    path.write_text(json.dumps(night) + "\n" + json.dumps(night | change) + "\n")
    with pytest.raises(ResultsError, match=r"history\.jsonl:2: is no run"):
        history.read(path)
    path.write_text("[" * 100_000)
    with pytest.raises(ResultsError, match=r"history\.jsonl:1: is no run"):
        history.read(path)


@pytest.mark.parametrize(
    "about", [b"[1]", b'{"index_columns":["params"],"columns":[],"column_indexes":[]}', b"[" * 9000]
)
def test_what_a_parquet_file_says_to_pandas_may_be_anything(tmp_path: Path, about: bytes) -> None:
    table = pa.Table.from_pandas(law_table(), preserve_index=False)
    pq.write_table(table, tmp_path / "sound.parquet")
    pq.write_table(table.replace_schema_metadata({b"pandas": about}), tmp_path / "odd.parquet")
    assert said(tmp_path / "odd.parquet") == said(tmp_path / "sound.parquet")


def test_bytes_that_are_no_text_are_a_group_too(tmp_path: Path) -> None:
    table = pa.Table.from_pandas(law_table(), preserve_index=False)
    names = pa.array([b"\xff" for _ in range(len(table))])
    pq.write_table(table.append_column("who", names), tmp_path / "runs.parquet")
    assert "\\xff" in said(tmp_path / "runs.parquet", "--family", "who")
