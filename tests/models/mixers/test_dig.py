"""DiG: the paper's formulas, its directions, its published sizes, and what it hands to the CUDA kernel."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from pdebench.errors import DimensionError
from pdebench.models.backbone import Backbone, create_model, modulate
from pdebench.models.mixers import dig as module
from pdebench.models.mixers.base import MixerContext
from pdebench.models.mixers.dig import DiG
from pdebench.models.options import NoOptions
from pdebench.models.registry import FAMILIES
from pdebench.ops import gated_linear_attention as operator
from pdebench.ops import kernels
from pdebench.plan.cost import count_by_name

WIDTH, HEADS = 24, 3
GRID = (3, 5)


def mixer(layer: int = 0, kind: torch.dtype = torch.float64, grid: tuple[int, int] = GRID) -> DiG:
    """As initialised, but for numbers where a constant would hide a mistake, and decays that are felt."""
    made = DiG(MixerContext(WIDTH, HEADS, grid, layer, 8), NoOptions())
    made.initialise()
    with torch.no_grad():
        made.norm.weight.normal_()
        made.decay_proj.bias.uniform_(-30, 0)
    return made.to(kind)


def turned(tokens: Tensor, layer: int, grid: tuple[int, int] = GRID) -> tuple[Tensor, tuple[int, int]]:
    """Tokens (B, N, ...) after `layer` blocks of hustvl/DiG: flipped after each, transposed after each second."""
    h, w = grid
    for done in range(layer):
        tokens = tokens.flip(1)
        if done % 2 == 1:
            tokens = tokens.unflatten(1, (h, w)).transpose(1, 2).flatten(1, 2)
            h, w = w, h
    return tokens, (h, w)


def path(layer: int) -> list[int]:
    """Raster indices in the order in which a layer of hustvl/DiG meets them."""
    order: list[int] = turned(torch.arange(GRID[0] * GRID[1]).unsqueeze(0), layer)[0][0].tolist()
    return order


def by_the_paper(weights: dict[str, Tensor], x: Tensor, order: list[int]) -> Tensor:
    """Gated linear attention (arXiv 2312.06635, section 4.4) over tokens in an order, one token and head at a time."""
    q, k, v, gate, low = (x[:, order] @ weights["in_proj.weight"].T).split(
        [WIDTH // 2, WIDTH // 2, WIDTH, WIDTH, 16], 2
    )
    logits = low @ weights["decay_proj.weight"].T + weights["decay_proj.bias"]
    decays = torch.sigmoid(logits) ** (1 / 16)
    heads = []
    for head in range(HEADS):
        keys, values = slice(head * 4, head * 4 + 4), slice(head * 8, head * 8 + 8)
        state, outputs = x.new_zeros(len(x), 4, 8), []
        for t in range(len(order)):
            state = decays[:, t, keys, None] * state + k[:, t, keys, None] * v[:, t, None, values]
            outputs.append((q[:, t, None, keys] / 2 @ state).squeeze(1))  # 4^(-1/2)
        y = torch.stack(outputs, 1)
        heads.append(y / (y.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weights["norm.weight"])
    y = (torch.cat(heads, -1) * gate * torch.sigmoid(gate)) @ weights["out_proj.weight"].T
    back = torch.empty_like(y)
    back[:, order] = y
    return back


@pytest.mark.parametrize("layer", range(5))
def test_a_layer_is_gated_linear_attention_along_its_direction_with_all_gradients(layer: int) -> None:
    made = mixer(layer)
    weights = dict(made.named_parameters())
    x, c = torch.randn(2, 15, WIDTH, dtype=torch.float64, requires_grad=True), torch.randn(2, WIDTH)
    ours, exact = made(x, c), by_the_paper(weights, x, path(layer))
    assert exact.std() > 0.005
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


def small() -> Backbone:
    """Four blocks over 4 x 4 tokens, every weight away from its zero."""
    model = create_model("DiG-XXS/4", input_size=16, in_channels=3, num_classes=10).double()
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(std=0.05)
        for block in model.blocks:
            block.convolution.weight.normal_(std=0.3)
    return model


def test_blocks_over_turned_tokens_with_turned_convolutions_are_the_same_model() -> None:
    """hustvl/DiG turns the tokens between blocks and scans the rows; we keep the tokens and turn the scan."""
    model = small()
    tokens, c = torch.randn(2, 16, 128, dtype=torch.float64), torch.randn(2, 128, dtype=torch.float64)
    ours = theirs = tokens
    for layer, block in enumerate(model.blocks):
        ours = block(ours, c)
        rows = DiG(MixerContext(128, 2, (4, 4), 0, 4), NoOptions()).double()
        rows.load_state_dict(block.mixer.state_dict())
        kernel, _ = turned(block.convolution.weight.flatten(1), layer, (3, 3))
        shift1, scale1, gate1, shift2, scale2, gate2 = block.adaLN_modulation(c).chunk(6, 1)
        theirs = theirs + gate1[:, None] * rows(modulate(block.norm1(theirs), shift1, scale1), c)
        theirs = theirs + gate2[:, None] * block.mlp(modulate(block.norm2(theirs), shift2, scale2))
        image = theirs.transpose(1, 2).unflatten(2, (4, 4))
        image = F.conv2d(image, kernel.view(128, 1, 3, 3), block.convolution.bias, padding=1, groups=128)
        theirs = image.flatten(2).transpose(1, 2).flip(1)
        if layer % 2 == 1:
            theirs = theirs.unflatten(1, (4, 4)).transpose(1, 2).flatten(1, 2)
    assert (ours - tokens).std() > 0.1
    torch.testing.assert_close(ours, theirs)


def test_bf16_autocast_keeps_the_scan_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    made = mixer(2, torch.float32, (8, 12))
    x, c = torch.randn(2, 96, WIDTH), torch.randn(2, WIDTH)
    seen: list[torch.dtype] = []

    def watched(q: Tensor, k: Tensor, v: Tensor, g: Tensor) -> Tensor:
        seen.append(g.dtype)
        return operator.gated_linear_attention(q, k, v, g)

    monkeypatch.setattr(module, "gated_linear_attention", watched)
    with torch.no_grad():
        exact = made(x, c)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = made(x, c)
    assert seen == [torch.float32, torch.float32]
    assert rounded.dtype == torch.bfloat16
    assert (rounded.float() - exact).norm() < 0.02 * exact.norm()


def test_initialised_as_published() -> None:
    width = 512
    made = DiG(MixerContext(width, 8, (1, 1), 0, 1), NoOptions())
    torch.nn.init.zeros_(made.decay_proj.bias)  # as the shell does
    made.initialise()
    fans = [(width, width // 2)] * 2 + [(width, width)] * 2 + [(width, 16)]
    parts = made.in_proj.weight.split([width // 2, width // 2, width, width, 16])
    weights = [*zip(parts, fans, strict=True), (made.decay_proj.weight, (16, width // 2))]
    for weight, (inputs, outputs) in [*weights, (made.out_proj.weight, (width, width))]:
        bound = 2**-2.5 * (6 / (inputs + outputs)) ** 0.5
        assert 0.98 * bound < weight.abs().max() <= bound
        assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.03)
    assert not made.decay_proj.bias.any()
    assert torch.equal(made.norm.weight, torch.ones(64))


def test_compiles_without_a_graph_break() -> None:
    made = mixer(3)
    x, c = torch.randn(2, 15, WIDTH, dtype=torch.float64, requires_grad=True), torch.randn(2, WIDTH)
    torch._dynamo.reset()
    compiled, plain = torch.compile(made, backend="aot_eager", fullgraph=True)(x, c), made(x, c)
    torch.testing.assert_close(compiled, plain)
    grads = torch.randn_like(plain)
    for got, wanted in zip(
        torch.autograd.grad(compiled, [x, *made.parameters()], grads),
        torch.autograd.grad(plain, [x, *made.parameters()], grads),
        strict=True,
    ):
        torch.testing.assert_close(got, wanted)


# ---- cost


@pytest.mark.parametrize(("size", "printed"), [("S", "33.0"), ("B", "130.6"), ("L", "464.8"), ("XL", "675.7")])
def test_trainable_parameters_are_the_published_ones(size: str, printed: str) -> None:
    """arXiv 2405.18428, table 1: 256 px, 1000 classes, a predicted variance, without the frozen positions."""
    with torch.device("meta"):
        model = create_model(f"DiG-{size}/2", learn_sigma=True)
    trainable = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert f"{trainable / 1e6:.1f}" == printed


@pytest.mark.parametrize(
    ("size", "published", "in_full"),
    [("S", 4.30, 5.50), ("B", 17.07, 21.9), ("L", 61.66, 79.3), ("XL", 89.40, 114.7)],
)
def test_macs_are_the_published_ones_and_what_they_leave_out(size: str, published: float, in_full: float) -> None:
    """The paper's GMACs are without SwiGLU's last product and without the attention itself.

    A counter of PyTorch's operators sees neither: the one is fused with its activation, the other is a Triton kernel.
    """
    cost, _ = count_by_name(f"DiG-{size}/2", learn_sigma=True)
    depth, width, heads = FAMILIES["DiG"].size(size)
    scan = cost.by_kind["scan"]
    assert scan == depth * 256 * 3 * (width // 2) * (width // heads)
    assert 0.006 < scan / cost.macs < 0.021
    assert (cost.macs - scan) / 1e9 == pytest.approx(in_full, rel=0.002)
    hidden = FAMILIES["DiG"].dimensions(size, NoOptions()).mlp_hidden
    assert hidden is not None
    assert (cost.macs - scan - depth * 256 * hidden * width) / 1e9 == pytest.approx(published, rel=0.005)


def test_attention_is_counted_as_the_recurrence_whatever_the_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    cost, _ = count_by_name("DiG-XXS/2")
    monkeypatch.setattr(operator, "CHUNK", 16)
    assert count_by_name("DiG-XXS/2")[0] == cost


@pytest.mark.parametrize(("width", "heads"), [(24, 3), (128, 2), (1152, 18)])
def test_parameters_by_formula(width: int, heads: int) -> None:
    with torch.device("meta"):
        made = DiG(MixerContext(width, heads, (4, 4), 0, 1), NoOptions())
    by_hand = 4 * width**2 + 24 * width + width // 2 + width // heads
    assert sum(parameter.numel() for parameter in made.parameters()) == by_hand


def test_heads_must_divide_half_the_width() -> None:
    with pytest.raises(DimensionError, match="2 x 4 heads do not divide width 132"):
        FAMILIES["DiG"].dimensions("XXS", NoOptions(), width=132, heads=4)


# ---- the kernel


class Kernel:
    """A stand-in for fla's chunk_gla (flash-linear-attention 0.6) that checks what it documents and asserts.

    `q`, `k`, `g` (B, T, H, K), `v` (B, T, H, V); `g` are logarithms of decays; scaled by K^(-1/2) unless given;
    returns `o` (B, T, H, V) in `v`'s precision and None in place of a final state that was not asked for.
    """

    def __init__(self) -> None:
        self.kinds: list[torch.dtype] = []

    def __call__(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        g: Tensor,
        scale: float | None = None,
        initial_state: Tensor | None = None,
        output_final_state: bool = False,
    ) -> tuple[Tensor, None]:
        assert q.shape == k.shape == g.shape == (2, 15, HEADS, WIDTH // 2 // HEADS)
        assert v.shape == (2, 15, HEADS, WIDTH // HEADS)
        assert q.dtype == k.dtype == v.dtype
        assert g.dtype == torch.float32
        assert (g <= 0).all()
        assert scale is None
        assert initial_state is None
        assert not output_final_state
        self.kinds.append(q.dtype)
        return operator.gated_linear_attention(q, k, v, g).to(v.dtype), None


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    found = Kernel()
    monkeypatch.setattr(kernels, "load", {"gla": found}.get)
    monkeypatch.setattr(kernels, "described", lambda what, fallback: f"the kernel {what}")
    monkeypatch.setattr(kernels, "suit", lambda x: True)
    return found


def test_the_kernel_is_given_what_it_documents(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    made = mixer(1, torch.float32)
    assert made.implementation == "the kernel gla"
    x, c = torch.randn(2, 15, WIDTH), torch.randn(2, WIDTH)
    by_kernel = made(x, c)
    assert kernel.kinds == [torch.float32]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = made(x, c)
    assert kernel.kinds == [torch.float32, torch.bfloat16]
    monkeypatch.setattr(made, "kernel", None)
    plain = made(x, c)
    torch.testing.assert_close(by_kernel, plain)
    assert (rounded - plain).norm() < 0.02 * plain.norm()


def test_on_a_cpu_the_kernel_is_left_alone(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    made = mixer(0, torch.float32)
    made.kernel = kernel
    made(torch.randn(2, 15, WIDTH), torch.randn(2, WIDTH))
    assert kernel.kinds == []
    assert "PyTorch" in made.implementation
