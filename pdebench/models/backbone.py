"""The shell of a diffusion transformer: patches, conditioning, blocks, head. What mixes tokens is a parameter.

Architecture, initialisation and parameter names follow facebookresearch/DiT (arXiv 2212.09748), whose state dict
loads into the `DiT` family unchanged.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from pydantic import BaseModel, ValidationError
from torch import Tensor, nn
from torch.nn import functional as F

from pdebench.errors import ModelError, did_you_mean
from pdebench.models.embedding import LabelEmbedder, PatchEmbed, TimestepEmbedder, sincos_position_embedding
from pdebench.models.grid import InputSize, grid_of, indivisible, patches_of, sides_of
from pdebench.models.mix_ffn import MixFfn
from pdebench.models.mixers.base import Mixer, MixerContext
from pdebench.models.registry import Dimensions, Family, parse_name
from pdebench.models.shell import DIT, Head, Shell
from pdebench.models.shell_options import ShellOptions
from pdebench.ops.depthwise_convolution import DepthwiseConvolution


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """adaLN: `x` (B, N, D) scaled and shifted by one vector a sample, each (B, D)."""
    return torch.addcmul(shift.unsqueeze(1), x, 1 + scale.unsqueeze(1))


class Mlp(nn.Module):
    """Two linear layers with GELU between them: DiT's is by tanh, a ViT's exact."""

    def __init__(self, width: int, hidden: int, *, exact: bool = False) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.act = nn.GELU(approximate="none" if exact else "tanh")
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))  # type: ignore[no-any-return]


class SwiGlu(nn.Module):
    """A gated MLP of three matrices, `(silu(x G) * x U) D` (arXiv 2002.05202), in LightningDiT with biases."""

    def __init__(self, width: int, hidden: int, *, bias: bool = False) -> None:
        super().__init__()
        self.gate_and_up = nn.Linear(width, 2 * hidden, bias=bias)
        self.down = nn.Linear(hidden, width, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_and_up(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)  # type: ignore[no-any-return]


def norm(width: int, shell: Shell, affine: bool = False) -> nn.Module:
    """A layer norm, DiT's, which adaLN scales and shifts, or `affine` a ViT's; or an RMS norm, which has weights."""
    if shell.norm == "rms":
        return nn.RMSNorm(width, eps=shell.rms_epsilon)
    return nn.LayerNorm(width, elementwise_affine=affine, eps=1e-6)


def _mlp(kind: str, place: MixerContext, hidden: int, *, exact: bool) -> nn.Module:
    """What stands beside a mixer; see `Shell.mlp`. `exact`: the GELU of an MLP is not tanh's."""
    if kind == "mix":
        return MixFfn(place.width, hidden, place.grid)
    if kind in ("swiglu", "gated", "narrowed gated"):
        return SwiGlu(place.width, hidden, bias=kind != "swiglu")
    return Mlp(place.width, hidden, exact=exact)


