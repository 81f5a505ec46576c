"""How repositories name and shape the weights of their models, and what their models predict of what."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

Shapes = dict[str, tuple[int, ...]]
Weights = dict[str, Tensor]


class Measures(NamedTuple):
    """What the shapes of a published model say.

    Attributes:
        depth: blocks.
        width: channels of a token.
        hidden: channels within the MLP.
        patch: side of a patch.
        side: of an image or a latent.
        channels: that it is given.
        made: channels that come out: as many, or twice as many where a variance is learned.
        classes: without the last row of the table of labels, which stands for "no class".
        head: channels of a head, where a shape says so.
    """

    depth: int
    width: int
    hidden: int
    patch: int
    side: int
    channels: int
    made: int
    classes: int
    head: int | None = None


@dataclass(frozen=True)
class PublishedLayout:
    """The files of one repository.

    Attributes:
        name: as `pdebench import --family` takes it.
        repository: on GitHub, whose code was compared.
        family: ours.
        task: what the model was trained for.
        time_scale: see `train.time_scale`.
        variance: whether it puts out a variance beside its answer; None: either.
        block: the tensors of a block, by their names behind `blocks.N.`.
        hidden: which of these is the MLP's last matrix, whose columns are its hidden channels.
        rewritten: from the published names and values to ours.
        left_out: what tensors that serve training alone begin with.
        head: the vector in a block that is as long as a head has channels; empty: no tensor tells.
        turns: the depth is a multiple of it.
        scale: what its latents of four channels were multiplied by.
    """

    name: str
    repository: str
    family: str
    task: str
    time_scale: float
    variance: bool | None
    block: Callable[[Measures], Shapes]
    hidden: str
    rewritten: Callable[[Weights, Measures], Weights]
    left_out: tuple[str, ...] = ()
    head: str = ""
    turns: int = 1
    scale: float = 0.18215

    def shapes(self, found: Measures) -> Shapes:
        """Every tensor of a model of these measures, by its published name."""
        d, p = found.width, found.patch
        every: Shapes = {
            "pos_embed": (1, (found.side // p) ** 2, d),
            "x_embedder.proj.weight": (d, found.channels, p, p),
            "x_embedder.proj.bias": (d,),
            "y_embedder.embedding_table.weight": (found.classes + 1, d),
            **linear("t_embedder.mlp.0", d, 256),
            **linear("t_embedder.mlp.2", d, d),
            **linear("final_layer.linear", p * p * found.made, d),
            **linear("final_layer.adaLN_modulation.1", 2 * d, d),
        }
        for number in range(found.depth):
            every |= {f"blocks.{number}.{name}": shape for name, shape in self.block(found).items()}
        return every


def linear(name: str, outputs: int, inputs: int, bias: bool = True) -> Shapes:
    """The tensors of a linear layer."""
    weight: Shapes = {f"{name}.weight": (outputs, inputs)}
    return weight | {f"{name}.bias": (outputs,)} if bias else weight


def dit_block(found: Measures) -> Shapes:
    """A block of DiT; SiT has taken it over."""
    d = found.width
    return {
        **linear("attn.qkv", 3 * d, d),
        **linear("attn.proj", d, d),
        **linear("mlp.fc1", found.hidden, d),
        **linear("mlp.fc2", d, found.hidden),
        **linear("adaLN_modulation.1", 6 * d, d),
    }


def dit_names(weights: Weights, found: Measures) -> Weights:
    """A block's mixer is called `attn` there; all else is as ours, queries, keys and values in one matrix too."""
    return {name.replace(".attn.", ".mixer."): tensor for name, tensor in weights.items()}


def reversed_in_time(weights: Weights, found: Measures) -> Weights:
    """REPA's time runs from the image to noise, and its velocity with it: v(x, t) here is -v(x, 1 - t) there.

    The network sees cosines and sines of its time times some frequencies. Those of 1 - t are a rotation of those of t,
    which goes into the first matrix of the time's embedder; the sign goes into the last layer.
    """
    ours = dit_names(weights, found)
    name = "t_embedder.mlp.0.weight"
    cosines, sines = ours[name].double().chunk(2, dim=1)
    frequencies = 10_000.0 ** (-torch.arange(128, dtype=torch.float64) / 128)
    cos, sin = frequencies.cos(), frequencies.sin()
    turned = torch.cat([cosines * cos + sines * sin, cosines * sin - sines * cos], dim=1)
    ours[name] = turned.to(ours[name].dtype)
    return ours | {f"final_layer.linear.{kind}": -ours[f"final_layer.linear.{kind}"] for kind in ("weight", "bias")}


