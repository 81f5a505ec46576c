"""Kernels, of others and our own, against PyTorch: values and all gradients, where there are a device and kernels."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pdebench.models.backbone import create_model
from pdebench.models.mixers import pde
from pdebench.models.mixers.pde import PDEOperator
from pdebench.models.options import PDEOptions
from pdebench.models.registry import FAMILIES
from pdebench.ops import kernels
from pdebench.ops.spectral import backend_of, spectral_product
from pdebench.ops.spectral_coverage import KERNEL, SIDES, not_covered

USERS = sorted({family for kernel in kernels.KERNELS.values() for family in kernel.families})


@pytest.mark.gpu
@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("family", USERS)
def test_a_kernel_computes_what_pytorch_computes(family: str, autocast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = [what for what, kernel in kernels.KERNELS.items() if family in kernel.families and not kernels.load(what)]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    mixer = create_model(f"{family}-XXS/2", input_size=32, in_channels=3, num_classes=None).cuda().blocks[1].mixer
    x = torch.randn(2, 256, FAMILIES[family].size("XXS").width, device="cuda", requires_grad=True)
    c, weights = torch.zeros_like(x[:, 0]), torch.randn_like(x)

    def outcome() -> list[Tensor]:
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=autocast):
            y = mixer(x, c)
        return [y, *torch.autograd.grad((y.float() * weights).sum(), [x, *mixer.parameters()])]

    fast = outcome()
    monkeypatch.setattr(kernels, "suit", lambda tensor: False)
    slow = outcome()
    tolerance = 0.05 if autocast else 1e-3
    for got, wanted in zip(fast, slow, strict=True):
        assert (got.float() - wanted.float()).norm() <= tolerance * wanted.float().norm()


@pytest.mark.gpu
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"diffusion": "diagonal", "states": 4},
        {"diffusion": "isotropic", "selective": True, "states": 2},
        {"diffusion": "off", "padding": "zero"},
        {"convection": False, "padding": "zero", "selective": True},
    ],
)
@pytest.mark.parametrize("side", [8, 16, 32, 64])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float16, 3e-3), (torch.bfloat16, 2e-2)])
def test_the_pde_operators_kernel_computes_what_a_cpu_does(
    dtype: torch.dtype, tolerance: float, side: int, options: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PDEBENCH_SPECTRAL_KERNELS", "1")
    torch.manual_seed(0)
    operator = PDEOperator(40, (side, side), PDEOptions.model_validate(options))
    if operator.domain * side not in SIDES[dtype]:
        pytest.skip("the kernel does not take it")
    assert not not_covered("cuda", (side, side), dtype, operator.domain)
    x, dy = (torch.randn(70, side, side, 40).to(dtype) for _ in range(2))
    tau = torch.rand(70, 40) + 0.5 if operator.options.selective else None

    def outcome(device: str, kind: torch.dtype) -> list[Tensor]:
        op = operator.to(device, torch.float64 if device == "cpu" else torch.float32)
        given = x.to(device, kind).permute(0, 3, 1, 2).requires_grad_()
        time = None if tau is None else tau.to(given.device, next(op.parameters()).dtype).requires_grad_()
        wanted = [given, *op.parameters(), *([] if time is None else [time])]
        y = op(given, time)
        return [y, *torch.autograd.grad(y, wanted, dy.to(device, kind).permute(0, 3, 1, 2))]

    ours, known = outcome("cuda", dtype), outcome("cpu", torch.float64)
    for got, wanted in zip(ours, known, strict=True):
        assert (got.cpu().double() - wanted).norm() <= tolerance * wanted.norm()


@pytest.mark.gpu
@pytest.mark.parametrize("side", [8, 16, 32, 64])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float16, 3e-3), (torch.bfloat16, 2e-2)])
def test_the_kernel_of_a_filter_computes_what_a_cpu_does(
    dtype: torch.dtype, tolerance: float, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PDEBENCH_SPECTRAL_KERNELS", "1")
    if side not in SIDES[dtype]:
        pytest.skip("the kernel does not take it")
    torch.manual_seed(0)
    x, dy = (torch.randn(70, 40, side, side).to(dtype) for _ in range(2))
    kernel = torch.randn(40, side, side)

    def outcome(device: str, kind: torch.dtype, wide: torch.dtype) -> list[Tensor]:
        u, k = x.to(device, kind).requires_grad_(), kernel.to(device, wide).requires_grad_()
        y = spectral_product(u, torch.view_as_real(torch.fft.rfft2(k)))
        return [y, *torch.autograd.grad(y, [u, k], dy.to(device, kind))]

    assert backend_of("cuda", (side, side), dtype) == KERNEL
    ours, known = outcome("cuda", dtype, torch.float32), outcome("cpu", torch.float64, torch.float64)
    for got, wanted in zip(ours, known, strict=True):
        assert (got.cpu().double() - wanted).norm() <= tolerance * wanted.norm()


@pytest.mark.gpu
def test_a_compiled_mixer_takes_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PDEBENCH_SPECTRAL_KERNELS", "1")
    model = create_model("PDE-SSM-DiT-XXS/2", input_size=32, in_channels=3, num_classes=None).cuda()
    assert model.mixer_implementation == "one Triton kernel"
    mixer = model.blocks[1].mixer
    x = torch.randn(2, 256, FAMILIES["PDE-SSM-DiT"].size("XXS").width, device="cuda", requires_grad=True)

    def outcome(run: torch.nn.Module) -> list[Tensor]:
        with torch.autocast("cuda", dtype=torch.bfloat16):
            y = run(x, torch.zeros_like(x[:, 0]))
        return [y, *torch.autograd.grad(y.float().square().sum(), [x, *mixer.parameters()])]

    compiled, eager = outcome(torch.compile(mixer, fullgraph=True)), outcome(mixer)
    monkeypatch.setattr(pde, "not_covered", lambda *_: "not asked for")
    for got, same, wanted in zip(compiled, eager, outcome(mixer), strict=True):
        assert (got.float() - wanted.float()).norm() <= 0.05 * wanted.float().norm()
        assert (same.float() - wanted.float()).norm() <= 0.05 * wanted.float().norm()
