"""Parameters and MACs of every family's mixer by hand. Importing this imports no torch.

They size a family to another's cost where a suite is read, and they are the independent computation that the counter on
the meta device is held to (`plan/cost.py`): what a mixer is made of, and of which sizes, stands here again. What an
operation of some size costs is the same formula for both (`ops/macs.py`).

In the formulas `d` is the width, `n` the tokens.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from pdebench.models.mixer_context import MixerContext
from pdebench.ops import macs


class Cost(NamedTuple):
    """Parameters, multiply-accumulates of one image's forward pass, and how many of the parameters are idle.

    Idle are those that never act: directions in which the parameters can be moved without any output changing, whatever
    the others are. Published counts have them, and so has `params`; to match a family by its parameters (`matching.py`)
    they are left out, as they would be dead weight. DiT's have them too, which are not held against it: the bias of its
    keys, d of a block's 18 d^2, adds the same to all scores of a query, and softmax takes it away.
    """

    params: int
    macs: float
    idle: int = 0

    def __add__(self, other: object) -> Cost:
        assert isinstance(other, Cost)
        return Cost(self.params + other.params, self.macs + other.macs, self.idle + other.idle)

    def times(self, count: int) -> Cost:
        """As many of these."""
        return Cost(self.params * count, self.macs * count, self.idle * count)


def linear(inputs: int, outputs: int, tokens: int, bias: bool = True) -> Cost:
    """A linear layer applied to every token."""
    return Cost(inputs * outputs + outputs * bias, tokens * inputs * outputs)


# ---- mixers: (place, options) -> Cost


def attention(place: MixerContext, options: Any) -> Cost:
    """4 d^2 + 4 d parameters; n 4 d^2 + 2 n m d MACs, as a token sees m: all, or those of a frame or a place."""
    d, n = place.width, place.tokens
    seen = n
    if options.attention == "factorised":
        seen = place.grid[0] if place.layer % 2 else n // place.grid[0]
    return linear(d, 3 * d, n) + linear(d, d, n) + Cost(0, macs.attention(n * seen, d, d)) + _qk_norm(place)


def pde(place: MixerContext, options: Any) -> Cost:
    """In- and out-projection, a few numbers a state, two transforms and a product on the half spectrum.

    With edges the transforms are products with matrices of cosines or sines, and the product with real numbers is
    pointwise.
    Without any term C and D only act as their sum, and there is no time to be moved.
    """
    d, n = place.width, place.tokens
    axes = len(place.grid)
    terms = {"full": axes * (axes + 1) // 2, "diagonal": axes, "isotropic": 1, "off": 0}[options.diffusion]
    terms += axes * options.convection + options.reaction + 1
    side = 2 if options.padding == "zero" else 1
    grid = [side * length for length in place.grid]
    cost = linear(d, d, n).times(2 + options.gate) + Cost(d * (1 + terms * options.states), 0)
    tau = linear(d, d, 1) if options.selective else Cost(0, 0)
    idle = 0 if terms > 1 else d * options.states + tau.params
    edges = options.boundary != "periodic"
    return cost + tau + Cost(0, d * (2 * macs.cosine_transform(*grid) if edges else _spectral(*grid)), idle)


def mamba(place: MixerContext, options: Any, directions: int = 2) -> Cost:
    """Mamba-1: 6 d^2 + directions 2 d (2 r + 55) parameters, r = ceil(d / 16), 16 states, 4 taps, expansion 2."""
    d, n = place.width, place.tokens
    inner, rank, states, taps = 2 * d, math.ceil(d / 16), 16, 4
    projections = linear(d, 2 * inner, n, bias=False) + linear(inner, d, n, bias=False)
    direction = linear(inner, rank + 2 * states, n, bias=False) + linear(rank, inner, n)
    direction += Cost(inner * (taps + 1), macs.convolution(n * inner, taps))
    direction += Cost(inner * (states + 1), macs.scan(n * inner * states))  # A, D
    return projections + direction.times(directions)


def zigma(place: MixerContext, options: Any) -> Cost:
    """Mamba-1 in one direction; the zigzag costs nothing."""
    return mamba(place, options, directions=1)


def mamba2(place: MixerContext, options: Any) -> Cost:
    """Mamba-2: 6 d^2 + d (2 s + h) + 12 d + 10 s + 3 h parameters, s = 128 states, h = d / 32 heads of 64 channels."""
    d, n = place.width, place.tokens
    inner, states, taps = 2 * d, 128, 4
    heads, mixed = inner // 64, inner + 2 * states  # channels of x, B and C
    projections = linear(d, inner + mixed + heads, n, bias=False) + linear(inner, d, n, bias=False)
    convolution = Cost(mixed * (taps + 1), macs.convolution(n * mixed, taps))
    scanned = Cost(3 * heads, macs.scan(n * inner * states))  # A, D, the bias of dt
    return projections + convolution + scanned + Cost(inner, macs.norm(n * inner))


def dig(place: MixerContext, options: Any) -> Cost:
    """Gated linear attention: 4 d^2 + 24.5 d + d / heads parameters; q and k have half the width, g is of rank 16."""
    d, n, head, rank = place.width, place.tokens, place.width // place.heads, 16
    projections = linear(d, 3 * d + rank, n, bias=False) + linear(rank, d // 2, n) + linear(d, d, n, bias=False)
    return projections + Cost(head, macs.norm(n * d)) + Cost(0, macs.scan(n * (d // 2) * head))


def s4d(place: MixerContext, options: Any) -> Cost:
    """In- and out-projection; dt, D and 32 complex A and 2 x 32 C a channel; a convolution of 2 n points."""
    d, n, states = place.width, place.tokens, 32
    return linear(d, d, n).times(2) + Cost(d * (2 + 6 * states), d * _spectral(2 * n))


def gfnet(place: MixerContext, options: Any) -> Cost:
    """A complex number a channel and frequency of the half spectrum; as many of them act as a real kernel has points.

    `irfft2` makes a real kernel of any filter: of the columns at 0 and, for an even w, at Nyquist, which mirror
    themselves, it uses the Hermitian part, h real numbers of 2 h. The h others of each are idle.
    """
    d = place.width
    params = 2 * d * macs.frequencies(*place.grid)
    return Cost(params, d * _spectral(*place.grid), params - d * place.tokens)


def afno(place: MixerContext, options: Any) -> Cost:
    """d^2 / 2 + 4 d parameters: two complex layers of 8 blocks, a complex product of matrices being 4 real ones."""
    d, blocks = place.width, 8
    layer = linear(2 * d, 2 * d // blocks, macs.frequencies(*place.grid), bias=False)
    return Cost(2 * (2 * d * d // blocks + 2 * d), 2 * layer.macs + 2 * d * macs.fft(*place.grid))


def vheat(place: MixerContext, options: Any) -> Cost:
    """4 d^2 + 16 d + n d parameters: convolution, projections to tokens and gate, norm; conductivity by frequency.

    A constant does not conduct: the embedding of the first of the n frequencies never acts. Nor does a constant that is
    the same in all channels, one direction of the in-projection's bias, which the norm takes away.
    """
    d, n = place.width, place.tokens
    tokens = _depthwise(d, n) + linear(d, 2 * d, n) + Cost(2 * d, macs.norm(n * d)) + linear(d, d, n)
    conducted = Cost(n * d, 2 * d * macs.cosine_transform(*place.grid), d + 1)
    return tokens + linear(d, d, 0) + conducted


def wave(place: MixerContext, options: Any) -> Cost:
    """4 d^2 + 18 d parameters: convolution, projections to two fields and the gate, speed and damping, norm.

    A displacement that is one constant in all channels never acts, as in `vheat`.
    """
    d, n = place.width, place.tokens
    tokens = _depthwise(d, n) + linear(d, 3 * d, n) + Cost(2 * d, macs.norm(n * d)) + linear(d, d, n)
    return tokens + Cost(2 * d, d * (4 * macs.fft(*place.grid) + macs.COMPLEX_PRODUCT * n), 1)


def dico(place: MixerContext, options: Any) -> Cost:
    """3 d^2 + 13 d parameters: two pointwise layers around a convolution, and a layer on the mean of the tokens."""
    d, n = place.width, place.tokens
    return linear(d, d, n).times(2) + _depthwise(d, n) + linear(d, d, 1)


def linear_attention(place: MixerContext, options: Any) -> Cost:
    """4 d^2 + d parameters; per head two products with its values and a column of ones, which is summed under rope."""
    d, n, head = place.width, place.tokens, place.width // place.heads
    mixed = Cost(0, 2 * n * d * (head + 1) - n * d * place.rope)
    return linear(d, 3 * d, n, bias=False) + linear(d, d, n) + mixed + _qk_norm(place)


def ssm2d(place: MixerContext, options: Any) -> Cost:
    """In- and out-projection; of 16 states 6 numbers of 2 systems a direction, 2 a channel and direction; D.

    The convolution is of twice as many tokens along each axis.
    """
    d, n, states, systems = place.width, place.tokens, 16, 2
    dynamics = options.directions * states * (6 * systems + 2 * d)
    return linear(d, d, n).times(2) + Cost(dynamics + d, d * _spectral(*(2 * side for side in place.grid)))


def hyena(place: MixerContext, options: Any) -> Cost:
    """4 d^2 + 151 d + 6400 parameters: projections, a 5 x 5 convolution of 3 d channels, norms, the filter's network.

    The network draws the filter once for all images. Of the 8 harmonics along an axis of s tokens no more than s - 1
    sines and as many cosines differ at its 2 s - 1 displacements: weights of the others, for each of 64 hidden
    channels, do what these do already.
    """
    d, n, hidden, harmonics = place.width, place.tokens, 64, 8
    tokens = linear(d, 3 * d, n) + _depthwise(3 * d, n, 25) + Cost(2 * d, 2 * macs.norm(n * d)) + linear(d, d, n)
    network = linear(4 * harmonics, hidden, 0) + linear(hidden, hidden, 0) + linear(hidden, d, 0, bias=False)
    alike = sum(2 * max(0, harmonics - (side - 1)) for side in place.grid)
    filtered = Cost(2 * hidden + 3 * d, d * _spectral(*(2 * side for side in place.grid)), hidden * alike)
    return tokens + network + filtered


def none(place: MixerContext, options: Any) -> Cost:
    """d^2 + d parameters, n d^2 MACs."""
    return linear(place.width, place.width, place.tokens)


def _qk_norm(place: MixerContext) -> Cost:
    """Two norms, each of as many weights as a head has channels, where there are any."""
    return Cost(2 * (place.width // place.heads), 2 * macs.norm(place.tokens * place.width)).times(place.qk_norm)


def _depthwise(d: int, n: int, taps: int = 9) -> Cost:
    """A depthwise convolution with a bias, 3 x 3 where not said."""
    return Cost((taps + 1) * d, macs.convolution(n * d, taps))


def _spectral(*grid: int) -> float:
    """MACs of the spectral product of one channel."""
    return sum(macs.spectral_product(*grid).values())


# ---- the shell


def mlp_hidden(kind: str, place: MixerContext, mixer: Cost) -> int:
    """Hidden width of the MLP beside a mixer; 0 where there is none. See `Shell.mlp`."""
    d = place.width
    if kind == "gelu":
        return 4 * d
    if kind == "swiglu":  # LLaMA's: 8 / 3 of the width, up to a multiple of 256 (arXiv 2302.13971)
        return 256 * math.ceil((8 * d // 3) / 256)
    if kind == "gated":  # LightningDiT's: 2 / 3 of DiT's, down to a whole number
        return 8 * d // 3
    if kind == "mix":  # SANA's: 2.5 times the width (arXiv 2410.10629, table 6)
        return 5 * d // 2
    if kind in ("narrowed", "narrowed gated"):  # DiT's attention and MLP have 12 d^2 + 9 d parameters; in steps of 4
        a_channel = 2 * d + 1 if kind == "narrowed" else 3 * d + 2
        return max(4, 4 * round((12 * d * d + 9 * d - mixer.params - d) / a_channel / 4))
    return 0
