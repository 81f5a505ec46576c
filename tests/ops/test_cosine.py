"""A gain for each cosine of a grid, against SciPy's transforms in float64."""

from __future__ import annotations

import pytest
import scipy.fft
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pdebench.ops import cosine
from pdebench.ops.cosine import CosineProduct, cosines, transform


def dct(x: Tensor) -> Tensor:
    return torch.from_numpy(scipy.fft.dctn(x.detach().numpy(), type=2, norm="ortho", axes=(1, 2)))


def idct(x: Tensor) -> Tensor:
    return torch.from_numpy(scipy.fft.idctn(x.detach().numpy(), type=2, norm="ortho", axes=(1, 2)))


@given(h=st.integers(1, 7), w=st.integers(1, 7), batch=st.integers(1, 3), seed=st.integers(0, 99))
def test_equals_scipys_transforms_with_all_gradients(h: int, w: int, batch: int, seed: int) -> None:
    torch.manual_seed(seed)
    x = torch.randn(batch, h, w, 3, dtype=torch.float64, requires_grad=True)
    gain = torch.randn(h, w, 3, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(transform(x), dct(x))
    y = CosineProduct.apply(x, gain)
    torch.testing.assert_close(y, idct(dct(x) * gain.detach()))
    weights = torch.randn_like(y)
    grad_x, grad_gain = torch.autograd.grad(y, (x, gain), weights)
    torch.testing.assert_close(grad_x, idct(dct(weights) * gain.detach()))  # it is its own adjoint
    torch.testing.assert_close(grad_gain, (dct(x) * dct(weights)).sum(0))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_in_pieces_it_is_the_same(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(3, 4, 6, 40).to(dtype).transpose(1, 2).requires_grad_()  # of any layout
    gain = torch.rand(6, 4, 40, dtype=torch.float32 if dtype == torch.bfloat16 else dtype, requires_grad=True)
    weights = torch.randn(3, 6, 4, 40).to(dtype)

    def outcome() -> tuple[Tensor, ...]:
        y = CosineProduct.apply(x, gain)
        return y, *torch.autograd.grad(y, (x, gain), weights)

    whole = outcome()
    monkeypatch.setattr(cosine, "IN_ONE_PIECE", 20)
    monkeypatch.setattr(cosine, "PIECE", 16 * 24)
    assert len(list(cosine._pieces(x))) == 3 * 3
    seen = []
    monkeypatch.setattr(cosine, "transform", lambda piece: seen.append(piece.shape) or transform(piece))
    for got, wanted in zip(outcome(), whole, strict=True):
        assert got.dtype == wanted.dtype
        torch.testing.assert_close(got, wanted, atol=0.03 if dtype == torch.bfloat16 else 1e-12, rtol=0.02)
    assert seen == [(1, 6, 4, 16), (1, 6, 4, 16), (1, 6, 4, 8)] * 6


def test_the_cosines_of_many_points_are_orthonormal_to_rounding() -> None:
    made = cosines(512, like=torch.zeros(0, dtype=torch.float64))
    torch.testing.assert_close(made @ made.t(), torch.eye(512, dtype=torch.float64), atol=1e-13, rtol=0)
