"""A file of JSON that was altered since it was written is told from one that was not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdebench.errors import ResultsError
from pdebench.files.seal import altered, digests, sealed, unsealed
from pdebench.results.store import read_json, write_json

NUMBERS = st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.dictionaries(
    st.text(),
    st.recursive(
        st.none() | NUMBERS | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=6,
    ),
    max_size=5,
)


@given(VALUES)
def test_what_was_written_is_read(value: dict[str, Any]) -> None:
    value.pop("checksum", None)
    assert unsealed(json.loads(json.dumps(sealed(value)))) == value


def test_every_flipped_bit_changes_nothing_or_is_noticed(tmp_path: Path) -> None:
    path, written = tmp_path / "a.json", {"val_loss": 0.53, "params": 9300000, "model.family": "DiT", "message": None}
    write_json(path, written)
    content = path.read_bytes()
    noticed = 0
    for bit in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            found = read_json(path, "a record", "run it again")
        except ResultsError:
            noticed += 1
        else:  # white space, or the checksum is not known for one by its name
            assert {key: found.get(key) for key in written} == written
    assert noticed > 0.9 * 8 * len(content)


def test_a_file_of_before_there_were_checksums_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"val_loss": 0.5}')
    assert read_json(tmp_path / "a.json", "a record", "") == {"val_loss": 0.5}


def test_who_edits_a_file_is_told_how(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"val_loss": 0.5})
    edited = json.loads((tmp_path / "a.json").read_text()) | {"val_loss": 0.4}
    (tmp_path / "a.json").write_text(json.dumps(edited))
    with pytest.raises(ResultsError, match="take out its key 'checksum'"):
        read_json(tmp_path / "a.json", "a record", "run it again")
    del edited["checksum"]
    (tmp_path / "a.json").write_text(json.dumps(edited))
    assert read_json(tmp_path / "a.json", "a record", "") == {"val_loss": 0.4}


def test_a_record_knows_the_files_beside_it(tmp_path: Path) -> None:
    (tmp_path / "samples.png").write_bytes(b"picture")
    files = digests(tmp_path)
    assert list(json.loads(files)) == ["samples.png"]
    assert not altered(b"picture", "samples.png", files)
    assert altered(b"another", "samples.png", files)
    assert not altered(b"any", "curve.parquet", files)
    assert not altered(b"any", "samples.png", None)
