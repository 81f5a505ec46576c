"""The depthwise convolution of tokens against `conv2d` of images."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from pdebench.ops.depthwise_convolution import DepthwiseConvolution


def module(width: int, grid: tuple[int, int], kind: torch.dtype = torch.float64, side: int = 3) -> DepthwiseConvolution:
    made = DepthwiseConvolution(width, grid, side)
    with torch.no_grad():
        made.weight.normal_()
        made.bias.normal_()
    return made.to(kind)


def by_conv2d(x: Tensor, weight: Tensor, bias: Tensor, grid: tuple[int, int]) -> Tensor:
    """Channels first and contiguous, as an image usually is."""
    image = x.transpose(1, 2).reshape(len(x), -1, *grid).contiguous()
    return F.conv2d(image, weight, bias, padding=weight.shape[-1] // 2, groups=len(weight)).flatten(2).transpose(1, 2)


@pytest.mark.parametrize("grid", [(1, 1), (1, 4), (2, 2), (5, 3), (8, 8)])
@pytest.mark.parametrize(("width", "side"), [(1, 3), (6, 3), (32, 3), (6, 1), (6, 5), (6, 7), (1, 9)])
def test_equals_conv2d_with_all_gradients(width: int, side: int, grid: tuple[int, int]) -> None:
    made = module(width, grid, side=side)
    x = torch.randn(3, grid[0] * grid[1], width, dtype=torch.float64, requires_grad=True)
    arguments = [x, made.weight, made.bias]
    ours, oracle = made(x), by_conv2d(x, made.weight, made.bias, grid)
    torch.testing.assert_close(ours, oracle)
    grads = torch.randn_like(oracle)
    for got, wanted in zip(
        torch.autograd.grad(ours, arguments, grads), torch.autograd.grad(oracle, arguments, grads), strict=True
    ):
        torch.testing.assert_close(got, wanted)


def test_a_token_sees_its_eight_neighbours() -> None:
    made, x = module(2, (5, 4)), torch.randn(1, 20, 2, dtype=torch.float64)
    other = x.clone()
    other[:, 2 * 4 + 1] += 1  # row 2, column 1
    changed = (made(x) != made(other)).all(-1).view(5, 4)
    expected = torch.zeros(5, 4, dtype=torch.bool)
    expected[1:4, :3] = True
    assert torch.equal(changed, expected)


def test_a_new_one_is_the_identity() -> None:
    x = torch.randn(2, 15, 8)
    assert torch.equal(DepthwiseConvolution(8, (3, 5))(x), x)
    assert torch.equal(DepthwiseConvolution(8, (3, 5), 5)(x), x)


def test_the_layout_of_the_tokens_is_kept() -> None:
    made, x = module(8, (3, 5), torch.float32), torch.randn(2, 15, 8, requires_grad=True)
    y = made(x)
    assert y.is_contiguous()
    (grad,) = torch.autograd.grad(y, x, torch.ones_like(y))
    assert grad.is_contiguous()


def test_autocast_does_not_round_the_residual_stream() -> None:
    made, x = module(16, (4, 4), torch.float32), torch.randn(2, 16, 16, requires_grad=True)
    exact, found = made(x), []
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = [made(x), *torch.autograd.grad(made(x).square().sum(), [x, *made.parameters()])]
    wanted = [exact, *torch.autograd.grad(exact.square().sum(), [x, *made.parameters()])]
    for got, true in zip(found, wanted, strict=True):
        assert got.dtype == torch.float32
        torch.testing.assert_close(got, true)


@pytest.mark.parametrize("side", [3, 5])
def test_tokens_in_bf16_stay_so(side: int) -> None:
    made = module(16, (4, 4), torch.float32, side)
    x = torch.randn(2, 16, 16).bfloat16().requires_grad_()
    y = made(x)
    assert y.dtype == torch.bfloat16
    exact = by_conv2d(x.double(), made.weight.double(), made.bias.double(), (4, 4))
    assert (y.double() - exact).norm() < 0.01 * exact.norm()
    y.float().square().sum().backward()
    (grad,) = torch.autograd.grad(exact.square().sum(), made.weight)
    assert made.weight.grad is not None
    assert made.weight.grad.dtype == torch.float32
    assert (made.weight.grad - grad).norm() < 0.02 * grad.norm()


def test_runs_without_memory() -> None:
    with torch.device("meta"):
        made = DepthwiseConvolution(8, (3, 5))
    y = made(torch.empty(2, 15, 8, device="meta"))
    assert y.shape == (2, 15, 8)
    assert y.is_meta


@pytest.mark.parametrize("side", [3, 5])
def test_compiles_without_a_graph_break(side: int) -> None:
    made, x = module(4, (3, 5), side=side), torch.randn(2, 15, 4, dtype=torch.float64, requires_grad=True)
    torch._dynamo.reset()
    compiled, plain = torch.compile(made, backend="aot_eager", fullgraph=True)(x), made(x)
    grads = torch.randn_like(plain)
    for got, wanted in zip(
        (compiled, *torch.autograd.grad(compiled, [x, *made.parameters()], grads)),
        (plain, *torch.autograd.grad(plain, [x, *made.parameters()], grads)),
        strict=True,
    ):
        torch.testing.assert_close(got, wanted)
