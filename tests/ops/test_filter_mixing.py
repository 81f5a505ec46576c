"""The convolution by a free symbol as an operator of `torch.library`."""

from __future__ import annotations

import pytest
import torch

from pdebench.models.mixer_context import MixerContext
from pdebench.models.mixers.gfnet import GlobalFilter
from pdebench.models.options import NoOptions
from pdebench.ops import spectral
from pdebench.ops.filter_mixing import HANDLES
from pdebench.ops.operand import Operand
from pdebench.ops.spectral_coverage import KERNEL


def test_off_a_gpu_it_computes_what_other_roads_do(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 6, 5, 3, dtype=torch.float64).permute(0, 3, 1, 2).requires_grad_()
    kernel = torch.randn(3, 6, 5, dtype=torch.float64, requires_grad=True)
    weight = torch.randn_like(x)

    def outcome() -> list[torch.Tensor]:
        y = spectral.spectral_product(x, torch.view_as_real(torch.fft.rfft2(kernel)))
        return [y, *torch.autograd.grad((y * weight).sum(), [x, kernel])]

    wanted = outcome()
    monkeypatch.setattr(spectral, "backend_of", lambda *_, **__: KERNEL)
    for got, known in zip(outcome(), wanted, strict=True):
        torch.testing.assert_close(got, known)


def test_it_keeps_the_rules_of_pytorchs_operators() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 4, 4, 3, dtype=torch.float64, requires_grad=True)
    symbol = torch.view_as_real(torch.fft.rfft2(torch.randn(3, 4, 4, dtype=torch.float64))).requires_grad_()
    torch.library.opcheck(torch.ops.pdebench.filter_mixing.default, (x, symbol))


def test_a_filter_says_that_it_takes_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))

    def implementation(side: int) -> str:
        return GlobalFilter(MixerContext(16, 1, (side, side), 0, 1), NoOptions()).implementation

    assert implementation(16) == "matrices in bf16, half spectra (rfft2) in fp32"
    monkeypatch.setenv("PDEBENCH_SPECTRAL_KERNELS", "1")
    assert implementation(16) == KERNEL
    assert implementation(64) == f"{KERNEL} in bf16, half spectra (rfft2) in fp32"
    assert implementation(12) == "matrices in bf16, half spectra (rfft2) in fp32"


def test_it_is_counted_like_every_product_in_fourier_space() -> None:
    counted = HANDLES["pdebench::filter_mixing"]([Operand((2, 16, 16, 24)), None], [])
    assert counted == {"fft": 2 * 24 * 2 * 1.25 * 256 * 8, "complex product": 2 * 24 * 3 * 16 * 9}