class Block(nn.Module):
    """An adaLN-zero block around any token mixer: DiT's, but for what its shell changes.

    Where one MLP serves all blocks (adaLN-single, arXiv 2310.00426) what comes of it is `shared`, to which a block adds
    its own table; both are of zeros at first, so that blocks begin closed, as by adaLN-zero. A block with a `partner`
    is given what left that one, and goes on from a linear map of both (U-ViT, arXiv 2209.12152), which at first leaves
    it out.

    Where nothing is conditioned (`conditioned=False`) it is a ViT's (arXiv 2010.11929): `x + mixer(norm(x))`, then
    `x + mlp(norm(x))`, with norms that have weights and biases. `drop` is then the share of images for which a branch
    is left out in training, see `left_out`.
    """

    def __init__(
        self,
        place: MixerContext,
        mixer: Mixer,
        shell: Shell,
        mlp_hidden: int | None,
        *,
        conditioned: bool = True,
        drop: float = 0.0,
        partner: bool = False,
    ) -> None:
        super().__init__()
        width = place.width
        self.drop = drop
        self.skip_linear = nn.Linear(2 * width, width) if partner else None
        self.norm1 = norm(width, shell, affine=not conditioned)
        self.mixer = mixer
        self.mlp: nn.Module | None = None
        if mlp_hidden is not None:
            self.norm2 = norm(width, shell, affine=not conditioned)
            self.mlp = _mlp(shell.mlp, place, mlp_hidden, exact=not conditioned)
        self.convolution = DepthwiseConvolution(width, place.grid) if shell.convolution else None
        self.parts = 3 if self.mlp is None else 6
        self.adaLN_modulation: nn.Sequential | None = None
        self.adaLN_table: nn.Parameter | None = None
        if conditioned and shell.adaln == "single":
            self.adaLN_table = nn.Parameter(torch.zeros(self.parts, width))
        elif conditioned:
            self.adaLN_modulation = adaln(width, self.parts)

    def forward(
        self, x: Tensor, c: Tensor | None, shared: Tensor | None = None, skipped: Tensor | None = None
    ) -> Tensor:
        """Tokens `x` (B, N, D), conditioning `c` (B, D), `shared` (B, parts D), a partner's tokens `skipped`."""
        if self.skip_linear is not None and skipped is not None:
            x = self.skip_linear(torch.cat([x, skipped], dim=-1)).to(x.dtype)  # the stream's, under any autocast
        if c is None or (self.adaLN_modulation is None and self.adaLN_table is None):
            return self._unconditioned(x)
        shift, scale, gate, *others = self._modulation(c, shared)
        x = torch.addcmul(x, gate.unsqueeze(1), self.mixer(modulate(self.norm1(x), shift, scale), c))
        if self.mlp is not None:
            shift, scale, gate = others
            x = torch.addcmul(x, gate.unsqueeze(1), self.mlp(modulate(self.norm2(x), shift, scale)))
        return x if self.convolution is None else self.convolution(x)

    def _modulation(self, c: Tensor, shared: Tensor | None) -> tuple[Tensor, ...]:
        """Shift, scale and gate of the mixer, then of the MLP, each (B, D)."""
        if self.adaLN_modulation is not None:
            chunks: tuple[Tensor, ...] = self.adaLN_modulation(c).chunk(self.parts, dim=1)
            return chunks
        assert self.adaLN_table is not None
        assert shared is not None
        both: Tensor = shared.unflatten(1, (self.parts, -1)) + self.adaLN_table
        return both.unbind(1)

    def _unconditioned(self, x: Tensor) -> Tensor:
        drop = self.drop if self.training else 0.0
        x = x + left_out(self.mixer(self.norm1(x), None), drop)
        if self.mlp is not None:
            x = x + left_out(self.mlp(self.norm2(x)), drop)
        return x if self.convolution is None else self.convolution(x)


def adaln(width: int, parts: int) -> nn.Sequential:
    """From the conditioning vector (B, D) to so many vectors of its width, (B, parts D)."""
    return nn.Sequential(nn.SiLU(), nn.Linear(width, parts * width))


def left_out(branch: Tensor, share: float) -> Tensor:
    """A residual branch (B, ...) without that share of the images, the others scaled up to the same mean.

    Stochastic depth (arXiv 1603.09382) by image, as torchvision's `StochasticDepth(share, "row")` and DeiT's DropPath.
    """
    if share == 0:
        return branch
    kept = branch.new_empty(len(branch), *[1] * (branch.dim() - 1)).bernoulli_(1 - share)
    return branch * kept.div_(1 - share)


class FinalLayer(nn.Module):
    """A norm, adaLN where something is conditioned, and a linear map of every token; or two norms, see `Shell.head`."""

    def __init__(self, width: int, numbers: int, shell: Shell, *, conditioned: bool = True) -> None:
        super().__init__()
        self.norm_f, self.adaLN_modulation = None, None
        self.of_zeros = shell.head == "dit"
        if shell.head == "zigma":
            self.norm_f, self.norm_final = norm(width, shell), norm(width, DIT)
        else:
            self.norm_final = norm(width, shell, affine=not conditioned)
            if conditioned:
                self.adaLN_modulation = adaln(width, 2)
        self.linear = nn.Linear(width, numbers)

    def forward(self, x: Tensor, c: Tensor | None, pooled: bool = False) -> Tensor:
        """Tokens (B, N, D) to (B, N, numbers); `pooled`: their mean to (B, numbers)."""
        x = self.norm_final(x if self.norm_f is None else self.norm_f(x))
        if self.adaLN_modulation is not None and c is not None:
            x = modulate(x, *self.adaLN_modulation(c).chunk(2, dim=1))
        return self.linear(x.mean(1) if pooled else x)  # type: ignore[no-any-return]

    def initialise(self) -> None:
        """Zeros, but for the weights of ZigMa's head, which start as PyTorch's default."""
        for linear in (self.linear, *(self.adaLN_modulation or ())[1:]):
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)
        if not self.of_zeros:
            nn.init.kaiming_uniform_(self.linear.weight, a=5**0.5)


