"""CUDA graphs against the same model without them, where there is a device: training, validation and sampling."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pdebench.models.backbone import Backbone, create_model
from pdebench.ops.precision import autocast, cast_once
from pdebench.suite.config import TrainConfig
from pdebench.tasks.generation.solver import sample
from pdebench.tasks.generation.task import GENERATION
from pdebench.train.batches import Images
from pdebench.train.compiled import compile_in_place, graphs_bytes
from pdebench.train.loop import Trained, train

GPU = torch.device("cuda")
FAMILIES = ("PDE-SSM-DiT", "GFNet-DiT", "DiT")


def model(family: str, mode: str) -> Backbone:
    torch.manual_seed(0)
    net = create_model(f"{family}-XXS/4", input_size=32, in_channels=3, num_classes=2, depth=2)
    with torch.no_grad():
        for parameter in net.parameters():  # those that start at zero would hide all that comes before them
            if not parameter.any():
                parameter.normal_(std=0.02)
    compile_in_place(net.to(GPU), mode, GPU)
    return net


def trained(family: str, mode: str, **changes: Any) -> Trained:
    pixels = torch.randint(0, 256, (8, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    config = TrainConfig(steps=8, batch_size=8, lr=1e-3, compile=mode, **changes)  # type: ignore[arg-type]
    learner, data = GENERATION.learner(config), Images(pixels, torch.arange(8) % 2)

    def validate(candidate: torch.nn.Module) -> float:
        with cast_once(candidate, "bf16", GPU):
            x = sample(candidate, torch.ones(2, 3, 32, 32, device=GPU), sampler="heun", nfe=4)
        return x.square().mean().item()

    return train(
        model(family, mode), data, config, learner=learner, device=GPU, precision="bf16", validate=validate,
        validate_every=3,
    )  # fmt: skip


@pytest.mark.gpu
@pytest.mark.parametrize("kernels", [False, True])
@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("family", FAMILIES)
def test_training_from_cuda_graphs_is_training(
    family: str, accumulate: int, kernels: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PDEBENCH_SPECTRAL_KERNELS", str(int(kernels)))
    torch.compiler.reset()
    wanted, found = (trained(family, mode, accumulate=accumulate) for mode in ("compile", "compile-graphs"))
    assert graphs_bytes(torch.cuda.memory_snapshot()) > 0
    assert found.curve.train_loss == pytest.approx(wanted.curve.train_loss, rel=1e-2)
    assert found.curve.grad_norm == pytest.approx(wanted.curve.grad_norm, rel=5e-2)
    told = [(one, other) for one, other in zip(found.curve.val_loss, wanted.curve.val_loss, strict=True) if other]
    assert len(told) == 3
    assert all(one == pytest.approx(other, rel=2e-2) for one, other in told)


@pytest.mark.gpu
@pytest.mark.parametrize("family", FAMILIES)
def test_combined_kernels_compute_what_eager_ones_do(family: str) -> None:
    torch.compiler.reset()
    x, t = torch.randn(4, 3, 32, 32, device=GPU), torch.rand(4, device=GPU)

    def outcome(mode: str) -> list[torch.Tensor]:
        net = model(family, mode)
        with autocast("bf16", GPU):
            y = net(x, t).float()
        return [
            y,
            *torch.autograd.grad(y.square().sum(), [p for p in net.parameters() if p.requires_grad], allow_unused=True),
        ]

    for got, wanted in zip(outcome("compile"), outcome("eager"), strict=True):
        assert (got is None) == (wanted is None)
        if wanted is not None:
            assert (got - wanted).norm() <= 0.1 * wanted.norm()
