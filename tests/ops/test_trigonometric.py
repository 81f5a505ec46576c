"""Products in cosines and sines of a grid against SciPy's transforms in float64."""

from __future__ import annotations

import math

import pytest
import scipy.fft
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pdebench.ops.heat import decay
from pdebench.ops.trigonometric import MATRICES, Basis, TrigonometricProduct, transform

GRIDS = st.lists(st.integers(1, 6), min_size=1, max_size=3)
BASES = st.sampled_from(["cosine", "sine"])


def scipys(x: Tensor, basis: Basis, *, back: bool = False) -> Tensor:
    name = f"{'i' if back else ''}d{basis[0]}tn"
    axes = tuple(range(1, x.dim() - 1))
    return torch.from_numpy(getattr(scipy.fft, name)(x.detach().numpy(), type=2, norm="ortho", axes=axes))


def squares(h: int, w: int) -> Tensor:
    rows, columns = (torch.arange(side).double() * (math.pi / side) for side in (h, w))
    return (rows[:, None] ** 2 + columns**2)[..., None]


@given(grid=GRIDS, basis=BASES, shared=st.booleans(), batch=st.integers(1, 3), seed=st.integers(0, 99))
def test_equals_scipys_transforms_with_all_gradients(
    grid: list[int], basis: Basis, shared: bool, batch: int, seed: int
) -> None:
    torch.manual_seed(seed)
    x = torch.randn(batch, *grid, 3, dtype=torch.float64, requires_grad=True)
    factor = torch.randn(*([] if shared else [batch]), *grid, 3, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(transform(x, basis), scipys(x, basis))
    y = TrigonometricProduct.apply(x, factor, basis)
    torch.testing.assert_close(y, scipys(scipys(x, basis) * factor.detach(), basis, back=True))
    weights = torch.randn_like(y)
    grad_x, grad_factor = torch.autograd.grad(y, (x, factor), weights)
    # it is its own adjoint
    torch.testing.assert_close(grad_x, scipys(scipys(weights, basis) * factor.detach(), basis, back=True))
    expected = scipys(x, basis) * scipys(weights, basis)
    torch.testing.assert_close(grad_factor, expected.sum(0) if shared else expected)


@given(h=st.integers(1, 7), w=st.integers(1, 7))
def test_what_is_left_of_each_cosine_is_that_of_its_frequency(h: int, w: int) -> None:
    k = torch.rand(h, w, 3, dtype=torch.float64)
    torch.testing.assert_close(decay(k), torch.exp(-squares(h, w) * k))


@pytest.mark.parametrize("shared", [True, False])
def test_tokens_of_any_layout_keep_their_precision_and_the_factor_its_own(shared: bool) -> None:
    exact = torch.randn(3, 4, 6, 40, dtype=torch.float64).transpose(1, 2)
    wide = torch.rand(*([] if shared else [3]), 6, 4, 40, dtype=torch.float64)
    weights = torch.randn(3, 6, 4, 40, dtype=torch.float64)

    def outcome(tokens: torch.dtype, factors: torch.dtype) -> tuple[Tensor, ...]:
        x, factor = exact.to(tokens).requires_grad_(), wide.to(factors).requires_grad_()
        y = TrigonometricProduct.apply(x, factor, "cosine")
        return y, *torch.autograd.grad(y, (x, factor), weights.to(tokens))

    found = outcome(torch.bfloat16, torch.float32)
    assert [one.dtype for one in found] == [torch.bfloat16, torch.bfloat16, torch.float32]
    for got, wanted in zip(found, outcome(torch.float64, torch.float64), strict=True):
        torch.testing.assert_close(got.double(), wanted, atol=0.1, rtol=0.05)


@pytest.mark.parametrize("basis", MATRICES)
def test_the_matrices_of_many_points_are_orthonormal_to_rounding(basis: Basis) -> None:
    made = MATRICES[basis](512, like=torch.zeros(0, dtype=torch.float64))
    torch.testing.assert_close(made @ made.t(), torch.eye(512, dtype=torch.float64), atol=1e-13, rtol=0)