def dig_block(found: Measures) -> Shapes:
    """A block of DiG, whose heads share the weights of one norm."""
    d = found.width
    return {
        "attn.q_proj.weight": (d // 2, d),
        "attn.k_proj.weight": (d // 2, d),
        "attn.v_proj.weight": (d, d),
        "attn.g_proj.weight": (d, d),
        "attn.gk_proj.0.weight": (16, d),
        **linear("attn.gk_proj.1", d // 2, 16),
        "attn.g_norm_swish_gate.weight": (found.head or d,),
        "attn.o_proj.weight": (d, d),
        "mlp.gate_proj.weight": (2 * found.hidden, d),
        "mlp.down_proj.weight": (d, found.hidden),
        **linear("adaLN_modulation.1", 6 * d, d),
        "dw_conv.weight": (d, 1, 3, 3),
        "dw_conv.bias": (d,),
    }


_DIG_NAMES = {
    "attn.gk_proj.1.weight": "mixer.decay_proj.weight",
    "attn.gk_proj.1.bias": "mixer.decay_proj.bias",
    "attn.g_norm_swish_gate.weight": "mixer.norm.weight",
    "attn.o_proj.weight": "mixer.out_proj.weight",
    "mlp.gate_proj.weight": "mlp.gate_and_up.weight",
    "mlp.down_proj.weight": "mlp.down.weight",
    "dw_conv.weight": "convolution.weight",
    "dw_conv.bias": "convolution.bias",
}
_DIG_PROJECTIONS = ("q_proj", "k_proj", "v_proj", "g_proj", "gk_proj.0")


def dig_names(weights: Weights, found: Measures) -> Weights:
    """Five projections are one matrix here; a block's convolution is turned back as its tokens are.

    DiG turns the grid by half after each block and transposes it after each second one. Here tokens stay in raster
    order, so the convolution of block i is turned i times, and transposed half as often.
    """
    ours = {name: tensor for name, tensor in weights.items() if not name.startswith("blocks.")}
    for number in range(found.depth):
        block = f"blocks.{number}."
        parts = [weights[f"{block}attn.{name}.weight"] for name in _DIG_PROJECTIONS]
        ours[f"{block}mixer.in_proj.weight"] = torch.cat(parts)
        for name, tensor in weights.items():
            own = name.removeprefix(block)
            if own != name and own.removeprefix("attn.").removesuffix(".weight") not in _DIG_PROJECTIONS:
                ours[block + _DIG_NAMES.get(own, own)] = tensor
        kernel = ours[f"{block}convolution.weight"]
        kernel = kernel.rot90(2 * number, (2, 3))
        ours[f"{block}convolution.weight"] = kernel.mT if number // 2 % 2 else kernel
    return ours


def _every() -> Iterator[PublishedLayout]:
    dit = partial(PublishedLayout, family="DiT", block=dit_block, hidden="mlp.fc2.weight")
    yield dit("DiT", "facebookresearch/DiT", task="ddpm", time_scale=1000.0, variance=True, rewritten=dit_names)
    yield dit("SiT", "willisma/SiT", task="generation", time_scale=1.0, variance=None, rewritten=dit_names)
    yield dit(
        "REPA", "sihyun-yu/REPA", task="generation", time_scale=1.0, variance=False,
        rewritten=reversed_in_time, left_out=("projectors.",),
    )  # fmt: skip
    yield PublishedLayout(
        "DiG", "hustvl/DiG", family="DiG", task="ddpm", time_scale=1000.0, variance=True, block=dig_block,
        hidden="mlp.down_proj.weight", rewritten=dig_names, head="attn.g_norm_swish_gate.weight", turns=4,
    )  # fmt: skip


LAYOUTS: dict[str, PublishedLayout] = {layout.name: layout for layout in _every()}
