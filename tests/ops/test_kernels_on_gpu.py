"""The CUDA kernels against our PyTorch code: values and all gradients, where there are a device and kernels."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pdebench.models.backbone import create_model
from pdebench.models.registry import FAMILIES
from pdebench.ops import kernels

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
