"""Constants are formed once, and never where that would show in a graph or leave a fake tensor behind."""

from __future__ import annotations

import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode

from pdebench.ops.constants import kept


def counter() -> tuple[object, list[int]]:
    formed: list[int] = []

    @kept
    def ones(points: int, dtype: torch.dtype, device: torch.device) -> Tensor:
        formed.append(points)
        return torch.ones(points, dtype=dtype, device=device)

    return ones, formed


def test_formed_once_for_each_size_precision_and_device() -> None:
    ones, formed = counter()
    like = torch.nn.Parameter(torch.zeros(1))
    assert ones(3, like=like) is ones(3, like=like.detach())
    assert ones(4, like=like).shape == (4,)
    assert ones(3, like=like.double()).dtype == torch.float64
    assert formed == [3, 4, 3]


def test_what_was_formed_without_gradients_serves_with_them() -> None:
    ones, _ = counter()
    with torch.inference_mode():
        ones(3, like=torch.zeros(1))
    x = torch.ones(3, requires_grad=True)
    (x * ones(3, like=x.detach())).sum().backward()
    assert torch.equal(x.grad, torch.ones(3))


def test_formed_anew_on_meta_on_fake_tensors_and_in_a_trace() -> None:
    ones, formed = counter()
    ones(3, like=torch.zeros(1, device="meta"))
    with FakeTensorMode():
        ones(3, like=torch.zeros(1))
    real = ones(3, like=torch.zeros(1))
    assert type(real) is Tensor
    graph = torch.jit.trace(lambda x: x * ones(3, like=x), (torch.ones(3),)).graph
    assert "aten::ones" in str(graph)
    assert formed[:3] == [3, 3, 3]
