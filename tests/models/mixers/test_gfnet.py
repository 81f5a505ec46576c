"""GFNet's filter against the dense circular convolution that it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pdebench.models.backbone import create_model
from pdebench.models.mixers.base import MixerContext
from pdebench.models.mixers.gfnet import GlobalFilter, hermitian
from pdebench.models.options import NoOptions
from pdebench.ops import spectral


def mixer(h: int, w: int, width: int = 3) -> GlobalFilter:
    """A float64 mixer with a filter of order 1, complex everywhere."""
    built = GlobalFilter(MixerContext(width, 1, (h, w), 0, 1), NoOptions()).double()
    built.initialise()
    with torch.no_grad():
        built.filter.mul_(50)
    return built


def dense(built: GlobalFilter) -> Tensor:
    """The matrices (D, N, N) of the circular convolutions by the filter's inverse transform, as NumPy defines it."""
    h, w = built.grid
    values = built.filter.detach().numpy()
    kernel = np.fft.irfft2(values[..., 0] + 1j * values[..., 1], s=(h, w))
    rows, columns = np.divmod(np.arange(h * w), w)
    matrix = kernel[:, (rows[:, None] - rows) % h, (columns[:, None] - columns) % w]
    return torch.tensor(matrix)


@given(h=st.integers(1, 6), w=st.integers(1, 7), batch=st.integers(1, 3), seed=st.integers(0, 99))
def test_equals_the_dense_convolution_with_the_gradient_of_the_tokens(h: int, w: int, batch: int, seed: int) -> None:
    torch.manual_seed(seed)
    built = mixer(h, w)
    x = torch.randn(batch, h * w, 3, dtype=torch.float64, requires_grad=True)
    y = built(x, torch.zeros(batch, 3))
    matrices = dense(built)
    torch.testing.assert_close(y, torch.einsum("dts,bsd->btd", matrices, x))
    weights = torch.randn_like(y)
    (grad,) = torch.autograd.grad(y, x, weights)
    torch.testing.assert_close(grad, torch.einsum("dts,btd->bsd", matrices, weights))


@pytest.mark.parametrize("backend", spectral.BACKENDS)
@pytest.mark.parametrize(("h", "w"), [(4, 4), (3, 5), (4, 1), (1, 6), (5, 2)])
def test_the_filter_has_the_gradient_of_irfft2(h: int, w: int, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pdebench.models.mixers.gfnet.spectral_product", spectral.BACKENDS[backend].apply)
    built = mixer(h, w)
    x = torch.randn(3, h * w, 3, dtype=torch.float64)
    spectrum = torch.fft.rfft2(x.transpose(1, 2).reshape(3, 3, h, w), norm="ortho")
    published = torch.fft.irfft2(spectrum * torch.view_as_complex(built.filter), s=(h, w), norm="ortho")
    y = built(x, torch.zeros(3, 3))
    torch.testing.assert_close(y, published.flatten(2).transpose(1, 2))
    weights = torch.randn_like(y)
    torch.testing.assert_close(
        torch.autograd.grad(y, built.filter, weights),
        torch.autograd.grad(published, built.filter, weights.transpose(1, 2).reshape(published.shape)),
    )


def test_gradcheck() -> None:
    built = mixer(2, 4, width=2)
    x = torch.randn(2, 8, 2, dtype=torch.float64, requires_grad=True)

    def run(x: Tensor, values: Tensor) -> Tensor:
        return torch.func.functional_call(built, {"filter": values}, (x, torch.zeros(2, 2)))

    assert torch.autograd.gradcheck(run, (x, built.filter.detach().requires_grad_()))


@pytest.mark.parametrize(("h", "w"), [(4, 6), (5, 5)])
def test_of_frequencies_held_twice_only_the_hermitian_part_acts_and_learns(h: int, w: int) -> None:
    built = mixer(h, w)
    x = torch.randn(2, h * w, 3, dtype=torch.float64)
    before = built(x, torch.zeros(2, 3))
    (grad,) = torch.autograd.grad(before, built.filter, torch.randn_like(before))
    # row m and row -m of a self-conjugate column get conjugate gradients, the mean of the grid a real one
    for column in [0] if w % 2 else [0, w // 2]:
        of_column = torch.view_as_complex(grad)[..., column]
        torch.testing.assert_close(of_column, of_column[:, -torch.arange(h) % h].conj().resolve_conj())
        assert not grad[:, 0, column, 1].any()
        with torch.no_grad():
            built.filter[:, 0, column, 1] += 7  # the imaginary part of a real frequency
            built.filter[:, 1, column, 0] += 2
            built.filter[:, h - 1, column, 0] -= 2
    torch.testing.assert_close(built(x, torch.zeros(2, 3)), before)


def test_the_hermitian_part_leaves_a_real_kernels_spectrum_alone() -> None:
    for h, w in [(4, 6), (5, 3), (1, 1)]:
        spectrum = torch.view_as_real(torch.fft.rfft2(torch.randn(2, h, w, dtype=torch.float64)))
        torch.testing.assert_close(hermitian(spectrum, w), spectrum)


def test_parameters_and_initial_scale_are_the_published_ones() -> None:
    built = GlobalFilter(MixerContext(384, 6, (14, 14), 0, 1), NoOptions())
    built.initialise()
    assert [tuple(parameter.shape) for parameter in built.parameters()] == [(384, 14, 8, 2)]
    assert built.filter.std().item() == pytest.approx(0.02, rel=0.02)


@pytest.mark.parametrize("shift", [(1, 0), (2, -3)])
def test_commutes_with_translations(shift: tuple[int, int]) -> None:
    built = mixer(4, 6)

    def roll(tokens: Tensor) -> Tensor:
        return tokens.unflatten(1, (4, 6)).roll(shift, (1, 2)).flatten(1, 2)

    x, c = torch.randn(2, 24, 3, dtype=torch.float64), torch.zeros(2, 3)
    torch.testing.assert_close(built(roll(x), c), roll(built(x, c)))


def test_under_autocast_transforms_run_in_float32_and_matrices_in_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    built = mixer(4, 4).float()
    x, c = torch.randn(2, 16, 3).bfloat16(), torch.zeros(2, 3)
    exact = built(x.float(), c)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = built(x.float(), c)
        monkeypatch.setattr(spectral, "BY_MATRICES", {})
        mixed = built(x, c)
    assert (rounded.dtype, mixed.dtype) == (torch.bfloat16, torch.float32)
    torch.testing.assert_close(mixed, exact)
    assert (rounded.float() - exact).square().sum() < 1e-4 * exact.square().sum()


def test_weights_of_one_grid_fit_no_other() -> None:
    small = create_model("GFNet-DiT-XXS/4", input_size=16, num_classes=None)
    large = create_model("GFNet-DiT-XXS/4", input_size=32, num_classes=None)
    with pytest.raises(RuntimeError, match=r"size mismatch for blocks\.0\.mixer\.filter"):
        large.load_state_dict(small.state_dict(), strict=False)
