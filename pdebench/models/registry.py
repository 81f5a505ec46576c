"""The families of backbones that a suite can name. Importing this module imports no torch.

A new token mixer is one file under `mixers/`, its cost in `closed_form.py` and one entry here. A package outside this
one adds a family with an entry point in the group `pdebench.families` that has its name and resolves to a `Family`;
`pdebench.registry` says what happens to one that is broken or takes a name that is taken.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import BaseModel

from pdebench.errors import FOREIGN, DimensionError, ModelError, did_you_mean, out_of_memory
from pdebench.models import closed_form
from pdebench.models.closed_form import Cost
from pdebench.models.grid import KINDS
from pdebench.models.mixer_context import MixerContext
from pdebench.models.options import AttentionOptions, NoOptions, PDEOptions, SSM2DOptions
from pdebench.models.shell import DIT, Shell
from pdebench.models.shell_options import ShellOptions
from pdebench.models.sizes import SIZES, Size
from pdebench.registry import Registry

if TYPE_CHECKING:
    from pdebench.models.mixers.base import Mixer
    from pdebench.ops.operand import Handles


class Dimensions(NamedTuple):
    """A backbone's size, resolved; null is what its family has none of."""

    depth: int
    width: int
    heads: int | None
    mlp_hidden: int | None


@dataclass(frozen=True)
class Family:
    """A token mixer in the shell of a diffusion transformer.

    Attributes:
        name: as a suite writes it, e.g. `PDE-SSM-DiT`.
        mixer: where the mixer's class is, `module:Class`; imported when a model is built.
        summary: one line for `pdebench list models`.
        paper: where the mixer comes from.
        cost: parameters and MACs of one mixer, of its place and options.
        options: the pydantic model of what a suite may choose.
        shell: what the family's paper changes around the mixer.
        heads: the width must be a multiple of this many times the heads; 0: the mixer has no heads.
        multiple: the width must be a multiple of it.
        bound_to_grid: the weights serve one grid of tokens only.
        axes: how many axes the grids have that the mixer takes: 2 are images, 3 clips of (t, h, w), 1 sequences.
        unfit: of a grid with so many axes and the options, a sentence that says why they do not fit, or None where they
            do; it is asked besides, where a suite is read and where a model is built.
        cycle: of the axes and the options, after how many layers a layer of the same kind comes again, where some cost
            other than others; None: all cost the same.
        queries_and_keys: the mixer has them, turns them where `place.rope` says so, and norms them where
            `place.qk_norm` does.
        sizes: sizes that differ from the shell's deepening of the one table, as published.
        revision: raised when the same configuration comes to other numbers: its cells are then others.
        neutral: options that came after results had been kept, each with the value that means what was done before;
            see `identity.py`.
        conditioned_options: options that act by the conditioning vector, refused at any value but their defaults
            where a task conditions on nothing.
        handles: what operations cost that the counter does not know, by their names in `macs_uncounted`: a function
            in Python `prim::PythonOp.NAME`, an operator `package::name`. Each is given what the operation was given and
            what came out, tensors as objects with a `shape`, and returns MACs by kind: `lambda inputs, outputs:
            {"scan": 3 * outputs[0].size * 16}`. Predicted times rest on the handles of operators too. There an operator
            of the backward pass has one of its own, which `backward` in `ops/operand.py` makes of forward's; a function
            in Python has none, but counts as the operators that it calls.
        colour: in charts, `#rrggbb`; None: one that no built-in family has, chosen by the name.
        mark: in charts, an SVG path within about 1 of the origin such as `M-1,-1H1V1H-1Z`; None: chosen by the name.
    """

    name: str
    mixer: str
    summary: str
    paper: str
    cost: Callable[[MixerContext, Any], Cost]
    options: type[BaseModel] = NoOptions
    shell: Shell = DIT
    heads: int = 0
    multiple: int = 4  # the position embedding has sines and cosines of two coordinates
    bound_to_grid: bool = False
    axes: tuple[int, ...] = (2,)
    unfit: Callable[[tuple[int, ...], Any], str | None] | None = None
    cycle: Callable[[int, Any], int] | None = None
    queries_and_keys: bool = False
    sizes: Mapping[str, Size] = field(default_factory=dict)
    revision: int = 1
    neutral: Mapping[str, Any] = field(default_factory=dict)
    conditioned_options: tuple[str, ...] = ()
    handles: Handles = field(default_factory=dict)
    colour: str | None = None
    mark: str | None = None

    def __post_init__(self) -> None:
        """Refuse what could not be sized or drawn: a narrowed MLP is one number for every grid."""
        if self.shell.mlp.startswith("narrowed") and self.bound_to_grid:
            raise ModelError(f"family {self.name}: the MLP of a mixer that is bound to its grid cannot be narrowed")
        if (self.shell.convolution or self.shell.mlp == "mix") and self.axes != (2,):
            raise ModelError(f"family {self.name}: the convolution of its shell is of images; axes must be (2,)")
        if self.colour is not None and not re.fullmatch("#[0-9a-fA-F]{6}", self.colour):
            raise ModelError(f"family {self.name}: colour must be #rrggbb, not '{self.colour}'")
        if self.mark is not None and not re.fullmatch("[Mm][MLHVCSQTAZmlhvcsqtaz0-9., +-]+", self.mark):
            raise ModelError(f"family {self.name}: mark must be an SVG path, not '{self.mark}'")

    @property
    def of_another_package(self) -> bool:
        """Whether its mixer is none of ours."""
        return re.split("[.:]", self.mixer)[0] != __name__.partition(".")[0]

    def in_shell(self, asked: ShellOptions) -> Family:
        """The family in another shell than DiT's, so far as it can have it; see `shell_options.py`."""
        shell = asked.applied(self)
        return self if shell == self.shell else replace(self, shell=shell)

    def refusal(self, grid: tuple[int, ...], options: BaseModel) -> str | None:
        """Why the family takes no such grid of tokens with these options, in one sentence; None where it does."""
        if len(grid) not in self.axes:
            taken = " and ".join(KINDS[axes] for axes in sorted(self.axes, reverse=True))
            return f"{self.name} takes {taken} only: its mixer has no form for {KINDS[len(grid)]}"
        return None if self.unfit is None else self.unfit(grid, options)

    def layers_of_a_cycle(self, axes: int, options: BaseModel) -> int:
        """After how many layers one of the same cost comes again."""
        return 1 if self.cycle is None else self.cycle(axes, options)

    def mixer_class(self) -> type[Mixer]:
        """Import and return the mixer's class.

        Raises:
            ModelError: it cannot be imported.
        """
        module, _, attribute = self.mixer.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)  # type: ignore[no-any-return]
        except FOREIGN as error:
            if out_of_memory(error):
                raise
            said = f"{type(error).__name__}: {error}"
            raise ModelError(f"family '{self.name}': its mixer {self.mixer} cannot be imported: {said}") from error

    def cost_of(self, place: MixerContext, options: BaseModel) -> Cost:
        """Parameters and MACs of one mixer by hand.

        Raises:
            ModelError: another package's formula fails, or gives no `Cost`.
        """
        try:
            found = self.cost(place, options)
            if not isinstance(found, Cost):
                raise TypeError(f"it gives {found!r:.80}, which is no Cost")
        except FOREIGN as error:
            if not self.of_another_package or out_of_memory(error):
                raise
            said = " ".join(f"{type(error).__name__}: {error}".split())
            raise ModelError(f"family '{self.name}': its cost by hand fails: {said}; mend its `cost`") from error
        return found

    def size(self, name: str) -> Size:
        """Depth, width and heads that this family has at a size of the table."""
        if name in self.sizes:
            return self.sizes[name]
        depth, width, heads = SIZES[name]
        return Size(depth * self.shell.deeper, width, heads)

    def conditioned_option(self, options: Mapping[str, Any]) -> str | None:
        """The first of these options that a model without conditioning cannot have; None: it can have all."""
        fields = self.options.model_fields
        return next(
            (n for n in self.conditioned_options if options.get(n, fields[n].default) != fields[n].default), None
        )

    def head_size(self, name: str) -> int:
        """Channels of a head at a size of the table."""
        _, width, heads = self.size(name)
        return width // heads

    def dimensions(
        self,
        size: str,
        options: BaseModel,
        *,
        depth: int | None = None,
        width: int | None = None,
        heads: int | None = None,
        mlp_hidden: int | None = None,
    ) -> Dimensions:
        """The dimensions at a size of the table, with those that are given in place of its own.

        A width without heads keeps the channels of a head where they divide it.

        Raises:
            DimensionError: something is given that the family has none of, or that does not divide.
            ModelError: as `cost_of`, where the mixer's cost decides the MLP's width.
        """
        table = self.size(size)
        depth, chosen = depth or table.depth, width or table.width
        if heads is not None and not self.heads:
            raise DimensionError("heads", f"{self.name} has no heads; leave heads out")
        if mlp_hidden is not None and self.shell.mlp == "none":
            raise DimensionError("mlp_hidden", f"{self.name} has no MLP; leave mlp_hidden out")
        if self.heads and heads is None:
            size_of_head = self.head_size(size)
            heads = chosen // size_of_head if chosen % size_of_head == 0 else table.heads
        if heads and chosen % (self.heads * heads):
            must = f"{heads} heads" if self.heads == 1 else f"{self.heads} x {heads} heads"
            raise DimensionError("heads" if width is None else "width", f"{must} do not divide width {chosen}")
        if chosen % self.multiple:
            raise DimensionError("width", f"width {chosen} is not a multiple of {self.multiple}, as {self.name} needs")
        if mlp_hidden is None and self.shell.mlp != "none":
            place = MixerContext(chosen, heads or 1, (1, 1), 0, depth, mlp=True)
            mlp_hidden = closed_form.mlp_hidden(self.shell.mlp, place, self.cost_of(place, options))
        return Dimensions(depth, chosen, heads, mlp_hidden)


