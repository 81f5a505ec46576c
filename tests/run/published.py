"""Checkpoints as their authors publish them, made of diffusers' transformer, whose code is not ours.

How its names map to those of facebookresearch/DiT says its script `convert_dit_to_diffusers.py`.
"""

from __future__ import annotations

import torch
from diffusers import DiTTransformer2DModel
from torch import Tensor

HEADS, WIDTH, DEPTH, PATCH, SIDE, CLASSES = 2, 128, 4, 4, 16, 10


def transformer(channels: int = 4, made: int = 8, depth: int = DEPTH, heads: int = HEADS) -> DiTTransformer2DModel:
    """Of size XXS with patches of 4, of random weights; every block has the same embedders, as DiT has one.

    diffusers differs from the published DiT in an epsilon of its layer norms and in the frequencies of times, which it
    spaces by 1 / 127 where DiT has 1 / 128; both are set to DiT's.
    """
    torch.manual_seed(0)
    made_of = DiTTransformer2DModel(
        num_attention_heads=heads, attention_head_dim=WIDTH // heads, in_channels=channels, out_channels=made,
        num_layers=depth, sample_size=SIDE, patch_size=PATCH, num_embeds_ada_norm=CLASSES, norm_eps=1e-6,
    )  # fmt: skip
    with torch.no_grad():
        for parameter in made_of.parameters():
            parameter.normal_(std=0.08)
    first = made_of.transformer_blocks[0].norm1.emb
    for block in made_of.transformer_blocks:
        block.norm1.emb.load_state_dict(first.state_dict())
        block.norm1.emb.time_proj.downscale_freq_shift = 0
    return made_of.eval()


def as_published(model: DiTTransformer2DModel) -> dict[str, Tensor]:
    """Its weights by the names of facebookresearch/DiT, which SiT has taken over."""
    held = model.state_dict()
    state = {"pos_embed": model.pos_embed.pos_embed.clone()}

    def take(theirs: str, *names: str) -> None:
        for kind in ("weight", "bias"):
            state[f"{theirs}.{kind}"] = torch.cat([held[f"{name}.{kind}"] for name in names])

    embedders = "transformer_blocks.0.norm1.emb"
    take("x_embedder.proj", "pos_embed.proj")
    take("t_embedder.mlp.0", f"{embedders}.timestep_embedder.linear_1")
    take("t_embedder.mlp.2", f"{embedders}.timestep_embedder.linear_2")
    state["y_embedder.embedding_table.weight"] = held[f"{embedders}.class_embedder.embedding_table.weight"]
    for number in range(model.config.num_layers):
        block, theirs = f"transformer_blocks.{number}", f"blocks.{number}"
        take(f"{theirs}.attn.qkv", *(f"{block}.attn1.to_{one}" for one in "qkv"))
        take(f"{theirs}.attn.proj", f"{block}.attn1.to_out.0")
        take(f"{theirs}.mlp.fc1", f"{block}.ff.net.0.proj")
        take(f"{theirs}.mlp.fc2", f"{block}.ff.net.2")
        take(f"{theirs}.adaLN_modulation.1", f"{block}.norm1.linear")
    take("final_layer.adaLN_modulation.1", "proj_out_1")
    take("final_layer.linear", "proj_out_2")
    return {name: tensor.clone() for name, tensor in state.items()}
