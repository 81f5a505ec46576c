"""Rotary positions: scores know the offset of two places and nothing else."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pdebench.ops.rotary import Rotary, pairs_of

GRIDS = [(9,), (6, 8), (5, 4, 6)]


def at(vector: Tensor, rotary: Rotary, place: tuple[int, ...]) -> Tensor:
    """One vector as the token at a place has it."""
    turned = rotary(vector.expand(math.prod(rotary.grid), -1))
    return turned.unflatten(0, rotary.grid)[place]


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("head", [16, 64, 72])
def test_scores_depend_on_the_offset_alone(grid: tuple[int, ...], head: int) -> None:
    rotary = Rotary(grid, head)
    assert sum(pairs_of(head, len(grid))) == head // 2
    query, key = torch.randn(head), torch.randn(head)

    @given(st.data())
    def check(data: st.DataObject) -> None:
        one, other = (tuple(data.draw(st.integers(0, side - 1)) for side in grid) for _ in range(2))
        moves = [(-min(a, b), n - 1 - max(a, b)) for a, b, n in zip(one, other, grid, strict=True)]
        by = [data.draw(st.integers(low, high)) for low, high in moves]
        moved = [tuple(p + d for p, d in zip(place, by, strict=True)) for place in (one, other)]
        here = at(query, rotary, one) @ at(key, rotary, other)
        torch.testing.assert_close(at(query, rotary, moved[0]) @ at(key, rotary, moved[1]), here, rtol=1e-4, atol=1e-4)

    check()
    origin = (0,) * len(grid)
    for axis, side in enumerate(grid):  # and on that of each axis
        step = tuple(side - 1 if other == axis else 0 for other in range(len(grid)))
        assert abs(at(query, rotary, origin) @ at(key, rotary, step) - query @ key) > 1e-2


def test_in_a_plane_rows_turn_the_first_half_of_a_head_and_columns_the_second() -> None:
    """By complex numbers, as a pair of channels is one, with LightningDiT's frequencies."""
    h, w, head = 3, 5, 8
    x = torch.randn(2, h * w, head, dtype=torch.float64)
    frequencies = [10_000.0 ** (-2 * i / (head // 2)) for i in range(head // 4)]
    turns = torch.tensor(
        [[row * f for f in frequencies] + [column * f for f in frequencies] for row in range(h) for column in range(w)],
        dtype=torch.float64,
    )
    pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())
    expected = torch.view_as_real(pairs * torch.polar(torch.ones_like(turns), turns)).flatten(-2)
    torch.testing.assert_close(Rotary((h, w), head)(x), expected, rtol=0, atol=1e-6)


def test_a_finer_grid_over_the_same_image_has_the_same_places() -> None:
    coarse, fine = Rotary((4, 6), 16), Rotary((8, 12), 16)
    fine.stand_apart([0.5, 0.5])
    assert torch.equal(fine.cos.view(8, 12, -1)[::2, ::2], coarse.cos.view(4, 6, -1))
    assert torch.equal(fine.sin.view(8, 12, -1)[::2, ::2], coarse.sin.view(4, 6, -1))