class Backbone(nn.Module):
    """A diffusion transformer with the token mixer of `family`; with `conditioned=False` a ViT with it.

    Called as `model(x, t, y=None)`: images or latents `x` (B, C, H, W), or clips (B, C, T, H, W), times `t` (B,) in the
    unit that the task chose, labels `y` (B,), -1 (or `y=None`) meaning "no class". Returns (B, `out_channels`, H, W),
    for clips (B, `out_channels`, T, H, W), or, with the head `vector`, (B, `out_channels`); with `tokens`
    (B, `out_channels`, h, w), one vector at every token. Where nothing is
    conditioned `t` and `y` are ignored and may be None.

    Attributes:
        grid: tokens along each axis, of a clip (t, h, w).
        patches: pixels of a patch along each axis.
        cycle: after how many blocks one of the same cost comes again; 1: all cost the same. Where some have partners
            none does, in no number of blocks.
        sides: of an image or a clip, in pixels, the first of a clip in frames.
    """

    def __init__(
        self,
        family: Family,
        dimensions: Dimensions,
        patch: int,
        options: BaseModel,
        *,
        input_size: InputSize,
        in_channels: int,
        num_classes: int | None,
        patch_frames: int = 1,
        head: Head = "field",
        out_channels: int | None = None,
        conditioned: bool = True,
        stochastic_depth: float = 0.0,
    ) -> None:
        super().__init__()
        depth, width, heads, mlp_hidden = dimensions
        self.patch, self.in_channels, self.num_classes, self.head = patch, in_channels, num_classes, head
        self.out_channels = in_channels if out_channels is None else out_channels
        self.grid = grid_of(input_size, patch, patch_frames)
        self.patches = patches_of(len(self.grid), patch, patch_frames)
        self.cycle = sys.maxsize if family.shell.skips else family.layers_of_a_cycle(len(self.grid), options)
        self.x_embedder = PatchEmbed(self.patches, in_channels, width)
        self.t_embedder = TimestepEmbedder(width) if conditioned else None
        self.y_embedder = None if num_classes is None or not conditioned else LabelEmbedder(num_classes, width)
        # frozen, but a parameter, as in the reference: published parameter counts include it
        self.pos_embed = nn.Parameter(torch.zeros(1, math.prod(self.grid), width), requires_grad=False)
        mixer_class, shell = family.mixer_class(), family.shell
        places = [
            MixerContext(width, heads or 1, self.grid, layer, depth, mlp_hidden is not None, shell.rope, shell.qk_norm)
            for layer in range(depth)
        ]
        mixers = [mixer_class(place, options) for place in places]  # type: ignore[call-arg]
        rates = [stochastic_depth * place.layer / max(1, depth - 1) for place in places]  # DeiT's: rising to the last
        self.skips = shell.skips_of(depth)
        self.blocks = nn.ModuleList(
            Block(
                place, mixer, shell, mlp_hidden, conditioned=conditioned, drop=rate,
                partner=place.layer >= depth - self.skips,
            )
            for place, mixer, rate in zip(places, mixers, rates, strict=True)
        )  # fmt: skip
        single = conditioned and shell.adaln == "single"
        self.adaLN_single = adaln(width, 3 if mlp_hidden is None else 6) if single else None
        numbers = math.prod(self.patches) * self.out_channels if head == "field" else self.out_channels
        self.final_layer = FinalLayer(width, numbers, shell, conditioned=conditioned)
        self.mixer_implementation = mixers[0].implementation
        self._initialise()
        self.register_load_state_dict_pre_hook(_accept_reference_names)

    @property
    def sides(self) -> tuple[int, ...]:
        """Pixels along each axis, frames along a clip's first."""
        return tuple(tokens * p for tokens, p in zip(self.grid, self.patches, strict=True))

    def _initialise(self) -> None:
        """Xavier linears and zero biases, then what the reference and the mixers set otherwise."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        patches = self.x_embedder.proj
        nn.init.xavier_uniform_(patches.weight.view(patches.weight.shape[0], -1))
        nn.init.zeros_(patches.bias)  # type: ignore[arg-type]
        if not self.pos_embed.is_meta:  # a model that is only counted has no values, and may have any size
            with torch.no_grad():
                self.pos_embed.copy_(sincos_position_embedding(self.grid, self.pos_embed.shape[-1]))
        if self.t_embedder is not None:
            nn.init.normal_(self.t_embedder.mlp[0].weight, std=0.02)  # type: ignore[arg-type]
            nn.init.normal_(self.t_embedder.mlp[2].weight, std=0.02)  # type: ignore[arg-type]
        if self.y_embedder is not None:
            nn.init.normal_(self.y_embedder.embedding_table.weight, std=0.02)
        for module in self.modules():
            if isinstance(module, Mixer):
                module.initialise()
        conditioned = [block for block in self.blocks if block.adaLN_modulation is not None]
        single = [] if self.adaLN_single is None else [self.adaLN_single[-1]]
        for zeroed in (*single, *(block.adaLN_modulation[-1] for block in conditioned)):  # type: ignore[index, union-attr]
            nn.init.zeros_(zeroed.weight)  # type: ignore[arg-type, union-attr]
            nn.init.zeros_(zeroed.bias)  # type: ignore[arg-type, union-attr]
        for joined in (block.skip_linear for block in self.blocks if block.skip_linear is not None):
            nn.init.eye_(joined.weight)  # type: ignore[arg-type, union-attr]
        self.final_layer.initialise()

    def forward(self, x: Tensor, t: Tensor | None, y: Tensor | None = None) -> Tensor:
        """Predict for noisy images `x` (B, C, H, W) or clips (B, C, T, H, W) at times `t` (B,), given `y` (B,)."""
        c = self._conditioning(x, t, y)
        tokens = self.x_embedder(x) + self.pos_embed
        shared = self.modulation(c)
        left: list[Tensor] = []
        for layer, block in enumerate(self.blocks):
            tokens = block(tokens, c, shared, left.pop() if layer >= len(self.blocks) - self.skips else None)
            if layer < self.skips:
                left.append(tokens)
        if self.head == "vector":
            return self.final_layer(tokens, c, pooled=True)  # type: ignore[no-any-return]
        put_out = self.final_layer(tokens, c)
        if self.head == "tokens":
            return put_out.transpose(1, 2).unflatten(2, self.grid)  # type: ignore[no-any-return]
        return self._unpatchify(put_out)

    def modulation(self, c: Tensor | None) -> Tensor | None:
        """What all blocks have in common of adaLN, (B, parts D), of the conditioning (B, D); None: nothing."""
        return None if c is None or self.adaLN_single is None else self.adaLN_single(c)

    def _conditioning(self, x: Tensor, t: Tensor | None, y: Tensor | None) -> Tensor | None:
        """(B, D), or None where nothing is conditioned."""
        if self.t_embedder is None:
            return None
        assert t is not None
        c: Tensor = self.t_embedder(t)
        if self.y_embedder is not None:
            assert self.num_classes is not None
            if y is None:
                y = torch.full((x.shape[0],), -1, device=x.device)
            c = c + self.y_embedder(torch.where(y < 0, self.num_classes, y))
        return c

    def _unpatchify(self, tokens: Tensor) -> Tensor:
        """(B, N, p p C) to (B, C, H, W), of clips (B, N, p_t p p C) to (B, C, T, H, W)."""
        axes = len(self.grid)
        patches = tokens.view(-1, *self.grid, *self.patches, self.out_channels)
        pairs = [place for axis in range(1, axes + 1) for place in (axis, axes + axis)]
        return patches.permute(0, 2 * axes + 1, *pairs).reshape(-1, self.out_channels, *self.sides)


def create_model(
    name: str,
    *,
    input_size: InputSize = 32,
    in_channels: int = 4,
    num_classes: int | None = 1000,
    learn_sigma: bool = False,
    patch_frames: int = 1,
    head: Head = "field",
    out_channels: int | None = None,
    conditioned: bool = True,
    stochastic_depth: float = 0.0,
    shell: Mapping[str, Any] | Sequence[tuple[str, Any]] = (),
    depth: int | None = None,
    width: int | None = None,
    heads: int | None = None,
    mlp_hidden: int | None = None,
    **options: Any,
) -> Backbone:
    """Build a backbone by name, e.g. `create_model("PDE-SSM-DiT-S/2", states=4)`.

    Args:
        name: FAMILY-SIZE/PATCH; `pdebench list models` shows them.
        input_size: side of the images or latents in pixels, a multiple of the patch; height and width where they
            differ; of clips (frames, height, width); of sequences (length,).
        in_channels: channels of the images or latents.
        num_classes: classes to condition on, or None for an unconditional model.
        learn_sigma: predict a variance beside the mean, as DiT's published models do: twice the channels come out.
        patch_frames: frames of a patch of clips, which divide the clip's; `patch` in the name is its side.
        head: `field`, values at every pixel, `tokens`, at every token, or `vector`, one vector for the whole image.
        out_channels: of what comes out; None: as many as the images have.
        conditioned: on times and labels. False: a pre-norm ViT around the same mixers, without either, adaLN and gates;
            `t` and `y` of a call are ignored.
        stochastic_depth: share of images for which a branch of the last block is left out in training, rising linearly
            from 0 at the first; where nothing is conditioned.
        shell: what is other than in DiT's shell, keys and values of `ShellOptions`: `{"preset": "lightning"}`.
        depth: blocks, in place of the size's; likewise `width` (channels of a token), `heads` and `mlp_hidden`.
        **options: the family's own options.

    Under `torch.device("meta")` it allocates nothing.

    Raises:
        ModelError: an unknown name or option, an option that nothing conditions, an input size that the patch does not
            divide, a grid that the family does not take, a shell that it cannot have, or dimensions that do not fit
            each other.
    """
    family, size, patch = parse_name(name)
    try:
        chosen = family.options(**options)
    except ValidationError as error:
        problem = error.errors()[0]
        if problem["type"] == "cross_field":  # written for a reader
            raise ModelError(f"{name}: option '{problem['ctx']['field']}': {problem['msg']}") from None
        option = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            hint = did_you_mean(option, family.options.model_fields)
            raise ModelError(f"{name} takes no option '{option}'; {hint}") from None
        raise ModelError(f"{name}: option '{option}': {problem['msg']}, not {problem['input']!r}") from None
    if not conditioned and (needs := family.conditioned_option(options)):
        raise ModelError(f"{name}: option '{needs}' acts by the time and the class, and the model is given neither")
    wrong = indivisible(sides_of(input_size), patch, patch_frames)
    if wrong or (wrong := family.refusal(grid_of(input_size, patch, patch_frames), chosen)):
        raise ModelError(wrong)
    try:
        around = ShellOptions(**dict(shell))
    except (ValidationError, TypeError, ValueError):
        raise ModelError(
            f"{name}: no shell is {shell!r:.80}; it takes {', '.join(ShellOptions.model_fields)}"
        ) from None
    sized = family.in_shell(around)
    dimensions = sized.dimensions(size, chosen, depth=depth, width=width, heads=heads, mlp_hidden=mlp_hidden)
    if refused := around.refusal(family, dimensions, len(sides_of(input_size)), conditioned=conditioned):
        raise ModelError(f"{name}: {' '.join(refused)}")
    return Backbone(
        sized,
        dimensions,
        patch,
        chosen,
        input_size=input_size,
        in_channels=in_channels,
        num_classes=num_classes,
        patch_frames=patch_frames,
        head=head,
        out_channels=2 * in_channels if learn_sigma and out_channels is None else out_channels,
        conditioned=conditioned,
        stochastic_depth=stochastic_depth,
    )


def _accept_reference_names(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Load DiT's published key names, in which the mixer of a block is called `attn`."""
    for key in [key for key in state if key.startswith(f"{prefix}blocks.") and ".attn." in key]:
        state[key.replace(".attn.", ".mixer.")] = state.pop(key)
