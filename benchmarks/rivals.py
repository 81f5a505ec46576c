"""Parts of the rival families over plain PyTorch, forward and backward, 384 channels: found to agree, then timed.

vHeat's operator, given the conductivities, stands beside its authors' way of it: cosine matrices as convolutions of
kernel size 1, whose channels are the axis that they transform, differentiated by autograd. DiCo's mixer, SANA's
attention and its MLP stand beside their formulas in PyTorch's own layers, which are given tokens as a channels-last
image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.here import DEVICE, PRECISIONS, finish
from benchmarks.ratio import Effort, Row, compare, timed
from pdebench.models.mix_ffn import MixFfn
from pdebench.models.mixers.base import MixerContext
from pdebench.models.mixers.dico import ChannelWeightedConvolution
from pdebench.models.mixers.linear_attention import LinearAttention
from pdebench.models.options import NoOptions
from pdebench.ops.heat import decay
from pdebench.ops.precision import autocast
from pdebench.ops.trigonometric import TrigonometricProduct, cosines

WIDTH, HEADS = 384, 12
# side of the grid in tokens, batch; a GPU has too little to do with a CPU's batches
CASES = ((16, 8), (32, 8), (64, 2)) if DEVICE.type == "cpu" else ((16, 256), (32, 64), (64, 16), (128, 4))
TARGETS = {"heat conduction": 0.7, "DiCo's mixer": 1.05, "linear attention": 1.05, "mix-FFN": 1.05}


class Part(NamedTuple):
    """Our way and the plain one from the same parameters, each of tokens (B, N, D)."""

    ours: Callable[[Tensor], Tensor]
    plain: Callable[[Tensor], Tensor]
    parameters: list[nn.Parameter]


def run(effort: Effort) -> Iterator[Row]:
    """A row a part, a number of tokens and a precision."""
    for side, batch in CASES[:1] if effort.quick else CASES:
        for name, part in _parts(side).items():
            for precision in PRECISIONS:
                a, b = (_passes(way, part.parameters, side, batch, precision) for way in (part.ours, part.plain))
                for got, wanted in zip(a(), b(), strict=True):
                    close = 1e-3 if precision == "fp32" else 0.1
                    torch.testing.assert_close(got, wanted, rtol=close, atol=close * wanted.abs().max().item())
                found = compare(timed(a, finish=finish), timed(b, finish=finish), effort)
                yield Row("rivals", f"{name}, {side * side} tokens {precision} / plain", found, TARGETS[name])


def _parts(side: int) -> dict[str, Part]:
    torch.manual_seed(0)
    place = MixerContext(WIDTH, HEADS, (side, side), 0, 1, mlp=True)
    k = nn.Parameter(torch.rand(side, side, WIDTH, device=DEVICE))
    dico = ChannelWeightedConvolution(place, NoOptions())
    attention, mlp = LinearAttention(place, NoOptions()), MixFfn(WIDTH, 5 * WIDTH // 2, place.grid)
    dico.initialise()
    for module in (dico, attention, mlp):
        module.to(DEVICE)
    return {
        "heat conduction": Part(
            lambda x: TrigonometricProduct.apply(  # type: ignore[no-any-return]
                x.unflatten(1, place.grid), decay(k), "cosine"
            ).flatten(1, 2),
            PlainHeat(k).forward,
            [k],
        ),
        "DiCo's mixer": Part(lambda x: dico(x, None), PlainDiCo(dico).forward, list(dico.parameters())),
        "linear attention": Part(
            lambda x: attention(x, None), PlainAttention(attention).forward, list(attention.parameters())
        ),
        "mix-FFN": Part(mlp.forward, PlainMixFfn(mlp).forward, list(mlp.parameters())),
    }


def _passes(
    way: Callable[[Tensor], Tensor], parameters: list[nn.Parameter], side: int, batch: int, precision: str
) -> Callable[[], tuple[Tensor, ...]]:
    """One forward and backward pass on random tokens, in the precision that a linear layer would hand them on in."""
    torch.manual_seed(0)
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    x = torch.randn(batch, side * side, WIDTH, device=DEVICE).to(kind).requires_grad_()
    grad = torch.randn(batch, side * side, WIDTH, device=DEVICE)

    def work() -> tuple[Tensor, ...]:
        with autocast(precision, DEVICE):
            y = way(x)
        return y, *torch.autograd.grad(y, (x, *parameters), grad.to(y.dtype))

    return work


class PlainHeat:
    """Each axis in turn is the channels of a convolution along all others."""

    def __init__(self, k: Tensor) -> None:
        self.k, (self.h, self.w, _) = k, k.shape
        self.rows, self.columns = (cosines(side, like=k) for side in (self.h, self.w))

    def forward(self, x: Tensor) -> Tensor:
        spectrum = self._over_both(x, self.rows, self.columns)
        return self._over_both((spectrum * decay(self.k)).to(x.dtype), self.rows.t(), self.columns.t()).reshape(x.shape)

    def _over_both(self, x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        x = F.conv1d(x.reshape(len(x), self.h, -1), rows[..., None])
        x = F.conv1d(x.view(-1, self.w, WIDTH), columns[..., None])
        return x.view(-1, self.h, self.w, WIDTH)


def _pointwise(layer: nn.Linear, image: Tensor) -> Tensor:
    return F.conv2d(image, layer.weight[..., None, None], layer.bias)


class PlainDiCo:
    """Convolutions of an image, and PyTorch's pooling."""

    def __init__(self, dico: ChannelWeightedConvolution) -> None:
        self.dico, self.grid = dico, dico.convolution.grid

    def forward(self, x: Tensor) -> Tensor:
        dico, image = self.dico, x.unflatten(1, self.grid).permute(0, 3, 1, 2)
        weight, bias = dico.convolution.weight, dico.convolution.bias
        z = F.gelu(F.conv2d(_pointwise(dico.in_proj, image), weight, bias, padding=1, groups=WIDTH))
        z = z * torch.sigmoid(_pointwise(dico.attention, F.adaptive_avg_pool2d(z, 1)))
        return _pointwise(dico.out_proj, z).permute(0, 2, 3, 1).flatten(1, 2)


class PlainAttention:
    """The formula by einsum, its denominator by a sum of the keys."""

    def __init__(self, attention: LinearAttention) -> None:
        self.attention = attention

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (HEADS, -1)).float() for part in self.attention.qkv(x).chunk(3, -1))
        q, k = F.relu(q), F.relu(k)
        with torch.autocast(DEVICE.type, enabled=False):
            y = torch.einsum("bnhd,bhde->bnhe", q, torch.einsum("bnhd,bnhe->bhde", k, v))
            y = y / (torch.einsum("bnhd,bhd->bnh", q, k.sum(1)) + 1e-15).unsqueeze(-1)
        return self.attention.proj(y.flatten(2))  # type: ignore[no-any-return]


class PlainMixFfn:
    """Convolutions of an image."""

    def __init__(self, mlp: MixFfn) -> None:
        self.mlp, self.grid = mlp, mlp.convolution.grid

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.mlp.convolution.weight, self.mlp.convolution.bias
        hidden = F.silu(_pointwise(self.mlp.expand, x.unflatten(1, self.grid).permute(0, 3, 1, 2)))
        value, gate = F.conv2d(hidden, weight, bias, padding=1, groups=len(weight)).chunk(2, 1)
        return _pointwise(self.mlp.contract, value * F.silu(gate)).permute(0, 2, 3, 1).flatten(1, 2)
