"""DiCo's mixer: a convolution whose channels are weighted by what is in the whole image."""

from __future__ import annotations

from pydantic import BaseModel
from torch import Tensor, nn
from torch.nn import functional as F

from pdebench.models.mixers.base import Mixer, MixerContext
from pdebench.ops.depthwise_convolution import DepthwiseConvolution


class ChannelWeightedConvolution(Mixer):
    """pointwise, depthwise 3 x 3, GELU, compact channel attention, pointwise (arXiv 2505.11196, eq. 3).

        y = W_2 (a * z)      z = GELU(conv(W_1 x))      a = sigmoid(W z_mean), z_mean the mean of all tokens

    Kept: all of the conv module, biases included, and Xavier initialisation of every weight (shallowdream204/DiCo),
    which of a depthwise weight counts all channels as its outputs, so that it starts small.

    Left out: DiCo's U-shape of three stages and five blocks of layers with its skips, downsampling and 3 x 3 stem and
    head; here the module is the mixer in DiT's isotropic shell, which DiCo's Table 4 has as one of three forms, without
    parameter counts. Changed: the MLP is DiT's, 4 times the width with tanh GELU, where DiCo's sizes S to XL have 2
    times and the exact one.

    A token sees its eight neighbours and, through the weights of the channels, the mean of all tokens.
    """

    implementation = "conv2d"

    def __init__(self, place: MixerContext, options: BaseModel) -> None:
        super().__init__()
        width = place.width
        self.in_proj = nn.Linear(width, width)
        self.convolution = DepthwiseConvolution(width, place.grid)
        self.attention = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def initialise(self) -> None:
        """The depthwise weight by Xavier's rule too; its bias is zero."""
        nn.init.xavier_uniform_(self.convolution.weight)

    def forward(self, x: Tensor, c: Tensor | None) -> Tensor:
        """Mix tokens `x` (B, N, D)."""
        z = F.gelu(self.convolution(self.in_proj(x)))
        weights = self.attention(z.mean(1, keepdim=True)).sigmoid()
        return self.out_proj(z * weights)  # type: ignore[no-any-return]
