"""The spectral product: its definition against a dense matrix, its fast backends against its definition."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pdebench.ops.spectral import BACKENDS, spectral_product
from pdebench.ops.spectral_reference import reference_product

CHANNELS = 2
GRIDS = st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple)
PLANES = st.tuples(st.integers(1, 9), st.integers(1, 9))


def kernels(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def symbol_of(kernel: Tensor, axes: int) -> Tensor:
    """The half spectrum of real kernels over their last axes, with real and imaginary parts."""
    return torch.view_as_real(torch.fft.rfftn(kernel, dim=tuple(range(-axes, 0))))


def circulant(kernel: Tensor) -> Tensor:
    """The dense matrix of circular convolution with one kernel on its grid: row n, column m is kernel[n - m]."""
    places = list(itertools.product(*map(range, kernel.shape)))
    rows = [
        [kernel[tuple((n - m) % s for n, m, s in zip(to, at, kernel.shape, strict=True))] for at in places]
        for to in places
    ]
    return torch.stack([torch.stack(row) for row in rows])


@given(grid=GRIDS, seed=st.integers(0, 99))
def test_the_definition_is_the_dense_matrix_on_one_two_and_three_axes(grid: tuple[int, ...], seed: int) -> None:
    x, kernel = kernels(2, CHANNELS, *grid, seed=seed), kernels(CHANNELS, *grid, seed=seed + 1)
    found = reference_product(x, symbol_of(kernel, len(grid)))
    dense = torch.stack([x[:, d].flatten(1) @ circulant(kernel[d]).T for d in range(CHANNELS)], 1)
    torch.testing.assert_close(found, dense.view_as(found))


@pytest.mark.parametrize("backend", BACKENDS)
@given(plane=PLANES, solid=GRIDS, seed=st.integers(0, 99))
def test_the_backends_and_their_gradients_are_the_definitions(
    backend: str, plane: tuple[int, int], solid: tuple[int, ...], seed: int
) -> None:
    grid = plane if backend == "matrices" else solid  # these know planes only
    x, kernel = kernels(3, CHANNELS, *grid, seed=seed), kernels(CHANNELS, *grid, seed=seed + 1)
    weight = kernels(3, CHANNELS, *grid, seed=seed + 2)
    found = []
    for product in (BACKENDS[backend].apply, reference_product):
        u, k = x.clone().requires_grad_(), kernel.clone().requires_grad_()
        y = product(u, symbol_of(k, len(grid)))
        found.append((y, *torch.autograd.grad((y * weight).sum(), (u, k))))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)


@given(grid=GRIDS, seed=st.integers(0, 99))
def test_a_symbol_for_each_sample_too(grid: tuple[int, ...], seed: int) -> None:
    x, kernel = kernels(3, CHANNELS, *grid, seed=seed), kernels(3, CHANNELS, *grid, seed=seed + 1)
    symbol = symbol_of(kernel, len(grid))
    torch.testing.assert_close(spectral_product(x, symbol), reference_product(x, symbol))
