"""Hyena's mixer in two dimensions against sums over all pairs of tokens, and its published size."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from pdebench.models import closed_form
from pdebench.models.backbone import create_model
from pdebench.models.mixers.base import MixerContext
from pdebench.models.mixers.hyena import Hyena2D, ImplicitFilter
from pdebench.models.options import NoOptions
from pdebench.models.registry import FAMILIES

WIDTH = 4


def scattered(module: torch.nn.Module) -> torch.nn.Module:
    """Parameters of order 1, in float64."""
    with torch.no_grad():
        for parameter in module.double().parameters():
            parameter.add_(torch.randn_like(parameter) / 2)
    return module


def operator() -> ImplicitFilter:
    return scattered(ImplicitFilter(WIDTH, harmonics=3, hidden=5))  # type: ignore[return-value]


def mixer(h: int, w: int) -> Hyena2D:
    built = Hyena2D(MixerContext(WIDTH, 1, (h, w), 0, 1), NoOptions())
    built.initialise()
    return scattered(built)  # type: ignore[return-value]


def drawn(built: ImplicitFilter, dy: float, dx: float) -> Tensor:
    """The filter (D,) at a displacement in sides of the image, one number after another."""
    y, x, harmonics = dy / 2, dx / 2, range(1, built.harmonics + 1)
    features = [wave(2 * math.pi * m * p) for wave in (math.sin, math.cos) for p in (y, x) for m in harmonics]
    found = torch.tensor(features, dtype=torch.float64)
    for layer, frequency in zip((built.first, built.second), built.frequencies, strict=True):
        found = torch.sin(frequency * (layer.weight @ found + layer.bias))
    window = torch.exp(-built.decay.abs() * math.hypot(y, x)) + built.shift
    return built.last.weight @ found * window


def summed(built: ImplicitFilter, x: Tensor) -> Tensor:
    """`y_t = sum_s F(t - s) x_s + D x_t` of `x` (B, h, w, D), by a matrix of all pairs of tokens."""
    h, w = x.shape[1:3]
    places = [(i, j) for i in range(h) for j in range(w)]
    pairs = torch.stack([
        torch.stack([drawn(built, (i - k) / h, (j - m) / w) for k, m in places]) for i, j in places
    ])  # fmt: skip
    u = x.flatten(1, 2)
    return (torch.einsum("tsd,bsd->btd", pairs, u) + built.skip * u).unflatten(1, (h, w))


@pytest.mark.parametrize(("h", "w"), [(4, 4), (3, 5), (1, 6)])
def test_the_operator_is_a_sum_over_all_tokens_and_has_its_gradients(h: int, w: int) -> None:
    built, x = operator(), torch.randn(2, h, w, WIDTH, dtype=torch.float64, requires_grad=True)
    ours, oracle = built(x), summed(built, x)
    torch.testing.assert_close(ours, oracle)
    wanted, grads = [x, *built.parameters()], torch.randn_like(oracle)
    found = torch.autograd.grad(ours, wanted, grads)
    for got, true in zip(found, torch.autograd.grad(oracle, wanted, grads), strict=True):
        torch.testing.assert_close(got, true)


def test_the_mixer_is_its_parts_in_order() -> None:
    h, w = 3, 4
    built = mixer(h, w)
    x = torch.randn(2, h * w, WIDTH, dtype=torch.float64, requires_grad=True)
    image = built.in_proj(x).transpose(1, 2).unflatten(2, (h, w))
    weight, bias = built.convolution.weight, built.convolution.bias
    assert weight.shape == (3 * WIDTH, 1, 5, 5)
    q, k, v = F.conv2d(image, weight, bias, padding=2, groups=3 * WIDTH).movedim(1, -1).chunk(3, -1)
    filtered = summed(built.filter, F.layer_norm(q * k, (WIDTH,), built.norm.weight))
    expected = built.out_proj(F.layer_norm(v * filtered, (WIDTH,), built.out_norm.weight)).flatten(1, 2)
    ours = built(x, None)
    torch.testing.assert_close(ours, expected)
    wanted, grads = [x, *built.parameters()], torch.randn_like(expected)
    found = torch.autograd.grad(ours, wanted, grads)
    for got, true in zip(found, torch.autograd.grad(expected, wanted, grads), strict=True):
        torch.testing.assert_close(got, true)


def test_the_same_weights_are_the_same_filter_at_the_places_that_two_grids_share() -> None:
    built = operator()
    coarse, fine = built.filter(4, 6), built.filter(8, 12)
    torch.testing.assert_close(fine[::2, ::2], coarse)


def test_weights_move_to_another_grid() -> None:
    small, large = (create_model("Hyena2D-DiT-XXS/4", input_size=side, num_classes=None) for side in (16, 24))
    large.blocks.load_state_dict(small.blocks.state_dict())
    for ours, theirs in zip(small.blocks[0].mixer.parameters(), large.blocks[0].mixer.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_what_leaves_the_image_is_lost_and_does_not_come_back_on_the_other_side() -> None:
    built = operator()
    x = torch.zeros(1, 5, 6, WIDTH, dtype=torch.float64)
    x[0, 1, 2] = torch.randn(WIDTH, dtype=torch.float64)
    moved = built(x.roll((2, 3), (1, 2)))
    torch.testing.assert_close(moved[:, 2:, 3:], built(x)[:, :-2, :-3])
    assert (moved - built(x).roll((2, 3), (1, 2))).norm() > 0.1 * moved.norm()


def test_a_fresh_filter_is_as_published() -> None:
    built = ImplicitFilter(384)
    assert built.first.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert built.skip.std().item() == pytest.approx(1, rel=0.15)
    assert built.filter(8, 8).norm() < 0.05 * built.skip.norm()
    window = torch.exp(-built.decay * 0.3), torch.exp(-built.decay * 1.5)
    assert window[0][-1].item() == pytest.approx(0.01)  # the fastest channel's, after 0.3 of the filter's length
    assert window[1][0].item() == pytest.approx(0.01)


def test_what_is_kept_in_eval_follows_the_weights() -> None:
    built = mixer(3, 3).eval()
    x = torch.randn(1, 9, WIDTH, dtype=torch.float64)
    formed = []
    symbol = built.filter.symbol
    built.filter.symbol = lambda h, w: formed.append((h, w)) or symbol(h, w)  # type: ignore[assignment,method-assign,func-returns-value]
    with torch.no_grad():
        before = built(x, None)
        assert torch.equal(built(x, None), before)
        assert len(formed) == 1
        built.filter.shift.add_(1)
        assert not torch.allclose(built(x, None), before)


@pytest.mark.parametrize(("h", "w"), [(4, 4), (8, 8), (3, 12), (9, 9), (1, 5)])
def test_weights_of_harmonics_that_are_alike_on_a_small_grid_are_idle(h: int, w: int) -> None:
    """The rank of the features that the network's first layer and its bias see, at all displacements in use."""
    built, seen = ImplicitFilter(1).double(), []
    built.first.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    built.filter(h, w)
    used = [torch.arange(2 * side) != side for side in (h, w)]
    features = seen[0][used[0]][:, used[1]].flatten(0, 1)
    rank = torch.linalg.matrix_rank(torch.cat((features, torch.ones(len(features), 1).double()), 1))
    cost = closed_form.hyena(MixerContext(8, 1, (h, w), 0, 1), None)
    assert cost.idle == 64 * (33 - rank)


