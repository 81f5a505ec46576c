"""The shell of a diffusion transformer: patches, conditioning, blocks, head. What mixes tokens is a parameter.

Architecture, initialisation and parameter names follow facebookresearch/DiT (arXiv 2212.09748), whose state dict
loads into the `DiT` family unchanged.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from pydantic import BaseModel, ValidationError
from torch import Tensor, nn
from torch.nn import functional as F

from pdebench.errors import ModelError, did_you_mean
from pdebench.models.grid import InputSize, grid_of, sides_of
from pdebench.models.mix_ffn import MixFfn
from pdebench.models.mixers.base import Mixer, MixerContext
from pdebench.models.registry import Dimensions, Family, parse_name
from pdebench.models.shell import Head, Shell
from pdebench.ops.depthwise_convolution import DepthwiseConvolution


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """adaLN: `x` (B, N, D) scaled and shifted by one vector a sample, each (B, D)."""
    return torch.addcmul(shift.unsqueeze(1), x, 1 + scale.unsqueeze(1))


class PatchEmbed(nn.Module):
    """Images (B, C, H, W) to tokens (B, N, D) in raster order.

    The weights are those of DiT's strided convolution, applied as what it is: one matrix product.
    """

    def __init__(self, patch: int, in_channels: int, width: int) -> None:
        super().__init__()
        self.patch = patch
        self.proj = nn.Conv2d(in_channels, width, kernel_size=patch, stride=patch)

    def forward(self, x: Tensor) -> Tensor:
        (batch, channels, height, width), p = x.shape, self.patch
        patches = x.view(batch, channels, height // p, p, width // p, p).permute(0, 2, 4, 1, 3, 5)
        return F.linear(patches.reshape(batch, -1, channels * p * p), self.proj.weight.flatten(1), self.proj.bias)


class TimestepEmbedder(nn.Module):
    """Scalar times (B,) to vectors (B, D) by sinusoids of 256 channels and an MLP."""

    frequencies: Tensor

    def __init__(self, width: int, channels: int = 256, max_period: float = 10_000.0) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(channels, width), nn.SiLU(), nn.Linear(width, width))
        exponents = torch.arange(channels // 2, dtype=torch.float32) / (channels // 2)
        self.register_buffer("frequencies", torch.exp(-math.log(max_period) * exponents), persistent=False)

    def forward(self, t: Tensor) -> Tensor:
        angles = t[:, None].float() * self.frequencies
        return self.mlp(torch.cat([angles.cos(), angles.sin()], dim=-1))  # type: ignore[no-any-return]


class LabelEmbedder(nn.Module):
    """Class labels (B,) to vectors (B, D); the last row of the table stands for "no class"."""

    def __init__(self, num_classes: int, width: int) -> None:
        super().__init__()
        self.embedding_table = nn.Embedding(num_classes + 1, width)

    def forward(self, y: Tensor) -> Tensor:
        return self.embedding_table(y)  # type: ignore[no-any-return]


class Mlp(nn.Module):
    """Two linear layers with tanh GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.act = nn.GELU(approximate="tanh")
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))  # type: ignore[no-any-return]


class SwiGlu(nn.Module):
    """A gated MLP of three matrices without biases, `(silu(x G) * x U) D` (arXiv 2002.05202)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate_and_up = nn.Linear(width, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_and_up(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)  # type: ignore[no-any-return]


def norm(width: int, kind: str) -> nn.Module:
    """DiT's layer norm, which adaLN scales and shifts, or an RMS norm with weights."""
    if kind == "rms":
        return nn.RMSNorm(width, eps=1e-5)
    return nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)


def _mlp(kind: str, place: MixerContext, hidden: int) -> nn.Module:
    """What stands beside a mixer; see `Shell.mlp`."""
    if kind == "mix":
        return MixFfn(place.width, hidden, place.grid)
    return (SwiGlu if kind == "swiglu" else Mlp)(place.width, hidden)


