"""A saved file of which a bit was changed is not the file that was saved, wherever the bit is."""

from __future__ import annotations

import io
import random
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pdebench.files import state_file

TENSORS = {
    "large": [torch.arange(3000.0) + k for k in range(3)],
    "small": [torch.full((5,), float(k)) for k in range(4)],
    "plain": {"step": 3, "losses": [1.5, None], "name": "x"},
    "begins like a zip's list": torch.tensor(list(b"PK\x01\x02" * 2000), dtype=torch.uint8),
}


def saved(value: object) -> bytes:
    file = io.BytesIO()
    state_file.save(value, file)
    return file.getvalue()


WHOLE = saved(TENSORS)


def loaded(content: bytes, folder: Path) -> object:
    path = folder / "state"
    path.write_bytes(content)
    with path.open("rb") as file:
        return state_file.load(file)


def refused(content: bytes, folder: Path) -> None:
    with pytest.raises(Exception) as raised:  # noqa: PT011 (a damaged file raises anything)
        loaded(content, folder)
    assert not isinstance(raised.value, MemoryError)


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    found = loaded(WHOLE, tmp_path)
    assert isinstance(found, dict)
    assert found["plain"] == TENSORS["plain"]
    assert all(torch.equal(a, b) for a, b in zip(found["large"], TENSORS["large"], strict=True))
    assert len(WHOLE) > 3 * 12_000, "the large tensors are in it"


@settings(max_examples=200, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_noticed(tmp_path_factory: pytest.TempPathFactory, place: float, bit: int) -> None:
    damaged = bytearray(WHOLE)
    damaged[int(place * len(WHOLE))] ^= 1 << bit
    refused(bytes(damaged), tmp_path_factory.getbasetemp())


def test_every_kind_of_place_is_under_a_checksum(tmp_path: Path) -> None:
    """Many bytes of its beginning and its end, and some of each tensor between."""
    places = [*range(0, 400, 3), *range(400, len(WHOLE) - 2000, 199), *range(len(WHOLE) - 2000, len(WHOLE), 7)]
    for place in places:
        damaged = bytearray(WHOLE)
        damaged[place] ^= 1 << (place % 8)
        refused(bytes(damaged), tmp_path)


@pytest.mark.parametrize("size", [1, 512, 4096])
def test_zeroed_blocks_are_noticed(size: int, tmp_path: Path) -> None:
    for place in random.Random(0).sample(range(len(WHOLE) - size), 20):
        damaged = WHOLE[:place] + bytes(size) + WHOLE[place + size :]
        if damaged != WHOLE:
            refused(damaged, tmp_path)


def test_a_file_that_lost_or_gained_bytes_is_noticed(tmp_path: Path) -> None:
    for length in [0, 1, len(state_file.FIRST), 60, len(WHOLE) // 2, len(WHOLE) - 40, len(WHOLE) - 1]:
        refused(WHOLE[:length], tmp_path)
    refused(WHOLE + b"\0", tmp_path)
    refused(WHOLE + WHOLE, tmp_path)
    refused(WHOLE[1:], tmp_path)


def test_exchanged_tensors_are_noticed(tmp_path: Path) -> None:
    """Each is whole, and its checksum goes along; where it lies does not."""
    first, second = (WHOLE.index(tensor.numpy().tobytes()) for tensor in TENSORS["large"][:2])  # type: ignore[index]
    size = 12_000
    a, b = WHOLE[first : first + size], WHOLE[second : second + size]
    swapped = WHOLE[:first] + b + WHOLE[first + size : second] + a + WHOLE[second + size :]
    assert len(swapped) == len(WHOLE)
    refused(swapped, tmp_path)


def test_the_list_of_many_tensors_is_under_the_checksum_too(tmp_path: Path) -> None:
    """It is larger than what is hashed of a tensor, and than what the end of a zip is looked for in."""
    whole = saved([torch.tensor(k) for k in range(1500)])
    loaded(whole, tmp_path)
    begin = whole.index(b"PK\x01\x02")
    assert len(whole) - begin > 2**16
    for place in range(begin, len(whole), 4001):
        damaged = bytearray(whole)
        damaged[place] ^= 4
        refused(bytes(damaged), tmp_path)


def test_a_file_of_another_version_is_told_from_a_damaged_one(tmp_path: Path) -> None:
    older = io.BytesIO()
    torch.save({"step": 1}, older)
    for content in (older.getvalue(), WHOLE.replace(state_file.FIRST, b"pdebench state 2\n")):
        with pytest.raises(state_file.OtherFormat):
            loaded(content, tmp_path)
    with pytest.raises(ValueError, match="no saved state"):
        loaded(b"hello", tmp_path)


def test_what_is_compressed_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10**6))
    with pytest.raises(ValueError, match="more than its size"):
        state_file._check_tensors(packed)


def test_a_full_disk_is_told_as_that() -> None:
    class Full(io.BytesIO):
        def write(self, data: object) -> int:
            if self.tell() > 5000:
                raise OSError(28, "No space left on device")
            return super().write(data)  # type: ignore[arg-type]

    with pytest.raises(OSError, match="No space left"):
        state_file.save(TENSORS, Full())
