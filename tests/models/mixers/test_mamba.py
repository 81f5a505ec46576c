"""The Mamba-1 mixers: against the paper's recurrence, their published sizes, their scans, and with CUDA kernels."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pdebench import create_model
from pdebench.models.mixers.base import Mixer, MixerContext
from pdebench.models.mixers.mamba import BidirectionalMamba
from pdebench.models.mixers.zigma import ZigzagMamba
from pdebench.models.options import NoOptions
from pdebench.models.sizes import SIZES
from pdebench.ops import kernels
from pdebench.plan.cost import count_by_name

H, W, WIDTH = 3, 4, 8
BOTH = pytest.mark.parametrize("kind", [BidirectionalMamba, ZigzagMamba])


def built(kind: type[Mixer], layer: int = 0, width: int = WIDTH, grid: tuple[int, int] = (H, W)) -> Mixer:
    mixer = kind(MixerContext(width, 1, grid, layer, 16), NoOptions())  # type: ignore[call-arg]
    mixer.initialise()
    return mixer


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def parameters_on_meta(name: str, **options: object) -> int:
    with torch.device("meta"):
        return count(create_model(name, **options))


# ---- the recurrence


def oracle_direction(w: dict[str, Tensor], prefix: str, u: Tensor) -> Tensor:
    """One direction of Mamba-1 over `u` (B, L, E), token by token, as arXiv 2312.00752 has it (algorithm 2)."""
    taps, rates = w[f"{prefix}.conv.weight"][:, 0], -w[f"{prefix}.A_log"].exp()
    states, rank = rates.shape[1], w[f"{prefix}.dt_proj.weight"].shape[1]
    state, outputs = u.new_zeros(u.shape[0], *rates.shape), []
    for t in range(u.shape[1]):
        mixed = w[f"{prefix}.conv.bias"]
        for lag in range(min(taps.shape[1], t + 1)):
            mixed = mixed + u[:, t - lag] * taps[:, -1 - lag]
        now = mixed * torch.sigmoid(mixed)
        selected = now @ w[f"{prefix}.x_proj.weight"].T
        b, c = selected[:, rank : rank + states], selected[:, rank + states :]
        dt = torch.log1p(torch.exp(selected[:, :rank] @ w[f"{prefix}.dt_proj.weight"].T + w[f"{prefix}.dt_proj.bias"]))
        state = torch.exp(dt[:, :, None] * rates) * state + (dt * now)[:, :, None] * b[:, None, :]
        outputs.append((state * c[:, None, :]).sum(2) + w[f"{prefix}.D"] * now)
    return torch.stack(outputs, 1)


def oracle(mixer: Mixer, paths: dict[str, list[int]], x: Tensor) -> Tensor:
    """The mixer with a direction along each path of raster indices."""
    w = dict(mixer.named_parameters())
    u, z = (x @ w["in_proj.weight"].T).chunk(2, -1)
    total = torch.zeros_like(u)
    for prefix, path in paths.items():
        back = [path.index(token) for token in range(len(path))]
        total = total + oracle_direction(w, prefix, u[:, path])[:, back]
    return (total * z * torch.sigmoid(z)) @ w["out_proj.weight"].T


ROWS = list(range(H * W))
PATHS = [
    (BidirectionalMamba, 0, {"forwards": ROWS, "backwards": ROWS[::-1]}),
    # over three rows of four tokens
    (ZigzagMamba, 0, {"direction": [0, 1, 2, 3, 7, 6, 5, 4, 8, 9, 10, 11]}),
    (ZigzagMamba, 3, {"direction": [3, 7, 11, 10, 6, 2, 1, 5, 9, 8, 4, 0]}),
    (ZigzagMamba, 14, {"direction": [11, 10, 9, 8, 4, 5, 6, 7, 3, 2, 1, 0]}),
]


@pytest.mark.parametrize(("kind", "layer", "paths"), PATHS)
def test_equals_the_recurrence_with_all_gradients(kind: type[Mixer], layer: int, paths: dict[str, list[int]]) -> None:
    mixer = built(kind, layer).double()
    x = torch.randn(2, H * W, WIDTH, dtype=torch.float64, requires_grad=True)
    got, wanted = mixer(x, torch.zeros(2, WIDTH)), oracle(mixer, paths, x)
    assert got.dtype == torch.float64
    torch.testing.assert_close(got, wanted)
    inputs, weights = [x, *mixer.parameters()], torch.randn_like(got)
    for ours, theirs in zip(
        torch.autograd.grad(got, inputs, weights), torch.autograd.grad(wanted, inputs, weights), strict=True
    ):
        assert theirs.any()
        torch.testing.assert_close(ours, theirs)


def reached(mixer: Mixer, token: int) -> set[int]:
    """The tokens whose output `token` (a raster index) has a part in."""
    x = torch.randn(1, H * W, WIDTH, dtype=torch.float64)
    moved = x.clone()
    moved[:, token] += 1
    c = torch.zeros(1, WIDTH)
    with torch.no_grad():
        return set((mixer(moved, c) - mixer(x, c)).abs().sum((0, 2)).nonzero()[:, 0].tolist())


def test_a_zigzag_sees_what_came_before_on_its_path_and_both_directions_see_all() -> None:
    path = PATHS[2][2]["direction"]
    zigzag, both = built(ZigzagMamba, 3).double(), built(BidirectionalMamba).double()
    for step, token in enumerate(path):
        assert reached(zigzag, token) == set(path[step:])
        assert reached(both, token) == set(ROWS)


def test_the_layers_take_the_eight_zigzags_in_turn() -> None:
    scans = [built(ZigzagMamba, layer).scan for layer in range(16)]
    paths = [tuple(scan.order.tolist()) for scan in scans if scan.order is not None]
    assert len(set(paths)) == 8
    assert paths[:8] == paths[8:]


@BOTH
def test_bf16_autocast_stays_close_and_the_recurrence_stays_in_float32(kind: type[Mixer]) -> None:
    mixer, x, c = built(kind, width=64), torch.randn(2, H * W, 64), torch.zeros(2, 64)
    exact = mixer(x, c)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = mixer(x, c)
    assert rounded.dtype == torch.bfloat16
    assert (rounded.float() - exact).norm() < 0.02 * exact.norm()


@BOTH
def test_is_one_graph_to_the_compiler(kind: type[Mixer]) -> None:
    mixer, x, c = built(kind, 1), torch.randn(2, H * W, WIDTH, requires_grad=True), torch.zeros(2, WIDTH)
    compiled = torch.compile(mixer, fullgraph=True, backend="aot_eager")
    inputs, weights = [x, *mixer.parameters()], torch.randn_like(x)
    torch.testing.assert_close(compiled(x, c), mixer(x, c))
    for got, wanted in zip(
        torch.autograd.grad(compiled(x, c), inputs, weights),
        torch.autograd.grad(mixer(x, c), inputs, weights),
        strict=True,
    ):
        torch.testing.assert_close(got, wanted)


# ---- as published


@pytest.mark.parametrize(("size", "parameters"), [("S", "31.4"), ("B", "134.1"), ("L", "472.8")])
def test_zigma_has_the_published_parameters(size: str, parameters: str) -> None:
    """Unconditional, patch 2, 32 x 32 x 4 latents; in millions, as arXiv 2403.13802 prints them."""
    assert f"{parameters_on_meta(f'ZigMa-{size}/2', num_classes=None) / 1e6:.1f}" == parameters


def test_zigma_to_the_digit() -> None:
    found = {size: parameters_on_meta(f"ZigMa-{size}/2", num_classes=None) for size in "SBL"}
    assert found == {"S": 31_408_080, "B": 134_052_880, "L": 472_780_816}


@pytest.mark.parametrize("width", [128, 200, 768])
@pytest.mark.parametrize(("kind", "directions"), [(ZigzagMamba, 1), (BidirectionalMamba, 2)])
def test_mixer_parameters_by_formula(kind: type[Mixer], directions: int, width: int) -> None:
    parameters = count(built(kind, width=width))
    assert parameters == 6 * width**2 + directions * 2 * width * (2 * math.ceil(width / 16) + 55)
    if width == 768:
        assert parameters == {1: 3_770_880, 2: 4_002_816}[directions]


# depth and width in their authors' code; DiS has a block between its halves. Elsewhere they are twice as deep as DiT
OWN_SIZES = {
    ("DiS", "S"): (25, 368),
    ("DiS", "B"): (25, 768),
    ("DiS", "L"): (49, 1024),
    ("ZigMa", "S"): (24, 368),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("family", "directions", "norm"), [("DiS", 2, 0), ("ZigMa", 1, 1)])
def test_a_block_is_a_mixer_and_three_parts_of_adaln(family: str, directions: int, norm: int, size: str) -> None:
    with torch.device("meta"):
        model = create_model(f"{family}-{size}/4")
    depth, d = OWN_SIZES.get((family, size), (2 * SIZES[size].depth, SIZES[size].width))
    assert len(model.blocks) == depth
    mixer = 6 * d**2 + directions * 2 * d * (2 * math.ceil(d / 16) + 55)
    assert {count(block) for block in model.blocks} == {mixer + 3 * d * (d + 1) + norm * d}


def test_zigmas_head_is_two_norms_and_an_open_linear_layer() -> None:
    """As in CompVis/zigma: an RMS norm with weights, a layer norm without, PyTorch's linear layer, zero biases."""
    model = create_model("ZigMa-XXS/4", input_size=16, in_channels=3, num_classes=None)
    x, t = torch.randn(2, 3, 16, 16), torch.tensor([3.0, 700.0])
    head = model.final_layer
    bound = model.x_embedder.proj.weight.shape[0] ** -0.5
    assert head.linear.weight.abs().max().item() == pytest.approx(bound, rel=0.01)
    assert head.linear.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.03)
    assert not head.linear.bias.any()
    with torch.no_grad():
        weights = [p for name, p in head.named_parameters() if not name.startswith("linear")]
        assert [tuple(p.shape) for p in weights] == [(128,)]  # the RMS norm's; nothing is conditioned
        weights[0].uniform_(0.5, 2)
        tokens = model.x_embedder(x) + model.pos_embed  # the blocks are closed at first
        rms = tokens / (tokens.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weights[0]
        centred = rms - rms.mean(-1, keepdim=True)
        normed = centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt()
        patches = (normed @ head.linear.weight.T).view(2, 4, 4, 4, 4, 3)
        expected = torch.einsum("nhwpqc->nchpwq", patches).reshape(2, 3, 16, 16)
        assert expected.std() > 0.1
        torch.testing.assert_close(model(x, t), expected, atol=1e-5, rtol=1e-4)


def test_reordering_costs_nothing() -> None:
    cost, _ = count_by_name("ZigMa-XXS/4")
    assert not [name for name in cost.uncounted if "Reorder" in name]
    tokens, inner, states, layers = 64, 2 * 128, 16, 8
    assert cost.by_kind["scan"] == 3 * tokens * inner * states * layers


# ---- CUDA kernels, which stand-ins with their signatures play here


def selective_scan_fn(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    return_last_state: bool = False,
) -> Tensor:
    """mamba_ssm.ops.selective_scan_interface.selective_scan_fn (2.2), with what its C++ code checks."""
    (batch, dim, length), states = u.shape, A.shape[1]
    assert delta.shape == (batch, dim, length)
    assert A.shape == (dim, states)
    assert B.shape == C.shape == (batch, states, length)
    assert u.dtype in (torch.float32, torch.float16, torch.bfloat16)
    assert delta.dtype == B.dtype == C.dtype == u.dtype
    assert D is not None
    assert delta_bias is not None
    assert D.shape == delta_bias.shape == (dim,)
    assert A.dtype == D.dtype == delta_bias.dtype == torch.float32
    assert delta_softplus
    assert z is None
    assert not return_last_state
    dt = F.softplus(delta.float() + delta_bias[:, None])
    state, outputs = u.new_zeros(batch, dim, states, dtype=torch.float32), []
    for t in range(length):
        drive = (dt[:, :, t] * u[:, :, t])[:, :, None] * B[:, None, :, t]
        state = torch.exp(dt[:, :, t, None] * A) * state + drive
        outputs.append((state * C[:, None, :, t]).sum(2) + D * u[:, :, t])
    return torch.stack(outputs, 2).to(u.dtype)


def causal_conv1d_fn(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    seq_idx: Tensor | None = None,
    initial_states: Tensor | None = None,
    return_final_states: bool = False,
    final_states_out: Tensor | None = None,
    activation: str | None = None,
) -> Tensor:
    """causal_conv1d.causal_conv1d_fn (1.4), with what its C++ code checks."""
    batch, dim, length = x.shape
    assert weight.shape == (dim, 4)
    assert bias is not None
    assert bias.shape == (dim,)
    assert bias.dtype == weight.dtype
    assert x.dtype in (torch.float32, torch.float16, torch.bfloat16)
    assert x.stride(1) == 1  # channels last: no copy is made of it
    assert dim % 8 == x.stride(0) % 8 == x.stride(2) % 8 == 0
    assert activation == "silu"
    assert seq_idx is initial_states is final_states_out is None
    assert not return_final_states
    y = F.conv1d(F.pad(x.to(weight.dtype), (3, 0)), weight.unsqueeze(1), bias, groups=dim)
    assert y.shape == (batch, dim, length)
    return F.silu(y).to(x.dtype)


KERNELS = {"selective_scan": selective_scan_fn, "causal_conv1d": causal_conv1d_fn}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> list[str]:
    """Put stand-ins in the kernels' places; the list fills with the names of those that run."""
    called: list[str] = []

    def load(what: str) -> Any:
        def run(*arguments: Any, **named: Any) -> Tensor:
            called.append(what)
            return KERNELS[what](*arguments, **named)

        return run if what in request.param else None

    monkeypatch.setattr(kernels, "load", load)
    return called


def both_paths(
    kind: type[Mixer], monkeypatch: pytest.MonkeyPatch, calls: list[str], autocast: bool
) -> tuple[list[Tensor], list[Tensor], int]:
    """Values and gradients with the kernels and without, and how many kernels ran."""
    mixer, x = built(kind, 1, width=16), torch.randn(2, H * W, 16, requires_grad=True)
    weights = torch.randn_like(x)

    def outcomes() -> list[Tensor]:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            y = mixer(x, torch.zeros(2, 16))
        return [y.detach(), *torch.autograd.grad(y.float(), [x, *mixer.parameters()], weights)]

    slow = outcomes()
    assert not calls  # tensors that are not on a CUDA device
    monkeypatch.setattr(kernels, "suit", lambda u: True)
    fast = outcomes()
    return fast, slow, len(calls)


@BOTH
@pytest.mark.parametrize(
    "calls", [["selective_scan", "causal_conv1d"], ["selective_scan"], ["causal_conv1d"]], indirect=True
)
def test_kernels_compute_what_pytorch_computes(
    kind: type[Mixer], calls: list[str], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    fast, slow, ran = both_paths(kind, monkeypatch, calls, autocast=False)
    directions = 2 if kind is BidirectionalMamba else 1
    assert ran == directions * len(request.node.callspec.params["calls"])
    for got, wanted in zip(fast, slow, strict=True):
        torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-4)


@BOTH
@pytest.mark.parametrize("calls", [["selective_scan", "causal_conv1d"], ["selective_scan"]], indirect=True)
def test_kernels_are_given_one_type_under_autocast(
    kind: type[Mixer], calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What they are given the stand-ins check; results differ by bfloat16's rounding."""
    fast, slow, ran = both_paths(kind, monkeypatch, calls, autocast=True)
    assert ran
    for got, wanted in zip(fast, slow, strict=True):
        assert got.dtype == wanted.dtype
        assert (got - wanted).norm() < 0.05 * wanted.norm()


@BOTH
def test_what_runs_is_said(kind: type[Mixer], monkeypatch: pytest.MonkeyPatch) -> None:
    assert built(kind).implementation == "chunked scan in PyTorch, convolution in PyTorch"
    monkeypatch.setattr(kernels, "described", lambda what, fallback: f"a kernel for {what}")
    assert built(kind).implementation == "a kernel for selective_scan, a kernel for causal_conv1d"


@pytest.mark.parametrize(("family", "branches"), [("Mamba-DiT", 2), ("DiS", 1), ("ZigMa", 1), ("Mamba2-DiT", 2)])
def test_projections_start_as_in_mamba_ssm(family: str, branches: int) -> None:
    """PyTorch's default for a linear layer, std 1 / sqrt(3 inputs), and a way out that shrinks with the depth.

    Over the root of all branches that add to the residual stream: two a block where an MLP stands beside the mixer.
    """
    model = create_model(f"{family}-XS/4", input_size=16)
    mixer = model.blocks[0].mixer
    wanted = {"in_proj": 1.0, "out_proj": (branches * len(model.blocks)) ** -0.5, "x_proj": 1.0}
    found = {name.rpartition(".")[2]: module for name, module in mixer.named_modules() if isinstance(module, nn.Linear)}
    for name, factor in wanted.items():
        if name in found:
            weight = found[name].weight
            assert weight.std().item() == pytest.approx(factor * (3 * weight.shape[1]) ** -0.5, rel=0.03), name
