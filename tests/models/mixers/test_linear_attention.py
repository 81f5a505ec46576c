"""SANA's linear attention against its quadratic formula in float64, its mix-FFN, and its published sizes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from pdebench.models import closed_form
from pdebench.models.backbone_cost import _mlp
from pdebench.models.closed_form import Cost, linear
from pdebench.models.mix_ffn import MixFfn
from pdebench.models.mixers.base import MixerContext
from pdebench.models.mixers.linear_attention import LinearAttention
from pdebench.models.options import NoOptions
from pdebench.models.registry import FAMILIES
from pdebench.models.sizes import SIZES


def mixer(width: int = 12, heads: int = 3, tokens: int = 6) -> LinearAttention:
    return LinearAttention(MixerContext(width, heads, (1, tokens), 0, 1), NoOptions()).double()


@given(batch=st.integers(1, 3), tokens=st.integers(2, 9), heads=st.sampled_from([1, 2, 3]), seed=st.integers(0, 99))
def test_equals_the_quadratic_formula_with_all_gradients(batch: int, tokens: int, heads: int, seed: int) -> None:
    torch.manual_seed(seed)
    built = mixer(12, heads, tokens)
    with torch.no_grad():
        # every query with every key: no weight of a formula that divides by their sum is next to nothing
        built.qkv.weight[:24].abs_()
    x = torch.rand(batch, tokens, 12, dtype=torch.float64, requires_grad=True)
    q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in F.linear(x, built.qkv.weight).chunk(3, -1))
    weights = F.relu(q) @ F.relu(k).transpose(-1, -2)
    expected = built.proj(((weights / weights.sum(-1, keepdim=True)) @ v).transpose(1, 2).flatten(2))
    y = built(x, None)
    torch.testing.assert_close(y, expected)
    back, wanted = torch.randn_like(y), (x, *built.parameters())
    for got, oracle in zip(
        torch.autograd.grad(y, wanted, back), torch.autograd.grad(expected, wanted, back), strict=True
    ):
        torch.testing.assert_close(got, oracle)


def test_a_query_or_keys_without_a_positive_part_give_nothing_and_no_nan() -> None:
    built = mixer()
    for rows in (slice(0, 12), slice(12, 24)):
        x = torch.rand(2, 6, 12, dtype=torch.float64, requires_grad=True)
        with torch.no_grad():
            built.qkv.weight[rows] = -built.qkv.weight[rows].abs()
        y = built(x, None)
        torch.testing.assert_close(y, built.proj.bias.expand_as(y))
        assert torch.autograd.grad(y.sum(), x)[0].isfinite().all()


def test_sums_over_many_tokens_are_in_float32_under_autocast() -> None:
    built = mixer(8, 1, 4096).float()
    with torch.no_grad():
        built.qkv.weight.copy_(torch.eye(8).repeat(3, 1))
        built.proj.weight.copy_(torch.eye(8))
        built.proj.bias.zero_()
    x = torch.ones(1, 4096, 8)
    x[0, 0, 0] = 65  # a sum of 4096 ones in bf16 ends at 256
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        got = built(x, None)
    with torch.no_grad():
        torch.testing.assert_close(got.float(), built(x, None), rtol=1e-2, atol=1e-2)


def test_permuted_tokens_give_permuted_tokens() -> None:
    built, order = mixer(), torch.randperm(6)
    x = torch.randn(2, 6, 12, dtype=torch.float64)
    torch.testing.assert_close(built(x[:, order], None), built(x, None)[:, order])


def test_the_mix_ffn_is_its_parts_in_order() -> None:
    made = MixFfn(6, 10, (3, 4)).double()
    x = torch.randn(2, 12, 6, dtype=torch.float64)
    hidden = F.silu(x @ made.expand.weight.t() + made.expand.bias).transpose(1, 2).view(2, 20, 3, 4)
    image = F.conv2d(hidden, made.convolution.weight, made.convolution.bias, padding=1, groups=20)
    value, gate = image[:, :10], image[:, 10:]
    expected = (value * gate * torch.sigmoid(gate)).flatten(2).transpose(1, 2) @ made.contract.weight.t()
    torch.testing.assert_close(made(x), expected)
    assert made.convolution.weight.abs().max() <= 1 / 3


def test_heads_have_32_channels_at_every_size() -> None:
    family = FAMILIES["Linear-DiT"]
    for name, size in SIZES.items():
        found = family.dimensions(name, NoOptions())
        assert found[:2] == size[:2]
        assert found.heads == size.width // 32
        assert found.mlp_hidden == 5 * size.width // 2


@pytest.mark.parametrize(("width", "depth", "heads", "params"), [(1152, 28, 36, 590), (2240, 20, 70, 1604)])
def test_published_sizes_by_our_formula(width: int, depth: int, heads: int, params: int) -> None:
    """SANA-0.6B and 1.6B (table 6): our mixer and MLP, and its cross attention, one adaLN and embedders."""
    place = MixerContext(width, heads, (32, 32), 0, depth)
    hidden = closed_form.mlp_hidden("mix", place, Cost(0, 0))
    block = closed_form.linear_attention(place, None) + _mlp("mix", width, hidden, place.tokens)
    block += linear(width, width, 0).times(4) + Cost(6 * width, 0)  # cross attention, adaLN's table
    total = block.times(depth) + linear(width, 6 * width, 1)
    total += linear(2304, width, 0) + linear(width, width, 0)  # of Gemma-2's features
    total += linear(256, width, 0) + linear(width, width, 0) + linear(32, width, 0) + linear(width, 32, 0)
    assert total.params / 1e6 == pytest.approx(params, abs=0.01 * params)


def test_compiles_without_a_graph_break() -> None:
    built, x = mixer(), torch.rand(2, 6, 12, dtype=torch.float64)
    compiled = torch.compile(built, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, None), built(x, None))