def _no_time_to_factorise(grid: tuple[int, ...], options: AttentionOptions) -> str | None:
    if options.attention == "full" or len(grid) == 3:
        return None
    return f"attention: factorised is for clips, which have space and time; {KINDS[len(grid)]} have one of them"


_MIXERS = "pdebench.models.mixers"
_ANY = (1, 2, 3)
_BUILT_IN = (
    Family(
        "PDE-SSM-DiT",
        f"{_MIXERS}.pde:PDEMixer",
        "convection-diffusion-reaction PDE solved by FFT",
        "arXiv 2603.13663",
        closed_form.pde,
        options=PDEOptions,
        axes=_ANY,
        conditioned_options=("selective",),
        revision=2,
        neutral={"boundary": "periodic"},
    ),
    Family(
        "DiT",
        f"{_MIXERS}.attention:Attention",
        "softmax attention, the reference",
        "arXiv 2212.09748",
        closed_form.attention,
        options=AttentionOptions,
        heads=1,
        queries_and_keys=True,
        axes=_ANY,
        unfit=_no_time_to_factorise,
        cycle=lambda axes, options: 2 if options.attention == "factorised" else 1,
        neutral={"attention": "full"},
    ),
    Family(
        "Mamba-DiT",
        f"{_MIXERS}.mamba:BidirectionalMamba",
        "bidirectional Mamba-1, a drop-in control",
        "arXiv 2312.00752",
        closed_form.mamba,
        shell=Shell(mlp="narrowed"),
        axes=_ANY,
        revision=2,
    ),
    Family(
        "DiS",
        f"{_MIXERS}.mamba:BidirectionalMamba",
        "DiS's mixer and sizes: bidirectional Mamba-1, no MLP; no long skips",
        "arXiv 2402.05608",
        closed_form.mamba,
        shell=Shell(mlp="none", deeper=2),
        # feizc/DiS: two halves and a block between them; it has no Ti, XS, XXS and XL, which are ours
        sizes={"S": Size(25, 368, 6), "B": Size(25, 768, 12), "L": Size(49, 1024, 16)},
        axes=_ANY,
        revision=2,
    ),
    Family(
        "ZigMa",
        f"{_MIXERS}.zigma:ZigzagMamba",
        "Mamba-1 along one of eight zigzags a layer, without an MLP",
        "arXiv 2403.13802",
        closed_form.zigma,
        shell=Shell(mlp="none", deeper=2, norm="rms", head="zigma"),
        sizes={"S": Size(24, 368, 6)},
        axes=(2, 3),
        cycle=lambda axes, options: 2 if axes == 3 else 1,
        revision=2,
    ),
    Family(
        "Mamba2-DiT",
        f"{_MIXERS}.mamba2:Mamba2",
        "Mamba-2 in one of four directions a layer",
        "arXiv 2405.21060",
        closed_form.mamba2,
        shell=Shell(mlp="narrowed"),
        multiple=32,
        revision=2,
    ),
    Family(
        "DiG",
        f"{_MIXERS}.dig:DiG",
        "gated linear attention in one of four directions a layer",
        "arXiv 2405.18428",
        closed_form.dig,
        shell=Shell(mlp="swiglu", convolution=True),
        heads=2,
        sizes={"XL": Size(28, 1152, 18)},
    ),
    Family(
        "S4D-DiT",
        f"{_MIXERS}.s4d:S4DMixer",
        "bidirectional S4D by FFT without gates, the PDE's 1-D ancestor",
        "arXiv 2206.11893",
        closed_form.s4d,
        axes=_ANY,
    ),
    Family(
        "GFNet-DiT",
        f"{_MIXERS}.gfnet:GlobalFilter",
        "a free complex filter a channel and frequency",
        "arXiv 2107.00645",
        closed_form.gfnet,
        bound_to_grid=True,
        axes=_ANY,
    ),
    Family(
        "AFNO-DiT",
        f"{_MIXERS}.afno:AdaptiveFourier",
        "one block-diagonal complex MLP for all frequencies",
        "arXiv 2111.13587",
        closed_form.afno,
        multiple=8,
        axes=_ANY,
    ),
    Family(
        "vHeat-DiT",
        f"{_MIXERS}.vheat:HeatConduction",
        "heat conduction by cosine transforms, a conductivity a channel and frequency",
        "arXiv 2405.16555",
        closed_form.vheat,
        bound_to_grid=True,
    ),
    Family(
        "Wave-DiT",
        f"{_MIXERS}.wave:DampedWave",
        "the damped wave equation by FFT, WaveFormer's operator",
        "arXiv 2601.08602",
        closed_form.wave,
    ),
    Family(
        "DiCo",
        f"{_MIXERS}.dico:ChannelWeightedConvolution",
        "DiCo's convolution and channel attention; not its U shape",
        "arXiv 2505.11196",
        closed_form.dico,
    ),
    Family(
        "Linear-DiT",
        f"{_MIXERS}.linear_attention:LinearAttention",
        "SANA's ReLU linear attention and mix-FFN",
        "arXiv 2410.10629",
        closed_form.linear_attention,
        shell=Shell(mlp="mix"),
        heads=1,
        queries_and_keys=True,
        # heads of 32 channels, as in SANA's table 6
        sizes={name: Size(size.depth, size.width, size.width // 32) for name, size in SIZES.items()},
    ),
    Family(
        "SSM2D-DiT",
        f"{_MIXERS}.ssm2d:SSM2DMixer",
        "2-D SSM by FFT: Roesser's state space, into four corners",
        "arXiv 2306.06635",
        closed_form.ssm2d,
        options=SSM2DOptions,
    ),
    Family(
        "Hyena2D-DiT",
        f"{_MIXERS}.hyena:Hyena2D",
        "HyenaPixel's global filter, drawn by a network, between two gates",
        "arXiv 2402.19305",
        closed_form.hyena,
    ),
    Family(
        "None-DiT",
        f"{_MIXERS}.none:PerToken",
        "no mixing: one linear layer a token, the floor",
        "ours",
        closed_form.none,
        axes=_ANY,
    ),
)


FAMILIES = Registry("family", "pdebench.families", Family, _BUILT_IN, ModelError)


def parse_name(name: str) -> tuple[Family, str, int]:
    """Split `PDE-SSM-DiT-S/2` into its family, its size and its patch.

    Raises:
        ModelError: the name is not of the form FAMILY-SIZE/PATCH, names an unknown family or size, or a family of
            another package that is not to be had.
    """
    stem, slash, patch = name.rpartition("/")
    family, dash, size = stem.rpartition("-")
    if not (slash and dash and patch.isdigit() and int(patch) > 0):
        raise ModelError(f"model name '{name}' is not FAMILY-SIZE/PATCH, such as 'PDE-SSM-DiT-S/2'")
    try:
        found = FAMILIES.find(family)
    except ModelError as error:
        raise ModelError(f"model name '{name}': {error}") from error
    if size not in SIZES:
        raise ModelError(f"model name '{name}': unknown size '{size}'; {did_you_mean(size, SIZES)}")
    return found, size, int(patch)
