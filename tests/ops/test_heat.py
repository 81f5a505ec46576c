"""The heat equation in cosines against SciPy's transforms in float64."""

from __future__ import annotations

import math

import pytest
import scipy.fft
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pdebench.ops import heat
from pdebench.ops.heat import HeatProduct, cosines, decay, transform


def dct(x: Tensor) -> Tensor:
    return torch.from_numpy(scipy.fft.dctn(x.detach().numpy(), type=2, norm="ortho", axes=(1, 2)))


def idct(x: Tensor) -> Tensor:
    return torch.from_numpy(scipy.fft.idctn(x.detach().numpy(), type=2, norm="ortho", axes=(1, 2)))


def squares(h: int, w: int) -> Tensor:
    rows, columns = (torch.arange(side).double() * (math.pi / side) for side in (h, w))
    return (rows[:, None] ** 2 + columns**2)[..., None]


@given(h=st.integers(1, 7), w=st.integers(1, 7), batch=st.integers(1, 3), seed=st.integers(0, 99))
def test_equals_scipys_transforms_with_all_gradients(h: int, w: int, batch: int, seed: int) -> None:
    torch.manual_seed(seed)
    x = torch.randn(batch, h, w, 3, dtype=torch.float64, requires_grad=True)
    k = torch.rand(h, w, 3, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(transform(x), dct(x))
    factor = torch.exp(-squares(h, w) * k).detach()
    torch.testing.assert_close(decay(k), factor)
    y = HeatProduct.apply(x, k)
    torch.testing.assert_close(y, idct(dct(x) * factor))
    weights = torch.randn_like(y)
    grad_x, grad_k = torch.autograd.grad(y, (x, k), weights)
    torch.testing.assert_close(grad_x, idct(dct(weights) * factor))  # it is its own adjoint
    torch.testing.assert_close(grad_k, -squares(h, w) * factor * (dct(x) * dct(weights)).sum(0))


# pieces of some channels of a sample, of a sample, and of two samples
@pytest.mark.parametrize(("piece", "pieces"), [(16 * 24, 9), (40 * 24, 3), (2 * 40 * 24, 2)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_in_pieces_it_is_the_same(dtype: torch.dtype, piece: int, pieces: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(3, 4, 6, 40).to(dtype).transpose(1, 2).requires_grad_()  # of any layout
    k = torch.rand(6, 4, 40, dtype=torch.float32 if dtype == torch.bfloat16 else dtype, requires_grad=True)
    weights = torch.randn(3, 6, 4, 40).to(dtype)

    def outcome() -> tuple[Tensor, ...]:
        y = HeatProduct.apply(x, k)
        return y, *torch.autograd.grad(y, (x, k), weights)

    whole, seen = outcome(), []
    monkeypatch.setattr(heat, "PIECE", piece)
    monkeypatch.setattr(heat, "transform", lambda part: seen.append(part.numel()) or transform(part))
    for got, wanted in zip(outcome(), whole, strict=True):
        assert got.dtype == wanted.dtype
        torch.testing.assert_close(got, wanted, atol=0.05 if dtype == torch.bfloat16 else 1e-12, rtol=0.02)
    assert len(seen) == 2 * pieces  # forward and backward
    assert max(seen) <= piece


def test_the_cosines_of_many_points_are_orthonormal_to_rounding() -> None:
    made = cosines(512, like=torch.zeros(0, dtype=torch.float64))
    torch.testing.assert_close(made @ made.t(), torch.eye(512, dtype=torch.float64), atol=1e-13, rtol=0)
