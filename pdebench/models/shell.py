"""What a family's paper changes around its mixer. Importing this imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Head = Literal["field", "tokens", "vector"]
"""What a backbone puts out: values at every pixel, at every token, or one vector for the whole image."""


@dataclass(frozen=True)
class Shell:
    """The blocks around a mixer; the defaults are DiT's.

    Attributes:
        mlp: `gelu`: DiT's MLP, 4 times the width; `narrowed`: the same, its hidden width cut so that the block has
            DiT's parameters; `swiglu`: a gated MLP of three matrices; `mix`: a gated one with a 3 x 3 depthwise
            convolution, 2.5 times the width; `none`: the mixer is all of a block, and adaLN has three parts instead of
            six.
        deeper: blocks for each block of DiT.
        norm: `layer`: a layer norm without weights; `rms`: an RMS norm with weights.
        head: `dit`: the blocks' norm, adaLN and a linear layer, the last two of zeros at first; `zigma`: the blocks'
            norm, a layer norm without weights and a linear layer that starts as PyTorch's own, its biases at zero.
        convolution: a 3 x 3 depthwise convolution, the identity at first, ends each block.
    """

    mlp: Literal["gelu", "narrowed", "swiglu", "mix", "none"] = "gelu"
    deeper: int = 1
    norm: Literal["layer", "rms"] = "layer"
    head: Literal["dit", "zigma"] = "dit"
    convolution: bool = False


DIT = Shell()
