"""The mixer of the variants. Whatever is added draws its numbers aside, so that all else starts as in PDE-SSM-DiT."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pdebench.models.mixers.attention import Attention
from pdebench.models.mixers.base import Mixer, MixerContext
from pdebench.models.mixers.pde import PDEMixer, PDEOperator
from pdebench.models.options import AttentionOptions
from pdebench.ops.depthwise_convolution import DepthwiseConvolution
from pdebench_variants.family import attends
from pdebench_variants.options import VariantOptions


def mixer_of(place: MixerContext, options: VariantOptions) -> Mixer:
    """Attention, or the PDE."""
    return Attention(place, AttentionOptions()) if attends(place.layer, options) else Variant(place, options)


class Variant(PDEMixer):
    """PDE-SSM's mixer with what the options add to it.

        v = conv(in(x))      u_1 = S_1 v      u_k = u_k-1 + S_k gelu(u_k-1)      y = out(gate(x) act(norm(u)))

    `S_k`, k > 1, are zero at first and the convolution is the identity, so that both begin as PDE-SSM-DiT.
    """

    def __init__(self, place: MixerContext, options: VariantOptions) -> None:
        super().__init__(place, options)
        restart(self.operator, options)
        with torch.random.fork_rng(devices=[]):
            self.further = nn.ModuleList(
                _closed(PDEOperator(place.width, place.grid, options), options) for _ in range(options.steps - 1)
            )
        self.convolution = DepthwiseConvolution(place.width, place.grid) if options.convolution else nn.Identity()
        self.norm = nn.RMSNorm(place.width, eps=1e-5) if options.norm else nn.Identity()
        self.activation = nn.GELU() if options.activation == "gelu" else nn.Identity()

    def forward(self, x: Tensor, c: Tensor | None) -> Tensor:
        """Mix tokens `x` (B, N, D)."""
        u = self.convolution(self.in_proj(x)).unflatten(1, self.grid).movedim(-1, 1)
        tau = None
        if self.log_tau is not None and c is not None:
            wide = torch.promote_types(u.dtype, torch.float32)
            tau = self.log_tau(F.silu(c)).to(wide).clamp(-4, 4).exp()
        u = self.operator(u, tau)
        for operator in self.further:
            u = u + operator(F.gelu(u), tau)
        mixed = self.activation(self.norm(u.movedim(1, -1).flatten(1, -2)))
        if self.gate is not None:
            mixed = mixed * F.silu(self.gate(x))
        return self.out_proj(mixed)  # type: ignore[no-any-return]


@torch.no_grad()
def restart(operator: PDEOperator, options: VariantOptions) -> None:
    """Lengths between the options' bounds, log-spaced as before; the drifts that were drawn are scaled with them."""
    before, after = (
        torch.linspace(
            math.log(tokens / max(operator.grid)), math.log(sides), operator.readout.numel(),
            device=operator.readout.device,
        )
        for tokens, sides in ((0.5, 0.3), (options.shortest, options.longest))
    )  # fmt: skip
    if operator.log_length is not None:
        operator.log_length.copy_(after.view_as(operator.readout).expand_as(operator.log_length))
    if operator.velocity is not None:
        operator.velocity.mul_(((after - before).exp() * options.drift).view_as(operator.readout))


@torch.no_grad()
def _closed(operator: PDEOperator, options: VariantOptions) -> PDEOperator:
    """An operator that gives zero until it has learnt."""
    restart(operator, options)
    operator.readout.zero_()
    operator.skip.zero_()
    return operator
