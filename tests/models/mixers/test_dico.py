"""DiCo's conv module against its formula, and its published sizes by our formula."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from pdebench.models import closed_form
from pdebench.models.closed_form import Cost, linear
from pdebench.models.mixers.base import MixerContext
from pdebench.models.mixers.dico import ChannelWeightedConvolution
from pdebench.models.options import NoOptions

WIDTH, GRID = 8, (3, 5)


def mixer() -> ChannelWeightedConvolution:
    built = ChannelWeightedConvolution(MixerContext(WIDTH, 1, GRID, 0, 1), NoOptions()).double()
    built.initialise()
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return built


def test_equals_the_formula() -> None:
    built = mixer()
    x = torch.randn(2, 15, WIDTH, dtype=torch.float64)

    def pointwise(layer: torch.nn.Linear, image: torch.Tensor) -> torch.Tensor:
        return F.conv2d(image, layer.weight[..., None, None], layer.bias)

    image = pointwise(built.in_proj, x.transpose(1, 2).view(2, WIDTH, *GRID))
    z = F.gelu(F.conv2d(image, built.convolution.weight, built.convolution.bias, padding=1, groups=WIDTH))
    weights = torch.sigmoid(pointwise(built.attention, F.adaptive_avg_pool2d(z, 1)))
    expected = pointwise(built.out_proj, z * weights).flatten(2).transpose(1, 2)
    torch.testing.assert_close(built(x, None), expected)


def test_a_token_reaches_far_ones_only_through_the_weights_of_the_channels() -> None:
    built = mixer()
    x = torch.randn(1, 15, WIDTH, dtype=torch.float64)
    other = x.clone()
    other[0, 0] += 1  # a corner; the last token is not its neighbour
    ratio = (built(other, None) - built.out_proj.bias)[0, -1] / (built(x, None) - built.out_proj.bias)[0, -1]
    assert (ratio - 1).abs().max() > 1e-3
    with torch.no_grad():
        built.attention.weight.zero_()
    assert torch.equal(built(other, None)[0, -1], built(x, None)[0, -1])


def test_a_fresh_depthwise_weight_is_xaviers_over_all_channels() -> None:
    built = ChannelWeightedConvolution(MixerContext(384, 6, GRID, 0, 1), NoOptions())
    built.initialise()
    assert built.convolution.weight.std().item() == pytest.approx((2 / (9 + 9 * 384)) ** 0.5, rel=0.05)
    assert not built.convolution.bias.any()


@pytest.mark.parametrize(("width", "depths", "params", "gmacs"), [
    (128, (5, 4, 4, 4, 4), 33.1, 4.25), (256, (5, 4, 4, 4, 4), 130.0, 16.88),
    (352, (9, 8, 9, 8, 9), 463.9, 60.24), (416, (9, 9, 10, 9, 9), 701.2, 87.30),
])  # fmt: skip
def test_published_sizes_by_our_formula(width: int, depths: tuple[int, ...], params: float, gmacs: float) -> None:
    """DiCo-S to XL at 256 px (table 1): its U shape, of blocks of ours with an MLP of twice the width."""
    w, sides = width, (32, 16, 8, 16, 32)
    total = Cost(0, 0)
    for d, depth, side in zip((w, 2 * w, 4 * w, 2 * w, 2 * w), depths, sides, strict=True):
        n = side**2
        mixer = closed_form.dico(MixerContext(d, 1, (side, side), 0, 1), None)
        total += (mixer + linear(d, 2 * d, n) + linear(2 * d, d, n) + linear(d, 6 * d, 1)).times(depth)
    for d in (w, 2 * w, 4 * w):
        total += linear(256, d, 1) + linear(d, d, 1) + Cost(1001 * d, 0)

    def convolution(inputs: int, outputs: int, side: int, taps: int = 9, bias: bool = False) -> Cost:
        return Cost(taps * inputs * outputs + bias * outputs, side**2 * taps * inputs * outputs)

    total += convolution(4, w, 32, bias=True) + convolution(w, w // 2, 32) + convolution(2 * w, w, 16)  # stem, down
    total += convolution(4 * w, 8 * w, 8) + convolution(4 * w, 2 * w, 16, 1, bias=True)  # up, and its skip
    total += convolution(2 * w, 4 * w, 16) + convolution(2 * w, 2 * w, 32, 1, bias=True)
    total += linear(2 * w, 4 * w, 1) + convolution(2 * w, 8, 32, bias=True)  # head
    assert total.params / 1e6 == pytest.approx(params, abs=0.1)
    assert total.macs / 1e9 == pytest.approx(gmacs, rel=0.01)


def test_compiles_without_a_graph_break() -> None:
    built, x = mixer(), torch.randn(2, 15, WIDTH, dtype=torch.float64)
    compiled = torch.compile(built, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, None), built(x, None))
