"""Parameters and MACs of a whole backbone by hand: its mixers and the shell. Importing this imports no torch."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from pdebench.models.closed_form import Cost, linear
from pdebench.models.grid import InputSize, grid_of, patches_of
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
    patch_frames: int = 1,
    head: Head = "field",
    out_channels: int | None = None,
    conditioned: bool = True,
) -> Cost:
    """A whole backbone; arguments as of `create_model`.

    Raises:
        ModelError: the formula of another package's family fails.
    """
    shell, (depth, d, heads, hidden) = family.shell, dimensions
    grid = grid_of(input_size, patch, patch_frames)
    place = MixerContext(d, heads or 1, grid, 0, depth, hidden is not None, shell.rope, shell.qk_norm)
    n, pixels_of_patch = place.tokens, math.prod(patches_of(len(grid), patch, patch_frames))
    weights = d if shell.norm == "rms" else 0 if conditioned else 2 * d
    norm = Cost(weights, macs.norm(n * d))
    modulation = linear(d, (3 if hidden is None else 6) * d, 1)
    single = shell.adaln == "single"

    def block(layer: int) -> Cost:
        found = family.cost_of(replace(place, layer=layer), options) + norm
        if hidden is not None:
            found += _mlp(shell.mlp, d, hidden, n) + norm
        if conditioned:  # adaLN, of which a block may have a table alone, as long as the biases
            found += Cost(modulation.params // (d + 1), 0) if single else modulation
        if shell.convolution:
            found += Cost(10 * d, macs.convolution(n * d, 9))
        return found

    whole = linear(pixels_of_patch * in_channels, d, n) + Cost(n * d, 0)
    if conditioned:
        whole += linear(256, d, 1) + linear(d, d, 1)
        whole += Cost(0 if num_classes is None else (num_classes + 1) * d, 0)
    made = out_channels or in_channels * (2 if learn_sigma else 1)
    last = norm + linear(d, pixels_of_patch * made if head == "field" else made, 1 if head == "vector" else n)
    if shell.head == "zigma":
        last += Cost(0, macs.norm(n * d))  # a second one, without weights
    elif conditioned:
        last += linear(d, 2 * d, 1)
    if conditioned and single:
        whole += modulation
    whole += linear(2 * d, d, n).times(shell.skips_of(depth))
    cycle = family.layers_of_a_cycle(len(grid), options)
    for layer in range(min(cycle, depth)):
        whole += block(layer).times(len(range(layer, depth, cycle)))
    return whole + last


def _mlp(kind: str, d: int, hidden: int, n: int) -> Cost:
    """What stands beside a mixer; see `Shell.mlp`."""
    if kind == "mix":
        convolved = 2 * hidden
        convolution = Cost(10 * convolved, macs.convolution(n * convolved, 9))
        return linear(d, convolved, n) + convolution + linear(hidden, d, n, bias=False)
    gates, bias = 2 if kind in ("swiglu", "gated", "narrowed gated") else 1, kind != "swiglu"
    return linear(d, gates * hidden, n, bias) + linear(hidden, d, n, bias)