@pytest.mark.parametrize(("dims", "depths", "first", "published"), [
    ((64, 128, 320, 512), (3, 3, 9, 3), 56, 29.3), ((128, 256, 512, 768), (3, 12, 18, 3), 96, 111),
])  # fmt: skip
def test_published_sizes_by_our_formula(
    dims: tuple[int, ...], depths: tuple[int, ...], first: int, published: float
) -> None:
    """`hpx_former_s18` and `_b36` in millions: MetaFormer's four stages of ours, whose features are tables.

    A stem and three downsamplings of convolutions, MLPs without biases, scaled residuals in the last two stages, and a
    head with a hidden layer; the weights' file has the distances of its windows too. Filters of the later stages have
    48 and 64 features and networks of twice as many; those of the first reach over 111 and 191 tokens.
    """
    total = 7 * 7 * 3 * dims[0] + 2 * dims[0] + sum(9 * a * b + b + a for a, b in pairwise(dims))
    for stage, (d, depth, features) in enumerate(zip(dims, depths, (32, 32, 48, 64), strict=True)):
        side = first >> stage
        mixer = closed_form.hyena(MixerContext(d, 1, (side, side), 0, 1), None).params
        for sign, width in ((-1, 32), (1, features)):
            hidden = 2 * width
            mixer += sign * (width * hidden + hidden * hidden + 4 * hidden + hidden * d)
        tables = (features + 1) * (2 * side - 1) ** 2
        total += depth * (mixer + tables + 2 * d + 8 * d * d + 2 + 2 * d * (stage > 1))
    last, hidden = dims[-1], 4 * dims[-1]
    total += 2 * last + last * hidden + 3 * hidden + hidden * 1000 + 1000
    assert total / 1e6 == pytest.approx(published, rel=3e-3)


def test_takes_images_only() -> None:
    refusal = FAMILIES["Hyena2D-DiT"].refusal((2, 4, 4), NoOptions())
    assert refusal is not None
    assert refusal.startswith("Hyena2D-DiT takes images only")


def test_in_bf16_it_is_right_to_its_rounding_and_its_filter_is_not_rounded() -> None:
    built = mixer(4, 4).float()
    x = torch.randn(2, 16, WIDTH)
    exact, symbol = built.double()(x.double(), None), built.filter.symbol(4, 4)
    built.float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(built.filter.symbol(4, 4), symbol.float(), rtol=0, atol=2e-4)
        rounded = built(x, None)
    assert rounded.dtype == torch.bfloat16
    assert (rounded.double() - exact).norm() < 0.05 * exact.norm()


def test_compiles_without_a_graph_break() -> None:
    built, x = mixer(4, 4), torch.randn(2, 16, WIDTH, dtype=torch.float64)
    torch._dynamo.reset()
    compiled, plain = torch.compile(built, backend="aot_eager", fullgraph=True)(x, None), built(x, None)
    torch.testing.assert_close(compiled, plain)
    wanted, grads = list(built.parameters()), torch.randn_like(plain)
    found = torch.autograd.grad(compiled, wanted, grads)
    for got, true in zip(found, torch.autograd.grad(plain, wanted, grads), strict=True):
        torch.testing.assert_close(got, true)