class Block(nn.Module):
    """An adaLN-zero block around any token mixer: DiT's, but for what the family's shell changes."""

    def __init__(self, place: MixerContext, mixer: Mixer, shell: Shell, mlp_hidden: int | None) -> None:
        super().__init__()
        width = place.width
        self.norm1 = norm(width, shell.norm)
        self.mixer = mixer
        self.mlp: nn.Module | None = None
        if mlp_hidden is not None:
            self.norm2 = norm(width, shell.norm)
            self.mlp = _mlp(shell.mlp, place, mlp_hidden)
        self.convolution = DepthwiseConvolution(width, place.grid) if shell.convolution else None
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, (3 if self.mlp is None else 6) * width))

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        shift, scale, gate, *others = self.adaLN_modulation(c).chunk(3 if self.mlp is None else 6, dim=1)
        x = torch.addcmul(x, gate.unsqueeze(1), self.mixer(modulate(self.norm1(x), shift, scale), c))
        if self.mlp is not None:
            shift, scale, gate = others
            x = torch.addcmul(x, gate.unsqueeze(1), self.mlp(modulate(self.norm2(x), shift, scale)))
        return x if self.convolution is None else self.convolution(x)


class FinalLayer(nn.Module):
    """A norm, adaLN and a linear map of every token; or two norms and the map, see `Shell.head`."""

    def __init__(self, width: int, numbers: int, shell: Shell) -> None:
        super().__init__()
        self.norm_f, self.adaLN_modulation = None, None
        if shell.head == "zigma":
            self.norm_f, self.norm_final = norm(width, shell.norm), norm(width, "layer")
        else:
            self.norm_final = norm(width, shell.norm)
            self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))
        self.linear = nn.Linear(width, numbers)

    def forward(self, x: Tensor, c: Tensor, pooled: bool = False) -> Tensor:
        """Tokens (B, N, D) to (B, N, numbers); `pooled`: their mean to (B, numbers)."""
        x = self.norm_final(x if self.norm_f is None else self.norm_f(x))
        if self.adaLN_modulation is not None:
            x = modulate(x, *self.adaLN_modulation(c).chunk(2, dim=1))
        return self.linear(x.mean(1) if pooled else x)  # type: ignore[no-any-return]

    def initialise(self) -> None:
        """Zeros, but for the weights of a head without adaLN: those start as PyTorch's default."""
        for linear in (self.linear, *(self.adaLN_modulation or ())[1:]):
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)
        if self.adaLN_modulation is None:
            nn.init.kaiming_uniform_(self.linear.weight, a=5**0.5)


