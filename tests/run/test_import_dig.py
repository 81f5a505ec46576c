"""DiG's checkpoints: its forward pass in its own turned order of tokens, written out here, is ours in raster order."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from pdebench.errors import ModelError
from pdebench.run.checkpoint import read_checkpoint
from pdebench.run.importing import import_published
from pdebench.tasks.ddpm.objective import answer

WIDTH, HEADS, DEPTH, PATCH, SIDE, CLASSES, HIDDEN = 32, 2, 8, 2, 8, 5, 24
State = dict[str, Tensor]


def published(depth: int = DEPTH) -> State:
    """Random weights by the names of hustvl/DiG (`DiG-*-bid-layer-dwconv-qdir`)."""
    random = torch.Generator().manual_seed(0)

    def linear(name: str, outputs: int, inputs: int, bias: bool = True) -> State:
        weight = torch.randn(outputs, inputs, generator=random) * inputs**-0.5 / 2
        return {f"{name}.weight": weight} | (
            {f"{name}.bias": torch.randn(outputs, generator=random) / 4} if bias else {}
        )

    state = {
        "pos_embed": torch.randn(1, (SIDE // PATCH) ** 2, WIDTH, generator=random),
        "x_embedder.proj.weight": torch.randn(WIDTH, 4, PATCH, PATCH, generator=random) / 4,
        "x_embedder.proj.bias": torch.randn(WIDTH, generator=random),
        "y_embedder.embedding_table.weight": torch.randn(CLASSES + 1, WIDTH, generator=random),
        **linear("t_embedder.mlp.0", WIDTH, 256),
        **linear("t_embedder.mlp.2", WIDTH, WIDTH),
        **linear("final_layer.linear", 8 * PATCH**2, WIDTH),
        **linear("final_layer.adaLN_modulation.1", 2 * WIDTH, WIDTH),
    }
    for block in (f"blocks.{number}" for number in range(depth)):
        for name, outputs in {"q": WIDTH // 2, "k": WIDTH // 2, "v": WIDTH, "g": WIDTH, "o": WIDTH}.items():
            state |= linear(f"{block}.attn.{name}_proj", outputs, WIDTH, bias=False)
        state |= linear(f"{block}.attn.gk_proj.0", 16, WIDTH, bias=False)
        state |= linear(f"{block}.attn.gk_proj.1", WIDTH // 2, 16)
        state[f"{block}.attn.g_norm_swish_gate.weight"] = torch.randn(WIDTH // HEADS, generator=random)
        state |= linear(f"{block}.mlp.gate_proj", 2 * HIDDEN, WIDTH, bias=False)
        state |= linear(f"{block}.mlp.down_proj", WIDTH, HIDDEN, bias=False)
        state |= linear(f"{block}.adaLN_modulation.1", 6 * WIDTH, WIDTH)
        state[f"{block}.dw_conv.weight"] = torch.randn(WIDTH, 1, 3, 3, generator=random) / 3
        state[f"{block}.dw_conv.bias"] = torch.randn(WIDTH, generator=random) / 4
    return state


def by_the_paper(w: State, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
    """DiG (arXiv 2405.18428): gated linear attention by the token; tokens flipped and transposed block by block."""

    def linear(name: str, value: Tensor) -> Tensor:
        return value @ w[f"{name}.weight"].T + w.get(f"{name}.bias", torch.zeros(()))

    def normed(value: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
        return F.layer_norm(value, (WIDTH,), eps=1e-6) * (1 + scale) + shift

    def attention(name: str, value: Tensor) -> Tensor:
        q, k, v = (linear(f"{name}.{one}_proj", value).unflatten(-1, (HEADS, -1)) for one in "qkv")
        decays = linear(f"{name}.gk_proj.1", linear(f"{name}.gk_proj.0", value)).unflatten(-1, (HEADS, -1))
        state, outputs = torch.zeros(len(value), HEADS, k.shape[-1], v.shape[-1]), []
        for n in range(value.shape[1]):
            state = torch.sigmoid(decays[:, n]).pow(1 / 16)[..., None] * state + k[:, n, :, :, None] * v[:, n, :, None]
            outputs.append((q[:, n, :, None] * k.shape[-1] ** -0.5 @ state)[:, :, 0])
        o = torch.stack(outputs, 1)
        o = o / (o.square().mean(-1, keepdim=True) + 1e-6).sqrt() * w[f"{name}.g_norm_swish_gate.weight"]
        return linear(f"{name}.o_proj", o.flatten(2) * F.silu(linear(f"{name}.g_proj", value)))

    side = SIDE // PATCH
    angles = t[:, None] * 10_000.0 ** (-torch.arange(128) / 128)
    time = linear("t_embedder.mlp.2", F.silu(linear("t_embedder.mlp.0", torch.cat([angles.cos(), angles.sin()], 1))))
    c = F.silu(time + w["y_embedder.embedding_table.weight"][y])[:, None]
    tokens = F.conv2d(x, w["x_embedder.proj.weight"], w["x_embedder.proj.bias"], stride=PATCH).flatten(2).mT
    tokens = tokens + w["pos_embed"]
    for number in range(DEPTH):
        block = f"blocks.{number}"
        a, b, gate, d, e, second = linear(f"{block}.adaLN_modulation.1", c).chunk(6, -1)
        tokens = tokens + gate * attention(f"{block}.attn", normed(tokens, a, b))
        one, other = linear(f"{block}.mlp.gate_proj", normed(tokens, d, e)).chunk(2, -1)
        tokens = tokens + second * linear(f"{block}.mlp.down_proj", F.silu(one) * other)
        image = tokens.mT.unflatten(2, (side, side))
        kernel, bias = w[f"{block}.dw_conv.weight"], w[f"{block}.dw_conv.bias"]
        tokens = F.conv2d(image, kernel, bias, padding=1, groups=WIDTH).flatten(2).mT
        tokens = tokens.flip(1)
        if number % 2 == 1:
            tokens = tokens.unflatten(1, (side, side)).transpose(1, 2).flatten(1, 2)
    last = linear("final_layer.linear", normed(tokens, *linear("final_layer.adaLN_modulation.1", c).chunk(2, -1)))
    patches = last.view(-1, side, side, PATCH, PATCH, 8).permute(0, 5, 1, 3, 2, 4)
    return patches.reshape(-1, 8, SIDE, SIDE)


def test_a_dig_is_the_function_of_its_paper(tmp_path: Path) -> None:
    state = published()
    torch.save({"ema": state}, tmp_path / "published.pt")
    found = read_checkpoint(import_published(tmp_path / "published.pt", "DiG", tmp_path / "out").checkpoint)
    assert (found.name, found.learner.task) == ("DiG-4XS/2", "ddpm")
    assert found.model.blocks[0].mixer.heads == HEADS  # its norm tells
    x = torch.randn(3, 4, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    t, y = torch.tensor([0, 300, 999]), torch.tensor([1, 4, -1])
    with torch.no_grad():
        ours = torch.cat(answer(found.model, x, t, y, 1000.0), 1)
    exact = by_the_paper(state, x, t.float(), torch.where(y < 0, CLASSES, y))
    assert exact.std() > 0.3
    torch.testing.assert_close(ours, exact, rtol=1e-5, atol=2e-5)


def test_a_dig_that_ends_turned_is_refused(tmp_path: Path) -> None:
    torch.save(published(6), tmp_path / "published.pt")
    with pytest.raises(ModelError, match="it has 6 blocks, where DiG has a multiple of 4"):
        import_published(tmp_path / "published.pt", "DiG", tmp_path / "out")
