"""AFNO's mixer against the paper's formula, frequency by frequency, in float64."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pdebench.models.mixers.afno import AdaptiveFourier, InverseRealTransform, RealTransform
from pdebench.models.mixers.base import MixerContext
from pdebench.models.options import NoOptions
from pdebench.models.registry import FAMILIES

WIDTH = 16


def mixer(h: int, w: int) -> AdaptiveFourier:
    """A float64 mixer whose second half moves the tokens as much as the residual does."""
    built = AdaptiveFourier(MixerContext(WIDTH, 1, (h, w), 0, 1), NoOptions()).double()
    built.initialise()
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.mul_(25)
    return built


def dft(n: int) -> Tensor:
    """The unitary Fourier matrix."""
    index = torch.arange(n, dtype=torch.float64)
    angles = -2 * torch.pi * index[:, None] * index / n
    return torch.polar(torch.full_like(angles, n**-0.5), angles)


def direct(x: Tensor, h: int, w: int, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
    """The paper's formula by Fourier matrices and complex products; real parts of what `irfft2` would see."""
    rows, columns = dft(h), dft(w)
    image = x.view(-1, h, w, 8, WIDTH // 8).to(torch.complex128)
    spectrum = torch.einsum("ky,lx,byxng->bklng", rows, columns, image)[:, :, : w // 2 + 1]

    def apart(function: object, z: Tensor) -> Tensor:
        return torch.complex(function(z.real), function(z.imag))  # type: ignore[operator]

    def shrink(z: Tensor) -> Tensor:
        return z.sign() * (z.abs() - 0.01).clamp(min=0)

    z = torch.einsum("noi,bklni->bklno", torch.complex(*w1), spectrum) + torch.complex(*b1)
    z = torch.einsum("noi,bklni->bklno", torch.complex(*w2), apart(torch.relu, z)) + torch.complex(*b2)
    z = apart(shrink, z)
    # back: columns of frequency 0 and, for an even w, w / 2 count once and the others for their mirror images too
    z = torch.einsum("yk,bklng->bylng", rows.conj(), z)
    weight = torch.tensor([1.0 if 2 * k % w == 0 else 2.0 for k in range(w // 2 + 1)], dtype=torch.float64)
    y = torch.einsum("xl,l,bylng->byxng", columns.conj()[:, : w // 2 + 1], weight.to(z.dtype), z).real
    return x + y.reshape(x.shape)


@given(h=st.integers(1, 5), w=st.integers(1, 6), batch=st.integers(1, 3), seed=st.integers(0, 99))
def test_equals_the_formula_with_all_gradients(h: int, w: int, batch: int, seed: int) -> None:
    torch.manual_seed(seed)
    built = mixer(h, w)
    x = torch.randn(batch, h * w, WIDTH, dtype=torch.float64, requires_grad=True)
    arguments = (x, built.weight1, built.bias1, built.weight2, built.bias2)
    ours, oracle = built(x, torch.zeros(batch, WIDTH)), direct(x, h, w, *arguments[1:])
    torch.testing.assert_close(ours, oracle)
    weights = torch.randn_like(oracle)
    for got, wanted in zip(
        torch.autograd.grad(ours, arguments, weights), torch.autograd.grad(oracle, arguments, weights), strict=True
    ):
        torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize(("h", "w"), [(4, 6), (3, 5), (2, 2), (3, 1)])
def test_the_transforms_have_their_gradients(h: int, w: int) -> None:
    x = torch.randn(2, 1, h, w, dtype=torch.float64, requires_grad=True)
    spectrum = torch.randn(2, 1, h, w // 2 + 1, dtype=torch.complex128, requires_grad=True)
    assert torch.autograd.gradcheck(RealTransform.apply, x)
    assert torch.autograd.gradcheck(lambda z: InverseRealTransform.apply(z, w), spectrum)


def test_what_is_shrunk_to_nothing_leaves_the_tokens_as_they_were() -> None:
    built = mixer(3, 4)
    with torch.no_grad():
        built.weight2.zero_()
        built.bias2.fill_(0.0099)
    x = torch.randn(2, 12, WIDTH, dtype=torch.float64)
    assert torch.equal(built(x, torch.zeros(2, WIDTH)), x)


def test_blocks_of_channels_do_not_mix() -> None:
    built = mixer(3, 4)
    x = torch.randn(1, 12, WIDTH, dtype=torch.float64)
    changed = x.clone()
    changed[..., 4:6] += 1  # the third of eight blocks of two
    with torch.no_grad():
        difference = (built(changed, torch.zeros(1, WIDTH)) - built(x, torch.zeros(1, WIDTH))).abs().amax((0, 1))
    assert difference[4:6].min() > 0.1
    assert difference[:4].max() == 0
    assert difference[6:].max() == 0


def test_does_not_commute_with_translations_on_account_of_its_relu() -> None:
    """A shift turns the phases; ReLU and shrinkage see real and imaginary parts. Linear, it would commute."""

    def roll(tokens: Tensor) -> Tensor:
        return tokens.unflatten(1, (4, 6)).roll((1, -2), (1, 2)).flatten(1, 2)

    built = mixer(4, 6)
    x, c = torch.randn(2, 24, WIDTH, dtype=torch.float64), torch.zeros(2, WIDTH)
    got, rolled = built(roll(x), c), roll(built(x, c))
    assert (got - rolled).norm() > 0.1 * (rolled - roll(x)).norm()


def test_parameters_and_initial_scale_are_the_published_ones() -> None:
    built = AdaptiveFourier(MixerContext(384, 6, (4, 4), 0, 1), NoOptions())
    built.initialise()
    shapes = [tuple(parameter.shape) for parameter in built.parameters()]
    assert shapes == [(2, 8, 48, 48), (2, 8, 48), (2, 8, 48, 48), (2, 8, 48)]
    for parameter in built.parameters():
        assert parameter.std().item() == pytest.approx(0.02, rel=0.1)


def test_widths_that_eight_blocks_do_not_divide_are_refused() -> None:
    from pdebench.errors import DimensionError

    family = FAMILIES["AFNO-DiT"]
    assert family.dimensions("XXS", NoOptions(), width=136).width == 136
    with pytest.raises(DimensionError, match="not a multiple of 8"):
        family.dimensions("XXS", NoOptions(), width=132)


def test_transforms_run_in_float32_under_autocast() -> None:
    built = mixer(4, 4).float()
    x, c = torch.randn(2, 16, WIDTH), torch.zeros(2, WIDTH)
    exact = built(x, c)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = built(x, c)
        assert built(x.bfloat16(), c).dtype == torch.float32
    assert rounded.dtype == torch.float32
    assert 0 < (rounded - exact).norm() < 0.02 * exact.norm()  # the products between the transforms are rounded