class Backbone(nn.Module):
    """A diffusion transformer with the token mixer of `family`.

    Called as `model(x, t, y=None)`: images or latents `x` (B, C, H, W), times `t` (B,) in the unit that the task
    chose, labels `y` (B,), -1 (or `y=None`) meaning "no class". Returns (B, `out_channels`, H, W) or, with the head
    `vector`, (B, `out_channels`).

    Attributes:
        grid: tokens along each side of an image.
        sides: of an image, in pixels.
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
        head: Head = "field",
        out_channels: int | None = None,
    ) -> None:
        super().__init__()
        depth, width, heads, mlp_hidden = dimensions
        self.patch, self.in_channels, self.num_classes, self.head = patch, in_channels, num_classes, head
        self.out_channels = in_channels if out_channels is None else out_channels
        self.grid = grid_of(input_size, patch)
        self.x_embedder = PatchEmbed(patch, in_channels, width)
        self.t_embedder = TimestepEmbedder(width)
        self.y_embedder = None if num_classes is None else LabelEmbedder(num_classes, width)
        # frozen, but a parameter, as in the reference: published parameter counts include it
        self.pos_embed = nn.Parameter(torch.zeros(1, self.grid[0] * self.grid[1], width), requires_grad=False)
        mixer_class, shell = family.mixer_class(), family.shell
        places = [
            MixerContext(width, heads or 1, self.grid, layer, depth, mlp_hidden is not None) for layer in range(depth)
        ]
        mixers = [mixer_class(place, options) for place in places]  # type: ignore[call-arg]
        self.blocks = nn.ModuleList(
            Block(place, mixer, shell, mlp_hidden) for place, mixer in zip(places, mixers, strict=True)
        )
        numbers = self.out_channels if head == "vector" else patch * patch * self.out_channels
        self.final_layer = FinalLayer(width, numbers, shell)
        self.mixer_implementation = mixers[0].implementation
        self._initialise()
        self.register_load_state_dict_pre_hook(_accept_reference_names)

    @property
    def sides(self) -> tuple[int, int]:
        """Pixels of an image along each side."""
        return self.grid[0] * self.patch, self.grid[1] * self.patch

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
        nn.init.normal_(self.t_embedder.mlp[0].weight, std=0.02)  # type: ignore[arg-type]
        nn.init.normal_(self.t_embedder.mlp[2].weight, std=0.02)  # type: ignore[arg-type]
        if self.y_embedder is not None:
            nn.init.normal_(self.y_embedder.embedding_table.weight, std=0.02)
        for module in self.modules():
            if isinstance(module, Mixer):
                module.initialise()
        for zeroed in (block.adaLN_modulation[-1] for block in self.blocks):  # type: ignore[index, union-attr]
            nn.init.zeros_(zeroed.weight)  # type: ignore[arg-type, union-attr]
            nn.init.zeros_(zeroed.bias)  # type: ignore[arg-type, union-attr]
        self.final_layer.initialise()

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """Predict for noisy images `x` (B, C, H, W) at times `t` (B,), given labels `y` (B,) or none."""
        c = self.t_embedder(t)
        if self.y_embedder is not None:
            assert self.num_classes is not None
            if y is None:
                y = torch.full((x.shape[0],), -1, device=x.device)
            c = c + self.y_embedder(torch.where(y < 0, self.num_classes, y))
        tokens = self.x_embedder(x) + self.pos_embed
        for block in self.blocks:
            tokens = block(tokens, c)
        if self.head == "vector":
            return self.final_layer(tokens, c, pooled=True)  # type: ignore[no-any-return]
        return self._unpatchify(self.final_layer(tokens, c))

    def _unpatchify(self, tokens: Tensor) -> Tensor:
        """(B, N, p p C) to (B, C, H, W)."""
        (h, w), p = self.grid, self.patch
        patches = tokens.view(-1, h, w, p, p, self.out_channels)
        return patches.permute(0, 5, 1, 3, 2, 4).reshape(-1, self.out_channels, h * p, w * p)


def create_model(
    name: str,
    *,
    input_size: InputSize = 32,
    in_channels: int = 4,
    num_classes: int | None = 1000,
    learn_sigma: bool = False,
    head: Head = "field",
    out_channels: int | None = None,
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
            differ.
        in_channels: channels of the images or latents.
        num_classes: classes to condition on, or None for an unconditional model.
        learn_sigma: predict a variance beside the mean, as DiT's published models do: twice the channels come out.
        head: `field`, values at every pixel, or `vector`, one vector for the whole image.
        out_channels: of what comes out; None: as many as the images have.
        depth: blocks, in place of the size's; likewise `width` (channels of a token), `heads` and `mlp_hidden`.
        **options: the family's own options.

    Under `torch.device("meta")` it allocates nothing.

    Raises:
        ModelError: an unknown name or option, an input size that the patch does not divide, or dimensions that do not
            fit each other.
    """
    family, size, patch = parse_name(name)
    try:
        chosen = family.options(**options)
    except ValidationError as error:
        problem = error.errors()[0]
        option = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            hint = did_you_mean(option, family.options.model_fields)
            raise ModelError(f"{name} takes no option '{option}'; {hint}") from None
        raise ModelError(f"{name}: option '{option}': {problem['msg']}, not {problem['input']!r}") from None
    for side in sides_of(input_size):
        if side % patch:
            raise ModelError(f"resolution {side} is not divisible by patch {patch}")
    return Backbone(
        family,
        family.dimensions(size, chosen, depth=depth, width=width, heads=heads, mlp_hidden=mlp_hidden),
        patch,
        chosen,
        input_size=input_size,
        in_channels=in_channels,
        num_classes=num_classes,
        head=head,
        out_channels=2 * in_channels if learn_sigma and out_channels is None else out_channels,
    )


def sincos_position_embedding(grid: tuple[int, int], width: int, scale: float = 1.0) -> Tensor:
    """Frozen 2-D sine-cosine position embedding, (1, h w, width), as in MAE and DiT: columns first, then rows.

    A token `scale` apart from the next: 0.5 gives a grid twice as fine over the same image.
    """
    h, w = grid
    omega = 10_000.0 ** (-torch.arange(width // 4, dtype=torch.float64, device="cpu") / (width / 4))
    rows, columns = torch.meshgrid(
        torch.arange(h, dtype=torch.float64, device="cpu"),
        torch.arange(w, dtype=torch.float64, device="cpu"),
        indexing="ij",
    )
    halves = []
    for position in (columns, rows):
        angles = position.reshape(-1, 1) * scale * omega
        halves += [angles.sin(), angles.cos()]
    return torch.cat(halves, dim=1).float().unsqueeze(0)


def _accept_reference_names(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Load DiT's published key names, in which the mixer of a block is called `attn`."""
    for key in [key for key in state if key.startswith(f"{prefix}blocks.") and ".attn." in key]:
        state[key.replace(".attn.", ".mixer.")] = state.pop(key)
