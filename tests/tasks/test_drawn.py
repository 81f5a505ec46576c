"""Samples on disk: what is drawn stays drawn, damaged batches are drawn again, others' are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdebench.errors import ResultsError
from pdebench.files.disk import replacing
from pdebench.tasks.generation.drawn import DrawnBatches

ABOUT = {"checkpoint": "abc", "nfe": 50}


def batch(number: int, samples: int, dtype: str = "u1") -> np.ndarray:
    return np.random.default_rng(number).integers(0, 255, (samples, 3, 4, 5)).astype(dtype)


def draw(drawn: DrawnBatches, numbers: list[int], dtype: str = "u1") -> None:
    for number in numbers:
        drawn.put(number, batch(number, drawn.of(number), dtype), {"nfe": number})


@given(count=st.integers(1, 40), size=st.integers(1, 9), dtype=st.sampled_from(["u1", "<f4"]), data=st.data())
def test_whatever_was_drawn_before_the_rest_completes_it(
    tmp_path_factory: pytest.TempPathFactory, count: int, size: int, dtype: str, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("drawn") / "samples"
    first = DrawnBatches(folder, ABOUT, count, size)
    done = data.draw(st.sets(st.integers(0, len(first) - 1)))
    draw(first, sorted(done), dtype)
    again = DrawnBatches(folder, ABOUT, count, size)
    assert set(again.missing()) == set(range(len(first))) - done
    draw(again, again.missing(), dtype)
    rows = again.rows()
    whole = np.concatenate([batch(number, again.of(number), dtype) for number in range(len(again))])
    assert rows.shape == whole.shape
    assert rows.dtype == whole.dtype
    np.testing.assert_array_equal(rows[:], whole)
    assert again.found() == [{"nfe": float(number)} for number in range(len(again))]
    again.clear()
    assert not folder.exists()


@pytest.mark.parametrize("harm", ["cut", "flipped", "empty"])
def test_a_damaged_batch_is_drawn_again(tmp_path: Path, harm: str) -> None:
    drawn = DrawnBatches(tmp_path, ABOUT, 10, 4)
    draw(drawn, [0, 1, 2])
    path = next(tmp_path.glob("00000001-*"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes({"cut": content[:-5], "flipped": bytes(content), "empty": b""}[harm])
    again = DrawnBatches(tmp_path, ABOUT, 10, 4)
    assert again.missing() == [1]
    with pytest.raises(ResultsError, match="lacks 1 of 3 batches"):
        again.rows()


@pytest.mark.parametrize(
    ("about", "count", "size", "said"),
    [
        (ABOUT | {"nfe": 20}, 10, 4, "nfe was 50, not 20"),
        (ABOUT, 12, 4, "count was 10, not 12"),
        (ABOUT, 10, 5, "batch_size was 4, not 5"),
        ({"nfe": 50}, 10, 4, "checkpoint was abc, not None"),
    ],
)
def test_samples_of_something_else_are_refused_and_stay(
    tmp_path: Path, about: dict[str, object], count: int, size: int, said: str
) -> None:
    draw(DrawnBatches(tmp_path, ABOUT, 10, 4), [0, 1])
    with pytest.raises(ResultsError, match=said):
        DrawnBatches(tmp_path, about, count, size)
    assert DrawnBatches(tmp_path, ABOUT, 10, 4).missing() == [2]


def test_who_comes_later_leaves_alone_what_is_being_written(tmp_path: Path) -> None:
    DrawnBatches(tmp_path, ABOUT, 10, 4)
    with replacing(tmp_path / "00000000-0123456789abcdef.safetensors") as file:
        file.write(b"half")
        DrawnBatches(tmp_path, ABOUT, 10, 4, look=False)
    assert len(list(tmp_path.glob("0*"))) == 1, "it could be put in its place"


def test_processes_see_what_others_drew(tmp_path: Path) -> None:
    one, other = (DrawnBatches(tmp_path, ABOUT, 10, 4) for _ in range(2))
    draw(one, [0, 2])
    draw(other, [1])
    one.look_again()
    assert one.missing() == []
    assert len(one.rows()) == 10
