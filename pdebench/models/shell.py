"""The blocks around a mixer, and what a family's paper changes in them. Importing this imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Head = Literal["field", "tokens", "vector"]
"""What a backbone puts out: values at every pixel, at every token, or one vector for the whole image."""


@dataclass(frozen=True)
class Shell:
    """The blocks around a mixer; the defaults are DiT's.

    The first six are a family's own. A suite changes the shell of all families alike (`shell_options.py`): their norm
    and MLP where the family's paper leaves DiT's, and the last four, which no family sets by itself.

    Attributes:
        mlp: `gelu`: DiT's MLP, 4 times the width; `narrowed`: the same, its hidden width cut so that the block has
            DiT's parameters; `swiglu`: a gated MLP of three matrices; `mix`: a gated one with a 3 x 3 depthwise
            convolution, 2.5 times the width; `none`: the mixer is all of a block, and adaLN has three parts instead of
            six; `gated` and `narrowed gated`: LightningDiT's SwiGLU, with biases and 8 / 3 of the width, in the place
            of `gelu` and of `narrowed`.
        deeper: blocks for each block of DiT.
        norm: `layer`: a layer norm without weights; `rms`: an RMS norm with weights.
        rms_epsilon: what an RMS norm adds to the mean square.
        head: `dit`: the blocks' norm, adaLN and a linear layer, the last two of zeros at first; `zigma`: the blocks'
            norm, a layer norm without weights and a linear layer that starts as PyTorch's own, its biases at zero.
        convolution: a 3 x 3 depthwise convolution, the identity at first, ends each block.
        rope: queries and keys are turned by their tokens' places.
        qk_norm: queries and keys have an RMS norm in each head.
        skips: blocks of the second half are given what left their partners of the first.
        adaln: `full`: each block has an MLP of its own; `single`: one for all, and each a table.
    """

    mlp: Literal["gelu", "narrowed", "swiglu", "mix", "none", "gated", "narrowed gated"] = "gelu"
    deeper: int = 1
    norm: Literal["layer", "rms"] = "layer"
    rms_epsilon: float = 1e-5
    head: Literal["dit", "zigma"] = "dit"
    convolution: bool = False
    rope: bool = False
    qk_norm: bool = False
    skips: bool = False
    adaln: Literal["full", "single"] = "full"

    def skips_of(self, depth: int) -> int:
        """How many blocks at the end have a partner at the beginning: all but the one, or two, in the middle.

        Of fewer than three blocks none has.
        """
        return (depth - 1) // 2 if self.skips else 0


DIT = Shell()
