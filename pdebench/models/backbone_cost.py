"""Parameters and MACs of a whole backbone by hand: its mixers and the shell. Importing this imports no torch."""

from __future__ import annotations

from typing import Any

from pdebench.models.closed_form import Cost, linear
from pdebench.models.grid import InputSize, grid_of
from pdebench.models.mixer_context import MixerContext
from pdebench.models.registry import Dimensions, Family
from pdebench.models.shell import Head
from pdebench.ops import macs


def backbone_cost(
    family: Family,
    dimensions: Dimensions,
    patch: int,
    options: Any,
    *,
    input_size: InputSize,
    in_channels: int = 4,
    num_classes: int | None = 1000,
    learn_sigma: bool = False,
    head: Head = "field",
    out_channels: int | None = None,
) -> Cost:
    """A whole backbone; arguments as of `create_model`."""
    shell, (depth, d, heads, hidden) = family.shell, dimensions
    grid = grid_of(input_size, patch)
    place = MixerContext(d, heads or 1, grid, 0, depth, hidden is not None)
    n, pixels = place.tokens, patch * patch * in_channels
    norm = Cost(d if shell.norm == "rms" else 0, macs.norm(n * d))
    block = family.cost(place, options) + norm
    if hidden is None:
        block += linear(d, 3 * d, 1)
    else:
        block += _mlp(shell.mlp, d, hidden, n) + norm + linear(d, 6 * d, 1)
    if shell.convolution:
        block += Cost(10 * d, macs.convolution(n * d, 9))
    embedders = linear(pixels, d, n) + linear(256, d, 1) + linear(d, d, 1)
    embedders += Cost(n * d + (0 if num_classes is None else (num_classes + 1) * d), 0)
    made = out_channels or in_channels * (2 if learn_sigma else 1)
    last = norm + (linear(d, made, 1) if head == "vector" else linear(d, patch * patch * made, n))
    last += linear(d, 2 * d, 1) if shell.head == "dit" else Cost(0, macs.norm(n * d))  # adaLN, or a second norm
    return embedders + block.times(depth) + last


def _mlp(kind: str, d: int, hidden: int, n: int) -> Cost:
    """What stands beside a mixer; see `Shell.mlp`."""
    if kind == "mix":
        convolved = 2 * hidden
        convolution = Cost(10 * convolved, macs.convolution(n * convolved, 9))
        return linear(d, convolved, n) + convolution + linear(hidden, d, n, bias=False)
    gates, bias = (2, False) if kind == "swiglu" else (1, True)
    return linear(d, gates * hidden, n, bias) + linear(hidden, d, n, bias)
