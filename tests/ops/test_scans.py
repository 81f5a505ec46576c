"""Scans: permutations with exact inverses and gradients, and paths that are what their names say."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pdebench.ops.scans import Scan, orders, permutations

COUNTS = {"raster": 1, "reverse": 1, "transpose": 1, "bidirectional": 2, "cross": 4, "zigzag-8": 8}
sides = st.integers(1, 7)

# ZigMa's eight paths over 3 x 3 tokens as CompVis/zigma lists them: along the rows, then along the columns, from the
# top left, top right, bottom left and bottom right
ZIGZAGS = [
    [0, 1, 2, 5, 4, 3, 6, 7, 8],
    [0, 3, 6, 7, 4, 1, 2, 5, 8],
    [2, 1, 0, 3, 4, 5, 8, 7, 6],
    [2, 5, 8, 7, 4, 1, 0, 3, 6],
    [6, 7, 8, 5, 4, 3, 0, 1, 2],
    [6, 3, 0, 1, 4, 7, 8, 5, 2],
    [8, 7, 6, 3, 4, 5, 2, 1, 0],
    [8, 5, 2, 1, 4, 7, 6, 3, 0],
]


def steps(order: list[int], w: int) -> list[int]:
    """How far apart on the grid (in the L1 norm) the tokens of each step are."""
    places = [divmod(token, w) for token in order]
    return [abs(r - s) + abs(c - d) for (r, c), (s, d) in pairwise(places)]


@pytest.mark.parametrize("kind", COUNTS)
@given(h=sides, w=sides)
def test_each_is_a_permutation_that_undo_inverts_exactly(kind: str, h: int, w: int) -> None:
    tokens = torch.randn(2, h * w, 3)
    scans = orders(kind, h, w)
    assert len(scans) == COUNTS[kind]
    for scan, permutation in zip(scans, permutations(kind, h, w), strict=True):
        assert sorted(permutation) == list(range(h * w))
        assert torch.equal(scan(tokens), tokens[:, permutation.copy()])
        assert torch.equal(scan.undo(scan(tokens)), tokens)
        assert torch.equal(scan(scan.undo(tokens)), tokens)


@pytest.mark.parametrize("kind", COUNTS)
def test_gradients_are_exact(kind: str) -> None:
    for scan, permutation in zip(orders(kind, 3, 5), permutations(kind, 3, 5), strict=True):
        tokens = torch.randn(2, 15, 4, requires_grad=True)
        weights = torch.randn(2, 15, 4)
        (got,) = torch.autograd.grad(scan(tokens), tokens, weights)
        (wanted,) = torch.autograd.grad(tokens[:, permutation.copy()], tokens, weights)
        assert torch.equal(got, wanted)
        (back,) = torch.autograd.grad(scan.undo(tokens), tokens, weights)
        assert torch.equal(back, weights[:, permutation.copy()])


def test_second_derivatives_too() -> None:
    scan = orders("zigzag-8", 2, 3)[3]
    tokens = torch.randn(1, 6, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: scan(x) ** 3, tokens)


def test_the_simple_scans_on_an_oblong_grid() -> None:
    raster, reverse, transpose, last = (list(order) for order in permutations("cross", 2, 3))
    assert raster == [0, 1, 2, 3, 4, 5]
    assert reverse == [5, 4, 3, 2, 1, 0]
    assert transpose == [0, 3, 1, 4, 2, 5]
    assert last == [5, 2, 4, 1, 3, 0]


def test_zigzags_are_zigmas_eight_in_its_order() -> None:
    assert [list(order) for order in permutations("zigzag-8", 3, 3)] == ZIGZAGS


@given(h=sides, w=sides)
def test_a_zigzag_steps_from_neighbour_to_neighbour_and_starts_in_each_corner_twice(h: int, w: int) -> None:
    paths = [list(order) for order in permutations("zigzag-8", h, w)]
    assert all(step == 1 for path in paths for step in steps(path, w))
    corners = [0, 0, w - 1, w - 1, (h - 1) * w, (h - 1) * w, h * w - 1, h * w - 1]
    assert [path[0] for path in paths] == corners
    if min(h, w) > 1:
        assert len({tuple(path) for path in paths}) == 8


@given(h=st.integers(2, 7), w=st.integers(2, 7))
def test_raster_leaps_at_the_end_of_each_row(h: int, w: int) -> None:
    leaps = [step for step in steps(list(permutations("raster", h, w)[0]), w) if step > 1]
    assert leaps == [w] * (h - 1)


@given(h=sides, w=sides)
def test_cross_reaches_each_neighbour_in_one_step(h: int, w: int) -> None:
    follows = {(int(a), int(b)) for order in permutations("cross", h, w) for a, b in pairwise(order)}
    for r in range(h):
        for c in range(w):
            for s, d in ((r, c + 1), (r, c - 1), (r + 1, c), (r - 1, c)):
                if 0 <= s < h and 0 <= d < w:
                    assert (r * w + c, s * w + d) in follows


def test_raster_copies_nothing() -> None:
    (scan,) = orders("raster", 4, 4)
    tokens = torch.randn(1, 16, 2)
    assert scan(tokens) is tokens
    assert scan.undo(tokens) is tokens


def test_indices_follow_the_module_and_stay_out_of_the_state_dict() -> None:
    scan = orders("reverse", 2, 2)[0]
    assert not scan.state_dict()
    assert scan.order is not None
    assert scan.to("meta").order.is_meta
    with torch.device("meta"):
        born = orders("zigzag-8", 4, 4)[1]
    assert born.order is not None
    assert born.order.is_meta
    assert born.undo(born(torch.empty(2, 16, 3, device="meta"))).shape == (2, 16, 3)
    assert not permutations("zigzag-8", 4, 4)[1].flags.writeable  # what the cache holds stays as it is


def test_is_one_graph_to_the_compiler() -> None:
    scan = orders("cross", 3, 4)[2]
    tokens = torch.randn(2, 12, 3, requires_grad=True)

    def work(scan: Scan, tokens: torch.Tensor) -> torch.Tensor:
        return scan.undo(scan(tokens).cumsum(1))

    compiled = torch.compile(work, fullgraph=True, backend="aot_eager")
    wanted = work(scan, tokens)
    torch.testing.assert_close(compiled(scan, tokens), wanted)
    weights = torch.randn_like(wanted)
    (got,) = torch.autograd.grad(compiled(scan, tokens), tokens, weights)
    torch.testing.assert_close(got, torch.autograd.grad(wanted, tokens, weights)[0])


def test_backward_gathers_and_never_adds() -> None:
    scan = orders("transpose", 3, 4)[0]
    tokens = torch.randn(2, 12, 3, requires_grad=True)
    assert type(scan(tokens).grad_fn).__name__ == "ReorderBackward"
    with torch.profiler.profile() as profile:
        scan(tokens).sum().backward()
    ran = {event.key for event in profile.key_averages()}
    assert "aten::index_select" in ran
    assert not ran & {"aten::index_add", "aten::index_add_", "aten::index_put_", "aten::_index_put_impl_"}
