"""The Mamba-2 mixer: the paper's formulas, its directions, its parameters, and what it hands to the CUDA kernel."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from pdebench.models.backbone import create_model
from pdebench.models.mixers.base import MixerContext
from pdebench.models.mixers.mamba2 import Mamba2
from pdebench.models.options import NoOptions
from pdebench.models.registry import FAMILIES
from pdebench.models.sizes import SIZES
from pdebench.ops import kernels, ssd
from pdebench.plan.cost import count_by_name

WIDTH, STATES = 64, 128
GRID = (3, 5)


def mixer(layer: int = 0, kind: torch.dtype = torch.float64, grid: tuple[int, int] = GRID) -> Mamba2:
    """As initialised, but for numbers where a constant would hide a mistake."""
    made = Mamba2(MixerContext(WIDTH, 1, grid, layer, 8), NoOptions())
    made.initialise()
    with torch.no_grad():
        made.D.normal_()
        made.norm.weight.normal_()
    return made.to(kind)


def path(layer: int) -> list[int]:
    """Raster indices in the order in which a layer meets them."""
    h, w = GRID
    if layer % 4 < 2:
        found = [row * w + column for row in range(h) for column in range(w)]
    else:
        found = [row * w + column for column in range(w) for row in range(h)]
    return found[::-1] if layer % 2 else found


def by_the_paper(weights: dict[str, Tensor], x: Tensor, order: list[int]) -> Tensor:
    """Mamba-2's block (arXiv 2405.21060, figure 6) over tokens in an order, one token and one head at a time."""
    z, u, dt = (x[:, order] @ weights["in_proj.weight"].T).split([2 * WIDTH, 2 * WIDTH + 2 * STATES, 2], -1)
    padded = F.pad(u.transpose(1, 2), (3, 0))
    u = F.silu(F.conv1d(padded, weights["conv.weight"], weights["conv.bias"], groups=u.shape[-1])).transpose(1, 2)
    v, b, c = u.split([2 * WIDTH, STATES, STATES], -1)
    dt = torch.log1p(torch.exp(dt + weights["dt_bias"]))
    heads = []
    for head, values in enumerate(v.split(64, -1)):
        state, outputs = x.new_zeros(len(x), 64, STATES), []
        for t in range(len(order)):
            step = dt[:, t, head, None, None]
            state = torch.exp(-step * weights["A_log"][head].exp()) * state
            state = state + step * values[:, t, :, None] * b[:, t, None, :]
            outputs.append((state @ c[:, t, :, None]).squeeze(-1) + weights["D"][head] * values[:, t])
        heads.append(torch.stack(outputs, 1))
    y = torch.cat(heads, -1) * z * torch.sigmoid(z)
    y = y / (y.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weights["norm.weight"]
    y = y @ weights["out_proj.weight"].T
    back = torch.empty_like(y)
    back[:, order] = y
    return back


@pytest.mark.parametrize("layer", range(5))
def test_a_layer_is_mamba_2_along_its_direction_with_all_gradients(layer: int) -> None:
    made = mixer(layer)
    weights = dict(made.named_parameters())
    x, c = torch.randn(2, 15, WIDTH, dtype=torch.float64, requires_grad=True), torch.randn(2, WIDTH)
    ours, exact = made(x, c), by_the_paper(weights, x, path(layer))
    assert exact.std() > 0.05
    torch.testing.assert_close(ours, exact)
    wanted, grads = [x, *weights.values()], torch.randn_like(exact)
    for name, got, true in zip(
        ["x", *weights],
        torch.autograd.grad(ours, wanted, grads),
        torch.autograd.grad(exact, wanted, grads),
        strict=True,
    ):
        torch.testing.assert_close(got, true, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("layer", range(4))
def test_a_token_is_seen_by_those_after_it_in_the_scan_only(layer: int) -> None:
    made, c = mixer(layer), torch.randn(1, WIDTH)
    x = torch.randn(1, 15, WIDTH, dtype=torch.float64)
    other = x.clone()
    order, met = path(layer), 6
    other[:, order[met]] += 1
    with torch.no_grad():
        changed = (made(x, c) != made(other, c)).any(-1)[0]
    assert changed[order].tolist() == [False] * met + [True] * (15 - met)


def test_bf16_autocast_keeps_the_scan_in_float32() -> None:
    made = mixer(2, torch.float32, (8, 12))
    x, c = torch.randn(2, 96, WIDTH), torch.randn(2, WIDTH)
    with torch.no_grad():
        exact = made(x, c)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = made(x, c)
    assert rounded.dtype == torch.bfloat16
    assert (rounded.float() - exact).norm() < 0.02 * exact.norm()


def test_initialised_as_published() -> None:
    made = Mamba2(MixerContext(64 * 64, 1, (1, 1), 0, 1), NoOptions())
    made.initialise()
    a, dt = made.A_log.detach().exp(), F.softplus(made.dt_bias.detach())
    assert 1 <= a.min() < 2.5
    assert 14.5 < a.max() <= 16
    assert a.mean().item() == pytest.approx(8.5, abs=1.5)
    assert 0.999e-3 <= dt.min() < 2e-3
    assert 0.05 < dt.max() <= 0.1001
    assert dt.log10().mean().item() == pytest.approx(-2, abs=0.2)  # log-uniform
    assert torch.equal(made.D, torch.ones(128))
    assert torch.equal(made.norm.weight, torch.ones(2 * 64 * 64))


# ---- cost


@pytest.mark.parametrize("width", [64, 192, 768])
def test_parameters_by_formula(width: int) -> None:
    with torch.device("meta"):
        made = Mamba2(MixerContext(width, 1, (4, 4), 0, 1), NoOptions())
    heads = width // 32
    by_hand = 6 * width**2 + width * (2 * STATES + heads) + 12 * width + 10 * STATES + 3 * heads
    assert sum(parameter.numel() for parameter in made.parameters()) == by_hand
    if width == 768:
        assert by_hand == 3_764_552


@pytest.mark.parametrize("size", SIZES)
def test_a_block_has_dits_parameters_and_a_sensible_mlp(size: str) -> None:
    with torch.device("meta"):
        model = create_model(f"Mamba2-DiT-{size}/2")
    block, width = model.blocks[0], SIZES[size].width
    parameters = sum(parameter.numel() for parameter in block.parameters())
    assert parameters == pytest.approx(18 * width**2 + 15 * width, rel=0.01)
    hidden = FAMILIES["Mamba2-DiT"].dimensions(size, NoOptions()).mlp_hidden
    assert hidden is not None
    # a scan's states weigh the more the narrower the block
    assert (1.9 if width >= 128 else 0.8) * width < hidden < 3 * width


def test_the_scan_is_counted_as_the_recurrence_whatever_the_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    cost, _ = count_by_name("Mamba2-DiT-XXS/2", input_size=32)
    depth, width, _ = SIZES["XXS"]
    assert cost.by_kind["scan"] == depth * 256 * 2 * width * STATES * 3
    monkeypatch.setattr(ssd, "CHUNK", 16)
    assert count_by_name("Mamba2-DiT-XXS/2", input_size=32)[0] == cost


# ---- the kernel


class Kernel:
    """A stand-in for mamba-ssm's mamba_chunk_scan_combined that checks what its documentation and its assertions say.

    `x` (batch, seqlen, nheads, headdim), `dt` (batch, seqlen, nheads), `A` (nheads), `B`, `C` (batch, seqlen, ngroups,
    dstate), `D` and `dt_bias` (nheads); returns `x`'s shape in `x`'s precision.
    """

    def __init__(self) -> None:
        self.kinds: list[torch.dtype] = []

    def __call__(
        self,
        x: Tensor,
        dt: Tensor,
        A: Tensor,
        B: Tensor,
        C: Tensor,
        chunk_size: int,
        D: Tensor | None = None,
        z: Tensor | None = None,
        dt_bias: Tensor | None = None,
        initial_states: Tensor | None = None,
        seq_idx: Tensor | None = None,
        cu_seqlens: Tensor | None = None,
        dt_softplus: bool = False,
        dt_limit: tuple[float, float] = (0.0, float("inf")),
        return_final_states: bool = False,
        return_varlen_states: bool = False,
    ) -> Tensor:
        batch, length, heads, size = x.shape
        assert size == 64
        assert dt.shape == (batch, length, heads)
        assert B.shape == C.shape == (batch, length, 1, STATES)
        assert x.dtype == B.dtype == C.dtype
        assert x.stride(-1) == B.stride(-1) == C.stride(-1) == 1
        assert D is not None
        assert dt_bias is not None
        assert A.shape == D.shape == dt_bias.shape == (heads,)
        assert A.dtype == D.dtype == dt_bias.dtype == torch.float32
        assert (A < 0).all()
        assert chunk_size & (chunk_size - 1) == 0  # a power of two
        assert dt_softplus
        self.kinds.append(x.dtype)
        steps = F.softplus(dt.float() + dt_bias)
        return ssd.ssd(x, steps, A, B.squeeze(2), C.squeeze(2), D).to(x.dtype)


def convolution(x: Tensor, weight: Tensor, bias: Tensor | None = None, activation: str | None = None) -> Tensor:
    """A stand-in for causal_conv1d_fn: `x` (batch, dim, seqlen), `weight` (dim, width), `bias` (dim,) give `x`'s shape.

    With the channels next to each other in memory it asks for strides that are multiples of 8, and keeps that layout.
    """
    channels = x.shape[1]
    assert x.stride(1) == 1
    assert x.stride(0) % 8 == x.stride(2) % 8 == channels % 8 == 0
    assert weight.shape == (channels, 4)
    assert bias is not None
    assert bias.shape == (channels,)
    assert activation == "silu"
    padded = F.pad(x.float(), (3, 0))
    y = F.silu(F.conv1d(padded, weight.unsqueeze(1), bias, groups=channels)).to(x.dtype)
    return y.transpose(1, 2).contiguous().transpose(1, 2)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    found = Kernel()
    monkeypatch.setattr(kernels, "load", {"ssd": found, "causal_conv1d": convolution}.get)
    monkeypatch.setattr(kernels, "described", lambda what, fallback: f"the kernel {what}")
    monkeypatch.setattr(kernels, "suit", lambda x: True)
    return found


def test_the_kernels_are_given_what_they_document(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    made = mixer(1, torch.float32)
    assert made.implementation == "the kernel ssd, the kernel causal_conv1d"
    x, c = torch.randn(2, 15, WIDTH), torch.randn(2, WIDTH)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        half = made(x, c)
    fast = made(x, c)
    assert kernel.kinds == [torch.bfloat16, torch.float32]
    monkeypatch.setattr(kernels, "suit", lambda x: False)
    ours = made(x, c)
    assert len(kernel.kinds) == 2
    torch.testing.assert_close(fast, ours)
    assert (half.float() - ours).norm() < 0.03 * ours.norm()
    wanted, grads = list(made.parameters()), torch.randn_like(ours)
    for got, true in zip(
        torch.autograd.grad(fast, wanted, grads), torch.autograd.grad(ours, wanted, grads), strict=True
    ):
        torch.testing.assert_close(got, true, rtol=1e-4, atol=1e-5)


def test_no_kernel_is_used_away_from_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> Tensor:
        raise AssertionError("a CUDA kernel was called on a CPU")

    monkeypatch.setattr(kernels, "load", lambda what: refuse)
    made = mixer(0, torch.float32)
    made(torch.randn(1, 15, WIDTH), torch.randn(1, WIDTH))


@pytest.mark.skipif(torch.cuda.is_available(), reason="kernels may be present")
def test_without_kernels_the_record_says_what_runs() -> None:
    with torch.device("meta"):
        model = create_model("Mamba2-DiT-XXS/4")
    assert model.mixer_implementation == "chunked state space duality in PyTorch, convolution in PyTorch"
