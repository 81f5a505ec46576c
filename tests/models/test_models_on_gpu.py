"""Every family on a CUDA device against itself on the CPU in float32: values and all gradients."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from pdebench.models.backbone import Backbone, create_model
from pdebench.models.registry import FAMILIES
from pdebench.ops.precision import autocast

# of the norm: cuDNN's convolutions and the scans' CUDA kernels round to TF32; in bf16 on a CPU AFNO's gradients, whose
# thresholds flip, were off by .13, all others' by .06 at most
TOLERANCE = {"fp32": 5e-3, "bf16": 0.2}


def outcome(model: Backbone, inputs: tuple[Tensor, ...], precision: str = "fp32") -> list[Tensor]:
    device = next(model.parameters()).device
    with autocast(precision, device):
        y = model(*(x.to(device) for x in inputs)).float()
    wanted = [p for p in model.parameters() if p.requires_grad]
    return [y, *torch.autograd.grad(y.square().sum(), wanted)]


def prepared(family: str) -> tuple[Backbone, tuple[Tensor, Tensor, Tensor]]:
    model = create_model(f"{family}-XXS/2", input_size=32, in_channels=3, num_classes=5)
    with torch.no_grad():
        for parameter in model.parameters():  # those that start at zero would hide all that comes before them
            if not parameter.any():
                parameter.normal_(std=0.02)
    return model, (torch.randn(2, 3, 32, 32), torch.rand(2), torch.tensor([1, 4]))


def assert_alike(found: list[Tensor], wanted: list[Tensor], precision: str) -> None:
    for ours, theirs in zip(found, wanted, strict=True):
        assert (ours.cpu() - theirs).norm() <= TOLERANCE[precision] * theirs.norm()


@pytest.mark.gpu
@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_computes_on_a_gpu_what_it_computes_on_a_cpu(family: str, precision: str) -> None:
    model, inputs = prepared(family)
    assert_alike(outcome(copy.deepcopy(model).cuda(), inputs, precision), outcome(model, inputs), precision)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("family", ["PDE-SSM-DiT", "GFNet-DiT", "DiT"])
def test_a_compiled_model_is_one_graph_that_computes_what_the_model_does(family: str, precision: str) -> None:
    model, inputs = prepared(family)
    wanted = outcome(model, inputs)
    model = model.cuda()
    model.compile(fullgraph=True)
    assert_alike(outcome(model, inputs, precision), wanted, precision)
